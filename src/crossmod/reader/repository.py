"""All queries on a survey's database; routes and commands know no SQL.

Notable:
- A token is found by its SHA-256. The time of the search reveals nothing: without the token, no one can steer its
  checksum.
- Reader and survey are read again, and locked, in the transaction that writes: a survey that was closed or submitted
  meanwhile accepts nothing more.
"""

import hashlib
import math
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from crossmod.reader.database import PATIENCE, Database, upgrade
from crossmod.reader.design import Design, Language, Values
from crossmod.reader.sampling import order_of
from crossmod.reader.schema import (
    Answer,
    AnswerRejected,
    Place,
    Reader,
    ReaderSession,
    RecordedAnswer,
    Scan,
    Shown,
    Survey,
    now,
)

LONGEST_NAME = 100
# Days that an invitation may last.
LONGEST_STAY = 3660
SCAN_ID = re.compile(r"[0-9a-f]{32}")
# Seconds: a page that was left open overnight says nothing about how hard a scan was.
LONGEST_LOOK = 86_400.0
LONGEST_KEY = 100


class ReaderRepository:
    """An open database, for owners and readers. Safe to use from several threads and several processes.

    Every method raises `NotSaved` if the database does not answer; a write waits `patience` seconds for other writers.
    """

    def __init__(self, url: str, *, patience: float = PATIENCE):
        self._database = Database(url, patience)

    @classmethod
    def made(cls, url: str, *, patience: float = PATIENCE) -> "ReaderRepository":
        """The same with its tables brought up to date (Alembic); a missing SQLite file is created."""
        database = Database(url, patience, new=True)
        try:
            upgrade(database)
        finally:
            database.dispose()
        return cls(url, patience=patience)

    def dispose(self) -> None:
        """Close all connections."""
        self._database.dispose()

    def add(self, design: Design, scans: Sequence[Scan]) -> tuple[int, str]:
        """Add a survey with its scans; gives its number and the owner's token, which is stored nowhere.

        Raises:
            AnswerRejected: `taken`, another survey has that name.
        """
        token = secrets.token_urlsafe(32)

        def work(session: Session) -> int:
            survey = Survey(name=design.name, design=design.model_dump(mode="json"), owner_token=digest(token))
            session.add(survey)
            session.flush()
            number = _number(survey.id)
            # Copies, since a failed try leaves its own in the session; a scan comes before its repeats.
            for scan in sorted(scans, key=lambda scan: (scan.repeats is not None, scan.id)):
                session.add(Scan(**{**scan.model_dump(), "survey_id": number}))
                session.flush()
            return number

        try:
            return self._database.write(work), token
        except IntegrityError:
            raise AnswerRejected("taken", f"there is a survey {design.name!r} already") from None

    def surveys(self) -> dict[str, int]:
        """The surveys by name."""
        with self._database.reading() as session:
            return {name: _number(number) for name, number in session.exec(select(Survey.name, Survey.id))}

    def owner(self, token: str) -> int | None:
        """The survey whose owner has this token."""
        with self._database.reading() as session:
            return session.exec(select(Survey.id).where(col(Survey.owner_token) == digest(token))).one_or_none()

    def design(self, survey: int) -> Design:
        """The design of a survey."""
        with self._database.reading() as session:
            return Design.model_validate(session.get_one(Survey, survey).design)

    def closed(self, survey: int) -> datetime | None:
        """When a survey was closed; None while it is open."""
        with self._database.reading() as session:
            return session.get_one(Survey, survey).closed

    def invite(self, survey: int, name: str, *, language: Language | None = None, days: float = 90.0) -> str:
        """Add a reader with an own order of the scans; gives the token, which is stored nowhere.

        Raises:
            AnswerRejected: the name is `taken` or `unfit`, the survey is `closed`, or the days are `unfit`.
        """
        name = name.strip()
        if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
            raise AnswerRejected("unfit", f"a reader's name has 1 to {LONGEST_NAME} letters")
        if not 0 < days <= LONGEST_STAY:
            raise AnswerRejected("unfit", "an invitation lasts more than 0 days, and ten years at most")
        token = secrets.token_urlsafe(32)

        def work(session: Session) -> None:
            row = session.exec(select(Survey).where(col(Survey.id) == survey).with_for_update(read=True)).one()
            if row.closed is not None:
                raise AnswerRejected("closed")
            design = Design.model_validate(row.design)
            scans = session.exec(select(Scan.id, Scan.repeats).where(col(Scan.survey_id) == survey)).all()
            expires = now() + timedelta(days=days)
            reader = Reader(
                survey_id=survey, name=name, token=digest(token), language=language or design.language, expires=expires
            )
            session.add(reader)
            session.flush()
            for number, scan in enumerate(order_of(dict(scans), design.seed, name), start=1):
                session.add(Place(reader_id=_number(reader.id), number=number, scan_id=scan))

        try:
            self._database.write(work)
        except IntegrityError:
            raise AnswerRejected("taken", f"there is a reader {name!r} already") from None
        return token

    def standing(self, survey: int) -> list[tuple[str, int, int, datetime | None]]:
        """Name, answered, total, and time of submission of each reader, as invited; without the key."""
        answered = select(func.count(func.distinct(Answer.place))).where(col(Answer.reader_id) == col(Reader.id))
        query = select(Reader, answered.scalar_subquery(), _places()).where(col(Reader.survey_id) == survey)
        with self._database.reading() as session:
            rows = session.exec(query.order_by(col(Reader.id)))
            return [(reader.name, int(done), int(places), reader.submitted) for reader, done, places in rows]

    def close(self, survey: int) -> None:
        """Accept no more answers."""

        def work(session: Session) -> None:
            row = session.exec(select(Survey).where(col(Survey.id) == survey).with_for_update()).one()
            row.closed = row.closed or now()

        self._database.write(work)

    def answers(self, survey: int) -> list[RecordedAnswer]:
        """The last answer of each reader and place, with the key, by reader and place.

        Raises:
            AnswerRejected: the survey is still `open`.
        """
        last = select(func.max(Answer.id)).group_by(col(Answer.reader_id), col(Answer.place))
        query = (
            select(Answer, Reader, Scan)
            .where(col(Answer.id).in_(last), col(Reader.id) == col(Answer.reader_id))
            .where(col(Scan.id) == col(Answer.scan_id), col(Reader.survey_id) == survey)
            .order_by(col(Reader.id), col(Answer.place))
        )
        with self._database.reading() as session:
            row = session.get_one(Survey, survey)
            if row.closed is None:
                raise AnswerRejected("open", "the survey is open: its key is shown when it is closed")
            return [
                RecordedAnswer(
                    survey=row.name,
                    reader=reader.name,
                    number=answer.place,
                    scan=scan.id,
                    synthetic=scan.synthetic,
                    layer=scan.layer,
                    patient=scan.patient,
                    repeats=scan.repeats,
                    values=answer.values.copy(),
                    seconds=answer.seconds,
                    given=answer.given,
                    submitted=reader.submitted is not None,
                )
                for answer, reader, scan in session.exec(query)
            ]

    def seat(self, token: str) -> ReaderSession | None:
        """The reader with this token; None if there is none, or if it has expired."""
        query = select(Reader, Survey, _places()).where(col(Survey.id) == col(Reader.survey_id))
        with self._database.reading() as session:
            row = session.exec(query.where(col(Reader.token) == digest(token))).one_or_none()
        if row is None or (row[0].expires is not None and row[0].expires <= now()):
            return None
        reader, survey, places = row
        return ReaderSession(
            reader=_number(reader.id),
            survey=reader.survey_id,
            name=reader.name,
            language="it" if reader.language == "it" else "en",
            total=int(places),
            submitted=reader.submitted,
            closed=survey.closed,
        )

    def shown(self, seat: ReaderSession, number: int) -> Shown | None:
        """The scan at a place, from 1, with the last answer; None beyond the last place."""
        if not 1 <= number <= seat.total:
            return None
        own = select(Answer).where(col(Answer.reader_id) == seat.reader, col(Answer.place) == number)
        with self._database.reading() as session:
            place = session.get(Place, (seat.reader, number))
            if place is None:
                return None
            last = session.exec(own.order_by(col(Answer.id).desc()).limit(1)).first()
            return Shown(number, place.scan_id, None if last is None else last.values.copy())

    def answered(self, seat: ReaderSession) -> frozenset[int]:
        """Places with an answer."""
        with self._database.reading() as session:
            return _answered(session, seat.reader)

    def may_see(self, seat: ReaderSession, scan: str) -> bool:
        """Whether a scan is one of this reader's."""
        if SCAN_ID.fullmatch(scan) is None:
            return False
        with self._database.reading() as session:
            query = select(Place.number).where(col(Place.reader_id) == seat.reader, col(Place.scan_id) == scan)
            return session.exec(query).first() is not None

    def answer(self, seat: ReaderSession, number: int, scan: str, values: Values, *, seconds: float, key: str) -> None:
        """Append an answer; it is on disk when this returns. The same `key` again changes nothing.

        Raises:
            AnswerRejected: the survey is `closed`, or the reader's is `submitted`; the scan is `not yours`, or not at
                this place; values that the design does not ask for, no key, or one that came with another answer, are
                `unfit`.
            NotSaved: the database did not accept it.
        """
        if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
            raise AnswerRejected("unfit", "an answer without a key")
        if not 1 <= number <= seat.total:
            raise AnswerRejected("not yours")
        plain: dict[str, object] = {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}
        looked = min(max(seconds, 0.0), LONGEST_LOOK) if math.isfinite(seconds) else 0.0

        def work(session: Session) -> None:
            reader, survey = _locked(session, seat)
            if _again(session, seat, number, plain, key):
                return
            _refuse_ended(reader, survey)
            place = session.get(Place, (seat.reader, number))
            if place is None or place.scan_id != scan:
                raise AnswerRejected("not yours")
            wrong = Design.model_validate(survey.design).misfit(plain)
            if wrong is not None:
                raise AnswerRejected("unfit", wrong)
            session.add(
                Answer(reader_id=seat.reader, place=number, scan_id=scan, values=plain, seconds=looked, key=key)
            )

        self._database.write(work)

    def submit(self, seat: ReaderSession) -> None:
        """End a reader's survey: nothing can be changed any more. A second time has no effect.

        Raises:
            AnswerRejected: an answer is missing (`incomplete`), or the survey is `closed`.
        """

        def work(session: Session) -> None:
            reader, survey = _locked(session, seat)
            if reader.submitted is not None:
                return
            _refuse_ended(reader, survey)
            if len(_answered(session, seat.reader)) < seat.total:
                raise AnswerRejected("incomplete")
            reader.submitted = now()

        self._database.write(work)


