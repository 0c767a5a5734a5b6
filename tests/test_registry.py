"""Members of each kind that are added from outside: by `crossmod.register`, and by the entry points of a package."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

import crossmod
from crossmod import registry
from crossmod.data.augment import Augmentation
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.evaluation.ranking import compare_evaluations, load_models
from crossmod.evaluation.result import Verdict
from crossmod.inference.bundle.load import load_networks
from crossmod.metrics.distribution import METRICS as IMAGE_METRICS
from crossmod.metrics.distribution import Metric as ImageMetric
from crossmod.presets import SEGMENT, with_asked
from crossmod.report.added_sections import ReportSection, added_sections
from crossmod.report.build import build_report
from crossmod.report.collect import FAMILY
from crossmod.segmentation.model import build as build_segmenter
from crossmod.settings import Machine, SegmentSettings, TranslateSettings
from crossmod.statistics.verdicts import Metric
from crossmod.synthesis.families import Family, family_of
from crossmod.synthesis.losses import discriminator_adversarial
from crossmod.synthesis.train import train_translator
from tests.support.paths import PYTHONPATH
from tests.support.stores import Stores, made_volume


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {kind: {} for kind in registry._BUILT_IN})


TYPES: dict[registry.Kind, type] = {
    "family": Family, "image_metric": ImageMetric, "segmentation_metric": Metric, "augmentation": Augmentation,
}  # fmt: skip


@pytest.mark.parametrize("kind", registry._BUILT_IN)
def test_every_built_in_member_is_where_the_table_says(kind: registry.Kind) -> None:
    for name in registry.built_in(kind):
        assert isinstance(registry.member(kind, name), TYPES.get(kind, Callable))
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


def test_members_that_are_registered_later_are_seen() -> None:
    before = [*IMAGE_METRICS]
    assert ("late" in IMAGE_METRICS, IMAGE_METRICS.get("late")) == (False, None)
    metric = ImageMetric("late", lambda draw: 0.0)
    crossmod.register("image_metric", "late", metric)
    assert [*IMAGE_METRICS] == [*before, "late"]
    assert (IMAGE_METRICS["late"], len(IMAGE_METRICS)) == (metric, len(before) + 1)


def test_one_augmentation_at_a_time() -> None:
    crossmod.register(
        "augmentation", "gain", Augmentation(lambda rng, count: {}, lambda images, masks: (images, masks))
    )
    with pytest.raises(ValidationError, match="one augmentation, got --strong-augment and --augmentation"):
        SegmentSettings(augmentation="gain", strong_augment=True)
    chosen = with_asked(SEGMENT["modern"], {"augmentation": "gain"})
    assert (chosen.augmentation, chosen.strong_augment) == ("gain", False)
    # Records of runs without one are those of versions that did not know the setting.
    assert "augmentation" not in SegmentSettings().model_dump()


def test_what_cannot_be_registered_or_found() -> None:
    with pytest.raises(InputError, match=r"the kind 'sound'\. Expected: one of family"):
        crossmod.register("sound", "x", object())
    with pytest.raises(InputError, match="'essnet', which is built in"):
        crossmod.register("family", "essnet", object())
    with pytest.raises(InputError, match=r"family: 'pix2pix'\. Expected: one of cyclegan, essnet, guided, multi_input"):
        family_of("pix2pix")


def test_a_registered_segmenter_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from crossmod.networks.unet import make_network

    crossmod.register("segmenter", "one_layer", lambda size: nn.Conv2d(1, 1, 1))
    settings = SegmentSettings(network="one_layer")
    assert isinstance(make_network(settings.network, settings.size), nn.Conv2d)


def test_a_registered_network_and_loss_of_several_organs_take_outputs(tmp_path: Path) -> None:
    """Without the parameter they are for one organ, as before."""
    crossmod.register("segmenter", "one_layer", lambda size: nn.Conv2d(1, 1, 1))
    crossmod.register("segmenter", "layers", lambda size, outputs=1: nn.Conv2d(1, outputs, 1))
    crossmod.register("segmentation_loss", "one", lambda logits, truth: {"one": (logits - truth).mean()})
    seen: list[tuple[tuple[int, ...], torch.dtype, int]] = []

    def several(logits: torch.Tensor, truth: torch.Tensor, outputs: int = 1) -> dict[str, torch.Tensor]:
        assert logits.shape == ((2, outputs, 16, 16) if outputs > 1 else (2, 16, 16))
        seen.append((tuple(truth.shape), truth.dtype, outputs))
        return {"several": logits.sum() * 0}

    crossmod.register("segmentation_loss", "several", several)
    organs = ("liver", "spleen")
    assert SegmentSettings(network="one_layer", loss="one").outputs == 1
    for change, kind in (({"network": "one_layer"}, "segmenter one_layer"), ({"loss": "one"}, "segmentation_loss one")):
        with pytest.raises(ValidationError, match=f"one organ for the {kind}, whose function has no parameter"):
            SegmentSettings.model_validate({"organs": organs, **change})
    for chosen in (("liver",), organs):
        settings = SegmentSettings(network="layers", loss="several", organs=chosen, size=16)
        mask = torch.zeros(2, 16, 16, dtype=torch.long)
        build_segmenter(settings, torch.device("cpu")).step({"image": torch.zeros(2, 1, 16, 16), "mask": mask})
    assert seen == [((2, 16, 16), torch.float32, 1), ((2, 16, 16), torch.int64, 3)]


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


# A package of somebody else, with a member of each kind.
PACKAGE = """
import math
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import crossmod
from crossmod.data.augment import Augmentation
from crossmod.data.store_writer import writing_store
from crossmod.html.format import Table
from crossmod.metrics import distribution
from crossmod.networks.blocks import ResNet
from crossmod.report.added_sections import ReportSection
from crossmod.statistics import verdicts
from crossmod.synthesis import cyclegan
from crossmod.synthesis.families import Family


