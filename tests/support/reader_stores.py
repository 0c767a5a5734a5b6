"""Stores and surveys for the tests: real people, and others "made" of them by a known rule."""

import atexit
import functools
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from crossmod.config import Modality
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.reader.design import Design
from crossmod.reader.repository import ReaderRepository
from crossmod.reader.schema import Scan
from tests.support.evaluated_people import person, synthetic_store

REAL, SOURCES, SIZE = range(100, 105), range(5), 48


@dataclass(frozen=True)
class Pair:
    """A store of either side, and the one that the synthetic side was made from."""

    real: Path
    synthetic: Path
    source: Path


def store_of(path: Path, modality: Modality, seeds: range) -> Path:
    """Real people; of each another field of view, as scanners have it."""
    with writing_store(path) as writer:
        for seed in seeds:
            volume = person(seed, modality, size=SIZE)
            affine = volume.affine.copy()
            affine[:3, 1:3] *= 1 + 0.03 * (seed % 3)
            writer.add(f"{modality}-{seed}", replace(volume, affine=affine), patient=f"{modality}-{seed}")
    return path


def imitated(target: Modality) -> Callable[[Volume, int], np.ndarray]:
    """Other people as floats, cut and saturated as a network's output is: never quite at the ends of its range."""

    def make(volume: Volume, number: int) -> np.ndarray:
        voxels = person(500 + number, target, size=SIZE).voxels.astype(np.float64)
        low, high = (-160.0, 240.0) if target == "ct" else (float(v) for v in np.percentile(voxels, (0.5, 99.5)))
        share = np.clip((voxels - low) / (high - low), 0, 1) * 2 - 1
        # 16-bit arithmetic, on top: values lie on a comb of their own.
        coarse = np.tanh(np.arctanh(share * 0.995)).astype(np.float16)
        return (low + (coarse.astype(np.float32) + 1) / 2 * (high - low)).astype(np.float32)

    return make


def _folder() -> Path:
    """For what all tests of a run share."""
    folder = Path(mkdtemp(prefix="crossmod-reader-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def pair(modality: Modality) -> Pair:
    """Real and synthetic cases of one modality; nothing may be written into them."""
    root = _folder()
    other: Modality = "mr" if modality == "ct" else "ct"
    source = store_of(root / "source", other, SOURCES)
    sequence = "t2_spir" if modality == "mr" else None
    synthetic = synthetic_store(root / "synthetic", source, imitated(modality), target=modality, sequence=sequence)
    return Pair(store_of(root / "real", modality, REAL), synthetic, source)


def scans(count: int, repeats: int = 0) -> list[Scan]:
    """Rows of a key; every other one is synthetic."""
    rows = [_scan(number) for number in range(count)]
    return [*rows, *(replace_id(row) for row in rows[:repeats])]


def _scan(number: int) -> Scan:
    return Scan(
        id=secrets.token_hex(16), survey_id=0, synthetic=number % 2 == 1, layer=number % 10 + 1,
        patient=f"p{number % 3}", store="store", case=f"case{number}", slice=number, sha256="0" * 64,
    )  # fmt: skip


def replace_id(row: Scan) -> Scan:
    """The same scan again, under an id of its own."""
    return Scan(**{**row.model_dump(), "id": secrets.token_hex(16), "repeats": row.id})


# Of fixtures that take `request.param` to `fresh_database`.
DATABASES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql))


@contextmanager
def fresh_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database, which goes when the block ends."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'survey.sqlite'}"
        return
    server = os.environ.get("CROSSMOD_POSTGRESQL")
    if not server:
        pytest.skip("PostgreSQL: CROSSMOD_POSTGRESQL names no server")
    name = f"crossmod_{secrets.token_hex(8)}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        admin.dispose()


@functools.cache
def empty_database() -> bytes:
    """What migrations make of nothing; they take longer than most tests."""
    path = _folder() / "empty.sqlite"
    ReaderRepository.made(f"sqlite:///{path}").dispose()
    return path.read_bytes()


def design(**changes: object) -> Design:
    """A survey of two real and two synthetic scans."""
    return Design.model_validate({"name": "one", "modality": "ct", "real": 2, "synthetic": 2, **changes})
