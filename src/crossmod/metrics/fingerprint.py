"""What the images of a training look like: of the source, of the target, and of what the model makes of the source.

A fingerprint is kept in the run's card, so that a translation can be compared with the training later. It holds means
and spreads over patients, and how far each patient lies from the others; no image can be made of it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Num

from crossmod.config import Modality
from crossmod.data.slices import SliceSet, spread, to_images
from crossmod.metrics.appearance import CELLS, PARTS, QUANTITIES, WIDTH, Look, bodies_of, looks, to_size
from crossmod.metrics.features import detector
from crossmod.metrics.paired import kept_structure
from crossmod.settings import TranslateSettings

# A fingerprint: at most so many slices of each of at most so many patients, which take some seconds.
SLICES_EACH, MOST_PATIENTS = 8, 40
# Quantities of `turned`, by the axis of the layout that they are about.
TURNED = ("upright", "sides")
COLUMNS = {part.name: part.columns for part in PARTS}
# Below these distances all patients are alike, as those of a phantom may be: 1 % of the range of grey values, and a
# tenth of the spread over slices.
LEAST = {"histogram": 0.005, "features": 0.1, "layout": 0.1}

Images = Float32[np.ndarray, "slices images size size"]
Translate = Callable[[Images], Float32[np.ndarray, "slices size size"]]


@dataclass(frozen=True)
class CaseGrid:
    """How a case was brought to the model's pixels.

    Args:
        pixels: of the scan, a side of what the network sees.
        pixel_mm: length of a pixel that the network sees.
    """

    pixels: int
    pixel_mm: float


@dataclass(frozen=True, eq=False)
class Training:
    """What a model was trained on, and the model.

    Args:
        source: a set an input.
        stacks: all sets that go in, the stack of each input in turn.
        target: of the modality that comes out.
        organs: slices of the target with masks, where its cases have labels.
        grids: case -> how it was brought to the model's pixels, of both sides.
        translate: what goes in, in [-1, 1], to what comes out.
    """

    source: tuple[SliceSet, ...]
    stacks: tuple[SliceSet, ...]
    target: SliceSet
    organs: SliceSet | None
    grids: Mapping[str, CaseGrid]
    translate: Translate


def fingerprint(training: Training, settings: TranslateSettings) -> dict[str, Any]:
    """What the images of a training look like.

    Args:
        training: the slices, and the model that was trained on them.
        settings: of the training.

    Returns:
        Plain values, some thousand numbers; `crossmod.inference.trust.similarity.Fingerprint` describes them.
    """
    source, target = settings.source, _other(settings.source)
    people = _some_patients(training.source[0])
    rows = {patient: _some_slices(training.source[0], patient) for patient in people}
    aims = {patient: _some_slices(training.target, patient) for patient in _some_patients(training.target)}
    of_target = [_looks_of(training, training.target, own, target, settings) for own in aims.values()]
    return {
        "modality": source,
        "slices": settings.slices,
        "organs": list(settings.organs),
        "loaded": settings.size if _has_margin(settings) else settings.loaded,
        "size": settings.size,
        "window": list(settings.window),
        "percentiles": list(settings.percentiles),
        "detector": detector("random").sha256,
        "patients": len(training.source[0].patients),
        "slices_each": round(median(len(indexes) for indexes in rows.values())),
        "inputs": [
            summary([_looks_of(training, one, own, source, settings) for own in rows.values()])
            for one in training.source
        ],
        "target": {**summary(of_target), "organs": _organ_values(training.organs, settings)},
        "made": _made(training, list(rows.values()), settings),
    }


def _other(side: Modality) -> Modality:
    return "mr" if side == "ct" else "ct"


def _some_patients(slices: SliceSet) -> list[str]:
    return [slices.patients[i] for i in spread(len(slices.patients), MOST_PATIENTS)]


def _some_slices(slices: SliceSet, patient: str) -> list[int]:
    """Evenly along the body."""
    own = sorted((key.slice, index) for index, key in enumerate(slices.keys) if key.patient == patient)
    return [own[place][1] for place in spread(len(own), SLICES_EACH)]


def _pixel_mm(training: Training, slices: SliceSet, rows: Sequence[int]) -> float:
    """Of the model's pixels; where a patient has several scans, of the first."""
    return training.grids[slices.keys[rows[0]].case].pixel_mm


