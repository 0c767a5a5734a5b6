"""Synthesis: every labelled source slice becomes a labelled synthetic slice of the other modality."""

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from crossmod.data.intensity import Intensity, intensity_of
from crossmod.data.resample import to_size
from crossmod.data.slices import class_map, spread
from crossmod.data.store import CaseRecord, SliceOrigin, Store, Synthetic
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume, take_slices
from crossmod.errors import InputError
from crossmod.evaluate.alignment import shift_between
from crossmod.evaluate.overlap import dice
from crossmod.progress import track
from crossmod.settings import Machine
from crossmod.translate.model import Epoch, Translator, load_translator

log = logging.getLogger(__name__)

# Of a case, evenly spread. On all slices it took longer than translating them on a GPU.
SHIFTS_MEASURED = 16


@dataclass(frozen=True)
class Synthesized:
    """What synthesis made.

    Args:
        store: where the cases are.
        slices: how many slices were kept.
        left_out: how many fell short of the wanted consistency.
    """

    store: Store
    slices: int
    left_out: int


def synthesize(
    run: Path,
    *,
    source: Path,
    out: Path,
    slices: Literal["organ", "all"] = "organ",
    min_consistency: float = 0.0,
    epoch: Epoch = "auto",
    machine: Machine | None = None,
) -> Synthesized:
    """Translate the labelled cases of a store.

    Args:
        run: a finished training run.
        source: store with labelled cases of the model's source modality.
        out: the new store.
        slices: those that show the organ, or all.
        min_consistency: keep only slices whose label consistency is at least this.
        epoch: `best` or `last`; `auto`: the best where the run scored its epochs, otherwise the last.
        machine: where to compute.

    Raises:
        InputError: a store of the wrong modality, a model without a segmentor and a wanted consistency, nothing left.
    """
    if not 0 <= min_consistency <= 1:
        found = f"{min_consistency}"
        raise InputError("--min-consistency", found=found, wanted="a Dice from 0 to 1", do="Change it.")
    model = load_translator(run, epoch=epoch, machine=machine)
    if min_consistency > 0 and model.segmentor is None:
        found = f"a {model.settings.family} model, which has no segmentor to score slices with"
        raise InputError(run, found=found, wanted="an essnet model", do="Leave --min-consistency out.")
    store = Store(source)
    organ = model.settings.organs[0]
    sequence = model.card["data"][model.settings.source]["sequence"]
    cases = store.select(
        model.settings.source, sequence=sequence if model.settings.source == "mr" else None, organ=organ
    )
    # Where one person has both scans, the one whose target side is tested on makes no training slices either.
    held_out = set(model.card["held_out"])
    tested = [case.id for case in cases if case.patient in held_out]
    if tested:
        log.info("%d cases of held-out patients are left out: %s", len(tested), ", ".join(tested))
        cases = tuple(case for case in cases if case.patient not in held_out)
    kept = left_out = total = 0
    with writing_store(out) as writer:
        for record in track(cases, f"Synthesizing {model.target}"):
            made = _translate_case(model, store.read(record.id), record, slices)
            good = [i for i, score in enumerate(made.consistency) if score is None or score >= min_consistency]
            total += len(made.consistency)
            left_out += len(made.consistency) - len(good)
            kept += len(good)
            if good:
                writer.add(
                    f"{record.id}-as-{model.target}",
                    take_slices(made.volume, good),
                    patient=record.patient,
                    synthetic=_provenance(model, record, made, good),
                    answer=None if made.answer is None else made.answer[good],
                )
        if kept == 0:
            found = f"{total} slices, none with a consistency of {min_consistency} or more" if total else "no slices"
            raise InputError(source, found=found, wanted="some to keep", do="Lower --min-consistency, or train longer.")
    store = Store(out)
    rows, columns = mean_shift(store)
    if max(abs(rows), abs(columns)) >= 1:
        log.warning("The synthetic slices lie %+.1f rows and %+.1f columns away from their source.", rows, columns)
    return Synthesized(store, kept, left_out)


def mean_shift(store: Store) -> tuple[float, float]:
    """Rows and columns by which the cases of a synthetic store lie away from their sources, on average."""
    shifts = [case.synthetic.shift for case in store.cases if case.synthetic]
    return float(np.mean([rows for rows, _ in shifts])), float(np.mean([columns for _, columns in shifts]))


@dataclass(frozen=True, eq=False)
class _Made:
    volume: Volume
    answer: UInt8[np.ndarray, "slices size size"] | None
    source_slices: list[int]
    consistency: list[float | None]
    intensity: Intensity
    shift: tuple[float, float]
    slices_per_second: float


def _translate_case(model: Translator, volume: Volume, record: CaseRecord, slices: Literal["organ", "all"]) -> _Made:
    settings = model.settings
    intensity = intensity_of(volume, settings)
    volume = to_size(volume, settings.size)
    classes = class_map(volume, settings.organs, record.id)
    chosen = [i for i in range(len(classes)) if slices == "all" or classes[i].any()]
    if not chosen:
        return _Made(volume, None, [], [], intensity, (0.0, 0.0), 0.0)
    images = intensity.to_model(volume.voxels[chosen])
    before = time.monotonic()
    fakes, answer = model.translate(images)
    speed = len(chosen) / max(time.monotonic() - before, 1e-9)
    truth = classes[chosen]
    if np.ptp(fakes) < 1e-3:
        raise InputError(
            model.run,
            found=f"the same value all over what it makes of {record.id}",
            wanted="an image",
            do="The training collapsed: look at its samples folder; train again with another --seed.",
        )
    made = replace(
        take_slices(volume, chosen),
        voxels=model.output_intensity.to_units(fakes),
        modality=model.target,
        sequence=model.card["data"][model.target]["sequence"],
        labels=truth,
        label_names=dict(enumerate(settings.organs, start=1)),
        acquisition={},
    )
    few = spread(len(images), SHIFTS_MEASURED)
    shifts = np.median([shift_between(images[i], fakes[i]) for i in few], axis=0)
    shift = (float(shifts[0]), float(shifts[1]))
    scores = [None if answer is None else consistency(answer[i], truth[i]) for i in range(len(chosen))]
    return _Made(made, answer, chosen, scores, intensity, shift, speed)


def consistency(answer: UInt8[np.ndarray, "rows columns"], truth: UInt8[np.ndarray, "rows columns"]) -> float:
    """Label consistency: Dice between S(G1(x)) and the mask, averaged over the organs that either shows."""
    organs = (set(np.unique(answer).tolist()) | set(np.unique(truth).tolist())) - {0}
    return float(np.mean([dice(answer == organ, truth == organ) for organ in organs])) if organs else 1.0


def _provenance(model: Translator, record: CaseRecord, made: _Made, good: list[int]) -> Synthetic:
    return Synthetic(
        family=model.settings.family,
        model=model.weights,
        run=model.run,
        recipe=model.recipe,
        split=model.card["split"],
        source_case=record.id,
        source_sha256=record.sha256,
        source_range=(made.intensity.low, made.intensity.high),
        shift=made.shift,
        slices_per_second=round(made.slices_per_second, 2),
        trained_on=model.trained_on,
        trained_cases=model.trained_cases,
        slices=tuple(SliceOrigin(source_slice=made.source_slices[i], consistency=made.consistency[i]) for i in good),
    )
