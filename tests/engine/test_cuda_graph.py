import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from crossmod.engine.cuda_graph import WARM, GraphedStep, first_line
from crossmod.engine.device import Compute, accelerate
from crossmod.engine.optimizers import averaged, set_rates
from crossmod.engine.state import Batch, Losses, TrainingTask
from crossmod.segmentation import model as segmenter
from crossmod.settings import SegmentSettings, TranslateSettings
from crossmod.synthesis import essnet

CPU = torch.device("cpu")
# What waits for the host, or makes shapes of values: CUDA refuses it while it records.
REFUSED = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique2")


class Tape(TorchDispatchMode):
    """A CUDA graph for a CPU: what is recorded are operations on places in memory, and nothing else is repeated.

    Numbers of the host are frozen, Python is run once, tensors made on the way have one place for all replays, and
    recording leaves all that was there before as it was: what was made holds rubbish until it is replayed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.made: dict[int, Tensor] = {}
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket.__name__ in REFUSED:
            raise RuntimeError(f"operation not permitted when stream is capturing ({func})")
        for argument, value in zip(func._schema.arguments, args, strict=False):
            # Batch norm does not say that it writes to these.
            if argument.is_write or argument.name in ("running_mean", "running_var"):
                self._keep([leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)])
        given = {_place(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        out = func(*args, **kwargs)
        fresh = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and _place(leaf) not in given]
        self.made |= {_place(leaf): leaf for leaf in fresh}
        self.calls.append((func, args, kwargs, [leaf if _place(leaf) not in given else None for leaf in _tensors(out)]))
        return out

    def _keep(self, written: list[Tensor]) -> None:
        for tensor in written:
            if _place(tensor) not in self.made and _place(tensor) not in self.before:
                # The whole memory, of which this may be a part.
                whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
                self.before[_place(tensor)] = whole, whole.clone()

    def replay(self) -> None:
        for func, args, kwargs, places in self.calls:
            out = func(*args, **kwargs)
            for place, value in zip(places, _tensors(out), strict=True):
                if place is not None:
                    place.copy_(value)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(out: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]


def record(work: Callable[[], None]) -> Callable[[], None]:
    tape = Tape()
    try:
        with tape:
            work()
    finally:
        with torch.no_grad():
            for whole, before in tape.before.values():
                whole.copy_(before)
    with torch.no_grad():
        for made in tape.made.values():
            if made.is_floating_point() and made.untyped_storage().nbytes():
                torch.empty(0, dtype=made.dtype).set_(made.untyped_storage()).fill_(torch.nan)

    def replay() -> None:
        with torch.no_grad():
            tape.replay()

    return replay


def plainly(work: Callable[[], None]) -> None:
    work()


def graphed(trainee: TrainingTask, record: Callable[[Callable[[], None]], Callable[[], None]] = record) -> GraphedStep:
    return GraphedStep(trainee.step, record, plainly)


SETTINGS = TranslateSettings(
    size=32,
    generator_filters=2,
    generator_blocks=1,
    discriminator_filters=2,
    discriminator_layers=1,
    batch_size=2,
    pool_size=3,
    learning_rate=1e-3,
    precision="fp32",
)


def translator(precision: str = "fp32") -> TrainingTask:
    """An averaged EssNet whose rates are tensors, as they are on a GPU."""
    trainee = essnet.build(SETTINGS, CPU)
    for optimizer in trainee.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"])
    return accelerate(averaged(trainee, ("G1", "S"), 0.7), Compute(CPU, bf16=precision == "bf16"))


def batch_of(step: int, count: int = 2) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(step)
    images = {side: torch.rand(count, 1, 32, 32, generator=g) * 2 - 1 for side in ("ct", "mr")}
    return {**images, "mask": torch.randint(0, 2, (count, 32, 32), generator=g)}


def train(
    trainee: TrainingTask,
    step: Callable[[Batch], Losses],
    counts: list[int],
    before: Callable[[int], None] | None = None,
) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Losses of each step, read at the end, and all that was trained."""
    losses: list[Losses] = []
    for number, count in enumerate(counts):
        if before is None:
            for optimizer in trainee.optimizers.values():
                set_rates(optimizer, [1e-3 / (1 + number)])
        else:
            before(number)
        draws = trainee.draw(np.random.default_rng(number))
        losses.append(step({**batch_of(number, count), **{name: drawn[:count] for name, drawn in draws.items()}}))
    state = {
        "networks": {name: network.state_dict() for name, network in trainee.networks.items()},
        "averages": {name: network.state_dict() for name, network in trainee.averages.items()},
        "optimizers": {name: optimizer.state_dict()["state"] for name, optimizer in trainee.optimizers.items()},
        "memory": {name: part.state_dict() for name, part in trainee.memory.items()},
    }
    return [{name: loss.item() for name, loss in taken.items()} for taken in losses], copy.deepcopy(state)


