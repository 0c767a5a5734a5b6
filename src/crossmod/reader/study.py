"""All that is done with a survey's database; routes and commands know no SQL.

Notable:
- Who answers is read anew, and held, in the transaction that writes: a survey that is closed or submitted meanwhile
  takes nothing more.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from crossmod.reader.database import PATIENCE, Database
from crossmod.reader.design import Design
from crossmod.reader.owned import Owned, digest, number_of
from crossmod.reader.records import Given as Given
from crossmod.reader.records import Refused as Refused
from crossmod.reader.records import Seat as Seat
from crossmod.reader.records import Shown as Shown
from crossmod.reader.records import Unsaved as Unsaved
from crossmod.reader.tables import Answer, Place, Reader, Survey, now

SCAN_ID = re.compile(r"[0-9a-f]{32}")
# A page that was left open overnight says nothing about how hard a scan was.
LONGEST_LOOK = 86_400.0
LONGEST_KEY = 100


class Study(Owned):
    """A database that is open. Safe to use from several threads and several processes.

    Every method raises `Unsaved` where the database does not answer.

    Args:
        url: `sqlite:///path` or `postgresql+psycopg://...`.
        patience: seconds that a write may wait for other writers.

    Raises:
        InputError: another kind of database.
    """

    def __init__(self, url: str, *, patience: float = PATIENCE):
        self._database = Database(url, patience)

    @classmethod
    def made(cls, url: str, *, patience: float = PATIENCE) -> "Study":
        """The same, its tables brought up to date (Alembic); a SQLite file is made where there is none.

        Raises:
            InputError: a newer crossmod made the tables.
        """
        from crossmod.reader.upgrade import upgrade

        database = Database(url, patience, new=True)
        try:
            upgrade(database)
        finally:
            database.dispose()
        return cls(url, patience=patience)

    def dispose(self) -> None:
        """Close all connections."""
        self._database.dispose()

    def seat(self, token: str) -> Seat | None:
        """Who has this token; None for nobody, or where it has expired."""
        total = select(func.count()).where(col(Place.reader_id) == col(Reader.id)).scalar_subquery()
        with self._database.reading() as session:
            query = select(Reader, Survey, total).where(col(Survey.id) == col(Reader.survey_id))
            found = session.exec(query.where(col(Reader.token) == digest(token))).one_or_none()
        if found is None:
            return None
        reader, survey, places = found
        if reader.expires is not None and reader.expires <= now():
            return None
        return Seat(
            reader=number_of(reader.id),
            survey=reader.survey_id,
            name=reader.name,
            language="it" if reader.language == "it" else "en",
            total=int(places),
            submitted=reader.submitted,
            closed=survey.closed,
        )

    def shown(self, seat: Seat, number: int) -> Shown | None:
        """What stands at a place, from 1; None beyond the last."""
        if not 1 <= number <= seat.total:
            return None
        with self._database.reading() as session:
            place = session.get(Place, (seat.reader, number))
            if place is None:
                return None
            last = session.exec(
                select(Answer)
                .where(col(Answer.reader_id) == seat.reader, col(Answer.place) == number)
                .order_by(col(Answer.id).desc())
                .limit(1)
            ).first()
            return Shown(number, place.scan_id, None if last is None else dict(last.values))

    def answered(self, seat: Seat) -> frozenset[int]:
        """Places with an answer."""
        with self._database.reading() as session:
            return _answered(session, seat.reader)

    def may_see(self, seat: Seat, scan: str) -> bool:
        """Whether a scan is one of this reader's."""
        if SCAN_ID.fullmatch(scan) is None:
            return False
        with self._database.reading() as session:
            query = select(Place.number).where(col(Place.reader_id) == seat.reader, col(Place.scan_id) == scan)
            return session.exec(query).first() is not None

    def answer(
        self, seat: Seat, number: int, scan: str, values: Mapping[str, Any], *, seconds: float, key: str
    ) -> None:
        """Append an answer; it is on the disk when this returns. The same `key` again changes nothing.

        Args:
            seat: of the reader.
            number: the place.
            scan: that the page showed there.
            values: by question; see `Design.misfit`.
            seconds: that the page was looked at; what cannot be is 0.
            key: of this very answer, made by the page.

        Raises:
            Refused: the survey is `closed`, or the reader's is `submitted`; the scan is `not yours`, or not at this
                place; values that the design does not ask for, no key, or one that came with another answer, are
                `unfit`.
            Unsaved: the database did not take it.
        """
        if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
            raise Refused("unfit", "an answer without a key")
        if not 1 <= number <= seat.total:
            raise Refused("not yours")
        taken = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        looked = min(max(seconds, 0.0), LONGEST_LOOK) if math.isfinite(seconds) else 0.0

        def work(session: Session) -> None:
            reader, survey = _held(session, seat)
            if _again(session, seat, number, taken, key):
                return
            _refuse_ended(reader, survey)
            place = session.get(Place, (seat.reader, number))
            if place is None or place.scan_id != scan:
                raise Refused("not yours")
            wrong = Design.model_validate(survey.design).misfit(taken)
            if wrong is not None:
                raise Refused("unfit", wrong)
            session.add(
                Answer(reader_id=seat.reader, place=number, scan_id=scan, values=taken, seconds=looked, key=key)
            )

        self._database.write(work)

    def submit(self, seat: Seat) -> None:
        """End a reader's survey; nothing can be changed afterwards. Again, it changes nothing.

        Raises:
            Refused: an answer is missing (`incomplete`), or the survey is `closed`.
            Unsaved: the database did not take it.
        """

        def work(session: Session) -> None:
            reader, survey = _held(session, seat)
            if reader.submitted is not None:
                return
            _refuse_ended(reader, survey)
            if len(_answered(session, seat.reader)) < seat.total:
                raise Refused("incomplete")
            reader.submitted = now()

        self._database.write(work)


def _held(session: Session, seat: Seat) -> tuple[Reader, Survey]:
    """Reader and survey as they are now; PostgreSQL keeps others from changing them until the transaction ends."""
    reader = session.exec(select(Reader).where(col(Reader.id) == seat.reader).with_for_update()).one()
    survey = session.exec(select(Survey).where(col(Survey.id) == seat.survey).with_for_update(read=True)).one()
    return reader, survey


def _again(session: Session, seat: Seat, number: int, values: Mapping[str, Any], key: str) -> bool:
    """Whether this answer is there already, also of a survey that was closed since."""
    query = select(Answer).where(col(Answer.reader_id) == seat.reader, col(Answer.key) == key)
    earlier = session.exec(query).first()
    if earlier is not None and (earlier.place, dict(earlier.values)) != (number, dict(values)):
        # Taken in silence, the page would say "saved" of an answer that is nowhere.
        raise Refused("unfit", "the key came with another answer")
    return earlier is not None


def _refuse_ended(reader: Reader, survey: Survey) -> None:
    if survey.closed is not None:
        raise Refused("closed")
    if reader.submitted is not None:
        raise Refused("submitted")


def _answered(session: Session, reader: int) -> frozenset[int]:
    return frozenset(session.exec(select(Answer.place).where(col(Answer.reader_id) == reader).distinct()))
