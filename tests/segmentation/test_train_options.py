import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import Optimizer

from crossmod.config import with_changes
from crossmod.data.augment import draw_affines, draw_variations, vary, warp
from crossmod.engine import loop
from crossmod.engine.interrupt import TrainingInterrupted
from crossmod.engine.loop import TrainingPlan
from crossmod.engine.optimizers import set_rates
from crossmod.engine.state import Batch, Losses, TrainingTask
from crossmod.presets import SEGMENT
from crossmod.segmentation import train as segment_train
from crossmod.segmentation.model import build
from crossmod.segmentation.train import train_segmenter
from crossmod.settings import SegmentSettings
from tests.support.segmenting import segment
from tests.support.stores import Stores

CPU = torch.device("cpu")
MODERN: dict[str, Any] = {
    "loss": "dice_cross_entropy",
    "schedule": "cosine",
    "strong_augment": True,
    "weight_decay": 1e-2,
    "ema": 0.9,
}


@given(st.integers(1, 60))
def test_cosine_is_torchs_cosine(steps: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    plan = TrainingPlan("", epochs=1, seed=0, steps=steps, decay=1.0, schedule="cosine")
    for step in range(steps):
        found = 0.3 * plan.learning_rate_factor(epoch=0, done=step / steps)
        assert found == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        schedule.step()
    assert plan.learning_rate_factor(epoch=0, done=1.0) == 0


def test_the_loop_follows_the_schedule(tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[float] = []

    def watch(optimizer: Optimizer, values: list[float]) -> None:
        taken.extend(values)
        set_rates(optimizer, values)

    monkeypatch.setattr(loop, "set_rates", watch)
    segment(tmp_path / "run", stores.mr, steps=4, schedule="cosine", learning_rate=1e-3)
    assert taken == pytest.approx([1e-3, 1e-3 * (2 + 2**0.5) / 4, 5e-4, 1e-3 * (2 - 2**0.5) / 4])


def _stopping(trainee: TrainingTask, after: int) -> TrainingTask:
    steps = iter(range(1, 99))

    def step(batch: Batch) -> Losses:
        if next(steps) == after:
            signal.raise_signal(signal.SIGTERM)
        return trainee.step(batch)

    return replace(trainee, step=step)


@pytest.mark.parametrize("network", ["tiny", "dynunet"])
def test_stopped_and_continued_it_ends_with_the_same_weights(network: str, tmp_path: Path, stores: Stores) -> None:
    """With rates that fall, averages, and noise and dropout (`tiny`) that torch draws."""
    more = {**MODERN, "network": network, "steps": 5, "size": 16}
    whole = segment(tmp_path / "whole", stores.mr, **more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_train, "build", lambda *given: _stopping(build(*given), after=3))
        with pytest.raises(TrainingInterrupted):
            segment(tmp_path / "halved", stores.mr, **more)
    halved = segment(tmp_path / "halved", stores.mr, **more)
    assert halved.card["weights_sha256"] == whole.card["weights_sha256"]
    assert halved.card["scores"] == whole.card["scores"]


def test_each_option_changes_the_weights(tmp_path: Path, stores: Stores) -> None:
    runs = {"none": {}, **{name: {name: value} for name, value in MODERN.items()}}
    cards = [segment(tmp_path / name, stores.mr, steps=2, size=16, **more).card for name, more in runs.items()]
    assert len({card["weights_sha256"] for card in cards}) == len(runs)


def test_weight_decay_is_torchs_adamw() -> None:
    """Given the same gradients, of which those before a norm are rounding alone."""
    batch = {"image": torch.rand(2, 1, 16, 16) * 2 - 1, "mask": torch.randint(0, 2, (2, 16, 16))}
    trainee = build(SegmentSettings(network="tiny", size=16, weight_decay=0.1, learning_rate=1e-3), CPU)
    weights = [*trainee.networks["segmenter"].parameters()]
    others = [weight.detach().clone() for weight in weights]
    adamw = torch.optim.AdamW(others, 1e-3, (0.9, 0.999), weight_decay=0.1)
    for _ in range(3):
        trainee.step(batch)
        for weight, other in zip(weights, others, strict=True):
            other.grad = weight.grad
        adamw.step()
    torch.testing.assert_close([weight.detach() for weight in weights], others, atol=1e-6, rtol=1e-5)


def test_variations_stay_in_their_ranges_and_half_of_the_slices_keep_each(rng: np.random.Generator) -> None:
    drawn = draw_variations(rng, 4000)
    for values, low, high, kept in zip(
        drawn["intensities"].T, (0.7, 0.75, 0), (1.5, 1.25, 0.1), (1, 1, 0), strict=True
    ):
        assert abs((values == kept).mean() - 0.5) < 0.04
        moved = values[values != kept]
        assert low - 1e-6 <= moved.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < moved.max() <= high + 1e-6
    scale = np.sqrt(np.linalg.det(drawn["affines"][:, :, :2]))
    turn = np.rad2deg(np.arctan2(drawn["affines"][:, 1, 0], drawn["affines"][:, 0, 0]))
    assert (scale.min(), scale.max()) == pytest.approx((0.75, 1.25), abs=0.01)
    assert (turn.min(), turn.max()) == pytest.approx((-20, 20), abs=0.2)
    # A shift of 0.2 is 10 % of a field that goes from -1 to 1.
    assert np.abs(drawn["affines"][:, :, 2]).max() == pytest.approx(0.2, abs=0.002)


def test_vary_by_hand(rng: np.random.Generator) -> None:
    image = torch.from_numpy(rng.uniform(-1, 1, (3, 1, 9, 9)).astype(np.float32))
    mask = torch.from_numpy(rng.integers(0, 2, (3, 9, 9)))
    still = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).repeat(3, 1, 1)
    intensities = torch.tensor([[1.0, 1, 0], [0.7, 1, 0], [1.5, 1.25, 0]])
    varied, classes = vary(image, mask, still, intensities)
    assert torch.equal(classes, mask)
    u = (image[:, 0].double().numpy() + 1) / 2
    wanted = np.stack([u[0], u[1] ** 0.7, np.minimum(1.25 * u[2] ** 1.5, 1)]) * 2 - 1
    np.testing.assert_allclose(varied[:, 0].numpy(), wanted, atol=1e-4)
    # Background stays, and masks go where images go.
    turned = torch.from_numpy(draw_affines(rng, 3))
    varied, classes = vary(torch.full_like(image, -1), mask, turned, intensities)
    assert (varied == -1).all()
    assert torch.equal(classes, warp(image, mask, turned)[1])


def test_noise_is_as_strong_as_it_says_and_torchs_seed_decides_it() -> None:
    gray, mask = torch.zeros(2, 1, 200, 200), torch.zeros(2, 200, 200, dtype=torch.int64)
    still = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).repeat(2, 1, 1)
    intensities = torch.tensor([[1.0, 1, 0.1], [1, 1, 0.05]])
    varied = []
    for _ in range(2):
        torch.manual_seed(3)
        varied.append(vary(gray, mask, still, intensities)[0])
    assert torch.equal(*varied)
    # Gray is u = 1/2, and u goes from 0 to 1 where images go from -1 to 1.
    inside = varied[0][..., 5:-5, 5:-5].flatten(1)
    assert inside.std(dim=1).tolist() == pytest.approx([0.2, 0.1], rel=0.02)
    assert inside.mean(dim=1).tolist() == pytest.approx([0, 0], abs=0.005)


