"""The data of a segmenter: real slices by the split, and synthetic ones of models that saw no test patient."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from crossmod.data.people import People, who_is_who
from crossmod.data.pixel_size import (
    extents,
    model_scale,
    needed_mm,
    settle,
    side_extent,
    warn_of_cut,
    warn_of_pair,
    warn_of_sizes,
)
from crossmod.data.slices import SliceSet, draw_evenly, load_slices
from crossmod.data.splits import split_in_words, split_slices
from crossmod.data.store import CaseRecord, Store
from crossmod.data.units import one_unit
from crossmod.errors import InputError
from crossmod.seeds import derive
from crossmod.segmentation.cases import labelled_cases, synthetic_cases
from crossmod.settings import SegmentSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Split:
    """The slices on the two sides of the split."""

    train: SliceSet | None  # real slices to train on, if any
    synthetic: SliceSet | None  # slices to add to them, if any
    test: SliceSet  # held-out real slices

    @property
    def parts(self) -> tuple[SliceSet, ...]:
        """The training sets that exist."""
        return tuple(part for part in (self.train, self.synthetic) if part is not None)


@dataclass(frozen=True, eq=False)
class SegmentationData:
    """The cases of the stores, before any pixel is read."""

    store: Store  # the real cases
    extra: Store | None  # the synthetic cases, if any
    settings: SegmentSettings
    people: People  # who is one person in the stores

    @cached_property
    def real(self) -> tuple[CaseRecord, ...]:
        """The labelled real cases."""
        return labelled_cases(self.store, self.settings)

    @cached_property
    def synthetic(self) -> tuple[CaseRecord, ...]:
        """The synthetic cases."""
        if self.extra is None:
            return ()
        return synthetic_cases(self.extra, self.settings.modality, self.settings.organs)

    @property
    def inputs(self) -> dict[str, dict[str, str]]:
        """The checksum of every case, as in the run's config.yaml."""
        return {
            "real": {case.id: case.sha256 for case in self.real},
            "synthetic": {case.id: case.sha256 for case in self.synthetic},
        }

    @property
    def _sequence(self) -> str | None:
        return self.settings.sequence if self.settings.modality == "mr" else None

    def settled(self) -> SegmentSettings:
        """The settings with their millimetres: of the synthetic slices, or else of the real cases' bodies, of all cases
        so that the folds of one store have the same pixels."""
        settings = self.settings
        if settings.frame == "stretch" or settings.pixel_mm:
            return settings
        # The field that the model of a synthetic case saw; 0 if it stretched the whole field of view.
        fields = [round(case.synthetic.pixel_mm * case.shape[1], 6) for case in self.synthetic if case.synthetic]
        largest = max(fields, default=0.0)
        return settle(settings, largest or needed_mm({"real": extents(self.store, self.real, settings.frame)}))

    def load(self) -> Split:
        """Read the cases and divide their slices."""
        settings = self.settings
        one_unit(self.store.path, ((case.id, case.unit) for case in (*self.real, *self.synthetic)))
        scale = model_scale(settings)
        bodies = extents(self.store, self.real, settings.frame)
        if settings.frame != "stretch":
            warn_of_cut(str(self.store.path), bodies, scale)
        warn_of_sizes(str(self.store.path), bodies)
        if self.extra is not None and bodies:
            synthetic = side_extent(extents(self.extra, self.synthetic, settings.frame))
            warn_of_pair(str(self.store.path), side_extent(bodies), str(self.extra.path), synthetic)
        slices = load_slices(self.store, self.real, settings, scale=scale, labelled=True)
        # The folds are of all patients, labelled or not, as for a translator.
        patients = [case.patient for case in self.store.select(settings.modality, sequence=self._sequence)]
        real, test = _divide(slices, patients, settings)
        train = None if settings.without_real else real
        if self.extra is None:
            return Split(train, None, test)
        tested = {case.sha256 for case in self.real if case.id in test.intensities}
        _check_for_leaks(self, set(test.patients), tested)
        _warn_of_frames(self.extra, self.synthetic, settings)
        return Split(train, synthetic_slices(self.extra, self.synthetic, settings), test)


def choose_cases(real: Path, synthetic: Path | None, settings: SegmentSettings) -> SegmentationData:
    """Open the stores, and settle the millimetres of a pixel."""
    if (synthetic is None) != (settings.count == 0):
        found = f"--count {settings.count} and {'no' if synthetic is None else 'a'} --synthetic store"
        raise InputError("segment", found=found, expected="both or neither", do="Give the other one too.")
    stores = [Store(path) for path in (real, synthetic) if path is not None]
    people = who_is_who(stores, same_people=settings.same_people, ask=settings.split == "patient")
    chosen = SegmentationData(people.stores[0], None if synthetic is None else people.stores[1], settings, people)
    return replace(chosen, settings=chosen.settled())


