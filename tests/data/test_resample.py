from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crossmod.data.resample import square, to_size
from crossmod.data.volume import Volume
from tests.support.stores import made_volume


def smooth(rows: int, columns: int, mm: tuple[float, float]) -> Volume:
    """A volume whose value is its position: x + 10 z + y / 7, in RAS+ millimetres."""
    affine = np.array([[0, 0, -mm[1], 70], [0, -mm[0], 0, 50], [3, 0, 0, -20], [0, 0, 0, 1]], dtype=np.float64)
    i, j, k = np.mgrid[0:2, 0:rows, 0:columns]
    world = np.einsum("ab,bijk->aijk", affine, np.stack([i, j, k, np.ones_like(i)]).astype(float))
    return Volume(world[0] + 10 * world[2] + world[1] / 7, affine, "mr")


@settings(max_examples=30, deadline=None)
@given(
    st.integers(20, 50), st.integers(20, 50), st.sampled_from([16, 31, 64]), st.floats(0.8, 1.3), st.floats(0.8, 1.3)
)
def test_every_voxel_keeps_its_place_in_the_world(
    rows: int, columns: int, size: int, row_mm: float, column_mm: float
) -> None:
    """The value says where the voxel is, so the new affine must say the same, inside the old field of view."""
    volume = smooth(rows, columns, (row_mm, column_mm))
    out = to_size(volume, size)
    assert out.voxels.shape == (2, size, size)
    i, j, k = np.mgrid[0:2, 0:size, 0:size]
    world = np.einsum("ab,bijk->aijk", out.affine, np.stack([i, j, k, np.ones_like(i)]).astype(float))
    index = np.einsum("ab,bijk->aijk", np.linalg.inv(volume.affine), world)
    # One and a half kernels from every border, where padding and the cut kernel play no part.
    margin = 1.5 * np.maximum(1, [out.spacing[1] / row_mm, out.spacing[2] / column_mm]) + 0.01
    inside = (index[1] > margin[0]) & (index[1] < rows - 1 - margin[0])
    inside &= (index[2] > margin[1]) & (index[2] < columns - 1 - margin[1])
    expected = world[0] + 10 * world[2] + world[1] / 7
    # A widened kernel on whole pixels does not follow a ramp exactly; a shift of (scale - 1) / 2 would be seen.
    np.testing.assert_allclose(out.voxels[inside], expected[inside], rtol=0, atol=0.1 * max(row_mm, column_mm))
    assert abs((out.voxels[inside] - expected[inside]).mean()) < 0.02 * max(row_mm, column_mm)


def test_values_against_pillow(rng: np.random.Generator) -> None:
    """Pillow's bilinear filter widens when it merges pixels, as ours does."""
    volume = replace(made_volume(rng, "mr", size=50), labels=None, label_names={})
    out = to_size(volume, 20)
    for ours, source in zip(out.voxels, volume.voxels, strict=True):
        theirs = Image.fromarray(source.astype(np.float32)).resize((20, 20), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(ours, np.asarray(theirs), atol=1e-3)


def test_labels_stay_labels_and_keep_their_share(rng: np.random.Generator) -> None:
    volume = made_volume(rng, "ct", size=64)
    out = to_size(volume, 40)
    assert out.labels is not None
    assert volume.labels is not None
    assert set(np.unique(out.labels)) == {0, 1}
    assert out.label_ml("liver") == pytest.approx(volume.label_ml("liver"), rel=0.05)


def test_the_same_size_is_left_alone(rng: np.random.Generator) -> None:
    volume = made_volume(rng, "ct")
    assert to_size(volume, 32) is volume


def test_padding_to_a_square_is_even_and_dark() -> None:
    volume = smooth(10, 20, (1.0, 1.0))
    out = square(volume)
    assert out.voxels.shape == (2, 20, 20)
    np.testing.assert_array_equal(out.voxels[:, 5:15], volume.voxels)
    assert (out.voxels[:, :5] == volume.voxels.min()).all()
    before, after = volume.affine @ [1, 0, 3, 1], out.affine @ [1, 5, 3, 1]
    np.testing.assert_allclose(before, after)


def test_pixels_that_are_not_square_become_so() -> None:
    out = to_size(smooth(20, 40, (2.0, 1.0)), 16)
    assert out.spacing[1] == pytest.approx(out.spacing[2])
