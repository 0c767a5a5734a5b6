"""The owner's side of a survey's database: surveys, invitations, standing, and the answers of a closed one.

Notable: a token is found by its SHA-256. The search may take any time it likes: who does not have the token cannot
steer its checksum, and so learns nothing from how long a comparison took.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from crossmod.reader.database import Database
from crossmod.reader.design import Design, Language
from crossmod.reader.order import order_of
from crossmod.reader.records import Given, Refused
from crossmod.reader.results import answers_of, standing_of
from crossmod.reader.tables import Place, Reader, Scan, Survey, now

LONGEST_NAME = 100
# Days that an invitation may last.
LONGEST_STAY = 3660


class Owned:
    """What owners may do; `crossmod.reader.study.Study` adds the readers."""

    _database: Database

    def add(self, design: Design, scans: Sequence[Scan]) -> tuple[int, str]:
        """Add a survey with its scans; gives its number and the owner's token, which is kept nowhere.

        Raises:
            Refused: `taken`, there is one of that name.
        """
        token = secrets.token_urlsafe(32)

        def work(session: Session) -> int:
            survey = Survey(name=design.name, design=design.model_dump(mode="json"), owner_token=digest(token))
            session.add(survey)
            session.flush()
            number = number_of(survey.id)
            # Fresh rows, since a failed try leaves its own in the session; what is repeated comes before what repeats.
            for scan in sorted(scans, key=lambda scan: (scan.repeats is not None, scan.id)):
                session.add(Scan(**{**scan.model_dump(), "survey_id": number}))
                session.flush()
            return number

        try:
            return self._database.write(work), token
        except IntegrityError:
            raise Refused("taken", f"there is a survey {design.name!r} already") from None

    def surveys(self) -> dict[str, int]:
        """The surveys by name."""
        with self._database.reading() as session:
            return {name: number_of(number) for name, number in session.exec(select(Survey.name, Survey.id))}

    def owner(self, token: str) -> int | None:
        """The survey whose owner has this token."""
        with self._database.reading() as session:
            return session.exec(select(Survey.id).where(col(Survey.owner_token) == digest(token))).one_or_none()

    def design(self, survey: int) -> Design:
        """What a survey asks."""
        with self._database.reading() as session:
            return Design.model_validate(session.get_one(Survey, survey).design)

    def closed(self, survey: int) -> datetime | None:
        """When a survey was closed; None while it is open."""
        with self._database.reading() as session:
            return session.get_one(Survey, survey).closed

    def invite(self, survey: int, name: str, *, language: Language | None = None, days: float = 90.0) -> str:
        """Add a reader, with an order of their own; gives the token, which is kept nowhere.

        Raises:
            Refused: the name is `taken` or `unfit`, the survey is `closed`, or the days are `unfit`.
        """
        name = name.strip()
        if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
            raise Refused("unfit", f"a reader's name has 1 to {LONGEST_NAME} letters")
        if not 0 < days <= LONGEST_STAY:
            raise Refused("unfit", "an invitation lasts some days, and ten years at most")
        token = secrets.token_urlsafe(32)

        def work(session: Session) -> None:
            its = session.exec(select(Survey).where(col(Survey.id) == survey).with_for_update(read=True)).one()
            if its.closed is not None:
                raise Refused("closed")
            design = Design.model_validate(its.design)
            scans = session.exec(select(Scan.id, Scan.repeats).where(col(Scan.survey_id) == survey)).all()
            expires = now() + timedelta(days=days)
            reader = Reader(
                survey_id=survey, name=name, token=digest(token), language=language or design.language, expires=expires
            )
            session.add(reader)
            session.flush()
            for number, scan in enumerate(order_of(dict(scans), design.seed, name), start=1):
                session.add(Place(reader_id=number_of(reader.id), number=number, scan_id=scan))

        try:
            self._database.write(work)
        except IntegrityError:
            raise Refused("taken", f"there is a reader {name!r} already") from None
        return token

    def standing(self, survey: int) -> list[tuple[str, int, int, datetime | None]]:
        """For the owner: each reader's name, answered, total, and when they submitted. Nothing of the key."""
        with self._database.reading() as session:
            return standing_of(session, survey)

    def close(self, survey: int) -> None:
        """Take no more answers."""

        def work(session: Session) -> None:
            its = session.exec(select(Survey).where(col(Survey.id) == survey).with_for_update()).one()
            its.closed = its.closed or now()

        self._database.write(work)

    def answers(self, survey: int) -> list[Given]:
        """The answers that count, with the key, by reader and place.

        Raises:
            Refused: the survey is still `open`.
        """
        with self._database.reading() as session:
            if session.get_one(Survey, survey).closed is None:
                raise Refused("open", "the survey is open: its key is shown when it is closed")
            return answers_of(session, survey)


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def number_of(key: int | None) -> int:
    """The key of a row that is in the database."""
    assert key is not None
    return key
