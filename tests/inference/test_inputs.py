"""What is refused before a network sees it, in words that name what came."""

from copy import copy
from typing import Any

import numpy as np
import pytest

from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.inference.inputs import check_volume
from tests.support.small_models import body


def spoiled(**more: Any) -> Volume:
    """A CT of which one attribute was replaced behind its back."""
    volume = copy(body())
    for name, value in more.items():
        object.__setattr__(volume, name, value)
    return volume


def with_voxel(value: float) -> np.ndarray:
    voxels = body().voxels.copy()
    voxels[1, 20, 20] = value
    return voxels


def turned(degrees: float) -> np.ndarray:
    """The grid of `body`, turned about the body's long axis."""
    angle = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ body().affine


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a path", "a str. Expected: a crossmod.Volume"),
        (np.zeros((3, 4, 5)), "a ndarray. Expected: a crossmod.Volume"),
        (spoiled(voxels=np.zeros((4, 4))), r"voxels of shape (4, 4). Expected: [slices, rows, columns]"),
        (spoiled(voxels=np.zeros((0, 4, 4))), r"voxels of shape (0, 4, 4)"),
        (spoiled(voxels=np.zeros((2, 4, 4), bool)), "voxels of type bool"),
        (spoiled(voxels=np.zeros((2, 4, 4), complex)), "voxels of type complex128"),
        (spoiled(affine=np.eye(3)), "an invalid affine"),
        (spoiled(affine=np.zeros((4, 4))), "an invalid affine"),
        (spoiled(affine=body().affine * np.nan), "an invalid affine"),
        (spoiled(affine=np.eye(4)), "axes in another order than a Volume has"),
        (spoiled(affine=turned(90)), "axes in another order"),
        (spoiled(voxels=with_voxel(np.nan)), "a voxel that is NaN or infinite"),
        (spoiled(voxels=np.full((2, 4, 4), np.inf)), "32 voxels that are NaN or infinite"),
        (spoiled(voxels=with_voxel(1e20)), "values from -1000 to 1e+20. Expected: CT in HU"),
        (spoiled(voxels=body().voxels + 1024), "none below 0, which is water"),
        (body(modality="mr"), "MR. Expected: CT"),
    ],
)
def test_what_is_no_ct_is_named(given: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        check_volume(given, "the input", "ct")
    assert str(caught.value).startswith("the input: ")
    assert said in str(caught.value)


def test_ct_is_no_mr() -> None:
    with pytest.raises(InputError, match="values as low as -1000, as CT has them"):
        check_volume(spoiled(modality="mr"), "the input", "mr")


@pytest.mark.parametrize("degrees", [0, 7, -30, 45, -45])
def test_what_lies_askew_is_let_through(degrees: float) -> None:
    check_volume(spoiled(affine=turned(degrees)), "the input", "ct")
    check_volume(body(modality="mr"), "the input", "mr")
    check_volume(spoiled(voxels=with_voxel(30000)), "metal", "ct")
