"""What slices look like as numbers, and whether the slices of a stack follow one another.

Notable:
- Everything is measured inside the body; pixels outside are set to -1 first. So the table and noise in the air do not
  count, and images with an empty background can be compared with scans.
- Noise is the mean absolute response to the mask of Immerkaer (Computer Vision and Image Understanding 64, 300, 1996),
  scaled so that white noise gives its standard deviation.
- A slice between two others resembles each of them more than they resemble each other; otherwise it is misplaced. Of 21
  ordered volumes of patients and 16 of phantoms no slice was misplaced; with shuffled slices, a fifth to a half were.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from jaxtyping import Bool, Float, Num
from scipy import ndimage

from crossmod.config import Modality
from crossmod.data.body_mask import body_mask
from crossmod.data.intensity import Intensity
from crossmod.metrics.features import detector
from crossmod.metrics.histograms import histograms

# Bins of [-1, 1]; features of the first three stages of `random` (structure of 2 to 8 pixels); cells along each side
# of the body's bounding box.
BINS, FEATURES, CELLS = 64, 224, 8
LAYOUT = CELLS * CELLS
# Quantities of a slice whose logarithms are compared: noise, texture and edges in units of [-1, 1], area in mm2; and
# the rise of brightness from front to back and from the right to the left of the patient, in units of [-1, 1].
LOGARITHMS = ("noise", "texture", "edges", "area")
QUANTITIES = (*LOGARITHMS, "down", "across")
# Pixels of the body's rim that are left out of texture, noise and edges.
RIM = 3
# Smallest detectable noise, texture and edges: 0.02 HU in a window of 400.
STILL = 1e-4
# Immerkaer's mask.
LAPLACE = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])

Look = Float[np.ndarray, " 358"]


# Columns of a look that are compared together.
WIDTH = BINS + FEATURES + LAYOUT + len(QUANTITIES)
COLUMNS = {
    "histogram": slice(0, BINS),
    "features": slice(BINS, BINS + FEATURES),
    "layout": slice(BINS + FEATURES, BINS + FEATURES + LAYOUT),
    "quantities": slice(BINS + FEATURES + LAYOUT, WIDTH),
}


def bodies_of(
    images: Float[np.ndarray, "slices rows columns"], modality: Modality, window: tuple[float, float]
) -> Bool[np.ndarray, "slices rows columns"]:
    """The patient in slices in [-1, 1]; `window`: CT only, the HU that are -1 and 1."""
    units = Intensity(*window).to_units(images) if modality == "ct" else images
    return body_mask(units, modality, window if modality == "ct" else None)


def looks(
    images: Float[np.ndarray, "slices size size"], bodies: Bool[np.ndarray, "slices size size"], pixel_mm: float
) -> Float[np.ndarray, "seen 358"]:
    """One row per slice in [-1, 1] that shows a body: histogram, features, layout, quantities."""
    seen = [index for index in range(len(images)) if _core(bodies[index]).any()]
    if not seen:
        return np.zeros((0, WIDTH))
    inside = bodies[seen]
    masked = np.where(inside, images[seen], -1).astype(np.float32)
    grey = histograms(masked, np.linspace(-1, 1, BINS + 1), inside)
    features = detector("random").features(masked)[:, :FEATURES]
    layout = np.array([_layout(image, body) for image, body in zip(masked, inside, strict=True)])
    numbers = np.array([_quantities(image, body, pixel_mm) for image, body in zip(masked, inside, strict=True)])
    return np.concatenate([grey, features, layout, numbers], axis=1)


def to_size(images: Float[np.ndarray, "n a a"], size: int) -> Float[np.ndarray, "n size size"]:
    """Whole slices in [-1, 1] as a translation sees them; training cuts random parts out of larger ones."""
    tensor = torch.from_numpy(images)[:, None]
    return F.interpolate(tensor, (size, size), mode="bilinear", antialias=True)[:, 0].clamp(-1, 1).numpy()


def _core(body: Bool[np.ndarray, "rows columns"]) -> Bool[np.ndarray, "rows columns"]:
    return np.asarray(ndimage.binary_erosion(body, iterations=RIM))


def _layout(
    image: Float[np.ndarray, "rows columns"], body: Bool[np.ndarray, "rows columns"]
) -> Float[np.ndarray, " cells"]:
    """Mean of each cell of the body's box, standardized over the body; 0 in cells without body."""
    values = image[body].astype(np.float64)
    scale = max(float(values.std()), 1e-3)
    rows, columns = np.nonzero(body)
    places = [np.minimum((at - at.min()) * CELLS // (at.max() - at.min() + 1), CELLS - 1) for at in (rows, columns)]
    cells = places[0] * CELLS + places[1]
    counts = np.bincount(cells, minlength=LAYOUT)
    sums = np.bincount(cells, weights=(values - values.mean()) / scale, minlength=LAYOUT)
    return sums / np.maximum(counts, 1)


def _quantities(
    image: Float[np.ndarray, "rows columns"], body: Bool[np.ndarray, "rows columns"], pixel_mm: float
) -> Float[np.ndarray, " quantities"]:
    core, values = _core(body), image.astype(np.float64)
    noise = np.sqrt(np.pi / 2) / 6 * np.abs(ndimage.convolve(values, LAPLACE, mode="nearest"))[core].mean()
    mean, square = (ndimage.uniform_filter(each, 5, mode="nearest") for each in (values, values**2))
    texture = np.median(np.sqrt(np.maximum(square - mean**2, 0))[core])
    edges = np.percentile(ndimage.gaussian_gradient_magnitude(values, 1.0)[core], 95)
    area = np.count_nonzero(body) * pixel_mm**2
    logarithms = np.log([max(noise, STILL), max(texture, STILL), max(edges, STILL), area])
    return np.concatenate([logarithms, _slopes(values, body)])


def _slopes(values: Float[np.ndarray, "rows columns"], body: Bool[np.ndarray, "rows columns"]) -> np.ndarray:
    """Slopes of the least-squares plane through the body's values, from end to end, down and across."""
    at = np.nonzero(body)
    sides = [(axis - axis.mean()) / max(np.ptp(axis), 1) for axis in at]
    plane = np.stack([*sides, np.ones(len(at[0]))], axis=1)
    return np.linalg.lstsq(plane, values[at], rcond=None)[0][:2]


# A slice has no content if its standard deviation is below this share of the median slice's.
FLAT = 0.05


@dataclass(frozen=True)
class Sequence:
    """Errors in the order of slices, as slice numbers counted from 0."""

    copies: tuple[int, ...]  # slices that equal the one before, inside the body
    misplaced: tuple[int, ...]  # slices that do not fit between their neighbours
    missing: tuple[int, ...]  # slices without a body between slices with one
    flat: tuple[int, ...]  # slices whose body has hardly any contrast


def sequence_of(
    values: Num[np.ndarray, "slices rows columns"], body: Bool[np.ndarray, "slices rows columns"]
) -> Sequence:
    """Check a stack, from feet to head; values in any unit, cut to the range to compare."""
    shows = np.asarray(body.any(axis=(1, 2)))
    seen = np.flatnonzero(shows)
    inside = range(int(seen[0]), int(seen[-1]) + 1) if len(seen) else range(0)
    first, second = _steps(values, body, 1), _steps(values, body, 2)
    # Slices that equal each other have no order.
    misplaced = [i + 1 for i in range(len(second)) if min(first[i], first[i + 1]) > second[i] > 0]
    spread = np.array([values[i][body[i]].astype(np.float64).std() if shows[i] else np.nan for i in range(len(values))])
    usual = float(np.nanmedian(spread)) if shows.any() else 0.0
    return Sequence(
        copies=tuple(i + 1 for i, step in enumerate(first) if step == 0 and spread[i] > FLAT * usual),
        misplaced=tuple(misplaced),
        missing=tuple(i for i in inside if not shows[i]),
        flat=tuple(int(i) for i in seen if spread[i] <= FLAT * usual),
    )


def _steps(
    values: Num[np.ndarray, "slices rows columns"], body: Bool[np.ndarray, "slices rows columns"], apart: int
) -> Float[np.ndarray, " pairs"]:
    """Mean absolute difference of slices `apart` slices apart, inside both bodies; NaN without such pixels."""
    steps = np.full(max(len(values) - apart, 0), np.nan)
    for index in range(len(steps)):
        both = body[index] & body[index + apart]
        if both.any():
            steps[index] = np.abs(values[index][both].astype(np.float64) - values[index + apart][both]).mean()
    return steps
