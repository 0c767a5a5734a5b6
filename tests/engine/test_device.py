import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crossmod.engine import device as room
from crossmod.engine.device import COMPILED_FROM_PIXELS, Compute, accelerate, choose, no_compiling, prepare
from crossmod.engine.state import Batch, Losses, TrainingTask
from crossmod.networks.blocks import PatchGAN, ResNet
from crossmod.networks.unet import UNet
from crossmod.settings import Compile, Precision, TranslateSettings
from crossmod.synthesis import essnet
from tests.support.paths import PYTHONPATH

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LAST = torch.channels_last
SETTINGS: dict[str, Any] = {
    "size": 32,
    "generator_filters": 4,
    "generator_blocks": 1,
    "discriminator_filters": 4,
    "discriminator_layers": 1,
    "pool_size": 3,
}

with_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="compiled blocks: no C++ compiler found"
)


def batch_of(step: int) -> dict[str, torch.Tensor]:
    """Smooth images, and the bright half of CT as its mask."""
    g = torch.Generator().manual_seed(step)
    few = {side: torch.rand(1, 1, 8, 8, generator=g) * 2 - 1 for side in ("ct", "mr")}
    images = {side: nn.functional.interpolate(x, scale_factor=4.0, mode="bilinear") for side, x in few.items()}
    return {**images, "mask": (images["ct"][:, 0] > 0).long()}


def kernels(trainee: TrainingTask) -> torch.Tensor:
    """All weights but biases: before a norm those have gradient 0 but for rounding, which Adam makes whole steps of."""
    named = [pair for network in trainee.networks.values() for pair in network.named_parameters()]
    return torch.cat([weight.detach().double().flatten() for name, weight in named if name.endswith("weight")])


