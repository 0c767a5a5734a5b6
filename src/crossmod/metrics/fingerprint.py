"""What the images of a training look like: the source, the target, and the model's output for the source.

A fingerprint is kept in the run's card, so that a translation can be compared with the training later. It has means
and variances over patients, and distances of each patient from the others; no image can be reconstructed from it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float, Float32, Num
from pydantic import Field

from crossmod.config import Modality, Settings
from crossmod.data.slices import SliceSet, spread, to_images
from crossmod.metrics.appearance import (
    BINS,
    CELLS,
    COLUMNS,
    FEATURES,
    LAYOUT,
    QUANTITIES,
    WIDTH,
    Look,
    bodies_of,
    looks,
    to_size,
)
from crossmod.metrics.features import detector
from crossmod.metrics.paired import kept_structure
from crossmod.settings import TranslateSettings

# The most slices of a patient and the most patients that are described, which takes some seconds.
SLICES_EACH, MOST_PATIENTS = 8, 40
# Quantities of `turned`, by axis of the layout.
TURNED = ("upright", "sides")
# Smaller distances, which phantoms may have, are taken for these: 1 % of the range of grey values, and a tenth of the
# standard deviation over slices.
LEAST = {"histogram": 0.005, "features": 0.1, "layout": 0.1}

# Earlier versions looked at up to 64 slices of one patient.
MOST_SLICES_EACH = max(64, SLICES_EACH)

Bins = Annotated[tuple[float, ...], Field(min_length=BINS, max_length=BINS)]
Features = Annotated[tuple[float, ...], Field(min_length=FEATURES, max_length=FEATURES)]
Cells = Annotated[tuple[float, ...], Field(max_length=LAYOUT)]
Distances = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(max_length=MOST_PATIENTS)]
ByPatient = Annotated[tuple[float, ...], Field(max_length=MOST_PATIENTS)]
Quantity = Literal["noise", "texture", "edges", "area", "down", "across"]
Percent = Annotated[float, Field(ge=0, le=100)]


class ImagesLook(Settings):
    """One kind of image over the training patients: an input, the target, or the model's output."""

    histogram: Bins  # shares of the body's pixels in equal bins of [-1, 1]
    mean: Features  # of the features of slices
    variance: Features  # over slices
    histogram_distances: Distances  # from each patient to the others, by grey values; empty with one patient
    feature_distances: Distances  # by features
    # Mean of each of 8 x 8 cells of the body's box; empty in cards of earlier versions, which are not compared
    layout: Cells = ()
    layout_variance: Cells = ()  # over slices
    layout_distances: Distances = ()  # from each patient to the others, by layout
    # By patient: logarithms of noise, texture, edges (units of [-1, 1]) and area (mm2); slopes of brightness
    quantities: dict[Quantity, ByPatient] = Field(default_factory=dict)
    # Agreement of front and back with the other patients: Fisher's z, negative if they are exchanged
    upright: ByPatient = ()
    sides: ByPatient = ()  # agreement of left and right
    structure: ByPatient = ()  # of the model's output: how much of the source's structure it shows, by patient
    # Median of each organ in [-1, 1], by patient, if labels are known
    organs: dict[str, ByPatient] = Field(default_factory=dict, max_length=64)

    @property
    def complete(self) -> bool:
        """Whether images can be compared with it: earlier versions measured other quantities."""
        return len(self.layout) == len(self.layout_variance) == LAYOUT and set(self.quantities) == set(QUANTITIES)


class Fingerprint(Settings):
    """What the images of a training look like; a run's card has it under `fingerprint`."""

    modality: Modality  # of the inputs
    slices: Literal["organ", "all"]  # whether only slices that show an organ were trained on
    organs: Annotated[tuple[str, ...], Field(max_length=64)]  # their names
    loaded: int = Field(ge=8, le=4096)  # side of the slices held in training, pixels
    size: int = Field(ge=8, le=4096)  # side of the slices that were described, pixels
    window: tuple[float, float]  # of CT, in HU
    percentiles: tuple[Percent, Percent]  # of MR
    detector: str = Field(max_length=64)  # its hash
    patients: int = Field(ge=1)  # trained on
    slices_each: int = Field(ge=1, le=MOST_SLICES_EACH)  # described, of each patient (median)
    inputs: Annotated[tuple[ImagesLook, ...], Field(min_length=1, max_length=8)]  # in the model's order
    target: ImagesLook | None = None  # real images of the target modality; null in cards of earlier versions
    made: ImagesLook | None = None  # the model's output for its training slices
    made_epoch: Literal["best", "last"] = "last"  # which weights made it


