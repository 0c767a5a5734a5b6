"""The server is killed, its database is held by another program, or goes: what was confirmed is there, and nobody is
told "saved" of what is not."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.reader_stores import DATABASES, fresh_database
from tests.support.serve_process import SAVED, Server, Survey, Visitor, make_survey, serving, told_of
from tests.support.web_study import fields, form_token

READERS, COUNT, KILLS = 6, 12, 2


@pytest.fixture(params=DATABASES)
def survey(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Survey]:
    folder = tmp_path / "night"
    with fresh_database(request.param, folder) as url:
        yield make_survey(folder, readers=READERS, count=COUNT, url=url)


@pytest.fixture
def small(tmp_path: Path) -> Survey:
    return make_survey(tmp_path / "day", readers=1, count=4)


async def killed_while_they_read(server: Server, survey: Survey, visitors: list[Visitor]) -> list[int]:
    """Readers go on with the cookies that they have; gives how many answers were confirmed at each kill."""
    await asyncio.gather(*(visitor.arrive() for visitor in visitors))
    reading = asyncio.gather(*(visitor.read(COUNT, patience=60) for visitor in visitors))
    confirmed = []
    for kill in range(KILLS):
        wanted = (kill + 1) * READERS * COUNT // (KILLS + 1)
        while sum(len(visitor.told) for visitor in visitors) < wanted:
            assert not reading.done()
            await asyncio.sleep(0.002)
        server.kill()
        # Before the server is back to mend anything; what is told from here on is told by the next one.
        told, kept = told_of(visitors, survey), survey.kept()
        assert told <= set(kept)
        confirmed.append(len(told))
        server.start()
    await reading
    for visitor in visitors:
        await visitor.client.aclose()
    return confirmed


def test_a_killed_server_has_every_answer_that_it_confirmed_and_sessions_go_on(survey: Survey) -> None:
    with serving(survey) as server:
        visitors = [Visitor(server.url, token) for token in survey.tokens]
        confirmed = asyncio.run(killed_while_they_read(server, survey, visitors))
        kept = survey.kept()
        assert "Traceback" not in server.errors.read_text()
    assert len(confirmed) == KILLS
    assert 0 < confirmed[0] < confirmed[1] < READERS * COUNT
    # The kills were felt.
    assert sum(visitor.failures for visitor in visitors) > 0
    assert len(kept) == READERS * COUNT
    assert set(kept) == told_of(visitors, survey)
    # No reader opened the link again: the cookies from before were good.
    assert all(len(visitor.told) == COUNT for visitor in visitors)


@contextmanager
def let_in(server: Server, survey: Survey) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30, verify=False) as client:
        assert client.get(f"/r/{next(iter(survey.tokens))}").status_code == 303
        yield client


def refused(response: httpx.Response) -> None:
    assert response.status_code == 503
    assert "NOT saved" in response.text
    assert "Try again" in response.text
    assert SAVED not in response.text
    assert response.headers["retry-after"] == "5"


@pytest.mark.slow
def test_a_reader_is_told_when_another_program_holds_the_database_and_can_try_again(small: Survey) -> None:
    with serving(small) as server, let_in(server, small) as client:
        page = client.get("/scan/1")
        form, token = fields(page), form_token(page)
        other = sqlite3.connect(small.folder / "survey.sqlite", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        refused(client.post("/scan/1", data=form, headers=token))
        # Some seconds, in case the other one ends; not as long as a browser would wait.
        assert time.monotonic() - began < 20
        assert client.get("/scan/2").status_code == 200
        other.execute("ROLLBACK")
        other.close()
        assert small.kept() == []
        again = client.post("/scan/1", data=form, headers=token)
        assert (again.status_code, SAVED in again.text) == (200, True)
    assert [(place, key) for _, place, key in small.kept()] == [(1, form["key"])]


def test_a_database_that_was_removed_takes_nothing_and_one_from_a_backup_does(small: Survey, tmp_path: Path) -> None:
    database, backup = small.folder / "survey.sqlite", tmp_path / "backup.sqlite"
    with serving(small) as server, let_in(server, small) as client:
        page = client.get("/scan/1")
        assert client.post("/scan/1", data=fields(page), headers=form_token(page)).status_code == 200
        with sqlite3.connect(database) as source, sqlite3.connect(backup) as target:
            source.backup(target)
        source.close()
        target.close()
        for name in ("survey.sqlite", "survey.sqlite-wal", "survey.sqlite-shm"):
            (small.folder / name).unlink()
        second = client.get("/scan/2")
        form, token = fields(second), form_token(second)
        refused(client.post("/scan/2", data=form, headers=token))
        assert not database.exists()
        away = client.get("/scan/2")
        assert (away.status_code, "<h1>" in away.text) == (503, True)
        shutil.copy(backup, database)
        again = client.post("/scan/2", data=form, headers=token)
        assert (again.status_code, SAVED in again.text) == (200, True)
    assert [place for _, place, _ in small.kept()] == [1, 2]
