"""What an evaluation keeps beside its card: bootstrap draws and averaged spectra.

`baseline.judge` gives each model's own interval. Two models that translated the same slices of the same patients share
what chance there is in those patients: of their difference, draw by draw, it drops out. Here are the scores of each
draw, of all slices of a model, averaged over layers; models can be paired where all that their draws depend on is the
same, which a digest says.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file, save_file

from crossmod.evaluation.cases import EvaluationCases, SyntheticModel
from crossmod.evaluation.measure import CaseScores, Measured
from crossmod.files import atomic_write
from crossmod.metrics.axial_layers import LAYERS
from crossmod.metrics.distribution import METRICS, ImageStatistics, pairing, side
from crossmod.progress import progress
from crossmod.statistics.intervals import patient_draws

DRAWS_FILE = "draws.safetensors"

Draws = Float[np.ndarray, "draws metrics"]


def model_draws(
    reference: ImageStatistics, models: Mapping[str, ImageStatistics], seed: int, draws: int
) -> dict[str, Draws]:
    """Every metric of every model in each draw, averaged over the layers that have it; nan where none has.

    Args:
        reference: real slices.
        models: name -> synthetic slices.
        seed: of the draws; those of `baseline.judge` with the same seed.
        draws: how many; the first row of the result is the set itself, before any draw.
    """
    times_real = patient_draws(reference.patients, seed, draws)
    sums = {name: np.zeros((draws + 1, len(METRICS))) for name in models}
    counts = {name: np.zeros((draws + 1, len(METRICS))) for name in models}
    times = {name: patient_draws(model.patients, seed, draws) for name, model in models.items()}
    with progress("Drawing patients for differences of models", LAYERS * len(models)) as advance:
        for layer in range(1, LAYERS + 1):
            real = np.flatnonzero(reference.layers == layer)
            unit = side(reference.take(real)) if len(real) else None
            for name, model in models.items():
                which = np.flatnonzero(model.layers == layer)
                if unit is not None and len(which):
                    pair = pairing(unit, side(model.take(which)))
                    drawn = zip(times_real[:, real], times[name][:, which], strict=True)
                    values = np.array([[*pair.scores(a, b).values()] for a, b in drawn])
                    there = ~np.isnan(values)
                    sums[name] += np.where(there, values, 0)
                    counts[name] += there
                advance()
    return {name: np.where(counts[name] > 0, sums[name] / np.maximum(counts[name], 1), np.nan) for name in models}


def digest(reference: Measured, model: Measured, sources: Mapping[str, str], about: Mapping[str, object]) -> str:
    """A hash of all that a model's draws depend on but its images: models of one digest can be paired.

    Args:
        reference: real slices.
        model: synthetic ones.
        sources: by case of the model, the checksum of what it was made from.
        about: settings, detector, and the checksums of the reference's cases.
    """
    real = [(row.case, row.place) for row in reference.rows]
    made = [(sources[row.case], row.origin) for row in model.rows]
    layers = [reference.statistics.layers.tolist(), model.statistics.layers.tolist()]
    whose = [reference.statistics.patients, model.statistics.patients]
    text = json.dumps([real, made, layers, whose, about], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def save_draws(folder: Path, draws: Mapping[str, Draws], names: Sequence[str]) -> None:
    """Write draws beside a card; models are counted, since a name may hold anything."""
    with atomic_write(folder / DRAWS_FILE) as temporary:
        save_file({str(names.index(name)): np.ascontiguousarray(rows) for name, rows in draws.items()}, temporary)


def load_draws(folder: Path, names: Sequence[str]) -> dict[str, Draws]:
    """What `save_draws` wrote; nothing where the file is gone."""
    path = folder / DRAWS_FILE
    held = load_file(path) if path.is_file() else {}
    return {name: held[str(number)] for number, name in enumerate(names) if str(number) in held}


SPECTRA_FILE = "spectra.safetensors"

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


def shown_slices(question: EvaluationCases, measured: Mapping[str, Measured]) -> dict[str, Any]:
    """By layer, a typical real slice and a synthetic one of each model: of the same source slice where there is one."""
    shown = {}
    for layer in range(1, LAYERS + 1):
        real = typical(measured["reference"].statistics, layer)
        models, expected = {}, None
        for model in question.models:
            one = measured[model.name]
            index = _same_slice(model, one, expected)
            index = typical(one.statistics, layer) if index is None else index
            if index is not None:
                expected = expected or _source(model, one.rows[index])
                models[model.name] = vars(one.rows[index])
        if real is not None or models:
            shown[str(layer)] = {
                "real": None if real is None else vars(measured["reference"].rows[real]),
                "models": models,
            }
    return shown


def _source(model: SyntheticModel, row: CaseScores) -> tuple[str, int]:
    record = next(record for record in model.records if record.id == row.case)
    return record.synthetic.source_sha256 if record.synthetic else record.sha256, row.origin


def _same_slice(model: SyntheticModel, measured: Measured, expected: tuple[str, int] | None) -> int | None:
    if expected is None:
        return None
    return next((i for i, row in enumerate(measured.rows) if _source(model, row) == expected), None)


def average_spectrum(statistics: ImageStatistics, layers: Collection[int]) -> Spectrum:
    """The mean of the layers' mean log spectra: each layer counts alike, however many slices it has."""
    means = [statistics.spectra[statistics.layers == layer].mean(axis=0, dtype=np.float64) for layer in sorted(layers)]
    return np.mean(means, axis=0).astype(np.float32)


def save_spectra(folder: Path, measured: Mapping[str, Measured], common: Collection[int]) -> None:
    """Write the averaged spectrum of each set; sets are counted, since a name may hold anything."""
    with atomic_write(folder / SPECTRA_FILE) as temporary:
        sets = enumerate(measured.values())
        save_file({str(number): average_spectrum(one.statistics, common) for number, one in sets}, temporary)


def load_spectra(folder: Path) -> list[Spectrum]:
    """Those of the reference, of the real slices held apart, and of each model; none where the file is gone."""
    path = folder / SPECTRA_FILE
    held = load_file(path) if path.is_file() else {}
    return [held[str(number)] for number in range(len(held))]
