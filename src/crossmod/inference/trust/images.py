"""Comparison of source and output with the training images.

Notable: the output is compared twice. With real images of the target: since no translator matches a scanner exactly,
limits are `GROSS` times as wide as between real images. And with the model's output for its training slices, with the
limits between patients: this finds output that is unusual for the model. Averaged variants or several models have only
the first comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from crossmod.data.frame import Frame
from crossmod.data.intensity import Intensity, intensity_of
from crossmod.data.slices import in_classes, spread
from crossmod.data.volume import Volume
from crossmod.inference.inputs import on_one_grid
from crossmod.inference.tiling import frame_of
from crossmod.inference.trust.similarity import ALPHA, Likeness, Scale, compare
from crossmod.inference.types import About, Translation
from crossmod.metrics.appearance import bodies_of, looks, to_size
from crossmod.metrics.fingerprint import Fingerprint, organ_medians
from crossmod.metrics.paired import Kept, kept_structure
from crossmod.settings import ImageSettings
from crossmod.statistics.intervals import LEAST_VALUES, both_bounds, upper_bound

# Factor on the limits of real images for the output.
GROSS = 2.0
# The output has the body area of the source. Its noise is not compared with that of scans either: networks produce
# hardly any, and the output is interpolated.
NOT_MADE = ("area",)
# Checks of the output against the training: ten quantities and the structure.
OUTPUT_CHECKS = 11
# Minimum standard deviation over patients of an organ's value, and of the structure.
LEAST_ORGAN, LEAST_STRUCTURE_SPREAD = 0.02, 0.03
# Slices whose structure is compared.
COMPARED = 16
# Below this correlation of edges the source's structure is lost, for any model.
LOST_STRUCTURE = 0.1
# Linear correlation of input and output inside the body from which the output is a copy.
COPY = 0.97


@dataclass(frozen=True)
class OrganValue:
    """Median of an organ in the output, in `unit` (`HU` or `% of the range`), with the limits of real images."""

    name: str
    value: float
    low: float
    high: float
    unit: str

    @property
    def title(self) -> str:
        """For people."""
        return self.name.replace("_", " ")


@dataclass(frozen=True, eq=False)
class Output:
    """Appearance of the output."""

    real: Likeness | None  # compared with real images of the target; None if unknown
    own: Likeness | None  # compared with the model's output for its training slices; None if unknown
    organs: tuple[OrganValue, ...]
    kept: Kept | None  # structure and position; None without a body
    usual_structure: float  # smallest usual structure of this model; NaN if unknown
    copy: float  # linear correlation with the input, inside the body; NaN for flat images
    pixel_mm: float  # of the pixels of the position

    @property
    def least_structure(self) -> float:
        """Limit below which the structure is lost."""
        return float(np.nanmax([LOST_STRUCTURE, self.usual_structure]))


def input_likenesses(translation: Translation, reference: Fingerprint) -> tuple[Likeness, ...]:
    """Comparison of each input; empty if the fingerprint is of other inputs, or no slice shows a body."""
    if len(translation.sources) != len(reference.inputs) or reference.modality != translation.about.source:
        return ()
    inputs = on_one_grid(translation.sources, translation.about)
    chosen, known = trained_slices(translation, reference)
    if not chosen:
        return ()
    about = as_trained(translation.about, reference, reference.loaded)
    frame = frame_of(inputs[0], about)
    pixel_mm = frame.pixel_mm[0] * reference.loaded / reference.size
    scale = _scale(reference.modality, about, reference.window)
    names = translation.about.inputs or (reference.modality,)
    compared = []
    for name, volume, look in zip(names, inputs, reference.inputs, strict=True):
        images = to_size(source_slices(volume, about, chosen, frame), reference.size)
        seen = looks(images, bodies_of(images, reference.modality, reference.window), pixel_mm)
        alpha = ALPHA / 2 / len(inputs)
        compared.append(compare(name, seen, look, reference, scale, alpha=alpha, known=known))
    return tuple(like for like in compared if like is not None)


def _scale(modality: str, about: About, window: tuple[float, float]) -> Scale:
    hounsfield = modality == "ct" and about.ct_unit == "HU"
    return Scale("HU", (window[1] - window[0]) / 2) if hounsfield else Scale("% of the range", 50.0)


def output_of(translation: Translation, reference: Fingerprint | None) -> Output:
    """Compare the output with its source, real images and the model's usual output."""
    about = translation.about
    usable = reference is not None and reference.modality == about.source
    target_range = reference.window if reference is not None and about.target == "ct" else (about.low, about.high)
    kept, millimetres, copy = _structure(translation)
    if reference is None or not usable:
        return Output(None, None, (), kept, float("nan"), copy, millimetres)
    chosen, known = trained_slices(translation, reference)
    seen = np.zeros((0, 0))
    if chosen:
        seen = looks(*views_of(translation, chosen, as_trained(about, reference, reference.size), target_range))
    scale = _scale(about.target, about, target_range)
    single = translation.uncertainty is None
    gross = (f"real {about.target.upper()}", reference.target, GROSS, (*NOT_MADE, "noise"))
    usual_output = ("usual output of the model", reference.made if single else None, 1.0, NOT_MADE)
    real, own = (
        compare(
            name, seen, look, reference, scale,
            alpha=ALPHA / 2 * (1 - 1 / OUTPUT_CHECKS), known=known, leave_out=left, slack=slack,
        ) if look is not None and len(seen) else None
        for name, look, slack, left in (gross, usual_output)
    )  # fmt: skip
    usual = float("nan")
    if reference.made is not None and single and len(reference.made.structure) >= LEAST_VALUES:
        negative = [-structure for structure in reference.made.structure]
        bound = upper_bound(negative, ALPHA / 2 / OUTPUT_CHECKS, LEAST_STRUCTURE_SPREAD)
        usual = float("nan") if bound is None else -bound
    organs = _organ_values(translation, reference, target_range, scale)
    return Output(real, own, organs, kept, usual, copy, millimetres)


