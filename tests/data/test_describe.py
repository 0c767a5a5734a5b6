import io

import nibabel
import numpy as np
import pytest
from fake_dicom import SECRETS, body, chaos_ct, chaos_mr, write_series
from rich.console import Console

from crossmod.data.describe import describe
from crossmod.data.prepare import prepare_chaos
from crossmod.errors import InputError


def text_of(path, **arguments) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(describe(path, **arguments))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row(text, *words) -> bool:
    """Whether one line holds all of these."""
    return any(all(word in line for word in words) for line in text.splitlines())


def test_a_store_is_told_by_modality_and_sequence(tmp_path):
    chaos_ct(tmp_path / "src", "1")
    chaos_mr(tmp_path / "src", "1")
    chaos_mr(tmp_path / "src", "21")
    prepare_chaos(tmp_path / "src", tmp_path / "store")
    text = text_of(tmp_path / "store")
    assert row(text, "ct", "HU", " 1 ", " 6 ", "liver 3", "6 x 16 x 16", "3 x 0.75 x 1.5")
    assert row(text, "mr", "t2_spir", "arbitrary", " 2 ", " 12 ", "liver 6")
    assert row(text, "spleen 2")
    assert row(text, "was reported not to match", "chaos-mr-21-t1_in")
    assert row(text, "masks follow the file names", "chaos-ct-1", "and 3 more")


def test_a_dicom_folder_is_told_without_identity(tmp_path):
    write_series(tmp_path / "a", body()[0])
    write_series(tmp_path / "b", body()[0], modality="MR")
    text = text_of(tmp_path)
    assert row(text, "voxels", "6 slices of 16 x 16")
    assert row(text, "stored axes", "L-P-S")
    assert row(text, "EchoTime", "70")
    assert row(text, "unit", "HU")
    assert row(text, "unit", "arbitrary")
    assert not [secret for secret in SECRETS if secret in text]


def test_a_nifti_file_is_told_with_its_values(tmp_path):
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0])), tmp_path / "a.nii.gz")
    text = text_of(tmp_path / "a.nii.gz")
    assert row(text, "spacing", "3 x 2 x 1 mm")
    assert row(text, "stored axes", "R-A-S")
    assert row(text, "min 0", "median 29.5", "max 59")
    assert row(text, "unit", "unknown")
    assert not row(text, "only the values")
    assert row(text_of(tmp_path / "a.nii.gz", modality="ct"), "unit", "HU")
    nibabel.save(nibabel.Nifti1Image(values % 3, np.eye(4)), tmp_path / "label.nii")
    assert row(text_of(tmp_path / "label.nii"), "only the values", "0, 1, 2")


def test_what_is_none_of_these(tmp_path):
    with pytest.raises(InputError, match=r"none: no such file or folder\. Wanted: a store, a NIfTI file or a folder"):
        describe(tmp_path / "none")
    with pytest.raises(InputError, match="an empty folder"):
        describe(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"notes\.txt: a file"):
        describe(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="a file that is not DICOM"):
        describe(tmp_path)
