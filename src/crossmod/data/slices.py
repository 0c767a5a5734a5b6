"""Slices and stacks of slices: what training reads, in memory, in the model's size and intensity.

- Pixels are int16, 32767 of them to 1: half of what float32 takes, with an error of 1.5e-5 at most, which is 0.003 HU
  in a window of 400 HU. 8 bits would have an error of 0.8 HU.
- A case is resampled a few slices at a time: beside the slices, loading holds one case as it is stored.
- The slice itself is the first of its stack, followed by the next ones towards the feet and the head, outwards. So what
  is done with the first image of a stack is done with the slice, whatever the height of the stack.
- The distance is in millimetres, and the same for CT and MR: slices of CT are often four times as close. Otherwise a
  discriminator that sees neighbours would separate CT from MR by how little they differ.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int16, Num, UInt8

from crossmod.data.frame import Frame, whole_frame
from crossmod.data.intensity import Intensity, intensity_of, warn_of_windows, window_use
from crossmod.data.pixel_size import Scale
from crossmod.data.store import CaseRecord, Store
from crossmod.data.units import one_unit
from crossmod.data.volume import Labels, Volume, label_value, take_slices
from crossmod.errors import InputError
from crossmod.progress import track
from crossmod.seeds import rng
from crossmod.settings import ImageSettings

log = logging.getLogger(__name__)

FULL_SCALE = 32767
# Multiplied with, never divided by: CUDA divides by a number by way of its reciprocal, and all are to agree to the bit.
PIXEL_STEP = 1 / FULL_SCALE

# Slices that are resampled together.
RUN = 8


@dataclass(frozen=True)
class SliceKey:
    """Where a slice came from."""

    case: str
    patient: str
    slice: int


@dataclass(frozen=True, eq=False)
class SliceSet:
    """Slices of one modality."""

    pixels: Int16[np.ndarray, "slices size size"]  # [-1, 1] as -32767 to 32767
    # class of each pixel, 0 for background, in the order of the organs; None without labels
    masks: UInt8[np.ndarray, "slices size size"] | None
    # whether each slice shows one of the organs, at the size at which it was labelled, so that it does not depend on
    # the loaded size; True if its case has no labels
    shows: Bool[np.ndarray, " slices"]
    known: Bool[np.ndarray, " slices"]  # whether the slice's case has labels
    keys: tuple[SliceKey, ...]  # where each came from
    intensities: dict[str, Intensity]  # the intensity step of each case
    # what each case shows of its slices; default: the whole field of view, stretched
    frames: dict[str, Frame] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def size(self) -> int:
        """Pixels per side."""
        return self.pixels.shape[-1]

    def frame(self, record: CaseRecord) -> Frame:
        """What of its slices a case shows here."""
        return self.frames.get(record.id) or whole_frame(record.shape[1:], record.spacing[1:], self.size)

    @property
    def images(self) -> Float[np.ndarray, "slices size size"]:
        """All slices in [-1, 1], float32, computed at each call: twice the memory of the set; see `image`."""
        return to_images(self.pixels)

    def image(self, index: int) -> Float[np.ndarray, "size size"]:
        """One slice in [-1, 1], float32."""
        return to_images(self.pixels[index])

    @property
    def patients(self) -> tuple[str, ...]:
        """The patients in it, sorted."""
        return tuple(sorted({key.patient for key in self.keys}))

    def take(self, indexes: Sequence[int]) -> "SliceSet":
        """Only the slices at `indexes`, in that order: a copy, or, for all in order, the set itself."""
        if list(indexes) == list(range(len(self))):
            return self
        where = np.asarray(indexes, dtype=np.int64)
        keys = tuple(self.keys[i] for i in indexes)
        cases = {key.case for key in keys}
        return SliceSet(
            pixels=self.pixels[where],
            masks=None if self.masks is None else self.masks[where],
            shows=self.shows[where],
            known=self.known[where],
            keys=keys,
            intensities={case: step for case, step in self.intensities.items() if case in cases},
            frames={case: frame for case, frame in self.frames.items() if case in cases},
        )

    def showing_organ(self) -> list[int]:
        """Indexes of the slices that show one of the organs, or may show one, since they are not labelled."""
        return [int(i) for i in np.flatnonzero(self.shows)]


def to_pixels(images: Float[np.ndarray, "*shape"]) -> Int16[np.ndarray, "*shape"]:
    """[-1, 1] to -32767 to 32767, to the nearest."""
    return np.rint(images * np.float32(FULL_SCALE)).astype(np.int16)


def to_images(pixels: Int16[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """-32767 to 32767 to [-1, 1], float32."""
    return pixels * np.float32(PIXEL_STEP)


def load_slices(
    store: Store,
    cases: Sequence[CaseRecord],
    settings: ImageSettings,
    *,
    scale: Scale,
    labelled: bool,
    only_showing: bool = False,
    read: Callable[[CaseRecord], Volume] | None = None,
) -> SliceSet:
    """Read cases of one modality, on the pixels of `scale`, in [-1, 1].

    Args:
        store: where the cases are.
        cases: which to read.
        settings: organs and intensity.
        scale: millimetres and pixels; each case has its frame by its record, whatever `read` returns.
        labelled: whether to load masks; every case must then have labels of the organs.
        only_showing: leave out slices whose labels show none of the organs.
        read: replaces the store's reading of a case.

    Raises:
        InputError: masks are requested and a case has none, no slice is left, or CT of several units.
    """
    one_unit(store.path, ((record.id, record.unit) for record in cases))
    # Room for every slice; of what is left unfilled, no page is ever touched.
    most = (sum(record.shape[0] for record in cases), scale.size, scale.size)
    pixels, masks = np.empty(most, np.int16), np.empty(most, np.uint8) if labelled else None
    shows, known, keys, intensities, frames, uses = [], [], [], {}, {}, []
    for record in track(cases, f"Reading {len(cases)} case{'s' * (len(cases) != 1)}"):
        volume = store.read(record.id) if read is None else read(record)
        intensity = intensity_of(volume, settings)
        has_labels = labelled or set(settings.organs) <= set(record.labels.values())
        classes = (
            class_map(volume, settings.organs, record.id) if has_labels else np.zeros(volume.voxels.shape, np.uint8)
        )
        present = np.asarray(classes.any(axis=(1, 2))) if has_labels else np.ones(len(classes), dtype=bool)
        chosen = [int(i) for i in (np.flatnonzero(present) if only_showing else range(len(classes)))]
        if not chosen:
            continue
        names = dict(enumerate(settings.organs, start=1))
        volume = volume.with_labels(classes, names) if labelled else volume.with_labels(None, {})
        begin = len(keys)
        frame = scale.frame_of(store, record)
        if labelled:
            _warn_of_cut_organs(volume, frame, record.id)
        for run in resampled(volume, chosen, frame):
            end = begin + len(run.voxels)
            pixels[begin:end] = to_pixels(intensity.to_model(run.voxels))
            if masks is not None and run.labels is not None:
                masks[begin:end] = run.labels
            begin = end
        shows.append(present[chosen])
        known.append(np.full(len(chosen), has_labels))
        keys += [SliceKey(record.id, record.patient, index) for index in chosen]
        intensities[record.id], frames[record.id] = intensity, frame
        uses.append(window_use(volume, intensity, record.patient))
    if not keys:
        found = f"no slice that shows {' or '.join(settings.organs)}"
        without = "train without a segmentor: --family cyclegan --slices all" if labelled else "take all: --slices all"
        do = f"Check the labels, name other --organs, or {without}."
        raise InputError(store.path, found=found, expected="some", do=do)
    warn_of_windows(store.path, cases[0].modality, uses, intensities)
    for array in (pixels, masks):
        if array is not None:
            # In place: the rest is given back, nothing is copied. There is no view of it.
            array.resize((len(keys), scale.size, scale.size), refcheck=False)
    return SliceSet(
        pixels=pixels,
        masks=masks,
        shows=np.concatenate(shows),
        known=np.concatenate(known),
        keys=tuple(keys),
        intensities=intensities,
        frames=frames,
    )


def resampled(volume: Volume, chosen: Sequence[int], frame: Frame) -> Iterator[Volume]:
    """The slices at `chosen` on the pixels of a frame, a few at a time."""
    # What fills is the lowest value of the whole volume.
    fill = float(volume.voxels.min())
    for begin in range(0, len(chosen), RUN):
        yield frame.place(take_slices(volume, chosen[begin : begin + RUN]), fill)


def _warn_of_cut_organs(volume: Volume, frame: Frame, case: str) -> None:
    """Warn of labels outside the model's frame."""
    if volume.labels is None or frame.whole:
        return
    rows, columns = frame.inside(volume.voxels.shape[1:], volume.spacing[1:])
    seen, labelled = np.count_nonzero(volume.labels[:, rows, columns]), np.count_nonzero(volume.labels)
    if seen < labelled:
        share = 100 * (1 - seen / labelled)
        log.warning("%s: %.1f %% of the labelled organ lies outside of the model's frame.", case, share)


