"""How alike the input is to the training, and the output to real images of the target.

Notable:
- The unit is the patient. A limit is a prediction bound of the next patient, from how far each training patient lies
  from the others (`crossmod.statistics.intervals`); all checks together warn of about one ordinary patient in twenty.
- Such distances shrink with the number of slices that are averaged. So a new volume is looked at in parts of as many
  slices as of each training patient, evenly spread, and the middle part counts. Fewer than half as many slices are not
  compared.
- Where only slices of an organ were trained on, and which those are is not known, the part of the volume that looks
  most like the training counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from crossmod.config import Modality, Settings, build
from crossmod.inference.types import Network
from crossmod.metrics.appearance import BINS, FEATURES, LAYOUT, LOGARITHMS, QUANTITIES, WIDTH
from crossmod.metrics.features import detector
from crossmod.metrics.fingerprint import COLUMNS, LEAST, MOST_PATIENTS, SLICES_EACH, TURNED, distances, turned
from crossmod.statistics.intervals import LEAST_VALUES, both_bounds, upper_bound

KEY = "fingerprint"
# Earlier versions looked at up to 64 slices of one patient.
MOST_SLICES_EACH = max(64, SLICES_EACH)

Bins = Annotated[tuple[float, ...], Field(min_length=BINS, max_length=BINS)]
Features = Annotated[tuple[float, ...], Field(min_length=FEATURES, max_length=FEATURES)]
Cells = Annotated[tuple[float, ...], Field(max_length=LAYOUT)]
Distances = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(max_length=MOST_PATIENTS)]
ByPatient = Annotated[tuple[float, ...], Field(max_length=MOST_PATIENTS)]
Quantity = Literal["noise", "texture", "edges", "area", "down", "across"]
Percent = Annotated[float, Field(ge=0, le=100)]


class ImagesLook(Settings):
    """One kind of image over the training patients: an input, the target, or what the model makes."""

    histogram: Bins
    """Shares of the body's pixels in equal bins of [-1, 1]."""
    mean: Features
    """Of the features of a slice."""
    variance: Features
    """The same over slices."""
    histogram_distances: Distances
    """Of each patient to the rest, by grey values; empty with one patient."""
    feature_distances: Distances
    """By features."""
    layout: Cells = ()
    """Mean of each of 8 x 8 cells of the body's box; empty in cards of earlier versions, which are not compared."""
    layout_variance: Cells = ()
    """The same over slices."""
    layout_distances: Distances = ()
    """Of each patient to the rest, by layout."""
    quantities: dict[Quantity, ByPatient] = Field(default_factory=dict)
    """By patient: logarithms of noise, texture, edges (units of [-1, 1]) and area (mm2); slopes of brightness."""
    upright: ByPatient = ()
    """How well front and back agree with the other patients: Fisher's z, negative where they are exchanged."""
    sides: ByPatient = ()
    """The same of left and right."""
    structure: ByPatient = ()
    """Of what the model makes: how much of the source's structure it shows, by patient."""
    organs: dict[str, ByPatient] = Field(default_factory=dict, max_length=64)
    """Median of each organ in [-1, 1], by patient, where labels are known."""

    @property
    def complete(self) -> bool:
        """Whether images can be compared with it: earlier versions measured something else."""
        return len(self.layout) == len(self.layout_variance) == LAYOUT and set(self.quantities) == set(QUANTITIES)


class Fingerprint(Settings):
    """What a training run's card says of its images, under `fingerprint`."""

    modality: Modality
    """Of the inputs."""
    slices: Literal["organ", "all"]
    """Whether only slices that show the organ were trained on."""
    organs: Annotated[tuple[str, ...], Field(max_length=64)]
    """Which."""
    loaded: int = Field(ge=8, le=4096)
    """Pixels a side at which training held its slices."""
    size: int = Field(ge=8, le=4096)
    """And at which they were looked at."""
    window: tuple[float, float]
    """Of CT, in HU."""
    percentiles: tuple[Percent, Percent]
    """Of MR."""
    detector: str = Field(max_length=64)
    """Hash of what the features are of."""
    patients: int = Field(ge=1)
    """That were trained on."""
    slices_each: int = Field(ge=1, le=MOST_SLICES_EACH)
    """That were looked at."""
    inputs: Annotated[tuple[ImagesLook, ...], Field(min_length=1, max_length=8)]
    """In the model's order."""
    target: ImagesLook | None = None
    """Of real images of the modality that is made; null in cards of earlier versions."""
    made: ImagesLook | None = None
    """Of what the model makes of its training slices."""
    made_epoch: Literal["best", "last"] = "last"
    """Which weights made them."""


