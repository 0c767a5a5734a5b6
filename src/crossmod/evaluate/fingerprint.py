"""What the inputs of a training look like: histogram and texture, so that others can be held against them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from jaxtyping import Float

from crossmod.config import Modality
from crossmod.data.body_mask import body_mask
from crossmod.data.intensity import Intensity
from crossmod.data.slices import SliceSet, spread, to_images
from crossmod.evaluate.detectors import detector
from crossmod.evaluate.histogram import histograms
from crossmod.settings import TranslateSettings

# A fingerprint: at most so many slices, of at most so many patients, which take a second.
MOST_SLICES, MOST_PATIENTS = 64, 16
# Bins of [-1, 1], and features: those of the first three stages of `random`, structure of 2 to 8 pixels.
BINS, FEATURES = 64, 224
Look = Float[np.ndarray, " 288"]


def fingerprint(sets: tuple[SliceSet, ...], settings: TranslateSettings) -> dict[str, Any]:
    """What the inputs of a training look like, for whoever is to tell whether another input looks alike.

    Args:
        sets: the slices of the source side, a set an input.
        settings: of the training.

    Returns:
        Plain values, about 500 numbers an input; `crossmod.inference.trust.fingerprint.Fingerprint` describes them.
    """
    if settings.load_size is None and settings.frame != "stretch":
        # Loaded with a margin, at the millimetres that the network sees: what lies in the middle is what it sees.
        sets = tuple(_middle(one, settings.size) for one in sets)
    people = [sets[0].patients[i] for i in spread(len(sets[0].patients), MOST_PATIENTS)]
    each = MOST_SLICES // len(people)
    rows = {patient: _some_slices(sets[0], patient, each) for patient in people}
    return {
        "modality": settings.source,
        "slices": settings.slices,
        "organs": list(settings.organs),
        "loaded": sets[0].size,
        "size": settings.size,
        "window": list(settings.window),
        "percentiles": list(settings.percentiles),
        "detector": detector("random").sha256,
        "patients": len(sets[0].patients),
        "slices_each": round(median(len(indexes) for indexes in rows.values())),
        "inputs": [_input_look(one, list(rows.values()), settings) for one in sets],
    }


def _middle(slices: SliceSet, size: int) -> SliceSet:
    margin = (slices.size - size) // 2
    inner = slice(margin, margin + size)
    # A view: only the pixels are looked at.
    return replace(slices, pixels=slices.pixels[:, inner, inner], masks=None)


def _some_slices(slices: SliceSet, patient: str, most: int) -> list[int]:
    """Evenly along the body."""
    own = sorted((key.slice, index) for index, key in enumerate(slices.keys) if key.patient == patient)
    return [own[place][1] for place in spread(len(own), most)]


def _input_look(slices: SliceSet, rows: Sequence[Sequence[int]], settings: TranslateSettings) -> dict[str, list[float]]:
    given = (to_images(slices.pixels[list(indexes)]) for indexes in rows)
    found = [looks(images, settings.source, settings.window, settings.size) for images in given]
    people = [one for one in found if len(one)]
    means = np.array([one.mean(axis=0) for one in people]).reshape(-1, BINS + FEATURES)
    squares = np.array([(one**2).mean(axis=0) for one in people]).reshape(means.shape)
    mean, variance = _mean_and_variance(means, squares)
    others = [np.arange(len(people)) != number for number in range(len(people))] if len(people) > 1 else []
    left_out = [
        apart(own, *_mean_and_variance(means[rest], squares[rest])) for own, rest in zip(means, others, strict=False)
    ]
    return {
        "histogram": _rounded(mean[:BINS]),
        "mean": _rounded(mean[BINS:]),
        "variance": _rounded(variance[BINS:]),
        "histogram_distances": _rounded(sorted(grey for grey, _ in left_out)),
        "feature_distances": _rounded(sorted(texture for _, texture in left_out)),
    }


def looks(
    images: Float[np.ndarray, "slices loaded loaded"], modality: Modality, window: tuple[float, float], size: int
) -> Float[np.ndarray, "seen 288"]:
    """Histogram of the body and features of each slice that shows one.

    Args:
        images: in [-1, 1].
        modality: theirs.
        window: of CT: HU that are -1 and 1.
        size: pixels a side that whole slices are brought to, as for a translation; training cuts random parts out.
    """
    images = _to_size(images, size)
    units = Intensity(*window).to_units(images) if modality == "ct" else images
    body = body_mask(units, modality, window if modality == "ct" else None)
    seen = body.any(axis=(1, 2))
    if not seen.any():
        return np.zeros((0, BINS + FEATURES))
    grey = histograms(images[seen], np.linspace(-1, 1, BINS + 1), body[seen])
    return np.concatenate([grey, detector("random").features(images[seen])[:, :FEATURES]], axis=1)


def apart(one: Look, mean: Look, variance: Look) -> tuple[float, float]:
    """How far a patient's mean look lies from others': by grey values and by features.

    Grey values: how far they must be moved on average to have the others' histogram, as a share of the range. Features:
    root mean square of differences, each by the standard deviation over the others' slices.
    """
    moved = float(np.abs(np.cumsum(one[:BINS] - mean[:BINS])).sum() / BINS)
    # Features that hardly vary would speak louder than all others.
    floor = variance[BINS:] + 0.01 * variance[BINS:].mean() + 1e-8
    return moved, float(np.sqrt(np.mean((one[BINS:] - mean[BINS:]) ** 2 / floor)))


def _mean_and_variance(means: Float[np.ndarray, "n k"], squares: Float[np.ndarray, "n k"]) -> tuple[Look, Look]:
    """Over slices, every patient counting alike; zeros of nobody."""
    if not len(means):
        return np.zeros(means.shape[1]), np.zeros(means.shape[1])
    mean = means.mean(axis=0)
    return mean, np.maximum(squares.mean(axis=0) - mean**2, 0)


def _to_size(images: Float[np.ndarray, "n a a"], size: int) -> Float[np.ndarray, "n b b"]:
    given = torch.from_numpy(images)[:, None]
    return F.interpolate(given, (size, size), mode="bilinear", antialias=True)[:, 0].clamp(-1, 1).numpy()


def _rounded(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
