"""The database of a survey: what is taken, what is refused, and that what was confirmed is there."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from crossmod.errors import InputError
from crossmod.reader.design import CHOICES, LONGEST_REASON, REGIONS, Design
from crossmod.reader.repository import ReaderRepository
from crossmod.reader.schema import AnswerRejected, NotSaved, ReaderSession
from tests.support.reader_stores import DATABASES, design, empty_database, fresh_database, scans

REAL = {"choice": "real"}


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_database(request.param, tmp_path) as url:
        if request.param == "sqlite":
            (tmp_path / "survey.sqlite").write_bytes(empty_database())
        yield url


@pytest.fixture
def study(url: str) -> Iterator[ReaderRepository]:
    study = ReaderRepository.made(url) if url.startswith("postgresql") else ReaderRepository(url)
    yield study
    study.dispose()


def seated(
    study: ReaderRepository, name: str = "one", *, survey: int | None = None, **changes: object
) -> ReaderSession:
    """A reader of a new survey, or of one that is there."""
    if survey is None:
        its = design(**{"realism": True, "regions": True, **changes})
        survey, _ = study.add(its, scans(its.real + its.synthetic, its.repeats))
    seat = study.seat(study.invite(survey, name))
    assert seat is not None
    return seat


def scan_at(study: ReaderRepository, seat: ReaderSession, number: int) -> str:
    shown = study.shown(seat, number)
    assert shown is not None
    return shown.scan


def answer(
    study: ReaderRepository, seat: ReaderSession, number: int, key: str, values: Any = REAL, **more: Any
) -> None:
    scan = more.get("scan") or scan_at(study, seat, number)
    study.answer(seat, number, scan, values, seconds=1.0, key=key)


def why(call: Any, *words: Any, **more: Any) -> str:
    with pytest.raises(AnswerRejected) as refused:
        call(*words, **more)
    return refused.value.why


def test_a_survey_from_first_to_last(study: ReaderRepository) -> None:
    seat = seated(study, repeats=1)
    assert (seat.total, seat.submitted, seat.closed, seat.language) == (5, None, None, "en")
    shown = [scan_at(study, seat, number) for number in range(1, 6)]
    assert len(set(shown)) == 5
    assert study.shown(seat, 6) is study.shown(seat, 0) is study.shown(seat, 2**70) is None
    for number in range(1, 6):
        answer(study, seat, number, f"a{number}", {"choice": "cannot_tell", "reason": "rib <b>&</b> \U0001f9b4"})
    answer(study, seat, 2, "b", {"choice": "synthetic", "realism": 2, "regions": ["ribs"]})
    assert study.answered(seat) == frozenset(range(1, 6))
    last = study.shown(seat, 2)
    assert last is not None
    assert last.values == {"choice": "synthetic", "realism": 2, "regions": ["ribs"]}
    assert why(study.answers, seat.survey) == "open"
    study.submit(seat)
    study.submit(seat)
    assert why(answer, study, seat, 1, "late") == "submitted"
    study.close(seat.survey)
    closed = study.closed(seat.survey)
    study.close(seat.survey)
    assert closed == study.closed(seat.survey)
    given_ = study.answers(seat.survey)
    assert [one.number for one in given_] == [1, 2, 3, 4, 5]
    assert [one.scan for one in given_] == shown
    assert given_[1].values["choice"] == "synthetic"
    assert all(one.submitted and one.survey == "one" and one.given.tzinfo == UTC for one in given_)
    assert abs((datetime.now(UTC) - given_[0].given).total_seconds()) < 60
    (repeat,) = [one for one in given_ if one.repeats]
    original = next(one for one in given_ if one.scan == repeat.repeats)
    assert (repeat.synthetic, repeat.layer, repeat.patient) == (original.synthetic, original.layer, original.patient)
    assert [one[:3] for one in study.standing(seat.survey)] == [("one", 5, 5)]


def test_tokens(study: ReaderRepository) -> None:
    survey, owner = study.add(design(), scans(4))
    token = study.invite(survey, "anna", language="it")
    seat = study.seat(token)
    assert seat is not None
    assert (seat.name, seat.language) == ("anna", "it")
    assert study.owner(owner) == survey
    assert len(token) == len(owner) == 43
    # A reader's token is no owner's, and the other way round.
    assert study.owner(token) is study.seat(owner) is study.seat("") is study.seat("\ud800\0" * 999) is None
    with study._database.reading() as session:
        kept = str(session.connection().execute(text("SELECT token FROM reader")).all())
    assert token not in kept


def test_an_expired_token_is_nobodys(study: ReaderRepository) -> None:
    survey, _ = study.add(design(), scans(4))
    assert study.seat(study.invite(survey, "late", days=1e-9)) is None
    for days in (0.0, -1.0, float("nan"), 1e9):
        assert why(study.invite, survey, "x", days=days) == "unfit"


def test_names_of_readers_and_surveys_are_taken_once(study: ReaderRepository) -> None:
    survey, _ = study.add(design(), scans(4))
    study.invite(survey, "anna")
    assert why(study.invite, survey, " anna ") == "taken"
    assert why(study.invite, survey, "a\nb") == why(study.invite, survey, " ") == "unfit"
    assert why(study.add, design(), scans(4)) == "taken"
    assert study.surveys() == {"one": survey}
    study.close(survey)
    assert why(study.invite, survey, "bert") == "closed"


def test_an_answer_is_refused_where_it_does_not_belong(study: ReaderRepository) -> None:
    seat = seated(study)
    elsewhere, _ = study.add(design(name="other"), scans(4))
    other = seated(study, "two", survey=elsewhere)
    foreign = scan_at(study, other, 1)
    assert not study.may_see(seat, foreign)
    assert study.may_see(other, foreign)
    assert not study.may_see(seat, "' OR 1=1")
    assert why(answer, study, seat, 1, "k", scan=foreign) == "not yours"
    assert why(answer, study, seat, 1, "k", scan=scan_at(study, seat, 2)) == "not yours"
    for number in (0, -1, 5, 2**80):
        assert why(answer, study, seat, number, "k", scan=foreign) == "not yours"
    for key in ("", "x" * 101, "a\0", "ä"):
        assert why(answer, study, seat, 1, key) == "unfit"
    assert why(study.submit, seat) == "incomplete"
    study.close(seat.survey)
    assert why(answer, study, seat, 1, "k") == "closed"
    assert why(study.submit, seat) == "closed"
    assert study.answers(seat.survey) == []


@pytest.mark.parametrize(
    "values",
    [
        {}, {"choice": "fake"}, {"choice": None}, {"choice": ["real"]}, {**REAL, "more": 1}, {**REAL, "reason": 1},
        {**REAL, "reason": "x" * (LONGEST_REASON + 1)}, {**REAL, "reason": "\ud800"}, {**REAL, "reason": "\0"},
        {**REAL, "realism": 0}, {**REAL, "realism": 6}, {**REAL, "realism": True}, {**REAL, "realism": 2.0},
        {**REAL, "realism": None}, {**REAL, "regions": "ribs"}, {**REAL, "regions": ["nose"]},
        {**REAL, "regions": ["ribs", "ribs"]}, {**REAL, "regions": [["ribs"]]},
    ],
)  # fmt: skip
def test_unfit_values(values: dict[str, Any]) -> None:
    assert design(realism=True, regions=True).misfit(values)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=99)


@given(st.sampled_from(CHOICES), TEXT, st.integers(1, 5), st.sets(st.sampled_from(REGIONS)))
def test_fit_values(choice: str, reason: str, realism: int, regions: set[str]) -> None:
    values = {"choice": choice, "reason": reason, "realism": realism, "regions": sorted(regions)}
    assert design(realism=True, regions=True).misfit(values) is None
    assert design().misfit(values) is not None
    assert design().misfit({"choice": choice, "reason": reason}) is None


def test_unfit_values_are_not_kept(study: ReaderRepository) -> None:
    seat = seated(study, realism=False)
    assert why(answer, study, seat, 1, "k", {**REAL, "realism": 3}) == "unfit"
    assert why(answer, study, seat, 1, "k", {"choice": "fake"}) == "unfit"
    assert study.answered(seat) == frozenset()


@pytest.mark.parametrize(
    ("seconds", "kept"), [(-1.0, 0), (float("nan"), 0), (float("inf"), 0), (1e9, 86400), (2.5, 2.5)]
)
def test_times_that_cannot_be_are_none(seconds: float, kept: float, tmp_path: Path) -> None:
    (tmp_path / "survey.sqlite").write_bytes(empty_database())
    study = ReaderRepository(f"sqlite:///{tmp_path / 'survey.sqlite'}")
    seat = seated(study)
    study.answer(seat, 1, scan_at(study, seat, 1), REAL, seconds=seconds, key="k")
    study.close(seat.survey)
    assert study.answers(seat.survey)[0].seconds == kept


def test_a_key_is_one_answer(study: ReaderRepository) -> None:
    seat = seated(study)
    for _ in range(3):
        answer(study, seat, 1, "k", {"choice": "real", "regions": ("ribs",)})
    assert why(answer, study, seat, 1, "k", {"choice": "synthetic"}) == "unfit"
    assert why(answer, study, seat, 2, "k", {"choice": "real", "regions": ["ribs"]}) == "unfit"
    # Another reader's key is another key.
    answer(study, seated(study, "two", survey=seat.survey), 1, "k")
    study.close(seat.survey)
    # The answer was taken, its confirmation lost, the survey closed: it is there all the same.
    answer(study, seat, 1, "k", {"choice": "real", "regions": ["ribs"]})
    assert len(study.answers(seat.survey)) == 2
    assert _rows(study) == 2


def _rows(study: ReaderRepository) -> int:
    with study._database.reading() as session:
        return session.connection().execute(text("SELECT count(*) FROM answer")).scalar_one()


@pytest.mark.parametrize("statement", ["UPDATE answer SET seconds = 9", "DELETE FROM answer"])
def test_the_database_itself_keeps_answers(study: ReaderRepository, statement: str) -> None:
    seat = seated(study)
    answer(study, seat, 1, "k")
    with pytest.raises(IntegrityError, match="never changed"):
        study._database.write(lambda session: session.connection().execute(text(statement)) and None)
    assert _rows(study) == 1


def test_many_at_once_lose_nothing(study: ReaderRepository) -> None:
    """Every reader answers from a thread of their own, each answer sent twice at the same time."""
    its = design(real=4, synthetic=4)
    survey, _ = study.add(its, scans(8))
    seats = [seated(study, f"reader {number}", survey=survey) for number in range(6)]
    tasks = [(seat, number) for number in range(1, 9) for seat in seats for _ in range(2)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda task: answer(study, task[0], task[1], f"{task[1]}"), tasks))
        list(pool.map(study.submit, seats * 2))
    assert _rows(study) == 48
    assert [one[1:3] for one in study.standing(survey)] == [(8, 8)] * 6


WRITER = """
import sys
from crossmod.reader.repository import ReaderRepository
url, token, name = sys.argv[1:]
study = ReaderRepository(url)
seat = study.seat(token)
for place in range(1, seat.total + 1):
    scan = study.shown(seat, place).scan
    study.answer(seat, place, scan, {"choice": "real"}, seconds=1, key=f"{name}-{place}")