def same(first: Any, second: Any) -> bool:
    pairs = zip(tree_leaves(first), tree_leaves(second), strict=True)
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


TEN = [2] * 10


@pytest.fixture(scope="module")
def unrecorded() -> tuple[list[dict[str, float]], dict[str, Any]]:
    trainee = translator()
    return train(trainee, trainee.step, TEN)


def test_replayed_it_is_bit_for_bit_what_it_is_unrecorded(
    unrecorded: tuple[list[dict[str, float]], dict[str, Any]],
) -> None:
    """Losses, weights, moments, averages and pools, with a new learning rate at each step."""
    trainee = translator()
    step = graphed(trainee)
    losses, state = train(trainee, step, TEN)
    assert step.failed is None
    assert losses == unrecorded[0]
    assert same(state, unrecorded[1])
    assert len({tuple(taken.values()) for taken in losses}) == 10


def test_in_bf16_too() -> None:
    plain, recorded = translator("bf16"), translator("bf16")
    wanted = train(plain, plain.step, TEN[:6])
    found = train(recorded, graphed(recorded), TEN[:6])
    assert found[0] == wanted[0]
    assert same(found[1], wanted[1])


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        ([2, 2, 2, 2, 2, 1, 2, 2, 1, 2], 2),  # after recording
        ([2, 2, 2, 1, 2, 2, 2, 1, 2, 2], 2),  # where recording would be due
        ([1, 2, 1, 2, 1, 2, 1, 2, 1, 2], 1),
    ],
)
def test_a_batch_of_another_shape_is_an_ordinary_step(counts: list[int], kept: int) -> None:
    plain, recorded = translator(), translator()
    wanted = train(plain, plain.step, counts)
    worked: list[int] = []

    def counted(batch: Batch) -> Losses:
        worked.append(len(batch["ct"]))
        return recorded.step(batch)

    losses, state = train(recorded, GraphedStep(counted, record, plainly), counts)
    assert losses == wanted[0]
    assert same(state, wanted[1])
    # The shape that is recorded was taken WARM times before: nothing is chosen or compiled while recording.
    assert worked.count(kept) == WARM + 1
    assert worked.count(3 - kept) == counts.count(3 - kept)


def test_the_first_calls_are_ordinary_and_the_rest_are_replays() -> None:
    trainee = translator()
    worked, replayed = [], []

    def counted(batch: Batch) -> Losses:
        worked.append(1)
        return trainee.step(batch)

    def counting(work: Callable[[], None]) -> Callable[[], None]:
        repeat = record(work)
        return lambda: (replayed.append(1), repeat())[1]

    train(trainee, GraphedStep(counted, counting, plainly), TEN)
    # One more for the recording, which does no work.
    assert len(worked) == WARM + 1
    assert len(replayed) == 10 - WARM


def test_rates_that_are_numbers_would_be_frozen(unrecorded: tuple[list[dict[str, float]], dict[str, Any]]) -> None:
    """Why `adam` makes tensors of them, and that the tape here finds out what a graph would freeze."""
    trainee = translator()

    def numbers(step: int) -> None:
        for optimizer in trainee.optimizers.values():
            optimizer.param_groups[0]["lr"] = torch.tensor(1e-3 / (1 + step)).item()

    losses, state = train(trainee, graphed(trainee), TEN, numbers)
    assert losses[: WARM + 1] == unrecorded[0][: WARM + 1]
    assert not same(state, unrecorded[1])


def test_dropout_draws_anew_at_each_replay() -> None:
    settings = SegmentSettings(network="tiny", size=32, precision="fp32", learning_rate=1e-9)
    plain, recorded = (segmenter.build(settings, CPU) for _ in range(2))
    batch = {"image": batch_of(0)["ct"], "mask": batch_of(0)["mask"]}
    found = []
    for trainee, step in ((plain, plain.step), (recorded, graphed(recorded))):
        torch.manual_seed(4)
        losses = [step(batch)["cross_entropy"] for _ in range(WARM)]
        # Recording draws on a CPU, though not on a GPU.
        torch.manual_seed(5)
        if isinstance(step, GraphedStep):
            step._make(batch)
            torch.manual_seed(5)
        found.append([loss.item() for loss in (*losses, *(step(batch)["cross_entropy"] for _ in range(3)))])
        statistics = [part.clone() for part in trainee.networks["segmenter"].buffers()]
        found.append([part.tolist() for part in statistics])
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert len(set(found[0])) == len(found[0])