def _has_margin(settings: TranslateSettings) -> bool:
    """Whether slices are loaded with a margin, at the millimetres that the network sees."""
    return settings.load_size is None and settings.frame != "stretch"


def _seen(slices: SliceSet, rows: Sequence[int], settings: TranslateSettings) -> Float32[np.ndarray, "n size size"]:
    """Slices as the network sees them in use: the middle of what was loaded with a margin, else all of it, scaled."""
    images = to_images(slices.pixels[list(rows)])
    return _middle(images, settings.size) if _has_margin(settings) else to_size(images, settings.size)


def _middle(images: np.ndarray, size: int) -> np.ndarray:
    margin = (images.shape[-1] - size) // 2
    return images[:, margin : margin + size, margin : margin + size]


def _looks_of(
    training: Training, slices: SliceSet, rows: Sequence[int], side: Modality, settings: TranslateSettings
) -> Float[np.ndarray, "seen 358"]:
    images = _seen(slices, rows, settings)
    return looks(images, bodies_of(images, side, settings.window), _pixel_mm(training, slices, rows))


def _made(training: Training, rows: Sequence[Sequence[int]], settings: TranslateSettings) -> dict[str, Any]:
    """What the model makes of its own training slices, resampled as a translated volume is."""
    found, structure, organs = [], [], []
    for own in rows:
        given = np.stack([_seen(one, own, settings) for one in training.stacks], axis=1)
        first = training.source[0]
        images = given[:, 0]
        grid = training.grids[first.keys[own[0]].case]
        made = to_size(to_size(np.clip(training.translate(given), -1, 1), grid.pixels), settings.size)
        bodies = bodies_of(images, settings.source, settings.window)
        found.append(looks(made, bodies, _pixel_mm(training, first, own)))
        kept = kept_structure(images, made, bodies)
        structure.append(None if kept is None else kept.structure)
        masks = None if first.masks is None else _seen_masks(first.masks[own], settings)
        organs.append({} if masks is None else organ_means(made, masks, settings.organs))
    return {
        **summary(found),
        "structure": rounded(value for value in structure if value is not None),
        "organs": _by_organ(organs),
    }


def _organ_values(slices: SliceSet | None, settings: TranslateSettings) -> dict[str, list[float]]:
    """Mean grey value of each organ, by patient, where the target's cases have labels."""
    if slices is None or slices.masks is None:
        return {}
    found = []
    for patient in _some_patients(slices):
        own = _some_slices(slices, patient)
        found.append(organ_means(to_images(slices.pixels[own]), slices.masks[own], settings.organs))
    return _by_organ(found)