"""


def test_several_processes_write(study: ReaderRepository, url: str) -> None:
    survey, _ = study.add(design(), scans(4))
    token = study.invite(survey, "one")
    workers = [subprocess.Popen([sys.executable, "-c", WRITER, url, token, str(number)]) for number in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert _rows(study) == 12


def small(tmp_path: Path, patience: float) -> tuple[Path, ReaderRepository, ReaderSession]:
    file = tmp_path / "survey.sqlite"
    file.write_bytes(empty_database())
    study = ReaderRepository(f"sqlite:///{file}", patience=patience)
    return file, study, seated(study)


def test_a_database_that_stays_locked_is_said_and_works_again(tmp_path: Path) -> None:
    file, study, seat = small(tmp_path, 0.2)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(NotSaved, match="locked"):
        answer(study, seat, 1, "k")
    # Reading does not wait for writers.
    assert study.answered(seat) == frozenset()
    other.execute("ROLLBACK")
    other.close()
    answer(study, seat, 1, "k")
    assert study.answered(seat) == {1}


def test_a_writer_waits_for_another(tmp_path: Path) -> None:
    file, study, seat = small(tmp_path, 5.0)
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, lambda: other.execute("ROLLBACK"))
    timer.start()
    answer(study, seat, 1, "k")
    timer.join()
    other.close()
    assert study.answered(seat) == {1}


def test_a_database_that_is_gone_is_said(tmp_path: Path) -> None:
    """SQLite would go on writing into a file without a name."""
    file, study, seat = small(tmp_path, 0.2)
    scan = scan_at(study, seat, 1)
    away = file.rename(tmp_path / "away")
    with pytest.raises(NotSaved, match="gone"):
        study.answer(seat, 1, scan, REAL, seconds=1.0, key="k")
    with pytest.raises(NotSaved):
        study.answered(seat)
    away.rename(file)
    study.answer(seat, 1, scan, REAL, seconds=1.0, key="k")
    # In its place another one, such as a copy that was brought back.
    copy = tmp_path / "copy"
    with sqlite3.connect(file) as old, sqlite3.connect(copy) as new:
        old.backup(new)
    old.close()
    new.close()
    for rest in tmp_path.glob("survey.sqlite*"):
        rest.unlink()
    copy.rename(file)
    answer(study, seat, 2, "l")
    study.dispose()
    assert ReaderRepository(f"sqlite:///{file}").answered(seat) == {1, 2}


def test_a_database_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    _, study, seat = small(tmp_path, 0.2)
    scan = scan_at(study, seat, 1)
    study._database.write(lambda session: session.connection().execute(text("PRAGMA max_page_count = 1")) and None)
    big = {"choice": "real", "reason": "x" * LONGEST_REASON}

    def fill() -> None:
        for number in range(200):
            study.answer(seat, 1, scan, big, seconds=1.0, key=f"{number}")

    with pytest.raises(NotSaved, match="full"):
        fill()


def test_another_file_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x" * 5000)
    with pytest.raises(NotSaved, match="not a database"):
        ReaderRepository.made(f"sqlite:///{tmp_path / 'notes.txt'}")
    # A new one is made by `made` alone.
    with pytest.raises(NotSaved):
        ReaderRepository(f"sqlite:///{tmp_path / 'none.sqlite'}").seat("x")
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize(
    "url", ["mysql://x/y", "nonsense", "sqlite://", "postgresql+asyncpg://x/y", "sqlite+aiosqlite:///x"]
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="--database"):
        ReaderRepository(url)


KILLED = """
import sys
from crossmod.reader.repository import ReaderRepository
study = ReaderRepository(sys.argv[1])
seat = study.seat(sys.argv[2])
for number in range(100000):
    place = number % seat.total + 1
    scan = study.shown(seat, place).scan
    study.answer(seat, place, scan, {"choice": "real"}, seconds=1.0, key=str(number))
    print(number, flush=True)
