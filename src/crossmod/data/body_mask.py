"""The body in a slice, and the lungs in it: where scores look, and what distinguishes the chest from the abdomen.

- Each slice is processed alone, so that its body does not depend on the volume or set it is shown in.
- CT is often clipped to a window, such as [-125, 275] HU: air is then at the window's low end, and fat a few HU above.
  There the threshold follows from the values of the slice.
- MR has no unit: its air is found by Otsu's threshold of logarithms, since a fat-suppressed body is in places darker
  than a fifteenth of its brightest organ, and still several times as bright as the noise around it.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy import ndimage

from crossmod.config import Modality
from crossmod.errors import InputError

Mask = Bool[np.ndarray, "rows columns"]
Image = Num[np.ndarray, "rows columns"]
MaskStack = Bool[np.ndarray, "*stack rows columns"]

# Half way from air to fat lies near -550 HU; foam under the patient, cloth and blurred noise reach above that.
AIR_BELOW_HU = -300.0
# Inflated lung is -850, and still -500 where it lies dense at the back.
LUNG_BELOW_HU = -400.0
# Where air was cut off at the low end of a window, pixels this far above that end are body, if fat lies no nearer.
CUT_MARGIN_HU = 20.0
# The darkest fat that is often seen, noise aside.
FAT_HU = -123.0
# MAD to standard deviation of a normal distribution.
MAD_TO_SD = 1.4826
# Where a window has cut air off at its low end, lungs lie at most this share of the window above that end.
CUT_MARGIN = 0.05
# MR: noise is a hundredth of what is bright, and values below a thousandth are all alike.
DARKEST = 1e-3
# MR: lung has a tenth of the signal of the other tissues, bone not much more; bone is thinner than the opening below.
LUNG_SHARE = 0.25
# A body fills more of its slice than this; less is the table, an arm or a speck.
LEAST_SHARE = 0.01
# More of a slice than this is no body: the field of view lies inside of it, or its outline was not found.
FILLED = 0.95
# Pixels per side for each pixel by which the mask is opened: 3 mm of table shell are 4 pixels in a slice of 512.
OPENING = 128

CROSS = ndimage.generate_binary_structure(2, 1)


def body_mask(
    images: Num[np.ndarray, "*stack rows columns"], modality: Modality, window: tuple[float, float] | None = None
) -> MaskStack:
    """The patient's pixels: in each slice the largest bright component with its holes filled; empty where there is no
    body.

    Args:
        images: one slice or any stack of them; CT in HU, MR in any unit that increases with the signal.
        modality: `ct` or `mr`.
        window: CT: the HU range to clip to first (`ImageSettings.window`), so that real and synthetic images are
            treated alike. Not needed for values that are clipped already, which is detected.

    Raises:
        InputError: values that are not finite.
    """
    if not np.isfinite(images).all():
        found = "NaN or infinite values"
        raise InputError("body", found=found, expected="finite values", do="Check the images.")
    if modality == "ct":
        above = _each(_above_air_ct, images if window is None else np.clip(images, *window))
    else:
        above = _each(_above_air_mr, images)
    return _each(_largest_and_filled, above)


def lung_mask(
    images: Num[np.ndarray, "*stack rows columns"],
    body: MaskStack,
    modality: Modality,
    window: tuple[float, float] | None = None,
) -> MaskStack:
    """Lung pixels of the body, or gas as wide as lung; none in fat-suppressed MR, where lungs look like fat.

    Args as for `body_mask`; `body` is its result.
    """
    smooth = _each(_smoothed, images)
    if modality == "ct":
        cut = -np.inf if window is None else window[0] + CUT_MARGIN * (window[1] - window[0])
        dark = smooth < max(LUNG_BELOW_HU, cut)
    else:
        middle = np.array(
            [np.median(s[b]) if b.any() else 0.0 for s, b in zip(_slices(smooth), _slices(body), strict=True)]
        )
        dark = smooth < LUNG_SHARE * middle.reshape(*images.shape[:-2], 1, 1)
    size = max(images.shape[-2:])
    return _each(lambda piece: _opened(piece, max(1, 2 * size // OPENING)), dark & body)


def _above_air_ct(image: Image) -> Mask:
    floor = float(np.percentile(image, 1))
    if floor <= AIR_BELOW_HU:
        return np.asarray(image > AIR_BELOW_HU)
    # Cut off air is one value, or, where a network made the image, a narrow peak.
    quiet = image[image <= floor + CUT_MARGIN_HU].astype(np.float64)
    air = float(np.median(quiet))
    noise = MAD_TO_SD * float(np.median(np.abs(quiet - air)))
    margin = max(3 * noise, min(CUT_MARGIN_HU, max((FAT_HU - air) / 2, 1.0)))
    # Noise takes single pixels of fat below the cut: the majority of a pixel's neighbourhood decides.
    return ndimage.uniform_filter((image > air + margin).astype(np.float32), 3, mode="nearest") > 0.5


def _above_air_mr(image: Image) -> Mask:
    smooth = _smoothed(image)
    smooth -= smooth.min()
    bright = float(np.percentile(smooth, 99.5))
    if bright <= 0:  # a slice of one value
        return np.zeros(image.shape, dtype=bool)
    levels = np.log(smooth / bright + DARKEST)
    return levels > _otsu(levels)


def _otsu(values: Float[np.ndarray, "rows columns"]) -> float:
    """The threshold with the greatest variance between the two sides (Otsu 1979)."""
    counts, edges = np.histogram(values, 256)
    centres = (edges[1:] + edges[:-1]) / 2
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * centres)[:-1]
    total, mean = counts.sum(), float(counts @ centres) / counts.sum()
    between = (mean * below - sums) ** 2 / (below * (total - below))  # neither side is empty: the ends hold values
    return float(edges[1:-1][np.argmax(between)])


def _smoothed(image: Image) -> Float[np.ndarray, "rows columns"]:
    return ndimage.gaussian_filter(image.astype(np.float64), 1.0)


def _opened(on: Mask, times: int) -> Mask:
    return ndimage.binary_opening(on, CROSS, iterations=times)


def _largest_and_filled(above: Mask) -> Mask:
    pieces = np.zeros(above.shape, np.int32)
    ndimage.label(_opened(above, max(1, max(above.shape) // OPENING)), output=pieces)
    areas = np.bincount(pieces.ravel())
    areas[0] = 0  # what is in no piece
    if areas.max() < LEAST_SHARE * above.size:
        return np.zeros(above.shape, dtype=bool)
    return np.asarray(ndimage.binary_fill_holes(pieces == np.argmax(areas)))


def _each(work: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """`work` on each slice of a stack."""
    return np.stack([work(image) for image in _slices(images)]).reshape(images.shape)


def _slices(images: np.ndarray) -> np.ndarray:
    return images.reshape(-1, *images.shape[-2:])
