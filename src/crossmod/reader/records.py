"""What goes in and out of a survey's database, as pages, commands and analysis see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crossmod.reader.design import Language


class Refused(Exception):  # noqa: N818 - an answer that is not taken is no error of the program
    """An answer or a step that is not taken, and why.

    `closed`, `submitted`, `not yours`, `unfit` or `incomplete` of a reader's step; `open`, `taken` (a name), `closed`
    or `unfit` of an owner's.
    """

    def __init__(self, why: str, words: str = ""):
        self.why = why
        super().__init__(words or why)


class Unsaved(Exception):  # noqa: N818 - the reader is told to try again
    """The database did not take it, or did not answer: locked for too long, full, or gone."""


@dataclass(frozen=True)
class Seat:
    """A reader as pages know them."""

    reader: int
    survey: int
    name: str
    language: Language
    total: int
    submitted: datetime | None
    closed: datetime | None


@dataclass(frozen=True)
class Shown:
    """What a page shows at one place: never more than this leaves the server."""

    number: int
    scan: str
    values: Mapping[str, Any] | None
    """The last answer given here."""


@dataclass(frozen=True)
class Given:
    """One answer that counts, with its key: for analysis only."""

    survey: str
    reader: str
    number: int
    scan: str
    synthetic: bool
    layer: int
    patient: str
    repeats: str | None
    values: Mapping[str, Any]
    seconds: float
    given: datetime
    submitted: bool
