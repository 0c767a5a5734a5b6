"""The measuring judge: each fold's segmenter of real labels alone finds the organs in the synthetic slices.

It saw no synthetic image, no loss depends on it, and no epoch or slice is chosen by it. It was trained on the target's
real labels of the training side, also where the arms that it measures have none or few of them.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossmod.data.pixel_size import model_scale
from crossmod.data.slices import load_slices, spread
from crossmod.errors import InputError
from crossmod.experiment.analysis.slices import SyntheticSlices
from crossmod.experiment.design import ALL
from crossmod.experiment.results import Result
from crossmod.segmentation.predict import Segmenter, load_segmenter, predict
from crossmod.synthesis.judge import judgement

log = logging.getLogger(__name__)

# Slices of a store that are measured, evenly spread over those that show an organ.
MOST = 64


@dataclass(frozen=True)
class Measured:
    """What the judge finds in a synthetic store."""

    dice: float | None  # mean over slices, of all organs that label or answer show
    rows_mm: float | None  # by which organs lie below their labels; None if none is found, or if pixels differ
    columns_mm: float | None  # to the right of them


class MeasuringJudge:
    """The segmenters of real labels alone, by fold, each loaded once; what was measured is kept."""

    def __init__(self, results: Sequence[Result]) -> None:
        real = [result for result in results if result.arm.translator is None and result.arm.labelled == ALL]
        # One of several seeds: the first.
        self._runs = {(one.arm.segmenter, one.fold): one.run for one in sorted(real, key=lambda each: -each.seed)}
        self._loaded: dict[Path, Segmenter | None] = {}
        self._measured: dict[tuple[Path, Path], Measured] = {}

    def of(self, result: Result, synthetic: SyntheticSlices) -> Measured | None:
        """Of the synthetic store that a run was trained on; None without the weights of a run on all real labels of its
        fold."""
        run = self._runs.get((result.arm.segmenter, result.fold))
        if run is None:
            return None
        key = run, synthetic.store.path
        if key not in self._measured:
            segmenter = self._segmenter(run)
            if segmenter is None:
                return None
            self._measured[key] = _measure(segmenter, synthetic)
        return self._measured[key]

    def _segmenter(self, run: Path) -> Segmenter | None:
        if run not in self._loaded:
            try:
                self._loaded[run] = load_segmenter(run)
            except InputError as error:  # its checkpoints were deleted, to save room
                log.warning("%s measures no synthetic slices: %s", run.name, error)
                self._loaded[run] = None
        return self._loaded[run]


def _measure(segmenter: Segmenter, synthetic: SyntheticSlices) -> Measured:
    settings, cases = segmenter.settings, list(synthetic.records.values())
    slices = load_slices(
        synthetic.store, cases, settings, scale=model_scale(settings), labelled=True, only_showing=True
    )
    few = slices.take(spread(len(slices), MOST))
    assert few.masks is not None
    answers = predict(segmenter.network, few, segmenter.compute.device, quiet=True).answer
    found, pixel_mm = judgement(answers, few.masks), settings.pixel_mm
    rows, columns = found.shift or (np.nan, np.nan)
    known = found.shift is not None and pixel_mm > 0
    return Measured(found.dice, rows * pixel_mm if known else None, columns * pixel_mm if known else None)