@functools.cache
def trained(compute: Compute, **more: float) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Losses of 20 steps, and the weights before and after."""
    trainee = accelerate(essnet.build(TranslateSettings(**{**SETTINGS, **more}), CPU), compute)
    before, losses = kernels(trainee), []
    for step in range(20):
        taken = trainee.step({**batch_of(step), **trainee.draw(np.random.default_rng(step))})
        assert all(loss.dtype == torch.float32 for loss in taken.values())
        losses.append([loss.item() for loss in taken.values()])
    return np.array(losses), before, kernels(trainee)


def apart(compute: Compute, **more: float) -> tuple[float, float]:
    """How far a path, or other settings, leads away from eager fp32: worst loss of any step, and weights.

    Weights as a share of the distance that eager fp32 travelled; losses are 0.25 to 1.
    """
    losses, before, after = trained(Compute(CPU))
    others, began, ended = trained(compute, **more)
    assert torch.equal(before, began)
    return float(np.abs(others - losses).max()), float((ended - after).norm() / (after - before).norm())


# Compiled fp32, measured: 0.0003 to 0.0006 and 0.026 to 0.046. The sums are the same ones in another order.
SAME_LOSS, SAME_WEIGHTS = 0.002, 0.15
# bf16, measured on four seeds, eager and compiled: 0.0042 to 0.0068, and 0.38 to 0.45. Adam's first steps go by the
# sign of the gradient, and bf16 turns the sign of small ones.
NEAR_LOSS, NEAR_WEIGHTS = 0.013, 0.65


@with_compiler
@pytest.mark.slow
@pytest.mark.parametrize("bf16", [False, True])
def test_compiled_blocks_train_as_eager_ones(bf16: bool) -> None:
    found = compiled(bf16=bf16)
    assert found["loss"] < (NEAR_LOSS if bf16 else SAME_LOSS)
    assert found["weights"] < (NEAR_WEIGHTS if bf16 else SAME_WEIGHTS)
    assert found["loss"] > 0
    # Every block is one graph, whose code equal blocks share; later steps and looking compile nothing.
    assert found["breaks"] == 0
    assert found["graphs"] > 0
    assert found["graphs after another step"] == found["graphs after looking"] == found["graphs"]
    assert found["looking differs by"] < (0.05 if bf16 else 1e-5)


def compiled(*, bf16: bool) -> dict[str, float]:
    """In a process of its own: what checks shapes in tests is Python that a compiler would compile along."""
    code = f"import json; from tests.engine.test_device import compiled_here; print(json.dumps(compiled_here({bf16})))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": PYTHONPATH, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def compiled_here(bf16: bool) -> dict[str, float]:
    """20 steps on the compiled path, held against eager fp32, and what was compiled for them."""
    counters = torch._dynamo.utils.counters
    compute = Compute(CPU, bf16=bf16, compiled=True)
    loss, weights = apart(compute)
    graphs = [counters["stats"]["unique_graphs"]]
    breaks = sum(counters["graph_break"].values())
    trainee = accelerate(essnet.build(TranslateSettings(**SETTINGS), CPU), compute)
    trainee.step({**batch_of(0), **trainee.draw(np.random.default_rng(0))})
    graphs.append(counters["stats"]["unique_graphs"])
    # Of a size that nothing was compiled for.
    x = torch.nn.functional.interpolate(batch_of(1)["ct"], size=(40, 44))
    with torch.no_grad(), compute.inference():
        image = trainee.networks["G1"](x)
    graphs.append(counters["stats"]["unique_graphs"])
    plain = ResNet(1, 4, 1).double()
    plain.load_state_dict(trainee.networks["G1"].state_dict())
    differs = (image - plain(x.double())).abs().max().item()
    names = ("graphs", "graphs after another step", "graphs after looking")
    return {
        "loss": loss, "weights": weights, "breaks": breaks, "looking differs by": differs,
        **dict(zip(names, graphs, strict=True)),
    }  # fmt: skip


def test_bf16_trains_nearly_as_fp32() -> None:
    loss, weights = apart(Compute(CPU, bf16=True))
    assert 0 < loss < NEAR_LOSS
    assert weights < NEAR_WEIGHTS


@pytest.mark.parametrize("wrong", [{"lambda_5": 2.0}, {"lambda_2": 1.5}, {"lambda_3": 11.0}, {"beta_1": 0.6}])
def test_a_step_that_is_wrong_by_a_little_does_not_pass_for_compiled(wrong: dict[str, float]) -> None:
    """Measured: 0.004 to 0.009, and 0.34 to 0.39 for the first three."""
    loss, weights = apart(Compute(CPU), **wrong)
    assert loss > SAME_LOSS
    assert weights > SAME_WEIGHTS


@pytest.mark.parametrize("wrong", [{"learning_rate": 2e-4}, {"discriminator_learning_rate": 4e-4}, {"lambda_3": 1.0}])
def test_a_step_that_is_wrong_by_much_does_not_pass_for_bf16(wrong: dict[str, float]) -> None:
    """Measured: 0.02 to 0.13."""
    assert apart(Compute(CPU), **wrong)[0] > NEAR_LOSS


def test_bf16_is_what_convolutions_compute_in_and_last_layers_do_not() -> None:
    seen: dict[str, torch.dtype] = {}
    network = ResNet(1, 4, 1)

    def note(name: str, out: torch.Tensor) -> None:
        seen[name] = out.dtype

    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, __, out, name=name: note(name, out))  # pyright: ignore[reportArgumentType]
    compute = Compute(CPU, bf16=True)
    for weight in network.parameters():
        nn.init.normal_(weight, 0, 0.1)
    with compute.autocast():
        image = network(torch.randn(1, 1, 32, 32))
    assert seen.pop("decode.6.1") == torch.float32
    assert len(seen) == 7
    assert set(seen.values()) == {torch.bfloat16}
    assert image.dtype == torch.float32
    # In [0.5, 1) bf16 has 128 values, and as many in [0.25, 0.5).
    assert len(image.unique()) > 900
    assert all(weight.dtype == torch.float32 for weight in network.parameters())


@pytest.mark.parametrize(
    "network", [PatchGAN(4, 1), ResNet(3, 4, 1, "linear"), UNet((4, 8), norm=nn.BatchNorm2d, head=2)]
)
def test_logits_are_fp32_under_bf16(network: nn.Module) -> None:
    with Compute(CPU, bf16=True).autocast():
        logits = network(torch.randn(2, 1, 32, 32))
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())


def unet() -> UNet:
    torch.manual_seed(0)
    return UNet((4, 8, 16), norm=nn.BatchNorm2d, dropout=0.0)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (19, 22)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_u_net_and_its_gradients_are_the_same_with_channels_last(
    batch: int, rows: int, columns: int, dtype: torch.dtype
) -> None:
    """Against itself in double precision with channels first, whose layers tests/segment holds against others."""
    plain, turned = unet().double(), unet().to(dtype)
    prepare([turned], [], Compute(CPU, compiled=True))
    assert turned.down[0][0].weight.is_contiguous(memory_format=LAST)  # pyright: ignore[reportIndexIssue]
    x, gradient = torch.randn(2, batch, 1, rows, columns)
    for network, kind in ((plain, torch.float64), (turned, dtype)):
        network(x.to(kind)).backward(gradient.to(kind))
    for one, other in zip(_whole(turned), _whole(plain), strict=True):
        # Measured: 1e-6 and 2e-15.
        assert (one - other).norm() < (1e-4 if dtype == torch.float32 else 1e-11) * other.norm()


def _whole(network: nn.Module) -> Iterable[torch.Tensor]:
    yield torch.cat([weight.grad.double().flatten() for weight in network.parameters() if weight.grad is not None])
    yield torch.cat([buffer.double().flatten() for buffer in network.buffers()])


def test_channels_come_last_on_gpus_and_where_blocks_are_compiled() -> None:
    assert not Compute(CPU).channels_last
    assert not Compute(CPU, bf16=True).channels_last
    assert Compute(CPU, compiled=True).channels_last
    assert Compute(CUDA).channels_last


def test_averages_are_laid_out_too_and_nothing_is_replaced() -> None:
    network, average = nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3)
    before = [network.weight, average.weight]
    trainee = TrainingTask({"net": network}, {}, lambda batch: {}, averages={"net": average})
    accelerate(trainee, Compute(CPU, compiled=True))
    assert all(weight.is_contiguous(memory_format=LAST) for weight in before)
    assert network.weight is before[0]
    assert average.weight is before[1]


def test_a_step_runs_in_its_precision_and_nothing_else_does() -> None:
    seen = []

    def step(batch: Batch) -> Losses:
        seen.append(torch.is_autocast_enabled("cpu"))
        return {}

    for bf16 in (True, False):
        accelerate(TrainingTask({}, {}, step), Compute(CPU, bf16=bf16)).step({})
        assert not torch.is_autocast_enabled("cpu")
    assert seen == [True, False]


@pytest.mark.parametrize("bf16", [False, True])
def test_weights_that_are_moved_within_a_step_are_used_as_they_are_then(bf16: bool) -> None:
    """Autocast rounds each weight once and remembers it: what a step does after an optimizer must not see the old."""
    network = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(network.parameters(), 1.0)
    x = torch.randn(3, 4)

    def step(batch: Batch) -> Losses:
        network(x).float().sum().backward()
        optimizer.step()
        return {"after": network(x).float().sum().detach()}

    compute = Compute(CPU, bf16=bf16)
    found = accelerate(TrainingTask({"net": network}, {"net": optimizer}, step), compute).step({})["after"]
    with compute.autocast():
        assert torch.equal(found, network(x).float().sum())


NATIVE = {"avx512_bf16": True}


def on_a_cpu(monkeypatch: pytest.MonkeyPatch, abilities: dict[str, bool], broken: str | None = None) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities, raising=False)
    monkeypatch.setattr(room, "no_compiling", lambda device: broken)


@pytest.mark.parametrize(
    ("abilities", "precision", "bf16"),
    [
        (NATIVE, "auto", True),
        (NATIVE, "fp32", False),
        ({"amx_bf16": True}, "auto", True),
        ({"avx2": True, "avx512_bf16": False}, "auto", False),
        ({}, "auto", False),
        ({}, "bf16", True),
    ],
)
def test_bf16_where_it_is_fast_or_asked_for(
    monkeypatch: pytest.MonkeyPatch, abilities: dict[str, bool], precision: Precision, bf16: bool
) -> None:
    on_a_cpu(monkeypatch, abilities)
    chosen = choose(CPU, precision, "off")
    assert chosen.bf16 == bf16
    assert chosen.precision == ("bf16" if bf16 else "fp32")
    # Whatever is not as the best hardware would have it is said.
    assert any("this CPU has no instructions for it" in why for why in chosen.why) == (abilities != NATIVE) * (
        "amx_bf16" not in abilities
    )


@pytest.mark.parametrize(
    ("compiling", "size", "broken", "compiled", "why"),
    [
        ("auto", COMPILED_FROM_PIXELS, None, True, ""),
        ("auto", COMPILED_FROM_PIXELS - 4, None, False, "Not compiled: under 128 pixels"),
        ("on", 16, None, True, ""),
        ("off", 512, None, False, ""),
        ("auto", 512, "no room", False, "Not compiled: no room."),
        ("on", 16, "no room", False, "Not compiled: no room."),
    ],
)
def test_blocks_are_compiled_where_it_pays_or_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, compiling: Compile, size: int, broken: str | None, compiled: bool, why: str
) -> None:
    on_a_cpu(monkeypatch, NATIVE, broken)
    chosen = choose(CPU, "auto", compiling, size=size)
    assert chosen.compiled == compiled
    assert " ".join(chosen.why).startswith(why)
    assert bool(chosen.why) == bool(why)
    assert not chosen.graphs
    assert str(chosen) == ("bf16, channels last, compiled blocks" if compiled else "bf16, eager")


def test_networks_without_blocks_are_laid_out_and_nothing_is_said_of_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_cpu(monkeypatch, NATIVE, "never asked")
    for compiling in ("auto", "on", "off"):
        chosen = choose(CPU, "fp32", compiling, size=512, blocks=False)
        assert not chosen.compiled
        assert chosen.channels_last
        assert chosen.why == ()
        assert str(chosen) == "fp32, channels last, eager"


@pytest.mark.parametrize("ranks", [1, 2])
def test_steps_are_recorded_on_one_gpu_alone(monkeypatch: pytest.MonkeyPatch, ranks: int) -> None:
    on_a_cpu(monkeypatch, {})
    monkeypatch.setattr(room, "no_bf16", lambda device: None)
    chosen = choose(CUDA, size=64, ranks=ranks)
    assert chosen.compiled
    assert chosen.graphs == (ranks == 1)
    assert ("CUDA graph" in str(chosen)) == (ranks == 1)
    assert any("No CUDA graph" in why for why in chosen.why) == (ranks == 2)


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    no_compiling.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert no_compiling(CPU) == "no C++ compiler found (g++ or clang++)"
    no_compiling.cache_clear()


@pytest.mark.parametrize(
    ("words", "said"), [("", "a small test failed (ValueError: ValueError)"), ("\n one\ntwo", "(ValueError: one)")]
)
def test_a_toolchain_that_fails_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch, words: str, said: str) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError(words)

    no_compiling.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/g++")
    monkeypatch.setattr(torch, "compile", broken)
    assert said in str(no_compiling(CPU))
    no_compiling.cache_clear()
