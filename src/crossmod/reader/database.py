"""The database of a survey: connections, migrations, and transactions that are on disk when they end.

Notable:
- SQLite: WAL, so that reading never waits; `synchronous=FULL`, so that a commit is on disk, not in a cache; writers
  begin with `BEGIN IMMEDIATE`, since a transaction that reads first cannot wait for another writer.
- Writers of one process take turns with a lock: SQLite's waiting is polling, and unfair.
- A SQLite file that was removed would lose answers silently: its inode is checked before and after each write.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, RootTransaction, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlmodel import Session

from crossmod.errors import InputError
from crossmod.reader.schema import NotSaved

Result = TypeVar("Result")

# Seconds that a write may wait for other writers before it fails with `NotSaved`.
PATIENCE = 5.0
# Connections open at once; a page uses one for milliseconds.
CONNECTIONS = 20
# PostgreSQL: could not serialize, deadlock, lock not available.
AGAIN = ("40001", "40P01", "55P03")


class Database:
    """Engine and transactions of one database; a missing SQLite file is created if `new`."""

    def __init__(self, url: str, patience: float = PATIENCE, *, new: bool = False):
        self._patience = patience
        self._url = _checked(url)
        self._file = Path(self._url.database or "") if self._url.get_backend_name() == "sqlite" else None
        self._engine = self._sqlite(self._file, new=new) if self._file is not None else self._postgresql()
        self._writing = self._engine.execution_options(writes=True)
        self._turn = threading.Lock()
        # Device and inode of the file that the pool's connections are open on.
        self._known: tuple[int, int] | None = None

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads."""
        with _not_saved(), Session(self._engine, expire_on_commit=False) as session:
            yield session

    def write(self, work: Callable[[Session], Result]) -> Result:
        """Do `work` in a transaction and commit it; retried while another writer blocks it."""
        with _not_saved():
            until = time.monotonic() + self._patience
            if self._file is None:
                return _retried(lambda: self._committed(work), until)
            if not self._turn.acquire(timeout=self._patience):
                raise NotSaved("other writers did not end in time")
            try:
                before = self._place(self._file)
                result = _retried(lambda: self._committed(work), until)
                if self._place(self._file) != before:
                    raise NotSaved("the database was moved or removed")
                return result
            finally:
                self._turn.release()

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """A connection in a writing transaction, for migrations."""
        with _not_saved():
            # Retried, since SQLite does not wait while another program opens the same new file.
            connection, transaction = _retried(self._begin, time.monotonic() + self._patience)
            with connection, transaction:
                if self._file is None:
                    # If two programs start at once, only one changes the tables.
                    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7391046)")
                yield connection

    def _begin(self) -> tuple[Connection, RootTransaction]:
        connection = self._writing.connect()
        try:
            return connection, connection.begin()
        except BaseException:
            connection.close()
            raise

    def dispose(self) -> None:
        """Close all connections; SQLite then leaves one file."""
        self._engine.dispose()

    def _committed(self, work: Callable[[Session], Result]) -> Result:
        with Session(self._writing, expire_on_commit=False) as session:
            result = work(session)
            session.commit()
            return result

    def _place(self, file: Path) -> tuple[int, int]:
        """Device and inode of the file; a pool that is open on another file is emptied."""
        try:
            place = _inode(file)
        except OSError as error:
            self.dispose()
            raise NotSaved(f"the database is gone ({error.strerror})") from error
        if self._known not in (None, place):
            self.dispose()
            self._known = None
        return place

    def _sqlite(self, file: Path, *, new: bool) -> Engine:
        # A missing file is an error, never a new and empty survey.
        address = f"file:{quote(str(file.absolute()))}?mode={'rwc' if new else 'rw'}"

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(
                address, uri=True, timeout=self._patience / 4, isolation_level=None, check_same_thread=False
            )
            try:
                for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                    connection.execute(f"PRAGMA {pragma}")
                self._known = _inode(file)
            except BaseException:
                connection.close()
                raise
            return connection

        engine = create_engine(
            self._url, creator=connect, pool_size=CONNECTIONS, max_overflow=CONNECTIONS, pool_timeout=self._patience
        )
        event.listen(engine, "begin", _begin)
        return engine

    def _postgresql(self) -> Engine:
        milliseconds = round(self._patience * 1000)
        return create_engine(
            self._url,
            pool_size=CONNECTIONS,
            max_overflow=CONNECTIONS,
            pool_timeout=self._patience,
            # After a restart of the server: a new connection, not an error.
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": max(round(self._patience), 1),
                "options": f"-c lock_timeout={milliseconds} -c statement_timeout={4 * milliseconds}",
            },
        )


def _inode(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_dev, status.st_ino


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _checked(url: str) -> URL:
    expected, do = "sqlite:///path or postgresql+psycopg://user@host/name", "Give another --database."
    try:
        parsed = make_url(url)
        name = parsed.get_driver_name()
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError):
        raise InputError("--database", found="not a known address", expected=expected, do=do) from None
    backend = parsed.get_backend_name()
    if (backend, name) not in (("sqlite", "pysqlite"), ("postgresql", "psycopg")) or not parsed.database:
        raise InputError("--database", found=f"{backend} by {name}", expected=expected, do=do)
    return parsed


def _retried(work: Callable[[], Result], until: float) -> Result:
    """Try until no other writer blocks, or until a time of `time.monotonic`."""
    while True:
        try:
            return work()
        except DBAPIError as error:
            if time.monotonic() >= until or not _blocked(error):
                raise
            time.sleep(0.01)


@contextmanager
def _not_saved() -> Iterator[None]:
    """Turn errors of the database into `NotSaved`; errors of the program stay as they are."""
    try:
        yield
    except (NoConnection, DBAPIError) as error:
        if isinstance(error, DBAPIError) and not _of_the_database(error):
            raise
        raise NotSaved(str(getattr(error, "orig", None) or error)) from error


def _of_the_database(error: DBAPIError) -> bool:
    # SQLite's "file is not a database" is a bare DatabaseError.
    return isinstance(error, OperationalError | InterfaceError | InternalError) or type(error) is DatabaseError


def _blocked(error: DBAPIError) -> bool:
    original: Any = error.orig
    if isinstance(original, sqlite3.OperationalError):
        return original.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    return getattr(original, "sqlstate", None) in AGAIN or error.connection_invalidated


MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(database: Database, to: str = "head") -> None:
    """Run the missing migrations of a database, all or none."""
    # Before the import, since alembic logs each of its parts, and later every database that it opens.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    # Alembic reads `%` in it as a reference.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with database.changing() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, to)
        except CommandError as error:
            found, expected = f"tables that this crossmod does not know ({error})", "its own or older ones"
            raise InputError("database", found=found, expected=expected, do="Use the crossmod that made it.") from None
