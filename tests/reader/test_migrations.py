"""Migrations bring every earlier database to what the tables of today say."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlmodel import SQLModel

from crossmod.errors import InputError
from crossmod.reader import schema as tables
from crossmod.reader.database import MIGRATIONS, Database, upgrade
from crossmod.reader.repository import ReaderRepository
from tests.support.reader_stores import DATABASES, design, fresh_database, scans

TABLES = {str(one.__tablename__) for one in (tables.Survey, tables.Scan, tables.Reader, tables.Place, tables.Answer)}


def revisions() -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_database(request.param, tmp_path) as url:
        yield url


def test_tables_and_migrations_agree(url: str) -> None:
    ReaderRepository.made(url).dispose()
    database = Database(url)
    with database.changing() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
    database.dispose()
    assert set(SQLModel.metadata.tables) == TABLES


def test_there_is_one_line_of_migrations() -> None:
    assert revisions() == ["first_tables", "answers_are_kept"]


@pytest.mark.parametrize("begin", revisions())
def test_every_earlier_database_is_brought_up_to_date(url: str, begin: str) -> None:
    database = Database(url, new=True)
    upgrade(database, begin)
    database.dispose()
    study = ReaderRepository(url)
    survey, _ = study.add(design(), scans(4))
    token = study.invite(survey, "one")
    study.dispose()
    study = ReaderRepository.made(url)
    seat = study.seat(token)
    assert seat is not None
    shown = study.shown(seat, 1)
    assert shown is not None
    study.answer(seat, 1, shown.scan, {"choice": "real"}, seconds=1.0, key="k")
    study.dispose()
    again = ReaderRepository.made(url)
    assert again.answered(seat) == {1}
    again.dispose()


def test_two_that_start_at_once(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(lambda: ReaderRepository.made(url)) for _ in range(4)]:
            one.result().dispose()


def test_many_that_open_a_new_file_at_once(tmp_path: Path) -> None:
    """SQLite says "busy" at once to who would open a file that another one is just making."""
    for number in range(10):
        address = f"sqlite:///{tmp_path}/{number}.sqlite"
        with ThreadPoolExecutor(4) as pool:
            for one in [pool.submit(lambda address=address: ReaderRepository.made(address)) for _ in range(4)]:
                one.result().dispose()


def test_a_database_of_a_newer_version_is_left_alone(url: str) -> None:
    study = ReaderRepository.made(url)
    study._database.write(
        lambda session: session.connection().execute(text("UPDATE alembic_version SET version_num = 'next'")) and None
    )
    study.dispose()
    with pytest.raises(InputError, match="Use the crossmod that made it"):
        ReaderRepository.made(url)
