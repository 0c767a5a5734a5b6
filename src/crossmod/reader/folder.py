"""A survey's folder: `images/` and, where no other database was named, `survey.sqlite`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import URL

from crossmod.errors import InputError
from crossmod.reader.records import Refused, Unsaved
from crossmod.reader.study import Study

IMAGES, DATABASE = "images", "survey.sqlite"


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite file."""
    # A folder's name may hold what means something in a URL.
    return URL.create("sqlite", database=str(file.absolute())).render_as_string()


def database_url(folder: Path, database: str | None = None) -> str:
    """Where a survey's answers are.

    Raises:
        InputError: the folder is no survey, or one whose database must be named.
    """
    if not (folder / IMAGES).is_dir():
        found = "no such folder" if not folder.exists() else f"no {IMAGES} folder in it"
        raise InputError(folder, found=found, wanted="a survey", do="Make one with `crossmod reader create`.")
    if database is not None:
        return database
    if not (folder / DATABASE).is_file():
        do = "Name the database that it was created with as --database."
        raise InputError(folder, found=f"no {DATABASE} in it", wanted="a survey's database", do=do)
    return sqlite_url(folder / DATABASE)


def survey_in(study: Study, folder: Path) -> int:
    """The number of a folder's survey: the only one of its database, or the one of its name.

    Raises:
        InputError: there is none.
    """
    surveys = study.surveys()
    name = folder.absolute().name
    if name in surveys:
        return surveys[name]
    if len(surveys) != 1:
        found = f"surveys {', '.join(sorted(surveys))}" if surveys else "no survey"
        do = "Give the folder its old name back, or name another --database."
        raise InputError("database", found=found, wanted=f"one named {name!r}", do=do)
    return next(iter(surveys.values()))


@contextmanager
def opened(folder: Path, database: str | None = None) -> Iterator[tuple[Study, int]]:
    """A survey's database, its tables brought up to date, and the survey's number in it.

    Raises:
        InputError: no survey, a database that does not answer, or a step that it refuses.
    """
    with told():
        study = Study.made(database_url(folder, database))
        try:
            yield study, survey_in(study, folder)
        finally:
            study.dispose()


@contextmanager
def told() -> Iterator[None]:
    """What the database refuses, as a sentence for the command line.

    Raises:
        InputError: it refused, or did not answer.
    """
    try:
        yield
    except Refused as refused:
        words = {"taken": "Choose another name.", "closed": "Make a new survey.", "open": "Close it first."}
        do = words.get(refused.why, "Change it.")
        raise InputError("survey", found=str(refused), wanted="a step that it can take", do=do) from None
    except Unsaved as error:
        do = "See that it runs, that the disk has room, and that nobody holds it; then try again."
        raise InputError("database", found=f"no answer ({error})", wanted="a database of a survey", do=do) from error
