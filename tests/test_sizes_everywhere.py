"""Millimetres that cannot be are told of at every entry: prepare, synthesize, segment, evaluate; right ones never."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossmod.cli.app import main
from crossmod.data.nifti import write_nifti
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.evaluation.cases import choose_cases, warn_of_bodies
from crossmod.evaluation.settings import EvaluationSettings
from crossmod.synthesis.synthesize import synthesize
from tests.support.evaluated_people import People, make_people
from tests.support.segmenting import segment
from tests.support.stores import Stores
from tests.support.training import train

SIZE_WORDS = ("much larger or smaller", "outside the range of people", "people differ less")


def scaled(path: Path, source: Path, factor: float, only: str | None = None) -> Path:
    """A store whose spacing is wrong by a factor, in all cases or in one."""
    store = Store(source)
    with writing_store(path) as writer:
        for record in store.cases:
            volume = store.read(record.id)
            affine = volume.affine.copy()
            affine[:3, :3] *= factor if only in (None, record.id) else 1
            writer.add(record.id, replace(volume, affine=affine), patient=record.patient)
    return path


def told(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(line for line in caplog.messages if any(word in line for word in SIZE_WORDS))


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Path:
    return train(tmp_path_factory.mktemp("translator") / "run", stores, epochs=1).path


def test_prepare_names_the_case_of_another_spacing(
    tmp_path: Path, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(stores.mr)
    for record in store.cases:
        volume = store.read(record.id)
        affine = volume.affine.copy()
        write_nifti(volume, tmp_path / "good" / record.id / "image.nii.gz")
        affine[:3, :3] *= 0.1 if record.id == "mr-2" else 1
        write_nifti(replace(volume, affine=affine), tmp_path / "bad" / record.id / "image.nii.gz")
    main(["prepare", "nifti", str(tmp_path / "good"), str(tmp_path / "g"), "--modality", "mr"])
    assert told(caplog) == ""
    main(["prepare", "nifti", str(tmp_path / "bad"), str(tmp_path / "b"), "--modality", "mr"])
    assert "1 of 5 cases with a body that is much larger or smaller than the median" in told(caplog)
    assert "bad-mr-2 (31 x 31 mm, " in told(caplog)


def test_training_tells_of_one_case_and_of_bodies_of_nobody(
    tmp_path: Path, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    train(tmp_path / "plain", stores, epochs=1)
    assert told(caplog) == ""
    train(tmp_path / "one", Stores(scaled(tmp_path / "ct", stores.ct, 0.3, "ct-1"), stores.mr), epochs=1)
    assert "ct-1 (8" in told(caplog)
    caplog.clear()
    tiny = Stores(scaled(tmp_path / "ct1", stores.ct, 0.1), scaled(tmp_path / "mr1", stores.mr, 0.1))
    train(tmp_path / "tiny", tiny, epochs=1, pixel_mm=1.0)
    assert told(caplog).count("outside the range of people (60 to 700 mm)") == 2


def test_synthesis_compares_with_what_the_model_was_trained_on(
    tmp_path: Path, stores: Stores, translator: Path, caplog: pytest.LogCaptureFixture
) -> None:
    synthesize(translator, source=stores.ct, out=tmp_path / "plain")
    assert told(caplog) == ""
    synthesize(translator, source=scaled(tmp_path / "ct", stores.ct, 0.5), out=tmp_path / "made")
    assert "bodies are 2.0 times as small as those of the training of run" in told(caplog)


def test_segmenting_compares_real_with_synthetic(
    tmp_path: Path, stores: Stores, translator: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = synthesize(translator, source=stores.ct, out=tmp_path / "made").store.path
    segment(tmp_path / "plain", stores.mr, made, count=2, epochs=1)
    assert told(caplog) == ""
    # Less than half as large, so that it counts also where the made bodies fill their frame.
    segment(tmp_path / "small", scaled(tmp_path / "mr", stores.mr, 0.3), made, count=2, epochs=1, same_people="no")
    assert "times as small as those of" in told(caplog)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return make_people(tmp_path_factory.mktemp("people"))


def test_judging_compares_real_with_synthetic(tmp_path: Path, people: People, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_bodies(choose_cases(people.mr, [people.good], EvaluationSettings()))
    assert told(caplog) == ""
    small = scaled(tmp_path / "small", people.mr, 0.5)
    warn_of_bodies(choose_cases(small, [people.good], EvaluationSettings(same_people="no")))
    assert "2.1 times as small as those of" in told(caplog)


@pytest.mark.parametrize("slices", ["organ", "all"])
def test_empty_labels_train_no_segmentor(tmp_path: Path, stores: Stores, slices: str) -> None:
    store = Store(stores.ct)
    with writing_store(tmp_path / "empty") as writer:
        for record in store.cases:
            volume = store.read(record.id)
            empty = volume.with_labels(np.zeros(volume.voxels.shape, np.uint8), {1: "liver"})
            writer.add(record.id, empty, patient=record.patient)
    empties = Stores(tmp_path / "empty", stores.mr)
    with pytest.raises(
        InputError, match=r"no (training slice of ct|slice) that shows liver.*--family cyclegan --slices all"
    ):
        train(tmp_path / "run", empties, slices=slices)
    assert not (tmp_path / "run" / "card.json").exists()
    # What the message advises works.
    assert train(tmp_path / "run2", empties, family="cyclegan", slices="all", epochs=1).finished
