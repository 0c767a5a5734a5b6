from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.metrics.axial_layers import (
    KIDNEYS_HIGH,
    LAYER_MM,
    LAYERS,
    LIVER_LOW,
    LUNGS_LOW,
    Placement,
    extent,
    place,
    placement_by_lungs,
    placement_by_organs,
    positions,
)
from crossmod.phantom.anatomy import ORGANS, Grid, lay_on_grid, organ_labels
from crossmod.phantom.dataset import PhantomSettings, draw_grid
from crossmod.phantom.person import draw_person
from crossmod.phantom.scanners import render_ct, render_mr


def scan(person: int, modality: str, grid: Grid, *, organs: tuple[str, ...] | None = None) -> Volume:
    anatomy = lay_on_grid(draw_person(person), grid)
    volume = render_ct(anatomy, person) if modality == "ct" else render_mr(anatomy, "t1_in", person)
    names = {value: name for value, name in ORGANS.items() if organs is None or name in organs}
    labels = organ_labels(anatomy)
    return volume.with_labels(np.where(np.isin(labels, list(names)), labels, 0).astype(np.uint8), names)


def far_apart(first: Placement, second: Placement) -> int:
    """The most that two placements disagree, over where the first has layers, but for the last halves of a layer."""
    edge = (first.high - first.low) / LAYERS / 2
    z = np.linspace(first.low + edge, first.high - edge, 501)
    return int(np.abs(first.numbers(z) - second.numbers(z)).max())


THIN = Grid(size=64, slices=113, bottom=-140.0, top=140.0)
PEOPLE = [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]


@cache
def placed_thin(person: int) -> Placement:
    return place(scan(person, "ct", THIN))


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("slices", [57, 29, 36])
def test_one_person_has_the_same_layers_at_any_slice_thickness(person: int, slices: int) -> None:
    thin = placed_thin(person)
    thick = place(scan(person, "ct", replace(THIN, slices=slices)))
    assert thin.rule == thick.rule == "kidneys to dome"
    # A thick slice blurs an organ's end over its neighbour.
    assert (thick.low, thick.high) == pytest.approx((thin.low, thin.high), abs=0.8 * 280 / (slices - 1))
    z = np.linspace(thin.low, thin.high, 500)
    assert np.mean(thin.numbers(z) == thick.numbers(z)) > 0.8
    assert far_apart(thin, thick) <= 1


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("organs", [None, ("liver",)])
def test_ct_and_mr_of_one_person_agree_within_one_layer(person: int, organs: tuple[str, ...] | None) -> None:
    """Other grids, other slice thickness, other ends of the scan, and the liver alone on one side, as in CHAOS."""
    settings = PhantomSettings(ct_patients=1, mr_patients=1, size=64, slices=32)
    seed = np.random.SeedSequence(person)
    ct = place(scan(person, "ct", draw_grid(draw_person(person), "ct", settings, seed), organs=organs))
    mr = place(scan(person, "mr", draw_grid(draw_person(person), "mr", settings, seed)))
    assert far_apart(mr, ct) <= 1


def test_without_labels_the_lungs_tell() -> None:
    labelled = scan(1, "ct", THIN)
    bare = place(labelled.with_labels(None, {}))
    assert bare.rule == "lungs"
    assert far_apart(place(labelled), bare) <= 1
    assert place(labelled.with_labels(np.zeros_like(labelled.labels), {})).rule == "lungs"


def test_without_anything_the_scan_is_divided() -> None:
    """Twenty slices of nothing: two a layer, from the first face to the last."""
    affine = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [5, 0, 0, -30], [0, 0, 0, 1]], dtype=np.float64)
    volume = Volume(np.full((20, 9, 9), -1000, np.int16), affine, "ct")
    assert place(volume) == Placement("scan", -32.5, 67.5)
    np.testing.assert_array_equal(place(volume).numbers(positions(volume)), np.repeat(np.arange(1, 11), 2))
    np.testing.assert_array_equal(positions(volume), -30 + 5.0 * np.arange(20))


def test_a_single_slice_has_no_place() -> None:
    volume = scan(0, "ct", THIN)
    labels = volume.labels
    assert labels is not None
    with pytest.raises(InputError, match="one slice"):
        place(replace(volume, voxels=volume.voxels[50:51], labels=labels[50:51]))