def _by_organ(found: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    names = sorted({name for one in found for name in one})
    return {name: rounded(one[name] for one in found if name in one) for name in names}


def organ_means(
    images: Num[np.ndarray, "slices rows columns"],
    labels: Num[np.ndarray, "slices rows columns"],
    organs: Sequence[str],
) -> dict[str, float]:
    """Organ -> median of its pixels, of those that are shown.

    Args:
        images: in any unit.
        labels: 1 for the first of the organs, and so on.
        organs: their names.
    """
    inside = {name: labels == number for number, name in enumerate(organs, start=1)}
    return {name: float(np.median(images[where])) for name, where in inside.items() if where.any()}


def _seen_masks(masks: Num[np.ndarray, "n a a"], settings: TranslateSettings) -> Num[np.ndarray, "n size size"]:
    size = settings.size
    if _has_margin(settings):
        return _middle(masks, size)
    at = np.minimum(((np.arange(size) + 0.5) * masks.shape[-1] / size).astype(int), masks.shape[-1] - 1)
    return masks[:, at][:, :, at]


def summary(patients: Sequence[Float[np.ndarray, "_ 358"]]) -> dict[str, Any]:
    """Looks over patients, each counting alike, and how far each lies from all others.

    Args:
        patients: the looks of each patient's slices; who shows no body is left out.
    """
    people = [one for one in patients if len(one)]
    means = np.array([one.mean(axis=0) for one in people]).reshape(-1, WIDTH)
    squares = np.array([(one**2).mean(axis=0) for one in people]).reshape(means.shape)
    mean, variance = _mean_and_variance(means, squares)
    others = [np.arange(len(people)) != number for number in range(len(people))] if len(people) > 1 else []
    left_out = [
        {**distances(own, *_mean_and_variance(means[rest], squares[rest])), **turned(own, means[rest].mean(axis=0))}
        for own, rest in zip(means, others, strict=False)
    ]
    quantities = means[:, COLUMNS["quantities"]]
    return {
        "histogram": rounded(mean[COLUMNS["histogram"]]),
        "mean": rounded(mean[COLUMNS["features"]]),
        "variance": rounded(variance[COLUMNS["features"]]),
        "layout": rounded(mean[COLUMNS["layout"]]),
        "layout_variance": rounded(variance[COLUMNS["layout"]]),
        "histogram_distances": rounded(one["histogram"] for one in left_out),
        "feature_distances": rounded(one["features"] for one in left_out),
        "layout_distances": rounded(one["layout"] for one in left_out),
        "quantities": {name: rounded(quantities[:, at]) for at, name in enumerate(QUANTITIES)},
        **{name: rounded(one[name] for one in left_out) for name in TURNED},
    }


def distances(one: Look, mean: Look, variance: Look) -> dict[str, float]:
    """How far a patient's mean look lies from others': by histogram, features and layout.

    Histogram: how far grey values must be moved on average to have the others' histogram, as a share of the range.
    Features and layout: root mean square of the differences, each by the standard deviation over the others' slices.
    """
    at = COLUMNS["histogram"]
    found = {"histogram": float(np.abs(np.cumsum(one[at] - mean[at])).sum() / (at.stop - at.start))}
    for name in ("features", "layout"):
        at = COLUMNS[name]
        # Columns that hardly vary would speak louder than all others.
        floor = variance[at] + 0.01 * variance[at].mean() + 1e-8
        found[name] = float(np.sqrt(np.mean((one[at] - mean[at]) ** 2 / floor)))
    return {name: max(value, LEAST[name]) for name, value in found.items()}


def turned(one: Look, mean: Look) -> dict[str, float]:
    """Whether a layout has its front in front and its left on the left, as others have: Fisher's z of a correlation.

    Of a layout, what changes its sign when it is turned upside down (`upright`) or mirrored (`sides`) is correlated
    with the same of the mean layout. The image that is turned has the same number with the other sign.
    """
    sides = [look[COLUMNS["layout"]].reshape(CELLS, CELLS) for look in (one, mean)]
    found = {}
    for axis, name in enumerate(TURNED):
        a, b = (side - np.flip(side, axis) for side in sides)
        scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
        found[name] = float(np.arctanh(np.clip((a * b).sum() / scale, -0.995, 0.995))) if scale > 0 else 0.0
    return found


def _mean_and_variance(means: Float[np.ndarray, "n k"], squares: Float[np.ndarray, "n k"]) -> tuple[Look, Look]:
    """Over slices, every patient counting alike; zeros without patients."""
    if not len(means):
        return np.zeros(means.shape[1]), np.zeros(means.shape[1])
    mean = means.mean(axis=0)
    return mean, np.maximum(squares.mean(axis=0) - mean**2, 0)


def rounded(values: Iterable[float]) -> list[float]:
    """To five digits."""
    return [float(f"{value:.5g}") for value in values]
