"""What all tests share."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

# Tests run side by side: more threads in each would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Nothing is written into the configuration of whoever runs the tests.
os.environ["CROSSMOD_PATIENT_KEY"] = str(Path(tempfile.mkdtemp(prefix="crossmod-key-")) / "patient-key")

from hypothesis import HealthCheck, settings

from crossmod.config import Modality
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume

# How a terminal shows things is the machine's affair, and what is tested is read by programs.
for name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(name, None)
# The tests' servers are on this machine, whatever proxy leads elsewhere.
for name in ("no_proxy", "NO_PROXY"):
    os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))

# No time limit, since a busy machine is no error; in CI the same examples every time, elsewhere new ones.
settings.register_profile(
    "crossmod", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("crossmod")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("CROSSMOD_REAL_DATA")
    if not folder:
        pytest.skip("real data: CROSSMOD_REAL_DATA names no folder")
    return Path(folder)


@pytest.fixture
def real_folder(real_data: Path) -> Callable[[str], Path]:
    """A folder of the real data by its path there; the test is skipped where it is missing or empty."""

    def folder(name: str) -> Path:
        path = real_data / name
        if not path.is_dir() or not any(path.iterdir()):
            pytest.skip(f"real data: {path} holds nothing")
        return path

    return folder


def made_volume(rng: np.random.Generator, modality: Modality, *, slices: int = 6, size: int = 32) -> Volume:
    """A round body with a round liver in all slices but the first and the last: enough to learn something from."""
    z, y, x = np.mgrid[0:slices, 0:size, 0:size]
    row, column = rng.uniform(0.4, 0.55, 2) * size
    radius = rng.uniform(0.14, 0.2) * size
    body = (y - size / 2) ** 2 + (x - size / 2) ** 2 < (0.44 * size) ** 2
    liver = ((y - row) ** 2 + (x - column) ** 2 < radius**2) & (z > 0) & (z < slices - 1)
    noise = rng.normal(0, 10, z.shape)
    voxels = np.where(body, 40 + 70 * liver, -1000) if modality == "ct" else np.where(body, 300 - 150 * liver, 0)
    mm = 320 / size
    affine = np.array([[0, 0, -mm, 160], [0, -mm, 0, 160], [5, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
    return Volume(
        voxels=np.rint(voxels + noise).astype(np.int16),
        affine=affine,
        modality=modality,
        sequence=None if modality == "ct" else "t2_spir",
        labels=liver.astype(np.uint8),
        label_names={1: "liver"},
    )


@dataclass(frozen=True)
class Stores:
    ct: Path
    mr: Path


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Six CT and five MR patients of 32 px; nothing may be written into them."""
    root = tmp_path_factory.mktemp("stores")
    rng = np.random.default_rng(1)
    sides: tuple[tuple[Modality, int], ...] = (("ct", 6), ("mr", 5))
    for modality, patients in sides:
        with writing_store(root / modality) as writer:
            for number in range(patients):
                writer.add(f"{modality}-{number}", made_volume(rng, modality), patient=f"{modality}-{number}")
    return Stores(root / "ct", root / "mr")
