import numpy as np
import pytest

from crossmod.phantom.shapes import REACH, Canvas, Ellipsoid, Melted, Tube, Waves, draw_waves, smooth_minimum, tubes


def points(*places: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, z = np.array(places, dtype=np.float32).T[:, None, :]
    return x, y, z


def still() -> Waves:
    return Waves(np.zeros((3, 1)), np.zeros((3, 3, 1)), np.zeros((3, 3, 1)))


def canvas(edge: float = 1.0, height: float = 0.0, size: int = 41) -> Canvas:
    places = np.arange(size) - size // 2
    return Canvas(places.astype(float), places.astype(float), height, stiff=still(), soft=still(), edge=edge)


def test_distance_to_a_ball_is_the_way_to_its_surface() -> None:
    ball = Ellipsoid((1, 2, 3), (10, 10, 10))
    found = ball.distance(*points((1, 2, 3), (11, 2, 3), (1, 2, 18), (1, -3, 3)))
    np.testing.assert_allclose(found[0], [-10, 0, 5, -5], atol=1e-2)


def test_turned_ellipsoid_has_its_long_axis_where_it_was_turned_to() -> None:
    # A quarter turn about z carries the x axis to the y axis.
    turned = Ellipsoid((0, 0, 0), (30, 5, 5), (0, 0, 90))
    found = turned.distance(*points((0, 30, 0), (30, 0, 0), (5, 0, 0)))
    np.testing.assert_allclose(found[0, [0, 2]], 0, atol=1e-3)
    assert found[0, 1] > 10
    np.testing.assert_allclose(turned.box[1], (5, 30, 5), atol=1e-6)


@pytest.mark.parametrize("turn", [(0, 0, 0), (30, -20, 70), (90, 45, 10)])
def test_box_holds_the_ellipsoid_and_touches_it(turn: tuple[float, float, float], rng: np.random.Generator) -> None:
    shape = Ellipsoid((5.0, -3.0, 2.0), (20.0, 8.0, 12.0), turn)
    cloud = rng.uniform(-25, 25, size=(3, 1, 60_000)).astype(np.float32) + np.array([5, -3, 2])[:, None, None]
    x, y, z = cloud.astype(np.float32)
    inside = cloud[:, 0, shape.distance(x, y, z)[0] < 0]
    low, high = np.array(shape.box)
    assert (inside >= low[:, None]).all()
    assert (inside <= high[:, None]).all()
    np.testing.assert_allclose(inside.max(axis=1), high, atol=2.0)


def test_tube_narrows_from_start_to_end() -> None:
    tube = Tube((0, 0, 0), (0, 0, 100), (10, 4))
    found = tube.distance(*points((10, 0, 0), (7, 0, 50), (4, 0, 100), (0, 0, 110)))
    np.testing.assert_allclose(found[0], [0, 0, 0, 6], atol=1e-3)


def test_melting_adds_where_parts_meet_and_nowhere_else() -> None:
    near, far = np.zeros((1, 1), np.float32), np.full((1, 1), 50, np.float32)
    assert smooth_minimum(near, near, 8.0)[0, 0] == pytest.approx(-2.0)
    assert smooth_minimum(near, far, 8.0)[0, 0] == 0
    pair = Melted((Tube((0, 0, 0), (9, 0, 0), (3, 3)), Tube((9, 0, 0), (9, 9, 0), (3, 3))), 4.0)
    assert pair.distance(*points((9, 0, 0)))[0, 0] < -3
    bent = tubes([(0, 0, 0), (9, 0, 0), (9, 9, 0)], 3)
    assert bent.distance(*points((9, 9, 0)))[0, 0] == pytest.approx(-3)


def test_later_paint_hides_earlier_and_shares_sum_to_one() -> None:
    plane = canvas()
    plane.paint_shape(1, Ellipsoid((0, 0, 0), (15, 15, 15)))
    plane.paint_shape(2, Ellipsoid((0, 0, 0), (6, 6, 6)))
    shares = plane.shares(3)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-6)
    middle, edge = 20, 0
    assert shares[:, middle, middle].tolist() == [0, 0, 1]
    assert shares[:, edge, edge].tolist() == [1, 0, 0]
    assert shares[1, middle, middle + 10] == 1


def test_a_border_through_a_voxel_is_shared_by_area() -> None:
    plane = canvas(edge=1.0)
    plane.paint_shape(1, Ellipsoid((0, 0, 0), (10.25, 10.25, 10.25)))
    shares = plane.shares(2)
    # The disc's area, pi r^2, is kept although no voxel border follows it.
    assert shares[1].sum() == pytest.approx(np.pi * 10.25**2, rel=0.005)
    assert 0.6 < shares[1, 20, 30] < 0.9


def test_shapes_away_from_the_plane_cost_no_layer() -> None:
    plane = canvas(height=200.0)
    plane.paint_shape(1, Ellipsoid((0, 0, 0), (15, 15, 15)))
    assert plane.layers == []


def test_deformation_stays_within_its_reach(rng: np.random.Generator) -> None:
    waves = draw_waves(rng, reach=9.0, shortest=70, longest=200)
    places = np.linspace(-200, 200, 60)
    moved = np.array([waves.at(axis, places, places, z) for axis in range(3) for z in (-50.0, 0.0, 80.0)])
    assert 1.0 < np.abs(moved).max() <= 9.0 < REACH
