"""Whole volumes through a model that sees frames of millimetres: everything comes back to its place."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion, center_of_mass

from crossmod.data.volume import Volume
from crossmod.inference.tiling import frame_of, tiling_of
from crossmod.inference.translate_volume import translate_volume
from crossmod.inference.types import Options
from tests.support.small_models import Made, about


def person(
    shape: tuple[int, int, int],
    mm: tuple[float, float],
    centre: tuple[float, float],
    half: tuple[float, float] = (80.0, 110.0),
) -> Volume:
    """A body with two smooth organs of 200 HU in it, 60 mm to either side of its centre."""
    _, down, along = np.indices(shape).astype(float)
    y, x = down * mm[0] - centre[0], along * mm[1] - centre[1]
    body = (y / half[0]) ** 2 + (x / half[1]) ** 2 < 1
    organs = sum(200 * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 18**2) for at in ((-10, -60), (15, 60)))
    affine = np.array([[0, 0, -mm[1], 0], [0, -mm[0], 0, 0], [4, 0, 0, 0], [0, 0, 0, 1.0]])
    return Volume(np.where(body, 20 + organs, -1000).astype(np.float32), affine, "ct")


def organ_places(voxels: np.ndarray, volume: Volume, centre: tuple[float, float]) -> list[tuple[float, float]]:
    """Centres of mass of the two organs, in pixels."""
    found = []
    _, row_mm, column_mm = volume.spacing
    for at in ((-10, -60), (15, 60)):
        down, along = np.indices(voxels.shape[1:])
        near = np.hypot(down * row_mm - centre[0] - at[0], along * column_mm - centre[1] - at[1]) < 30
        found.append(center_of_mass(np.clip(voxels[0] - 60, 0, None) * near))
    return found


@settings(max_examples=25)
@given(
    st.integers(1, 2),
    st.floats(180, 500),
    st.floats(240, 500),
    st.floats(1.6, 4.5),
    st.floats(1.6, 4.5),
    st.floats(-0.5, 0.5),
    st.floats(-0.5, 0.5),
    st.sampled_from([("body", 4.0), ("body", 2.9), ("field", 5.0)]),
)
def test_organs_come_back_to_their_place(
    slices: int, height: float, width: float, row_mm: float, column_mm: float, down: float, along: float, how: tuple
) -> None:
    """Any field, any pixels, any place of the body: off by less than half a pixel of the coarser grid."""
    shape = (slices, max(round(height / row_mm), 8), max(round(width / column_mm), 8))
    height, width = shape[1] * row_mm, shape[2] * column_mm
    centre = (height / 2 + down * (height - 170), width / 2 + along * (width - 230))
    volume = person(shape, (row_mm, column_mm), centre)
    kind, pixel_mm = how
    made = translate_volume([Made(about(size=64, frame=kind, pixel_mm=pixel_mm))], [volume])
    assert made.image.voxels.shape == shape
    np.testing.assert_array_equal(made.image.affine, volume.affine)
    coarse = max(1.0, pixel_mm / min(row_mm, column_mm))
    given_places, found = (organ_places(one, volume, centre) for one in (volume.voxels, made.image.voxels))
    assert np.abs(np.array(found) - np.array(given_places)).max() < 0.5 * coarse


def test_the_frame_lies_around_the_body_as_in_training() -> None:
    volume = person((3, 150, 200), (2.0, 2.0), (120.0, 230.0))
    frame = frame_of(volume, about(size=64, frame="body", pixel_mm=4.0))
    assert frame.centre == pytest.approx((120, 230), abs=2)
    assert frame.pixel_mm == (4.0, 4.0)
    assert frame_of(volume, about(size=64, frame="field", pixel_mm=4.0)).centre == (149.0, 199.0)


def test_a_body_larger_than_the_frame_is_tiled_and_none_of_it_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    volume = person((2, 120, 150), (2.0, 2.0), (118.0, 146.0))
    model = about(size=32, frame="body", pixel_mm=5.0)
    tiling = tiling_of(volume, model, Options())
    assert tiling.work >= 220 / 5
    assert len(tiling.starts) > 1
    network = Made(model)
    made = translate_volume([network], [volume])
    assert network.calls[0][0] > 2
    # All of the body has its own values again, to what pixels of 5 mm keep of them.
    inner = np.asarray(binary_erosion(made.body, np.ones((1, 3, 3)), iterations=4), dtype=bool)
    assert np.abs(made.image.voxels - volume.voxels)[inner].max() < 25
    assert (made.image.voxels[made.body] > -500).mean() > 0.95
    assert "is cut there" not in caplog.text
    cut = translate_volume([Made(model)], [volume], Options(tiles="off"))
    assert "The body reaches beyond the 160 mm that made-up sees, and is cut there" in caplog.text
    assert (cut.image.voxels[cut.body] == -1000).mean() > 0.1


def test_one_frame_where_the_body_fits() -> None:
    volume = person((2, 250, 250), (2.0, 2.0), (250.0, 250.0))
    model = about(size=64, frame="body", pixel_mm=4.0)
    assert tiling_of(volume, model, Options()).starts == (0,)
    # Asked for, tiles cover the whole field.
    tiling = tiling_of(volume, model, Options(tiles="on"))
    assert tiling.work >= 500 / 4
    images = tiling.to_work(volume.voxels, -1000.0)
    again = tiling.blend(tiling.cut(images[:, None])[:, 0])
    np.testing.assert_allclose(again, images, atol=1e-2)


def test_a_body_of_another_size_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """A header that says a tenth of the spacing."""
    volume = person((1, 100, 100), (0.3, 0.3), (15.0, 15.0), half=(8.0, 11.0))
    with caplog.at_level(logging.WARNING):
        translate_volume([Made(about(size=64, frame="body", pixel_mm=4.0))], [volume])
    assert "spacing in the header" in caplog.text
