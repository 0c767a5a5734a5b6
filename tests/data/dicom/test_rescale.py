import numpy as np
import pytest

from crossmod.data.dicom.series import read_dicom_series
from crossmod.errors import InputError
from tests.support.dicom import body, write_series


@pytest.fixture
def stored():
    return body()[0]


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("empty", [False, True])
def test_a_ct_slice_without_rescale_is_refused_but_not_one_of_mr(tmp_path, stored, keyword, empty):
    def spoil(dataset, _):
        if empty:
            setattr(dataset, keyword, None)
        elif keyword in dataset:
            delattr(dataset, keyword)

    write_series(tmp_path / "ct", stored[:1])
    write_series(tmp_path / "ct", stored, change=lambda d, i: spoil(d, i) if i == 4 else None)
    with pytest.raises(InputError, match=rf"i4\.dcm: no {keyword}\. Expected: .* HU"):
        read_dicom_series(tmp_path / "ct")
    write_series(tmp_path / "mr", stored, modality="MR", change=spoil)
    np.testing.assert_array_equal(read_dicom_series(tmp_path / "mr").voxels, stored)


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("value", ["nan", "inf", "1e400"])
def test_a_rescale_that_is_no_finite_number_is_refused(tmp_path, stored, modality, value):
    # pydicom would not write it: it is put in the place of another number of the same length.
    paths = write_series(tmp_path, stored, modality=modality, change=number_to_spoil(len(value)))
    whole = paths[3].read_bytes()
    number = number_of_length(len(value)).encode()
    assert whole.count(number) == 1
    paths[3].write_bytes(whole.replace(number, value.encode()))
    with pytest.raises(InputError, match=r"i3\.dcm: RescaleSlope .*Expected: a number"):
        read_dicom_series(tmp_path)


def number_of_length(length):
    return "7.12345"[:length]


def number_to_spoil(length):
    return lambda dataset, _: setattr(dataset, "RescaleSlope", number_of_length(length))
