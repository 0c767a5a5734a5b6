"""The same draws of patients for every model, kept: what a difference of two models is told from.

`baseline.judge` gives each model's own interval. Two models that translated the same slices of the same patients share
what chance there is in those patients: of their difference, draw by draw, it drops out. Here are the scores of each
draw, of all slices of a model, averaged over layers; models can be paired where all that their draws depend on is the
same, which a digest says.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file, save_file

from crossmod.files import replacing
from crossmod.judge.measure import Measured
from crossmod.metrics.axial_layers import LAYERS
from crossmod.metrics.distribution import METRICS, ImageStatistics, pairing, side
from crossmod.progress import progress
from crossmod.statistics.intervals import patient_draws

FILE = "draws.safetensors"

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
    with replacing(folder / FILE) as temporary:
        save_file({str(names.index(name)): np.ascontiguousarray(rows) for name, rows in draws.items()}, temporary)


def load_draws(folder: Path, names: Sequence[str]) -> dict[str, Draws]:
    """What `save_draws` wrote; nothing where the file is gone."""
    path = folder / FILE
    held = load_file(path) if path.is_file() else {}
    return {name: held[str(number)] for number, name in enumerate(names) if str(number) in held}
