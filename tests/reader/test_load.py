"""Many readers at once: nothing is lost and nothing counted twice. How fast it is, `benchmarks/reader_load.py` says."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.reader_stores import DATABASES, fresh_database
from tests.support.serve_process import Survey, Visitor, make_survey, serving, told_of

READERS, COUNT = 12, 5


@pytest.fixture(params=DATABASES)
def survey(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Survey]:
    folder = tmp_path / "crowd"
    with fresh_database(request.param, folder) as url:
        yield make_survey(folder, readers=READERS, count=COUNT, url=url)


async def crowd(url: str, survey: Survey) -> list[Visitor]:
    visitors = [Visitor(url, token) for token in survey.tokens]

    async def whole(visitor: Visitor) -> None:
        async with visitor.client:
            await visitor.arrive()
            await visitor.read(COUNT)
            page = await visitor.get("/submit")
            assert "/submit" in page.text
            # One who goes back sees the answer, while others write.
            assert "checked" in (await visitor.get(f"/scan/{COUNT}")).text

    await asyncio.gather(*(whole(visitor) for visitor in visitors))
    return visitors


def test_no_answer_of_many_readers_is_lost_or_doubled(survey: Survey) -> None:
    with serving(survey) as server:
        visitors = asyncio.run(crowd(server.url, survey))
        kept = survey.kept()
        server.stop()
        assert server.errors.read_text() == ""
    assert sum(visitor.failures for visitor in visitors) == 0
    assert len(kept) == READERS * COUNT
    assert set(kept) == told_of(visitors, survey)
    assert len({(reader, place) for reader, place, _ in kept}) == READERS * COUNT
    assert survey.kept() == kept


async def hammer(url: str, token: str, times: int) -> list[int]:
    """The same answer from several tabs at once."""
    visitors = [Visitor(url, token) for _ in range(times)]
    await visitors[0].arrive()
    page = await visitors[0].get("/scan/1")
    for visitor in visitors[1:]:
        visitor.client.cookies = visitors[0].client.cookies
    responses = await asyncio.gather(*(visitor.save(page, 1) for visitor in visitors))
    for visitor in visitors:
        await visitor.client.aclose()
    return [response.status_code for response in responses]


def test_one_answer_sent_by_many_hands_at_once_is_one(survey: Survey) -> None:
    with serving(survey) as server:
        assert asyncio.run(hammer(server.url, next(iter(survey.tokens)), 8)) == [200] * 8
    assert len(survey.kept()) == 1