def class_map(volume: Volume, organs: Sequence[str], case: str) -> Labels:
    """Label values to classes: 1 for the first of `organs`, and so on; 0 for all else. All must have labels."""
    for organ in organs:
        if volume.labels is None or label_value(volume.label_names, organ) is None:
            found = f"labels of {', '.join(volume.label_names.values()) or 'nothing'}"
            do = "Name other --organs, or leave it out."
            raise InputError(case, found=found, expected=f"labels of {organ}", do=do)
    labels = np.zeros(volume.voxels.shape, np.uint8) if volume.labels is None else volume.labels
    return in_classes(labels, volume.label_names, organs)


def in_classes(
    labels: UInt8[np.ndarray, "*slices rows columns"], names: Mapping[int, str], organs: Sequence[str]
) -> UInt8[np.ndarray, "*slices rows columns"]:
    """The same; all is 0 of an organ that the labels do not know."""
    classes = np.zeros_like(labels)
    for number, organ in enumerate(organs, start=1):
        value = label_value(names, organ)
        if value is not None:
            classes[labels == value] = number
    return classes


def spread(total: int, most: int) -> list[int]:
    """At most `most` indexes below `total`, evenly spread."""
    return [int(i) for i in np.linspace(0, total - 1, min(most, total))]


def draw_evenly(slices: SliceSet, indexes: Sequence[int], count: int, seed: int) -> list[int]:
    """`count` of `indexes` (an `InputError` if there are fewer), taking turns between patients so that none dominates.

    All of them, in their order, if `count` is 0 or their number: copying nothing. Otherwise the first n of a larger
    draw are the draw of n: sets of growing size contain one another.
    """
    if count > len(indexes):
        found, do = f"{count}, with {len(indexes)} there", "Lower the count, or use a store with more."
        raise InputError("--real-slices or --count", found=found, expected=f"at most {len(indexes)}", do=do)
    if count in (0, len(indexes)):
        return list(indexes)
    generator = rng(seed, "draw")
    shuffled = [indexes[int(i)] for i in generator.permutation(len(indexes))]
    turn: dict[str, int] = {}
    ranked = []
    for place, index in enumerate(shuffled):
        patient = slices.keys[index].patient
        turn[patient] = turn.get(patient, -1) + 1
        ranked.append((turn[patient], place, index))
    return [index for _, _, index in sorted(ranked)[:count]]


