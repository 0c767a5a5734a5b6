"""From closed surveys to a report, a table and numbers; and what is refused."""

import csv
import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmod.errors import InputError
from crossmod.files import to_json
from crossmod.html.format import number, p_value
from crossmod.reader.analysis.agreement import realism, regions
from crossmod.reader.analysis.answers import readings
from crossmod.reader.analysis.hypothesis_tests import adjusted, of_surveys
from crossmod.reader.analysis.report import value
from crossmod.reader.analysis.run import analyze, analyze_surveys, table
from crossmod.reader.analysis.summary import warnings
from crossmod.reader.create import DATABASE, IMAGES, sqlite_url
from crossmod.reader.design import CHOICES, Design
from crossmod.reader.repository import ReaderRepository
from crossmod.reader.schema import Scan
from tests.support.made_up_answers import given, survey

DRAWS = 200


class Page(HTMLParser):
    """What a page is made of: its tags, what it would load, and its words."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Two surveys, one with a name that is no friend of pages."""
    out = tmp_path_factory.mktemp("analysis") / "new"
    surveys = {"guess": survey("guess", 1, 6, 10, 0.0), "<b>$tell$</b>": survey("<b>$tell$</b>", 2, 8, 10, 2.0)}
    return analyze(surveys, out=out, draws=DRAWS), out


