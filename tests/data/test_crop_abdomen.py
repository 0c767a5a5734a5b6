"""The cut to the abdomen, against where the phantom's organs were laid and against shapes made by hand."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from crossmod.data.crop_abdomen import abdomen_by_labels, abdomen_by_shape, crop_to_abdomen, heights, profile_of
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.phantom.anatomy import organ_labels
from crossmod.phantom.scanners import render_ct, render_mr
from crossmod.phantom.tissues import ORGANS
from tests.support.anatomy import draw_anatomy
from tests.support.whole_body import CREST, CROWN, KNEES, whole_body

STEP = 10.0


@cache
def person(number: int) -> Volume:
    return whole_body(number, step=STEP, contrast=number % 2 == 0)


def bare(volume: Volume) -> Volume:
    return volume.with_labels(None, {})


def part(volume: Volume, low: float, high: float) -> Volume:
    """What lies between two heights."""
    z = heights(volume)
    keep = (z >= low) & (z <= high)
    affine = volume.affine.copy()
    affine[2, 3] = z[keep][0]
    labels = None if volume.labels is None else volume.labels[keep]
    return replace(volume, voxels=volume.voxels[keep], labels=labels, affine=affine)


def truth(volume: Volume) -> tuple[float, float]:
    """Lowest slice with a kidney and highest with liver, from the labels alone."""
    assert volume.labels is not None
    kidneys = np.flatnonzero(np.isin(volume.labels, (2, 3)).any(axis=(1, 2)))
    liver = np.flatnonzero((volume.labels == 1).any(axis=(1, 2)))
    return float(heights(volume)[kidneys[0]]), float(heights(volume)[liver[-1]])


@pytest.mark.parametrize("number", range(4))
def test_labels_cut_a_margin_around_kidneys_and_liver(number: int) -> None:
    whole = person(number)
    low, high = truth(whole)
    cut = crop_to_abdomen(whole, "x")
    z = heights(cut)
    # A slice that an organ only just reaches may not count as it: 2 cm of margin, to a slice.
    assert z[0] == pytest.approx(low - 20, abs=STEP)
    assert z[-1] == pytest.approx(high + 20, abs=STEP)
    for organ in (1, 2, 3, 4):
        assert (cut.labels == organ).sum() == (whole.labels == organ).sum() > 0


def test_the_cut_takes_voxels_labels_and_place_along_and_is_noted() -> None:
    whole = replace(person(0), notes=("before",))
    cut = crop_to_abdomen(whole, "x")
    first = round((heights(cut)[0] - KNEES) / STEP)
    kept = slice(first, first + len(cut.voxels))
    np.testing.assert_array_equal(cut.voxels, whole.voxels[kept])
    np.testing.assert_array_equal(cut.labels, whole.labels[kept] if whole.labels is not None else None)
    np.testing.assert_allclose(cut.affine @ [2, 3, 4, 1], whole.affine @ [first + 2, 3, 4, 1])
    assert cut.contrast is True
    name = f"cut to the abdomen, by labels: slices {first + 1} to {first + len(cut.voxels)} of {len(whole.voxels)}"
    assert cut.notes == ("before", f"{name}, feet first")


@pytest.mark.parametrize("number", range(6))
def test_without_labels_lungs_place_the_cut_and_no_organ_is_lost(number: int) -> None:
    """With and without contrast agent; odd numbers are without."""
    whole = person(number)
    low, high = truth(whole)
    found = abdomen_by_shape(profile_of(bare(whole)), "x")
    assert found.rule == "lungs"
    # Measured on 40 persons at 5 mm: 3 mm low (SD 8, at most 20) and 6 mm high (SD 6, at most 17).
    assert abs(found.low - low) < 30
    assert abs(found.high - high) < 30
    z = heights(crop_to_abdomen(bare(whole), "x"))
    assert low - 75 < z[0] <= low
    assert high <= z[-1] < high + 75


@pytest.mark.parametrize("number", range(3))
def test_where_no_lungs_are_seen_the_pelvis_places_it(number: int) -> None:
    # This person's scan begins at mid-thigh and ends under the lungs.
    scan = bare(part(person(number), -450, 10))
    profile = profile_of(scan)
    assert profile.lungs_begin() is None
    assert profile.crest() == pytest.approx(CREST, abs=STEP)
    cut = crop_to_abdomen(scan, "x")
    assert "by pelvis" in cut.notes[0]
    z = heights(cut)
    # Two centimetres of hip bone, and all that was scanned above.
    assert CREST - 40 <= z[0] <= truth(person(number))[0]
    assert z[-1] == heights(scan)[-1]


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("number", range(4))
def test_a_scan_of_the_abdomen_is_left_as_it_is(number: int, labelled: bool) -> None:
    anatomy = draw_anatomy(number, 64, 28)
    volume = render_ct(anatomy, number).with_labels(organ_labels(anatomy), ORGANS)
    volume = volume if labelled else bare(volume)
    assert crop_to_abdomen(volume, "x") is volume


def test_an_abdomen_without_any_landmark_is_left_as_it_is() -> None:
    scan = bare(part(person(0), -110, 25))
    assert abdomen_by_shape(profile_of(scan), "x").rule == "nothing outside of it"
    assert crop_to_abdomen(scan, "x") is scan


def test_mr_is_left_as_it_is() -> None:
    volume = render_mr(draw_anatomy(0, 32, 10), "t1_in", 0)
    assert crop_to_abdomen(volume, "x") is volume


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (130, 330, "lungs down to the lowest slice"),
        (0, CROWN, r"\d+ mm of an abdomen of 200 mm \(by lungs\)"),
        (KNEES, -340, "legs"),
        (KNEES, -170, r"legs|0 mm of an abdomen"),
        (-320, -170, "bone at both sides from end to end"),
        (410, CROWN, "a head or a limb"),
        (KNEES, -100, r"\d+ mm of an abdomen of 200 mm \(by pelvis\)"),
    ],
)
def test_what_shows_no_abdomen_is_refused_by_name(low: float, high: float, words: str) -> None:
    scan = bare(part(person(1), low, high))
    with pytest.raises(InputError, match=rf"case-7: .*({words}).*shows the abdomen"):
        crop_to_abdomen(scan, "case-7")


def test_a_chest_that_shows_the_top_of_a_labelled_liver_is_refused() -> None:
    whole = person(2)
    dome = truth(whole)[1]
    chest = part(whole, dome - 40, CROWN)
    with pytest.raises(InputError, match=r"case-7: 40 mm of an abdomen of 200 mm \(by labels\)"):
        crop_to_abdomen(chest, "case-7")
    # Nothing sticks out of so short a scan of the liver.
    alone = part(whole, dome - 40, dome + 10)
    assert crop_to_abdomen(alone, "x") is alone


@pytest.mark.parametrize("organs", [("liver",), ("right_kidney", "left_kidney")])
@pytest.mark.parametrize("number", range(3))
def test_one_labelled_organ_places_the_other_end_by_a_mean(number: int, organs: tuple[str, ...]) -> None:
    whole = person(number)
    assert whole.labels is not None
    values = [value for value, name in ORGANS.items() if name in organs]
    names = {value: ORGANS[value] for value in values}
    labels = np.where(np.isin(whole.labels, values), whole.labels, 0).astype(np.uint8)
    abdomen = abdomen_by_labels(whole.with_labels(labels, names))
    assert abdomen is not None
    assert (abdomen.low, abdomen.high) == pytest.approx(truth(whole), abs=30)


def test_stray_voxels_of_a_label_do_not_stretch_the_abdomen() -> None:
    whole = person(0)
    assert whole.labels is not None
    labels = whole.labels.copy()
    labels[3, 30, 30] = 1
    assert abdomen_by_labels(whole.with_labels(labels, ORGANS)) == abdomen_by_labels(whole)


def test_labels_without_liver_and_kidneys_leave_it_to_the_lungs() -> None:
    whole = person(0)
    spleen = whole.with_labels((whole.labels == 4).astype(np.uint8), {1: "spleen"})
    assert "by lungs" in crop_to_abdomen(spleen, "x").notes[0]


def test_values_that_a_window_cut_off_need_labels() -> None:
    whole = person(0)
    cut_off = replace(whole, voxels=whole.voxels.clip(-160, 240))
    with pytest.raises(InputError, match="case-7: no labelled liver or kidneys, and values cut off at -160 HU"):
        crop_to_abdomen(bare(cut_off), "case-7")
    assert len(crop_to_abdomen(cut_off, "x").voxels) == len(crop_to_abdomen(whole, "x").voxels)


def made(slices: int) -> np.ndarray:
    """Ellipses of water in air, 100 pixels of 4 mm: 320 x 240 mm."""
    y, x = np.mgrid[0:100, 0:100] - 49.5
    return np.where((x / 40) ** 2 + (y / 30) ** 2 < 1, 0, -1000) + np.zeros((slices, 1, 1))


def profile(voxels: np.ndarray):
    affine = np.array([[0, 0, -4.0, 200], [0, -4.0, 0, 200], [10.0, 0, 0, 0], [0, 0, 0, 1]])
    return profile_of(Volume(np.rint(voxels).astype(np.int16), affine, "ct"))


def test_measures_of_shapes_made_by_hand() -> None:
    voxels = made(12)
    voxels[6:, 40:60, 20:40] = -800  # a lung of 20 x 20 pixels from slice 6 on
    voxels[2:4, 40:60, 60:80] = -990  # gas
    voxels[0:5, 45:55, 15:18] = voxels[0:5, 45:55, 82:85] = 400  # hip bones of 3 x 10 pixels
    found = profile(voxels)
    area = np.pi * 160 * 120
    np.testing.assert_allclose(found.body, area, rtol=0.01)
    np.testing.assert_allclose(found.side_bone, [480] * 5 + [0] * 7)
    np.testing.assert_allclose(found.lung[:6], 0)
    np.testing.assert_allclose(found.lung[6:], 6400, rtol=0.02)
    # From none to 0.106 of the body between 50 and 60 mm: 0.05 is passed at 54.7.
    assert found.lungs_begin() == pytest.approx(54.7, abs=0.2)
    # So near to the lungs there is no hip.
    assert found.crest() is None
    assert not found.legs.any()


def test_a_crest_is_the_upper_end_of_a_long_stretch_of_bone_at_both_sides() -> None:
    voxels = made(20)
    voxels[2:9, 45:55, 15:18] = voxels[2:9, 45:55, 82:85] = 400
    voxels[12:14, 45:55, 15:18] = voxels[12:14, 45:55, 82:85] = 400  # too short for a pelvis
    assert profile(voxels).crest() == 80
    voxels[:, 45:55, 82:85] = 0
    assert profile(voxels).crest() is None


def test_two_legs_are_told_and_the_table_is_no_body() -> None:
    y, x = np.mgrid[0:100, 0:100] - 49.5
    legs = np.where(((np.abs(x) - 22) ** 2 + y**2) < 20**2, 0, -1000) + np.zeros((3, 1, 1))
    found = profile(legs)
    assert found.legs.all()
    np.testing.assert_allclose(found.body, 2 * np.pi * 80**2, rtol=0.02)
    on_table = made(3)
    on_table[:, 90:91] = 100
    np.testing.assert_allclose(profile(on_table).body, profile(made(3)).body)