# A CycleGAN whose generators are narrower by half.
def generators(settings):
    return {name: ResNet(1, settings.generator_filters // 2, 1) for name in ("G1", "G2")}


def build(settings, device):
    networks = {**cyclegan.build(settings, device).networks, **generators(settings)}
    return cyclegan.build(settings, device, networks=networks)


HALF = Family(title="Half CycleGAN", build=build, generators=generators, reference="Nobody et al. 2026")


USED = set()


def hinge(logits, target):
    USED.add("hinge")
    return torch.relu(1 - (2 * target - 1) * logits).mean()


def squares(logits, truth):
    return {"squares": ((torch.sigmoid(logits) - truth) ** 2).mean()}


def gain(rng, count):
    return {"factor": rng.uniform(0.8, 1.2, count).astype(np.float32)}


def brighter(images, masks, factor):
    USED.add("gain")
    return (images * factor[:, None, None, None]).clamp(-1, 1), masks


GAIN = Augmentation(gain, brighter)


def one_layer(size):
    return torch.nn.Conv2d(1, 1, 3, padding=1)


def mean_gray(draw):
    centres = np.linspace(-1, 1, 256)
    first, second = draw.grey
    return abs(first @ centres - second @ centres)


GRAY = distribution.Metric("gray difference", mean_gray)


def volumes(answer, truth, voxel_mm):
    return abs(int(answer.sum()) - int(truth.sum())) * math.prod(voxel_mm) / 1000


VOLUME = verdicts.Metric("volume error", "ml", 2, higher_is_better=False, of=volumes)


def content(paths):
    figure = Figure()
    figure.subplots().plot([0, 1])
    return [f"There are {len(paths)} paths.", Table(("Path",), [[path.name] for path in paths]), figure]


SECTION = ReportSection("Notes of the hospital", content)
EMPTY = ReportSection("Nothing to tell", lambda paths: [])


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


def in_process(root, machine, options):
    from crossmod.experiment.executors.base import InProcess

    (root.parent / "by_them").touch()
    return InProcess(root, machine)
"""
ENTRY_POINTS = {
    "family": "half = theirs:HALF\nbroken = theirs:MISSING",
    "adversarial_loss": "hinge = theirs:hinge",
    "segmentation_loss": "squares = theirs:squares",
    "augmentation": "gain = theirs:GAIN",
    "segmenter": "one_layer = theirs:one_layer",
    "image_metric": "gray = theirs:GRAY",
    "segmentation_metric": "volume = theirs:VOLUME",
    "report_section": "notes = theirs:SECTION\nempty = theirs:EMPTY",
    "executor": "theirs = theirs:in_process",
    "importer": "raw = theirs:prepare_raw\ngone = theirs:GONE",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of processes that find the package and its entry points."""
    site = tmp_path_factory.mktemp("site")
    meta = site / "theirs-1.dist-info"
    meta.mkdir(parents=True)
    (site / "theirs.py").write_text(PACKAGE)
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    groups = [f"[crossmod.{kind}]\n{points}\n" for kind, points in ENTRY_POINTS.items()]
    (meta / "entry_points.txt").write_text("\n".join(groups))
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(site), PYTHONPATH)), "OMP_NUM_THREADS": "1"}


