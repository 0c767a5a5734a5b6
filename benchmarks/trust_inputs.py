"""Known corruptions of a volume before it is translated, for `trust_table.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from crossmod.data.body_mask import body_mask
from crossmod.data.volume import Volume
from crossmod.inference.types import Network, Translation
from crossmod.phantom.tissues import ORGANS

LIVER = {number: "liver" for number, name in ORGANS.items() if name == "liver"}
OF_VOLUME = Callable[[Volume, "Case"], Volume]


@dataclass(frozen=True, eq=False)
class Case:
    """One patient, and another one whose images a corruption may use."""

    volume: Volume
    other: Volume
    clean: Translation
    network: Network


def _body(volume: Volume) -> np.ndarray:
    return body_mask(volume.voxels, volume.modality)


def range_of(volume: Volume) -> tuple[float, float]:
    """The display range: the abdominal window, or the middle 99 % of MR."""
    if volume.modality == "ct":
        return -160.0, 240.0
    low, high = np.percentile(volume.voxels, (0.5, 99.5))
    return float(low), float(high)


def _inside(volume: Volume, values: np.ndarray) -> Volume:
    voxels = np.where(_body(volume), values, volume.voxels)
    return replace(volume, voxels=voxels.astype(np.float32))


def _inverted(volume: Volume, case: Case) -> Volume:
    low, high = range_of(volume)
    return _inside(volume, low + high - np.clip(volume.voxels, low, high))


def _blurred(volume: Volume, case: Case) -> Volume:
    sigma = 6.0 / volume.spacing[1]
    return replace(volume, voxels=ndimage.gaussian_filter(volume.voxels.astype(np.float32), (0, sigma, sigma)))


def _noisy(volume: Volume, case: Case) -> Volume:
    low, high = range_of(volume)
    draws = np.random.default_rng(0).normal(0, 0.15 * (high - low), volume.voxels.shape)
    return replace(volume, voxels=(volume.voxels + draws).astype(np.float32))


def _biased(volume: Volume, case: Case) -> Volume:
    low, high = range_of(volume)
    ramp = np.linspace(-0.5, 0.5, volume.voxels.shape[2])
    if volume.modality == "mr":
        return replace(volume, voxels=(volume.voxels * (1 + 1.4 * ramp)).astype(np.float32))
    return _inside(volume, volume.voxels + ramp * (high - low) / 2)


def _upside_down(volume: Volume, case: Case) -> Volume:
    return _turned(volume, 1)


def _mirrored(volume: Volume, case: Case) -> Volume:
    return _turned(volume, 2)


def _feet_first(volume: Volume, case: Case) -> Volume:
    return _turned(volume, 0)


def _turned(volume: Volume, axis: int) -> Volume:
    labels = None if volume.labels is None else np.flip(volume.labels, axis).copy()
    return replace(volume, voxels=np.flip(volume.voxels, axis).copy(), labels=labels)


def _in_order(volume: Volume, order: Sequence[int]) -> Volume:
    labels = None if volume.labels is None else volume.labels[list(order)]
    return replace(volume, voxels=volume.voxels[list(order)], labels=labels)


def _doubled(volume: Volume, case: Case) -> Volume:
    return _in_order(volume, [index // 2 for index in range(2 * len(volume.voxels))])


def _shuffled(volume: Volume, case: Case) -> Volume:
    return _in_order(volume, np.random.default_rng(0).permutation(len(volume.voxels)).tolist())


def _two_swapped(volume: Volume, case: Case) -> Volume:
    order = list(range(len(volume.voxels)))
    middle = len(order) // 2
    order[middle], order[middle + 2] = order[middle + 2], order[middle]
    return _in_order(volume, order)


def _even_then_odd(volume: Volume, case: Case) -> Volume:
    count = len(volume.voxels)
    return _in_order(volume, [*range(0, count, 2), *range(1, count, 2)])


def _spaced(volume: Volume, factors: tuple[float, float, float]) -> Volume:
    affine = volume.affine.copy()
    affine[:3, :3] = affine[:3, :3] * np.array(factors)
    return replace(volume, affine=affine)


def _pixels_wrong(volume: Volume, case: Case) -> Volume:
    return _spaced(volume, (1, 1.4, 1.4))


def _steps_wrong(volume: Volume, case: Case) -> Volume:
    return _spaced(volume, (2, 1, 1))


def _brighter(volume: Volume, case: Case) -> Volume:
    if volume.modality == "ct":
        return _inside(volume, volume.voxels + 200.0)
    low, high = range_of(volume)
    shares = np.clip((volume.voxels - low) / (high - low), 0, 1)
    return replace(volume, voxels=(low + (high - low) * np.sqrt(shares)).astype(np.float32))


def _clipped(volume: Volume, case: Case) -> Volume:
    low, high = range_of(volume)
    return _inside(volume, np.clip(volume.voxels, low + 0.45 * (high - low), low + 0.6 * (high - low)))


def _other_modality(volume: Volume, case: Case) -> Volume:
    """The output of the network, passed as input as if it had the source's modality."""
    made, body = case.clean.image.voxels.astype(np.float64), case.clean.body
    low, high = range_of(volume)
    least, most = np.percentile(made[body], (0.5, 99.5))
    return _inside(volume, low + np.clip((made - least) / (most - least), 0, 1) * (high - low))


