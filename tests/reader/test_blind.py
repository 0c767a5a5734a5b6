"""Nothing but its pixels tells a scan's class: classifiers on all else that a client sees stay at chance.

Ids and times are others each time, so that a p under 0.01 comes by chance once in a hundred surveys; a leak is in every
one. What looks like a leak is therefore looked for again, in a second survey of other scans.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from scipy.stats import binom

from crossmod.reader.create import ONE_TIME, create_survey, opened
from tests.support.blind_features import Row, seen, verdict
from tests.support.evaluated_people import synthetic_store
from tests.support.reader_stores import imitated, store_of
from tests.support.serve_process import Server, Survey, serving
from tests.support.web_study import fields

EACH, PEOPLE = 60, 8
LEAST = 0.01


@dataclass
class Blind:
    """A survey that is served, and its key."""

    survey: Survey
    synthetic: dict[str, bool]
    server: Server

    def rows(self, places: int) -> tuple[list[Row], np.ndarray]:
        """What one reader sees at the first places, with where a colleague sees the same scans."""
        with self.client(0) as reader, self.client(1) as colleague:
            found = dict(seen(reader, self.images, number) for number in range(1, places + 1))
            # Of a few places, a colleague's would be looked for too long.
            for number in range(1, 2 * EACH + 1 if places == 2 * EACH else 0):
                scan = fields(colleague.get(f"/scan/{number}"))["scan"]
                if scan in found:
                    found[scan]["place of a colleague"] = number
        return list(found.values()), np.array([self.synthetic[scan] for scan in found])

    @property
    def images(self) -> Path:
        return self.survey.folder / "images"

    @contextmanager
    def client(self, reader: int) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=self.server.url, timeout=60, verify=False) as client:
            assert client.get(f"/r/{list(self.survey.tokens)[reader]}").status_code == 303
            yield client


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Real and synthetic cases with enough slices in each layer, and the synthetic ones' sources."""
    root = tmp_path_factory.mktemp("people")
    source = store_of(root / "source", "mr", range(PEOPLE))
    synthetic = synthetic_store(root / "synthetic", source, imitated("ct"), target="ct", sequence=None)
    return store_of(root / "real", "ct", range(100, 100 + PEOPLE)), synthetic, source


@contextmanager
def blind(folder: Path, stores: tuple[Path, Path, Path], seed: int) -> Iterator[Blind]:
    real, synthetic, source = stores
    design = {"real": EACH, "synthetic": EACH, "size": 32, "seed": seed}
    create_survey(folder, [real], [synthetic], source=[source], design=design)
    with opened(folder) as (study, number):
        tokens = {study.invite(number, name): index for index, name in enumerate(("one", "two"))}
    database = sqlite3.connect(folder / "survey.sqlite")
    key = {scan: bool(made) for scan, made in database.execute("SELECT id, synthetic FROM scan")}
    database.close()
    survey = Survey(folder, f"sqlite:///{folder / 'survey.sqlite'}", tokens)
    with serving(survey) as server:
        yield Blind(survey, key, server)


@pytest.fixture(scope="module")
def served(stores: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blind]:
    with blind(tmp_path_factory.mktemp("blind") / "first", stores, 0) as survey:
        yield survey


@pytest.fixture(scope="module")
def honest(served: Blind) -> tuple[list[Row], np.ndarray]:
    return served.rows(2 * EACH)


def suspicious(rows: list[Row], synthetic: np.ndarray) -> str:
    """What gives a class away; nothing where all is well."""
    p, accuracy, feature = verdict(rows, synthetic)
    limit = float(binom.ppf(1 - LEAST, len(rows), 0.5)) / len(rows)
    told = f"p {p:.4f}, {accuracy:.0%} of scans told (by chance up to {limit:.0%}), most by {feature}"
    return told if p < LEAST or accuracy > limit else ""


def test_nothing_but_pixels_tells_a_scans_class(
    honest: tuple[list[Row], np.ndarray], stores: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    rows, synthetic = honest
    assert len(rows) == 2 * synthetic.sum() == 2 * EACH
    found = suspicious(rows, synthetic)
    if found:
        with blind(tmp_path / "second", stores, 1) as other:
            again = suspicious(*other.rows(2 * EACH))
        assert not again, f"{found}; in a second survey: {again}"


def test_images_differ_in_nothing_but_pixels_and_ids(honest: tuple[list[Row], np.ndarray]) -> None:
    """Stronger than chance, where it can be asked for: of most features there is one value alone."""
    rows, _ = honest
    differ = {name for name in rows[0] if len({row.get(name) for row in rows}) > 1}
    times = {f"{kind} seconds{again}" for kind in ("page", "image") for again in ("", " again")}
    # A page's bytes go by how many digits its numbers have.
    pages = {"page bytes", "page content-length"}
    order = {"place", "odd place", "place of a colleague", "listed", "inode"}
    assert differ <= times | pages | order | {f"digit {index}" for index in range(32)}
    by_digits: dict[tuple[int, ...], set[float]] = {}
    for row in rows:
        near = (row["place"] - 1, row["place"], row["place"] + 1)
        by_digits.setdefault(tuple(len(str(int(number))) for number in near), set()).add(row["page bytes"])
    assert max(len(sizes) for sizes in by_digits.values()) <= 2  # the first and the last have a link less


def raised(row: Row, name: str, by: float) -> None:
    row[name] = row[name] + by


# Large enough that no luck of random ids, orders and times hides them.
LEAKS: dict[str, Callable[[Row], None]] = {
    "slower pages": lambda row: raised(row, "page seconds again", 5.0),
    "an id that begins low": lambda row: raised(row, "digit 0", -16),
    "later places": lambda row: raised(row, "place", 60),
    "later files": lambda row: raised(row, "inode", 1e6),
    "a tag": lambda row: row.update({"image etag": 1.0}),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_found(honest: tuple[list[Row], np.ndarray], leak: str) -> None:
    rows, synthetic = honest
    leaky = [dict(row) for row in rows]
    for row, made in zip(leaky, synthetic, strict=True):
        if made:
            LEAKS[leak](row)
    assert suspicious(leaky, synthetic)


HARMS = {"a header": "header byte 148", "a size": "bytes", "a time": "modified"}


@pytest.mark.parametrize(("harm", "by"), HARMS.items())
def test_a_leak_in_the_files_is_found(served: Blind, harm: str, by: str) -> None:
    """Through the server: what it sends is what is looked at."""
    before = {path: path.read_bytes() for path in served.images.iterdir()}
    try:
        for path, content in before.items():
            if served.synthetic[path.stem]:
                changed = {"a header": content[:148] + b"x" + content[149:], "a size": content + b"\0"}
                path.write_bytes(changed.get(harm, content))
            os.utime(path, (ONE_TIME, ONE_TIME + (harm == "a time" and served.synthetic[path.stem])))
        rows, synthetic = served.rows(24)
        assert by in suspicious(rows, synthetic)
    finally:
        for path, content in before.items():
            path.write_bytes(content)
            os.utime(path, (ONE_TIME, ONE_TIME))
