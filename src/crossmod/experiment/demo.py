"""The whole way on made-up patients, in a few minutes on two cores: does synthetic MR help where few MR are labelled?

Notable:
- Many CT patients with labels; MR patients without, but for a few; other MR patients to test on.
- The sizes were chosen for the time it takes, not for what comes out: the report says "not shown" where nothing is.
- Every step leaves a folder and is left out when that is there, so that a demo that was stopped goes on.
- Its runs are jobs as those of an experiment: as many at once as there are cores, with one thread each.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from crossmod.config import with_changes
from crossmod.data.importers.chaos import prepare_chaos
from crossmod.data.store import MANIFEST, Store
from crossmod.errors import InputError
from crossmod.experiment.executors.base import Executor, InProcess
from crossmod.experiment.executors.local import LocalExecutor
from crossmod.experiment.executors.options import side_by_side
from crossmod.experiment.folds import scaled
from crossmod.experiment.jobs import Job
from crossmod.experiment.live_table import LiveTable
from crossmod.experiment.run import execute
from crossmod.files import lock, natural_key
from crossmod.phantom.dataset import PhantomSettings, write_phantom
from crossmod.presets import SEGMENT, TRANSLATE
from crossmod.report.build import build_report
from crossmod.runs import Run, is_run
from crossmod.settings import Machine, SegmentSettings, TranslateSettings

CPU = Machine(device="cpu")
CT_PATIENTS = 16
# MR patients with labels, more without, and those that are tested on.
LABELLED, UNLABELLED, TESTED = 3, 7, 10
SIZE, SLICES = 64, 24
SYNTHETIC = 200
SEEDS = (0, 1, 2)
FAMILIES: tuple[Literal["essnet", "cyclegan"], ...] = ("essnet", "cyclegan")


def run_demo(out: Path, seed: int = 0, jobs: int = 0) -> Path:
    """Phantom, stores, two translators, synthetic slices, segmenters, report.

    Args:
        out: folder for everything.
        seed: of patients and networks.
        jobs: runs at once; 0: as many as there are cores and memory for. The results are the same.

    Returns:
        The report.

    Raises:
        InputError: the folder holds a demo of another seed, another demo writes there, or a run failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    with lock(out / ".lock"):
        store, page = out / "store", out / "report.html"
        _say("Making up patients")
        _phantom(out / "phantom", seed)
        _say("Preparing the store")
        _prepare(out / "phantom", store)
        runs = {job.name: job for job in _jobs(store, seed)}
        _refuse_other_settings(runs, out)
        chosen = side_by_side(CPU, (TRANSLATE["tiny"], SEGMENT["tiny"]), jobs)
        _say(chosen.why)
        ledger = execute(runs, out, _executor(out, chosen.jobs), LiveTable(runs, chosen.jobs, chosen.jobs > 1))
        if ledger.failures:
            name, why = next(iter(ledger.failures.items()))
            do = "Give the same command again: what was made is kept."
            raise InputError(out, found=f"{name} failed: {why}", expected="a whole demo", do=do)
        _say("Report")
        for line in build_report([job.folder(out) for job in runs.values() if job.kind != "synthesize"], page):
            _say(line)
        return page


def _say(line: str) -> None:
    print(line, flush=True)


def _executor(out: Path, jobs: int) -> Executor:
    return LocalExecutor(out, CPU, jobs) if jobs > 1 else InProcess(out, CPU)


def _jobs(store: Path, seed: int) -> Iterator[Job]:
    """Translators first, since the rest waits for them; then what makes slices, and segmenters."""
    here = (str(store.resolve()),)
    opened = Store(store)
    # One field of view for all runs, so that arms see the same pixels.
    settled = scaled(
        {family: translate_settings(store, family, seed) for family in FAMILIES},
        {"unet": segment_settings(store, 0, seed)},
        {"ct": opened, "mr": opened},
        "mr",
    )
    pixels = {"frame": settled.segmenters["unet"].frame, "pixel_mm": settled.segmenters["unet"].pixel_mm}
    for family in FAMILIES:
        chosen = settled.translators[family]
        stores = {"ct": here, "mr": here}
        yield Job(family, "train", family, chosen.model_dump(mode="json"), stores, {}, work=chosen.epochs)
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
    """Runs are named by what they do, not by their settings: those of another seed must not be taken for these."""
    for job in runs.values():
        folder = job.folder(out)
        if is_run(folder) and (then := Run(folder).config["settings"]["seed"]) != job.settings["seed"]:
            found, expected = (
                f"a demo with --seed {then}",
                f"a new folder, or the one with --seed {job.settings['seed']}",
            )
            raise InputError(out, found=found, expected=expected, do="Choose another --out.")


def _phantom(out: Path, seed: int) -> None:
    if not out.exists():
        people = LABELLED + UNLABELLED + TESTED
        write_phantom(
            out, PhantomSettings(ct_patients=CT_PATIENTS, mr_patients=people, size=SIZE, slices=SLICES, seed=seed)
        )


def _prepare(source: Path, store: Path) -> None:
    if not (store / MANIFEST).is_file():
        prepare_chaos(source, store, sequences=("ct", "t2_spir"))


def _patients(store: Path) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """MR patients: with labels, without, tested."""
    known = sorted({case.patient for case in Store(store).select("mr")}, key=lambda name: natural_key(Path(name)))
    return tuple(known[:LABELLED]), tuple(known[LABELLED:-TESTED]), tuple(known[-TESTED:])


def translate_settings(store: Path, family: Literal["essnet", "cyclegan"], seed: int) -> TranslateSettings:
    """What the demo trains a translator with."""
    _, _, tested = _patients(store)
    return with_changes(TRANSLATE["tiny"], family=family, size=SIZE, seed=seed, test_patients=tested)


def segment_settings(store: Path, count: int, seed: int) -> SegmentSettings:
    """What the demo trains a segmenter with."""
    labelled, _, tested = _patients(store)
    return with_changes(
        SEGMENT["tiny"], size=SIZE, seed=seed, count=count, test_patients=tested, train_patients=labelled
    )
