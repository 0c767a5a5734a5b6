"""CycleGAN between CT and MR (Zhu et al. 2017; part 1 of Rafiq et al. 2025, Fig. 2).

Symbols as in the paper: x is CT, y is MR; G1 turns CT into MR, G2 MR into CT; D1 judges MR, D2 judges CT.

In 2.5D x and y are stacks of slices: generators map whole stacks, so that both cycles close, and a discriminator judges
a stack as one image, so that it also sees how slices follow each other.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossmod.engine.optimizers import adam
from crossmod.engine.state import Batch, Losses, TrainingTask
from crossmod.networks.blocks import PatchGAN, ResNet, blocks, initialise
from crossmod.seeds import derive
from crossmod.settings import TranslateSettings
from crossmod.synthesis.families import Family
from crossmod.synthesis.image_pool import ImagePool
from crossmod.synthesis.losses import cycle, discriminator_adversarial, generator_adversarial

# Losses by name, each with its weight.
Terms = dict[str, tuple[float, Float[Tensor, ""]]]


def generators(settings: TranslateSettings) -> dict[str, nn.Module]:
    """G1 (CT to MR) and G2 (MR to CT)."""
    s = settings
    return {name: ResNet(s.stack, s.generator_filters, s.generator_blocks, inputs=s.stack) for name in ("G1", "G2")}


def build(
    settings: TranslateSettings,
    device: torch.device,
    *,
    networks: Mapping[str, nn.Module] | None = None,
    more: Mapping[str, nn.Module] | None = None,
    term: Callable[[Batch, Mapping[str, Tensor]], Terms] = lambda batch, fakes: {},
    shift: int = 0,
) -> TrainingTask:
    """Generators, discriminators, pools and the step that trains them.

    Args:
        settings: of the training.
        device: where it computes.
        networks: G1, G2, D1 and D2, if they are not CycleGAN's.
        more: networks that are trained with the generators.
        term: further terms of the generators' loss, of one cycle.
        shift: pixels by which each image that a discriminator sees is moved at random, at most, in each direction.
    """
    s, more = settings, more or {}
    own = networks or {
        **generators(s),
        "D1": PatchGAN(s.discriminator_filters, s.discriminator_layers, inputs=s.stack),
        "D2": PatchGAN(s.discriminator_filters, s.discriminator_layers, inputs=s.stack),
    }
    networks = {**own, **more}
    # Each network has its own seed, so that CycleGAN and EssNet begin with the same generators.
    with torch.random.fork_rng(devices=[]):
        for name, network in networks.items():
            torch.manual_seed(derive(s.seed, "weights", name))
            initialise(network)
            network.to(device)
    G1, G2, D1, D2 = (networks[name] for name in ("G1", "G2", "D1", "D2"))
    discriminators, betas = [D1, D2], (s.beta_1, 0.999)
    adam_g = adam(_weights([G1, G2, *more.values()]), s.learning_rate, betas, device)
    adam_d = adam(_weights(discriminators), s.discriminator_learning_rate, betas, device)
    pool_mr = ImagePool(s.pool_size, (len(s.mr_inputs) * s.stack, s.size, s.size), device)
    pool_ct = ImagePool(s.pool_size, (s.stack, s.size, s.size), device)

    def draw(rng: np.random.Generator) -> Batch:
        moves = {"moves": torch.from_numpy(rng.integers(-shift, shift + 1, (6, 2)))} if shift else {}
        return {"pool_mr": pool_mr.draw(s.batch_size, rng), "pool_ct": pool_ct.draw(s.batch_size, rng), **moves}

    def step(batch: Batch) -> Losses:
        x, y, moves = batch["ct"], batch["mr"], itertools.cycle(batch.get("moves", [None]))

        def look(discriminator: nn.Module, images: Tensor) -> Tensor:
            """What it says of images, each time moved by another of the drawn steps (Zhao et al. 2020, DiffAugment)."""
            return discriminator(_moved(images, next(moves)))

        # Generators: Eq. 6. The two cycles share only weights, so their gradients are taken one after the other, in
        # the memory of one.
        for discriminator in discriminators:
            discriminator.requires_grad_(False)
        adam_g.zero_grad(set_to_none=True)
        mr = G1(x)
        losses = _backward(
            {
                "adversarial_mr": (
                    s.lambda_1,
                    generator_adversarial(s.adversarial, look(D1, mr)),
                ),  # Eq. 1
                "cycle_ct": (s.lambda_3, cycle(G2(mr), x)),  # Eq. 3
                **term(batch, {"mr": mr}),  # Eq. 5, in EssNet from CT
            }
        )
        ct = G2(y)
        losses |= _backward(
            {
                "adversarial_ct": (
                    s.lambda_2,
                    generator_adversarial(s.adversarial, look(D2, ct)),
                ),  # Eq. 2
                "cycle_mr": (s.lambda_4, cycle(G1(ct), y)),  # Eq. 4
                **term(batch, {"ct": ct}),  # Eq. 5, in EssNet from MR
            }
        )
        adam_g.step()

        # Discriminators: Eqs. 1 and 2, on images of this step and of earlier ones.
        for discriminator in discriminators:
            discriminator.requires_grad_(True)
        old_mr, old_ct = pool_mr.exchange(mr, batch["pool_mr"]), pool_ct.exchange(ct, batch["pool_ct"])
        on_mr = discriminator_adversarial(s.adversarial, look(D1, y), look(D1, old_mr))
        on_ct = discriminator_adversarial(s.adversarial, look(D2, x), look(D2, old_ct))
        adam_d.zero_grad(set_to_none=True)
        (on_mr + on_ct).backward()
        adam_d.step()

        return {**losses, "discriminator_mr": on_mr.detach(), "discriminator_ct": on_ct.detach()}

    return TrainingTask(
        networks=networks,
        optimizers={"generators": adam_g, "discriminators": adam_d},
        step=step,
        draw=draw,
        memory={"pool mr": pool_mr, "pool ct": pool_ct},
        blocks=blocks(networks.values()),
    )


def _moved(images: Tensor, move: Tensor | None) -> Tensor:
    """Images moved by some rows and columns; what comes in at an edge repeats it."""
    if move is None:
        return images
    for axis, step in zip((-2, -1), move, strict=True):
        places = torch.arange(images.shape[axis], device=images.device) + step
        images = images.index_select(axis, places.clamp(0, images.shape[axis] - 1))
    return images


def _backward(terms: Terms) -> Losses:
    """Add the gradients of the weighted sum of `terms`."""
    torch.stack([weight * loss for weight, loss in terms.values()]).sum().backward()
    return {name: loss.detach() for name, (_, loss) in terms.items()}


def _weights(networks: Iterable[nn.Module]) -> list[nn.Parameter]:
    return list(itertools.chain.from_iterable(network.parameters() for network in networks))


FAMILY = Family(
    title="CycleGAN",
    build=build,
    generators=generators,
    reference="Zhu et al., Unpaired Image-to-Image Translation Using Cycle-Consistent Adversarial Networks, ICCV 2017",
)
