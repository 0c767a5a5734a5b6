"""A small survey with images, for the tests of the web application; its images are bodies of two ellipses."""

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np

from crossmod.reader.app import make_app
from crossmod.reader.design import Design
from crossmod.reader.images import Look, encoded
from crossmod.reader.repository import ReaderRepository
from crossmod.reader.schema import Scan

with warnings.catch_warnings():
    # Starlette would rather have a later client than httpx, which does here what it always did.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

SECRET = b"s" * 32
URL = "http://testserver"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Served:
    """A survey, as its owner and its readers have it."""

    study: ReaderRepository
    survey: int
    owner: str
    images: Path
    database: Path
    readers: list[str]
    clock: Clock = field(default_factory=Clock)

    def app(self) -> Any:
        return make_app(self.study, self.images, secret=SECRET, clock=self.clock)

    def client(self, token: str | None = None) -> TestClient:
        """A browser, with a reader's session where a token is given."""
        client = TestClient(self.app(), base_url=URL, follow_redirects=False)
        if token is not None:
            assert client.get(f"/r/{token}").status_code == 303
        return client

    def owners_client(self) -> TestClient:
        client = self.client()
        assert client.get(f"/o/{self.owner}").headers["location"] == "/owner"
        return client


@cache
def _empty_database() -> bytes:
    """Migrations take longer than most tests; one database is copied."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.sqlite"
        ReaderRepository.made(f"sqlite:///{path}").dispose()
        return path.read_bytes()


@contextmanager
def served(folder: Path, *, readers: int = 2, **changes: Any) -> Iterator[Served]:
    design = Design(**{"name": "Fog", "modality": "ct", "real": 2, "synthetic": 2, "size": 64, **changes})
    images, database = folder / "images", folder / "survey.sqlite"
    images.mkdir()
    database.write_bytes(_empty_database())
    study = ReaderRepository(f"sqlite:///{database}", patience=0.3)
    scans = []
    for index in range(design.real + design.synthetic):
        scan = f"{index + 1:032x}"
        (images / f"{scan}.nii").write_bytes(body(design, index))
        synthetic = index >= design.real
        scans.append(
            Scan(
                id=scan,
                survey_id=0,
                synthetic=synthetic,
                layer=1,
                patient="p",
                store="s",
                case="c",
                slice=0,
                sha256="0",
            )
        )
    survey, owner = study.add(design, scans)
    tokens = [study.invite(survey, f"radiologist {number + 1}") for number in range(readers)]
    try:
        yield Served(study, survey, owner, images, database, tokens)
    finally:
        study.dispose()


def body(design: Design, index: int) -> bytes:
    """An image in which each slice is brighter than the one before."""
    slices = 1 if design.unit == "slice" else 9
    low, high = design.levels
    y, x = np.mgrid[-1 : 1 : design.size * 1j, -1 : 1 : design.size * 1j]
    outer, inner = (x / 0.9) ** 2 + (y / 0.65) ** 2 < 1, ((x + 0.35) / 0.35) ** 2 + (y / 0.3) ** 2 < 1
    rng = np.random.default_rng(index)
    values = np.empty((slices, design.size, design.size))
    for slice_ in range(slices):
        values[slice_] = low + (high - low) * (outer * (0.3 + 0.4 * slice_ / 9) + inner * 0.15)
        values[slice_] += outer * rng.normal(0, 0.02 * (high - low), (design.size, design.size))
    return encoded(values.clip(low, high).astype(np.int16), Look(400.0, design.size, 5.0, slices), design)


def form_token(page: httpx.Response) -> dict[str, str]:
    """The header that a form of this page sends."""
    found = re.search(r'X-Form-Token":"([0-9a-f]*)"', page.text)
    assert found is not None
    return {"X-Form-Token": found[1], "HX-Request": "true"}


def fields(page: httpx.Response, **changes: Any) -> dict[str, Any]:
    """What a page's form sends."""
    scan = re.search(r'name="scan" value="(\w+)"', page.text)
    key = re.search(r'name="key" value="(\w+)"', page.text)
    assert scan is not None
    assert key is not None
    return {"scan": scan[1], "key": key[1], "seconds": "3.5", "choice": "real", "reason": "", **changes}


def send(client: TestClient, number: int, **changes: Any) -> httpx.Response:
    """Open a page, and answer it."""
    page = client.get(f"/scan/{number}")
    assert page.status_code == 200, page.text
    return client.post(f"/scan/{number}", data=fields(page, **changes), headers=form_token(page))


def answer_all(client: TestClient) -> None:
    for number in range(1, 5):
        assert send(client, number).status_code == 200


def truncate(path: Path) -> None:
    content = path.read_bytes()
    assert struct.unpack("<i", content[:4]) == (348,)
    path.write_bytes(content[: len(content) // 2])