def test_the_page_is_whole_and_asks_for_nothing(several: tuple[dict[str, Any], Path]) -> None:
    found, out = several
    text = (out / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert all(load.startswith(("data:image/png;base64,", "#")) for load in page.loads)
    assert not {"script", "link", "iframe", "b"} & set(page.tags)
    anchors = {load[1:] for load in page.loads if load.startswith("#")}
    assert anchors <= set(re.findall(r'id="([a-z]+)"', text))
    assert page.tags.count("img") == 1 + 4 * 2
    # Names and reasons word for word.
    assert "<b>$tell$</b>: readers tell real from synthetic" in page.words
    assert "symmetric; <b>hyperdense</b> kidneys." in page.words
    for line in found["verdicts"]:
        assert line in page.words
    for wanted in ("0.027", "66.7 %", "Crespi et al.", "TOST", "Holm"):
        assert wanted in page.words
    assert "nan" not in re.findall(r"[a-z]+", page.words)


def test_the_numbers(several: tuple[dict[str, Any], Path]) -> None:
    found, out = several
    assert json.loads((out / "analysis.json").read_text()) == json.loads(json.dumps(found))
    assert list(found["surveys"]) == ["guess", "<b>$tell$</b>", "All surveys"]
    one = found["surveys"]["guess"]
    assert one["answers"] == 120
    assert sum(map(sum, one["counts"])) == 120
    assert one["self_agreement"]["pairs"] == 12
    counts = np.array(one["counts"])
    cell = one["table_2"]["left_out"]["all"]
    assert cell["right"] == counts[0, 0] + counts[1, 1]
    assert cell["answers"] == counts[:, :2].sum()
    assert one["table_2"]["wrong"]["all"]["answers"] == 120
    assert one["seconds"]["all"]["answers"] == 120
    assert sum(row["answers"] for row in one["layers"]) == cell["answers"]
    assert [row["name"] for row in found["table_3"]] == [
        "guess: real vs synthetic",
        "<b>$tell$</b>: real vs synthetic",
        "All surveys: real vs synthetic",
        "guess vs <b>$tell$</b>",
    ]
    assert found["pairs"][0]["difference"] < 0
    # The same answers, the same report.
    again = analyze({"guess": survey("guess", 1, 6, 10, 0.0)}, out=out / "again", draws=DRAWS)
    assert again["surveys"]["guess"] == one


def test_the_table_of_answers(several: tuple[dict[str, Any], Path]) -> None:
    rows = list(csv.DictReader(io.StringIO((several[1] / "answers.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 6 * 22 + 8 * 22
    first = rows[0]
    assert first["survey"] == "guess"
    assert first["reader"] == "radiologist 1"
    assert all(
        row["correct"] == ("" if row["choice"] == "cannot_tell" else str(int(row["choice"] == row["class"])))
        for row in rows
    )
    assert sum(row["repeats"] != "" for row in rows) == 14 * 2
    assert {row["regions"] for row in rows} == {"", "ribs kidneys"}


def test_a_reason_is_no_formula() -> None:
    reasons = ["=HYPERLINK(1)", "+1", "-1", "@x", 'two\nlines, "quoted"', "fine"]
    answers = [
        given("one", "=r", i, f"s{i}", "real", synthetic=True, reason=reason) for i, reason in enumerate(reasons)
    ]
    rows = list(csv.DictReader(table(answers).splitlines(keepends=True)))
    assert [row["reason"] for row in rows] == ["'=HYPERLINK(1)", "'+1", "'-1", "'@x", 'two\nlines, "quoted"', "fine"]
    assert rows[0]["reader"] == "'=r"


def test_cautions() -> None:
    answers = [
        given("one", "a", i, f"s{i}", "cannot_tell", synthetic=i > 1, patient="same" if i > 1 else None)
        for i in range(4)
    ]
    answers += [replace(answers[0], reader="b", submitted=False)]
    lines = warnings(answers, readings({"one": answers}))
    assert lines[0].startswith("b had not submitted")
    assert lines[1].startswith("3 of 8 answers are missing")
    assert lines[2].startswith("100 % of answers are “cannot tell”")
    assert lines[3].startswith("1 patients gave several scans")


def test_realism_and_regions() -> None:
    values = {"a": [(5, False), (4, False), (2, True), (1, True)], "b": [(3, False), (3, False), (3, True), (4, True)]}
    answers = [
        given("one", r, i, f"s{i}", "real", synthetic=s, realism=v, regions=["liver"] if s else ["ribs", "liver"])
        for r, rows in values.items()
        for i, (v, s) in enumerate(rows)
    ]
    found = realism(answers, readings({"one": answers}), seed=0, draws=DRAWS)
    assert found is not None
    assert found.means == (3.75, 2.5)
    assert found.answers == (4, 4)
    assert {name: share for name, (share, _) in found.by_reader.items()} == {"a": 1.0, "b": 0.25}
    assert found.superiority == 0.625
    assert regions(answers) == {"liver": (4, 4), "ribs": (4, 0)}
    assert realism([replace(answers[0], values={})], readings({"one": answers}), seed=0, draws=DRAWS) is None


def test_one_survey_with_nothing_optional(tmp_path: Path) -> None:
    answers = [replace(one, seconds=0.0) for one in survey("one", 3, 2, 4, 0.0, repeats=0, optional=False)]
    found = analyze({"one": answers}, out=tmp_path, draws=DRAWS)
    assert list(found["surveys"]) == ["one"]
    assert found["pairs"] == []
    assert len(found["table_3"]) == 1
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "No browser reported times." in page.words
    assert "No reader gave a reason." in page.words
    assert "no repeats" in page.words


def test_answers_that_are_all_alike(tmp_path: Path) -> None:
    """All right, all "cannot tell", and a class that got nothing else: a report without a nan, and cautious."""
    right = [
        given("one", r, i, f"s{i}", CHOICES[i % 2], synthetic=bool(i % 2)) for r in ("a", "b", "c") for i in range(8)
    ]
    unsure = [replace(one, values={"choice": "cannot_tell"}) for one in right]
    half = [replace(one, values={"choice": "cannot_tell"}) if one.synthetic else one for one in right]
    found = analyze({"right": right, "unsure": unsure, "half": half}, out=tmp_path, draws=DRAWS)
    verdicts = {name: one["chance"]["left_out"]["verdict"] for name, one in found["surveys"].items()}
    assert verdicts["unsure"] == verdicts["half"] == "not shown"
    assert found["surveys"]["unsure"]["chance"]["half"]["verdict"] != "tell"
    assert found["surveys"]["unsure"]["kappa"]["estimate"] is None


def test_holm_is_by_column() -> None:
    both = readings({"a": survey("a", 1, 5, 6, 0.0), "b": survey("b", 2, 5, 6, 0.0)})
    row = of_surveys(both, "a vs b", seed=0, draws=DRAWS)
    three = adjusted([row, row, row])
    np.testing.assert_allclose(three[0], np.minimum(3 * np.array(row.p_values), 1))


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([], "no answers"),
        ([given("one", "a", i, f"s{i}", "real", synthetic=bool(i)) for i in range(2)], "a single reader"),
        ([given("one", r, 1, "s1", "real", synthetic=True) for r in "ab"], "one class of scans only"),
        ([given("one", r, 1, "s1", None, synthetic=True) for r in "ab"], "no answers"),
    ],
)
def test_what_cannot_be_analysed(answers: list[Any], found: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=found):
        analyze({"one": answers}, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "about"), [({"margin": 0.0}, "margin"), ({"margin": 0.5}, "margin"), ({"draws": 9}, "draws")]
)
def test_settings_that_are_no_use(options: dict[str, Any], about: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=about):
        analyze_surveys([tmp_path], out=tmp_path, **options)
    with pytest.raises(InputError, match="SURVEY"):
        analyze_surveys([], out=tmp_path)


def made_survey(folder: Path, readers: int) -> int:
    """A survey of four scans in a database, answered and still open."""
    (folder / IMAGES).mkdir(parents=True)
    study = ReaderRepository.made(sqlite_url(folder / DATABASE))
    scans = [
        Scan(
            id=f"{i:032x}", survey_id=0, synthetic=i > 1, layer=i, patient=f"p{i}", store="s", case="c", sha256="0" * 64
        )
        for i in range(4)
    ]
    number_, _ = study.add(Design(name=folder.name, modality="ct", real=2, synthetic=2), scans)
    for reader in range(readers):
        seat = study.seat(study.invite(number_, f"reader {reader}"))
        assert seat is not None
        for place in range(1, 5):
            shown = study.shown(seat, place)
            assert shown is not None
            for turn, choice in enumerate(("cannot_tell", CHOICES[(place + reader) % 2])):
                study.answer(seat, place, shown.scan, {"choice": choice}, seconds=3.0, key=f"{place} {turn}")
    study.dispose()
    return number_


def test_from_databases(tmp_path: Path) -> None:
    """Open is refused; closed, the last answers count."""
    folder = tmp_path / "first"
    survey_number = made_survey(folder, 3)
    with pytest.raises(InputError, match="open"):
        analyze_surveys([folder], out=tmp_path / "out", draws=DRAWS)
    study = ReaderRepository.made(sqlite_url(folder / DATABASE))
    study.close(survey_number)
    study.dispose()
    found = analyze_surveys([folder], out=tmp_path / "out", draws=DRAWS)
    one = found["surveys"]["first"]
    assert one["readers"] == 3
    assert [row[2] for row in one["counts"]] == [0, 0]
    assert "had not submitted" in one["cautions"][0]
    with pytest.raises(InputError, match="a second survey"):
        analyze_surveys([folder, folder], out=tmp_path / "out", draws=DRAWS)
    with pytest.raises(InputError, match="no such folder"):
        analyze_surveys([tmp_path / "nowhere"], out=tmp_path / "out", draws=DRAWS)


def test_numbers_as_text() -> None:
    assert number(-0.001, 2) == "0.00"
    assert number(math.nan) == "undefined"
    assert value(1.0, (-math.inf, math.inf)) == "1.00 [no interval]"
    assert [p_value(p) for p in (0.0001, 0.0123, math.nan)] == ["< 0.001", "0.012", "no test"]
    assert to_json({"a": (math.inf, np.float64(0.5), np.int64(2))}) == {"a": [None, 0.5, 2]}


def test_nothing_of_torch() -> None:
    code = "import sys, crossmod.reader.analysis.run; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
