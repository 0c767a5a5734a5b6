from dataclasses import replace

import numpy as np
import pytest

from crossmod.data.frame import whole_frame
from crossmod.data.resample import to_size
from crossmod.inference.tiling import Tiling, tiling_of
from crossmod.inference.types import Options
from tests.support.small_models import about, body


@pytest.mark.parametrize(
    ("rows", "columns", "spacing"),
    [(40, 44, (5.0, 8.0, 7.0)), (33, 21, (5.0, 1.0, 1.0)), (32, 32, (5.0, 1.0, 1.0)), (17, 70, (3.0, 2.5, 0.9))],
)
def test_slices_are_scaled_as_in_training(rows: int, columns: int, spacing: tuple[float, float, float]) -> None:
    volume = body((3, rows, columns), spacing)
    frame = tiling_of(volume, about(), Options())
    np.testing.assert_array_equal(frame.to_work(volume.voxels, float(volume.voxels.min())), to_size(volume, 32).voxels)
    assert frame.back(np.zeros((3, 32, 32), np.float32), 0.0).shape == volume.voxels.shape


def test_a_pixel_comes_back_to_its_place() -> None:
    """What rises along rows and columns keeps its values: half a pixel of shift would be 5."""
    rows, columns = np.indices((37, 52)).astype(np.float32) * 10
    for ramp in (rows, columns):
        volume = replace(body((1, 37, 52), (5.0, 2.0, 1.4)), voxels=ramp[None])
        frame = tiling_of(volume, about(size=48), Options())
        there = frame.back(frame.to_work(volume.voxels, 0.0), 0.0)
        away = (there[0] - ramp)[5:-5, 5:-5]
        assert np.abs(away).max() < 1
        assert abs(float(away.mean())) < 0.05


def test_tiles_only_where_slices_would_be_much_coarser() -> None:
    volume = body((1, 100, 100), (5.0, 6.0, 6.0))
    assert tiling_of(volume, about(field_mm=401.0), Options()).starts == (0,)
    frame = tiling_of(volume, about(field_mm=300.0), Options())
    assert (frame.work, frame.starts) == (64, (0, 16, 32))
    assert tiling_of(volume, about(field_mm=300.0), Options(tiles="off")).work == 32
    assert tiling_of(volume, about(), Options()).work == 32
    assert tiling_of(volume, about(), Options(tiles="on")).work == 100
    assert tiling_of(volume, about(field_mm=900.0), Options(tiles="on")).work == 32


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("work", [32, 33, 63, 80])
def test_tiles_come_together_as_they_were(rng: np.random.Generator, work: int, overlap: float) -> None:
    volume = replace(body((3, work, work), (5.0, 1.0, 1.0)), voxels=rng.normal(size=(3, work, work)))
    frame = tiling_of(volume, about(), Options(tiles="on", overlap=overlap))
    images = frame.to_work(volume.voxels, 0.0)
    tiles = frame.cut(images[:, None])
    assert tiles.shape == (3 * len(frame.places), 1, 32, 32)
    np.testing.assert_allclose(frame.back(frame.blend(tiles[:, 0]), 0.0), volume.voxels, atol=1e-6)
    classes = rng.integers(0, 3, images.shape).astype(np.uint8)
    cut = frame.cut(classes[:, None].astype(np.float32))[:, 0].astype(np.uint8)
    np.testing.assert_array_equal(frame.labels_back(frame.blend_labels(cut)), classes)


def test_the_middle_of_a_tile_outweighs_the_edge_of_another() -> None:
    frame = Tiling((1, 1), (1.0, 1.0), whole_frame((1, 1), (1.0, 1.0), 48), size=32, starts=(0, 16))
    ones = np.concatenate([np.full((1, 32, 32), float(place), np.float32) for place in range(4)])
    whole = frame.blend(ones)
    assert whole[0, 15, 4] == 0
    assert whole[0, 24, 24] > 1.4
    assert whole[0, 16, 10] < 0.1
    assert np.abs(np.diff(whole[0, 24])).max() < 0.3
