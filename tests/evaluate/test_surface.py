import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from crossmod.evaluate.surface import surface, surface_distance


def by_force(first: np.ndarray, second: np.ndarray, spacing: tuple[float, float, float]) -> tuple[float, float]:
    """Every surface voxel against every other; neighbours looked up one by one."""

    def points(mask: np.ndarray) -> np.ndarray:
        found = []
        for place in np.argwhere(mask):
            for axis in range(3):
                if mask.shape[axis] == 1:
                    continue
                near = [place + step * np.eye(3, dtype=int)[axis] for step in (-1, 1)]
                if any((n < 0).any() or (n >= mask.shape).any() or not mask[tuple(n)] for n in near):
                    found.append(place)
                    break
        return np.array(found) * np.array(spacing)

    table = cdist(points(first), points(second))
    there, back = table.min(axis=1), table.min(axis=0)
    return max(np.percentile(there, 95), np.percentile(back, 95)), float(np.concatenate([there, back]).mean())


def test_a_point_and_a_point() -> None:
    first, second = np.zeros((2, 5, 6, 7), bool)
    first[1, 1, 1], second[3, 4, 5] = True, True
    found = surface_distance(first, second, (5.0, 2.0, 0.5))
    expected = math.hypot(10, 6, 2)
    assert (found.hd95, found.assd) == pytest.approx((expected, expected))


@pytest.mark.parametrize(("axis", "spacing"), [(0, (5.0, 1.0, 2.0)), (1, (5.0, 1.0, 2.0)), (2, (0.7, 9.0, 0.8))])
def test_a_cube_moved_by_three_voxels(axis: int, spacing: tuple[float, float, float]) -> None:
    """A wall one voxel thick, moved across itself: every voxel lies three voxels from the other."""
    first = np.zeros((14, 14, 14), bool)
    place = [slice(2, 8)] * 3
    place[axis] = slice(4, 5)
    first[tuple(place)] = True
    found = surface_distance(first, np.roll(first, 3, axis), spacing)
    # Of a wall six voxels wide, what lies straight across is the nearest.
    assert (found.hd95, found.assd) == pytest.approx((3 * spacing[axis], 3 * spacing[axis]))


def test_two_cubes_by_hand() -> None:
    """Cubes of 3, one moved by 3 columns of 2 mm: 9, 8 and 9 of their surface voxels lie 2, 4 and 6 mm away."""
    first = np.zeros((5, 5, 9), bool)
    first[1:4, 1:4, 1:4] = True
    found = surface_distance(first, np.roll(first, 3, 2), (5.0, 5.0, 2.0))
    assert found.assd == pytest.approx((9 * 2 + 8 * 4 + 9 * 6) / 26)
    assert found.hd95 == pytest.approx(6)


@pytest.mark.parametrize("shape", [(1, 9, 7), (5, 8, 11), (7, 1, 6), (2, 3, 1), (6, 6, 6)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_random_masks_against_every_pair_of_voxels(shape: tuple[int, int, int], share: float) -> None:
    rng = np.random.default_rng(sum(shape))
    spacing = (4.0, 0.9, 1.3)
    for _ in range(5):
        first, second = rng.random((2, *shape)) < share
        if not first.any() or not second.any():
            continue
        found, turned = surface_distance(first, second, spacing), surface_distance(second, first, spacing)
        assert (found.hd95, found.assd) == pytest.approx(by_force(first, second, spacing))
        assert (found.hd95, found.assd) == pytest.approx((turned.hd95, turned.assd))


# MONAI calls itself with an option that it has given up.
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
def test_against_monai(rng: np.random.Generator) -> None:
    metrics = pytest.importorskip("monai.metrics", reason="MONAI is not installed")
    torch = pytest.importorskip("torch")
    for _ in range(5):
        first, second = rng.random((2, 6, 9, 8)) < 0.3
        tensors = [torch.from_numpy(mask)[None, None] for mask in (first, second)]
        more = {"include_background": True, "spacing": (4.0, 0.9, 1.3)}
        hd95 = float(metrics.compute_hausdorff_distance(*tensors, percentile=95, **more))
        assd = float(metrics.compute_average_surface_distance(*tensors, symmetric=True, **more))
        found = surface_distance(first, second, (4.0, 0.9, 1.3))
        assert (found.hd95, found.assd) == pytest.approx((hd95, assd), rel=1e-5)


def test_nothing_and_nothing_agree_and_something_is_no_distance_from_nothing() -> None:
    none, some = np.zeros((2, 3, 4, 5), bool)
    some[1, 1, 1] = True
    assert surface_distance(none, none, (1.0, 1.0, 1.0)).hd95 == 0
    for pair in ((none, some), (some, none)):
        found = surface_distance(*pair, (1.0, 1.0, 1.0))
        assert math.isnan(found.hd95)
        assert math.isnan(found.assd)


def test_the_same_mask_lies_nowhere_else(rng: np.random.Generator) -> None:
    mask = rng.random((4, 9, 9)) < 0.4
    found = surface_distance(mask, mask, (5.0, 1.0, 1.0))
    assert (found.hd95, found.assd) == (0, 0)


def test_a_single_slice_has_an_outline() -> None:
    mask = np.ones((1, 5, 6), bool)
    assert surface(mask, (True, False, False)).sum() == 18
    assert surface(np.ones((5, 5, 5), bool)).sum() == 98
