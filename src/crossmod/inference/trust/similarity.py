"""Similarity of the input to the training, and of the output to real images of the target.

Notable:
- The unit is the patient. A limit is a prediction bound for the next patient, from the distances of each training
  patient from the others (`crossmod.statistics.intervals`); all checks together warn of about one ordinary patient in
  twenty.
- Such distances shrink with the number of averaged slices. So a new volume is divided into parts with as many slices as
  each training patient, evenly spaced, and the median part counts. Fewer than half as many slices are not compared.
- If only slices of an organ were trained on, and these are unknown, the part of the volume that is most similar to the
  training counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from crossmod.config import build
from crossmod.inference.types import Network
from crossmod.metrics.appearance import COLUMNS, LOGARITHMS, QUANTITIES, WIDTH
from crossmod.metrics.features import detector
from crossmod.metrics.fingerprint import LEAST, TURNED, Fingerprint, ImagesLook, distances, turned
from crossmod.statistics.intervals import LEAST_VALUES, both_bounds, upper_bound

KEY = "fingerprint"


def read_fingerprint(card: Mapping[str, Any], subject: object = "card") -> Fingerprint | None:
    """The fingerprint in a card; None without one, as in earlier versions."""
    return build(Fingerprint, card[KEY], subject=subject) if card.get(KEY) is not None else None


def fingerprint_of(networks: Sequence[Network]) -> Fingerprint | None:
    """The fingerprint of the first network that has one, without `made` if their output is not that of the training."""
    for network in networks:
        translator, fingerprint = getattr(network, "translator", None), getattr(network, KEY, None)
        if not isinstance(fingerprint, Fingerprint):
            card = getattr(translator, "card", None) or {KEY: fingerprint}
            fingerprint = read_fingerprint(card, network.about.name)
        if fingerprint is not None:
            used = fingerprint.made_epoch if translator is None else ("best" if translator.best else "last")
            unusual = len(networks) > 1 or used != fingerprint.made_epoch
            return fingerprint.model_copy(update={"made": None}) if unusual else fingerprint
    return None


# Share of ordinary patients with a warning: half for the input, half for the output.
ALPHA = 0.05
# Minimum standard deviations over patients: of logarithms, 15 % for distances and 5 % for quantities; of slopes, in
# units of [-1, 1]; and of Fisher's z.
LEAST_SPREAD, LEAST_QUANTITY, LEAST_SLOPE, LEAST_TURN = 0.15, 0.05, 0.03, 0.15
# Upper limit of the bound of agreement.
TURNED_Z = -0.1
# Parts of a volume that are compared if the trained part is unknown: share of its slices, and their number.
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
    """One quantity and its limits in `unit`; `low` is None for distances; a score above 1 is outside the limits."""

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
    """Comparison of a set of images with those of the training."""

    name: str  # of the input, or of the compared images
    measures: tuple[Measure, ...]
    histogram: Float[np.ndarray, " bins"]  # of the body, bins of [-1, 1]
    trained: Float[np.ndarray, " bins"]  # histogram of the training

    @property
    def score(self) -> float | None:
        """The largest of all; above 1, a quantity is outside its limits."""
        return max((measure.score for measure in self.measures), default=None)

    def of(self, key: str) -> float | None:
        """The score of one quantity; None if it was not compared."""
        return next((measure.score for measure in self.measures if measure.key == key), None)


@dataclass(frozen=True)
class Scale:
    """Scale of numbers in [-1, 1] for people: 1 is `half` in `unit` (`HU` or `% of the range`)."""

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
    """Compare the looks of slices with those of the training; None if nothing is comparable.

    Args:
        found: looks of slices, from one end of the body to the other.
        alpha: share of ordinary patients outside any limit.
        known: whether the slices are of the kind that was trained on; else the most similar part counts.
    """
    patients = len(look.histogram_distances)
    fewest = max(1, reference.slices_each // 2)
    if not look.complete or patients < LEAST_VALUES or len(found) < fewest:
        return None
    comparable = reference.detector == detector("random").sha256
    keys = [key for key in NAMES if key not in leave_out and (comparable or key != "features")]
    measure = _measure_with(look, scale, alpha / len(keys), slack)
    candidates = [found] if known else _parts(found, fewest)
    all_measures = [tuple(measure(part, key, reference.slices_each) for key in keys) for part in candidates]
    best = min(range(len(candidates)), key=lambda at: max(measure.score for measure in all_measures[at]))
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
    others: dict[str, tuple[float, ...]] = {
        "histogram": look.histogram_distances,
        "features": look.feature_distances,
        "layout": look.layout_distances,
        "upright": look.upright,
        "sides": look.sides,
        **look.quantities,
    }

    def measure(found: Float[np.ndarray, "seen 358"], key: str, each: int) -> Measure:
        groups = max(1, len(found) // each)
        means = [found[first::groups].mean(axis=0) for first in range(groups)]
        if key in DISTANCES:
            value = float(np.median([distances(each, mean, variance)[key] for each in means]))
            return _distance(key, value, others[key], scale, alpha, slack)
        if key in TURNED:
            value = float(np.median([turned(each, mean)[key] for each in means]))
            return _turn(key, value, others[key], alpha)
        at = COLUMNS["quantities"].start + QUANTITIES.index(key)
        value = float(np.median([each[at] for each in means]))
        return _quantity(key, value, others[key], scale, alpha, slack)

    return measure


def _distance(key: str, value: float, others: Sequence[float], scale: Scale, alpha: float, slack: float) -> Measure:
    bound = upper_bound(np.log(np.maximum(others, LEAST[key])).tolist(), alpha, LEAST_SPREAD)
    high = slack * float(np.exp(np.minimum(bound if bound is not None else np.inf, 50)))
    # The histogram distance, a share of the range, in units of grey values.
    factor, unit = (2 * scale.half, scale.unit) if key == "histogram" else (1.0, "")
    return Measure(key, factor * value, None, factor * high, unit, value / high)


def _quantity(key: str, value: float, others: Sequence[float], scale: Scale, alpha: float, slack: float) -> Measure:
    """A slope, or a size, whose logarithm is compared."""
    logarithm = key in LOGARITHMS
    bounds = both_bounds(others, alpha, LEAST_QUANTITY if logarithm else LEAST_SLOPE)
    low, high = bounds or ((-50.0, 50.0) if logarithm else (-2.0, 2.0))
    middle, half = (low + high) / 2, (high - low) / 2
    half = half + np.log(slack) if logarithm else slack * half
    # In cm2, or in the unit of grey values.
    factor, unit = (0.01, "cm²") if key == "area" else (scale.half, scale.unit)
    limits = np.array([value, middle - half, middle + half])
    shown, least, most = (np.exp(np.clip(limits, -50, 50)) if logarithm else limits) * factor
    return Measure(key, float(shown), float(least), float(most), unit, float(abs(value - middle) / half))


def _turn(key: str, value: float, others: Sequence[float], alpha: float) -> Measure:
    """Correlations; beyond the limit if the turned image agrees better, unlike any training patient."""
    bound = upper_bound([-z for z in others], alpha, LEAST_TURN)
    low = min(-bound, TURNED_Z) if bound is not None else -50.0
    return Measure(key, float(np.tanh(value)), float(np.tanh(low)), 1.0, "", max(value / low, 0.0))
