"""The tables of a survey's database, and the records read from them.

Notable:
- The key (which scan is synthetic, and where it comes from) is in `Scan` and nowhere else: no file, page or log has it.
- Answers are appended with their time and never changed; the last one of a reader and place counts. The database itself
  refuses to change or remove one (`migrations`).
- Tokens are stored as SHA-256: reading the database does not allow to log in.
- A new column needs a migration; a test compares both.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Column, DateTime, Dialect, TypeDecorator, UniqueConstraint
from sqlmodel import Field, SQLModel

from crossmod.reader.design import Language, Values


def now() -> datetime:
    """The time in UTC; the only clock of a survey."""
    return datetime.now(UTC)


class Moment(TypeDecorator[datetime]):
    """A time in UTC; SQLite does not store zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _time(*, nullable: bool = False, **more: Any) -> Any:
    return Field(sa_column=Column(Moment(), nullable=nullable), **more)


class Survey(SQLModel, table=True):
    """One survey; a database holds one or several."""

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    design: dict[str, object] = Field(sa_column=Column(JSON, nullable=False))
    """`crossmod.reader.design.Design` as JSON."""
    created: datetime = _time(default_factory=now)
    closed: datetime | None = _time(default=None, nullable=True)
    """When the owner closed it: from then on no answer is accepted, and the key may be shown."""
    owner_token: str = Field(index=True, unique=True)
    """SHA-256 of the owner's token."""


class Scan(SQLModel, table=True):
    """One image that is shown: a slice or a volume. The key."""

    id: str = Field(primary_key=True)
    """Random: 32 hexadecimal digits; also the name of the image file."""
    survey_id: int = Field(foreign_key="survey.id", index=True)
    synthetic: bool
    layer: int
    """Axial layer, 1 to 10; 0 of a volume."""
    patient: str
    store: str
    case: str
    slice: int | None = None
    """Index of the slice in its case; None of a volume."""
    repeats: str | None = Field(default=None, foreign_key="scan.id")
    """The scan that it repeats, under another id, for self-agreement."""
    sha256: str
    """Of the image file that is served."""


class Reader(SQLModel, table=True):
    """One reader of one survey, from the invitation on."""

    id: int | None = Field(default=None, primary_key=True)
    survey_id: int = Field(foreign_key="survey.id", index=True)
    name: str
    """A label that the owner chose, such as `radiologist 3`."""
    token: str = Field(index=True, unique=True)
    """SHA-256 of the invitation's token."""
    language: str = "en"
    invited: datetime = _time(default_factory=now)
    expires: datetime | None = _time(default=None, nullable=True)
    submitted: datetime | None = _time(default=None, nullable=True)

    __table_args__ = (UniqueConstraint("survey_id", "name"),)


class Place(SQLModel, table=True):
    """The order of one reader: which scan is shown at which place."""

    reader_id: int = Field(foreign_key="reader.id", primary_key=True)
    number: int = Field(primary_key=True)
    """From 1."""
    scan_id: str = Field(foreign_key="scan.id")

    __table_args__ = (UniqueConstraint("reader_id", "scan_id"),)


class Answer(SQLModel, table=True):
    """One answer; a later one of the same reader and place replaces it."""

    id: int | None = Field(default=None, primary_key=True)
    reader_id: int = Field(foreign_key="reader.id", index=True)
    place: int
    scan_id: str = Field(foreign_key="scan.id")
    values: dict[str, object] = Field(sa_column=Column(JSON, nullable=False))
    """By question; checked against the design."""
    seconds: float
    """For which the page was open, as the browser counted; 0 if unknown."""
    given: datetime = _time(default_factory=now)
    key: str
    """Made by the page: a form that is sent twice is one answer."""

    __table_args__ = (UniqueConstraint("reader_id", "key"),)


class AnswerRejected(Exception):  # noqa: N818 - not an error of the program
    """An answer or a step that is not accepted, and why.

    `closed`, `submitted`, `not yours`, `unfit` or `incomplete` of a reader's step; `open`, `taken` (a name), `closed`
    or `unfit` of an owner's.
    """

    def __init__(self, why: str, words: str = ""):
        self.why = why
        super().__init__(words or why)


class NotSaved(Exception):  # noqa: N818 - the reader can try again
    """The database did not accept it, or did not answer: locked for too long, full, or removed."""


@dataclass(frozen=True)
class ReaderSession:
    """A reader as pages know them."""

    reader: int
    survey: int
    name: str
    language: Language
    total: int
    submitted: datetime | None
    closed: datetime | None

    @property
    def ended(self) -> bool:
        """Whether no more answers are accepted."""
        return self.submitted is not None or self.closed is not None


@dataclass(frozen=True)
class Shown:
    """What a page shows at one place; the server sends no more than this."""

    number: int
    scan: str
    values: Values | None
    """The last answer at this place."""


@dataclass(frozen=True)
class RecordedAnswer:
    """The last answer at a place, with the key: for analysis only."""

    survey: str
    reader: str
    number: int
    scan: str
    synthetic: bool
    layer: int
    patient: str
    repeats: str | None
    values: Values
    seconds: float
    given: datetime
    submitted: bool
