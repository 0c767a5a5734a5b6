"""What a report draws of a judgement: which slices stand for a layer, and averaged spectra. No pixel is kept here."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file, save_file

from crossmod.files import replacing
from crossmod.judge.measure import Measured, Row
from crossmod.judge.question import Model, Question
from crossmod.metrics.axial_layers import LAYERS
from crossmod.metrics.distribution import ImageStatistics

FILE = "spectra.safetensors"

Spectrum = Float[np.ndarray, "size half"]


def typical(statistics: ImageStatistics, layer: int) -> int | None:
    """The slice of a layer whose features lie nearest to the layer's mean; None of an empty one.

    Features are divided by their spread in the layer, so that none counts for its unit.
    """
    where = np.flatnonzero(statistics.layers == layer)
    if where.size == 0:
        return None
    features = statistics.features[where].astype(np.float64)
    spread = features.std(axis=0)
    away = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return int(where[np.argmin((away**2).sum(axis=1))])


def shown_slices(question: Question, measured: Mapping[str, Measured]) -> dict[str, Any]:
    """By layer, a typical real slice and a synthetic one of each model: of the same source slice where there is one."""
    shown = {}
    for layer in range(1, LAYERS + 1):
        real = typical(measured["reference"].statistics, layer)
        models, wanted = {}, None
        for model in question.models:
            one = measured[model.name]
            index = _same_slice(model, one, wanted)
            index = typical(one.statistics, layer) if index is None else index
            if index is not None:
                wanted = wanted or _source(model, one.rows[index])
                models[model.name] = vars(one.rows[index])
        if real is not None or models:
            shown[str(layer)] = {
                "real": None if real is None else vars(measured["reference"].rows[real]),
                "models": models,
            }
    return shown


def _source(model: Model, row: Row) -> tuple[str, int]:
    record = next(record for record in model.records if record.id == row.case)
    return record.synthetic.source_sha256 if record.synthetic else record.sha256, row.origin


def _same_slice(model: Model, measured: Measured, wanted: tuple[str, int] | None) -> int | None:
    if wanted is None:
        return None
    return next((i for i, row in enumerate(measured.rows) if _source(model, row) == wanted), None)


def average_spectrum(statistics: ImageStatistics, layers: Collection[int]) -> Spectrum:
    """The mean of the layers' mean log spectra: each layer counts alike, however many slices it has."""
    means = [statistics.spectra[statistics.layers == layer].mean(axis=0, dtype=np.float64) for layer in sorted(layers)]
    return np.mean(means, axis=0).astype(np.float32)


def save_spectra(folder: Path, measured: Mapping[str, Measured], common: Collection[int]) -> None:
    """Write the averaged spectrum of each set; sets are counted, since a name may hold anything."""
    with replacing(folder / FILE) as temporary:
        sets = enumerate(measured.values())
        save_file({str(number): average_spectrum(one.statistics, common) for number, one in sets}, temporary)


def load_spectra(folder: Path) -> list[Spectrum]:
    """Those of the reference, of the real slices held apart, and of each model; none where the file is gone."""
    path = folder / FILE
    held = load_file(path) if path.is_file() else {}
    return [held[str(number)] for number in range(len(held))]
