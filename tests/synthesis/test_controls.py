"""Controls against hand-made cases and independent libraries."""

import numpy as np
import pytest
from skimage.exposure import match_histograms

from crossmod.synthesis import controls
from crossmod.synthesis.controls import (
    AIR,
    bezier,
    class_contrast,
    match_histogram,
    mean_amplitude,
    painted,
    quantiles,
    random_contrast,
    spread,
    swap_amplitude,
    tissue_classes,
)


def slices(seed: int, count: int = 3, rows: int = 20, columns: int = 26) -> np.ndarray:
    rng = np.random.default_rng(seed)
    images = rng.uniform(-0.8, 1, (count, rows, columns)).astype(np.float32)
    images[:, :4] = -1
    return images


def test_a_matched_histogram_is_the_targets_and_keeps_order_and_air() -> None:
    source, target = slices(0), slices(1) ** 3
    target = np.where(slices(1) > AIR, target, -1).astype(np.float32)
    matched = match_histogram(source, quantiles(target))
    assert np.array_equal(matched == -1, source == -1)
    inside = source > AIR
    order = np.argsort(source[inside])
    assert (np.diff(matched[inside][order]) >= 0).all()
    assert quantiles(matched) == pytest.approx(quantiles(target), abs=0.02)
    # scikit-image's, on the pixels that are not air.
    expected = match_histograms(source[inside], target[target > AIR])
    assert matched[inside] == pytest.approx(expected, abs=0.02)
    assert match_histogram(source, quantiles(source)) == pytest.approx(source, abs=1e-4)


def test_low_frequencies_are_the_targets_and_phases_the_sources() -> None:
    # Within [0, 1] after the change, so that nothing is clipped.
    source, target = 0.3 * slices(2), 0.3 * slices(3) + 0.1
    amplitude = mean_amplitude(target)
    changed = swap_amplitude(source, amplitude, beta=0.1)
    spectrum, before = (np.fft.fftshift(np.fft.fft2((x + 1) / 2), axes=(-2, -1)) for x in (changed, source))
    # rows: 10 +- floor(0.1 * 20) = 2, columns: 13 +- floor(0.1 * 26) = 2.
    low = np.zeros(source.shape[1:], bool)
    low[8:13, 11:16] = True
    assert np.abs(spectrum)[:, low] == pytest.approx(np.broadcast_to(amplitude[low], (3, 25)), rel=1e-3)
    assert spectrum[:, ~low] == pytest.approx(before[:, ~low], abs=1e-3)
    assert swap_amplitude(source[:1], mean_amplitude(source[:1])) == pytest.approx(source[:1], abs=1e-5)
    # The mean brightness is the target's, also if the source's is on the other side of 0.
    dark, bright = np.full((1, 16, 16), -0.5, np.float32), np.full((1, 16, 16), 0.25, np.float32)
    assert swap_amplitude(dark, mean_amplitude(bright)) == pytest.approx(bright, abs=1e-5)


