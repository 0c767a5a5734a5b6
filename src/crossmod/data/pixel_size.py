"""Millimetres per model pixel: how large bodies are, which pixel size fits them, and whether two sides agree.

The rule of `pixel_mm: 0`: on either side, the square around the centre that holds the bodies of 95 % of the patients
(all of up to 19) may fill 95 % of the frame; the side that needs more decides; and the result is rounded up to 0.05 mm,
so that it is readable and folds mostly agree.

- Mostly warnings: children are scanned too, and animals. `check_sides` refuses what training cannot use.
- A body cut by the field of view may be larger than it looks: if the smaller of two is cut, nothing is reported.
- A model's output may fill its whole frame. That is less than `ODD` times a body, and no false alarm.
"""

import itertools
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from crossmod.config import with_changes
from crossmod.data.body_box import BodyBox
from crossmod.data.frame import Frame, Pair, Shape, centre_of, field_centre, whole_frame
from crossmod.data.store import CaseRecord, Store, listed
from crossmod.errors import InputError
from crossmod.progress import track
from crossmod.runs import ExtentCard
from crossmod.settings import FrameKind, ImageSettings, TranslateSettings


@dataclass(frozen=True)
class Scale:
    """How slices become pixels: `size` of them per side, of `pixel_mm`; 0 if the whole field is stretched."""

    kind: FrameKind
    size: int
    pixel_mm: float

    def __post_init__(self) -> None:
        # A programming error: training settles it first (`crossmod.data.pixel_size.settle`).
        if (self.pixel_mm > 0) == (self.kind == "stretch"):
            raise ValueError(f"millimetres of a pixel, and none where the field is stretched, got {self}")

    def centred(self, shape: Shape, spacing: Pair, centre: Pair) -> Frame:
        """The frame of slices of this shape, around a centre: millimetres from the first pixel's."""
        if self.kind == "stretch":
            return whole_frame(shape, spacing, self.size)
        return Frame(self.size, (self.pixel_mm, self.pixel_mm), centre)

    def frame(self, shape: Shape, spacing: Pair, body: BodyBox) -> Frame:
        """The frame of slices with a body in them."""
        return self.centred(shape, spacing, body.centre if self.kind == "body" else field_centre(shape, spacing))

    def frame_of(self, store: Store, record: CaseRecord) -> Frame:
        """The frame of a case; an `InputError` where its body must be measured and it cannot be read."""
        return self.centred(record.shape[1:], record.spacing[1:], centre_of(store, record, self.kind))


def model_scale(settings: ImageSettings) -> Scale:
    """What a network sees."""
    return Scale(settings.frame, settings.size, settings.pixel_mm)


def training_scale(settings: TranslateSettings) -> Scale:
    """What slices are loaded at for training a translator, which cuts random windows out of them."""
    return Scale(settings.frame, settings.loaded, settings.loaded_mm)


log = logging.getLogger(__name__)

Framed = TypeVar("Framed", bound=ImageSettings)

# Share of the patients of a side whose bodies must fit; share of the frame that they may fill; mm that are rounded to.
PATIENTS, FILLED, STEP = 0.95, 0.95, 0.05
# Bodies of the two sides that differ more than this, in model pixels, are reported: 15 %.
ALIKE = 1.15
# In millimetres no two groups of people differ by this much: one of the spacings is wrong.
IMPOSSIBLE = 2.5
# A body that reaches the edge of the field in more than half of the slices is larger than can be measured.
OFTEN = 0.5


@dataclass(frozen=True)
class Extent:
    """How large the body of one case is; `spacing` in mm, `needs`: mm per side of the square around the frame's centre
    that holds the body.
    """

    case: str
    patient: str
    shape: tuple[int, int]
    spacing: tuple[float, float]
    body: BodyBox
    needs: float

    def pixels(self, scale: Scale) -> tuple[float, float]:
        """Height and width of the body in a model's pixels."""
        down, along = scale.frame(self.shape, self.spacing, self.body).pixel_mm
        return self.body.height / down, self.body.width / along


def extents(store: Store, cases: Iterable[CaseRecord], kind: FrameKind = "body") -> list[Extent]:
    """How large the bodies of some cases are, for frames of a kind; read from the images if the manifest is older."""
    records = list(cases)
    unknown = any(record.body is None for record in records)
    found = []
    for record in track(records, f"Measuring the bodies of {len(records)} cases") if unknown else records:
        body = store.body(record)
        needs = body.side_around(centre_of(store, record, kind))
        found.append(Extent(record.id, record.patient, record.shape[1:], record.spacing[1:], body, needs))
    return found


def needed_mm(sides: Mapping[str, Sequence[Extent]]) -> float:
    """Millimetres a side of a frame that nearly all patients of every side fit into, margin included."""
    most = 0.0
    for rising in (sorted(_largest(side).values()) for side in sides.values() if side):
        most = max(most, rising[math.ceil(PATIENTS * len(rising)) - 1])
    if not most:
        raise InputError("--pixel-mm", found="no case to measure", expected="some", do="Give it yourself.")
    return most / FILLED


