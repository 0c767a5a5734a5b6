"""Bring the tables of a database up to date."""

import logging
from pathlib import Path

from crossmod.errors import InputError
from crossmod.reader.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(database: Database, to: str = "head") -> None:
    """Run the migrations that a database has not seen, all or none.

    Args:
        database: empty, or of this or an earlier version.
        to: the last migration to run.

    Raises:
        InputError: a newer crossmod made it.
        Unsaved: the database does not answer, or is none.
    """
    # Before it is imported: it tells of each of its parts, and then of every database that it opens.
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
            found, wanted = f"tables that this crossmod does not know ({error})", "its own or older ones"
            raise InputError("database", found=found, wanted=wanted, do="Use the crossmod that made it.") from None
