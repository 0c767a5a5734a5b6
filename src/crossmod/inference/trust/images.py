"""What the trust report looks at: slices of source and output, bodies, and pictures of them.

Notable:
- The output is compared twice. With real images of the target: no translator makes quite what a scanner does, so that
  only what lies `GROSS` times beyond the limits of real images is a warning. And with what the model made of its
  training slices, where limits are as tight as between patients: that shows an output that this model does not usually
  make. With averaged variants or several models there is only the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from crossmod.data.frame import Frame
from crossmod.data.intensity import Intensity, intensity_of
from crossmod.data.slices import in_classes, spread
from crossmod.data.volume import Volume
from crossmod.inference.inputs import on_one_grid
from crossmod.inference.tiling import frame_of
from crossmod.inference.trust.similarity import ALPHA, Fingerprint, Likeness, Scale, compare
from crossmod.inference.types import About, Translation
from crossmod.metrics.appearance import bodies_of, looks, to_size
from crossmod.metrics.fingerprint import organ_means
from crossmod.metrics.paired import Kept, kept_structure
from crossmod.settings import ImageSettings
from crossmod.statistics.intervals import LEAST_VALUES, both_bounds, upper_bound

# What a translator makes may lie so many times as far from real images as these from one another.
GROSS = 2.0
# The output takes its body from the source, so that its area says nothing of the output. Nor is its noise compared with
# that of scans: what a network makes has hardly any, and is interpolated.
NOT_MADE = ("area",)
# Checks of the output against the training: ten quantities and the structure.
OUTPUT_CHECKS = 11
# Least standard deviation of an organ's value over patients, and of the structure: 1 % of half the range, 0.03.
LEAST_ORGAN, LEAST_STRUCTURE_SPREAD = 0.02, 0.03
# Slices whose structure is compared.
COMPARED = 16
# Below this correlation of edges the source's structure is lost, whatever is usual for the model.
LOST_STRUCTURE = 0.1
# Linear correlation of input and output inside the body from which the output is a copy.
COPY = 0.97


@dataclass(frozen=True)
class OrganValue:
    """What an organ measures in the output, beside real images of the target.

    Args:
        name: of the organ.
        value: median, in `unit`.
        low: least ordinary value of real images.
        high: the largest.
        unit: `HU` or `% of the range`.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str

    @property
    def outside(self) -> bool:
        """Whether it is outside of its limits."""
        return not self.low <= self.value <= self.high


@dataclass(frozen=True, eq=False)
class Output:
    """What the output looks like.

    Args:
        real: beside real images of the target; None where that is not known.
        own: beside what the model made of its training slices; None where that is not known.
        organs: values of organs.
        kept: structure and place; None without a body to look into.
        usual_structure: least that is usual for this model; nan where that is not known.
        copy: linear correlation with the input, inside the body; nan of flat images.
        pixel_mm: of the pixels in which the place is given.
    """

    real: Likeness | None
    own: Likeness | None
    organs: tuple[OrganValue, ...]
    kept: Kept | None
    usual_structure: float
    copy: float
    pixel_mm: float

    @property
    def least_structure(self) -> float:
        """Below this the structure is lost."""
        return float(np.nanmax([LOST_STRUCTURE, self.usual_structure]))


def input_likenesses(translation: Translation, reference: Fingerprint) -> tuple[Likeness, ...]:
    """How each input compares; nothing where the fingerprint is not one of these inputs, or no slice shows a body."""
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
    found = []
    for name, volume, look in zip(names, inputs, reference.inputs, strict=True):
        images = to_size(source_slices(volume, about, chosen, frame), reference.size)
        seen = looks(images, bodies_of(images, reference.modality, reference.window), pixel_mm)
        alpha = ALPHA / 2 / len(inputs)
        found.append(compare(name, seen, look, reference, scale, alpha=alpha, known=known))
    return tuple(one for one in found if one is not None)


def _scale(modality: str, about: About, window: tuple[float, float]) -> Scale:
    hounsfield = modality == "ct" and about.ct_unit == "HU"
    return Scale("HU", (window[1] - window[0]) / 2) if hounsfield else Scale("% of the range", 50.0)


def output_of(translation: Translation, reference: Fingerprint | None) -> Output:
    """What the output looks like, beside its source, real images and the model's usual output."""
    about = translation.about
    usable = reference is not None and reference.modality == about.source
    target_range = reference.window if reference is not None and about.target == "ct" else (about.low, about.high)
    kept, millimetres, copy = _structure(translation)
    if reference is None or not usable:
        return Output(None, None, (), kept, float("nan"), copy, millimetres)
    chosen, known = trained_slices(translation, reference)
    seen = np.zeros((0, 0))
    if chosen:
        views = views_of(translation, chosen, as_trained(about, reference, reference.size), target_range)
        seen = looks(views.made, views.bodies, views.pixel_mm)
    scale = _scale(about.target, about, target_range)
    single = translation.uncertainty is None
    sides = []
    for name, look, slack, left in (
        (f"real {about.target.upper()}", reference.target, GROSS, (*NOT_MADE, "noise")),
        ("usual output of the model", reference.made if single else None, 1.0, NOT_MADE),
    ):
        compared = None
        if look is not None and len(seen):
            compared = compare(
                name, seen, look, reference, scale,
                alpha=ALPHA / 2 * (1 - 1 / OUTPUT_CHECKS), known=known, leave_out=left, slack=slack,
            )  # fmt: skip
        sides.append(compared)
    usual = float("nan")
    if reference.made is not None and single and len(reference.made.structure) >= LEAST_VALUES:
        negative = [-one for one in reference.made.structure]
        bound = upper_bound(negative, ALPHA / 2 / OUTPUT_CHECKS, LEAST_STRUCTURE_SPREAD)
        usual = float("nan") if bound is None else -bound
    organs = _organ_values(translation, reference, target_range, scale)
    return Output(sides[0], sides[1], organs, kept, usual, copy, millimetres)