def test_losses_of_a_step_are_not_written_over_by_the_next() -> None:
    trainee = translator()
    step = graphed(trainee)
    taken = []
    for number in range(WARM + 3):
        losses = step({**batch_of(number), **trainee.draw(np.random.default_rng(number))})
        taken.append((losses, {name: loss.item() for name, loss in losses.items()}))
    assert all({name: loss.item() for name, loss in losses.items()} == read for losses, read in taken)
    assert all(loss.dtype == torch.float32 and loss.shape == () for losses, _ in taken for loss in losses.values())


def test_what_cannot_be_recorded_goes_on_and_says_why(
    unrecorded: tuple[list[dict[str, float]], dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    tries = []

    def refuses(work: Callable[[], None]) -> Callable[[], None]:
        tries.append(1)
        raise RuntimeError("\nno room for a graph\nand much more")

    trainee = translator()
    step = graphed(trainee, refuses)
    losses, state = train(trainee, step, TEN)
    assert losses == unrecorded[0]
    assert same(state, unrecorded[1])
    assert step.failed == "no room for a graph"
    assert tries == [1]
    assert caplog.text.count("No CUDA graph: no room for a graph. Every step is launched kernel by kernel") == 1


def test_a_step_that_asks_the_device_is_refused_and_goes_on(
    unrecorded: tuple[list[dict[str, float]], dict[str, Any]],
) -> None:
    """The step is broken off in its middle: what it did to the host until then must not show."""
    trainee = translator()
    discriminator = trainee.networks["D1"]

    def asks(*_: Any) -> None:
        if discriminator.training and not next(discriminator.parameters()).requires_grad:
            torch.ones(1).item()

    discriminator.register_forward_hook(asks)

    step = graphed(trainee)
    losses, state = train(trainee, step, TEN)
    assert step.failed is not None
    assert "not permitted when stream is capturing" in step.failed
    assert losses == unrecorded[0]
    assert same(state, unrecorded[1])
    assert all(weight.requires_grad for weight in discriminator.parameters())


def test_an_error_without_words_has_a_name() -> None:
    assert first_line(RuntimeError("")) == "RuntimeError"
    assert first_line(AssertionError(" \n one\n two")) == "one"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_replayed_it_is_what_it_is_unrecorded() -> None:
    device, found = torch.device("cuda"), []
    for graphs in (False, True):
        trainee = averaged(essnet.build(SETTINGS, device), ("G1", "S"), 0.7)
        trainee = accelerate(trainee, Compute(device, graphs=graphs))
        losses = []
        for number, count in enumerate((2, 2, 2, 1, 2, 2, 1, 2, 2)):
            for optimizer in trainee.optimizers.values():
                set_rates(optimizer, [1e-3 / (1 + number)])
            batch = {**batch_of(number, count), **trainee.draw(np.random.default_rng(number))}
            losses.append(trainee.step({name: part[:count].to(device) for name, part in batch.items()}))
        if isinstance(trainee.step, GraphedStep):
            assert trainee.step.failed is None
        found.append(np.array([[loss.item() for loss in taken.values()] for taken in losses]))
    # Sums of gradients are in another order each time on a GPU.
    np.testing.assert_allclose(found[1], found[0], rtol=1e-2, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_a_recording_that_fails_leaves_the_training_whole() -> None:
    """Also its random draws, which a recording takes part in, and later recordings."""
    device = torch.device("cuda")
    settings = SegmentSettings(network="tiny", size=32, precision="fp32", learning_rate=1e-9)
    batch = {"image": batch_of(0)["ct"].to(device), "mask": batch_of(0)["mask"].to(device)}
    for asks in (True, False):
        trainee = segmenter.build(settings, device)

        def step(batch: Batch, trainee: TrainingTask = trainee, asks: bool = asks) -> Losses:
            losses = trainee.step(batch)
            if asks and torch.cuda.is_current_stream_capturing():
                losses["cross_entropy"].item()
            return losses

        recorded = accelerate(replace(trainee, step=step), Compute(device, graphs=True, blocks=False)).step
        losses = [recorded(batch)["cross_entropy"].item() for _ in range(WARM + 4)]
        assert isinstance(recorded, GraphedStep)
        assert (recorded.failed is None) == (not asks), recorded.failed
        assert np.isfinite(losses).all()
        # Dropout draws anew in each.
        assert len(set(losses)) == len(losses)
