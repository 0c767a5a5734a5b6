import io

import nibabel
import numpy as np
import pytest
from rich.console import Console

from crossmod.data.importers.chaos import prepare_chaos
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.report.info import describe_data as describe
from tests.support.dicom import SECRETS, body, chaos_ct, chaos_mr, edit, write_series


def text_of(path, width=200, **arguments) -> str:
    console = Console(file=io.StringIO(), width=width)
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
    assert f"{tmp_path / 'store'}: 7 cases" in text
    ct, *_, t2 = text.split("\u250f")[1:5]
    assert row(ct, " ct ")
    assert row(ct, "unit", "HU")
    assert row(ct, "contrast agent", "with (1 case)")
    assert "contrast agent" not in t2
    assert row(ct, "cases", " 1 ")
    assert row(ct, "patients", "1: chaos-ct-1 ")
    assert row(ct, "slices", " 6 ")
    assert row(ct, "slices with", "liver 3")
    assert row(ct, "voxels", "6 x 16 x 16")
    assert row(ct, "spacing", "3 x 0.75 x 1.5 mm")
    assert row(t2, " mr t2_spir ")
    assert row(t2, "unit", "arbitrary")
    assert row(t2, "patients", "2: chaos-mr-1, chaos-mr-21 ")
    assert row(t2, "slices with", "liver 6, right_kidney 2, left_kidney 2, spleen 2")
    assert row(text, "was reported not to match", "chaos-mr-21-t1_in")
    assert row(text, "masks follow the file names", "chaos-ct-1", "and 3 more")


def test_all_of_a_store_can_be_read_at_80_columns(tmp_path):
    names = [f"a-hospital-with-a-long-name-{number}" for number in range(1, 31)]
    names += ["one-" + "very-" * 20 + "long-name"]
    with writing_store(tmp_path / "a-long-name-for-a-store") as writer:
        for name in names:
            voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
            volume = Volume(voxels, np.diag([1.2345, 1.2345, 1.2345, 1]), "mr", "t2_spir", notes=("a [note] " * 20,))
            writer.add(name, volume, patient=name)
    text = text_of(tmp_path / "a-long-name-for-a-store", width=80)
    assert "\u2026" not in text
    assert max(map(len, text.splitlines())) <= 80
    # Cells go on in the next line: joined, they hold every name.
    cells = [line.split("\u2502")[2].strip() for line in text.splitlines() if line.count("\u2502") == 3]
    joined = "".join(cells)
    assert all(name in joined for name in names)
    assert "31: a-hospital" in joined
    assert "[note]" in text


def test_a_mixed_dicom_folder_is_refused(tmp_path):
    edit(write_series(tmp_path, body()[0])[5], lambda dataset: setattr(dataset, "PixelSpacing", [0.7, 1.5]))
    with pytest.raises(InputError, match=r"slices of several sizes or directions .*i5\.dcm"):
        describe(tmp_path)


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


def test_a_nifti_file_without_voxels_is_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 0, 5), dtype=np.int16), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"a\.nii: axes of lengths 3 x 0 x 5"):
        describe(tmp_path / "a.nii")


def test_what_is_none_of_these(tmp_path):
    wanted = r"Expected: a run, a store, a NIfTI file or a folder of DICOM"
    with pytest.raises(InputError, match=rf"none: no such file or folder\. {wanted}"):
        describe(tmp_path / "none")
    with pytest.raises(InputError, match="an empty folder"):
        describe(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"notes\.txt: a file"):
        describe(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="a file that is not DICOM"):
        describe(tmp_path)
