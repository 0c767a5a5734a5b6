"""Synthesis: every labelled source slice becomes a labelled synthetic slice of the other modality."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from crossmod.config import with_changes
from crossmod.data.frame import Frame
from crossmod.data.intensity import Intensity, intensity_of
from crossmod.data.people import People, who_is_who
from crossmod.data.pixel_size import (
    SideExtent,
    extents,
    model_scale,
    side_extent,
    warn_of_cut,
    warn_of_pair,
    warn_of_sizes,
)
from crossmod.data.registration import RegisteredScans, read_input
from crossmod.data.same_person import Answer
from crossmod.data.slices import class_map, spread, stack_of
from crossmod.data.store import CaseRecord, SliceOrigin, Store, Synthetic, open_stores
from crossmod.data.store_writer import writing_store
from crossmod.data.units import one_unit
from crossmod.data.volume import Volume, take_slices
from crossmod.engine.distributed import suited_to
from crossmod.errors import InputError
from crossmod.metrics.paired import SHIFT_LIMIT_MM, shift_between
from crossmod.metrics.segmentation import label_consistency
from crossmod.progress import track
from crossmod.settings import Machine, TranslateSettings
from crossmod.synthesis.families import Images, SourceSlices, needs_labels
from crossmod.synthesis.training_data import side_groups
from crossmod.synthesis.translator import Epoch, Translator, load_translator

log = logging.getLogger(__name__)

# Per case, evenly spread. On all slices it took longer than translating them on a GPU.
SHIFTS_MEASURED = 16


@dataclass(frozen=True)
class Synthesized:
    """The result of a synthesis."""

    store: Store  # the synthetic cases
    slices: int  # number of slices that were kept
    left_out: int  # number of slices below the required consistency


def synthesize(
    run: Path,
    *,
    source: Path | Sequence[Path],
    out: Path,
    slices: Literal["organ", "all"] = "organ",
    min_consistency: float = 0.0,
    epoch: Epoch = "auto",
    same_people: Answer | None = None,
    machine: Machine | None = None,
) -> Synthesized:
    """Translate the cases of one or several stores; labels, where there are any, become labels of the synthetic slices.
    `same_people`: whether equal case names in `source` and in the training data are one person; default: as trained."""
    if not 0 <= min_consistency <= 1:
        found = f"{min_consistency}"
        raise InputError("--min-consistency", found=found, expected="a Dice from 0 to 1", do="Change it.")
    model = load_translator(run, epoch=epoch, machine=machine)
    if min_consistency > 0 and model.segmentor is None and model.judge is None:
        found = f"a {model.settings.family} model, which has neither a segmentor nor a judge to score slices with"
        do = "Leave --min-consistency out, or train with --judge."
        raise InputError(run, found=found, expected="a model with one", do=do)
    by_slice = model.settings.split == "slice"
    stated = same_people or model.settings.same_people
    people = who_is_who([open_stores(source)], seen=[model.people], same_people=stated, ask=not by_slice)
    for line in people.lines:
        log.info("%s", line)
    (store,) = people.stores
    organ = model.settings.organs[0] if slices == "organ" or _labelled_only(model) else None
    groups = side_groups(store, model.settings.source, _of_its_sequences(model), organ=organ)
    _check_unit(store, groups, model)
    # A person with both scans, whose target side is tested on, makes no training slices either.
    named = people.seen[model.weights]
    held_out = {named.get(name, name) for name in model.card["held_out"]}
    tested = [group.first.id for group in groups if group.first.patient in held_out]
    if tested:
        many = f"{len(tested)} cases of held-out patients are" if len(tested) > 1 else "1 case of a held-out patient is"
        log.info("%s left out: %s", many, ", ".join(tested))
        groups = tuple(group for group in groups if group.first.patient not in held_out)
    scale = model_scale(model.settings)
    _check_sizes(store, [group.first for group in groups], model)
    kept = total = 0
    threads = machine.threads if machine else 0
    with suited_to(model.generator, model.settings.size, model.compute.device, threads), writing_store(out) as writer:
        for group in track(groups, f"Synthesizing {model.target}"):
            record = group.first
            volumes = [read_input(store, group, index) for index in range(len(group.records))]
            case = _translate_case(model, volumes, record, scale.frame_of(store, record), slices)
            good = [i for i, origin in enumerate(case.origins) if origin.fits is None or origin.fits >= min_consistency]
            total += len(case.origins)
            kept += len(good)
            if good:
                writer.add(
                    f"{record.id}-as-{model.target}",
                    take_slices(case.volume, good),
                    patient=record.patient,
                    person=record.person,
                    synthetic=_provenance(model, group, case, good, people),
                    answer=None if case.answer is None else case.answer[good],
                )
        if kept == 0:
            found = f"{total} slices, none with a consistency of {min_consistency} or more" if total else "no slices"
            do = "Lower --min-consistency, or train longer."
            raise InputError(store.path, found=found, expected="some to keep", do=do)
    store = Store(out)
    for warning in shifts_in_words(store):
        log.warning("%s", warning)
    return Synthesized(store, kept, total - kept)


def _check_sizes(store: Store, cases: Sequence[CaseRecord], model: Translator) -> None:
    """Warn of bodies that the model's frame cuts, and of implausible sizes or sizes unlike those of the training."""
    scale = model_scale(model.settings)
    if not cases:
        return
    bodies = extents(store, cases, scale.kind)
    if scale.kind != "stretch":
        warn_of_cut(str(store.path), bodies, scale)
    warn_of_sizes(str(store.path), bodies)
    # Earlier versions did not measure them.
    trained = model.card.get("extents", {}).get(model.settings.source)
    if trained:
        warn_of_pair(str(store.path), side_extent(bodies), f"the training of {model.run}", SideExtent.of_card(trained))