def test_a_step_varies_its_slices_also_where_they_are_fewer_than_drawn() -> None:
    settings = SegmentSettings(network="tiny", size=16, batch_size=4, strong_augment=True)
    losses = []
    for draws in (0, 0, 1):
        trainee = build(settings, CPU)
        torch.manual_seed(0)
        image = torch.rand(3, 1, 16, 16) * 2 - 1
        batch = {"image": image, "mask": (image[:, 0] > 0).long(), **trainee.draw(np.random.default_rng(draws))}
        losses.append(trainee.step(batch)["cross_entropy"].item())
    assert losses[0] == losses[1] != losses[2]


def test_two_augmentations_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="one augmentation, got --augment and --strong-augment"):
        SegmentSettings(augment=True, strong_augment=True)


def test_the_small_preset_trains_as_the_large_one_does() -> None:
    large, small = (SEGMENT[name].model_dump() for name in ("modern", "tiny_modern"))
    differing = {name for name in large if large[name] != small[name]}
    assert differing == {"network", "size", "precision", "learning_rate", "ema", "steps"}


def test_the_small_preset_learns(tmp_path: Path, stores: Stores) -> None:
    changes = {"size": 32, "steps": 60, "ema": 0.9}
    settings = with_changes(SEGMENT["tiny_modern"], **changes)
    run = train_segmenter(tmp_path / "run", real=stores.mr, settings=settings)
    assert run.card["scores"]["patient"]["dice"] > 0.7
