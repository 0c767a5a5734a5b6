"""Whatever is sent to whatever address: no failure of ours, no header forgotten, nothing of the key."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from crossmod.reader.security import HEADERS
from tests.support.fuzz_requests import Known, Sent, requests
from tests.support.web_study import URL, Served, served

# What stands in the key, in words that no page has by chance.
KEY = {"patient": "patient-Quzq", "store": "store-Vexw", '"case"': "case-Jylk", "sha256": "a1b2c3d4e5f60718"}
TELLING = re.compile(r"""["']?synthetic["']?\s*[:=]\s*["']?(true|false|[01])\b""", re.IGNORECASE)
EXAMPLES = 300


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("fuzz"), realism=True, regions=True) as made:
        change(made.database, "UPDATE scan SET " + ", ".join(f"{column} = '{value}'" for column, value in KEY.items()))
        yield made


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, timeout=10)) as database, database:
        database.execute(statement)


def check(response: httpx.Response) -> None:
    """What holds of every response."""
    assert response.status_code < 500, response.text
    for name, value in HEADERS.items():
        assert response.headers[name] == value
    assert "cache-control" in response.headers
    said = f"{response.content.decode('latin-1')} {response.headers}"
    assert not any(value in said for value in KEY.values())
    assert not TELLING.search(said)
    assert "Traceback" not in said
    assert "location" not in response.headers or response.headers["location"] in ("/", "/owner")


def test_nothing_that_is_sent_breaks_it_or_tells_the_key(survey: Served) -> None:
    known, client = Known(survey), survey.client()
    statuses: set[int] = set()

    def call(sent: Sent) -> int:
        headers = {"Content-Type": "application/x-www-form-urlencoded", **sent.headers}
        client.cookies.clear()
        response = client.request(
            sent.method,
            httpx.URL(URL).copy_with(raw_path=sent.path.encode()),
            content=sent.body,
            headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        )
        check(response)
        if response.status_code == 204:
            # What an example has ended goes on for the next one.
            change(survey.database, "UPDATE survey SET closed = NULL")
            change(survey.database, "UPDATE reader SET submitted = NULL")
        return response.status_code

    @settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
    @given(requests(known))
    def call_any(sent: Sent) -> None:
        statuses.add(call(sent))

    # What is bent and mixed is of such that are taken.
    assert [call(sent) for sent in known.good()] == [303, 200, 200, 200, 200, 200, 303, 200, 204]
    call_any()
    assert statuses >= {200, 303, 403, 404}