def _structure(translation: Translation) -> tuple[Kept | None, float, float]:
    """Structure and position, the length of a pixel, and the linear correlation of input and output."""
    about, source = translation.about, translation.sources[0]
    seen = np.flatnonzero(translation.body.any(axis=(1, 2)))
    chosen = [int(seen[i]) for i in spread(len(seen), COMPARED)]
    if not chosen:
        return None, float("nan"), float("nan")
    made, bodies, pixel_mm = views_of(translation, chosen, about, (about.low, about.high))
    inputs = source_slices(source, about, chosen, frame_of(source, about))
    if inputs.shape != made.shape:
        return None, pixel_mm, float("nan")
    kept = kept_structure(inputs, made, bodies, scaled=True)
    a, b = (side[bodies].astype(np.float64) for side in (inputs, made))
    spread_of = float(a.std() * b.std()) if a.size else 0.0
    copy = float(np.mean((a - a.mean()) * (b - b.mean())) / spread_of) if spread_of > 1e-9 else float("nan")
    return kept, pixel_mm, copy


def _organ_values(
    translation: Translation, reference: Fingerprint, target_range: tuple[float, float], scale: Scale
) -> tuple[OrganValue, ...]:
    """Values of organs in the source's labels, or else in those of S."""
    if reference.target is None or not reference.target.organs:
        return ()
    names, labels = _labels(translation, reference.organs)
    if labels is None:
        return ()
    low, high = target_range
    middle, half = (low + high) / 2, (high - low) / 2
    values = []
    for name, value in organ_medians(np.where(translation.body, translation.image.voxels, low), labels, names).items():
        known = reference.target.organs.get(name, ())
        bounds = both_bounds(known, ALPHA / 2 / len(names), LEAST_ORGAN)
        if bounds is None:
            continue
        centre, reach = sum(bounds) / 2, GROSS * (bounds[1] - bounds[0]) / 2
        shares = ((value - middle) / half, centre - reach, centre + reach)
        shown, low, high = (middle + half * s if scale.unit == "HU" else 50 * (s + 1) for s in shares)
        values.append(OrganValue(name, shown, low, high, scale.unit))
    return tuple(values)


# Compared slices; more take longer and change little.
MOST_SLICES = 64


def views_of(
    translation: Translation, chosen: Sequence[int], about: About, made_range: tuple[float, float]
) -> tuple[Float[np.ndarray, "slices size size"], Bool[np.ndarray, "slices size size"], float]:
    """Slices of the output in [-1, 1] of `made_range`, the source's bodies, and mm of the network's pixels."""
    image, picked = translation.image, list(chosen)
    # Around the source's body, since the output may not show one.
    frame = frame_of(translation.sources[0], about)
    made = Intensity(*made_range).to_model(frame.take(image.voxels[picked], image.spacing[1:], made_range[0]))
    bodies = frame.take(translation.body[picked].astype(np.uint8), image.spacing[1:], 0.0) > 0.5
    return made, bodies, frame.pixel_mm[0]


def source_slices(
    volume: Volume, about: About, chosen: Sequence[int], frame: Frame
) -> Float[np.ndarray, "n size size"]:
    """Some slices of an input, on the grid of the first, as the network sees them without tiles: in [-1, 1]."""
    step = intensity_of(volume, ImageSettings(window=about.window, percentiles=about.percentiles))
    return step.to_model(frame.take(volume.voxels[list(chosen)], volume.spacing[1:], float(volume.voxels.min())))


def as_trained(about: About, reference: Fingerprint, size: int) -> About:
    """The model with the settings of its fingerprint: the same field of view in other pixels."""
    mm = about.pixel_mm * about.size / size
    return replace(about, size=size, pixel_mm=mm, window=reference.window, percentiles=reference.percentiles)


def trained_slices(translation: Translation, reference: Fingerprint) -> tuple[list[int], bool]:
    """Slices of the kind that the model was trained on, and whether these are known."""
    seen = np.flatnonzero(translation.body.any(axis=(1, 2)))
    if reference.slices == "all":
        return [int(seen[i]) for i in spread(len(seen), MOST_SLICES)], True
    organs = shows_organs(translation, reference.organs)
    kept = [int(i) for i in seen if not organs or int(i) in organs]
    return [kept[i] for i in spread(len(kept), MOST_SLICES)], bool(organs)


def shows_organs(translation: Translation, organs: Sequence[str]) -> list[int]:
    """Slices that show one of the organs; empty if unknown."""
    _, labels = _labels(translation, organs)
    return [] if labels is None else [int(i) for i in np.flatnonzero(labels.any(axis=(1, 2)))]


def _labels(
    translation: Translation, organs: Sequence[str]
) -> tuple[Sequence[str], UInt8[np.ndarray, "slices rows columns"] | None]:
    """Organs and their classes by the source's labels, or else by S; None if unknown."""
    source = translation.sources[0]
    if source.labels is not None:
        return organs, in_classes(source.labels, source.label_names, organs)
    return translation.about.organs, translation.labels
