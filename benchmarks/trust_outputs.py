"""Known corruptions of the output of a translation, for `trust_table.py`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage
from trust_inputs import Case, range_of

from crossmod.config import with_changes
from crossmod.data.slices import in_classes
from crossmod.inference.tiling import frame_of
from crossmod.inference.translate_volume import translate_volume
from crossmod.inference.types import About, Translation
from crossmod.presets import TRANSLATE

OF_TRANSLATION = Callable[[Translation, Case], Translation]


@dataclass(frozen=True, eq=False)
class Function:
    """A function in the role of a network."""

    about: About
    work: Callable[[np.ndarray], np.ndarray]

    def translate(self, images: np.ndarray) -> tuple[np.ndarray, None]:
        """Slices in [-1, 1] to slices in [-1, 1]."""
        return np.ascontiguousarray(self.work(images), dtype=np.float32), None


def _with(made: Translation, values: np.ndarray) -> Translation:
    """The output with other values inside the body."""
    voxels = np.where(made.body, values, made.about.low)
    kept = np.rint(voxels).astype(np.int16) if made.image.modality == "ct" else voxels.astype(np.float32)
    return replace(made, image=replace(made.image, voxels=kept))


def _span(made: Translation) -> float:
    return made.about.high - made.about.low


def _filled(share: float) -> OF_TRANSLATION:
    """The whole body at one value, as a share of the range; below 0 and above 1 are outside it."""

    def fill(made: Translation, case: Case) -> Translation:
        return _with(made, np.full(made.body.shape, made.about.low + share * _span(made)))

    return fill


def _network_pixel(made: Translation) -> float:
    """Size of a network pixel, in image pixels."""
    return frame_of(made.sources[0], made.about).pixel_mm[0] / made.image.spacing[1]


def _smoothed(made: Translation, case: Case) -> Translation:
    sigma = 2 * _network_pixel(made)
    return _with(made, ndimage.gaussian_filter(made.image.voxels.astype(np.float64), (0, sigma, sigma)))


def _untrained(made: Translation, case: Case) -> Translation:
    """The output of a network with random weights for the same patient."""
    import torch

    from crossmod.synthesis.cyclegan import generators

    about = made.about
    torch.manual_seed(0)
    settings = with_changes(TRANSLATE["tiny"], source=about.source, size=about.size)
    generator = generators(settings)["G1" if about.source == "ct" else "G2"].eval()

    @torch.no_grad()
    def work(images: np.ndarray) -> np.ndarray:
        return np.concatenate([generator(torch.from_numpy(one[None, :1]))[0].numpy() for one in images])

    again = translate_volume([Function(replace(about, organs=()), work)], [case.volume])
    return replace(again, about=about, labels=made.labels)


def _checkered(made: Translation, case: Case) -> Translation:
    _, rows, columns = made.image.voxels.shape
    cell = _network_pixel(made)
    y, x = np.mgrid[0:rows, 0:columns]
    signs = np.where((np.floor(y / cell) + np.floor(x / cell)) % 2 > 0, 1, -1)
    return _with(made, made.image.voxels + 0.06 * _span(made) * signs)


def _moved(pixels: Callable[[Translation], float]) -> OF_TRANSLATION:
    def move(made: Translation, case: Case) -> Translation:
        by = (0, 0, pixels(made))
        labels = None if made.labels is None else ndimage.shift(made.labels, by, order=0)
        moved = ndimage.shift(made.image.voxels.astype(np.float64), by, order=1, mode="nearest")
        return replace(_with(made, moved), labels=labels)

    return move


def _scaled(made: Translation, case: Case) -> Translation:
    shape = np.array(made.image.voxels.shape[1:])
    offset: Any = np.array([0, *((shape - 1) / 2 * (1 - 1 / 1.05))])
    values = made.image.voxels.astype(np.float64)
    larger = ndimage.affine_transform(values, [1, 1 / 1.05, 1 / 1.05], offset, order=1, mode="nearest")
    return _with(made, larger)


def liver_of(made: Translation) -> np.ndarray:
    source = made.sources[0]
    assert source.labels is not None
    return in_classes(source.labels, source.label_names, ("liver",)) > 0


def _without_liver(made: Translation, case: Case) -> Translation:
    liver, values = liver_of(made), made.image.voxels.astype(np.float64)
    other = np.median(values[made.body & ~liver])
    labels = None if made.labels is None else np.where(liver, 0, made.labels).astype(np.uint8)
    return replace(_with(made, np.where(liver, other, values)), labels=labels)


def _second_lump(made: Translation, case: Case) -> Translation:
    """A ball of liver on the other side of the body, with a fifth of the liver's volume."""
    liver, values = liver_of(made), made.image.voxels.astype(np.float64)
    shows = np.flatnonzero(liver.any(axis=(1, 2)))
    middle = int(shows[len(shows) // 2])
    rows, columns = np.nonzero(made.body[middle])
    centre = (middle, float(np.mean(rows)), float(columns.min() + 0.8 * np.ptp(columns)))
    grid = np.moveaxis(np.indices(liver.shape), 0, -1)
    apart = np.linalg.norm((grid - centre) * np.array(made.image.spacing), axis=-1)
    radius = (0.2 * liver.sum() * np.prod(made.image.spacing) * 3 / (4 * np.pi)) ** (1 / 3)
    ball = (apart < radius) & made.body & ~liver
    labels = None if made.labels is None else np.where(ball, 1, made.labels).astype(np.uint8)
    return replace(_with(made, np.where(ball, np.median(values[liver & made.body]), values)), labels=labels)


def _copied(made: Translation, case: Case) -> Translation:
    low, high = range_of(case.volume)
    shares = np.clip((case.volume.voxels.astype(np.float64) - low) / (high - low), 0, 1)
    return _with(made, made.about.low + shares * _span(made))


def _other_histogram(made: Translation, case: Case) -> Translation:
    """The values of the body replaced, rank by rank, by those of the input."""
    low, high = range_of(case.volume)
    shares = np.sort(np.clip((case.volume.voxels[made.body].astype(np.float64) - low) / (high - low), 0, 1))
    values = made.image.voxels.astype(np.float64)
    ranks = np.argsort(np.argsort(values[made.body], kind="stable"), kind="stable")
    values[made.body] = made.about.low + shares[ranks] * _span(made)
    return _with(made, values)


def _slice_lost(made: Translation, case: Case) -> Translation:
    values, middle = made.image.voxels.astype(np.float64), len(made.body) // 2
    values[middle] = made.about.low
    return _with(made, values)


def _offset(made: Translation, case: Case) -> Translation:
    return _with(made, np.minimum(made.image.voxels + 0.25 * _span(made), made.about.high))


def _grainy(made: Translation, case: Case) -> Translation:
    draws = np.random.default_rng(0).normal(0, 0.1 * _span(made), made.body.shape)
    cell = _network_pixel(made) / 2
    smooth = ndimage.gaussian_filter(draws, (0, cell, cell))
    return _with(made, made.image.voxels + smooth * (0.1 * _span(made) / smooth.std()))


def _output_shuffled(made: Translation, case: Case) -> Translation:
    order = np.random.default_rng(0).permutation(len(made.body))
    return _with(made, made.image.voxels[order])


def _output_mirrored(made: Translation, case: Case) -> Translation:
    return _with(made, made.image.voxels[:, :, ::-1])


def _of_another(made: Translation, case: Case) -> Translation:
    """The output for another patient, slice by slice."""
    other = translate_volume([case.network], [case.other]).image.voxels
    places = np.rint(np.linspace(0, len(other) - 1, len(made.body))).astype(int)
    shape = made.image.voxels.shape[1:]
    zooms = [want / have for want, have in zip(shape, other.shape[1:], strict=True)]
    values = np.array(
        [ndimage.zoom(other[at].astype(np.float64), zooms, order=1, grid_mode=True, mode="nearest") for at in places]
    )
    return _with(made, values)


OUTPUTS: dict[str, OF_TRANSLATION] = {
    "body filled with a value far below the range": _filled(-1.85),
    "body filled with a value far above the range": _filled(2.65),
    "body filled with the middle of the range (CT: 40 HU)": _filled(0.5),
    "blurred by 2 pixels of the network": _smoothed,
    "of an untrained network": _untrained,
    "checkerboard, 6 % of the range": _checkered,
    "shifted by 1 pixel of the network": _moved(_network_pixel),
    "shifted by 3 mm": _moved(lambda made: 3 / made.image.spacing[2]),
    "5 % larger": _scaled,
    "liver removed": _without_liver,
    "second lump of liver, a fifth of its volume": _second_lump,
    "copy of the input": _copied,
    "histogram of the input's modality": _other_histogram,
    "one slice empty": _slice_lost,
    "25 % of the range brighter (CT: 100 HU)": _offset,
    "noise, 10 % of the range": _grainy,
    "slices shuffled": _output_shuffled,
    "mirrored, left for right": _output_mirrored,
    "of another patient": _of_another,
}
