from pathlib import Path
from typing import Any

import pytest

from crossmod.errors import InputError
from crossmod.report.collect import Arm, arms, baseline_of, compared, one_line, verdict
from crossmod.runs import Run, start_run
from crossmod.statistics.verdicts import Compared
from tests.support.report_tables import made_run


def translator(path: Path, model: str, seed: int, patients: tuple[str, ...]) -> Run:
    """A finished training from CT to MR."""
    side = {"patients": list(patients)}
    settings = {"seed": seed, "source": "ct"}
    run = start_run(path, "train", settings, {})
    run.finish({"settings": settings, "data": {"ct": side, "mr": side}, "weights_sha256": model, "steps": 1})
    return run


def only(all_arms: list[Arm], translators: tuple[Run, ...] = ()) -> Compared:
    """The comparison of the only arm that has one."""
    (found,) = [one for one in compared(all_arms, translators) if one is not None]
    return found


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
    change = only(found)
    assert change.effect.mean == pytest.approx(0.05)
    assert "3D Dice not shown: +0.050" in verdict(found[1], change)


def gaining(tmp_path: Path, gain: float, **more: Any) -> list[Arm]:
    """Eight patients in four folds, three seeds each; translators by fold."""
    runs = []
    for fold in range(4):
        dice = {f"p{fold}{i}": 0.8 + i / 100 for i in range(2)}
        for seed in range(3):
            name = f"{fold}-{seed}"
            runs.append(
                made_run(tmp_path / f"r{name}", {p: v + seed / 1000 for p, v in dice.items()}, seed=seed, fold=fold)
            )
            moved = {p: v + gain + fold / 1000 + seed / 1000 for p, v in dice.items()}
            models = more.get("models", (f"m{fold}",))
            runs.append(made_run(tmp_path / f"s{name}", moved, count=5, seed=seed, fold=fold, models=models))
    return arms(runs)


def test_the_words_for_an_effect(tmp_path: Path) -> None:
    made = tuple(translator(tmp_path / f"t{fold}", f"m{fold}", fold, (f"c{fold}",)) for fold in range(4))
    real, more = found = gaining(tmp_path / "up", 0.05)
    change = only(found, made)
    assert (change.verdict, change.effect.patients, change.effect.seeds) == ("improves", 8, 3)
    assert verdict(more, change).startswith("20 real + 5 EssNet: synthetic slices improve 3D Dice: +0.05")
    assert "synthetic slices lower 3D Dice: -0.04" in only(gaining(tmp_path / "down", -0.05), made).sentence
    assert compared(found, made)[found.index(real)] is None


def test_one_trained_translator_speaks_for_itself(tmp_path: Path) -> None:
    """Whatever it shows is of this model; so it is where nothing is known of the translators' seeds and patients."""
    one = only(gaining(tmp_path / "one", 0.05, models=("m",)))
    assert one.verdict == "improves"
    assert "this model improves 3D Dice" in one.sentence
    assert "another training may do otherwise" in one.sentence
    unknown = only(gaining(tmp_path / "unknown", 0.05))
    assert unknown.facts.scope == "these models"
    same = tuple(translator(tmp_path / f"t{fold}", f"m{fold}", 0, (f"c{fold}",)) for fold in range(4))
    assert only(gaining(tmp_path / "seed", 0.05), same).facts.shared == ("the seed of the translators",)
    for found in (one, unknown):
        assert "synthetic slices improve" not in found.sentence


def test_a_leaking_split_never_speaks_of_patients(tmp_path: Path) -> None:
    runs = [
        made_run(tmp_path / f"{count}-{seed}", {f"p{i}": 0.8 + count / 100 + i / 100 for i in range(9)}, count=count,
                 seed=seed, models=(f"m{seed}",), leaking=True)
        for count in (0, 5) for seed in (0, 1, 2)
    ]  # fmt: skip
    found = only(arms(runs))
    assert "patients: the split is by slice" in found.facts.shared
    assert "synthetic slices improve" not in found.sentence


def test_a_baseline_that_was_not_trained_is_said(tmp_path: Path) -> None:
    found = gaining(tmp_path, 0.05)
    for run in found[0].runs:
        run.log({"step": 5, "epoch": 0, "cross_entropy": 0.6})
    change = only(found)
    assert change.verdict == "not comparable"
    assert "the baseline is not trained enough (5 steps are too few" in change.sentence


def test_one_seed_is_never_enough(tmp_path: Path) -> None:
    old = {f"p{i}": 0.5 + i / 100 for i in range(8)}
    found = arms([
        made_run(tmp_path / "a", old), made_run(tmp_path / "b", {p: v + 0.3 for p, v in old.items()}, count=5),
    ])  # fmt: skip
    assert "one seed per arm shows nothing" in only(found).sentence


def test_other_patients_are_not_compared(tmp_path: Path) -> None:
    found = arms([made_run(tmp_path / "a", {"a": 0.5}), made_run(tmp_path / "b", {"b": 0.5}, count=5)])
    assert compared(found, ()) == [None, None]
    assert "not compared" in verdict(found[1], None)


def test_runs_of_one_fold_with_other_patients_are_not_compared(tmp_path: Path) -> None:
    """The store has grown between two seeds: no one set of patients was tested."""
    found = arms([
        made_run(tmp_path / "a", {"a": 0.5, "b": 0.6}), made_run(tmp_path / "b", {"a": 0.5, "c": 0.6}, seed=1),
        made_run(tmp_path / "c", {"a": 0.5, "b": 0.6}, count=5),
    ])  # fmt: skip
    assert compared(found, ()) == [None, None]
    assert found[0].by_patient == {"a": 0.5, "b": 0.6, "c": 0.6}


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
    found = only([real, more])
    assert (found.effect.patients, found.effect.seeds) == (4, 2)


def test_seeds_that_differ_from_fold_to_fold_are_counted_in_their_order(tmp_path: Path) -> None:
    """As where each fold has seeds of its own: the first of each make one row, and so on."""
    runs = [
        made_run(tmp_path / f"{fold}-{seed}", {f"p{fold}": 0.5 + 0.1 * place}, seed=seed, fold=fold)
        for fold, seeds in enumerate(((3, 8), (2, 5))) for place, seed in enumerate(seeds)
    ]  # fmt: skip
    (real,) = arms(runs)
    assert real.by_seed == [{"p0": 0.5, "p1": 0.5}, {"p0": 0.6, "p1": 0.6}]
    assert real.spread == "0.500 to 0.600"


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
    words = "Dice 0.600 by patient (3D, 2 patients), 0.750 over all pixels, 0.700 by slice, AUC 0.9000"
    assert line.startswith(words)
    del card["scores"]["pooled"]
    assert one_line(card).startswith("Dice 0.600 by patient (3D, 2 patients), 0.700 by slice, AUC 0.9000")
    assert "LEAKING" in line
    assert "found nothing" in line
