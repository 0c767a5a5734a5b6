"""What a survey has come to: who has answered how much, and the answers that count."""

from datetime import datetime

from sqlalchemy import func
from sqlmodel import Session, col, select

from crossmod.reader.records import Given
from crossmod.reader.tables import Answer, Place, Reader, Scan, Survey


def standing_of(session: Session, survey: int) -> list[tuple[str, int, int, datetime | None]]:
    """Each reader's name, answered, total, and when they submitted, in the order in which they were invited."""
    answered = select(func.count(func.distinct(Answer.place))).where(col(Answer.reader_id) == col(Reader.id))
    total = select(func.count()).where(col(Place.reader_id) == col(Reader.id))
    query = select(Reader, answered.scalar_subquery(), total.scalar_subquery())
    rows = session.exec(query.where(col(Reader.survey_id) == survey).order_by(col(Reader.id)))
    return [(reader.name, int(done), int(places), reader.submitted) for reader, done, places in rows]


def answers_of(session: Session, survey: int) -> list[Given]:
    """The last answer of each reader and place, with the key, by reader and place."""
    last = select(func.max(Answer.id)).group_by(col(Answer.reader_id), col(Answer.place))
    query = (
        select(Answer, Reader, Scan)
        .where(col(Answer.id).in_(last), col(Reader.id) == col(Answer.reader_id), col(Scan.id) == col(Answer.scan_id))
        .where(col(Reader.survey_id) == survey)
        .order_by(col(Reader.id), col(Answer.place))
    )
    name = session.get_one(Survey, survey).name
    return [
        Given(
            survey=name,
            reader=reader.name,
            number=answer.place,
            scan=scan.id,
            synthetic=scan.synthetic,
            layer=scan.layer,
            patient=scan.patient,
            repeats=scan.repeats,
            values=dict(answer.values),
            seconds=answer.seconds,
            given=answer.given,
            submitted=reader.submitted is not None,
        )
        for answer, reader, scan in session.exec(query)
    ]