def read_fingerprint(card: Mapping[str, Any], subject: object = "card") -> Fingerprint | None:
    """The fingerprint in a card; None in one of before there were any.

    Raises:
        InputError: it is damaged.
    """
    return build(Fingerprint, card[KEY], subject=subject) if card.get(KEY) is not None else None


def fingerprint_of(networks: Sequence[Network]) -> Fingerprint | None:
    """What is known of the images that networks were trained on: of several, the first that knows.

    What the model makes is left out where several networks answer together, or where other weights are used than made
    it: their images look different.
    """
    for network in networks:
        translator = getattr(network, "translator", None)
        own = getattr(network, KEY, None)
        card = getattr(translator, "card", None) or {KEY: own}
        found = own if isinstance(own, Fingerprint) else read_fingerprint(card, network.about.name)
        if found is None:
            continue
        used = found.made_epoch if translator is None else ("best" if translator.best else "last")
        if len(networks) > 1 or used != found.made_epoch:
            return found.model_copy(update={"made": None})
        return found
    return None


# Of ordinary patients, so many may be warned of: half by what goes in, half by what comes out.
ALPHA = 0.05
# Spread of logarithms that no training is believed to stay below: 15 % for distances, 5 % for quantities; and of what
# is no logarithm: slopes, in units of [-1, 1], and Fisher's z.
LEAST_SPREAD, LEAST_QUANTITY, LEAST_SLOPE, LEAST_TURN = 0.15, 0.05, 0.03, 0.15
# Agreement below this is told from none.
TURNED_Z = -0.1
# Parts of a volume that may be the trained one, where that is not known: share of its slices, and how many are tried.
PART, PARTS_TRIED = 0.6, 5

NAMES = {
    "histogram": "grey values",
    "features": "texture features",
    "layout": "layout",
    "noise": "noise",
    "texture": "local variation",
    "edges": "edge strength",
    "area": "body area",
    "down": "rise of brightness from front to back",
    "across": "rise of brightness from right to left",
    "upright": "agreement of front and back with the training",
    "sides": "agreement of left and right with the training",
}
DISTANCES = ("histogram", "features", "layout")


@dataclass(frozen=True)
class Measure:
    """One quantity and its limits.

    Args:
        key: which, of `NAMES`.
        value: in `unit`.
        low: least ordinary value; None of distances, which have none.
        high: the largest.
        unit: empty for a number without one.
        score: beyond 1 it is outside of its limits.
    """

    key: str
    value: float
    low: float | None
    high: float
    unit: str
    score: float

    @property
    def name(self) -> str:
        """For people."""
        return NAMES[self.key]


@dataclass(frozen=True, eq=False)
class Likeness:
    """How one set of images compares with the training's.

    Args:
        name: of the input, or of what it was compared with.
        measures: each quantity; empty where there is nothing to compare with.
        histogram: of the body, bins of [-1, 1].
        trained: that of the training.
    """

    name: str
    measures: tuple[Measure, ...]
    histogram: Float[np.ndarray, " bins"]
    trained: Float[np.ndarray, " bins"]

    @property
    def score(self) -> float | None:
        """The largest of all; beyond 1, a quantity is outside of its limits."""
        return max((one.score for one in self.measures), default=None)

    def of(self, key: str) -> float | None:
        """The score of one quantity; None where it was not compared."""
        return next((one.score for one in self.measures if one.key == key), None)


@dataclass(frozen=True)
class Scale:
    """What numbers in [-1, 1] are for people.

    Args:
        unit: `HU` or `% of the range`.
        half: of it are 1.
    """

    unit: str
    half: float


