"""What all tests share."""

import os
import tempfile
from collections.abc import Callable
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
from tests.support.stores import Stores, made_volume

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
