"""Members of each kind that are added from outside: by `crossmod.register`, and by the entry points of a package."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

import crossmod
from crossmod import registry
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.report.collect import FAMILY
from crossmod.settings import Machine, SegmentSettings, TranslateSettings
from crossmod.synthesis.families import Family, family_of
from crossmod.synthesis.losses import discriminator_adversarial
from crossmod.synthesis.train import train_translator
from tests.support.common import Stores, made_volume
from tests.support.paths import PYTHONPATH


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {kind: {} for kind in registry._BUILT_IN})


@pytest.mark.parametrize("kind", registry._BUILT_IN)
def test_every_built_in_member_is_where_the_table_says(kind: registry.Kind) -> None:
    for name in registry.built_in(kind):
        found = registry.member(kind, name)
        assert isinstance(found, Family) if kind == "family" else callable(found)
    assert registry.names(kind)[: len(registry.built_in(kind))] == registry.built_in(kind)


def test_reports_know_the_titles_of_built_in_families() -> None:
    assert {name: family_of(name).title for name in registry.built_in("family")} == FAMILY


def test_a_member_is_taken_by_settings_and_used() -> None:
    with pytest.raises(ValidationError, match="one of least_squares, cross_entropy, got 'hinge'"):
        TranslateSettings(adversarial="hinge")

    def hinge(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return torch.relu(1 - (2 * target - 1) * logits).mean()

    crossmod.register("adversarial_loss", "hinge", hinge)
    assert TranslateSettings(adversarial="hinge").adversarial == "hinge"
    zero = torch.zeros(1, 1, 2, 2)
    assert discriminator_adversarial("hinge", zero, zero).item() == 1.0


def test_what_cannot_be_registered_or_found() -> None:
    with pytest.raises(InputError, match=r"the kind 'sound'\. Expected: one of family"):
        crossmod.register("sound", "x", object())
    with pytest.raises(InputError, match="'essnet', which is built in"):
        crossmod.register("family", "essnet", object())
    with pytest.raises(InputError, match=r"family: 'pix2pix'\. Expected: one of cyclegan, essnet, multi_input"):
        family_of("pix2pix")


def test_a_registered_segmenter_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from crossmod.networks.unet import make_network

    crossmod.register("segmenter", "one_layer", lambda size: nn.Conv2d(1, 1, 1))
    settings = SegmentSettings(network="one_layer")
    assert isinstance(make_network(settings.network, settings.size), nn.Conv2d)


def test_a_registered_executor_makes_the_runs_of_an_experiment(tmp_path: Path) -> None:
    from crossmod.experiment.executors.base import InProcess
    from crossmod.experiment.executors.options import ExecutorOptions, executor_of

    asked: list[ExecutorOptions] = []

    def mine(root: Path, machine: Machine, options: ExecutorOptions) -> InProcess:
        asked.append(options)
        return InProcess(root, machine)

    crossmod.register("executor", "mine", mine)
    # What only built-in executors know is theirs to take.
    options = ExecutorOptions(executor="mine", cpus=3)
    assert isinstance(executor_of(tmp_path, options), InProcess)
    assert asked == [options]


def test_a_family_of_one_input_refuses_several(stores: Stores, tmp_path: Path) -> None:
    crossmod.register("family", "copy", family_of("cyclegan"))
    settings = TranslateSettings(family="copy", source="mr", inputs=("t1_in", "t1_out"), split="none", size=32)
    folder = tmp_path / "both"
    with writing_store(folder) as writer:
        for number, modality in enumerate(("ct", "mr", "mr")):
            volume = made_volume(np.random.default_rng(number), modality)
            sequence = None if modality == "ct" else f"t1_{('in', 'out')[number - 1]}"
            writer.add(f"case-{number}", replace(volume, sequence=sequence), patient="somebody")
    with pytest.raises(InputError, match=r"--inputs: CycleGAN and several inputs \(t1_in, t1_out\)"):
        train_translator(tmp_path / "run", ct=folder, mr=folder, settings=settings)
    assert not (tmp_path / "run").exists()


# A package of somebody else: a CycleGAN whose generators are narrower by half.
PACKAGE = """
from pathlib import Path

import numpy as np

import crossmod
from crossmod.data.store_writer import writing_store
from crossmod.networks.blocks import ResNet
from crossmod.synthesis import cyclegan
from crossmod.synthesis.families import Family