def _largest(cases: Iterable[Extent], above: float = -1.0) -> dict[str, float]:
    """By patient, the largest square that a body needs, mm; of those that need more than `above`."""
    found: dict[str, float] = {}
    for one in cases:
        if one.needs > above:
            found[one.patient] = max(found.get(one.patient, 0.0), one.needs)
    return found


def rounded_up(field_mm: float, size: int) -> float:
    """Millimetres of a pixel so that `size` of them measure at least `field_mm`, to the next 0.05 mm."""
    # Boxes are known to a hundredth: less than a thousandth of a step is rounding.
    return round(max(math.ceil(field_mm / size / STEP - 1e-3), 1) * STEP, 2)


def settle(settings: Framed, field_mm: float) -> Framed:
    """Settings whose millimetres are given, or follow from the required field; stretched ones have none."""
    if settings.frame == "stretch" or settings.pixel_mm:
        return settings
    return with_changes(settings, pixel_mm=rounded_up(field_mm, settings.size))


@dataclass(frozen=True)
class SideExtent:
    """The cases of one side, as medians."""

    cases: int  # their number
    pixel_mm: float  # of the scans, the coarser of rows and columns
    field_mm: float  # the longer side of their field of view
    body_mm: tuple[float, float]  # height and width of the body
    touching: tuple[float, float]  # share of slices in which it touches the first or last row, and column
    # height and width of the body in the model's pixels; None without a model
    pixels: tuple[float, float] | None = None

    @property
    def words(self) -> str:
        """In one line."""
        height, width = (
            f"{mm:.0f}{' or more' * (often > OFTEN)}" for mm, often in zip(self.body_mm, self.touching, strict=True)
        )
        seen = "" if self.pixels is None else f", {self.pixels[0]:.0f} x {self.pixels[1]:.0f} of the model's pixels"
        return (
            f"pixels of {self.pixel_mm:.3g} mm, field of {self.field_mm:.0f} mm, "
            f"body of {height} x {width} mm (front to back, side to side){seen}"
        )

    def plain(self) -> ExtentCard:
        """For a card."""
        return {
            "pixel_mm": round(self.pixel_mm, 3),
            "field_mm": round(self.field_mm, 1),
            "body_mm": [round(mm, 1) for mm in self.body_mm],
            "touching": [round(share, 3) for share in self.touching],
            "body_pixels": None if self.pixels is None else [round(count, 1) for count in self.pixels],
        }

    @classmethod
    def of_card(cls, plain: ExtentCard) -> "SideExtent":
        """What `plain` wrote, without the model's pixels; how many cases it was is not written."""
        body, touching = (tuple(map(float, plain[name])) for name in ("body_mm", "touching"))
        return cls(1, plain["pixel_mm"], plain["field_mm"], (body[0], body[1]), (touching[0], touching[1]))


def side_extent(cases: Sequence[Extent], scale: Scale | None = None) -> SideExtent:
    """The medians of some cases, of one at least."""
    rows = [
        (
            max(one.spacing),
            max(n * mm for n, mm in zip(one.shape, one.spacing, strict=True)),
            *(one.body.height, one.body.width, *one.body.touching),
            *((0.0, 0.0) if scale is None else one.pixels(scale)),
        )
        for one in cases
    ]
    pixel, field, height, width, down, along, *pixels = (float(median(column)) for column in zip(*rows, strict=True))
    body = None if scale is None else (pixels[0], pixels[1])
    return SideExtent(len(cases), pixel, field, (height, width), (down, along), body)


def check_sides(
    sides: Mapping[str, Sequence[Extent]], settings: ImageSettings, *, stated: bool
) -> dict[str, SideExtent]:
    """Report the scale of both sides, warn if they do not fit together, and refuse bodies that differ as no people do.

    Nothing is refused if the user stated the millimetres of `settings`, or requested stretching.
    """
    scale = model_scale(settings)
    measured = {name: side_extent(cases, scale) for name, cases in sides.items() if cases}
    for name, side in measured.items():
        log.info("%s: %s", name, side.words)
    for (a, first), (b, second) in itertools.pairwise(measured.items()):
        size_mm = [math.sqrt(one.body_mm[0] * one.body_mm[1]) for one in (first, second)]
        ratio = max(size_mm) / min(size_mm)
        both = f"{a}: {first.words}; {b}: {second.words}"
        found = f"odies that are {ratio:.1f} times as large on one side ({both})"
        if ratio >= IMPOSSIBLE and not stated:
            do = "Correct the spacing in the headers and prepare again; if it is right, give --pixel-mm yourself."
            expected = "scans of people, with the spacing that they have"
            raise InputError(f"{a} and {b}", found=f"b{found}", expected=expected, do=do)
        if ratio >= IMPOSSIBLE:
            log.warning("B%s: spacings that cannot both be right.", found)
        words = mismatch(first, second)
        if words:
            log.warning("%s and %s: %s. The translator will learn to scale anatomy. %s.", a, b, words, both)
    for name, cases in sides.items():
        warn_of_cut(name, cases, scale)
    return measured


