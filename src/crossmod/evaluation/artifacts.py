"""What an evaluation keeps beside its card: bootstrap draws and averaged spectra.

`compare_with_baseline` gives each model's own interval. Two models that translated the same slices of the same patients
share those patients' variation: it cancels in their difference, draw by draw. So the scores of each draw, of all slices
of a model, averaged over layers, are kept. A digest tells which models can be paired: all that their draws depend on is
the same.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file, save_file

from crossmod.evaluation.baseline import layer_scores, mean_of_known
from crossmod.evaluation.cases import EvaluationCases, SyntheticModel
from crossmod.evaluation.measure import CaseScores, Measured
from crossmod.files import atomic_write
from crossmod.metrics.axial_layers import LAYERS
from crossmod.metrics.distribution import ImageStatistics
from crossmod.progress import progress

DRAWS_FILE = "draws.safetensors"

Draws = Float[np.ndarray, "draws metrics"]


def model_draws(
    reference: ImageStatistics, models: Mapping[str, ImageStatistics], seed: int, draws: int
) -> dict[str, Draws]:
    """Each metric of each model in each draw (first row: the set itself), averaged over the layers that have it."""
    layers = range(1, LAYERS + 1)
    chosen = {layer: {name: np.flatnonzero(m.layers == layer) for name, m in models.items()} for layer in layers}
    with progress("Drawing patients for differences of models", LAYERS * len(models)) as advance:
        values = layer_scores(reference, models, chosen, seed, draws, advance)
    return {name: mean_of_known(each) for name, each in values.items()}


def digest(reference: Measured, model: Measured, sources: Mapping[str, str], about: Mapping[str, object]) -> str:
    """A hash of all that a model's draws depend on except its images: models with equal digests can be paired."""
    real = [(row.case, row.place) for row in reference.rows]
    synthetic = [(sources[row.case], row.origin) for row in model.rows]
    layers = [reference.statistics.layers.tolist(), model.statistics.layers.tolist()]
    patients = [reference.statistics.patients, model.statistics.patients]
    text = json.dumps([real, synthetic, layers, patients, about], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def save_draws(folder: Path, draws: Mapping[str, Draws], names: Sequence[str]) -> None:
    """Write draws beside a card."""
    _save(folder / DRAWS_FILE, {names.index(name): rows for name, rows in draws.items()})


def load_draws(folder: Path, names: Sequence[str]) -> dict[str, Draws]:
    """What `save_draws` wrote; empty without the file."""
    return {names[number]: rows for number, rows in _load(folder / DRAWS_FILE).items()}


def _save(path: Path, arrays: Mapping[int, np.ndarray]) -> None:
    # Keys are numbers, since a model's name may contain anything.
    with atomic_write(path) as temporary:
        save_file({str(number): np.ascontiguousarray(array) for number, array in arrays.items()}, temporary)


def _load(path: Path) -> dict[int, np.ndarray]:
    arrays = load_file(path) if path.is_file() else {}
    return {number: arrays[str(number)] for number in sorted(map(int, arrays))}


SPECTRA_FILE = "spectra.safetensors"

Spectrum = Float[np.ndarray, "size half"]


def typical(statistics: ImageStatistics, layer: int) -> int | None:
    """The slice of a layer whose standardized features are nearest to the layer's mean; None if it is empty."""
    where = np.flatnonzero(statistics.layers == layer)
    if where.size == 0:
        return None
    features = statistics.features[where].astype(np.float64)
    spread = features.std(axis=0)
    away = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return int(where[np.argmin((away**2).sum(axis=1))])


def shown_slices(question: EvaluationCases, measured: Mapping[str, Measured]) -> dict[str, dict[str, object]]:
    """By layer, a typical real slice and one of each model, of the same source slice if possible."""
    shown = {}
    for layer in range(1, LAYERS + 1):
        real = typical(measured["reference"].statistics, layer)
        models, expected = {}, None
        for model in question.models:
            own = measured[model.name]
            index = _same_slice(model, own, expected)
            index = typical(own.statistics, layer) if index is None else index
            if index is not None:
                expected = expected or _source(model, own.rows[index])
                models[model.name] = vars(own.rows[index])
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
    """The mean of the layers' mean log spectra: all layers have the same weight."""
    means = [statistics.spectra[statistics.layers == layer].mean(axis=0, dtype=np.float64) for layer in sorted(layers)]
    return np.mean(means, axis=0).astype(np.float32)


def save_spectra(folder: Path, measured: Mapping[str, Measured], common: Collection[int]) -> None:
    """Write the averaged spectrum of each set, by its number."""
    spectra = [average_spectrum(each.statistics, common) for each in measured.values()]
    _save(folder / SPECTRA_FILE, dict(enumerate(spectra)))


def load_spectra(folder: Path) -> list[Spectrum]:
    """Those of the reference, the held-out real slices, and each model; empty without the file."""
    return [*_load(folder / SPECTRA_FILE).values()]