"""


def test_what_was_confirmed_is_there_after_a_kill(tmp_path: Path) -> None:
    file, study, seat = small(tmp_path, 5.0)
    token = study.invite(seat.survey, "killed")
    words = [sys.executable, "-c", KILLED, f"sqlite:///{file}", token]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 40:
                break
        process.send_signal(signal.SIGKILL)
        confirmed = [40, *map(int, process.stdout)]
    with study._database.reading() as session:
        kept = {int(key) for (key,) in session.connection().execute(text("SELECT key FROM answer"))}
    assert kept >= set(range(max(confirmed) + 1))
    answer(study, seat, 1, "after")


def test_the_disk_is_asked_to_keep_what_is_committed(tmp_path: Path) -> None:
    _, study, _ = small(tmp_path, 5.0)

    def ask(session: Any) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [session.connection().execute(text(f"PRAGMA {name}")).scalar() for name in names]

    assert study._database.write(ask) == ["wal", 2, 1]


def test_designs_are_checked() -> None:
    for wrong in ({"layers": (4, 2)}, {"window": (5, 5)}, {"percentiles": (50, 50)}, {"repeats": 5}, {"real": 0}):
        with pytest.raises(ValueError, match="1 validation error"):
            design(**wrong)
    its = design(modality="mr", note="x")
    assert Design.model_validate(its.model_dump(mode="json")) == its