def test_numbers_of_positions() -> None:
    place = Placement("scan", 0.0, 100.0)
    z = np.array([-0.1, 0.0, 9.9, 10.1, 55.0, 99.9, 100.0, 100.1])
    assert place.numbers(z).tolist() == [0, 1, 1, 2, 6, 10, 10, 0]


def test_an_extent_by_hand() -> None:
    z = np.arange(6.0) * 10
    #  50 -> 250 mm^2 passes 100 at a quarter of the way; 300 -> 0 at two thirds.
    low, high = extent(z, np.array([0, 50, 250, 300, 0, 0.0]))
    assert (low, high) == (pytest.approx(12.5), pytest.approx(30 + 20 / 3))
    assert extent(z, np.array([200.0, 200, 0, 0, 0, 0])) == (None, pytest.approx(15))
    assert extent(z, np.array([0.0, 0, 0, 0, 0, 200])) == (pytest.approx(45), None)
    assert extent(z, np.full(6, 99.0)) == (None, None)
    # A piece of liver far away from the liver is a mistake.
    assert extent(z, np.array([0, 150, 0, 0, 900, 0.0])) == (pytest.approx(30 + 10 / 9), pytest.approx(40 + 80 / 9))


@given(st.integers(2, 60), st.floats(-500, 500), st.floats(1, 9), st.integers(0, 2**32))
def test_extents_lie_in_the_gaps_beside_the_organ(slices: int, start: float, step: float, seed: int) -> None:
    z = start + step * np.arange(slices)
    area = np.random.default_rng(seed).uniform(0, 200, slices)
    low, high = extent(z, area)
    for end in (low, high):
        if end is not None:
            before = int(np.clip(np.searchsorted(z, end) - 1, 0, slices - 2))
            assert min(area[before : before + 2]) <= 100 <= max(area[before : before + 2])
    if low is not None and high is not None:
        assert low <= high


def cylinder(z: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.where((z > low) & (z < high), 2000.0, 0.0)


def test_each_rule_by_hand() -> None:
    """A person as the constants have them: all rules place the same layers."""
    z = np.arange(-50.0, 300)
    kidneys, liver = cylinder(z, 0, 20 * KIDNEYS_HIGH), cylinder(z, 20 * LIVER_LOW, 200)
    whole = placement_by_organs(z, {"kidneys": kidneys, "liver": liver})
    assert whole is not None
    assert whole.rule == "kidneys to dome"
    assert (whole.low, whole.high) == pytest.approx((0, 200), abs=1)
    by_liver = placement_by_organs(z, {"liver": liver})
    assert by_liver is not None
    assert by_liver.rule == "liver"
    assert (by_liver.low, by_liver.high) == pytest.approx((0, 200), abs=2)
    # The scan ends below the dome: the kidneys are left.
    short = slice(None, 220)
    by_kidneys = placement_by_organs(z[short], {"kidneys": kidneys[short], "liver": liver[short]})
    assert by_kidneys is not None
    assert by_kidneys.rule == "kidneys"
    assert (by_kidneys.low, by_kidneys.high) == pytest.approx((0, 200), abs=3)
    by_lungs = placement_by_lungs(z, np.where(z > LUNGS_LOW["ct"] * LAYER_MM, 0.3, 0.0), "ct")
    assert by_lungs.rule == "lungs"
    assert (by_lungs.low, by_lungs.high) == pytest.approx((0, 200), abs=1)


def test_landmarks_that_no_person_has_are_passed_over() -> None:
    z = np.arange(-50.0, 300)
    # A liver label at the feet, and kidneys that are right.
    areas = {"kidneys": cylinder(z, 0, 124), "liver": cylinder(z, 10, 30)}
    placed = placement_by_organs(z, areas)
    assert placed is not None
    assert placed.rule == "kidneys"
    assert placement_by_organs(z, {"liver": cylinder(z, 10, 30)}) is None
    assert placement_by_organs(z, {}) is None


@pytest.mark.parametrize("lung", [0.0, 0.3])
def test_a_scan_of_the_chest_or_of_the_pelvis_shows_no_lower_border(lung: float) -> None:
    assert placement_by_lungs(np.arange(10.0), np.full(10, lung), "mr").rule == "scan"
