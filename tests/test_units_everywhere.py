"""The same words for the same fault at every entry: prepare, train, segment, synthesize, evaluate, translate."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from crossmod.config import Modality
from crossmod.data.importers.dicom import prepare_dicom
from crossmod.data.importers.nifti import prepare_nifti
from crossmod.data.nifti import write_nifti
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.evaluation.run import evaluate_images
from crossmod.evaluation.settings import EvaluationSettings
from crossmod.inference.api import load_model, read_volume, write_translation
from crossmod.inference.bundle.export import export_bundle
from crossmod.inference.paired import evaluate_translation
from crossmod.inference.translate_volume import translate_volume
from crossmod.inference.trust.assess import assess_trust
from crossmod.inference.types import Options
from crossmod.synthesis.synthesize import synthesize
from tests.support.dicom import write_series
from tests.support.evaluated_people import SLICES
from tests.support.evaluated_people import person as judge_person
from tests.support.segmenting import segment
from tests.support.small_models import Made, about, body
from tests.support.stores import Stores
from tests.support.training import train
from tests.support.unit_stores import ct, mr, volume_of

# Values as a scan's own are spoiled, and what is then said of them.
FAULTS: dict[str, tuple[Modality, Callable[[np.ndarray], np.ndarray], str]] = {
    "1024 added": ("ct", lambda v: np.clip(v + 1024, 0, None), r"values from \d+ to \S+, none below 0, which is water"),
    "8 bits": ("ct", lambda v: np.clip((v + 160) / 400 * 255, 0, 255).astype(np.uint8), "none below 0, which is water"),
    "0 to 1": ("ct", lambda v: np.clip((v + 1000) / 2000, 0, 1), "values from 0 to .*, none below 0, which is water"),
    "-1 to 1": ("ct", lambda v: np.clip((v + 160) / 200 - 1, -1, 1), r"values from -1 to \S+, 98 % within"),
    "negated": ("ct", lambda v: -v, "of the voxels above 350, as bone is|as fat and air are"),
    "a label map": ("ct", lambda v: (v > 0) * 1, "only the values 0, 1, as a label map has them"),
    "CT as MR": ("mr", lambda v: v - 1000.0, "values as low as .*, as CT has them"),
    "a label map as MR": ("mr", lambda v: (v > 100) * 1, "only the values 0, 1, as a label map has them"),
}
CT_FAULTS = [name for name, (modality, *_) in FAULTS.items() if modality == "ct"]


def spoiled_store(path: Path, source: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """A store as an older version wrote it: with values that nothing checked."""
    store = Store(source)
    with writing_store(path) as writer:
        for record in store.cases:
            volume = store.read(record.id)
            values = change(volume.voxels.astype(np.float32)).astype(np.float32)
            # Names of their own, so that nobody is taken for somebody of another store.
            name = f"somebody{record.id[-1]}"
            writer.add(name, replace(volume, voxels=values), patient=name)
    return path


def said(work: Callable[[], object]) -> InputError:
    with pytest.raises(InputError) as caught:
        work()
    return caught.value


@pytest.mark.parametrize("fault", FAULTS)
def test_a_nifti_file_a_store_and_a_volume_are_refused_in_the_same_words(tmp_path: Path, fault: str) -> None:
    modality, change, words = FAULTS[fault]
    values = change(ct() if modality == "ct" else mr())
    volume = volume_of(values, modality)
    write_nifti(volume, tmp_path / "src" / "a" / "image.nii.gz")
    with writing_store(tmp_path / "old") as writer:
        writer.add("a", volume, patient="a")
    model = Made(about(source=modality, inputs=(modality,), window=(-1000.0, 1000.0)))
    errors = (
        said(lambda: prepare_nifti(tmp_path / "src", tmp_path / "store", modality=modality)),
        said(lambda: Store(tmp_path / "old").read("a")),
        said(lambda: translate_volume([model], [volume])),
    )
    assert all(re.search(words, error.found) for error in errors), [error.found for error in errors]
    assert len({(error.found, error.expected) for error in errors}) == 1
    # What to do about the values is the same; how to take them all the same is each command's own.
    assert all("--accept-units" in error.do for error in errors)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("fault", CT_FAULTS)
def test_training_segmenting_and_synthesis_refuse_an_old_store_in_the_same_words(
    tmp_path: Path, stores: Stores, translator: Path, fault: str
) -> None:
    _, change, words = FAULTS[fault]
    old = spoiled_store(tmp_path / "old", stores.ct, change)
    errors = (
        said(lambda: train(tmp_path / "run", Stores(old, stores.mr))),
        said(lambda: segment(tmp_path / "segment", old, modality="ct")),
        said(lambda: synthesize(translator, source=old, out=tmp_path / "made")),
        said(lambda: Store(old).read("somebody0")),
    )
    assert all(re.search(words, error.found) for error in errors), [error.found for error in errors]
    assert {error.expected for error in errors} == {"CT in HU: air -1000, fat -100, water 0"}
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "made").exists()


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Path:
    out = tmp_path_factory.mktemp("translator") / "run"
    train(out, stores, epochs=1)
    return out


@pytest.mark.parametrize("fault", ["1024 added", "8 bits"])
def test_evaluation_refuses_real_images_and_those_of_other_programs(tmp_path: Path, fault: str) -> None:
    _, change, words = FAULTS[fault]
    people = [judge_person(seed, "ct") for seed in range(4)]
    assert len(people[0].voxels) == SLICES

    def store(name: str, volumes: list[Volume], spoil: bool) -> Path:
        with writing_store(tmp_path / name) as writer:
            for number, volume in enumerate(volumes):
                values = change(volume.voxels.astype(np.float32)).astype(np.float32) if spoil else volume.voxels
                writer.add(f"{name}-{number}", replace(volume, voxels=values), patient=f"{name}-{number}")
        return tmp_path / name

    good, bad = store("good", people[:2], False), store("bad", people[2:], True)
    settings = EvaluationSettings(size=32, draws=0)
    for real, made in ((bad, good), (good, bad)):
        error = said(lambda real=real, made=made: evaluate_images(real, [made], tmp_path / "out", settings=settings))
        assert re.search(words, error.found)
        assert "bad" in error.subject


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"RescaleType": "MGML", "RescaleSlope": 0.1, "RescaleIntercept": 0},
            "a header that says of the values: mg/ml",
        ),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MAT_SPECIFIC"]}, "a material map, such as of iodine"),
        ({"RescaleType": "Z_EFF"}, "Z_EFF"),
        ({"RescaleType": "Dr-Geheim"}, "a unit that DICOM does not know: free text in RescaleType (0028,1054)"),
        ({"RescaleType": "Normalized"}, "a unit that DICOM does not know: NORMALIZED in RescaleType (0028,1054)"),
        ({"RescaleType": "mg/ml"}, "a header that says of the values: mg/ml"),
        ({"RescaleIntercept": 24}, "none below 0, which is water"),
    ],
)
def test_dicom_of_other_units_is_refused_by_prepare_and_translate(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    def spoil(dataset: Dataset, _: int) -> None:
        for keyword, value in change.items():
            setattr(dataset, keyword, value)

    write_series(tmp_path / "dicom", (ct() + 1000).clip(0).astype(np.uint16), change=spoil)
    by_prepare = said(lambda: prepare_dicom(tmp_path / "dicom", tmp_path / "store"))
    by_translate = said(lambda: translate_volume([Made(about())], [read_volume(tmp_path / "dicom")]))
    assert words in by_prepare.found
    assert by_prepare.found == by_translate.found
    assert "Geheim" not in str(by_prepare)
    (record,) = prepare_dicom(tmp_path / "dicom", tmp_path / "store", accept_units=True)
    assert record.unit == "unknown"
    assert words in "".join(record.notes)


@pytest.mark.parametrize("word", ["HU", "hu ", "Hounsfield", "Hounsfield Units", "HOUNSFIELD_UNIT"])
def test_all_words_for_hounsfield_units_are_taken(tmp_path: Path, word: str) -> None:
    write_series(
        tmp_path / "ct",
        (ct() + 1000).clip(0).astype(np.uint16),
        change=lambda dataset, _: setattr(dataset, "RescaleType", word),
    )
    (record,) = prepare_dicom(tmp_path / "ct", tmp_path / "store")
    assert (record.unit, record.notes) == ("HU", ())


def test_one_slice_without_its_intercept_is_refused_by_prepare_and_translate(tmp_path: Path) -> None:
    stored = (ct(slices=8) + 1000).clip(0).astype(np.uint16)

    def spoil(dataset: Dataset, index: int) -> None:
        if index == 5:
            dataset.RescaleIntercept = 0

    def legitimate(dataset: Dataset, index: int) -> None:
        if index % 3 == 0:
            dataset.RescaleIntercept = -2000
            dataset.PixelData = (stored[index] + 1000).astype("<u2").tobytes()

    write_series(tmp_path / "bad", stored, change=spoil)
    write_series(tmp_path / "good", stored, change=legitimate)
    errors = (
        said(lambda: prepare_dicom(tmp_path / "bad", tmp_path / "store")),
        said(lambda: translate_volume([Made(about())], [read_volume(tmp_path / "bad")])),
    )
    assert {error.found for error in errors} == {"slice 6 of 8, counted from the feet, about 1000 above its neighbours"}
    (record,) = prepare_dicom(tmp_path / "good", tmp_path / "store")
    assert (record.unit, record.notes) == ("HU", ())


def test_one_slice_of_another_unit_is_named_and_is_no_missing_slice(tmp_path: Path) -> None:
    def spoil(dataset: Dataset, index: int) -> None:
        dataset.RescaleType = "MGML" if index == 3 else "HU"

    write_series(tmp_path / "ct", (ct(slices=8) + 1000).clip(0).astype(np.uint16), change=spoil)
    for work in (
        lambda: prepare_dicom(tmp_path / "ct", tmp_path / "store"),
        lambda: read_volume(tmp_path / "ct"),
    ):
        error = said(work)
        assert "7 slices of HU and 1 between them of mg/ml (i3.dcm)" in error.found
        assert "RescaleType" in error.found


def test_ct_in_hu_is_not_translated_by_a_model_of_another_unit_unless_accepted() -> None:
    odd = Made(about(ct_unit="unknown"))
    error = said(lambda: translate_volume([odd], [body()]))
    assert (error.found, "--accept-units" in error.do) == ("CT in HU", True)
    made = translate_volume([odd], [body()], Options(accept_units=True))
    warnings = " ".join(assess_trust(replace(made, clipped=0.5)).warnings)
    assert "-1000 to 1000 of an unknown unit, the range of the model" in warnings
    assert "CT window is not in HU" in warnings
    plain = translate_volume([Made(about())], [body()])
    assert "-1000 to 1000 HU, the range" in " ".join(assess_trust(replace(plain, clipped=0.5)).warnings)


def test_a_series_in_an_unspecified_unit_is_taken_with_a_note_where_it_is_plainly_hu(tmp_path: Path) -> None:
    write_series(
        tmp_path / "ct",
        (ct() + 1000).clip(0).astype(np.uint16),
        change=lambda dataset, _: setattr(dataset, "RescaleType", "US"),
    )
    (record,) = prepare_dicom(tmp_path / "ct", tmp_path / "store")
    assert record.unit == "HU"
    assert record.notes == ("a header that calls the values US (unspecified); they look like HU",)


def test_padding_of_dicom_becomes_air_and_no_real_value_does(tmp_path: Path) -> None:
    values = ct()
    y, x = np.mgrid[-1 : 1 : values.shape[1] * 1j, -1 : 1 : values.shape[2] * 1j]
    outside = np.hypot(x, y) > 1
    stored = np.where(outside, -2000, values + 1024).astype(np.int16)

    def pad(dataset: Dataset, _: int) -> None:
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, -1024
        dataset.add_new(0x00280120, "SS", -2000)

    write_series(tmp_path / "ct", stored.view(np.uint16), change=pad)
    (record,) = prepare_dicom(tmp_path / "ct", tmp_path / "store")
    made = Store(tmp_path / "store").read(record.id).voxels
    assert (made[:, outside] == -1024).all()
    np.testing.assert_array_equal(made[:, ~outside], np.maximum(values, -3024)[:, ~outside])
    assert record.notes == ()


@pytest.mark.parametrize(("value", "stored_value"), [(4095, 4095), (63536, 63536), (-2000, 63536)])
def test_padding_that_is_declared_above_air_becomes_air_where_it_surrounds(
    tmp_path: Path, value: int, stored_value: int
) -> None:
    values = ct().clip(-1024)
    y, x = np.mgrid[-1 : 1 : values.shape[1] * 1j, -1 : 1 : values.shape[2] * 1j]
    outside = np.hypot(x, y) > 1
    stored = np.where(outside, stored_value, values + 1024).astype(np.uint16)

    def pad(dataset: Dataset, _: int) -> None:
        dataset.RescaleIntercept = -1024
        dataset.add_new(0x00280120, "SS" if value < 0 else "US", value)

    write_series(tmp_path / "ct", stored, change=pad)
    (record,) = prepare_dicom(tmp_path / "ct", tmp_path / "store")
    made = Store(tmp_path / "store").read(record.id).voxels
    assert (made[:, outside] == -1024).all()
    np.testing.assert_array_equal(made[:, ~outside], values[:, ~outside])
    assert record.notes == ()


def test_a_padding_value_that_tissue_has_too_changes_no_tissue(tmp_path: Path) -> None:
    """0 HU, declared as padding by writers that mean the 0 of unsigned numbers."""
    values = ct()
    values[:, 40:50, 40:50] = 0

    def pad(dataset: Dataset, _: int) -> None:
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, 0
        dataset.add_new(0x00280120, "SS", 0)

    write_series(tmp_path / "ct", values.astype(np.int16).view(np.uint16), change=pad)
    (record,) = prepare_dicom(tmp_path / "ct", tmp_path / "store")
    np.testing.assert_array_equal(Store(tmp_path / "store").read(record.id).voxels, values)


def test_a_map_beside_its_ct_is_a_series_of_its_own(tmp_path: Path) -> None:
    stored = (ct() + 1000).clip(0).astype(np.uint16)
    write_series(tmp_path / "study", stored)
    write_series(
        tmp_path / "study",
        stored,
        names=[f"map{i}.dcm" for i in range(len(stored))],
        change=lambda dataset, _: setattr(dataset, "RescaleType", "MGML"),
    )
    error = said(lambda: prepare_dicom(tmp_path / "study", tmp_path / "store"))
    assert "mg/ml" in error.found


def test_what_was_accepted_is_carried_to_model_translation_and_card(tmp_path: Path, stores: Stores) -> None:
    unknown = tmp_path / "unknown"
    with writing_store(unknown) as writer:
        for record in Store(stores.ct).cases:
            volume = Store(stores.ct).read(record.id)
            values = np.clip(volume.voxels + 1024, 0, None)
            writer.add(record.id, replace(volume, voxels=values, stated_unit="unknown"), patient=record.patient)
    run = train(
        tmp_path / "run", Stores(unknown, stores.mr), epochs=1, source="mr", family="cyclegan", window=(0.0, 2000.0)
    )
    assert run.card["data"]["ct"]["unit"] == "unknown"
    made = synthesize(run.path, source=stores.mr, out=tmp_path / "made").store
    assert {case.unit for case in made.cases} == {"unknown"}
    model = load_model(run.path)
    source = Store(stores.mr).read("mr-0")
    translation = model.translate(source)
    assert (translation.image.unit, translation.image.voxels.dtype) == ("unknown", np.float32)
    write_translation(translation, tmp_path / "out.nii.gz")
    assert json.loads((tmp_path / "out.nii.gz.json").read_text())["unit"] == "unknown"
    assert any("unknown unit" in sentence for sentence in model.trust(translation).warnings)
    with pytest.raises(InputError, match="a model of CT in an unknown unit"):
        export_bundle([run.path], tmp_path / "bundle")
    # A store in HU does not fit a segmenter or a model of another unit.
    with pytest.raises(InputError, match="CT in HU and in unknown units"):
        segment(tmp_path / "seg", stores.ct, tmp_path / "made", modality="ct", count=2, same_people="no")


def test_a_volume_that_was_accepted_is_translated_with_a_warning_that_stays() -> None:
    odd = replace(body(), voxels=body().voxels + 1024)
    model = Made(about())
    with pytest.raises(InputError, match="none below 0"):
        translate_volume([model], [odd])
    made = translate_volume([model], [odd], Options(accept_units=True))
    assert made.image.notes[0].startswith("accepted with --accept-units, unit unknown: values from 24")
    assert any("cannot be trusted" in sentence for sentence in assess_trust(made).warnings)
    with pytest.raises(InputError, match="the truth: values from 24"):
        evaluate_translation(translate_volume([model], [body()]), odd)
