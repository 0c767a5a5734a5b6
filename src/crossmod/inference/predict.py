"""A network over a volume, some slices at a time, with test-time augmentation.

Notable:
- `flip` mirrors left and right. A network that never saw a mirrored body makes another image of it; the spread is then
  that of a network led astray, and a warning says so.
- `shift` moves the slice by pixels that are no multiple of 4: a network that goes down to a quarter of the size makes
  its checkerboard at another place.
- `neighbours` translates what lies a part of the way to the slice above, and below. The mean of the translations is
  not the translation of the mean: what comes and goes from slice to slice, noise made by the network, averages out.
  On the phantom (CT to MR, 64 px) steps from slice to slice fell from 1.32 to 1.02 times the real ones; the error
  against the truth stayed the same. A quarter of the way gave 1.17, shifts alone 1.27.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Num, UInt8

from crossmod.data.intensity import Intensity, intensity_of
from crossmod.data.slices import offsets
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.inference.tiling import BodyPlace, Tiling, tiling_of
from crossmod.inference.types import Network, Options
from crossmod.settings import ImageSettings

# Rows and columns.
SHIFTS = ((1, 2), (-2, 1))
# Of the distance to the next slice.
PART = 0.5


@dataclass(frozen=True)
class Augmentation:
    """One variant: how slices are changed before, and how the answer is changed back.

    Args:
        rows: by which the slice is moved down; what leaves it comes in at the other side, which is air.
        columns: by which it is moved to the right.
        mirrored: whether left and right are swapped.
        along: share of the way to the next slice, towards the head where positive.
    """

    rows: int = 0
    columns: int = 0
    mirrored: bool = False
    along: float = 0.0

    def there(
        self, slices: Float32[np.ndarray, "inputs wider rows columns"]
    ) -> Float32[np.ndarray, "inputs slices rows columns"]:
        """The variant of every slice but the first and the last, which are there as neighbours."""
        middle = slices[:, 1:-1]
        if self.along:
            other = slices[:, 2:] if self.along > 0 else slices[:, :-2]
            middle = middle + np.float32(abs(self.along)) * (other - middle)
        if self.mirrored:
            middle = middle[..., ::-1]
        return np.roll(middle, (self.rows, self.columns), axis=(-2, -1))

    def back(self, images: Num[np.ndarray, "*stack rows columns"]) -> Num[np.ndarray, "*stack rows columns"]:
        """Where it was before."""
        images = np.roll(images, (-self.rows, -self.columns), axis=(-2, -1))
        return np.ascontiguousarray(images[..., ::-1]) if self.mirrored else images


def moves(variants: Sequence[str], slices: int = 2) -> tuple[Augmentation, ...]:
    """The slice itself, then its variants; a volume of one slice has no neighbours to vary by."""
    found = [Augmentation()]
    if "flip" in variants:
        found.append(Augmentation(mirrored=True))
    if "shift" in variants:
        found += [Augmentation(rows=rows, columns=columns) for rows, columns in SHIFTS]
    if "neighbours" in variants and slices > 1:
        found += [Augmentation(along=PART), Augmentation(along=-PART)]
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network, or several, makes of some slices, on their own pixels.

    Args:
        mean: in units of the target.
        variance: over variants and networks, in the square of these units; 0 where there was but one.
        labels: what S sees in the slice itself.
        seconds: that the network took.
    """

    mean: Float32[np.ndarray, "slices rows columns"]
    variance: Float32[np.ndarray, "slices rows columns"]
    labels: UInt8[np.ndarray, "slices rows columns"] | None = None
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Predictor:
    """One network, and the volumes that go into it.

    Args:
        network: what translates.
        volumes: one an input, on one grid.
        frame: from their slices to the network's.
        steps: from the units of each to [-1, 1].
        fills: what surrounds each where it is padded.
        moves: the slice itself and its variants.
        of_stack: which slices the network sees together, counted from the slice itself.
    """

    network: Network
    volumes: tuple[Volume, ...]
    frame: Tiling
    steps: tuple[Intensity, ...]
    fills: tuple[float, ...]
    moves: tuple[Augmentation, ...]
    of_stack: tuple[int, ...] = (0,)

    def answer(self, start: int, stop: int) -> Prediction:
        """What the network makes of the slices from `start` to before `stop`."""
        given = self._inputs(start, stop)
        frame, count = self.frame, stop - start
        tiles = [frame.cut(self._stacked(move.there(given), count)) for move in self.moves]
        before = time.monotonic()
        made, classes = self.network.translate(np.concatenate(tiles))
        seconds = time.monotonic() - before
        if not np.isfinite(made).all():
            found = "values that are no numbers in what it makes"
            raise InputError(self.network.about.name, found=found, expected="an image", do="Use another model.")
        units = Intensity(self.network.about.low, self.network.about.high)
        mean = np.zeros((count, frame.work, frame.work), np.float32)
        spread = np.zeros_like(mean)
        # Welford's way: neither loses digits nor holds all variants at once.
        for number, (move, one) in enumerate(zip(self.moves, np.split(made, len(self.moves)), strict=True), start=1):
            values = units.to_units(move.back(frame.blend(one)))
            away = values - mean
            mean += away / np.float32(number)
            spread += away * (values - mean)
        return Prediction(
            mean=frame.back(mean, units.low),
            variance=frame.back(spread / np.float32(len(self.moves)), 0.0)
            if len(self.moves) > 1
            else _zeros(self, count),
            labels=None if classes is None else frame.labels_back(frame.blend_labels(classes[: len(tiles[0])])),
            seconds=seconds,
        )

    def _inputs(self, start: int, stop: int) -> Float32[np.ndarray, "inputs wider work work"]:
        """The slices in [-1, 1], with a neighbour of theirs, and of each of their stack's, at either end.

        The volume's last slice is its own neighbour.
        """
        last, more = len(self.volumes[0].voxels) - 1, max(self.of_stack) + 1
        held = np.clip(np.arange(start - more, stop + more), 0, last)
        parts = zip(self.volumes, self.steps, self.fills, strict=True)
        return np.stack([step.to_model(self.frame.to_work(volume.voxels[held], fill)) for volume, step, fill in parts])

    def _stacked(
        self, slices: Float32[np.ndarray, "inputs wider work work"], count: int
    ) -> Float32[np.ndarray, "slices images work work"]:
        """Of each slice the stacks of all inputs, one after the other."""
        begins = [max(self.of_stack) + offset for offset in self.of_stack]
        stacks = np.stack([slices[:, begin : begin + count] for begin in begins], axis=2)
        return np.concatenate(list(stacks), axis=1)