def _structure(translation: Translation) -> tuple[Kept | None, float, float]:
    """Structure and place, the length of a pixel, and the linear correlation of input and output."""
    about = translation.about
    seen = np.flatnonzero(translation.body.any(axis=(1, 2)))
    chosen = [int(seen[i]) for i in spread(len(seen), COMPARED)]
    if not chosen:
        return None, float("nan"), float("nan")
    views = views_of(translation, chosen, about, (about.low, about.high))
    source = translation.sources[0]
    given = source_slices(source, about, chosen, frame_of(source, about))
    if given.shape != views.made.shape:
        return None, views.pixel_mm, float("nan")
    kept = kept_structure(given, views.made, views.bodies, scaled=True)
    a, b = (side[views.bodies].astype(np.float64) for side in (given, views.made))
    spread_of = float(a.std() * b.std()) if a.size else 0.0
    copy = float(np.mean((a - a.mean()) * (b - b.mean())) / spread_of) if spread_of > 1e-9 else float("nan")
    return kept, views.pixel_mm, copy


def _organ_values(
    translation: Translation, reference: Fingerprint, target_range: tuple[float, float], scale: Scale
) -> tuple[OrganValue, ...]:
    """Of organs that the source's labels show, or else S finds."""
    if reference.target is None or not reference.target.organs:
        return ()
    source, image = translation.sources[0], translation.image
    if source.labels is not None:
        names = reference.organs
        labels = in_classes(source.labels, source.label_names, names)
    elif translation.labels is not None:
        names, labels = translation.about.organs, translation.labels
    else:
        return ()
    low, high = target_range
    middle, half = (low + high) / 2, (high - low) / 2
    found = []
    for name, value in organ_means(np.where(translation.body, image.voxels, low), labels, names).items():
        known = reference.target.organs.get(name, ())
        bounds = both_bounds(known, ALPHA / 2 / len(names), LEAST_ORGAN)
        if bounds is None:
            continue
        # Limits are drawn twice as far, as for all that is compared with real images.
        centre, reach = sum(bounds) / 2, GROSS * (bounds[1] - bounds[0]) / 2
        shown = [(one - middle) / half for one in (value,)] + [centre - reach, centre + reach]
        numbers = [middle + half * one if scale.unit == "HU" else 50 * (one + 1) for one in shown]
        found.append(OrganValue(name, numbers[0], numbers[1], numbers[2], scale.unit))
    return tuple(found)


# Slices that are looked at; more take longer and say little more.
MOST_SLICES = 64


@dataclass(frozen=True, eq=False)
class Views:
    """Some slices, from feet to head, on the network's pixels.

    Args:
        made: what was made, in [-1, 1] of the target's range.
        bodies: the body that it was made in.
        pixel_mm: length of a pixel.
    """

    made: Float[np.ndarray, "slices size size"]
    bodies: Bool[np.ndarray, "slices size size"]
    pixel_mm: float


def views_of(translation: Translation, chosen: Sequence[int], about: About, made_range: tuple[float, float]) -> Views:
    """What was made, as the network gave it.

    Args:
        translation: what was made.
        chosen: which slices.
        about: the model, with the size that is wanted.
        made_range: units of the target that are -1 and 1.
    """
    image, picked = translation.image, list(chosen)
    # The body that the frame lies around is the source's: what was made may show none.
    frame = frame_of(translation.sources[0], about)
    made = Intensity(*made_range).to_model(frame.take(image.voxels[picked], image.spacing[1:], made_range[0]))
    bodies = frame.take(translation.body[picked].astype(np.uint8), image.spacing[1:], 0.0) > 0.5
    return Views(made, bodies, frame.pixel_mm[0])


def source_slices(
    volume: Volume, about: About, chosen: Sequence[int], frame: Frame
) -> Float[np.ndarray, "n size size"]:
    """Some slices of a source as the network sees them where there are no tiles: one frame, in [-1, 1].

    Args:
        volume: one of the inputs, on the grid of the first.
        about: the model.
        chosen: which slices.
        frame: that of the first input.
    """
    step = intensity_of(volume, ImageSettings(window=about.window, percentiles=about.percentiles))
    return step.to_model(frame.take(volume.voxels[list(chosen)], volume.spacing[1:], float(volume.voxels.min())))


def as_trained(about: About, reference: Fingerprint, size: int) -> About:
    """The model as it was when its fingerprint was taken: the same field of view in other pixels."""
    mm = about.pixel_mm * about.size / size
    return replace(about, size=size, pixel_mm=mm, window=reference.window, percentiles=reference.percentiles)


def trained_slices(translation: Translation, reference: Fingerprint) -> tuple[list[int], bool]:
    """Slices of the kind that the model was trained on, and whether it is known which those are."""
    seen = np.flatnonzero(translation.body.any(axis=(1, 2)))
    if reference.slices == "all":
        return [int(seen[i]) for i in spread(len(seen), MOST_SLICES)], True
    organs = shows_organs(translation, reference.organs)
    kept = [int(i) for i in seen if not organs or int(i) in organs]
    return [kept[i] for i in spread(len(kept), MOST_SLICES)], bool(organs)


def shows_organs(translation: Translation, organs: Sequence[str]) -> list[int]:
    """Slices that show one of some organs, by the source's labels, or else by S; none where that is not known."""
    source = translation.sources[0]
    if source.labels is not None:
        labels = in_classes(source.labels, source.label_names, organs)
    elif translation.labels is not None:
        labels = translation.labels
    else:
        return []
    return [int(i) for i in np.flatnonzero(labels.any(axis=(1, 2)))]
