"""The use of synthetic slices beside real ones: which slices a step takes, what they count, and that defaults stay."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from crossmod.data.batches import LabelledBatches
from crossmod.data.slices import SliceSet
from crossmod.errors import InputError
from crossmod.experiment.plan import make_plan
from crossmod.presets import SEGMENT, with_asked, without_idle_use
from crossmod.segmentation import model
from crossmod.segmentation.data import Split
from crossmod.segmentation.synthetic_use import MixedBatches, batches_of, chosen_slices, weighted
from crossmod.settings import SegmentSettings
from tests.support.small_design import SEGMENTER, small_design
from tests.support.stores import Stores

CPU = torch.device("cpu")
SIZE = 16


def slices(count: int, seed: int) -> SliceSet:
    from crossmod.benchmark.session import slice_set

    return slice_set(f"mr {seed}", count, SIZE, classes=2)


def split(real: int = 5, synthetic: int = 11) -> Split:
    return Split(slices(real, 0), slices(synthetic, 1), slices(2, 2))


def settings(**more: Any) -> SegmentSettings:
    return SegmentSettings(**{"size": SIZE, "batch_size": 4, "count": 11, "network": "tiny", **more})


def all_chosen(per_epoch: int, passes: int, real: int = 5, synthetic: int = 11, **more: Any) -> list[np.ndarray]:
    """The slices of every step of some epochs."""
    own = settings(**more)
    places = [(epoch, step) for epoch in range(passes) for step in range(per_epoch)]
    return [chosen_slices(real, synthetic, own, per_epoch, *place) for place in places]


def test_at_least_the_share_is_real_and_the_rest_is_of_all() -> None:
    chosen = all_chosen(4, 25, real_share=0.5)
    real = [int((batch < 5).sum()) for batch in chosen]
    assert {len(batch) for batch in chosen} == {4}
    assert min(real) == 2
    assert max(real) > 2
    # The half that is drawn from all slices is real as often as slices are: 2 + 2 x 5 / 16.
    assert np.mean(real) == pytest.approx(2 + 10 / 16, abs=0.2)
    # Real ones are taken in whole shuffles: of 8 sure places per epoch each of five is taken once or twice.
    assert all((np.diff(batch >= 5) >= 0).all() for batch in chosen)


@pytest.mark.parametrize(("share", "batch", "sure"), [(0.3, 10, 3), (0.01, 4, 1), (0.5, 3, 2), (0.9, 4, 4)])
def test_shares_are_rounded_up(share: float, batch: int, sure: int) -> None:
    chosen = all_chosen(3, 25, real=2, synthetic=1000, real_share=share, batch_size=batch)
    assert min(int((one < 2).sum()) for one in chosen) == sure


def test_first_synthetic_then_real() -> None:
    """16 slices in batches of 4, 4 steps per epoch, 10 epochs: 16 of the 40 steps are synthetic."""
    chosen = all_chosen(4, 10, pretrain=0.4, epochs=10)
    kinds = [set(batch >= 5) for batch in chosen]
    assert kinds == [{True}] * 16 + [{False}] * 24
    # 16 places of an epoch hold each of 11 slices once or twice.
    counts = Counter(np.concatenate(chosen[:4]).tolist())
    assert set(counts) == set(range(5, 16))
    assert set(counts.values()) == {1, 2}
    by_steps = all_chosen(4, 3, pretrain=0.5, steps=10)
    assert [bool((batch >= 5).all()) for batch in by_steps] == [True] * 5 + [False] * 7


@examples(max_examples=15)
@given(st.sampled_from([{"real_share": 0.5}, {"pretrain": 0.5, "epochs": 2}, {"synthetic_weight": 0.5}]),
       st.integers(1, 3), st.integers(2, 3), st.booleans())  # fmt: skip
def test_shards_are_together_the_batch_of_one_rank(use: dict[str, Any], count: int, ranks: int, augment: bool) -> None:
    sides = split()
    own = settings(batch_size=2 * count, augment=augment, **use)
    shards = [batches_of(sides, own, CPU, rank=rank, ranks=ranks) for rank in range(ranks)]
    assert {shard.steps for shard in shards} == {-(-16 // (2 * count * ranks))}
    for epoch in range(2):
        for step in range(shards[0].steps):
            parts = [shard.batch(epoch, step) for shard in shards]
            assert {len(part["image"]) for part in parts} == {2 * count}
            again = [shard.batch(epoch, step) for shard in shards]
            assert all(torch.equal(one["image"], two["image"]) for one, two in zip(parts, again, strict=True))


def test_the_slices_are_those_that_were_chosen() -> None:
    sides, own = split(), settings(real_share=0.5, synthetic_weight=0.5)
    batches = batches_of(sides, own, CPU, rank=0, ranks=1)
    pixels = np.concatenate([part.pixels for part in sides.parts])
    for step in range(batches.steps):
        batch, chosen = batches.batch(1, step), chosen_slices(5, 11, own, batches.steps, 1, step)
        expected = LabelledBatches(sides.parts, own, CPU).gather(chosen, 1, 16, slice(0, 4))["image"]
        assert torch.equal(batch["image"], expected)
        ratio = batch["image"][:, 0].double() / torch.from_numpy(pixels[chosen].astype(np.float64)).clamp(min=1e-9)
        assert ratio.isfinite().all()
        assert len(batch["synthetic"]) == (chosen >= 5).sum()


def test_with_defaults_or_slices_of_one_kind_batches_are_as_before() -> None:
    assert isinstance(batches_of(split(), settings(), CPU, rank=0, ranks=1), LabelledBatches)
    assert isinstance(batches_of(split(), settings(real_share=0.5), CPU, rank=0, ranks=1), MixedBatches)
    alone = Split(None, slices(11, 1), slices(2, 2))
    used = settings(real_share=0.5, without_real=True)
    assert isinstance(batches_of(alone, used, CPU, rank=0, ranks=1), LabelledBatches)
    assert not {"real_share", "synthetic_weight", "pretrain"} & settings().model_dump().keys()
    assert settings(pretrain=0.25).model_dump()["pretrain"] == 0.25


def test_the_weighted_loss_is_the_weighted_mean_over_pixels(rng: np.random.Generator) -> None:
    logits = torch.from_numpy(rng.normal(size=(5, 4, 4)))
    truth = torch.from_numpy(rng.integers(0, 2, (5, 4, 4)).astype(np.float64))
    found = weighted(model.cross_entropy, logits, truth, 2, 0.3)["cross_entropy"]
    weights = torch.tensor([1, 1, 1, 0.3, 0.3], dtype=torch.float64)[:, None, None].expand(5, 4, 4)
    expected = F.binary_cross_entropy_with_logits(logits, truth, weight=weights, reduction="sum") / weights.sum()
    assert float(found) == pytest.approx(float(expected))
    for count in (0, 5):
        alone = weighted(model.cross_entropy, logits, truth, count, 0.3)["cross_entropy"]
        assert float(alone) == pytest.approx(float(model.cross_entropy(logits, truth)["cross_entropy"]))
    both = weighted(model.dice_cross_entropy, logits, truth, 2, 0.3)
    dice = (3 * model.soft_dice(logits[:3], truth[:3]) + 0.6 * model.soft_dice(logits[3:], truth[3:])) / 3.6
    assert float(both["soft_dice"]) == pytest.approx(float(dice))


@pytest.mark.parametrize("strong", [False, True])
def test_a_step_uses_the_weight(strong: bool) -> None:
    own = settings(synthetic_weight=0.01, strong_augment=strong)
    batch = batches_of(split(), own, CPU, rank=0, ranks=1).batch(0, 0)
    assert 0 < len(batch["synthetic"]) < 4
    losses = []
    for used in (own, settings(strong_augment=strong)):
        task = model.build(used, CPU)
        draws = task.draw(np.random.default_rng(0))
        taken = batch if used is own else {name: batch[name] for name in ("image", "mask")}
        losses.append(float(task.step({**taken, **draws})["cross_entropy"]))
    assert losses[0] != losses[1]


def test_settings_without_effect() -> None:
    for name, value in (("real_share", 0.5), ("synthetic_weight", 0.5), ("pretrain", 0.5)):
        with pytest.raises(InputError, match="--count with it"):
            with_asked(SEGMENT["tiny"], {name: value})
        assert getattr(with_asked(SEGMENT["tiny"], {name: value, "count": 3}), name) == value
    with pytest.raises(InputError, match="no --pretrain beside it"):
        with_asked(SEGMENT["tiny"], {"pretrain": 0.5, "synthetic_weight": 0.5, "count": 3})
    with pytest.raises(InputError, match="no --pretrain beside it"):
        with_asked(SEGMENT["tiny"], {"pretrain": 0.5, "real_share": 0.5, "count": 3})
    assert without_idle_use(settings(count=0, real_share=0.5, synthetic_weight=2)) == settings(count=0)
    assert without_idle_use(settings(real_share=0.5)) == settings(real_share=0.5)


def test_baselines_of_all_uses_are_shared_runs(stores: Stores) -> None:
    def segmenter(**more: Any) -> dict[str, Any]:
        return {**SEGMENTER, "settings": {**SEGMENTER["settings"], **more}}

    def plan_of(**segmenters: dict[str, Any]) -> Any:
        design = small_design(segmenters=segmenters, labelled=["none", 1, "all"])
        return make_plan(design, {"ct": (stores.ct,), "mr": (stores.mr,)})

    plain = plan_of(unet=SEGMENTER)
    uses = {"half": {"real_share": 0.5}, "light": {"synthetic_weight": 0.5}, "first": {"pretrain": 0.5}}
    plan = plan_of(unet=SEGMENTER, **{name: segmenter(**use) for name, use in uses.items()})
    # Names of jobs stay as they are without these segmenters.
    assert set(plain.jobs) < set(plan.jobs)
    runs = {name: arm.runs for name, arm in plan.arms.items()}
    for name in uses:
        assert runs[f"{name}, real"] == runs["unet, real"]
        assert runs[f"{name}, real of 1 patient"] == runs["unet, real of 1 patient"]
        assert runs[f"{name}, 4 essnet"] == runs["unet, 4 essnet"]
        assert not set(runs[f"{name}, real + 4 essnet"].values()) & set(runs["unet, real + 4 essnet"].values())
    with pytest.raises(InputError, match="no --pretrain beside it"):
        plan_of(unet=segmenter(pretrain=0.5, synthetic_weight=2)).design.segmenter_settings  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("use", [{"real_share": 0.5}, {"synthetic_weight": 0.5}, {"pretrain": 0.5}])
def test_a_killed_training_resumes_with_the_same_weights(stores: Stores, tmp_path: Path, use: dict[str, Any]) -> None:
    from crossmod.engine.distributed import launch_processes
    from crossmod.engine.loop import TrainingPlan, fit
    from crossmod.runs import start_run
    from crossmod.settings import Machine

    own, weights = settings(**use), []
    for name, stops in (("whole", (12,)), ("parts", (5, 12))):
        run = start_run(tmp_path / name, "segment", {}, {})
        task = model.build(own, CPU)
        for steps in stops:
            task = model.build(own, CPU)
            with launch_processes(Machine(device="cpu"), small=True) as world:
                batches = batches_of(split(), settings(steps=12, **use), CPU, rank=0, ranks=1)
                fit(task, batches, run, TrainingPlan("t", 1, 0, steps=steps), world)
        weights.append(task.networks["segmenter"].state_dict())
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name])
