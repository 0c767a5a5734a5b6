"""Contrast agent: what headers say, what people state, and what ends up in a store."""

import json

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from pydicom.dataset import Dataset

from crossmod.data.contrast_agent import contrast_of, settled_contrast
from crossmod.data.dicom.series import read_dicom_series
from crossmod.data.importers.chaos import prepare_chaos
from crossmod.data.importers.dicom import prepare_dicom
from crossmod.data.importers.nifti import prepare_nifti
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from tests.support.dicom import body, chaos_ct, chaos_mr, edit, write_series


def header(agent: object = None, ingredient: str | None = None, route: str | None = None) -> Dataset:
    one = Dataset()
    if agent is not None:
        one.ContrastBolusAgent = agent
    if ingredient is not None:
        one.ContrastBolusIngredient = ingredient
    if route is not None:
        one.ContrastBolusRoute = route
    return one


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (header(), None),
        (header(""), None),
        (header("  "), None),
        (header("CONTRAST", route="IV"), True),  # as CHAOS has it
        (header("Omnipaque 350"), True),
        (header(ingredient="IODINE"), True),
        (header("", ingredient="IODINE", route=""), True),
        (header("Oral & IV"), True),
        (header("ORAL CONTRAST"), None),
        (header("barium sulfate"), None),
        (header("GASTROGRAFIN", route="oral"), None),
        (header("none"), None),
        (header("N/A"), None),
        (header("no_contrast"), None),
        (header("NONE", ingredient="IODINE"), True),
    ],
)
def test_a_header_says_yes_or_nothing(found: Dataset, expected: bool | None) -> None:
    assert contrast_of(found) is expected


@pytest.mark.parametrize(
    ("said", "stated", "expected"),
    [(None, None, None), (None, True, True), (None, False, False), (True, None, True), (True, True, True)],
)
def test_a_statement_fills_what_a_header_leaves_open(
    said: bool | None, stated: bool | None, expected: bool | None
) -> None:
    assert settled_contrast("x", header=said, stated=stated) is expected


def name_agent(dataset: Dataset, index: int) -> None:
    dataset.ContrastBolusAgent = "Iomeprol of Dr-Geheim"


def test_a_series_with_an_agent_is_one_with_contrast_and_its_name_stays_behind(tmp_path):
    write_series(tmp_path / "with", body()[0], change=name_agent)
    write_series(tmp_path / "without", body()[0])
    write_series(tmp_path / "mr", body()[0], modality="MR", change=name_agent)
    assert read_dicom_series(tmp_path / "with").contrast is True
    assert read_dicom_series(tmp_path / "without").contrast is None
    # Gadolinium is no iodine.
    assert read_dicom_series(tmp_path / "mr").contrast is None
    (record,) = prepare_dicom(tmp_path / "with", tmp_path / "store")
    assert record.contrast is True
    assert b"Iomeprol" not in b"".join(path.read_bytes() for path in (tmp_path / "store").iterdir())


@pytest.mark.parametrize(("stated", "expected"), [(None, None), (True, True), (False, False)])
def test_a_silent_series_has_the_contrast_that_is_stated(tmp_path, stated, expected):
    write_series(tmp_path / "src" / "ct", body()[0])
    write_series(tmp_path / "src" / "mr", body()[0], modality="MR")
    records = prepare_dicom(tmp_path / "src", tmp_path / "store", contrast=stated)
    assert {record.modality: record.contrast for record in records} == {"ct": expected, "mr": None}
    assert Store(tmp_path / "store").read(records[0].id).contrast is expected


def test_a_statement_against_the_header_is_refused(tmp_path):
    edit(write_series(tmp_path / "src" / "a", body()[0])[3], lambda dataset: name_agent(dataset, 3))
    with pytest.raises(
        InputError, match=r"src/a: a header that names a contrast agent, .* stated to be no\..*--contrast"
    ):
        prepare_dicom(tmp_path / "src", tmp_path / "store", contrast=False)
    assert not (tmp_path / "store").exists()
    assert prepare_dicom(tmp_path / "src", tmp_path / "store", contrast=True)[0].contrast is True


def test_contrast_stated_of_mr_alone_is_refused(tmp_path):
    write_series(tmp_path / "src", body()[0], modality="MR")
    with pytest.raises(InputError, match=r"--contrast: images that are all MR\. Expected: CT"):
        prepare_dicom(tmp_path / "src", tmp_path / "store", contrast=True)
    with pytest.raises(InputError, match=r"--contrast: images that are all MR\. Expected: CT"):
        prepare_nifti(tmp_path / "src", tmp_path / "store", modality="mr", contrast=False)


@pytest.mark.parametrize(("stated", "expected"), [(None, None), (True, True), (False, False)])
def test_nifti_has_the_contrast_that_is_stated(tmp_path, stated, expected):
    (tmp_path / "src" / "1").mkdir(parents=True)
    image = Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    nibabel.save(image, tmp_path / "src" / "1" / "image.nii.gz")
    (record,) = prepare_nifti(tmp_path / "src", tmp_path / "store", modality="ct", contrast=stated)
    assert record.contrast is expected


def test_ct_of_chaos_has_contrast_whatever_its_headers_kept(tmp_path):
    chaos_ct(tmp_path / "src", "1")
    chaos_mr(tmp_path / "src", "1")
    records = prepare_chaos(tmp_path / "src", tmp_path / "store")
    assert [record.contrast for record in records] == [True, None, None, None]


def test_another_set_in_the_layout_of_chaos_has_a_name_and_contrast_of_its_own(tmp_path):
    for name in ("first", "second"):
        chaos_ct(tmp_path / name, "1")
    prepare_chaos(tmp_path / "first", tmp_path / "store")
    with pytest.raises(InputError, match=r"'chaos-ct-1' already.*--name"):
        prepare_chaos(tmp_path / "second", tmp_path / "store", append=True)
    (record,) = prepare_chaos(tmp_path / "second", tmp_path / "store", append=True, name="hum", contrast=False)
    assert (record.id, record.patient, record.contrast) == ("hum-ct-1", "hum-ct-1", False)
    edit(next((tmp_path / "second" / "CT" / "1" / "DICOM_anon").iterdir()), lambda dataset: name_agent(dataset, 0))
    with pytest.raises(InputError, match="CT/1: a header that names a contrast agent"):
        prepare_chaos(tmp_path / "second", tmp_path / "other", contrast=False)


def test_a_store_keeps_contrast_and_old_manifests_load_without_it(tmp_path):
    voxels, path = np.arange(24, dtype=np.int16).reshape(2, 3, 4), tmp_path / "store"
    with writing_store(path) as writer:
        for name, contrast in (("a", True), ("b", False), ("c", None)):
            writer.add(name, Volume(voxels, np.eye(4), "ct", contrast=contrast), patient=name)
        # As a translation of CT would be, which keeps the rest of its source.
        writer.add("mr", Volume(voxels, np.eye(4), "mr", contrast=True), patient="mr")
    assert [Store(path).read(name).contrast for name in ("a", "b", "c", "mr")] == [True, False, None, None]
    manifest = json.loads((path / "manifest.json").read_text())
    for record in manifest["cases"]:
        del record["contrast"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert [record.contrast for record in Store(path).cases] == [None] * 4
    assert Store(path).read("a").contrast is None


@pytest.mark.real_data
def test_the_header_of_a_real_chaos_ct_names_its_agent(real_folder):
    folder = real_folder("chaos_ct_dicom/CT/1/DICOM_anon")
    assert read_dicom_series(folder).contrast is True
