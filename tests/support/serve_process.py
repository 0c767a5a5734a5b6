"""`crossmod reader serve` in a process of its own, and readers who use it at once, as their browsers would."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import create_engine, text

from crossmod.reader.design import Design
from crossmod.reader.repository import ReaderRepository
from tests.support.reader_stores import scans
from tests.support.web_study import body, fields, form_token

SAVED = 'id="is-saved"'


@dataclass
class Survey:
    """A survey's folder, its database, and the links of its readers."""

    folder: Path
    url: str
    tokens: dict[str, int] = field(default_factory=dict)
    """The readers' numbers in the database, by token."""

    def kept(self) -> list[tuple[int, int, str]]:
        """Reader, place and key of every answer in the database, asked past the server."""
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                rows = connection.execute(text("SELECT reader_id, place, key FROM answer ORDER BY id")).all()
        finally:
            engine.dispose()
        return [(row[0], row[1], row[2]) for row in rows]


def make_survey(folder: Path, *, readers: int, count: int, size: int = 64, url: str | None = None) -> Survey:
    """A survey of made-up images, each with noise of its own, half of them with the key's mark for synthetic."""
    (folder / "images").mkdir(parents=True)
    survey = Survey(folder, url or f"sqlite:///{folder / 'survey.sqlite'}")
    design = Design(name=folder.name, modality="ct", real=count - count // 2, synthetic=count // 2, size=size)
    rows = scans(count)
    for index, row in enumerate(rows):
        (folder / "images" / f"{row.id}.nii").write_bytes(body(design, index))
    study = ReaderRepository.made(survey.url)
    try:
        number, _ = study.add(design, rows)
        for name in range(readers):
            token = study.invite(number, f"reader {name}")
            seat = study.seat(token)
            assert seat is not None
            survey.tokens[token] = seat.reader
    finally:
        study.dispose()
    return survey


class Server:
    """The process that serves a survey; it can be killed and started again at the same address."""

    def __init__(self, survey: Survey):
        self._survey, self._port, self.url = survey, 0, ""
        self._running: subprocess.Popen[str] | None = None
        self.errors = survey.folder / "errors.txt"

    def start(self) -> None:
        folder, database = self._survey.folder, self._survey.url
        named = [] if database.startswith("sqlite") else ["--database", database]
        code = "from crossmod.cli import main; main()"
        command = [sys.executable, "-c", code, "reader", "serve", str(folder), "--port", str(self._port), *named]
        with self.errors.open("a", encoding="utf-8") as errors:
            self._running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert self._running.stdout is not None
        first = self._running.stdout.readline()
        assert " is at http" in first, self.errors.read_text()
        self.url = first.split()[-1]
        # After a restart readers come back to where they were.
        self._port = int(self.url.rpartition(":")[2])

    def processor_seconds(self) -> float:
        """That the server has worked so far; Linux alone tells."""
        assert self._running is not None
        words = (
            Path(f"/proc/{self._running.pid}/stat")
            .read_text(encoding="ascii", errors="replace")
            .rpartition(")")[2]
            .split()
        )
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """At once, with no time for a last word."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._running is None:
            return
        self._running.send_signal(how)
        self._running.communicate(timeout=120)
        self._running = None


@contextmanager
def serving(survey: Survey) -> Iterator[Server]:
    server = Server(survey)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Visitor:
    """One reader's browser.

    Args:
        url: of the server.
        token: of the invitation.
        think: seconds between pages.
    """

    def __init__(self, url: str, token: str, *, think: float = 0.0):
        # Without https there is no certificate to look at, and loading the known ones takes long.
        self.client = httpx.AsyncClient(base_url=url, timeout=60, verify=False)
        self.token, self._think = token, think
        self.told: dict[int, str] = {}
        """By place, the key of the answer that was said to be saved."""
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.failures = 0

    async def get(self, path: str, kind: str = "page") -> httpx.Response:
        before = time.perf_counter()
        response = await self.client.get(path)
        self.seconds[kind].append(time.perf_counter() - before)
        return response

    async def arrive(self) -> None:
        assert (await self.get(f"/r/{self.token}")).status_code == 303
        assert (await self.get("/")).status_code == 200

    async def save(self, page: httpx.Response, number: int, **changes: str) -> httpx.Response:
        """Send an answer; remembered only where the page says "saved"."""
        form = fields(page, **changes)
        before = time.perf_counter()
        response = await self.client.post(f"/scan/{number}", data=form, headers=form_token(page))
        self.seconds["saving"].append(time.perf_counter() - before)
        if response.status_code == 200 and SAVED in response.text:
            self.told[number] = form["key"]
        return response

    async def insist(self, page: httpx.Response, number: int, until: float) -> None:
        """The same answer with the same key, again and again, as one who presses "Try again"."""
        while number not in self.told:
            assert time.monotonic() < until, f"place {number} was never saved"
            try:
                response = await self.save(page, number)
                assert response.status_code in (200, 503), response.text
            except httpx.TransportError:
                self.failures += 1
                await asyncio.sleep(0.05)

    async def open(self, number: int, until: float) -> httpx.Response:
        """A scan's page and its image, loaded again where the server is away."""
        while True:
            assert time.monotonic() < until, f"place {number} could not be opened"
            try:
                page = await self.get(f"/scan/{number}")
                assert page.status_code == 200, page.text
                image = await self.get(f"/image/{fields(page)['scan']}.nii", "image")
                assert image.status_code == 200
                return page
            except httpx.TransportError:
                self.failures += 1
                await asyncio.sleep(0.05)

    async def read(self, count: int, *, patience: float = 600.0) -> None:
        """All scans, from the first to the last."""
        until = time.monotonic() + patience
        for number in range(1, count + 1):
            page = await self.open(number, until)
            await asyncio.sleep(self._think)
            await self.insist(page, number, until)


def told_of(visitors: list[Visitor], survey: Survey) -> set[tuple[int, int, str]]:
    """What readers were told is saved."""
    return {(survey.tokens[visitor.token], number, key) for visitor in visitors for number, key in visitor.told.items()}