def _legs(volume: Volume, case: Case) -> Volume:
    """Two thighs: muscle around bone, fat around both."""
    _, rows, columns = volume.voxels.shape
    y, x = np.mgrid[0:rows, 0:columns]
    low, high = range_of(volume)
    air = float(volume.voxels.min())
    values = np.full((rows, columns), air)
    for centre in (0.33, 0.67):
        apart = np.hypot((y - rows / 2) / rows, (x - centre * columns) / columns)
        for radius, share in ((0.168, 0.15), (0.13, 0.55), (0.03, 1.0)):
            values[apart < radius] = low + share * (high - low)
    grain = np.random.default_rng(0).normal(0, 0.02 * (high - low), volume.voxels.shape)
    voxels = np.where(values > air, values + grain, air).astype(np.float32)
    return replace(volume, voxels=voxels, labels=None, label_names={})


def _cropped(volume: Volume, case: Case) -> Volume:
    """The middle 60 % of the body's bounding box."""
    rows, columns = (np.flatnonzero(_body(volume).any(axis=(0, axis))) for axis in (2, 1))
    cuts = [slice(*(round(at[0] + share * (at[-1] - at[0])) for share in (0.2, 0.8))) for at in (rows, columns)]
    labels = None if volume.labels is None else volume.labels[:, cuts[0], cuts[1]]
    return replace(volume, voxels=volume.voxels[:, cuts[0], cuts[1]], labels=labels)


def _streaks(volume: Volume, case: Case) -> Volume:
    """Two metal implants: bright discs, with dark and bright rays between and around them."""
    _, rows, columns = volume.voxels.shape
    y, x = np.mgrid[0:rows, 0:columns]
    low, high = range_of(volume)
    voxels = volume.voxels.astype(np.float64)
    for centre in (0.42, 0.58):
        angle = np.arctan2(y - rows * 0.52, x - centre * columns)
        apart = np.hypot(y - rows * 0.52, x - centre * columns) / columns
        voxels += (high - low) * np.cos(14 * angle) * np.exp(-apart / 0.15) * 0.7
        voxels[:, apart < 0.02] = high + 10 * (high - low)
    return _inside(volume, voxels)


def _emptied(volume: Volume, case: Case) -> Volume:
    voxels, middle = volume.voxels.copy(), len(volume.voxels) // 2
    voxels[middle : middle + 2] = voxels.min()
    return replace(volume, voxels=voxels)


def _one_slice(volume: Volume, case: Case) -> Volume:
    return _in_order(volume, [len(volume.voxels) // 2])


INPUTS: dict[str, OF_VOLUME] = {
    "values inverted": _inverted,
    "blurred by 6 mm": _blurred,
    "noise, 15 % of the range": _noisy,
    "brightness falls off to one side": _biased,
    "upside down": _upside_down,
    "mirrored, left for right": _mirrored,
    "feet for head": _feet_first,
    "each slice twice": _doubled,
    "slices shuffled": _shuffled,
    "two slices exchanged": _two_swapped,
    "even slices, then odd ones": _even_then_odd,
    "pixels 40 % too large in the header": _pixels_wrong,
    "slice distance doubled in the header": _steps_wrong,
    "CT +200 HU; MR: square root of the values": _brighter,
    "cut to 15 % of the range": _clipped,
    "image of the other modality": _other_modality,
    "another body part (thighs)": _legs,
    "field of view inside the body": _cropped,
    "metal streaks": _streaks,
    "two slices empty": _emptied,
    "one slice alone": _one_slice,
}
