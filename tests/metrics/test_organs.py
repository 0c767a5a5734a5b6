import math

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from crossmod.metrics.organs import Stack, jump_ratio, organ_changes, slice_jump

NAMES = {1: "liver", 2: "spleen", 3: "left_kidney", 4: "right_kidney", 5: "pancreas"}


def test_by_hand() -> None:
    before, after = np.zeros((6, 20, 20), np.uint8), np.zeros((6, 20, 20), np.uint8)
    before[1:4, 2:8, 2:8] = 1
    after[2:5, 2:8, 5:11] = 1  # one slice up, three columns to the side
    before[0, 15, 0:10] = 2  # vanishes
    after[3, 18, 10:20] = 3  # is invented
    before[5, 0:2, 0:10] = 4
    after[5, 0, :2] = 4  # a tenth is left
    found = organ_changes(before, after, NAMES, (5.0, 2.0, 1.0))
    liver = found["liver"]
    assert liver.dice == pytest.approx(1 / 3)  # 2 of 3 slices and 3 of 6 columns
    assert liver.shift_mm == pytest.approx(math.hypot(5, 3))
    assert (liver.size_before, liver.size_after, liver.growth) == pytest.approx((1.08, 1.08, 1))
    assert (liver.fate, liver.slices_lost, liver.slices_gained) == ("kept", 1, 1)
    assert (found["spleen"].fate, found["spleen"].growth, found["spleen"].slices_lost) == ("vanished", 0, 1)
    assert math.isnan(found["spleen"].shift_mm)
    kidney = found["left_kidney"]
    assert (kidney.fate, kidney.slices_gained, kidney.dice) == ("appeared", 1, 0)
    assert math.isnan(kidney.growth)
    assert found["right_kidney"].fate == "kept"
    assert (found["pancreas"].fate, found["pancreas"].dice) == ("absent", 1)


def test_crumbs_are_no_organ() -> None:
    before, after = np.zeros((9, 30), np.uint8), np.zeros((9, 30), np.uint8)
    before[:3, :7], after[0, 0] = 1, 1  # 21 pixels, one left
    there, back = (
        organ_changes(*pair, {1: "liver"}, (1.0, 1.0))["liver"] for pair in ((before, after), (after, before))
    )
    assert (there.fate, back.fate) == ("vanished", "appeared")
    assert (there.size_before, there.slices_lost) == (pytest.approx(0.21), 0)


@pytest.mark.parametrize("shape", [(7, 11, 13), (11, 13), (1, 1, 1)])
def test_centres_against_scipy(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    before, after = ((rng.random(shape) > 0.6).astype(np.uint8) for _ in range(2))
    before.flat[0] = after.flat[-1] = 1
    spacing = tuple(float(mm) for mm in rng.uniform(0.5, 8, len(shape)))
    apart = np.array(center_of_mass(after)) - np.array(center_of_mass(before))
    found = organ_changes(before, after, {1: "liver"}, spacing)["liver"]
    assert found.shift_mm == pytest.approx(np.linalg.norm(apart * spacing))


def stack(values: np.ndarray, spacing: float = 3.0) -> Stack:
    return Stack(values, np.ones(values.shape, dtype=bool), spacing)


def test_jumps_by_hand() -> None:
    values = np.array([0, 1, 3, 7], np.int16)[:, None, None] * np.ones((1, 2, 3), np.int16)
    assert slice_jump(stack(values)) == pytest.approx((1 + 2 + 4) / 3)
    assert slice_jump(stack(values), 6.0) == pytest.approx((3 + 6) / 2)
    assert slice_jump(stack(values), 7.4) == pytest.approx((3 + 6) / 2)
    assert math.isnan(slice_jump(stack(values), 12.0))
    body = np.ones(values.shape, dtype=bool)
    body[2] = False
    assert slice_jump(Stack(values, body, 3.0)) == pytest.approx(1)
    assert math.isnan(slice_jump(Stack(values, np.zeros_like(body), 3.0)))
    assert math.isnan(slice_jump(stack(values[:1])))


def test_integers_do_not_overflow() -> None:
    values = np.array([-30000, 30000], np.int16).reshape(2, 1, 1)
    assert slice_jump(stack(values)) == 60000


def test_slices_that_do_not_fit_together_jump_more(rng: np.random.Generator) -> None:
    """A slope along the body: thick slices jump as thin ones do, over the same distance; flicker shows."""
    z = np.arange(40.0)[:, None, None] * np.ones((1, 9, 7))
    real, thick = stack(z, 1.0), stack(z[::4], 4.0)
    assert jump_ratio(thick, real) == pytest.approx(1)
    assert jump_ratio(real, thick) == pytest.approx(1)
    flicker = stack(z + rng.normal(0, 20, (40, 1, 1)), 1.0)
    assert jump_ratio(flicker, real) > 5
    assert math.isnan(jump_ratio(real, stack(np.zeros((5, 3, 3)))))


def test_the_shift_has_a_sign_along_rows_and_columns() -> None:
    """Two slices up, three rows of 2 mm back, one column of 0.5 mm towards the right."""
    before, after = np.zeros((2, 8, 20, 20), np.uint8)
    before[1:4, 2:8, 9:15] = 1
    after[3:6, 5:11, 8:14] = 1
    liver = organ_changes(before, after, {1: "liver"}, (5.0, 2.0, 0.5))["liver"]
    assert (liver.rows_mm, liver.columns_mm) == pytest.approx((6, -0.5))
    assert liver.shift_mm == pytest.approx(math.hypot(10, 6, 0.5))
    gone = organ_changes(before, np.zeros_like(after), {1: "liver"}, (5.0, 2.0, 0.5))["liver"]
    assert math.isnan(gone.rows_mm)
    assert math.isnan(gone.columns_mm)


def test_the_shift_is_finer_than_a_pixel() -> None:
    """A ball with a soft edge, moved by 1.5 rows and -0.3 columns, and cut at a half."""

    def ball(row: float, column: float) -> np.ndarray:
        slices, rows, columns = np.mgrid[0:40, 0:64, 0:64]
        apart = np.sqrt((slices - 20.3) ** 2 + (rows - row) ** 2 + (columns - column) ** 2)
        soft = np.clip(18.5 - apart, 0, 1)
        return (soft >= 0.5).astype(np.uint8)

    moved = organ_changes(ball(30.2, 33.1), ball(31.7, 32.8), {1: "liver"}, (1.2, 1.2, 1.2))["liver"]
    assert moved.rows_mm == pytest.approx(1.5 * 1.2, abs=0.02)
    assert moved.columns_mm == pytest.approx(-0.3 * 1.2, abs=0.02)