def offsets(height: int, apart_mm: float, spacing_mm: float) -> tuple[int, ...]:
    """Offsets of a stack's slices (`height`: 1, 3, 5, ...) from the slice itself, as near to `apart_mm` as possible.

    Where slices lie farther apart than that, neighbours are taken.
    """
    step = max(1, round(apart_mm / spacing_mm))
    return (0, *(sign * step * far for far in range(1, height // 2 + 1) for sign in (-1, 1)))


def places(slices: Sequence[int], offset: int, count: int) -> list[int]:
    """Where the slices at `offset` from some slices lie; beyond either end of `count` slices, the last one."""
    return [min(max(index + offset, 0), count - 1) for index in slices]


def stack_of(
    voxels: Num[np.ndarray, "all rows columns"], slices: Sequence[int], of_stack: Sequence[int]
) -> Num[np.ndarray, "slices stack rows columns"]:
    """The stack of each of some slices of a volume."""
    return np.stack([voxels[places(slices, offset, len(voxels))] for offset in of_stack], axis=1)


def load_beside(
    slices: SliceSet,
    cases: Iterable[CaseRecord],
    of_stack: Callable[[CaseRecord], Sequence[int]],
    read: Callable[[CaseRecord], Volume],
) -> tuple[SliceSet, ...]:
    """The other slices of the stacks of loaded slices: a set per offset, in the order of `slices`, without masks.

    `of_stack` gives the offsets of a case, equally many for each; `cases` may hold more than `slices` has.
    """
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(slices.keys):
        rows.setdefault(key.case, []).append(row)
    used = [record for record in cases if record.id in rows]
    count = len(of_stack(used[0])) - 1
    pixels = [np.empty_like(slices.pixels) for _ in range(count)]
    keys = [list(slices.keys) for _ in range(count)]
    beyond = 0
    for record in track(used, f"Reading the neighbours of {len(slices)} slices"):
        volume, own = read(record), rows[record.id]
        depth, middle = len(volume.voxels), [slices.keys[row].slice for row in own]
        expected = [places(middle, offset, depth) for offset in of_stack(record)[1:]]
        beyond += sum(not 0 <= index + offset < depth for index in middle for offset in of_stack(record)[1:])
        needed = sorted({index for one in expected for index in one})
        step = slices.intensities[record.id]
        runs = resampled(volume.with_labels(None, {}), needed, slices.frame(record))
        found = np.concatenate([to_pixels(step.to_model(run.voxels)) for run in runs])
        for into, names, one in zip(pixels, keys, expected, strict=True):
            into[own] = found[np.searchsorted(needed, one)]
            for row, index in zip(own, one, strict=True):
                names[row] = SliceKey(record.id, record.patient, index)
    if beyond > count * len(slices) / 2:
        log.warning("More than half of the neighbours lie beyond the ends of their volumes: stacks show little.")
    return tuple(
        replace(slices, pixels=into, masks=None, keys=tuple(names)) for into, names in zip(pixels, keys, strict=True)
    )