def compare(
    name: str,
    found: Float[np.ndarray, "seen 358"],
    look: ImagesLook,
    reference: Fingerprint,
    scale: Scale,
    *,
    alpha: float,
    known: bool = True,
    leave_out: Sequence[str] = (),
    slack: float = 1.0,
) -> Likeness | None:
    """Compare the looks of slices with those of the training; None where nothing is comparable.

    Args:
        name: of what is compared.
        found: looks of slices, from one end of the body to the other.
        look: of the training.
        reference: that it is part of.
        scale: of grey values.
        alpha: share of ordinary patients that may be outside of any limit.
        known: whether the slices are of the kind that was trained on; else a part of them is looked for.
        leave_out: quantities that do not count here.
        slack: how many times as far limits are drawn.
    """
    patients = len(look.histogram_distances)
    fewest = max(1, reference.slices_each // 2)
    if not look.complete or patients < LEAST_VALUES or len(found) < fewest:
        return None
    alike = reference.detector == detector("random").sha256
    keys = [key for key in NAMES if key not in leave_out and (alike or key != "features")]
    measure = _measure_with(look, scale, alpha / len(keys), slack)
    candidates = [found] if known else _parts(found, fewest)
    all_measures = [tuple(measure(part, key, reference.slices_each) for key in keys) for part in candidates]
    best = min(range(len(candidates)), key=lambda at: max(one.score for one in all_measures[at]))
    at = COLUMNS["histogram"]
    return Likeness(name, all_measures[best], candidates[best][:, at].mean(axis=0), np.array(look.histogram))


def _parts(found: Float[np.ndarray, "seen 358"], fewest: int) -> list[Float[np.ndarray, "_ 358"]]:
    length = max(round(PART * len(found)), min(fewest, len(found)))
    starts = np.unique(np.rint(np.linspace(0, len(found) - length, PARTS_TRIED)).astype(int))
    return [found[start : start + length] for start in starts]


def _measure_with(
    look: ImagesLook, scale: Scale, alpha: float, slack: float
) -> Callable[[np.ndarray, str, int], Measure]:
    mean, variance = np.zeros(WIDTH), np.zeros(WIDTH)
    for side, layout, features in ((mean, look.layout, look.mean), (variance, look.layout_variance, look.variance)):
        side[COLUMNS["histogram"]], side[COLUMNS["features"]] = look.histogram, features
        side[COLUMNS["layout"]] = layout
    others = {
        "histogram": look.histogram_distances,
        "features": look.feature_distances,
        "layout": look.layout_distances,
    }
    quantities: dict[str, tuple[float, ...]] = {**look.quantities}

    def measure(found: Float[np.ndarray, "seen 358"], key: str, each: int) -> Measure:
        groups = max(1, len(found) // each)
        means = [found[first::groups].mean(axis=0) for first in range(groups)]
        if key in DISTANCES:
            value = float(np.median([distances(one, mean, variance)[key] for one in means]))
            return _distance(key, value, others[key], scale, alpha, slack)
        if key in TURNED:
            value = float(np.median([turned(one, mean)[key] for one in means]))
            return _turn(key, value, look.upright if key == "upright" else look.sides, alpha)
        at = COLUMNS["quantities"].start + QUANTITIES.index(key)
        value = float(np.median([one[at] for one in means]))
        make = _quantity if key in LOGARITHMS else _slope
        return make(key, value, quantities[key], scale, alpha, slack)

    return measure


def _distance(key: str, value: float, others: Sequence[float], scale: Scale, alpha: float, slack: float) -> Measure:
    bound = upper_bound(np.log(np.maximum(others, LEAST[key])).tolist(), alpha, LEAST_SPREAD)
    high = slack * float(np.exp(np.minimum(bound if bound is not None else np.inf, 50)))
    # Grey values that must be moved by a share of the range: in its own unit.
    factor, unit = (2 * scale.half, scale.unit) if key == "histogram" else (1.0, "")
    return Measure(key, factor * value, None, factor * high, unit, value / high)


def _quantity(key: str, value: float, others: Sequence[float], scale: Scale, alpha: float, slack: float) -> Measure:
    bounds = both_bounds(others, alpha, LEAST_QUANTITY)
    low, high = bounds if bounds is not None else (-50.0, 50.0)
    middle, half = (low + high) / 2, (high - low) / 2 + np.log(slack)
    # In cm2, or in the unit of grey values.
    factor, unit = (0.01, "cm²") if key == "area" else (scale.half, scale.unit)
    limits = np.exp(np.clip([value, middle - half, middle + half], -50, 50)) * factor
    shown, least, most = (float(one) for one in limits)
    return Measure(key, shown, least, most, unit, float(abs(value - middle) / half))


def _slope(key: str, value: float, others: Sequence[float], scale: Scale, alpha: float, slack: float) -> Measure:
    bounds = both_bounds(others, alpha, LEAST_SLOPE)
    low, high = bounds if bounds is not None else (-2.0, 2.0)
    middle, half = (low + high) / 2, slack * (high - low) / 2
    limits = (scale.half * (middle - half), scale.half * (middle + half))
    return Measure(key, scale.half * value, *limits, scale.unit, float(abs(value - middle) / half))


def _turn(key: str, value: float, others: Sequence[float], alpha: float) -> Measure:
    """Correlations; beyond the limit if the turned image agrees better, and no training patient is expected to."""
    bound = upper_bound([-one for one in others], alpha, LEAST_TURN)
    low = min(-bound, TURNED_Z) if bound is not None else -50.0
    return Measure(key, float(np.tanh(value)), float(np.tanh(low)), 1.0, "", max(value / low, 0.0))