Images = Float32[np.ndarray, "slices images size size"]
Translate = Callable[[Images], Float32[np.ndarray, "slices size size"]]


@dataclass(frozen=True)
class CaseGrid:
    """How a case was resampled to the model's pixels."""

    pixels: int  # of the scan, along a side of what the network sees
    pixel_mm: float  # length of a pixel that the network sees


@dataclass(frozen=True, eq=False)
class Training:
    """What a model was trained on, and the model."""

    source: tuple[SliceSet, ...]  # one set per input
    stacks: tuple[SliceSet, ...]  # all sets that go in, the stack of each input in turn
    target: SliceSet  # of the modality that comes out
    organs: SliceSet | None  # slices of the target with masks, if its cases have labels
    grids: Mapping[str, CaseGrid]  # case -> how it was resampled, for both sides
    translate: Translate  # from inputs to outputs, both in [-1, 1]


def fingerprint(training: Training, settings: TranslateSettings) -> Fingerprint:
    """What the images of a training look like."""
    rows, target_rows = _some_slices(training.source[0]), _some_slices(training.target)
    of_target = [_looks_of(training, training.target, own, settings.target, settings) for own in target_rows]
    return Fingerprint(
        modality=settings.source,
        slices="all" if settings.slices == "all" else "organ",
        organs=settings.organs,
        loaded=settings.size if _has_margin(settings) else settings.loaded,
        size=settings.size,
        window=settings.window,
        percentiles=settings.percentiles,
        detector=detector("random").sha256,
        patients=len(training.source[0].patients),
        slices_each=round(median(map(len, rows))),
        inputs=tuple(
            summary([_looks_of(training, slices, own, settings.source, settings) for own in rows])
            for slices in training.source
        ),
        target=summary(of_target, organs=_organ_values(training.organs, settings)),
        made=_made(training, rows, settings),
    )


def _some_slices(slices: SliceSet) -> list[list[int]]:
    """Indexes of slices evenly along the body, of some patients."""
    chosen = []
    for patient in (slices.patients[i] for i in spread(len(slices.patients), MOST_PATIENTS)):
        own = sorted((key.slice, index) for index, key in enumerate(slices.keys) if key.patient == patient)
        chosen.append([own[place][1] for place in spread(len(own), SLICES_EACH)])
    return chosen


def _pixel_mm(training: Training, slices: SliceSet, rows: Sequence[int]) -> float:
    """Of the model's pixels in a patient's first scan."""
    return training.grids[slices.keys[rows[0]].case].pixel_mm


def _has_margin(settings: TranslateSettings) -> bool:
    """Whether slices are loaded with a margin, at the millimetres that the network sees."""
    return settings.load_size is None and settings.frame != "stretch"


def _seen(slices: SliceSet, rows: Sequence[int], settings: TranslateSettings) -> Float32[np.ndarray, "n size size"]:
    """Slices as the network sees them in use: without the margin, if there is one; else scaled."""
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


def _made(training: Training, rows: Sequence[Sequence[int]], settings: TranslateSettings) -> ImagesLook:
    """The model's output for its own training slices, resampled as a translated volume is."""
    looks_made, structure, organs = [], [], []
    for own in rows:
        inputs = np.stack([_seen(slices, own, settings) for slices in training.stacks], axis=1)
        first = training.source[0]
        images = inputs[:, 0]
        grid = training.grids[first.keys[own[0]].case]
        made = to_size(to_size(np.clip(training.translate(inputs), -1, 1), grid.pixels), settings.size)
        bodies = bodies_of(images, settings.source, settings.window)
        looks_made.append(looks(made, bodies, _pixel_mm(training, first, own)))
        kept = kept_structure(images, made, bodies)
        structure.append(None if kept is None else kept.structure)
        masks = None if first.masks is None else _seen_masks(first.masks[own], settings)
        organs.append({} if masks is None else organ_medians(made, masks, settings.organs))
    known = rounded(value for value in structure if value is not None)
    return summary(looks_made, structure=known, organs=_by_organ(organs))


def _organ_values(slices: SliceSet | None, settings: TranslateSettings) -> dict[str, list[float]]:
    """Median grey value of each organ, by patient, if the target's cases have labels."""
    if slices is None or slices.masks is None:
        return {}
    masks = slices.masks
    values = [organ_medians(to_images(slices.pixels[own]), masks[own], settings.organs) for own in _some_slices(slices)]
    return _by_organ(values)