def test_random_contrast_keeps_the_place_of_edges_and_differs_from_draw_to_draw() -> None:
    image = np.full((32, 32), -1, np.float32)
    image[8:24, 8:24] = 0.4
    first, again, other = (random_contrast(image, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first.min(), first.max()) == pytest.approx((-1, 1), abs=1e-5)
    # Four layers of at most 3 x 3 reach 4 pixels: further inside nothing varies.
    assert np.ptp(first[12:20, 12:20]) < 1e-5
    assert np.array_equal(spread(np.full((4, 4), 3.0)), np.full((4, 4), -1, np.float32))


def test_a_bezier_curve_is_a_line_where_its_points_are_on_one_and_is_solved_by_hand_elsewhere() -> None:
    values = np.linspace(0, 1, 50)
    assert bezier(values, np.array([[1 / 3, 1 / 3], [2 / 3, 2 / 3]])) == pytest.approx(values, abs=1e-6)
    # t = 1/2 of (0, 0), (0, 1), (1, 1), (1, 1): x = 1/2, y = 7/8.
    assert bezier(np.array([0.5]), np.array([[0.0, 1.0], [1.0, 1.0]]))[0] == pytest.approx(0.875, abs=1e-3)


def test_each_class_has_a_contrast_of_its_own_and_air_stays_air() -> None:
    image = slices(4, 1)[0]
    classes = np.zeros(image.shape, int)
    classes[10:] = 2
    directions = []
    for seed in range(40):
        made = class_contrast(image, classes, np.random.default_rng(seed))
        assert np.array_equal(made[image <= AIR], image[image <= AIR])
        assert np.abs(made).max() <= 1
        rises = []
        for number in (0, 2):
            inside = (classes == number) & (image > AIR)
            steps = np.diff(made[inside][np.argsort(image[inside])])
            # Monotone, one way or the other; about the 40 % beyond the kept percentiles may be cut.
            assert (steps >= -1e-6).all() or (steps <= 1e-6).all()
            assert (np.abs(made[inside]) < 1).mean() > 0.4
            rises.append(bool(steps.sum() > 0))
        directions.append(rises)
    # Outside of labels it always falls, in a label half of the time.
    assert not any(rises[0] for rises in directions)
    assert 8 < sum(rises[1] for rises in directions) < 32


def test_a_class_keeps_its_range_before_it_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "SCALE_SPREAD", 0.0)
    monkeypatch.setattr(controls, "LOCATION_SPREAD", 0.0)
    image = slices(4, 1)[0]
    made = class_contrast(image, np.zeros(image.shape, int), np.random.default_rng(0))
    inside = image > AIR
    assert (made[inside].min(), made[inside].max()) == pytest.approx((image[inside].min(), image[inside].max()), 1e-4)


def test_painted_classes_have_means_of_their_own() -> None:
    classes = np.zeros((40, 40), int)
    classes[5:35, 5:20], classes[5:35, 20:35] = 1, 2
    made = [painted(classes, np.random.default_rng(seed)) for seed in range(20)]
    assert all(image.dtype == np.float32 and np.abs(image).max() <= 1 for image in made)
    air = np.array([image[:3].mean() for image in made])
    inside = np.array([[image[8:32, 8:17].mean(), image[8:32, 23:32].mean()] for image in made])
    assert (air[:, None] < inside).mean() > 0.9
    # Which is brighter is drawn.
    assert 0.1 < (inside[:, 0] > inside[:, 1]).mean() < 0.9
    assert np.array_equal(painted(np.ones((8, 8), int), np.random.default_rng(0)), np.full((8, 8), -1, np.float32))


def test_painted_is_the_gaussian_of_a_class_if_nothing_else_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("BIAS", 0.0), ("GAMMA", 0.0), ("BLUR", 0.0)):
        monkeypatch.setattr(controls, name, value)
    monkeypatch.setattr(controls, "MEANS", (100.0, 100.0))
    monkeypatch.setattr(controls, "SPREADS", (10.0, 10.0))
    monkeypatch.setattr(controls, "AIR_MEANS", (0.0, 0.0))
    monkeypatch.setattr(controls, "AIR_SPREADS", (0.0, 0.0))
    classes = np.zeros((60, 60), int)
    classes[10:50, 10:50] = 1
    made = painted(classes, np.random.default_rng(0))
    assert (made[classes == 0] == -1).all()
    # Mean 100 and standard deviation 10: their ratio outlasts the spread over [-1, 1].
    inside = made[classes == 1] + 1
    assert inside.std() / inside.mean() == pytest.approx(0.1, rel=0.06)


def test_classes_to_paint_are_tissues_and_organs() -> None:
    hu = np.array([[-1000.0, -100.0, 0.0, 50.0, 120.0, 700.0, 50.0]])
    organs = np.array([[0, 0, 0, 0, 0, 0, 2]])
    assert tissue_classes(hu, organs).tolist() == [[0, 1, 2, 3, 4, 5, 7]]
