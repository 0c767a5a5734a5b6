"""Bodies that are no person's, that differ from the others, and those of two places that do not fit together."""

import math

import pytest

from crossmod.data.pixel_size import SideExtent, side_extent, times_as_large, warn_of_pair, warn_of_sizes
from tests.support.bodies import one

PEOPLE = [one("a", 240, 340), one("b", 220, 300), one("c", 290, 380), one("d", 250, 330), one("e", 235, 320)]


def test_people_of_all_sizes_pass(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_sizes("MR", [*PEOPLE, one("heavy", 330, 398), one("child", 170, 250)])
    warn_of_sizes("newborns", [one("n", 80, 100), one("m", 75, 95)])
    warn_of_sizes("heavy", [one("h", 480, 650)])
    warn_of_sizes("nobody", [])
    warn_of_pair("a", side_extent(PEOPLE), "b", side_extent([one("child", 170, 250)]))
    assert not caplog.messages


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (one("x", 80, 110), "x (80 x 110 mm, 3.0 times as small)"),
        (one("x", 480, 660), "x (480 x 660 mm, 2.0 times as large)"),
        # The spacing of one direction alone is wrong.
        (one("x", 80, 330), "x (80 x 330 mm, 3.0 times as small)"),
    ],
)
def test_a_case_that_differs_is_named(caplog: pytest.LogCaptureFixture, case: object, words: str) -> None:
    warn_of_sizes("MR", [*PEOPLE, case])  # pyright: ignore[reportArgumentType]
    (said,) = caplog.messages
    assert said.startswith("MR: 1 of 6 cases with a body that is much larger or smaller than the median, 2")
    assert words in said
    assert "Check the spacing" in said


def test_a_body_that_the_field_cuts_is_not_small(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_sizes("CT", [*PEOPLE, one("inner", 140, 190, touching=(1, 1))])
    assert not caplog.messages
    # What is cut may be larger still: seen to be too large, it is.
    warn_of_sizes(
        "CT", [*PEOPLE, one("outer", 398, 398, mm=2.0, touching=(1, 1)), one("big", 500, 560, touching=(1, 1))]
    )
    assert "big (500 x 560 mm" in caplog.text
    assert "outer" not in caplog.text


@pytest.mark.parametrize(("height", "width"), [(28, 32), (45, 52), (902, 1031)])
def test_bodies_of_nobody_are_told_of(caplog: pytest.LogCaptureFixture, height: float, width: float) -> None:
    warn_of_sizes("MR", [one(name, height, width) for name in "abc"])
    (said,) = caplog.messages
    assert f"the median body measures {height:.0f} x {width:.0f} mm, outside the range of people" in said


def test_two_places_that_do_not_fit_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    grown, small = side_extent(PEOPLE), side_extent([one("m", 120, 170)])
    warn_of_pair("real", small, "made", grown)
    (said,) = caplog.messages
    assert said.startswith("real: bodies are 2.0 times as small as those of made (120 x 170 mm and 240 x 330 mm)")
    # What a model makes may fill its frame: a square of its people's width.
    assert times_as_large(side_extent([one("made", 360, 360, touching=(1, 1))]), grown) == 1
    assert times_as_large(grown, small) == pytest.approx(math.sqrt(240 * 330 / (120 * 170)))


def test_a_card_gives_back_what_was_measured() -> None:
    side = side_extent([one("a", 201.2, 300.0, touching=(0, 0.5))])
    assert SideExtent.of_card(side.plain()).body_mm == (201.2, 300.0)
    assert SideExtent.of_card(side.plain()).touching == side.touching
