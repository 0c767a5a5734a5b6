"""Translate whole volumes: the same grid and stored axes, and nothing synthetic outside the body.

Notable:
- Slices are translated in batches, so that memory does not grow with the length of the volume.
- Body masks are computed first, in threads: they determine what the network must see of a slice.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Bool

from crossmod.data.body_mask import body_mask
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.inference.ensemble import about_all, ct_windows, merged, unknown
from crossmod.inference.inputs import in_order, notes_of, on_one_grid
from crossmod.inference.predict import Prediction, moves, pooled, prepare
from crossmod.inference.tiling import place_of
from crossmod.inference.types import About, Network, Options, Translation
from crossmod.machine import usable_cores
from crossmod.progress import progress

log = logging.getLogger(__name__)


def translate_volume(
    networks: Sequence[Network], volumes: Sequence[Volume], options: Options | None = None
) -> Translation:
    """Translate one patient's volume, or volumes for a model of several inputs; see `crossmod.Model.translate`."""
    options = options or Options()
    if not networks:
        raise InputError("models", found="none", expected="one or more", do="Load one.")
    groups, about = ct_windows(networks), about_all(networks)
    if "flip" in options.variants and not all(network.about.flip for network in networks):
        log.warning("%s was not trained on mirrored slices: their translation may be worse.", about.name)
    notes = notes_of(volumes, about, accept_units=options.accept_units)
    sources = in_order(volumes, about)
    inputs = on_one_grid(sources, about)
    variants = len(moves(options.variants, len(inputs[0].voxels)))
    several = variants > 1 or any(len(group) > 1 for group in groups.values())
    canvas = _Canvas(inputs, about, spread=several, notes=notes)
    body, count = place_of(inputs[0], canvas.body), len(canvas.image)
    predictors = {window: [prepare(one, inputs, options, body) for one in group] for window, group in groups.items()}
    with progress(f"Translating with {about.name}", count) as advance:
        for start in range(0, count, options.batch):
            stop = min(start + options.batch, count)
            by_window = [(w, pooled([each.answer(start, stop) for each in group])) for w, group in predictors.items()]
            canvas.paint(start, stop, merged(by_window))
            advance(stop - start)
    return canvas.translation(sources)


class _Canvas:
    """A translation that is filled slice by slice."""

    def __init__(self, inputs: Sequence[Volume], about: About, *, spread: bool, notes: tuple[str, ...] = ()):
        self.first, self.about, self.notes = inputs[0], about, notes
        shape = self.first.voxels.shape
        self.hounsfield = about.target == "ct" and about.ct_unit == "HU"
        self.image = np.full(shape, about.low, np.int16 if self.hounsfield else np.float32)
        self.body = self._find_body()
        self.spread = np.zeros(shape, np.float32) if spread else None
        self.labels = np.zeros(shape, np.uint8) if about.organs else None
        self.outside = 0
        self.seconds = 0.0

    def _find_body(self) -> Bool[np.ndarray, "slices rows columns"]:
        with ThreadPoolExecutor(max(1, min(8, usable_cores() // 2))) as threads:
            return np.stack([*threads.map(partial(body_mask, modality=self.first.modality), self.first.voxels)])

    def paint(self, start: int, stop: int, answer: Prediction) -> None:
        body = self.body[start:stop]
        source = self.first.voxels[start:stop].astype(np.float32)
        beyond = unknown(source, answer.mean, self.first.modality, self.about)
        self.outside += int(np.count_nonzero(beyond & body))
        # Scanners give whole HU, which 16 bits represent exactly.
        values = np.rint(answer.mean).astype(np.int16) if self.hounsfield else answer.mean
        self.image[start:stop][body] = values[body]
        self.seconds += answer.seconds
        if self.spread is not None:
            self.spread[start:stop][body] = np.sqrt(answer.variance[body])
        if self.labels is not None and answer.labels is not None:
            self.labels[start:stop][body] = answer.labels[body]

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
