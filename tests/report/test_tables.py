from pathlib import Path
from typing import Any

import pytest

from crossmod.report.tables import arms, baseline_of, difference, one_line, verdict
from crossmod.runs import Run, start_run


def made_run(path: Path, dice: dict[str, float], *, count: int = 0, seed: int = 0, **more: Any) -> Run:
    """A finished segmentation run with these scores."""
    card = {
        "settings": {"seed": seed, "count": count, "min_consistency": 0.0, "network": "tiny"},
        "parameters": 10,
        "data": {
            "synthetic_family": "essnet" if count else None,
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
    baseline = baseline_of(found)
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


def test_the_line_of_one_run(tmp_path: Path) -> None:
    card = made_run(tmp_path / "a", {"a": 0.5, "b": 0.7}, leaking=True).card
    card["scores"]["constant"] = True
    line = one_line(card)
    assert line.startswith("Dice 0.600 by patient (3D, 2 patients), 0.700 by slice, AUC 0.9000")
    assert "LEAKING" in line
    assert "found nothing" in line