def _by_organ(patients: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    names = sorted({name for own in patients for name in own})
    return {name: rounded(own[name] for own in patients if name in own) for name in names}


def organ_medians(
    images: Num[np.ndarray, "slices rows columns"],
    labels: Num[np.ndarray, "slices rows columns"],
    organs: Sequence[str],
) -> dict[str, float]:
    """Organ -> median of its pixels, for the organs that are shown; labels are 1 for the first organ, and so on."""
    inside = {name: labels == number for number, name in enumerate(organs, start=1)}
    return {name: float(np.median(images[where])) for name, where in inside.items() if where.any()}


def _seen_masks(masks: Num[np.ndarray, "n a a"], settings: TranslateSettings) -> Num[np.ndarray, "n size size"]:
    size = settings.size
    if _has_margin(settings):
        return _middle(masks, size)
    at = np.minimum(((np.arange(size) + 0.5) * masks.shape[-1] / size).astype(int), masks.shape[-1] - 1)
    return masks[:, at][:, :, at]


def summary(patients: Sequence[Float[np.ndarray, "_ 358"]], **more: Any) -> ImagesLook:
    """Means over patients with equal weights, and the distance of each patient from all others. `patients`: the looks
    of each patient's slices, without those who show no body; `more`: other fields of the result."""
    people = [own for own in patients if len(own)]
    means = np.array([own.mean(axis=0) for own in people]).reshape(-1, WIDTH)
    squares = np.array([(own**2).mean(axis=0) for own in people]).reshape(means.shape)
    mean, variance = _mean_and_variance(means, squares)
    others = [np.arange(len(people)) != number for number in range(len(people))] if len(people) > 1 else []
    left_out = [
        {**distances(own, *_mean_and_variance(means[rest], squares[rest])), **turned(own, means[rest].mean(axis=0))}
        for own, rest in zip(means, others, strict=False)
    ]
    quantities = means[:, COLUMNS["quantities"]]
    return ImagesLook.model_validate(
        {
            "histogram": rounded(mean[COLUMNS["histogram"]]),
            "mean": rounded(mean[COLUMNS["features"]]),
            "variance": rounded(variance[COLUMNS["features"]]),
            "layout": rounded(mean[COLUMNS["layout"]]),
            "layout_variance": rounded(variance[COLUMNS["layout"]]),
            "histogram_distances": rounded(own["histogram"] for own in left_out),
            "feature_distances": rounded(own["features"] for own in left_out),
            "layout_distances": rounded(own["layout"] for own in left_out),
            "quantities": {name: rounded(quantities[:, at]) for at, name in enumerate(QUANTITIES)},
            **{name: rounded(own[name] for own in left_out) for name in TURNED},
            **more,
        }
    )


def distances(own: Look, mean: Look, variance: Look) -> dict[str, float]:
    """Distance of a patient's mean look from that of others: by histogram, features and layout.

    Histogram: how far grey values must be moved on average to have the others' histogram, as a share of the range.
    Features and layout: root mean square of the differences, each by the standard deviation over the others' slices.
    """
    at = COLUMNS["histogram"]
    by_part = {"histogram": float(np.abs(np.cumsum(own[at] - mean[at])).sum() / (at.stop - at.start))}
    for name in ("features", "layout"):
        at = COLUMNS[name]
        # Keeps columns that hardly vary from dominating.
        floor = variance[at] + 0.01 * variance[at].mean() + 1e-8
        by_part[name] = float(np.sqrt(np.mean((own[at] - mean[at]) ** 2 / floor)))
    return {name: max(value, LEAST[name]) for name, value in by_part.items()}


def turned(own: Look, mean: Look) -> dict[str, float]:
    """Whether a layout has its front and its left on the same sides as others: Fisher's z of a correlation.

    The part of a layout that changes its sign when it is turned upside down (`upright`) or mirrored (`sides`) is
    correlated with that part of the mean layout. A turned image has the negative value.
    """
    sides = [look[COLUMNS["layout"]].reshape(CELLS, CELLS) for look in (own, mean)]
    agreement = {}
    for axis, name in enumerate(TURNED):
        a, b = (side - np.flip(side, axis) for side in sides)
        scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
        agreement[name] = float(np.arctanh(np.clip((a * b).sum() / scale, -0.995, 0.995))) if scale > 0 else 0.0
    return agreement


def _mean_and_variance(means: Float[np.ndarray, "n k"], squares: Float[np.ndarray, "n k"]) -> tuple[Look, Look]:
    """Over slices, with equal weights of patients; zeros without patients."""
    if not len(means):
        return np.zeros(means.shape[1]), np.zeros(means.shape[1])
    mean = means.mean(axis=0)
    return mean, np.maximum(squares.mean(axis=0) - mean**2, 0)


def rounded(values: Iterable[float]) -> list[float]:
    """To five digits."""
    return [float(f"{value:.5g}") for value in values]
