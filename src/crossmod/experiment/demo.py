"""The whole way on made-up patients, in a few minutes on two cores: does synthetic MR help where few MR are labelled?

Notable:
- Many CT patients with labels; MR patients without, but for a few; other MR patients to test on.
- The sizes were chosen for the time it takes, not for what comes out: the report says "not shown" where nothing is.
- Every step leaves a folder and is left out when that is there, so that a demo that was stopped goes on.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from crossmod.config import with_changes
from crossmod.data.file_order import natural_key
from crossmod.data.prepare import prepare_chaos
from crossmod.data.store import MANIFEST, Store
from crossmod.phantom.dataset import PhantomSettings, write_phantom
from crossmod.presets import SEGMENT, TRANSLATE
from crossmod.progress import clock
from crossmod.report.build import build_report
from crossmod.segment.train import train_segmenter
from crossmod.settings import Machine, SegmentSettings, TranslateSettings
from crossmod.translate.synthesize import synthesize
from crossmod.translate.train import train_translator

CPU = Machine(device="cpu")
CT_PATIENTS = 16
# MR patients with labels, more without, and those that are tested on.
LABELLED, UNLABELLED, TESTED = 3, 7, 10
SIZE, SLICES = 64, 24
SYNTHETIC = 200
SEEDS = (0, 1, 2)
FAMILIES: tuple[Literal["essnet", "cyclegan"], ...] = ("essnet", "cyclegan")


def run_demo(out: Path, seed: int = 0) -> Path:
    """Phantom, stores, two translators, synthetic slices, segmenters, report.

    Args:
        out: folder for everything.
        seed: of patients and networks.

    Returns:
        The report.
    """
    store, page = out / "store", out / "report.html"
    segmented: list[Path] = []
    steps: list[tuple[str, Callable[[], object]]] = [
        ("Making up patients", lambda: _phantom(out / "phantom", seed)),
        ("Preparing the store", lambda: _prepare(out / "phantom", store)),
    ]
    for family in FAMILIES:
        steps += [
            (f"Training {family}", partial(_train, out / family, store, family, seed)),
            (f"Synthesizing MR with {family}", partial(_synthesize, out / family, store, out / f"{family}-mr")),
        ]
    for arm in ("real", *FAMILIES):
        for number in SEEDS:
            run = out / f"unet-{arm}-{number}"
            synthetic = None if arm == "real" else out / f"{arm}-mr"
            made = out / f"{FAMILIES[0]}-mr"
            segmented.append(run)
            steps.append(
                (f"U-Net: {arm}, seed {number}", partial(_segment, run, store, synthetic, made, seed + number))
            )
    steps.append(("Report", lambda: build_report([*(out / f for f in FAMILIES), *segmented], page)))

    began = time.monotonic()
    for number, (title, work) in enumerate(steps, start=1):
        print(f"[{number}/{len(steps)}] {title} ({clock(time.monotonic() - began)} so far)", flush=True)
        work()
    print(f"Done in {clock(time.monotonic() - began)}.", flush=True)
    return page


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


def _train(out: Path, store: Path, family: Literal["essnet", "cyclegan"], seed: int) -> None:
    train_translator(out, ct=store, mr=store, settings=translate_settings(store, family, seed), machine=CPU)


def _synthesize(run: Path, store: Path, out: Path) -> None:
    if not (out / MANIFEST).is_file():
        synthesize(run, source=store, out=out, machine=CPU)


def _segment(out: Path, store: Path, synthetic: Path | None, made: Path, seed: int) -> None:
    settings = segment_settings(store, SYNTHETIC if synthetic else 0, seed)
    # Real slices alone have the pixels of the synthetic ones that they are compared with.
    scale = Store(made).cases[0].synthetic
    assert scale is not None
    settings = with_changes(settings, frame=scale.frame, pixel_mm=scale.pixel_mm)
    train_segmenter(out, real=store, synthetic=synthetic, settings=settings, machine=CPU)
