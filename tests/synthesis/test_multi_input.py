"""The multi-input family: with one input CycleGAN itself, with more a branch, a head and a judge for each."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from crossmod.engine.state import parameters
from crossmod.networks.blocks import ResidualBlock, ResNet, blocks
from crossmod.settings import TranslateSettings
from crossmod.synthesis import cyclegan, multi_input

CPU = torch.device("cpu")
TINY: dict[str, Any] = {
    "source": "mr",
    "size": 16,
    "generator_filters": 2,
    "generator_blocks": 3,
    "branch_blocks": 2,
    "discriminator_filters": 2,
    "discriminator_layers": 1,
    "pool_size": 0,
    "batch_size": 2,
}


def built(*inputs: str, **more: Any):
    return multi_input.build(TranslateSettings(family="multi_input", inputs=inputs, **{**TINY, **more}), CPU)


def batch(inputs: int) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(3)
    shape = {"ct": (2, 1, 16, 16), "mr": (2, inputs, 16, 16)}
    return {name: torch.rand(size, generator=g) * 2 - 1 for name, size in shape.items()}


def test_with_one_input_it_is_cyclegan_to_the_last_weight() -> None:
    plain = cyclegan.build(TranslateSettings(family="cyclegan", **TINY), CPU)
    ours = built("t1_in", pool_size=3)
    plain = cyclegan.build(TranslateSettings(family="cyclegan", **{**TINY, "pool_size": 3}), CPU)
    for _ in range(4):
        for trainee in (plain, ours):
            trainee.step({**batch(1), **trainee.draw(np.random.default_rng(0))})
    for name, network in plain.networks.items():
        theirs = list(ours.networks[name].parameters())
        for mine, other in zip(network.parameters(), theirs, strict=True):
            assert torch.equal(mine, other)


def test_published_sizes_follow_from_the_parts() -> None:
    """Counted by hand: encoder 376,064 and residual block 1,180,160 at 64 filters, decoder 372,097."""
    settings = TranslateSettings(family="multi_input", inputs=("a", "b", "c"), source="mr")
    made = multi_input.generators(settings)
    encoder, block, decoder = 64 * 50 + 128 * (64 * 9 + 1) + 256 * (128 * 9 + 1), 2 * 256 * (256 * 9 + 1), 0
    decoder = 128 * 256 * 9 + 128 + 64 * 128 * 9 + 64 + 64 * 49 + 1
    assert parameters(ResNet()) == encoder + 9 * block + decoder
    assert parameters(made["G2"]) == 3 * (encoder + 4 * block) + (3 * 256 + 1) * 256 + 5 * block + decoder
    assert parameters(made["G1"]) == encoder + 9 * block + 3 * decoder


def test_three_steps_leave_the_weights_of_the_equations() -> None:
    """Means over inputs of adversarial and cycle terms, in plain PyTorch and double precision."""
    ours = built("t1_in", "t1_out", "t2_spir")
    for network in ours.networks.values():
        network.double()
    n: dict[str, Any] = {name: copy.deepcopy(network) for name, network in ours.networks.items()}
    forward = [p for name in ("G1", "G2") for p in n[name].parameters()]
    judges = [p for name in ("D1", "D2") for p in n[name].parameters()]
    adams = (torch.optim.Adam(forward, 1e-4, (0.5, 0.999)), torch.optim.Adam(judges, 2e-4, (0.5, 0.999)))
    given = {name: part.double() for name, part in batch(3).items()}
    x, y = given["ct"], given["mr"]
    for _ in range(3):
        ours.step({**given, **ours.draw(np.random.default_rng(0))})
        mr, ct = n["G1"](x), n["G2"](y)
        fooled = [((n["D1"].judges[i](mr[:, i : i + 1]) - 1) ** 2).mean() for i in range(3)]
        closed = [(n["G1"](ct)[:, i] - y[:, i]).abs().mean() for i in range(3)]
        total = sum(fooled) / 3 + ((n["D2"](ct) - 1) ** 2).mean()
        total = total + 10 * (n["G2"](mr) - x).abs().mean() + 10 * sum(closed) / 3
        adams[0].zero_grad()
        total.backward()
        adams[0].step()
        adams[1].zero_grad()
        per_judge = [
            ((n["D1"].judges[i](y[:, i : i + 1]) - 1) ** 2).mean()
            + (n["D1"].judges[i](mr[:, i : i + 1].detach()) ** 2).mean()
            for i in range(3)
        ]
        loss = sum(per_judge) / 6 + 0.5 * (((n["D2"](x) - 1) ** 2).mean() + (n["D2"](ct.detach()) ** 2).mean())
        loss.backward()
        adams[1].step()
    for name, network in ours.networks.items():
        for mine, wanted in zip(network.parameters(), n[name].parameters(), strict=True):
            torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-7)


def test_each_input_has_its_branch_its_head_and_its_judge() -> None:
    """A change of one input moves its own branch's features and no other's; each judge sees its own image alone."""
    made: dict[str, Any] = built("a", "b").networks
    y = batch(2)["mr"]
    other = y.clone()
    other[:, 1] += 0.5
    G2, D1 = made["G2"], made["D1"]
    first = [branch(y[:, i : i + 1]) for i, branch in enumerate(G2.branches)]
    second = [branch(other[:, i : i + 1]) for i, branch in enumerate(G2.branches)]
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])
    assert not torch.equal(G2(y), G2(other))
    logits, changed = D1(y), D1(other)
    assert torch.equal(logits[:, 0], changed[:, 0])
    assert not torch.equal(logits[:, 1], changed[:, 1])
    fakes = made["G1"](batch(2)["ct"])
    assert fakes.shape == (2, 2, 16, 16)
    assert not torch.equal(fakes[:, 0], fakes[:, 1])


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_all_of_it_is_compiled_in_blocks(inputs: int) -> None:
    trainee = built(*"abc"[:inputs])
    covered = {id(p) for block in trainee.blocks for p in block.parameters()}
    assert covered == {id(p) for network in trainee.networks.values() for p in network.parameters()}
    assert len(blocks([ResNet(blocks=3)])) == 5
    assert sum(isinstance(block, ResidualBlock) for block in blocks([ResNet(blocks=3)])) == 3


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({"inputs": ("a", "b"), "family": "cyclegan"}, "--family multi_input for several inputs"),
        ({"inputs": ("a+b", "c")}, "with a single input only"),
        ({"inputs": ("a", "b"), "source": "ct"}, "--source mr for several inputs"),
        ({"inputs": ("a",), "sequence": "a"}, "--sequence or --inputs"),
    ],
)
def test_inputs_that_do_not_go_together(more: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        TranslateSettings(**{"family": "multi_input", "source": "mr", **more})
