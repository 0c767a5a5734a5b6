"""The masks of CHAOS: PNG values to labels, and which mask belongs to which slice.

The masks have no position, and in some CT cases their order is reversed, so the order is decided by what they cover.
The liver is nearly uniform; on the wrong slices its mask covers air, fat and bone, and the spread of the values under
it grows. On 35 CT and MR volumes (the pairing known) the spread under the right order was 0.11 to 0.56 of that under
the reversed one. That compares orders; whether any of them is right is checked on the liver itself, whose masks must
follow one another along the body.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt8
from PIL import Image, UnidentifiedImageError

from crossmod.config import Modality
from crossmod.data.store import listed
from crossmod.data.volume import Labels, Voxels
from crossmod.errors import InputError
from crossmod.files import files_in, natural_key

Pixels = Shaped[np.ndarray, "rows columns"]

LABEL_NAMES: dict[Modality, dict[int, str]] = {
    "ct": {1: "liver"},
    "mr": {1: "liver", 2: "right_kidney", 3: "left_kidney", 4: "spleen"},
}

logger = logging.getLogger(__name__)

# Open below, closed above, as the organisers define them.
MR_RANGES = {1: (55, 70), 2: (110, 135), 3: (175, 200), 4: (240, 255)}

# Against the reversed order at most 0.56 was seen; 1.0 means that the two say the same.
DECISIVE = 0.8

# Of the liver's masks in the right order, none of 35 real volumes and 64 phantoms (3 to 42 slices) had an empty slice
# between two others; one is tolerated.
MOST_EMPTY = 1

# Dice of neighbours, on average. In 24 phantoms of 4 to 7 masks at least 0.46: coarse steps overlap little.
FEWEST_TO_OVERLAP, LEAST_OVERLAP = 4, 0.3

# (1 - Dice) of neighbours by (1 - Dice) of all pairs: about 1 in a random order. In the right order at most 0.37 in
# 35 real volumes and 0.51 in 22 phantoms of 10 masks and more; in 200 shuffles of each at least 0.72 and 0.67. With
# fewer masks the two meet.
FEWEST_TO_COMPARE, MOST_ROUGHNESS = 10, 0.6

NO_LIVER = "no liver in any mask"

UNDECIDED = "masks follow the file names; what they cover does not show whether that is right"

Order = Literal["file names", "file names reversed", "positions", "positions reversed"]


def read_masks(ground: Path, modality: Modality) -> UInt8[np.ndarray, "masks rows columns"]:
    """The masks of a `Ground` folder as labels, in the natural order of their names; unusable ones are refused."""
    paths = [path for path in files_in(ground) if path.suffix.lower() == ".png"] if ground.is_dir() else []
    if not paths:
        raise InputError(ground, found="no PNG files", expected="masks", do="Unpack the training set again.")
    masks = [_labels(path, _pixels(path), modality) for path in paths]
    for path, mask in zip(paths, masks, strict=True):
        if mask.shape != masks[0].shape:
            found = f"a mask of {mask.shape[0]} x {mask.shape[1]}"
            expected = f"{masks[0].shape[0]} x {masks[0].shape[1]}, as {paths[0].name}"
            raise InputError(path, found=found, expected=expected, do="Unpack the training set again.")
    return np.stack(masks)


def _pixels(path: Path) -> Pixels:
    try:
        with Image.open(path) as image:
            return np.asarray(image if image.mode in ("L", "I;16", "I") else image.convert("L"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's own words say it better
        found = "an image that cannot be read"
        raise InputError(path, found=found, expected="a mask", do="Unpack the training set again.") from None


def _labels(path: Path, pixels: Pixels, modality: Modality) -> UInt8[np.ndarray, "rows columns"]:
    if modality == "ct":
        labels, stray = (pixels > 0).astype(np.uint8), ~np.isin(pixels, (0, 1, 255))
        expected = "0 and 255 (liver)"
    else:
        labels = np.zeros(pixels.shape, dtype=np.uint8)
        for value, (above, most) in MR_RANGES.items():
            labels[(pixels > above) & (pixels <= most)] = value
        stray = (labels == 0) & (pixels != 0)
        organs = (f"{LABEL_NAMES['mr'][value]} ({low}, {high}]" for value, (low, high) in MR_RANGES.items())
        expected = f"0, {', '.join(organs)}"
    if stray.any():
        found = f"label value unknown: {listed(map(str, np.unique(pixels[stray]).tolist()), 5)}"
        do = "Unpack the training set again, or leave out this case."
        raise InputError(path, found=found, expected=expected, do=do)
    return labels


def paired(
    ground: Path, masks: Labels, files: Sequence[Path], voxels: Voxels, modality: Modality
) -> tuple[Labels, str]:
    """The masks (in the natural order of their names) in the order of the slices, feet to head, and which order it was.

    An undecidable order is refused for `ct`, whose cases are known to differ; `mr` follows the file names.

    Raises:
        InputError: the order of a CT case cannot be decided, or the masks do not follow one another in it.
    """
    if not (masks == 1).any():
        logger.warning("%s: %s", ground, NO_LIVER)
    if not masks.any():
        return masks, NO_LIVER
    laid, note = _laid(ground, masks, files, voxels, modality)
    _check_follow(ground, laid == 1)
    return laid, note


def _laid(ground: Path, masks: Labels, files: Sequence[Path], voxels: Voxels, modality: Modality) -> tuple[Labels, str]:
    orders = _orders(files)
    spreads = {order: _spread(voxels, masks[index]) for order, index in orders.items()}
    # Of equal spreads the first is taken, which is the file names' order.
    best = sorted(orders, key=lambda order: spreads[order])[0]
    # Orders that lay the same labels are no rivals: a mask set may be symmetric, or have one slice.
    laid = masks[orders[best]]
    rivals = [spreads[order] for order, index in orders.items() if not np.array_equal(masks[index], laid)]
    if not rivals:
        return laid, f"masks follow the {best}"
    ratio = spreads[best] / min(rivals) if np.isfinite(spreads[best]) and min(rivals) > 0 else 1.0
    logger.debug("%s: %s; spread under the liver %.2f of the next order's", ground, best, ratio)
    if ratio <= DECISIVE:
        return laid, f"masks follow the {best}"
    if modality == "ct":
        # Shuffled masks have no order that fits: that says more.
        _check_follow(ground, laid == 1)
        found = f"masks whose order cannot be decided (spread under the liver {ratio:.2f} of the next order's)"
        expected = f"at most {DECISIVE}, so that one order clearly fits"
        raise InputError(ground, found=found, expected=expected, do="Inspect this case; leave it out with --exclude.")
    logger.warning("%s: %s", ground, UNDECIDED)
    return masks[orders["file names"]], UNDECIDED


def _check_follow(ground: Path, liver: Bool[np.ndarray, "slices rows columns"]) -> None:
    """Refuse masks in an order that no body has: the liver is one piece, and changes slowly from slice to slice."""
    with_liver = np.flatnonzero(liver.any(axis=(1, 2)))
    if not with_liver.size:
        return
    empty = int(with_liver[-1] - with_liver[0]) + 1 - with_liver.size
    overlap, roughness = _overlap(liver[with_liver])
    if empty > MOST_EMPTY:
        found = f"liver masks with {empty} empty ones between them along the body"
    elif with_liver.size >= FEWEST_TO_OVERLAP and overlap < LEAST_OVERLAP:
        found = f"liver masks that overlap their neighbours little (mean Dice {overlap:.2f}, at least {LEAST_OVERLAP})"
    elif with_liver.size >= FEWEST_TO_COMPARE and roughness > MOST_ROUGHNESS:
        found = f"liver masks that leap from slice to slice (mean Dice of neighbours {overlap:.2f})"
    else:
        return
    do = "The masks may be shuffled or renamed: unpack the training set again, or leave out this case with --exclude."
    raise InputError(ground, found=found, expected="masks that follow one another along the body", do=do)


def _overlap(masks: Bool[np.ndarray, "slices rows columns"]) -> tuple[float, float]:
    """The mean Dice of neighbours, and how unlike neighbours are by how unlike any two masks are."""
    # A coarse grid says the same, and a case of hundreds of slices fits in memory.
    step = max(1, max(masks.shape[1:]) // 128)
    flat = masks[:, ::step, ::step].reshape(len(masks), -1).astype(np.float32)
    areas = flat.sum(axis=1)
    dice = 2 * (flat @ flat.T) / np.maximum(areas[:, None] + areas, 1)
    neighbours, all_pairs = np.diagonal(dice, 1), dice[np.triu_indices(len(dice), 1)]
    if not neighbours.size:
        return 1.0, 0.0
    unlike = 1 - float(all_pairs.mean())
    overlap = float(neighbours.mean())
    return overlap, (1 - overlap) / unlike if unlike > 1e-3 else 0.0


def _orders(files: Sequence[Path]) -> dict[Order, Int[np.ndarray, " slices"]]:
    """Which mask each slice gets, for every order that differs from those before it."""
    by_name = sorted(files, key=natural_key)
    rank = {path: index for index, path in enumerate(by_name)}
    named = np.array([rank[path] for path in files])
    placed = np.arange(len(files))
    every: dict[Order, np.ndarray] = {
        "file names": named,
        "file names reversed": len(files) - 1 - named,
        "positions": placed,
        "positions reversed": placed[::-1],
    }
    distinct: dict[Order, np.ndarray] = {}
    for order, index in every.items():
        if not any(np.array_equal(index, other) for other in distinct.values()):
            distinct[order] = index
    return distinct


def _spread(voxels: Voxels, labels: Labels) -> float:
    """Interquartile range under the liver, by slice since MR drifts, weighted by area; infinite without any."""
    organ = 1 if (labels == 1).any() else labels.max()
    total = weight = 0.0
    for values, mask in zip(voxels, labels == organ, strict=True):
        covered = values[mask]
        if organ and covered.size:
            low, high = np.percentile(covered, [25, 75])
            total += float(high - low) * covered.size
            weight += covered.size
    return total / weight if weight else float("inf")
