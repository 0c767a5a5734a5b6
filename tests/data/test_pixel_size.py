import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmod.data.pixel_size import (
    Extent,
    Scale,
    check_sides,
    mismatch,
    needed_mm,
    rounded_up,
    settle,
    side_extent,
    too_large,
)
from crossmod.errors import InputError
from crossmod.settings import SegmentSettings, TranslateSettings
from tests.support.bodies import one


def test_the_rule_by_hand() -> None:
    """Of 19 patients all must fit, of 20 and 40 the largest one and two need not; the side that needs more decides."""
    ct = [one(f"c{i}", 200, 300 + i) for i in range(19)]
    mr = [one("m", 250, 280)]
    assert needed_mm({"ct": ct, "mr": mr}) == pytest.approx(318 / 0.95)
    assert needed_mm({"ct": [*ct, one("c19", 200, 399)], "mr": mr}) == pytest.approx(318 / 0.95)
    many = [one(f"c{i}", 200, 300 + i) for i in range(40)]
    assert needed_mm({"ct": many}) == pytest.approx(337 / 0.95)
    assert needed_mm({"ct": ct, "mr": [one("m", 340, 280)]}) == pytest.approx(340 / 0.95)
    # Two cases of one patient are one patient: the larger counts.
    assert needed_mm({"ct": [one("a", 100, 100), one("a", 100, 390)]}) == pytest.approx(390 / 0.95)
    with pytest.raises(InputError, match="no case to measure"):
        needed_mm({"ct": []})


@given(st.floats(50, 900), st.integers(16, 512))
def test_rounded_up_to_five_hundredths(field: float, size: int) -> None:
    found = rounded_up(field, size)
    assert found * 20 == pytest.approx(round(found * 20))
    assert found * size > field * 0.9995 or found == 0.05
    assert (found - 0.051) * size < field


def test_settled_once_and_never_again() -> None:
    assert settle(SegmentSettings(size=96), 400.0).pixel_mm == 4.2
    assert settle(SegmentSettings(size=96), 4.2 * 96).pixel_mm == 4.2
    assert settle(SegmentSettings(size=64), 4.2 * 96).pixel_mm == 6.3
    assert settle(SegmentSettings(size=96, pixel_mm=3.0), 400.0).pixel_mm == 3.0
    assert settle(SegmentSettings(size=96, frame="stretch"), 400.0).pixel_mm == 0.0


def test_who_does_not_fit_is_named(caplog: pytest.LogCaptureFixture) -> None:
    sides = {"CT": [one("anna", 200, 390), one("bert", 200, 300)], "MR": [one("cleo", 210, 310)]}
    settings = TranslateSettings(size=100, pixel_mm=3.5)
    assert too_large(sides["CT"], Scale("body", 100, 3.5)) == {"anna": pytest.approx(390)}
    with caplog.at_level(logging.INFO):
        told = check_sides(sides, settings, stated=True)
    assert "1 patient are larger than the 350 mm" in caplog.text
    assert "anna (390 mm)" in caplog.text
    assert "bert" not in caplog.text
    assert told["CT"].pixels == (pytest.approx(200 / 3.5), pytest.approx(345 / 3.5))
    assert "body of 200 x 345 mm" in told["CT"].words


def test_sides_that_differ_are_told_of() -> None:
    scale = Scale("body", 96, 4.0)
    grown, child = side_extent([one("a", 240, 360)], scale), side_extent([one("b", 200, 300)], scale)
    assert "60 and 50 pixels front to back and 90 and 75 pixels side to side" in mismatch(grown, child)
    assert mismatch(grown, side_extent([one("b", 215, 330)], scale)) == ""
    # Where the field cuts the body, its width is not known.
    cut = side_extent([one("b", 235, 300, touching=(0, 0.9))], scale)
    assert mismatch(grown, cut) == ""
    assert "300 or more mm" in cut.words
    # Stretched fields differ in magnification, though the bodies are alike.
    whole = Scale("stretch", 96, 0.0)
    wide = Extent("w", "w", (600, 600), (1.0, 1.0), one("w", 240, 360).body, 360.0)
    assert "pixels front to back" in mismatch(side_extent([one("a", 240, 360)], whole), side_extent([wide], whole))


def test_millimetres_that_cannot_be_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    sides = {"CT": [one("a", 200, 300)], "MR": [one("b", 20, 25)]}
    with pytest.raises(InputError, match=r"bodies that are 11\.0 times as large .* Correct the spacing"):
        check_sides(sides, TranslateSettings(size=96, pixel_mm=4.0), stated=False)
    check_sides(sides, TranslateSettings(size=96, pixel_mm=4.0), stated=True)
    assert "spacings that cannot both be right" in caplog.text


def test_a_card_holds_plain_numbers() -> None:
    plain = side_extent([one("a", 201.26, 300.0)], Scale("body", 96, 4.0)).plain()
    assert plain["body_mm"] == [201.3, 300.0]
    assert plain["body_pixels"] == [50.3, 75.0]
    assert np.isfinite(np.asarray(plain["field_mm"], dtype=np.float64)).all()