def _check_unit(store: Store, groups: Sequence[RegisteredScans], model: Translator) -> None:
    """Refuse CT in another unit than the model was trained on."""
    unit = one_unit(store.path, ((record.id, record.unit) for group in groups for record in group.records))
    trained = model.card["data"][model.settings.source].get("unit", "HU")
    if model.settings.source == "ct" and unit != trained:
        do = "Give CT in the unit that the model was trained on."
        raise InputError(store.path, found=f"CT in {unit} units", expected=f"{trained}, as {model.run} has it", do=do)


@dataclass(frozen=True)
class StoreShift:
    """By how much the cases of a synthetic store are shifted from their sources, on average."""

    rows: float  # down, in mm
    columns: float  # to the right, in mm
    cases: int

    @property
    def mm(self) -> float:
        """Its length."""
        return float(np.hypot(self.rows, self.columns))

    def __str__(self) -> str:
        return f"{self.mm:.1f} mm ({self.rows:+.1f} mm down, {self.columns:+.1f} mm to the right)"


def shift_of(store: Store, by: Literal["edges", "judge"] = "edges") -> StoreShift | None:
    """The shift by the edges of the images, or by where the judge finds organs; None if no case has one."""
    found = []
    for case in store.cases:
        if case.synthetic is not None:
            pixels = case.synthetic.shift if by == "edges" else case.synthetic.judged_shift
            found += [] if pixels is None else [np.array(pixels) * case.spacing[1:]]
    if not found:
        return None
    rows, columns = np.mean(found, axis=0)
    return StoreShift(float(rows), float(columns), len(found))


def shifts_in_words(store: Store) -> list[str]:
    """A warning for each measure by which the cases are shifted further than the limit."""
    edges, judge = shift_of(store), shift_of(store, "judge")
    found, limit = [], f"limit {SHIFT_LIMIT_MM:g} mm"
    if edges is not None and edges.mm > SHIFT_LIMIT_MM:
        found.append(
            f"The edges of the synthetic slices are shifted by {edges} from their source (median of each case, "
            f"averaged; {limit}): labels may not match the images. On soft images of briefly trained networks the "
            "measure itself can be half a pixel too large. Label consistency does not show it where S was trained with "
            "the same shift."
        )
    if judge is not None and judge.mm > SHIFT_LIMIT_MM:
        found.append(f"The judge finds organs {judge} from their labels ({limit}): labels may not match the images.")
    return found


@dataclass(frozen=True, eq=False)
class _TranslatedCase:
    volume: Volume
    answer: UInt8[np.ndarray, "slices size size"] | None
    origins: list[SliceOrigin]
    intensity: Intensity
    shift: tuple[float, float]
    judged_shift: tuple[float, float] | None
    slices_per_second: float


def _of_its_sequences(model: Translator) -> TranslateSettings:
    """Settings that choose the model's sequence from a store with several."""
    settings, side = model.settings, model.card["data"][model.settings.source]
    if settings.source == "ct" or settings.inputs or settings.sequence:
        return settings
    return with_changes(settings, sequence=side["sequence"])


