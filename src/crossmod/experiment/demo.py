"""The workflow on made-up patients, in a few minutes on two cores: does synthetic MR help if few MR are labelled?

Notable:
- Many CT patients with labels; few MR patients with labels and more without; other MR patients to test on.
- The sizes were chosen for the duration, not for the result: the report says "not shown" if nothing is. EssNet is
  trained for half of the epochs of the preset.
- Unchanged CT slices are a control: a network must help more than these.
- Every step writes a folder and is skipped if that exists, so that a stopped demo resumes.
- Its runs are jobs as in an experiment, one per core at once, with one thread each.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from crossmod.config import with_changes
from crossmod.data.store import Store
from crossmod.errors import InputError
from crossmod.experiment.executors.base import InProcess
from crossmod.experiment.executors.local import LocalExecutor
from crossmod.experiment.executors.options import side_by_side
from crossmod.experiment.folds import scaled
from crossmod.experiment.jobs import Job
from crossmod.experiment.live_table import LiveTable
from crossmod.experiment.run import execute, prepare_phantom
from crossmod.files import lock, natural_key
from crossmod.phantom.dataset import PhantomSettings
from crossmod.presets import SEGMENT, TRANSLATE
from crossmod.progress import say
from crossmod.report.build import build_report
from crossmod.runs import Run, is_run
from crossmod.settings import Machine, SegmentSettings, TranslateSettings

CPU = Machine(device="cpu")
# Of a control, what the network has too.
ABOUT_DATA = {"size", "seed", "test_patients", "ct_slices", "mr_slices"}
CT_PATIENTS = 16
# MR patients with labels, without labels, and for testing.
LABELLED, UNLABELLED, TESTED = 3, 7, 10
SIZE, SLICES = 64, 24
SYNTHETIC = 200
SEEDS = (0, 1, 2)
EPOCHS = 5
Name = Literal["essnet", "source"]
FAMILIES: tuple[Name, ...] = ("essnet", "source")


def run_demo(out: Path, seed: int = 0, jobs: int = 0) -> Path:
    """Phantom, store, translator and control, synthetic slices, segmenters, report; the number of `jobs` changes no
    result."""
    out.mkdir(parents=True, exist_ok=True)
    with lock(out / ".lock"):
        say("Making up patients, and preparing their store")
        people = LABELLED + UNLABELLED + TESTED
        store = prepare_phantom(
            out, PhantomSettings(ct_patients=CT_PATIENTS, mr_patients=people, size=SIZE, slices=SLICES, seed=seed)
        )
        runs = {job.name: job for job in _jobs(store, seed)}
        _refuse_other_settings(runs, out)
        chosen = side_by_side(CPU, (TRANSLATE["tiny"], SEGMENT["tiny"]), jobs)
        say(chosen.why)
        executor = LocalExecutor(out, CPU, chosen.jobs) if chosen.jobs > 1 else InProcess(out, CPU)
        scheduler = execute(runs, out, executor, LiveTable(runs, chosen.jobs, chosen.jobs > 1))
        if scheduler.failures:
            name, why = next(iter(scheduler.failures.items()))
            do = "Rerun the command: finished runs are kept."
            raise InputError(out, found=f"{name} failed: {why}", expected="a complete demo", do=do)
        say("Report")
        page = out / "report.html"
        for line in build_report([job.folder(out) for job in runs.values() if job.kind != "synthesize"], page):
            say(line)
        return page


def _jobs(store: Path, seed: int) -> Iterator[Job]:
    """Translators first, since the others need them; then synthetic slices, and segmenters."""
    here = (str(store.resolve()),)
    opened = Store(store)
    # The same pixel size for all runs.
    translators, segmenters = scaled(
        {family: translate_settings(store, family, seed) for family in FAMILIES},
        {"unet": segment_settings(store, 0, seed)},
        {"ct": opened, "mr": opened},
        "mr",
    )
    pixels = {"frame": segmenters["unet"].frame, "pixel_mm": segmenters["unet"].pixel_mm}
    for family in FAMILIES:
        own = translators[family]
        stores = {"ct": here, "mr": here}
        work = 0 if family == "source" else own.epochs
        yield Job(family, "train", family, own.model_dump(mode="json"), stores, {}, work=work)
    for family in FAMILIES:
        yield Job(f"{family}-mr", "synthesize", f"MR by {family}", {}, {"source": here}, {"model": family})
    for arm in ("real", *FAMILIES):
        needs = {} if arm == "real" else {"synthetic": f"{arm}-mr"}
        for number in SEEDS:
            own = with_changes(segment_settings(store, SYNTHETIC if needs else 0, seed + number), **pixels)
            title = f"U-Net, {arm}, seed {number}"
            plain = own.model_dump(mode="json")
            yield Job(f"unet-{arm}-{number}", "segment", title, plain, {"real": here}, needs, work=own.steps)


def _refuse_other_settings(runs: dict[str, Job], out: Path) -> None:
    """The names of runs do not depend on the seed, so that runs of another one must not be reused."""
    for job in runs.values():
        folder = job.folder(out)
        if is_run(folder) and (then := Run(folder).config["settings"]["seed"]) != job.settings["seed"]:
            expected = f"a new folder, or the one with --seed {job.settings['seed']}"
            raise InputError(out, found=f"a demo with --seed {then}", expected=expected, do="Choose another --out.")


def _patients(store: Path) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """MR patients with labels, without labels, and for testing."""
    known = sorted({case.patient for case in Store(store).select("mr")}, key=lambda name: natural_key(Path(name)))
    return tuple(known[:LABELLED]), tuple(known[LABELLED:-TESTED]), tuple(known[-TESTED:])


def translate_settings(store: Path, family: Name, seed: int) -> TranslateSettings:
    """The settings of a translator, or of the control with the same slices."""
    _, _, tested = _patients(store)
    of_network = with_changes(TRANSLATE["tiny"], size=SIZE, seed=seed, test_patients=tested)
    if family == "source":
        return with_changes(TRANSLATE["source"], **of_network.model_dump(include=ABOUT_DATA))
    return with_changes(of_network, family=family, epochs=EPOCHS)


def segment_settings(store: Path, count: int, seed: int) -> SegmentSettings:
    """The settings of a segmenter."""
    labelled, _, tested = _patients(store)
    return with_changes(
        SEGMENT["tiny"], size=SIZE, seed=seed, count=count, test_patients=tested, train_patients=labelled
    )
