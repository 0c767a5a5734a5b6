"""One step of each family, against the paper's equations written down once more in plain PyTorch."""

import copy
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from crossmod.config import Modality
from crossmod.engine.state import Losses, TrainingTask
from crossmod.settings import TranslateSettings
from crossmod.synthesis import cyclegan, essnet

CPU = torch.device("cpu")
TINY: dict[str, Any] = {
    "size": 16,
    "generator_filters": 2,
    "generator_blocks": 1,
    "discriminator_filters": 2,
    "discriminator_layers": 1,
    "pool_size": 0,
    "batch_size": 2,
}


def batches(count: int, stack: int = 1) -> list[dict[str, torch.Tensor]]:
    g = torch.Generator().manual_seed(5)
    return [
        {
            "ct": torch.rand(2, stack, 16, 16, generator=g) * 2 - 1,
            "mr": torch.rand(2, stack, 16, 16, generator=g) * 2 - 1,
            "mask": torch.randint(0, 2, (2, 16, 16), generator=g),
        }
        for _ in range(count)
    ]


def take(trainee: TrainingTask, batch: dict[str, torch.Tensor]) -> Losses:
    return trainee.step({**batch, **trainee.draw(np.random.default_rng(0))})


def reference_step(n: dict[str, Any], adams: tuple[Any, Any], batch: dict[str, torch.Tensor], source: Modality) -> None:
    """Eqs. 1-6 with least squares, lambda = 1, 1, 10, 10, 1, as a reader of the paper would write them.

    Of a stack of slices, S sees the first; all else sees all.
    """
    x, y = batch["ct"], batch["mr"]
    mr, ct = n["G1"](x), n["G2"](y)
    total = ((n["D1"](mr) - 1) ** 2).mean() + ((n["D2"](ct) - 1) ** 2).mean()
    total = total + 10 * (n["G2"](mr) - x).abs().mean() + 10 * (n["G1"](ct) - y).abs().mean()
    if "S" in n:
        logits = n["S"]((mr if source == "ct" else ct)[:, [0]])
        total = total - F.log_softmax(logits, 1).gather(1, batch["mask"][:, None]).mean()
    adams[0].zero_grad()
    total.backward()
    adams[0].step()
    adams[1].zero_grad()
    loss = 0.5 * (((n["D1"](y) - 1) ** 2).mean() + (n["D1"](mr.detach()) ** 2).mean())
    loss = loss + 0.5 * (((n["D2"](x) - 1) ** 2).mean() + (n["D2"](ct.detach()) ** 2).mean())
    loss.backward()
    adams[1].step()


@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize("source", ["ct", "mr"])
@pytest.mark.parametrize("family", ["cyclegan", "essnet"])
def test_three_steps_leave_the_weights_of_the_equations(
    family: Literal["cyclegan", "essnet"], source: Modality, stack: int
) -> None:
    settings = TranslateSettings(family=family, source=source, stack=stack, **TINY)
    trainee = (cyclegan if family == "cyclegan" else essnet).build(settings, CPU)
    # In double precision: a bias before a norm has gradient 0 but for rounding, which Adam would blow up to full steps.
    for network in trainee.networks.values():
        network.double()
    plain = {name: copy.deepcopy(network) for name, network in trainee.networks.items()}
    forward = [p for name in plain if name[0] in "GS" for p in plain[name].parameters()]
    judges = [p for name in ("D1", "D2") for p in plain[name].parameters()]
    adams = (torch.optim.Adam(forward, 1e-4, (0.5, 0.999)), torch.optim.Adam(judges, 2e-4, (0.5, 0.999)))
    for single in batches(3, stack):
        batch = {name: part.double() if part.is_floating_point() else part for name, part in single.items()}
        take(trainee, batch)
        reference_step(plain, adams, batch, source)
    for name, network in trainee.networks.items():
        for ours, theirs in zip(network.parameters(), plain[name].parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("more", [{"adversarial": "cross_entropy"}, {"bounded_logits": True}, {"lambda_2": 3.0}])
def test_settings_reach_the_losses(more: dict[str, Any]) -> None:
    plain, other = (essnet.build(TranslateSettings(**TINY, **extra), CPU) for extra in ({}, more))
    batch = batches(1)[0]
    for trainee in (plain, other):
        take(trainee, batch)
    pairs = [
        (a, b)
        for name in plain.networks
        for a, b in zip(plain.networks[name].parameters(), other.networks[name].parameters(), strict=True)
    ]
    assert not all(torch.equal(a, b) for a, b in pairs)


def test_each_modality_has_a_pool_of_its_own() -> None:
    trainee = cyclegan.build(TranslateSettings(family="cyclegan", **{**TINY, "pool_size": 4}), CPU)
    batch = batches(1)[0]
    with torch.no_grad():
        mr, ct = trainee.networks["G1"](batch["ct"]), trainee.networks["G2"](batch["mr"])
    take(trainee, batch)
    for name, images in (("pool mr", mr), ("pool ct", ct)):
        torch.testing.assert_close(trainee.memory[name].state_dict()["images"], images)


def test_the_segmentation_loss_moves_g1_by_the_chain_rule() -> None:
    """With every other weight 0, G1's gradient is J_G1(x)^T applied to dL/d(image), taken in two separate passes."""
    settings = TranslateSettings(lambda_1=0, lambda_2=0, lambda_3=0, lambda_4=0, **TINY)
    trainee = essnet.build(settings, CPU)
    G1, S = (copy.deepcopy(trainee.networks[name]) for name in ("G1", "S"))
    batch = batches(1)[0]
    take(trainee, batch)

    image = G1(batch["ct"])
    leaf = image.detach().requires_grad_()
    F.cross_entropy(S(leaf), batch["mask"]).backward()
    assert leaf.grad is not None
    expected = torch.autograd.grad(image, list(G1.parameters()), grad_outputs=leaf.grad)
    for ours, wanted in zip(trainee.networks["G1"].parameters(), expected, strict=True):
        assert ours.grad is not None
        torch.testing.assert_close(ours.grad, wanted, rtol=1e-4, atol=1e-8)
    assert any(gradient.abs().max() > 0 for gradient in expected)
    # G2 is not on the way from the CT's mask to its loss.
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in trainee.networks["G2"].parameters())


