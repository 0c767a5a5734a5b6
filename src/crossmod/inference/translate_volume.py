"""Whole volumes through networks: the same grid, the same stored axes, nothing made up outside of the body.

Notable:
- Some slices at a time, so that beside the volumes themselves memory does not grow with their length.
- Body masks are made first, by threads: where the body lies decides what of a slice the network must see.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from crossmod.data.body_mask import body_mask
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.inference.ensemble import about_all, ct_windows, merged, unknown
from crossmod.inference.inputs import in_order, notes_of, on_one_grid
from crossmod.inference.predict import Prediction, Predictor, moves, pooled, prepare_sweep
from crossmod.inference.tiling import place_of
from crossmod.inference.types import About, Network, Options, Translation
from crossmod.machine import usable_cores
from crossmod.progress import progress

log = logging.getLogger(__name__)


def translate_volume(
    networks: Sequence[Network], volumes: Sequence[Volume], options: Options | None = None
) -> Translation:
    """Translate one patient's volume, or the several that a model takes.

    Args:
        networks: one; or several of one way: equal windows are averaged, CT of other windows widens the range.
        volumes: one an input, of any size, spacing and direction; CT in HU.
        options: variants, tiles, slices at a time.

    Returns:
        The synthetic volume on the grid of the first input: `[slices, rows, columns]`, int16 HU for CT, float32 for MR.

    Raises:
        InputError: no volume for the model, models that do not belong together, MR without contrast, or a model that
            makes no numbers.
    """
    options = options or Options()
    if not networks:
        raise InputError("models", found="none", expected="one or more", do="Load one.")
    groups, about = ct_windows(networks), about_all(networks)
    if "flip" in options.variants and not all(network.about.flip for network in networks):
        log.warning("%s was not trained on mirrored slices: what it makes of them may be worse.", about.name)
    notes = notes_of(volumes, about, accept_units=options.accept_units)
    sources = in_order(volumes, about)
    inputs = on_one_grid(sources, about)
    variants = len(moves(options.variants, len(inputs[0].voxels)))
    several = variants > 1 or any(len(group) > 1 for group in groups.values())
    canvas = _Canvas(inputs, about, spread=several, notes=notes)
    canvas.find_body()
    body = place_of(inputs[0], canvas.body)
    sweeps = {window: [prepare_sweep(one, inputs, options, body) for one in group] for window, group in groups.items()}
    return _filled(canvas, sweeps, sources, options)


def _filled(
    canvas: "_Canvas",
    sweeps: dict[tuple[float, float], list[Predictor]],
    sources: tuple[Volume, ...],
    options: Options,
) -> Translation:
    count = len(canvas.image)
    parts = [(start, min(start + options.batch, count)) for start in range(0, count, options.batch)]
    with progress(f"Translating with {canvas.about.name}", count) as advance:
        for start, stop in parts:
            by_window = [
                (window, pooled([sweep.answer(start, stop) for sweep in group])) for window, group in sweeps.items()
            ]
            canvas.paint(start, stop, merged(by_window))
            advance(stop - start)
    return canvas.translation(sources)


class _Canvas:
    """What is filled slice by slice."""

    def __init__(self, inputs: Sequence[Volume], about: About, *, spread: bool, notes: tuple[str, ...] = ()):
        self.first, self.about, self.notes = inputs[0], about, notes
        shape = self.first.voxels.shape
        self.hounsfield = about.target == "ct" and about.ct_unit == "HU"
        self.image = np.full(shape, about.low, np.int16 if self.hounsfield else np.float32)
        self.body = np.zeros(shape, bool)
        self.spread = np.zeros(shape, np.float32) if spread else None
        self.labels = np.zeros(shape, np.uint8) if about.organs else None
        self.outside = 0
        self.seconds = 0.0

    def find_body(self) -> None:
        """Mark the body in every slice: it decides what of the slices the network must see."""

        def mark(index: int) -> None:
            self.body[index] = body_mask(self.first.voxels[index], self.first.modality)

        with ThreadPoolExecutor(max(1, min(8, usable_cores() // 2))) as threads:
            list(threads.map(mark, range(len(self.body))))

    def paint(self, start: int, stop: int, answer: Prediction) -> None:
        body = self.body[start:stop]
        given = self.first.voxels[start:stop].astype(np.float32)
        beyond = unknown(given, answer.mean, self.first.modality, self.about)
        self.outside += int(np.count_nonzero(beyond & body))
        self.image[start:stop][body] = self._in_units(answer.mean)[body]
        self.seconds += answer.seconds
        if self.spread is not None:
            self.spread[start:stop][body] = np.sqrt(answer.variance[body])
        if self.labels is not None and answer.labels is not None:
            self.labels[start:stop][body] = answer.labels[body]

    def _in_units(self, mean: Float32[np.ndarray, "slices rows columns"]) -> np.ndarray:
        # Scanners give whole HU, and 16 bits hold them exactly.
        return np.rint(mean).astype(np.int16) if self.hounsfield else mean

    def translation(self, sources: tuple[Volume, ...]) -> Translation:
        about = self.about
        image = replace(
            self.first,
            voxels=self.image,
            modality=about.target,
            sequence=about.sequence,
            contrast=about.contrast if about.target == "ct" else None,
            labels=None,
            label_names={},
            acquisition={},
            notes=tuple(dict.fromkeys((*self.first.notes, *self.notes))),
            stated_unit=None if about.target == "mr" or self.hounsfield else about.ct_unit,
        )
        return Translation(
            image=image,
            sources=sources,
            about=about,
            body=self.body,
            uncertainty=self.spread,
            labels=self.labels,
            clipped=self.outside / max(int(np.count_nonzero(self.body)), 1),
            seconds=round(self.seconds, 3),
        )
