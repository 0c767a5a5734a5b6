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
from crossmod.data.splits import split_in_words, split_patients, split_slices
from crossmod.data.store import CaseRecord, Store
from crossmod.engine.checkpoint import weights_hash
from crossmod.engine.device import describe_device, pick_device
from crossmod.engine.loop import Plan, fit
from crossmod.engine.samples import write_panel
from crossmod.engine.trainee import Trainee, parameters
from crossmod.errors import InputError
from crossmod.runs import Run, is_run, start_run
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
    patients: dict[Modality, list[str]] = {side: [case.patient for case in cases[side]] for side in cases}
    held_out = _held_out(patients, settings)
    cases = {side: tuple(case for case in cases[side] if case.patient not in held_out) for side in cases}
    inputs = {side: {case.id: case.sha256 for case in cases[side]} for side in cases}
    plain = settings.model_dump(mode="json")
    if is_run(out) and start_run(out, KIND, plain, inputs).finished:
        log.info("%s is finished already.", out)
        return Run(out)
    # Everything that can be refused is refused before the run folder is made.
    slices = {side: _slices(stores[side], cases[side], patients[side], settings) for side in stores}
    run = start_run(out, KIND, plain, inputs)
    trainee = FAMILIES[settings.family](settings, where)
    batches = UnpairedBatches(slices["ct"], slices["mr"], settings, where)
    plan = Plan(f"Training {settings.family}", settings.epochs, settings.seed, decay=settings.decay)

    def picture(epoch: int) -> None:
        if (epoch + 1) % settings.sample_every == 0 or epoch + 1 == settings.epochs:
            _picture(run.path / "samples" / f"epoch-{epoch + 1:04d}.png", trainee, slices[settings.source], settings)

    done = fit(trainee, batches, run, plan, picture)
    counts = {name: parameters(network) for name, network in trainee.networks.items()}
    run.finish(
        {
            "family": settings.family,
            "settings": settings.model_dump(mode="json"),
            "weights_sha256": weights_hash({name: net.state_dict() for name, net in trainee.networks.items()}),
            "parameters": counts,
            "data": {side: _data_card(stores[side], out, cases[side], slices[side]) for side in stores},
            "held_out": sorted(held_out),
            "split": split_in_words(settings),
            "leaking": settings.split == "slice",
            "steps": done.steps,
            "seconds": round(done.seconds, 1),
            "seconds_per_epoch": round(done.seconds / settings.epochs, 2),
            "device": describe_device(where),
        }
    )
    return run


def _cases(store: Store, side: Modality, settings: TranslateSettings) -> tuple[CaseRecord, ...]:
    # Only a segmentor needs labels; CycleGAN takes what there is.
    organ = settings.organs[0] if side == settings.source and settings.family == "essnet" else None
    return store.select(side, sequence=settings.sequence if side == "mr" else None, organ=organ)


def _held_out(patients: Mapping[Modality, list[str]], settings: TranslateSettings) -> set[str]:
    if settings.split == "slice":
        return set()
    target: Modality = "mr" if settings.source == "ct" else "ct"
    split = split_patients(patients[target], settings)
    return (set(patients[target]) - set(split.train)) | set(split.test)


def _slices(
    store: Store, cases: Sequence[CaseRecord], patients: Sequence[str], settings: TranslateSettings
) -> SliceSet:
    if not cases:
        found = "no case left once the held-out patients are taken away"
        raise InputError(store.path, found=found, wanted="some to train on", do="Hold out fewer patients.")
    side = cases[0].modality
    slices = load_slices(
        store,
        cases,
        settings,
        size=settings.loaded,
        labelled=side == settings.source and settings.family == "essnet",
        only_showing=settings.slices == "organ",
    )
    chosen = list(range(len(slices)))
    if settings.split == "slice" and side != settings.source:
        chosen, _ = split_slices(slices, settings, patients)
    limit = settings.ct_slices if side == "ct" else settings.mr_slices
    count = min(limit, len(chosen)) or len(chosen)
    log.info("%s: training on %d of %d slices of %d patients", side, count, len(slices), len(slices.patients))
    return slices.take(draw_evenly(slices, chosen, count, derive(settings.seed, side)))


def _data_card(store: Store, out: Path, cases: Sequence[CaseRecord], slices: SliceSet) -> dict[str, Any]:
    steps = slices.intensities.values()
    return {
        "store": os.path.relpath(store.path, out),
        "sequence": cases[0].sequence,
        "patients": list(slices.patients),
        "cases": sorted(case.sha256 for case in cases),
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