def _warn_of_frames(store: Store, cases: Sequence[CaseRecord], settings: SegmentSettings) -> None:
    """Warn of synthetic slices with other pixels than the segmenter's."""
    models = [case.synthetic for case in cases if case.synthetic is not None]
    framed = [model for model in models if model.pixel_mm]
    if settings.frame == "stretch":
        if framed:
            log.warning("%s: slices of one scale in mm, beside real ones whose whole field is stretched.", store.path)
        return
    pixels = sorted({model.pixel_mm for model in framed} - {settings.pixel_mm})
    if pixels:
        log.warning(
            "%s: pixels of %s mm are resampled to the %g mm of this segmenter.",
            store.path, " and ".join(f"{mm:g}" for mm in pixels), settings.pixel_mm,
        )  # fmt: skip
    if len(framed) < len(models):
        log.warning(
            "%s: made by a model that stretched the whole field of view; resampled to pixels of %g mm by their "
            "positions. Organs then have the size that they have in the source.", store.path, settings.pixel_mm,
        )  # fmt: skip
    frames = sorted({model.frame for model in framed} - {settings.frame})
    if frames:
        log.warning("%s: centred on the %s, and the real slices on the %s.", store.path, frames[0], settings.frame)


def _divide(slices: SliceSet, patients: Sequence[str], settings: SegmentSettings) -> tuple[SliceSet, SliceSet]:
    train, test = split_slices(slices, settings, patients)
    showing = set(slices.showing_organ())
    if settings.train_on == "organ":
        train = [index for index in train if index in showing]
    if settings.test_on == "organ":
        test = [index for index in test if index in showing]
    for side, option, indexes in (("training", "--train-on all", train), ("test", "--test-on all", test)):
        if missing := _not_shown(slices, indexes, settings.organs):
            found = f"no {side} slice that shows {missing[0]}"
            do = f"Use another --fold, or {option}."
            raise InputError("the split", found=found, expected="some on both sides", do=do)
    return slices.take(draw_evenly(slices, train, settings.real_slices, settings.seed)), slices.take(test)


def _not_shown(slices: SliceSet, indexes: Sequence[int], organs: Sequence[str]) -> list[str]:
    """The organs that none of the slices shows: one as it was labelled, each of several at the loaded size."""
    if len(organs) == 1:
        return [] if slices.shows[list(indexes)].any() else [organs[0]]
    assert slices.masks is not None
    pixels = np.zeros(1 + len(organs), np.int64)
    for index in indexes:
        pixels += np.bincount(slices.masks[index].ravel(), minlength=len(pixels))
    return [organ for organ, number in zip(organs, pixels[1:], strict=True) if not number]


def _check_for_leaks(chosen: SegmentationData, patients: set[str], tested: set[str]) -> None:
    """Refuse synthetic slices of a model that saw test patients, under any name."""
    assert chosen.extra is not None
    store, settings = chosen.extra, chosen.settings
    for case in chosen.synthetic:
        assert case.synthetic is not None
        if settings.split == "slice":
            if case.synthetic.split != split_in_words(settings):
                raise InputError(
                    store.path,
                    found=f"slices of {case.synthetic.run}, trained by another split ({case.synthetic.split})",
                    expected=f"the same split ({split_in_words(settings)})",
                    do="Train the translator with the same --split, --test-slices and --split-seed.",
                )
            continue
        seen = sorted(patients & chosen.people.behind(case))
        again = tested & set(case.synthetic.trained_cases)
        if seen or again:
            who = f"the test patients {', '.join(seen)}" if seen else f"{len(again)} test cases under other names"
            raise InputError(
                store.path,
                found=f"slices of the model {case.synthetic.run}, which saw {who}",
                expected="each patient on one side of the split",
                do="Train the translator with the same --folds, --fold and --split-seed, then synthesize again.",
            )


def synthetic_slices(store: Store, cases: Sequence[CaseRecord], settings: SegmentSettings) -> SliceSet:
    """The synthetic slices that are added: consistent ones, drawn evenly from the patients."""
    slices = load_slices(store, cases, settings, scale=model_scale(settings), labelled=True)
    origins = [origin.fits for case in cases if case.synthetic for origin in case.synthetic.slices]
    if settings.min_consistency > 0 and None in origins:
        found = "slices without a consistency, from a model without a segmentor and without a judge"
        do = "Leave --min-consistency out, or train the model with --judge."
        raise InputError(store.path, found=found, expected="slices with one", do=do)
    good = passes_consistency(origins, settings.min_consistency)
    if settings.count > len(good):
        raise InputError(
            f"--count {settings.count}",
            found=f"{len(good)} synthetic slices in {store.path}"
            + (f" with a consistency of {settings.min_consistency} or more" if settings.min_consistency else ""),
            expected=f"a count up to {len(good)}",
            do="Lower --count, or synthesize from more labelled cases.",
        )
    return slices.take(draw_synthetic(slices, good, settings.count, settings.seed))


def passes_consistency(consistency: Sequence[float | None], least: float) -> list[int]:
    """Indexes of the slices with at least this consistency, and of those without any."""
    return [i for i, score in enumerate(consistency) if score is None or score >= least]


def draw_synthetic(slices: SliceSet, good: Sequence[int], count: int, seed: int) -> list[int]:
    """The synthetic slices that a run with this seed is trained on; a smaller draw is a part of a larger one."""
    return draw_evenly(slices, good, count, derive(seed, "synthetic"))
