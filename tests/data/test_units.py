"""Which values can be HU or signal of MR: each kind of fault and of honest scan, made by hand."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmod.data.dicom.series import read_dicom_series
from crossmod.data.intensity import Histogram, histogram_of
from crossmod.data.nifti import read_nifti
from crossmod.data.unit_rules import Finding, findings
from crossmod.data.units import ACCEPTED, findings_of, one_unit, with_checked_units
from crossmod.errors import InputError
from tests.support.unit_stores import NOISE, SIZE, ct, mr, volume_of

Change = Callable[[np.ndarray], np.ndarray]


def around(values: np.ndarray, value: float) -> np.ndarray:
    """Padding around a round field of view."""
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    return np.where(np.hypot(x, y) > 1, value, values)


def with_metal(values: np.ndarray, value: float) -> np.ndarray:
    values = values.copy()
    values[1:2, 40:46, 40:46] = value
    return values


def found_in(values: np.ndarray, modality: str = "ct", stated: str | None = None) -> tuple[Finding, ...]:
    return findings(histogram_of(values), modality, stated)  # pyright: ignore[reportArgumentType]


NO_HU: dict[str, tuple[Change, str]] = {
    "1024 added": (lambda v: v + 1024, "subtract 1024"),
    "1000 added": (lambda v: v + 1000, "subtract 1000"),
    "1024 added to air that was cut": (lambda v: np.clip(v, -1000, None) + 1024, "subtract 1024"),
    "1000 added to air that was cut": (lambda v: np.clip(v, -1000, None) + 1000, "with 1000 or 1024 added"),
    "1024 added, 0 around the field": (lambda v: around(v + 1024, 0), "subtract 1024"),
    "1024 added, cut at 0": (lambda v: np.clip(v + 1024, 0, None), "subtract 1024"),
    "1024 added, padding": (lambda v: around(v + 1024, -976), "subtract 1024"),
    "1024 added, noise": (lambda v: v + 1024 + 60 * NOISE, "subtract 1024"),
    "8 bits of a window": (lambda v: np.rint(np.clip((v + 160) / 400 * 255, 0, 255)), "8-bit picture"),
    "8 bits of all": (lambda v: np.rint(np.clip((v + 1000) / 5, 0, 255)), "8-bit picture"),
    "0 to 1": (lambda v: np.clip((v + 1000) / 2000, 0, 1), "scaled for a network"),
    "-1 to 1": (lambda v: np.clip((v + 160) / 200 - 1, -1, 1), "scaled for a network"),
    "standardised": (lambda v: (v - v.mean()) / v.std(), "scaled for a network"),
    "negated": (lambda v: -v, "multiply by -1"),
    "negated, less 1024": (lambda v: -v - 1024, "multiply by -1, then subtract 1024"),
    "negated, less 1000": (lambda v: -v - 1000, "multiply by -1, then subtract 1000"),
    "negated, and 1024": (lambda v: -v + 1024, "multiply by -1, then add 1024"),
    "thousandths": (lambda v: v / 1000, "scaled for a network"),
    "ten times": (lambda v: 10 * v, "Check the rescaling"),
    "twice": (lambda v: 2 * v, "Check the rescaling"),
    "signed read as unsigned": (lambda v: np.where(v < 0, v + 65536, v), "subtract 65536"),
    "500 added": (lambda v: v + 500, "Check"),
    "1024 taken away": (lambda v: v - 1024, "Check"),
    "cut at 0": (lambda v: np.clip(v, 0, None), "Check"),
    "attenuation, 1/cm": (lambda v: 0.19 * (1 + v / 1000), "scaled for a network"),
    "iodine, mg/ml": (lambda v: np.where(v > 0, np.clip((v - 40) / 25, 0, 20), 0), "Check"),
    "electron density": (lambda v: np.clip(1 + v / 1000, 0, None), "scaled for a network"),
    "a label map": (lambda v: (v > 40) * 1, "Give the image, not its labels"),
    "a mask of 255": (lambda v: (v > 40) * 255, "Give the image, not its labels"),
    "a voxel of 1e20": (lambda v: with_metal(v, 1e20), "Check the rescaling"),
    "values of MR": (lambda v: mr(), "Check the modality"),
    "values of MR, interpolated": (lambda v: np.rint(mr() + 15 * NOISE), "Check the modality"),
    "values of MR, 0 to 1": (lambda v: mr() / 1000, "scaled for a network"),
}


@pytest.mark.parametrize("fault", NO_HU)
def test_what_cannot_be_hu_is_refused_with_advice(fault: str) -> None:
    change, advice = NO_HU[fault]
    first = found_in(change(ct()))[0]
    assert first.refuse
    assert advice in first.do


@pytest.mark.parametrize(
    ("honest", "change"),
    [
        ("as it is", lambda v: v),
        ("one slice", lambda v: v[:1]),
        ("much air", lambda v: np.pad(v, ((0, 0), (90, 90), (90, 90)), constant_values=-1000)),
        ("a body that takes a hundredth", lambda v: np.pad(v[:1], ((0, 80), (0, 0), (0, 0)), constant_values=-1000)),
        ("air at -1024", lambda v: np.clip(v - 20, -1024, None)),
        ("intercept of -1000 for -1024", lambda v: v + 24),
        ("low dose", lambda v: v + 60 * NOISE),
        ("very low dose", lambda v: v + 150 * NOISE),
        ("metal of 12 bits", lambda v: with_metal(v, 3071)),
        ("metal of 16 bits", lambda v: with_metal(v, 30000)),
        ("a field inside the body", lambda v: v[:, 20:76, 20:76]),
        ("every fourth pixel", lambda v: v[:, ::4, ::4]),
        ("a phantom of water", lambda v: np.where(v > -500, 0, -1000) + 10 * NOISE),
        ("a window of -1000 to 1000", lambda v: np.clip(v, -1000, 1000)),
        ("a lung", lambda v: np.where(NOISE > 1.5, 40, -860) + 25 * NOISE),
    ],
)
def test_honest_hu_pass_without_a_word(honest: str, change: Change) -> None:
    assert found_in(np.rint(change(ct()))) == ()


@pytest.mark.parametrize(
    ("odd", "change", "words"),
    [
        ("cut at -125 and 275", lambda v: np.clip(v, -125, 275), ("below -125 HU", "above 275 HU", "were cut off")),
        ("cut at -160", lambda v: np.clip(v, -160, None), ("below -160 HU",)),
        ("few grey values", lambda v: np.clip(8 * np.rint(v / 8), -125, 275), ("different values are left",)),
        ("padding of -2000", lambda v: around(v, -2000), ("at -2000, below air: padding",)),
        ("padding of -3024", lambda v: around(v, -3024), ("at -3024, below air: padding",)),
        ("padding of -32768", lambda v: around(v, -32768), ("at -32768, below air: padding",)),
        ("200 added", lambda v: v + 200, ("near -800 HU, where air should lie near -1000",)),
        ("100 added", lambda v: v + 100, ("near -900 HU, where air",)),
        ("a tenth", lambda v: v / 10, ("look like HU divided by 10, with air near -100",)),
        ("a quarter", lambda v: v / 4, ("look like HU divided by 4, with air near -250",)),
        (
            "values of MR less 1024",
            lambda v: np.interp(mr(), [0, 260, 420, 640], [0, 400, 450, 900]) - 1024,
            ("hardly any of it above fat",),
        ),
        ("halved", lambda v: v / 2, ("near -500 HU, where air",)),
        ("300 taken away", lambda v: np.clip(v[:, 20:76, 20:76], -300, None) - 300, ("where soft tissue is 0 to 100",)),
    ],
)
def test_what_only_looks_odd_is_a_warning(odd: str, change: Change, words: tuple[str, ...]) -> None:
    found = found_in(np.rint(change(ct())))
    assert found
    assert not any(one.refuse for one in found)
    said = "; ".join(one.found for one in found)
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("what", "change", "refused", "words"),
    [
        ("as it is", lambda v: v, False, ""),
        ("interpolated", lambda v: v + 15 * NOISE, False, ""),
        ("0 to 1", lambda v: v / v.max(), False, ""),
        ("tens of thousands", lambda v: 40.0 * v, False, ""),
        ("undershoots of tens of thousands", lambda v: 40.0 * v + 400 * NOISE, False, ""),
        ("8 bits", lambda v: np.rint(v / v.max() * 255), False, "as an 8-bit picture has them"),
        ("standardised", lambda v: (v - v.mean()) / v.std(), False, "below 0"),
        ("CT", lambda v: ct(), True, "as low as"),
        ("CT that was cut", lambda v: np.clip(ct(), -125, 275), False, "which magnitudes of MR are not"),
        ("CT with 1024 added", lambda v: ct() + 1024, False, "CT with 1024 added"),
        ("phase", lambda v: 4095 * np.sin(v), True, "as low as"),
        ("padding of -32768", lambda v: around(v, -32768), True, "as low as -32768"),
        ("labels", lambda v: (v > 300) * 3, True, "a label map"),
        ("hardly anything", lambda v: np.where(NOISE > 3.5, v, 0), False, "in 99 % of the voxels"),
    ],
)
def test_values_of_mr(what: str, change: Change, refused: bool, words: str) -> None:
    found = found_in(change(mr()), "mr")
    assert any(one.refuse for one in found) == refused
    said = "; ".join(one.found for one in found)
    assert words in said
    assert bool(said) == bool(words)


@pytest.mark.parametrize(
    ("stated", "refused"),
    [
        (None, None),
        ("HU", None),
        ("US (unspecified)", False),
        ("mg/ml", True),
        ("Z_EFF (effective atomic number)", True),
        ("ED (electron density)", True),
        ("HU_MOD (modified HU)", True),
        ("a unit that DICOM does not know", True),
    ],
)
def test_what_the_header_says_counts_whatever_the_values_look_like(stated: str | None, refused: bool | None) -> None:
    found = found_in(ct(), "ct", stated)
    assert [one.refuse for one in found] == ([] if refused is None else [refused])


def test_an_unspecified_unit_needs_values_that_are_plainly_hu() -> None:
    assert found_in(np.clip(ct(), -125, 275), "ct", "US (unspecified)")[0].refuse


# The decision rule, on any seed: what shifts or scales HU by far is refused, what shifts them little passes.
seeds = st.integers(0, 2**16)


@given(seed=seeds, offset=st.floats(450, 40000), sign=st.sampled_from([1, -1]))
def test_a_large_offset_is_always_refused(seed: int, offset: float, sign: int) -> None:
    assert found_in(ct(seed, 1) + sign * offset)[0].refuse


@given(seed=seeds, offset=st.floats(-25, 25), noise=st.floats(0, 60))
def test_a_small_offset_and_noise_always_pass(seed: int, offset: float, noise: float) -> None:
    values = ct(seed, 1) + offset + np.random.default_rng(seed).normal(0, noise + 1e-9, (1, SIZE, SIZE))
    assert not any(one.refuse for one in found_in(values))


@given(seed=seeds, offset=st.floats(100, 300))
def test_an_offset_between_is_never_silent(seed: int, offset: float) -> None:
    assert found_in(ct(seed, 1) + offset)


@given(seed=seeds, scale=st.one_of(st.floats(1e-6, 0.04), st.floats(1.7, 1e6)), sign=st.sampled_from([1, -1]))
def test_another_scale_is_always_refused(seed: int, scale: float, sign: int) -> None:
    assert found_in(sign * scale * ct(seed, 1))[0].refuse


@given(seed=seeds, low=st.integers(-1000, -100), high=st.integers(100, 3000))
def test_a_window_that_holds_fat_and_muscle_is_never_refused(seed: int, low: int, high: int) -> None:
    found = found_in(np.clip(ct(seed, 1), low, high))
    assert not any(one.refuse for one in found)
    assert bool(found) >= (low > -850)


@given(seed=seeds, low=st.floats(-2000, 0), width=st.floats(50, 3000))
def test_a_picture_of_any_window_is_refused_as_ct_and_warned_of_as_mr(seed: int, low: float, width: float) -> None:
    picture = np.rint(np.clip((ct(seed, 1) - low) / width * 255, 0, 255))
    assert found_in(picture)[0].refuse
    assert picture.max() <= 127 or found_in(picture, "mr")


@given(seed=seeds, scale=st.floats(0.6, 100))
def test_mr_of_any_scale_is_never_hu(seed: int, scale: float) -> None:
    assert found_in(np.rint(scale * mr(seed, 1)))[0].refuse
    assert found_in(np.rint(scale * mr(seed, 1)), "mr") == ()


def test_a_histogram_is_that_of_numpy() -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(-20, 20, (5, 7, 9)).astype(np.int16)
    made = histogram_of(values)
    assert made.values.tolist() == sorted(set(values.ravel().tolist()))
    np.testing.assert_allclose(made.shares, [np.mean(values == one) for one in made.values])
    assert made.share(-3, 4) == pytest.approx(np.mean((values >= -3) & (values <= 4)))
    assert made.percentile(50) == np.percentile(values, 50, method="inverted_cdf")
    turned = made.mapped(-1, 2)
    assert turned.values.tolist() == sorted(2 - made.values)
    assert turned.share(2, 22) == pytest.approx(np.mean(values <= 0))


def test_a_large_volume_is_looked_at_in_part_with_its_extremes() -> None:
    values = np.zeros((90, 120, 130), np.int16)
    values[45:] = 5
    values[1, 1, 1], values[89, 118, 128] = -777, 888
    made = histogram_of(values)
    assert (made.values[0], made.values[-1]) == (-777, 888)
    assert made.share(5, 5) == pytest.approx(0.5, abs=0.02)
    assert isinstance(made, Histogram)


def test_what_is_accepted_is_never_called_hu(caplog: pytest.LogCaptureFixture) -> None:
    wrong = volume_of(ct() + 1024)
    with pytest.raises(InputError, match=r"^it: values from .* as fat and air are\. .*subtract 1024\. Say so\.$"):
        with_checked_units("it", wrong, advice="Say so.")
    taken = with_checked_units("it", wrong, accept=True)
    assert (taken.unit, taken.stated_unit) == ("unknown", "unknown")
    assert [note.startswith(ACCEPTED) for note in taken.notes] == [True]
    assert "it: accepted with --accept-units, unit unknown: values from" in caplog.text


def test_honest_values_are_hu_also_where_others_would_be_accepted() -> None:
    right = with_checked_units("it", volume_of(ct()), accept=True)
    assert (right.unit, right.notes) == ("HU", ())
    assert with_checked_units("it", volume_of(ct(), stated_unit="US (unspecified)")).unit == "HU"
    assert with_checked_units("it", volume_of(ct(), stated_unit="mg/ml"), accept=True).unit == "unknown"
    assert with_checked_units("it", volume_of(mr(), "mr")).unit == "arbitrary"


def test_a_note_that_is_there_is_not_said_again(caplog: pytest.LogCaptureFixture) -> None:
    once = with_checked_units("it", volume_of(np.clip(ct(), -125, 275)))
    assert len(caplog.messages) == len(once.notes) == 1
    assert with_checked_units("it", once).notes == once.notes
    assert len(caplog.messages) == 1


def test_cases_of_two_units_are_not_used_together(caplog: pytest.LogCaptureFixture) -> None:
    assert one_unit("s", [("a", "HU"), ("b", "HU")]) == "HU"
    assert one_unit("s", []) == "HU"
    assert not caplog.messages
    assert one_unit("s", [("a", "unknown")]) == "unknown"
    assert "s: CT in an unknown unit" in caplog.text
    with pytest.raises(InputError, match=r"CT in HU and in unknown units \(unknown: b\)\. .*Prepare these cases again"):
        one_unit("s", [("a", "HU"), ("b", "unknown"), ("c", "HU")])
    many = [(f"c{number}", "unknown") for number in range(9)]
    with pytest.raises(InputError, match=r"\(unknown: c0, c1, c2, c3, c4, c5, \.\.\.\)"):
        one_unit("s", [("a", "HU"), *many])


def test_what_a_window_cut_off_is_not_called_divided() -> None:
    for lowest in (-110, -250, -270, -500):
        said = "; ".join(one.found for one in found_in(np.clip(ct(), lowest, 1000)))
        assert "were cut off" in said
        assert "divided" not in said


@pytest.mark.parametrize(("added", "words"), [(1024, "about 102[0-9] above its"), (-1000, "about [0-9]+ below its")])
def test_a_slice_on_another_scale_is_refused_by_its_number(added: int, words: str) -> None:
    values = ct(slices=9)
    assert findings_of(volume_of(values)) == ()
    values[3] += added
    found = findings_of(volume_of(values))
    assert found[0].refuse
    assert re.search(rf"^slice 4 of 9, counted from the feet, {words} neighbours$", found[0].found)


def test_slices_of_a_coronal_file_are_counted_from_the_front() -> None:
    values = np.pad(ct(slices=40), ((0, 0), (0, 0), (0, 0)))
    values[:, [10, 11]] += 1024
    found = findings_of(volume_of(values, orientation=("L", "I", "P")))
    assert found[0].found.startswith("slices 11, 12 of 96, counted from the front, about 1024 above their")


def test_noise_without_an_image_is_warned_of_and_a_noisy_image_is_not() -> None:
    assert [one.refuse for one in findings_of(volume_of(300 * NOISE))] == [False]
    assert "no more alike than those of noise" in findings_of(volume_of(300 * NOISE))[0].found
    assert "noise" in findings_of(volume_of(np.abs(300 * NOISE), "mr"))[0].found
    assert findings_of(volume_of(ct() + 150 * NOISE)) == ()
    assert findings_of(volume_of(np.full(NOISE.shape, -1000.0) + 25 * (NOISE > 0)))[0].refuse


@pytest.mark.real_data
def test_every_real_scan_passes(real_data: Path) -> None:
    checked = 0
    for path in sorted(real_data.glob("*/*/*.nii.gz")):
        if path.name.startswith("label"):
            continue
        modality = "ct" if path.parent.parent.name.startswith("ct") else "mr"
        found = found_in(read_nifti(path, modality=modality).voxels, modality)
        assert not any(one.refuse for one in found), (path, found)
        assert findings_of(read_nifti(path, modality=modality)) == found, path
        other = found_in(read_nifti(path, modality=modality).voxels, "mr" if modality == "ct" else "ct")
        assert other, f"{path} passes for the other modality, too"
        checked += 1
    for folder in sorted(real_data.glob("*/CT/*/DICOM_anon")):
        volume = read_dicom_series(folder)
        assert findings_of(volume) == (), folder
        checked += 1
    assert checked, f"no scan in {os.fspath(real_data)}"
