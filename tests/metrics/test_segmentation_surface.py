import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from crossmod.metrics.segmentation import SurfaceDistance, surface, surface_distance

Spacing = tuple[float, float, float]


def points(mask: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Centres of the voxels with a background voxel of the volume across a face; neighbours looked up one by one."""
    found = []
    for place in np.argwhere(mask):
        near = [place + step * axis for axis in np.eye(3, dtype=int) for step in (-1, 1)]
        inside = [n for n in near if (n >= 0).all() and (n < mask.shape).all()]
        if any(not mask[tuple(n)] for n in inside):
            found.append(place)
    return np.array(found).reshape(-1, 3) * np.array(spacing)


def by_force(first: np.ndarray, second: np.ndarray, spacing: Spacing) -> tuple[float, float, float]:
    """HD95, ASSD and MSSD from every surface voxel against every other."""
    table = cdist(points(first, spacing), points(second, spacing))
    there, back = table.min(axis=1), table.min(axis=0)
    both = np.concatenate([there, back])
    return max(np.percentile(there, 95), np.percentile(back, 95)), float(both.mean()), float(both.max())


def three(found: SurfaceDistance) -> tuple[float, float, float]:
    return found.hd95, found.assd, found.mssd


def test_a_point_and_a_point() -> None:
    first, second = np.zeros((2, 5, 6, 7), bool)
    first[1, 1, 1], second[3, 4, 5] = True, True
    found = surface_distance(first, second, (5.0, 2.0, 0.5))
    expected = math.hypot(10, 6, 2)
    assert three(found) == pytest.approx((expected, expected, expected))


@pytest.mark.parametrize(("axis", "spacing"), [(0, (5.0, 1.0, 2.0)), (1, (5.0, 1.0, 2.0)), (2, (0.7, 9.0, 0.8))])
def test_a_cube_moved_by_three_voxels(axis: int, spacing: tuple[float, float, float]) -> None:
    """A wall one voxel thick, moved across itself: every voxel lies three voxels from the other."""
    first = np.zeros((14, 14, 14), bool)
    place = [slice(2, 8)] * 3
    place[axis] = slice(4, 5)
    first[tuple(place)] = True
    found = surface_distance(first, np.roll(first, 3, axis), spacing)
    # Of a wall six voxels wide, what lies straight across is the nearest.
    assert three(found) == pytest.approx((3 * spacing[axis],) * 3)


def test_two_cubes_by_hand() -> None:
    """Cubes of 3, one moved by 3 columns of 2 mm: 9, 8 and 9 of their surface voxels lie 2, 4 and 6 mm away."""
    first = np.zeros((5, 5, 9), bool)
    first[1:4, 1:4, 1:4] = True
    found = surface_distance(first, np.roll(first, 3, 2), (5.0, 5.0, 2.0))
    assert found.assd == pytest.approx((9 * 2 + 8 * 4 + 9 * 6) / 26)
    assert found.hd95 == pytest.approx(6)
    assert found.mssd == pytest.approx(6)


@pytest.mark.parametrize("shape", [(1, 9, 7), (5, 8, 11), (7, 1, 6), (2, 3, 1), (6, 6, 6)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_random_masks_against_every_pair_of_voxels(shape: tuple[int, int, int], share: float) -> None:
    rng = np.random.default_rng(sum(shape))
    spacing = (4.0, 0.9, 1.3)
    for _ in range(5):
        first, second = rng.random((2, *shape)) < share
        found, turned = surface_distance(first, second, spacing), surface_distance(second, first, spacing)
        if len(points(first, spacing)) and len(points(second, spacing)):
            assert three(found) == pytest.approx(by_force(first, second, spacing))
        elif not np.array_equal(first, second):
            assert all(map(math.isnan, three(found)))
        assert three(found) == pytest.approx(three(turned), nan_ok=True)


# MONAI calls itself with an option that it has given up.
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
def test_against_monai(rng: np.random.Generator) -> None:
    metrics = pytest.importorskip("monai.metrics", reason="MONAI is not installed")
    torch = pytest.importorskip("torch")
    for _ in range(5):
        first, second = np.zeros((2, 6, 9, 8), bool)
        # Only inside: MONAI takes what lies outside of the volume for background.
        first[1:-1, 1:-1, 1:-1], second[1:-1, 1:-1, 1:-1] = rng.random((2, 4, 7, 6)) < 0.3
        tensors = [torch.from_numpy(mask)[None, None] for mask in (first, second)]
        more = {"include_background": True, "spacing": (4.0, 0.9, 1.3)}
        hd95 = float(metrics.compute_hausdorff_distance(*tensors, percentile=95, **more))
        assd = float(metrics.compute_average_surface_distance(*tensors, symmetric=True, **more))
        mssd = float(metrics.compute_hausdorff_distance(*tensors, **more))
        found = surface_distance(first, second, (4.0, 0.9, 1.3))
        assert three(found) == pytest.approx((hd95, assd, mssd), rel=1e-5)


def test_nothing_and_nothing_agree_and_something_is_no_distance_from_nothing() -> None:
    none, some = np.zeros((2, 3, 4, 5), bool)
    some[1, 1, 1] = True
    assert three(surface_distance(none, none, (1.0, 1.0, 1.0))) == (0, 0, 0)
    for pair in ((none, some), (some, none)):
        assert all(map(math.isnan, three(surface_distance(*pair, (1.0, 1.0, 1.0)))))


def test_what_fills_the_volume_has_no_surface() -> None:
    """Nothing of it ends inside, so that no distance to it is known; but it lies where it lies."""
    full, some = np.ones((3, 4, 5), bool), np.zeros((3, 4, 5), bool)
    some[1, 1, 1] = True
    assert all(map(math.isnan, three(surface_distance(full, some, (1.0, 1.0, 1.0)))))
    assert three(surface_distance(full, full, (1.0, 1.0, 1.0))) == (0, 0, 0)


def test_the_same_mask_lies_nowhere_else(rng: np.random.Generator) -> None:
    mask = rng.random((4, 9, 9)) < 0.4
    assert three(surface_distance(mask, mask.copy(), (5.0, 1.0, 1.0))) == (0, 0, 0)


def test_a_single_slice_has_an_outline_and_a_cut_organ_no_surface_at_the_cut() -> None:
    mask = np.zeros((1, 7, 8), bool)
    mask[:, 1:6, 1:7] = True
    assert surface(mask).sum() == 18
    cut = np.zeros((6, 7, 8), bool)
    cut[2:, 1:6, 1:7] = True
    # The lowest slice whole, the outline of the three others; the topmost ends with the volume.
    assert surface(cut).sum() == 30 + 3 * 18
    assert surface(np.ones((5, 5, 5), bool)).sum() == 0


def test_an_organ_that_the_scan_cuts_off() -> None:
    """No distance is counted along a cut, where both masks end with the volume.

    Truth is a wall of columns 2 to 4, the answer one of columns 2 to 5, over all slices and rows: where they end in
    slice and row direction is the volume's end. Surfaces are columns 2 and 4, and 2 and 5.
    """
    truth, answer = np.zeros((2, 4, 5, 9), bool)
    truth[:, :, 2:5], answer[:, :, 2:6] = True, True
    assert surface(truth).sum() == 2 * 20
    found = surface_distance(answer, truth, (5.0, 1.0, 2.0))
    assert three(found) == pytest.approx((2.0, (0 + 2 + 0 + 2) / 4, 2.0))


def test_spheres_in_one_another() -> None:
    """Radii of 20 and 24 mm on a grid of 2 x 1 x 1 mm: every distance is 4 mm, to about a voxel."""
    grid = np.stack(np.meshgrid(np.arange(-15, 16) * 2.0, np.arange(-30, 31), np.arange(-30, 31), indexing="ij"))
    radius = np.sqrt((grid**2).sum(axis=0))
    found = surface_distance(radius <= 20, radius <= 24, (2.0, 1.0, 1.0))
    assert found.assd == pytest.approx(4, abs=0.3)
    assert 4 <= found.hd95 <= found.mssd <= 4 + math.sqrt(6)


def test_one_voxel_far_away_moves_the_largest_distance_alone() -> None:
    first = np.zeros((9, 40, 40), bool)
    first[3:6, 5:25, 5:25] = True
    second = first.copy()
    second[4, 35, 15] = True
    found = surface_distance(first, second, (5.0, 0.7, 0.7))
    assert found.mssd == pytest.approx(11 * 0.7)
    assert found.hd95 == 0
    count = int(surface(first).sum())
    assert found.assd == pytest.approx(found.mssd / (2 * count + 1))