def mismatch(first: SideExtent, second: SideExtent) -> str:
    """How the median bodies of two sides differ in the model's pixels; empty if they are alike.

    A direction in which the body mostly touches the edge of the field on either side is left out: there its size is
    that of the field.
    """
    if first.pixels is None or second.pixels is None:
        return ""
    parts = []
    for axis, name in enumerate(("front to back", "side to side")):
        cut = max(first.touching[axis], second.touching[axis]) > OFTEN
        ratio = second.pixels[axis] / first.pixels[axis]
        if max(ratio, 1 / ratio) > ALIKE and not cut:
            parts.append(f"{first.pixels[axis]:.0f} and {second.pixels[axis]:.0f} pixels {name}")
    return f"the median bodies differ by more than {ALIKE - 1:.0%}: {' and '.join(parts)}" if parts else ""


def too_large(cases: Iterable[Extent], scale: Scale) -> dict[str, float]:
    """Patients whose body is larger than the frame, and the square that it needs, mm."""
    return {} if scale.kind == "stretch" else _largest(cases, scale.size * scale.pixel_mm)


def warn_of_cut(name: str, cases: Iterable[Extent], scale: Scale) -> None:
    """Name the patients whose body does not fit into the frame."""
    large = too_large(cases, scale)
    if large:
        who = listed(f"{patient} ({mm:.0f} mm)" for patient, mm in sorted(large.items()))
        log.warning(
            "%s: the bodies of %d patient%s are larger than the %.0f mm that a slice shows, and are cut: %s",
            name, len(large), "s" * (len(large) != 1), scale.size * scale.pixel_mm, who,
        )  # fmt: skip


# Of the median body of a side, or of that of another side; in one direction alone. Real scans differ by 1.3.
ODD, ODD_ALONG = 1.5, 2.0
# Front to back and side to side, geometric mean in mm: a newborn measures 90, the bore of a scanner 700 to 800.
SMALLEST, LARGEST = 60.0, 700.0
NAMED = 6


def times_as_large(one: SideExtent, other: SideExtent) -> float:
    """How many times as large the first body is as the second; 1 where they may be those of people."""
    along = [first / second for first, second in zip(one.body_mm, other.body_mm, strict=True)]
    smaller = [other if ratio > 1 else one for ratio in along]
    known = [ratio for axis, ratio in enumerate(along) if smaller[axis].touching[axis] <= OFTEN]
    tried = [(math.prod(along) ** 0.5, IMPOSSIBLE)]
    if known:
        tried += [(math.prod(known) ** (1 / len(known)), ODD), (max(known, key=_factor), ODD_ALONG)]
    odd = [ratio for ratio, most in tried if _factor(ratio) > most]
    return max(odd, key=_factor, default=1.0)


def warn_of_sizes(name: str, cases: Sequence[Extent]) -> None:
    """Warn of cases of a side or store whose body is far from the median, and of a median that no person has."""
    if not cases:
        return
    side = side_extent(cases)
    away = [(one, times_as_large(side_extent([one]), side)) for one in cases]
    odd = [f"{one.case} ({_size(side_extent([one]))}, {_times(ratio)})" for one, ratio in away if ratio != 1]
    if odd:
        log.warning(
            "%s: %d of %d cases with a body that is much larger or smaller than the median, %s: %s. Check the spacing "
            "in their headers, correct it and prepare them again.",
            name, len(odd), len(cases), _size(side), listed(odd, NAMED),
        )  # fmt: skip
    size = math.prod(side.body_mm) ** 0.5
    if size < SMALLEST or (size > LARGEST):
        log.warning(
            "%s: the median body measures %s, outside the range of people (%.0f to %.0f mm). Was the spacing lost, or "
            "is it not in mm? Correct it in the headers and prepare again.",
            name, _size(side), SMALLEST, LARGEST,
        )  # fmt: skip


def warn_of_pair(name: str, one: SideExtent, other_name: str, other: SideExtent) -> None:
    """Warn if the median bodies of two places differ more than those of people."""
    ratio = times_as_large(one, other)
    if ratio != 1:
        log.warning(
            "%s: bodies are %s as those of %s (%s and %s): people differ less. Check the spacing in the headers.",
            name, _times(ratio), other_name, _size(one), _size(other),
        )  # fmt: skip


def _factor(ratio: float) -> float:
    return max(ratio, 1 / ratio)


def _size(side: SideExtent) -> str:
    return f"{side.body_mm[0]:.0f} x {side.body_mm[1]:.0f} mm"


def _times(ratio: float) -> str:
    return f"{_factor(ratio):.1f} times as {'large' if ratio > 1 else 'small'}"
