from pathlib import Path
from typing import Any

import pytest

from crossmod.errors import InputError
from crossmod.evaluate.statistics import Difference
from crossmod.report.tables import Arm, arms, baseline_of, difference, one_line, verdict
from crossmod.runs import Run, start_run


def made_run(
    path: Path,
    dice: dict[str, float],
    *,
    count: int = 0,
    seed: int = 0,
    fold: int = 0,
    network: str = "tiny",
    models: tuple[str, ...] = ("m",),
    **more: Any,
) -> Run:
    """A finished segmentation run with these scores."""
    card = {
        "settings": {
            "seed": seed,
            "fold": fold,
            "count": count,
            "min_consistency": 0.0,
            "network": network,
            "test_patients": (),
        },
        "parameters": 10,
        "data": {
            "synthetic_family": "essnet" if count else None,
            "synthetic_recipe": "r" if count else None,
            "synthetic_models": list(models) if count else [],
            "train_slices": 20,
            "test_patients": sorted(dice),
        },
        "tested": {},
        "leaking": False,
        "scores": {
            "patient": {"dice": sum(dice.values()) / len(dice), "iou": 0.5},
            "patient_values": {"dice": dice},
            "slice": {"dice": 0.7, "iou": 0.6},
            "auc": 0.9,
            "constant": False,
        },
        "steps": 100,
        **more,
    }
    run = start_run(path, "segment", card["settings"], {})
    run.finish(card)
    return run


def test_seeds_make_an_arm(tmp_path: Path) -> None:
    runs = [
        made_run(tmp_path / f"{count}-{seed}", {"a": 0.5 + seed / 10 + count / 100, "b": 0.7}, count=count, seed=seed)
        for count in (0, 10)
        for seed in (0, 1)
    ]
    found = arms(runs)
    assert [arm.name for arm in found] == ["20 real", "20 real + 10 EssNet"]
    assert [len(arm.runs) for arm in found] == [2, 2]
    baseline = baseline_of(found, found[1])
    assert baseline is not None
    assert baseline is found[0]
    assert baseline.by_patient == pytest.approx({"a": 0.55, "b": 0.7})
    assert baseline.spread == "0.600 to 0.650"
    assert found[1].mean("slice", "dice") == "0.700"
    change = difference(baseline, found[1])
    assert change is not None
    assert change.mean == pytest.approx(0.05)
    assert "an effect is not shown: 3D Dice changes by +0.050" in verdict(found[1], change)


def test_the_words_for_an_effect(tmp_path: Path) -> None:
    old = {f"p{i}": 0.8 + i / 100 for i in range(8)}
    runs = []
    for seed in (0, 1, 2):
        runs.append(made_run(tmp_path / f"r{seed}", {p: v + seed / 1000 for p, v in old.items()}, seed=seed))
        better = {p: v + 0.05 + seed / 1000 + i / 1000 for i, (p, v) in enumerate(old.items())}
        runs.append(made_run(tmp_path / f"s{seed}", better, count=5, seed=seed))
    real, more = arms(runs)
    assert verdict(more, difference(real, more)).startswith("20 real + 5 EssNet: improves 3D Dice by +0.05")
    assert "hurts: 3D Dice changes by -0.05" in verdict(real, difference(more, real))


def test_one_seed_is_never_enough(tmp_path: Path) -> None:
    old = {f"p{i}": 0.5 + i / 100 for i in range(8)}
    real, more = arms([
        made_run(tmp_path / "a", old), made_run(tmp_path / "b", {p: v + 0.3 for p, v in old.items()}, count=5),
    ])  # fmt: skip
    assert "with one seed an arm an effect is not shown" in verdict(more, difference(real, more))


def test_other_patients_are_not_compared(tmp_path: Path) -> None:
    real, more = arms([made_run(tmp_path / "a", {"a": 0.5}), made_run(tmp_path / "b", {"b": 0.5}, count=5)])
    assert difference(real, more) is None
    assert "not compared" in verdict(more, None)


def test_a_run_named_twice_is_no_second_witness(tmp_path: Path) -> None:
    """Given twice, one run must not become two seeds."""
    real, more = made_run(tmp_path / "a", {"a": 0.5, "b": 0.6}), made_run(tmp_path / "b", {"a": 0.7, "b": 0.8}, count=5)
    found = arms([real, more, Run(tmp_path / "a"), Run(tmp_path / "a" / ".." / "b")])
    assert [len(arm.runs) for arm in found] == [1, 1]


def test_a_copied_run_is_refused(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / name, {"a": 0.5, "b": 0.6}) for name in "ab"]
    with pytest.raises(InputError, match="patient a tested with seed 0, as in"):
        arms(runs)


def test_folds_are_put_together(tmp_path: Path) -> None:
    runs = [
        made_run(tmp_path / f"{count}-{seed}-{fold}", {f"p{2 * fold + i}": 0.5 + count / 100 for i in range(2)},
                 count=count, seed=seed, fold=fold, models=(f"m{fold}",))
        for count in (0, 10) for seed in (0, 1) for fold in (0, 1)
    ]  # fmt: skip
    real, more = arms(runs)
    assert set(real.by_patient) == {"p0", "p1", "p2", "p3"}
    found = difference(real, more)
    assert found is not None
    assert (found.patients, found.seeds) == (4, 2)
    # One model a fold: no other training of the translator was tried.
    assert more.single_model == "essnet"


def test_one_trained_translator_is_said_to_be_one(tmp_path: Path) -> None:
    def made(models: list[str]) -> Arm:
        root = tmp_path / "".join(models)
        runs = [
            made_run(root / m / str(i), {"a": 0.5, "b": 0.6}, count=5, seed=i, models=(m,))
            for i, m in enumerate(models)
        ]
        return arms(runs)[0]

    difference_of = Difference(0.1, 0.05, 0.15, 5, 3)
    assert "with one trained EssNet: another training of it may do otherwise" in verdict(
        made(["x", "x"]), difference_of
    )
    assert "another training" not in verdict(made(["x", "y"]), difference_of)


def test_arms_are_compared_to_what_was_trained_alike(tmp_path: Path) -> None:
    dice = {"a": 0.5, "b": 0.6}
    runs = [
        made_run(tmp_path / "1", dice), made_run(tmp_path / "2", dice, network="unet"),
        made_run(tmp_path / "3", dice, network="unet", count=5),
    ]  # fmt: skip
    tiny, unet, more = arms(runs)
    assert baseline_of([tiny, unet, more], more) is unet
    assert baseline_of([tiny, more], more) is None
    assert [arm.name for arm in (tiny, unet)] == ["20 real, network tiny", "20 real, network unet"]


def test_the_line_of_one_run(tmp_path: Path) -> None:
    card = made_run(tmp_path / "a", {"a": 0.5, "b": 0.7}, leaking=True).card
    card["scores"]["constant"] = True
    line = one_line(card)
    assert line.startswith("Dice 0.600 by patient (3D, 2 patients), 0.700 by slice, AUC 0.9000")
    assert "LEAKING" in line
    assert "found nothing" in line
