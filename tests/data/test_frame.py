from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import center_of_mass, map_coordinates

from crossmod.data.frame import Frame, field_centre, frame_between, whole_frame
from crossmod.data.resample import to_size
from crossmod.data.volume import Volume, take_slices
from tests.support.stores import made_volume


def ramp(rows: int, columns: int, row_mm: float, column_mm: float) -> Volume:
    """A volume whose value is its position, x + 10 z + y / 7 in RAS+ millimetres, that lies 7 degrees askew."""
    angle = np.deg2rad(7.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[0, 0, -column_mm], [0, -row_mm, 0], [3, 0, 0]])
    affine[:3, 3] = (70, 50, -20)
    return Volume(position(affine, (2, rows, columns)), affine, "mr")


def position(affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    index = np.stack([*np.indices(shape), np.ones(shape)])
    x, y, z, _ = np.einsum("ab,bijk->aijk", affine, index)
    return x + 10 * z + y / 7


def blob(rows: int, columns: int, row_mm: float, column_mm: float, at_mm: tuple[float, float]) -> Volume:
    """A smooth ball of 14 mm at a place in millimetres from the first pixel's centre, and its label."""
    down, along = np.indices((rows, columns))
    away = np.hypot(down * row_mm - at_mm[0], along * column_mm - at_mm[1])
    affine = np.array([[0, 0, -column_mm, 0], [0, -row_mm, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1.0]])
    voxels = 1000 * np.exp(-((away / 14) ** 2))
    labels = (away < 14).astype(np.uint8)
    return Volume(voxels[None].astype(np.float32), affine, "mr", labels=labels[None], label_names={1: "ball"})


mms, counts = st.floats(0.6, 3.0), st.integers(24, 70)


@settings(max_examples=40)
@given(counts, counts, mms, mms, st.integers(16, 48), st.floats(0.7, 6.0), st.floats(-40, 40), st.floats(-40, 40))
def test_every_pixel_lies_where_its_affine_says(
    rows: int, columns: int, row_mm: float, column_mm: float, size: int, pixel_mm: float, down: float, along: float
) -> None:
    """Any field, any pixels, any centre: the value is the place, so the new affine must say the same."""
    volume = ramp(rows, columns, row_mm, column_mm)
    middle = field_centre((rows, columns), (row_mm, column_mm))
    frame = Frame(size, (pixel_mm, pixel_mm), (middle[0] + down, middle[1] + along))
    out = frame.place(volume, fill=-1e4)
    assert out.voxels.shape == (2, size, size)
    assert out.spacing == pytest.approx((3, pixel_mm, pixel_mm))
    expected = position(out.affine, out.voxels.shape)
    index = np.einsum("ab,bijk->aijk", np.linalg.inv(volume.affine) @ out.affine, np.stack(
        [*np.indices(out.voxels.shape), np.ones(out.voxels.shape)]))  # fmt: skip
    outside = (index[1] < -0.5001) | (index[1] > rows - 0.4999) | (index[2] < -0.5001) | (index[2] > columns - 0.4999)
    assert (out.voxels[outside] == -1e4).all()
    margin = np.maximum(1, [pixel_mm / row_mm, pixel_mm / column_mm]) + 0.5
    inner = (index[1] > margin[0]) & (index[1] < rows - 1 - margin[0])
    inner &= (index[2] > margin[1]) & (index[2] < columns - 1 - margin[1])
    # A widened kernel on whole pixels does not follow a ramp exactly; half a pixel of shift would be seen.
    np.testing.assert_allclose(out.voxels[inner], expected[inner], rtol=0, atol=0.15 * max(row_mm, column_mm) + 1e-3)
    # The middle of the frame is the centre that was asked for.
    half = (size - 1) / 2
    there = np.linalg.inv(volume.affine) @ out.affine @ [0, half, half, 1]
    assert (there[1] * row_mm, there[2] * column_mm) == pytest.approx(frame.centre)


@pytest.mark.parametrize(("old", "new"), [(50, 20), (64, 40), (33, 11)])
def test_values_against_torch_and_pillow(rng: np.random.Generator, old: int, new: int) -> None:
    """Over the whole field both do the same, with a kernel that widens when it merges pixels."""
    image = rng.normal(0, 100, (1, old, old)).astype(np.float32)
    frame = whole_frame((old, old), (1.5, 1.5), new)
    ours = replace(frame, whole=False).take(image, (1.5, 1.5), 0.0)
    pillow = np.asarray(Image.fromarray(image[0]).resize((new, new), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(ours[0], pillow, atol=1e-3)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(image)[None], (new, new), mode="bilinear", antialias=True)
    np.testing.assert_allclose(ours, theirs[0].numpy(), atol=1e-3)


def test_enlarging_is_linear_interpolation(rng: np.random.Generator) -> None:
    image = rng.normal(0, 100, (1, 20, 30))
    frame = Frame(24, (0.7, 0.7), (9.3, 14.1))
    at = np.array(np.meshgrid(*(frame.first[axis] + 0.7 * np.arange(24) for axis in (0, 1)), indexing="ij"))
    np.testing.assert_allclose(frame.take(image, (1.0, 1.0), 0.0)[0], map_coordinates(image[0], at, order=1), atol=1e-3)


def test_pixels_of_the_scan_are_left_alone(rng: np.random.Generator) -> None:
    volume = made_volume(rng, "ct")
    assert Frame(32, (10.0, 10.0), (155.0, 155.0)).place(volume) is volume
    moved = Frame(32, (10.0, 10.0), (165.0, 135.0)).place(volume)
    np.testing.assert_array_equal(moved.voxels[:, :-1, 2:], volume.voxels[:, 1:, :-2])
    assert moved.labels is not None
    assert volume.labels is not None
    np.testing.assert_array_equal(moved.labels[:, :-1, 2:], volume.labels[:, 1:, :-2])
    assert (moved.voxels[:, -1] == volume.voxels.min()).all()
    assert not moved.labels[:, :, :2].any()


def test_nothing_is_stretched() -> None:
    """Pixels of 2 x 1 mm become square ones; a ball stays round."""
    volume = blob(40, 80, 2.0, 1.0, (41.0, 38.0))
    out = Frame(48, (1.6, 1.6), (39.0, 39.5)).place(volume)
    assert out.labels is not None
    down, along = np.indices((48, 48))
    weights = out.voxels[0] / out.voxels.sum()
    spreads = [float(weights.ravel() @ (x - weights.ravel() @ x.ravel()).ravel() ** 2) for x in (down, along)]
    assert spreads[0] == pytest.approx(spreads[1], rel=0.1)
    assert out.labels.sum() * 1.6**2 == pytest.approx(np.pi * 14**2, rel=0.03)


@given(counts, counts, mms, mms, st.integers(20, 64), st.floats(1.0, 4.0), st.floats(-12, 12), st.floats(-12, 12))
@example(rows=25, columns=35, row_mm=3.0, column_mm=2.0, size=34, pixel_mm=2.0, down=0.0, along=0.0)
def test_what_goes_there_comes_back_to_its_place(
    rows: int, columns: int, row_mm: float, column_mm: float, size: int, pixel_mm: float, down: float, along: float
) -> None:
    """A ball that both frame and field hold: its centre is off by less than half a pixel."""
    middle = field_centre((rows, columns), (row_mm, column_mm))
    room = [min(n * mm, size * pixel_mm) / 2 - 34 for n, mm in ((rows, row_mm), (columns, column_mm))]
    if min(room) < 0:
        return
    offset = [float(np.clip(one, -far, far)) for one, far in zip((down, along), room, strict=True)]
    at = (middle[0] + offset[0] / 2, middle[1] + offset[1] / 2)
    volume = blob(rows, columns, row_mm, column_mm, at)
    frame = Frame(size, (pixel_mm, pixel_mm), (middle[0] + offset[0], middle[1] + offset[1]))
    there = frame.place(volume, fill=0.0)
    assert there.labels is not None
    back = frame.back(there.voxels, (rows, columns), (row_mm, column_mm), 0.0)
    found = center_of_mass(back[0] ** 2)
    # Half a pixel of whichever is coarser, the scan or the frame.
    coarse = max(1, pixel_mm / min(row_mm, column_mm))
    assert found == pytest.approx((at[0] / row_mm, at[1] / column_mm), abs=0.25 * coarse)
    labels = frame.labels_back(there.labels, (rows, columns), (row_mm, column_mm))
    # Labels are whole pixels: an edge may move by half a pixel there, and by half a pixel back.
    place = np.asarray(center_of_mass(labels[0]))
    for axis, mm in enumerate((row_mm, column_mm)):
        assert place[axis] * mm == pytest.approx(at[axis], abs=(pixel_mm + mm) / 2)


def test_labels_come_back_to_their_place_and_area(rng: np.random.Generator) -> None:
    """300 balls of 14 mm in fields and frames of any kind: no shift in the mean, and half a model pixel at the most."""
    moved, areas = [], []
    for _ in range(300):
        row_mm, column_mm, pixel_mm = rng.uniform(0.6, 3.0), rng.uniform(0.6, 3.0), rng.uniform(1.0, 4.0)
        rows, columns = (int(np.ceil(90 / mm) + rng.integers(0, 3)) for mm in (row_mm, column_mm))
        down, along = field_centre((rows, columns), (row_mm, column_mm))
        volume = blob(rows, columns, row_mm, column_mm, (down + rng.uniform(-3, 3), along + rng.uniform(-3, 3)))
        centre = (down + rng.uniform(-6, 6), along + rng.uniform(-6, 6))
        frame = Frame(int(np.ceil(90 / pixel_mm)), (pixel_mm, pixel_mm), centre)
        there = frame.place(volume, fill=0.0)
        assert there.labels is not None
        assert volume.labels is not None
        labels = frame.labels_back(there.labels, (rows, columns), (row_mm, column_mm))
        shift = np.subtract(center_of_mass(labels[0]), center_of_mass(volume.labels[0])) * (row_mm, column_mm)
        moved.append(shift / max(pixel_mm, row_mm, column_mm))
        areas.append(labels.sum() / volume.labels.sum())
    assert np.mean(moved, axis=0) == pytest.approx((0, 0), abs=0.03)
    assert np.abs(moved).max() < 0.5
    assert np.mean(areas) == pytest.approx(1, abs=0.02)


@given(st.integers(20, 50), st.integers(-3, 3), st.sampled_from([-0.5, 0.5]))
def test_labels_halfway_between_pixels_come_back_unmoved(size: int, pixels: int, half: float) -> None:
    """Each pixel of the frame has as much of one label as of the other: there and back must not move twice."""
    volume = blob(81, 80, 1.5, 2.0, (60.0, 79.0))
    middle = ((81 - 1) / 2 * 1.5, (80 - 1) / 2 * 2.0)
    even = size % 2 == 0
    centre = (middle[0] + 1.5 * (pixels + (0 if even else half)), middle[1] + 2.0 * (pixels + (half if even else 0)))
    frame = Frame(size, (1.5, 2.0), centre)
    there = frame.place(volume)
    assert there.labels is not None
    assert volume.labels is not None
    back = frame.labels_back(there.labels, (81, 80), (1.5, 2.0))
    held = frame.inside((81, 80), (1.5, 2.0))
    middle_of = tuple(slice(one.start + 1, one.stop - 1) for one in held)
    np.testing.assert_array_equal(back[0][middle_of], volume.labels[0][middle_of])


@pytest.mark.parametrize("shape", [(40, 44), (33, 21), (32, 32), (17, 70)])
def test_whole_frames_are_the_old_way_to_the_bit(rng: np.random.Generator, shape: tuple[int, int]) -> None:
    volume = ramp(*shape, 1.3, 0.9)
    volume = volume.with_labels(rng.integers(0, 3, (2, *shape)).astype(np.uint8), {1: "a", 2: "b"})
    frame, old = whole_frame(shape, (1.3, 0.9), 32), to_size(volume, 32)
    new = frame.place(volume)
    np.testing.assert_array_equal(new.voxels, old.voxels.astype(np.float32))
    assert new.labels is not None
    assert old.labels is not None
    np.testing.assert_array_equal(new.labels, old.labels)
    np.testing.assert_allclose(new.affine, old.affine, atol=1e-9)
    assert frame.pixel_mm == pytest.approx(old.spacing[1:])


def test_how_many_slices_are_done_together_changes_no_bit(rng: np.random.Generator) -> None:
    volume = Volume(rng.normal(0, 300, (7, 61, 47)).astype(np.float32), np.diag([5.0, 1.1, 1.7, 1.0]), "mr")
    frame = Frame(40, (2.3, 2.3), (33.0, 41.0))
    whole = frame.place(volume).voxels
    fill = float(volume.voxels.min())
    for index in range(7):
        np.testing.assert_array_equal(frame.place(take_slices(volume, [index]), fill).voxels[0], whole[index])


def test_the_frame_of_slices_that_were_made_from_a_volume() -> None:
    volume = ramp(50, 60, 1.2, 0.8)
    frame = Frame(32, (2.5, 2.5), (31.0, 20.0))
    again = frame_between(volume, frame.place(volume).affine, 32)
    assert (again.size, again.pixel_mm) == (32, pytest.approx((2.5, 2.5)))
    assert again.centre == pytest.approx(frame.centre)


def test_which_pixels_a_frame_holds() -> None:
    rows, columns = Frame(10, (2.0, 2.0), (20.0, 4.0)).inside((30, 40), (1.0, 1.0))
    assert (rows, columns) == (slice(10, 31), slice(0, 15)) or (rows, columns) == (slice(10, 30), slice(0, 15))
    assert Frame(10, (2.0, 2.0), (200.0, 4.0)).inside((30, 40), (1.0, 1.0))[0] == slice(0, 0)
