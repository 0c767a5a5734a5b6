"""Training a translator: stores in, a finished run folder out."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from crossmod.config import Modality
from crossmod.data.batches import UnpairedBatches
from crossmod.data.slices import SliceSet, draw_evenly, load_slices
from crossmod.data.splits import split_patients, split_slices
from crossmod.data.store import CaseRecord, Store
from crossmod.engine.checkpoint import weights_hash
from crossmod.engine.device import pick_device
from crossmod.engine.loop import Plan, fit
from crossmod.engine.samples import write_panel
from crossmod.engine.trainee import Trainee, parameters
from crossmod.errors import InputError
from crossmod.runs import Run, start_run
from crossmod.seeds import derive
from crossmod.settings import TranslateSettings
from crossmod.translate import cyclegan, essnet

log = logging.getLogger(__name__)

KIND = "train"
Cases = dict[Modality, tuple[CaseRecord, ...]]
SAMPLES = 4

FAMILIES: Mapping[str, Callable[[TranslateSettings, torch.device], Trainee]] = {
    "cyclegan": cyclegan.build,
    "essnet": essnet.build,
}


def train_translator(out: Path, *, ct: Path, mr: Path, settings: TranslateSettings, device: str = "auto") -> Run:
    """Train a translator between CT and MR; an unfinished run is continued, a finished one left alone.

    The target side is divided by `settings`' split; what is held out there is not trained on here, on either side.

    Args:
        out: the run folder.
        ct: store with CT cases.
        mr: store with MR cases.
        settings: all that decides the result.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        InputError: a store without the cases that are wanted, or `out` is something else.
    """
    where = pick_device(device)
    stores: dict[Modality, Store] = {"ct": Store(ct), "mr": Store(mr)}
    cases: Cases = {side: _cases(stores[side], side, settings) for side in stores}
    held_out = _held_out(cases, settings)
    cases = {side: tuple(case for case in cases[side] if case.patient not in held_out) for side in cases}
    inputs = {side: {case.id: case.sha256 for case in cases[side]} for side in cases}
    run = start_run(out, KIND, settings.model_dump(mode="json"), inputs)
    if run.finished:
        log.info("%s is finished already.", out)
        return run

    slices = {side: _slices(stores[side], cases[side], settings) for side in stores}
    trainee = FAMILIES[settings.family](settings, where)
    batches = UnpairedBatches(slices["ct"], slices["mr"], settings, where)
    plan = Plan(f"Training {settings.family}", settings.epochs, settings.seed, decay=settings.decay)

    def picture(epoch: int) -> None:
        if (epoch + 1) % settings.sample_every == 0 or epoch + 1 == settings.epochs:
            _picture(run.path / "samples" / f"epoch-{epoch + 1:04d}.png", trainee, slices[settings.source], settings)

    seconds = fit(trainee, batches, run, plan, picture)
    counts = {name: parameters(network) for name, network in trainee.networks.items()}
    run.finish(
        {
            "family": settings.family,
            "settings": settings.model_dump(mode="json"),
            "weights_sha256": weights_hash(trainee.networks),
            "parameters": counts,
            "data": {side: _data_card(stores[side], out, cases[side], slices[side]) for side in stores},
            "held_out": sorted(held_out),
            "leaking": settings.split == "slice",
            "steps": batches.steps * settings.epochs,
            "seconds": round(seconds, 1),
            "seconds_per_epoch": round(seconds / settings.epochs, 2),
            "device": str(where),
        }
    )
    return run


def _cases(store: Store, side: Modality, settings: TranslateSettings) -> tuple[CaseRecord, ...]:
    organ = settings.organs[0] if side == settings.source else None
    return store.select(side, sequence=settings.sequence if side == "mr" else None, organ=organ)


def _held_out(cases: Cases, settings: TranslateSettings) -> set[str]:
    if settings.split == "slice":
        return set()
    target: Modality = "mr" if settings.source == "ct" else "ct"
    split = split_patients([case.patient for case in cases[target]], settings)
    unused = {case.patient for case in cases[target]} - set(split.train)
    return unused | set(split.test)


def _slices(store: Store, cases: Sequence[CaseRecord], settings: TranslateSettings) -> SliceSet:
    side = cases[0].modality if cases else None
    if side is None:
        found = "no case left once the held-out patients are taken away"
        raise InputError(store.path, found=found, wanted="some to train on", do="Hold out fewer patients.")
    labelled = all(organ in case.labels.values() for case in cases for organ in settings.organs)
    if side == settings.source and not labelled:
        found = f"cases without labels of {' or '.join(settings.organs)}"
        raise InputError(store.path, found=found, wanted="labels on every case", do="Name other --organs.")
    slices = load_slices(store, cases, settings, size=settings.loaded, labelled=labelled)
    chosen = slices.showing_organ() if settings.slices == "organ" else list(range(len(slices)))
    if settings.split == "slice" and side != settings.source:
        train, _ = split_slices(slices, settings)
        chosen = [index for index in chosen if index in set(train)]
    if not chosen:
        found = f"no slice that shows {settings.organs}"
        raise InputError(store.path, found=found, wanted="some to train on", do="Use --slices all.")
    limit = settings.ct_slices if side == "ct" else settings.mr_slices
    count = min(limit, len(chosen))
    log.info("%s: %d of %d slices of %d patients", side, count or len(chosen), len(slices), len(slices.patients))
    return slices.take(draw_evenly(slices, chosen, count, derive(settings.seed, side)))


def _data_card(store: Store, out: Path, cases: Sequence[CaseRecord], slices: SliceSet) -> dict[str, Any]:
    steps = slices.intensities.values()
    return {
        "store": os.path.relpath(store.path, out),
        "sequence": cases[0].sequence,
        "patients": list(slices.patients),
        "slices": len(slices),
        "labelled": slices.masks is not None,
        # What output is brought back to: the window of CT, the middle volume of MR.
        "low": median(step.low for step in steps),
        "high": median(step.high for step in steps),
    }


@torch.no_grad()
def _picture(path: Path, trainee: Trainee, slices: SliceSet, settings: TranslateSettings) -> None:
    """Source, synthetic, and source again after the cycle, for a few slices spread over the set."""
    forth, back = ("G1", "G2") if settings.source == "ct" else ("G2", "G1")
    device = next(trainee.networks[forth].parameters()).device
    margin = (slices.images.shape[-1] - settings.size) // 2
    middle = slice(margin, margin + settings.size)
    rows = []
    for index in np.linspace(0, len(slices) - 1, min(SAMPLES, len(slices))).astype(int):
        source = torch.from_numpy(slices.images[index, middle, middle])[None, None].to(device)
        fake = trainee.networks[forth](source)
        again = trainee.networks[back](fake)
        rows.append([image[0, 0].cpu().numpy() for image in (source, fake, again)])
    write_panel(path, rows)
