"""What is written, before a judge from outside: dicom3tools, which Debian has."""

import shutil
import subprocess

import pytest

from crossmod.data.dicom.series import read_dicom_series
from crossmod.inference.dicom.write import write_translated
from tests.support.dicom_output import a_series, made

pytestmark = [
    pytest.mark.dicom3tools,
    pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy: apt install dicom3tools"),
]

# The attribute Synthetic Data is younger than the releases of dicom3tools that distributions have.
TOO_YOUNG = "(0008,001c)"


def errors(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return [line for line in lines if line.startswith("Error") and TOO_YOUNG not in line]


@pytest.mark.parametrize("target", ["ct", "mr"])
@pytest.mark.parametrize(("given", "keep"), [(True, True), (True, False), (False, False)])
def test_no_error_is_found(tmp_path, target, given, keep):
    source = a_series(tmp_path / "in", modality="MR" if target == "ct" else "CT")
    path = source if given else None
    labels = _has_highdicom()
    translation = made(read_dicom_series(source), target)
    write_translated(translation, tmp_path / "out", source=path, keep_identity=keep, labels=labels)
    files = sorted((tmp_path / "out").rglob("*.dcm"))
    assert len(files) == 6 + labels
    for file in files:
        assert errors("dciodvfy", "-new", file) == []
    # All files together: one patient, one study, one frame of reference.
    assert errors("dcentvfy", *files) == []


def _has_highdicom():
    try:
        import highdicom  # noqa: F401
    except ImportError:
        return False
    return True