def digest(token: str) -> str:
    """The SHA-256 that is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _number(key: int | None) -> int:
    """The key of a row that is in the database."""
    assert key is not None
    return key


def _places():
    """The number of a reader's places, as a column."""
    return select(func.count()).where(col(Place.reader_id) == col(Reader.id)).scalar_subquery()


def _locked(session: Session, seat: ReaderSession) -> tuple[Reader, Survey]:
    """Reader and survey as they are now; PostgreSQL locks them until the transaction ends."""
    reader = session.exec(select(Reader).where(col(Reader.id) == seat.reader).with_for_update()).one()
    survey = session.exec(select(Survey).where(col(Survey.id) == seat.survey).with_for_update(read=True)).one()
    return reader, survey


def _again(session: Session, seat: ReaderSession, number: int, values: Values, key: str) -> bool:
    """Whether this answer is stored already, also in a survey that was closed since."""
    query = select(Answer).where(col(Answer.reader_id) == seat.reader, col(Answer.key) == key)
    earlier = session.exec(query).first()
    if earlier is not None and (earlier.place, earlier.values) != (number, values):
        # Without this, the page would say "saved" of an answer that was not stored.
        raise AnswerRejected("unfit", "the key came with another answer")
    return earlier is not None


def _refuse_ended(reader: Reader, survey: Survey) -> None:
    if survey.closed is not None:
        raise AnswerRejected("closed")
    if reader.submitted is not None:
        raise AnswerRejected("submitted")


def _answered(session: Session, reader: int) -> frozenset[int]:
    return frozenset(session.exec(select(Answer.place).where(col(Answer.reader_id) == reader).distinct()))