def crossmod_in(environment: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from crossmod.cli import main; main()", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


# All commands in one process, since each would import torch again.
WHOLE_WAY = """
import sys
from pathlib import Path

import crossmod

ct, mr, root = map(Path, sys.argv[1:])
small = dict(preset="tiny", size=32, folds=3, epochs=1)
networks = dict(generator_filters=4, discriminator_filters=4)
run = crossmod.train(root / "run", ct=ct, mr=mr, family="half", adversarial="hinge", **networks, **small)
made = crossmod.synthesize(run.path, source=ct, out=root / "made")
images = crossmod.evaluate_images(mr, made.path, out=root / "images", source=ct, draws=10)
own = dict(network="one_layer", loss="squares", augmentation="gain", modality="mr", **small)
plain = crossmod.segment(root / "plain", real=mr, **own)
helped = crossmod.segment(root / "helped", real=mr, synthetic=made.path, count=4, **own)
crossmod.build_report([run.path, made.path, images.path, plain.path, helped.path], out=root / "page.html")
crossmod.export_bundle([run.path], root / "bundle", licence="none")
case = crossmod.Store(ct).cases[0].id
volume = crossmod.Store(ct).read(case)
import theirs

assert theirs.USED == {"hinge", "gain"}
of_bundle, of_run = (crossmod.load_model(path).translate(volume) for path in (root / "bundle", run.path))
assert (of_bundle.image.voxels == of_run.image.voxels).all()
"""


@pytest.fixture(scope="module")
def whole_way(installed: dict[str, str], stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the members of the package did, from training to the report; nothing may be written into it."""
    out = tmp_path_factory.mktemp("whole") / "done"
    words = sys.executable, "-c", WHOLE_WAY, stores.ct, stores.mr, out
    done = subprocess.run(words, env=installed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_members_of_another_package_go_the_whole_way(whole_way: Path) -> None:
    cards = {path.parent.name: json.loads(path.read_text()) for path in whole_way.glob("*/card.json")}
    assert (cards["run"]["family"], cards["run"]["settings"]["adversarial"]) == ("half", "hinge")
    settings = cards["helped"]["settings"]
    assert [settings[name] for name in ("network", "loss", "augmentation")] == ["one_layer", "squares", "gain"]
    assert cards["helped"]["parameters"] == 10
    assert '"squares"' in (whole_way / "helped" / "metrics.jsonl").read_text()
    volumes = cards["helped"]["scores"]["patient_values"]["volume"]
    assert set(volumes) == set(cards["helped"]["data"]["test_patients"])
    assert all(value is not None and value >= 0 for value in volumes.values())
    (model,) = cards["images"]["models"].values()
    assert 0 <= model["scores"]["average"]["gray"][0] <= 2
    assert model["verdicts"]["gray"] in get_args(Verdict)
    page = (whole_way / "page.html").read_text(encoding="utf-8")
    for words in ("Half CycleGAN", "gray difference", "volume error", "<h2>Notes of the hospital</h2>", "5 paths."):
        assert words in page
    assert "Nothing to tell" not in page
    assert "Nobody et al. 2026" in (whole_way / "bundle" / "README.md").read_text(encoding="utf-8")


def test_without_the_package_its_results_are_read_and_what_is_missing_is_named(whole_way: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    build_report([whole_way / "images", whole_way / "plain"], page)
    text = page.read_text(encoding="utf-8")
    assert "Not shown: gray, since no installed package measures it." in text
    assert "volume error" not in text
    with pytest.raises(InputError, match=r"family: 'half'\. Expected: one of cyclegan, essnet, guided, multi_input"):
        load_networks(whole_way / "bundle")
    # A bundle cannot choose how the networks of built-in families are made.
    changed = shutil.copytree(whole_way / "bundle", tmp_path / "changed")
    content = (changed / "bundle.json").read_text().replace('"family": "half"', '"family": "essnet"')
    (changed / "bundle.json").write_text(content)
    with pytest.raises(InputError, match="networks of a package for the family essnet"):
        load_networks(changed)


def test_results_with_and_without_an_added_metric_are_ranked_by_what_both_have(whole_way: Path) -> None:
    """Columns of draws are found by the names in their own result."""
    (whole,) = load_models([whole_way / "images"])
    assert "gray" not in whole.metrics
    assert whole.draws is not None
    assert whole.draws.shape == (11, len(whole.metrics))
    crossmod.register("image_metric", "gray", ImageMetric("gray difference", lambda draw: 0.0))
    (known,) = load_models([whole_way / "images"])
    assert known.metrics == (*whole.metrics, "gray")


def test_a_ranking_names_the_metrics_that_it_leaves_out(whole_way: Path, tmp_path: Path) -> None:
    shutil.copytree(whole_way / "images", tmp_path / "again")
    ranking = compare_evaluations([whole_way / "images", tmp_path / "again"])
    assert any(line.startswith("Left out of the ranking: gray.") for line in ranking.warnings)


def test_two_sections_of_one_title_are_both_shown() -> None:
    for name in ("first", "second"):
        crossmod.register("report_section", name, ReportSection("Notes", lambda paths, name=name: [name]))
    assert [section["parts"] for section in added_sections([])] == [[{"paragraph": "first"}], [{"paragraph": "second"}]]


def test_a_bundle_whose_settings_its_family_cannot_have_is_refused(whole_way: Path, tmp_path: Path) -> None:
    crossmod.register("family", "half", family_of("cyclegan"))
    changed = shutil.copytree(whole_way / "bundle", tmp_path / "changed")
    content = json.loads((changed / "bundle.json").read_text())
    content["networks"][0]["organs"], content["networks"][0]["architecture"]["classes"] = ["liver", "liver"], 3
    (changed / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(InputError):
        load_networks(changed)


def test_what_cannot_be_imported_is_named(installed: dict[str, str], stores: Stores, tmp_path: Path) -> None:
    sides = ("--ct", stores.ct, "--mr", stores.mr, "--same-people", "no")
    done = crossmod_in(installed, "train", tmp_path / "x", *sides, "--family", "broken", "--preset", "tiny")
    assert done.returncode == 2
    assert "theirs:MISSING, which cannot be imported" in done.stderr


DESIGN = """
translators:
  half:
    preset: tiny
    settings: {family: half, epochs: 1, size: 32, generator_filters: 4, discriminator_filters: 4}
segmenters:
  unet:
    preset: tiny
    settings: {steps: 20, size: 32}
counts: [0, 4]
folds: 2
seeds: [0]
phantom: {ct_patients: 3, mr_patients: 4}
"""


@pytest.mark.slow
def test_an_experiment_compares_arms_by_an_added_metric(installed: dict[str, str], tmp_path: Path) -> None:
    design = tmp_path / "design.yaml"
    design.write_text(DESIGN)
    done = crossmod_in(installed, "experiment", design, "--out", tmp_path / "out", "--executor", "theirs")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "by_them").exists()
    findings = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert all("volume" in arm["effects"] for arm in findings["arms"])
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "volume error" in page
    assert "There are 1 paths." in page


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