def _translate_case(
    model: Translator, volumes: Sequence[Volume], record: CaseRecord, frame: Frame, slices: Literal["organ", "all"]
) -> _TranslatedCase:
    settings, target = model.settings, model.card["data"][model.target]
    intensities = [intensity_of(volume, settings) for volume in volumes]
    # The frame is the first input's, on whose grid the others lie.
    volumes = [frame.place(volume) for volume in volumes]
    first = volumes[0]
    labelled = set(settings.organs) <= set(first.label_names.values())
    truth = class_map(first, settings.organs, record.id) if labelled else None
    chosen = [i for i in range(len(first.voxels)) if slices == "all" or truth is None or truth[i].any()]
    if not chosen:
        return _TranslatedCase(first, None, [], intensities[0], (0.0, 0.0), None, 0.0)
    of_stack = model.stack(first.spacing[0])
    pairs = zip(intensities, volumes, strict=True)
    inputs = [step.to_model(stack_of(volume.voxels, chosen, of_stack)) for step, volume in pairs]
    before = time.monotonic()
    if model.control is None:
        fakes, answer = model.translate(np.concatenate(inputs, axis=1))
    else:
        fakes, answer = model.changed(_source_slices(first, inputs[0][:, 0], chosen), record.id), None
    speed = len(chosen) / max(time.monotonic() - before, 1e-9)
    _refuse_constant(model, fakes, record.id)
    unit = target.get("unit", "HU")
    volume = replace(
        take_slices(first, chosen),
        voxels=model.output_intensity.to_units(fakes),
        modality=model.target,
        sequence=target["sequence"],
        contrast=target.get("contrast"),
        acquisition={},
        stated_unit=unit if model.target == "ct" and unit != "HU" else None,
    )
    # A control moves nothing.
    few = spread(len(chosen), SHIFTS_MEASURED if model.control is None else 0)
    shifts = np.median([shift_between(inputs[0][i, 0], fakes[i]) for i in few], axis=0) if few else (0.0, 0.0)
    scores: list[float | None] = [None] * len(chosen)
    if answer is not None and truth is not None:
        scores = [label_consistency(seen, truth[i]) for seen, i in zip(answer, chosen, strict=True)]
    judgement = model.judge.of(fakes, truth[chosen]) if model.judge is not None and truth is not None else None
    judged = judgement.dices if judgement else [None] * len(chosen)
    origins = [
        SliceOrigin(source_slice=index, consistency=own, judged=other)
        for index, own, other in zip(chosen, scores, judged, strict=True)
    ]
    return _TranslatedCase(
        volume,
        answer,
        origins,
        intensities[0],
        (float(shifts[0]), float(shifts[1])),
        judgement.shift if judgement else None,
        speed,
    )


def _labelled_only(model: Translator) -> bool:
    return model.segmentor is not None or needs_labels(model.settings)


def _source_slices(volume: Volume, images: Images, chosen: list[int]) -> SourceSlices:
    """What a control sees of the chosen slices of a case, on the pixels of the model."""
    labels = None if volume.labels is None else volume.labels[chosen]
    return SourceSlices(images, labels, volume.voxels[chosen] if volume.unit == "HU" else None)


def _refuse_constant(model: Translator, fakes: Images, case: str) -> None:
    if np.ptp(fakes) >= 1e-3:
        return
    do = (
        "The training collapsed: look at its samples folder; train again with another --seed."
        if model.control is None
        else "Leave the case out: its slices show nothing in the window, or only air."
    )
    raise InputError(model.run, found=f"a constant output for {case}", expected="an image", do=do)


def _provenance(
    model: Translator, group: RegisteredScans, case: _TranslatedCase, good: list[int], people: People
) -> Synthetic:
    record = group.first
    return Synthetic(
        family=model.settings.family,
        model=model.weights,
        run=model.run,
        recipe=model.recipe,
        split=model.card["split"],
        source_case=record.id,
        source_sha256=record.sha256,
        source_range=(case.intensity.low, case.intensity.high),
        model_range=(model.output_intensity.low, model.output_intensity.high),
        shift=case.shift,
        slices_per_second=round(case.slices_per_second, 2),
        frame=model.settings.frame,
        pixel_mm=model.settings.pixel_mm,
        organs=tuple(model.settings.organs),
        other_inputs=tuple(other.id for other in group.records[1:]),
        trained_on=model.trained_on,
        trained_cases=model.trained_cases,
        people=people.around(model.people),
        decided=people.decided and model.people.decided,
        judged_by=model.card["judge"]["trained_on"] if "judge" in model.card else None,
        judged_shift=case.judged_shift,
        slices=tuple(case.origins[i] for i in good),
    )