def test_without_weight_the_segmentor_leaves_cyclegan_as_it_is() -> None:
    first = cyclegan.build(TranslateSettings(family="cyclegan", **TINY), CPU)
    second = essnet.build(TranslateSettings(lambda_5=0, **TINY), CPU)
    for batch in batches(2):
        take(first, batch)
        take(second, batch)
    for name in ("G1", "G2", "D1", "D2"):
        for ours, theirs in zip(first.networks[name].parameters(), second.networks[name].parameters(), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_generators_do_not_gather_gradients_of_the_discriminators_step() -> None:
    trainee = cyclegan.build(TranslateSettings(family="cyclegan", **TINY), CPU)
    batch = batches(1)[0]
    take(trainee, batch)
    losses = take(trainee, batch)
    assert set(losses) == {
        "adversarial_mr", "adversarial_ct", "cycle_ct", "cycle_mr", "discriminator_mr", "discriminator_ct",
    }  # fmt: skip
    assert not any(loss.requires_grad for loss in losses.values())
    assert all(p.requires_grad for network in trainee.networks.values() for p in network.parameters())


def test_each_look_of_a_discriminator_is_moved_by_its_own_step() -> None:
    """Six looks: both synthetic images for the generators, then real and synthetic MR, real and synthetic CT."""
    settings = TranslateSettings(**TINY)
    trainee = cyclegan.build(settings, CPU, shift=3)
    assert trainee.draw(np.random.default_rng(0))["moves"].shape == (6, 2)
    looks: dict[str, list[torch.Tensor]] = {"D1": [], "D2": []}
    for name, own in looks.items():

        def look(_: torch.nn.Module, inputs: tuple[torch.Tensor], own: list[torch.Tensor] = own) -> None:
            own.append(inputs[0].detach())

        trainee.networks[name].register_forward_pre_hook(look)
    (batch,) = batches(1)
    moves = torch.tensor([[0, 0], [1, -2], [3, 0], [0, 0], [-1, 2], [0, 3]])
    trainee.step({**batch, **trainee.draw(np.random.default_rng(0)), "moves": moves})
    fake, real, again = looks["D1"]
    other, other_real, other_again = looks["D2"]

    def moved(image: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        size = image.shape[-1]
        y, x = (torch.arange(size).add(step).clamp(0, size - 1) for step in (rows, columns))
        return image[..., y, :][..., x]

    torch.testing.assert_close(again, fake)
    torch.testing.assert_close(real, moved(batch["mr"].float(), 3, 0))
    torch.testing.assert_close(other_real, moved(batch["ct"].float(), -1, 2))
    # Both are of one synthetic image: moved again, they agree inside.
    inside = slice(5, -5)
    unmoved = moved(other, -1, 2)[..., inside, inside]
    torch.testing.assert_close(moved(other_again, 0, -3)[..., inside, inside], unmoved)