def _zeros(sweep: Predictor, count: int) -> Float32[np.ndarray, "slices rows columns"]:
    return np.zeros((count, *sweep.frame.shape), np.float32)


def prepare_sweep(
    network: Network, volumes: Sequence[Volume], options: Options, body: BodyPlace | None = None
) -> Predictor:
    """What is worked out once a volume: how intensities and pixels are brought to the network's.

    Args:
        network: what translates.
        volumes: one an input, on one grid.
        options: variants and tiles.
        body: where it lies in them; default: it is looked for.

    Raises:
        InputError: an MR volume without contrast.
    """
    about = network.about
    settings = ImageSettings(window=about.window, percentiles=about.percentiles)
    return Predictor(
        network=network,
        volumes=tuple(volumes),
        frame=tiling_of(volumes[0], about, options, body),
        steps=tuple(intensity_of(volume, settings) for volume in volumes),
        fills=tuple(float(volume.voxels.min()) for volume in volumes),
        moves=moves(options.variants, len(volumes[0].voxels)),
        of_stack=offsets(about.stack, about.stack_mm or 0.0, volumes[0].spacing[0]),
    )


def pooled(answers: Sequence[Prediction]) -> Prediction:
    """Several networks' answers as one: the mean of all, and the spread within and between them."""
    if len(answers) == 1:
        return answers[0]
    means = np.stack([answer.mean for answer in answers])
    within = np.stack([answer.variance for answer in answers]).mean(axis=0)
    labels = next((answer.labels for answer in answers if answer.labels is not None), None)
    return Prediction(means.mean(axis=0), within + means.var(axis=0), labels, sum(answer.seconds for answer in answers))