def generators(settings):
    return {name: ResNet(1, settings.generator_filters // 2, 1) for name in ("G1", "G2")}


def build(settings, device):
    networks = {**cyclegan.build(settings, device).networks, **generators(settings)}
    return cyclegan.build(settings, device, networks=networks)


def prepare_raw(src: Path, store: Path, *, slice_mm: float = 5.0) -> crossmod.Store:
    \"\"\"Read NumPy files of CT.

    Args:
        src: Folder with one file per patient.
        store: The new store.
        slice_mm: Distance of the slices.
    \"\"\"
    affine = np.array([[0, 0, -1.0, 0], [0, -1.0, 0, 0], [slice_mm, 0, 0, 0], [0, 0, 0, 1]])
    with writing_store(store) as writer:
        for file in sorted(src.glob("*.npy")):
            writer.add(file.stem, crossmod.Volume(np.load(file), affine, "ct"), patient=file.stem)
    return crossmod.Store(store)


HALF = Family(title="Half CycleGAN", build=build, generators=generators, reference="Nobody et al. 2026")
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of processes that find the package and its entry points."""
    site = tmp_path / "site"
    meta = site / "theirs-1.dist-info"
    meta.mkdir(parents=True)
    (site / "theirs.py").write_text(PACKAGE)
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (meta / "entry_points.txt").write_text(
        "[crossmod.family]\nhalf = theirs:HALF\nbroken = theirs:MISSING\n"
        "[crossmod.importer]\nraw = theirs:prepare_raw\ngone = theirs:GONE\n"
    )
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(site), PYTHONPATH)), "OMP_NUM_THREADS": "1"}


def crossmod_in(environment: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from crossmod.cli import main; main()", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


SMALL = [
    "--preset",
    "tiny",
    "--size",
    "32",
    "--generator-filters",
    "4",
    "--discriminator-filters",
    "4",
    "--folds",
    "3",
    "--epochs",
    "1",
]


def test_a_family_of_another_package_goes_the_whole_way(
    installed: dict[str, str], stores: Stores, tmp_path: Path
) -> None:
    run, made, page = tmp_path / "run", tmp_path / "synthetic", tmp_path / "page.html"
    sides = ("--ct", stores.ct, "--mr", stores.mr, "--same-people", "no")
    done = crossmod_in(installed, "train", run, *sides, "--family", "half", *SMALL)
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "card.json").read_text())["family"] == "half"
    done = crossmod_in(installed, "synthesize", run, "--source", stores.ct, "--out", made, "--same-people", "no")
    assert done.returncode == 0, done.stderr
    done = crossmod_in(installed, "report", run, made, "--out", page)
    assert done.returncode == 0, done.stderr
    assert "Half CycleGAN" in page.read_text(encoding="utf-8")
    done = crossmod_in(installed, "export", run, tmp_path / "bundle", "--licence", "none")
    assert done.returncode == 2
    assert "the family 'half'. Expected: one of cyclegan, essnet, multi_input" in done.stderr
    done = crossmod_in(installed, "train", tmp_path / "x", *sides, "--family", "broken", *SMALL)
    assert done.returncode == 2
    assert "theirs:MISSING, which cannot be imported" in done.stderr


def test_an_importer_of_another_package_is_a_command(installed: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    voxels = made_volume(np.random.default_rng(0), "ct").voxels
    np.save(tmp_path / "scans" / "first.npy", voxels)
    done = crossmod_in(installed, "prepare", "raw", tmp_path / "scans", tmp_path / "store", "--slice-mm", 3)
    assert done.returncode == 0, done.stderr
    store = crossmod.Store(tmp_path / "store")
    assert [case.id for case in store.cases] == ["first"]
    assert np.array_equal(store.read("first").voxels, voxels)
    assert store.read("first").spacing == (3.0, 1.0, 1.0)
    # The one that cannot be imported is named, and the others work.
    assert "theirs:GONE, which cannot be imported" in done.stderr
    shown = crossmod_in(installed, "prepare", "raw", "--help")
    assert (shown.returncode, "Distance of the slices." in shown.stdout) == (0, True)
    done = crossmod_in(installed, "prepare", "raw", tmp_path / "scans", tmp_path / "other", "--slice-mm", "thin")
    assert done.returncode == 2
    assert "--slice-mm: 'thin'. Expected: a valid number" in done.stderr
