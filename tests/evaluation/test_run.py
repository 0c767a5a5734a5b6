import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from crossmod.data.store import Store
from crossmod.errors import InputError
from crossmod.evaluation.baseline import hold_out
from crossmod.evaluation.result import lines
from crossmod.evaluation.run import evaluate_images
from crossmod.evaluation.settings import EvaluationSettings
from crossmod.metrics.distribution import METRICS
from crossmod.runs import Run
from tests.support.evaluated_people import People, look_alike, make_people, real_store, synthetic_store


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return make_people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def result(people: People, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("judged") / "result"
    settings = EvaluationSettings(draws=60)
    return evaluate_images(people.mr, [people.good, people.poor], out, source=[people.ct], settings=settings)


def average(run: Run, model: str, side: str, metric: str) -> list[float | None]:
    return run.card["models"][model][side]["average"][metric]


def test_images_without_texture_are_told_from_real_and_others_are_not(result: Run) -> None:
    verdicts = {name: model["verdicts"] for name, model in result.card["models"].items()}
    for metric in ("kid", "kl_256", "correlation", "intersection"):
        assert verdicts["poor"][metric] == "further than real", metric
        assert verdicts["good"][metric] == "not told from real", metric
    jumps = {name: model["jumps"] for name, model in result.card["models"].items()}
    assert jumps["poor"]["ratio"] == pytest.approx(0, abs=0.01)  # every slice is the same
    assert jumps["good"]["ratio"] == pytest.approx(1, abs=0.1)
    assert jumps["good"]["real"] == jumps["poor"]["real"] == pytest.approx(1, abs=0.1)


def test_the_card_says_what_was_compared(result: Run, people: People) -> None:
    card = result.card
    assert (card["kind"], card["modality"], card["sequence"], card["size"]) == ("evaluate", "mr", "t2_spir", 32)
    assert card["detector"]["name"] == "random"
    assert len(card["detector"]["sha256"]) == 64
    assert card["patients"] == [4, 4]
    assert set(card["layers"]["rules"]["good"].values()) == {"liver"}
    assert card["layers"]["counts"]["good"][0] == 0
    assert card["images"]["1"][0] == card["layers"]["counts"]["reference"][0]
    assert card["data"]["models"]["good"]["patients"] == [f"ct-{i}" for i in range(4)]
    seen = card["data"]["models"]["good"]
    assert sorted(seen["reference_trained_on"] + seen["held_trained_on"]) == ["mr-100", "mr-101", "mr-102"]
    assert result.config["inputs"]["real"] == {case.id: case.sha256 for case in Store(people.mr).cases}
    assert all(value is None for values in (average(result, "good", "scores", "kl_3"),) for value in values)


def test_what_a_reader_must_know_is_said_once(result: Run) -> None:
    warnings = result.card["warnings"]
    assert sum("good, poor: trained on" in line for line in warnings) == 1
    assert any("no slices in layer" in line and "1" in line for line in warnings)
    assert any("with the organ only" in line for line in warnings)


def test_no_pixel_of_anybody_is_written(result: Run) -> None:
    """Averaged spectra and scores alone; what is drawn is read from the stores again."""
    files = {path.name for path in result.path.rglob("*") if path.is_file()}
    assert files == {
        "config.yaml",
        "environment.json",
        "card.json",
        "draws.safetensors",
        "spectra.safetensors",
        ".lock",
    }
    assert {v.shape for v in load_file(result.path / "spectra.safetensors").values()} == {(32, 17)}
    assert {v.shape for v in load_file(result.path / "draws.safetensors").values()} == {(61, len(METRICS))}


def test_the_same_command_again_does_nothing_and_another_is_refused(result: Run, people: People) -> None:
    before = (result.path / "card.json").stat().st_mtime_ns
    stores = [people.good, people.poor]
    again = evaluate_images(people.mr, stores, result.path, source=[people.ct], settings=EvaluationSettings(draws=60))
    assert again.card == result.card
    assert (result.path / "card.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"another --draws \(60 then, 5 now\)"):
        evaluate_images(people.mr, stores, result.path, source=[people.ct], settings=EvaluationSettings(draws=5))
    with pytest.raises(InputError, match="another input source ct-0"):
        evaluate_images(people.mr, stores, result.path, settings=EvaluationSettings(draws=60))
    with pytest.raises(InputError, match="another input synthetic"):
        evaluate_images(people.mr, stores[:1], result.path, source=[people.ct], settings=EvaluationSettings(draws=60))


def test_the_same_seed_gives_the_same_numbers(result: Run, people: People, tmp_path: Path) -> None:
    settings = EvaluationSettings(draws=60)
    again = evaluate_images(
        people.mr, [people.good, people.poor], tmp_path / "r", source=[people.ct], settings=settings
    )
    for key in ("baseline", "models", "shown"):
        assert again.card[key] == result.card[key]


def test_the_very_images_of_the_reference_have_no_distance(people: People, tmp_path: Path) -> None:
    reference, _ = hold_out([case.patient for case in Store(people.mr).cases], seed=0)
    numbers = [int(name.removeprefix("mr-")) for name in reference]
    copy = real_store(tmp_path / "copy", "mr", numbers)
    run = evaluate_images(people.mr, [copy], tmp_path / "r", settings=EvaluationSettings(draws=10))
    assert average(run, "copy", "scores", "frechet")[0] == pytest.approx(0, abs=1e-5)
    assert average(run, "copy", "ratios", "kl_256")[0] == 0
    assert average(run, "copy", "scores", "intersection")[0] == pytest.approx(1)
    assert average(run, "copy", "scores", "spectrum")[0] == pytest.approx(1)
    warnings = "\n".join(run.card["warnings"])
    assert "4 of 4 cases are the real ones themselves" in warnings
    assert "4 of its patients" in warnings
    assert "does not say how its images were made" in warnings


def test_a_store_against_itself_is_no_error(people: People, tmp_path: Path) -> None:
    run = evaluate_images(people.mr, [people.mr], tmp_path / "r", settings=EvaluationSettings(draws=0))
    assert average(run, "mr", "ratios", "frechet")[0] is not None
    assert run.card["models"]["mr"]["verdicts"]["frechet"] == "not shown"
    assert run.card["models"]["mr"]["pairing"] is None


def test_constant_slices_have_no_spectrum_and_that_is_said(people: People, tmp_path: Path) -> None:
    def blank(volume: Any, number: int) -> np.ndarray:
        voxels = np.full(volume.voxels.shape, 7.0)
        voxels[0, 0, 0] = 8  # a store refuses volumes of one value
        return voxels

    made = synthetic_store(tmp_path / "blank", people.ct, blank, trained_on=["ct-0"])
    run = evaluate_images(people.mr, [made], tmp_path / "r", source=[people.ct], settings=EvaluationSettings(draws=5))
    assert average(run, "blank", "scores", "spectrum")[0] is None
    assert run.card["models"]["blank"]["verdicts"]["spectrum"] == "undefined"
    assert any("slices have a single value" in line for line in run.card["warnings"])
    assert any("spectral correlation" in line and "undefined" in line for line in lines(run.card))


def test_a_body_that_is_the_whole_slice_is_warned_of(people: People, tmp_path: Path, rng: np.random.Generator) -> None:
    def inside(volume: Any, number: int) -> np.ndarray:
        voxels = rng.uniform(80, 120, volume.voxels.shape)
        voxels[:, :2, :2] = 1  # air in a corner alone
        return voxels

    made = synthetic_store(tmp_path / "inside", people.ct, inside, trained_on=["ct-0"])
    run = evaluate_images(
        people.mr, [made, people.good], tmp_path / "r", source=[people.ct], settings=EvaluationSettings(draws=0)
    )
    warned = [line for line in run.card["warnings"] if "are taken for body" in line]
    assert len(warned) == 1
    assert warned[0].startswith("inside: more than 95% of the slices of ")


def test_slices_of_another_size_are_resampled(people: People, tmp_path: Path) -> None:
    settings = EvaluationSettings(draws=0, size=24)
    run = evaluate_images(people.mr, [people.good], tmp_path / "r", source=[people.ct], settings=settings)
    assert run.card["size"] == 24
    assert any("slices of 32 x 32 were resampled to 24 x 24" in line for line in run.card["warnings"])
    assert load_file(run.path / "spectra.safetensors")["0"].shape == (24, 13)


def test_real_slices_that_were_enlarged_are_warned_of(people: People, tmp_path: Path) -> None:
    settings = EvaluationSettings(draws=0, size=40)
    run = evaluate_images(people.mr, [people.good], tmp_path / "r", source=[people.ct], settings=settings)
    assert any("8 real cases of fewer pixels were enlarged to 40" in line for line in run.card["warnings"])


def test_one_patient_on_a_side_gives_scores_and_shows_nothing(people: People, tmp_path: Path) -> None:
    two = real_store(tmp_path / "two", "mr", [100, 101])
    run = evaluate_images(two, [people.poor], tmp_path / "r", source=[people.ct], settings=EvaluationSettings(draws=20))
    value, low, high = average(run, "poor", "ratios", "kl_256")
    assert value is not None
    assert (low, high) == (None, None)
    assert set(run.card["models"]["poor"]["verdicts"].values()) <= {"not shown", "undefined"}
    assert any("One real patient only" in line for line in run.card["warnings"])


def test_ct_has_three_bins_and_its_window_is_watched(people: People, tmp_path: Path) -> None:
    real = real_store(tmp_path / "real", "ct", range(50, 56))
    cut = synthetic_store(
        tmp_path / "cut", people.ct, lambda v, _: np.clip(v.voxels, -100, 60), target="ct", sequence=None
    )
    run = evaluate_images(real, [cut], tmp_path / "r", source=[people.ct], settings=EvaluationSettings(draws=0))
    assert average(run, "cut", "scores", "kl_3")[0] is not None
    assert any("values from -100 to 60 HU only" in line for line in run.card["warnings"])
    narrow = EvaluationSettings(draws=0, window=(-100, 60))
    run = evaluate_images(real, [cut], tmp_path / "n", source=[people.ct], settings=narrow)
    assert average(run, "cut", "scores", "kl_3")[0] is None
    assert any("Three bins are left out" in line for line in run.card["warnings"])
    assert not any("HU only" in line for line in run.card["warnings"])


def test_counting_inside_the_body_changes_histograms_alone(result: Run, people: People, tmp_path: Path) -> None:
    settings = EvaluationSettings(draws=0, inside=True)
    run = evaluate_images(people.mr, [people.good, people.poor], tmp_path / "r", source=[people.ct], settings=settings)
    for metric in ("frechet", "spectrum"):
        assert average(run, "poor", "scores", metric)[0] == average(result, "poor", "scores", metric)[0]
    # Half of a slice is air, which is the same on both sides: without it, they share less.
    inside, whole = (average(one, "poor", "scores", "intersection")[0] for one in (run, result))
    assert inside is not None
    assert whole is not None
    assert inside < whole


def test_layers_that_no_set_shares(people: People, tmp_path: Path) -> None:
    low = synthetic_store(tmp_path / "low", people.ct, look_alike, slices=[0])
    with pytest.raises(InputError, match="a layer that all sets show"):
        evaluate_images(people.mr, [low], tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_what_is_refused_leaves_nothing(people: People, tmp_path: Path) -> None:
    out = tmp_path / "r"
    with pytest.raises(InputError, match=r"'xception'.*Expected: "):
        evaluate_images(people.mr, [people.good], out, settings=EvaluationSettings(detector="xception"))
    with pytest.raises(InputError, match="mr of other patients"):
        evaluate_images(people.mr, [people.good], out, truth=people.mr)
    broken = tmp_path / "broken"
    shutil.copytree(people.good, broken)
    (broken / "ct-1-as-mr.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="other bytes"):
        evaluate_images(people.mr, [broken], out)
    assert not out.exists()
    (tmp_path / "file").write_text("something else")
    with pytest.raises(InputError, match="a file"):
        evaluate_images(people.mr, [people.good], tmp_path / "file")


def test_the_card_is_plain_json(result: Run) -> None:
    json.loads((result.path / "card.json").read_text(), parse_constant=lambda name: pytest.fail(name))
