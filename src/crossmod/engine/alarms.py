"""Alarms: failures of a GAN that are reported during training.

Notable:
- They are computed from a few translated slices and the losses, which exist anyway.
- Each threshold lies between measured right and wrong values, as its comment says. An alarm is a reason to look at the
  pictures; no alarm does not mean that they are good.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from crossmod.runs import AlarmRecord

Slices = Float[np.ndarray, "slices size size"]
Targets = Float[np.ndarray, "targets size size"]
Bodies = Bool[np.ndarray, "slices size size"]

# Pixels above this are body: air and lung are -1, fat under a CT window of -160 to 240 HU is -0.7.
AIR = -0.9
# Slices with less body than this are ignored.
FEWEST_BODY_PIXELS = 50

# Measured inside the body on true pairs of the phantom (CT and T1 in phase, T1 out of phase and T2-SPIR of 8 to 30
# people, both directions), on the output of `tiny` translators during training (phantom, and real CT to T2-SPIR), and
# on two networks of that size that were trained for 900 steps to copy, or to give the negative.

# Output equals input: mean |fake - source| and correlation. Pairs differ by 0.34 or more in every slice, trained
# translators by 0.24 (real data, correlation 0.8) to 0.62; the network that copies by 0.10, correlation 0.97.
SAME_DIFFERENCE, SAME_CORRELATION = 0.12, 0.95
# Constant output: standard deviation. Truth has 0.14 or more in every slice, translators 0.22 to 0.43.
FLAT = 0.02
# The same picture for all: how much fakes vary from slice to slice, as a share of how much the sources do; translators
# 0.4 to 1.1. Sources that vary by less than LEAST_VARIATION, compared with 0.24 to 0.39 there, may give equal output.
SAME_FOR_ALL, LEAST_VARIATION = 0.1, 0.1
# Inverted output: correlation of the median slice. True T2-SPIR has +0.3 to +0.5, but what is right can be negative: CT
# from T1 down to -0.71, T1 from CT -0.57 to -0.84 (-0.89 without noise at half the resolution), since fat is dark in
# CT and bright in T1. So -0.8 would reject the truth; the network that gives the negative has -0.93, an exact one -1.
# The reverse error is not detected: a CycleGAN made T1 from CT with +0.2 to +0.5, bright where CT is bright, and wrong.
INVERTED = -0.9

# Losses of a discriminator. At chance: within this share of the chance level, and moving by no more than that.
NEAR_CHANCE, STILL = 0.02, 0.01


@dataclass(frozen=True)
class Alarm:
    """A failure of a training that seldom recovers."""

    name: str  # identifies the failure
    seen: str  # the observation, with numbers
    advice: str  # what to try, in sentences

    def __str__(self) -> str:
        return f"{self.name}: {self.seen}. {self.advice}"

    def record(self, step: int, epoch: int) -> AlarmRecord:
        """As metrics.jsonl and card.json hold it."""
        return {"step": step, "epoch": epoch, "alarm": self.name, "seen": self.seen, "advice": self.advice}


@dataclass(frozen=True)
class DiscriminatorLevels:
    """Levels of the mean loss of a discriminator."""

    chance: float  # the loss when guessing
    zero: float  # below it, the discriminator is never wrong


# For the losses of `translate`, halved over real and synthetic. Least squares, D = 1/2: (1/4 + 1/4) / 2. Cross-entropy,
# sigmoid(D) = 1/2: log 2. Zero: D is right to within 0.07, or 98 % sure.
LEVELS: Mapping[str, DiscriminatorLevels] = {
    "least_squares": DiscriminatorLevels(chance=0.25, zero=0.005),
    "cross_entropy": DiscriminatorLevels(chance=float(np.log(2)), zero=0.02),
}


def picture_alarms(sources: Slices, fakes: Slices, targets: Targets | None = None) -> list[Alarm]:
    """Alarms of translated slices in [-1, 1], air -1; `targets`: some real slices of the other modality, of any
    patients. If they are flat or all alike, such output raises no alarm."""
    bodies = sources > AIR
    kept = bodies.sum(axis=(1, 2)) >= FEWEST_BODY_PIXELS
    if not kept.any():
        return []
    sources, fakes, bodies = sources[kept], fakes[kept], bodies[kept]
    alarms = (
        _constant(fakes, bodies, targets),
        _same_for_all(sources, fakes, bodies, targets),
        _same_as_input(sources, fakes, bodies),
        _inverted(sources, fakes, bodies),
    )
    return [alarm for alarm in alarms if alarm]


def discriminator_alarms(
    history: Mapping[str, Sequence[float]], levels: DiscriminatorLevels, patience: int = 5
) -> list[Alarm]:
    """Alarms of the discriminators, by their mean losses per epoch, oldest first; the last `patience` epochs must
    agree."""
    alarms = []
    for name, losses in history.items():
        last = np.array(losses[-patience:])
        if not name.startswith("discriminator_") or len(last) < patience:
            continue
        which = name.replace("_", " ")
        seen = f"mean loss {last.min():.4f} to {last.max():.4f} in the last {patience} epochs"
        still = np.ptp(last) <= STILL * levels.chance
        if still and (np.abs(last - levels.chance) <= NEAR_CHANCE * levels.chance).all():
            alarms.append(Alarm(f"{which} at chance", f"{seen}, guessing gives {levels.chance:.4f}", _AT_CHANCE))
        if (last < levels.zero).all():
            alarms.append(Alarm(f"{which} at zero", f"{seen}, it is never fooled", _AT_ZERO))
    return alarms


def loss_advice(losses: Iterable[str], *, kept: bool) -> str:
    """What to try after a loss became NaN or infinite; `kept`: whether a checkpoint was written before."""
    rates = "--learning-rate"
    if any(name.startswith("discriminator_") for name in losses):
        rates += " and --discriminator-learning-rate"
    where = (
        "another folder; the last good checkpoint is kept" if kept else "the same folder, which has no checkpoint yet"
    )
    return f"Lower {rates}, use --precision fp32, or try another --seed, in {where}."


def new_alarms(alarms: Iterable[Alarm], already: Collection[str]) -> list[Alarm]:
    """The first alarm of each name that is not among the names of earlier ones, in order."""
    new: dict[str, Alarm] = {}
    for alarm in alarms:
        if alarm.name not in already:
            new.setdefault(alarm.name, alarm)
    return list(new.values())


_AT_CHANCE = (
    "It teaches the generator nothing. Unless the pictures are perfect, raise --discriminator-learning-rate, "
    "or widen it with --discriminator-filters."
)
_AT_ZERO = (
    "The generator learns next to nothing from it. Lower --discriminator-learning-rate, or enlarge --pool-size; "
    "look for a border, a frame or a background that gives the synthetic images away."
)


def _constant(fakes: Slices, bodies: Bodies, targets: Targets | None) -> Alarm | None:
    deviation = _deviation(fakes, bodies)
    if deviation >= FLAT or (targets is not None and _deviation(targets, targets > AIR) < FLAT):
        return None
    return Alarm(
        "constant output",
        f"inside the body the output is flat (standard deviation {deviation:.4f} in the median slice)",
        "The generator has collapsed, and more epochs seldom help. Lower --learning-rate, or try another --seed.",
    )


def _same_for_all(sources: Slices, fakes: Slices, bodies: Bodies, targets: Targets | None) -> Alarm | None:
    anywhere = bodies.max(axis=0)
    due = _variation(sources, anywhere)
    if targets is not None and len(targets) > 1:
        due = min(due, _variation(targets, anywhere))
    varies = _variation(fakes, anywhere)
    if due < LEAST_VARIATION or varies >= SAME_FOR_ALL * due:
        return None
    return Alarm(
        "same output for all",
        f"the output of {len(fakes)} slices is nearly equal (it differs by {varies:.4f}, the input by {due:.2f})",
        "The generator ignores its input. Raise --lambda-3 and --lambda-4, which tie it to its input, lower "
        "--learning-rate, or try another --seed.",
    )


def _same_as_input(sources: Slices, fakes: Slices, bodies: Bodies) -> Alarm | None:
    difference = float(np.abs(fakes - sources)[bodies].mean())
    correlation = _correlation(sources, fakes, bodies)
    if not (difference < SAME_DIFFERENCE and correlation > SAME_CORRELATION):
        return None
    return Alarm(
        "output equals input",
        f"inside the body it differs from the source by {difference:.3f} on average, correlation {correlation:.3f}",
        "The cycle is perfect where nothing is translated. Raise --lambda-1 and --lambda-2 against --lambda-3 and "
        "--lambda-4, or raise --discriminator-learning-rate.",
    )


def _inverted(sources: Slices, fakes: Slices, bodies: Bodies) -> Alarm | None:
    correlation = _correlation(sources, fakes, bodies)
    if not correlation < INVERTED:
        return None
    return Alarm(
        "inverted output",
        f"inside the body it is the source's negative (correlation {correlation:.2f} in the median slice)",
        "Look at the pictures: the cycle cannot distinguish contrast from its negative, but T1 from CT is right "
        "with -0.6 to -0.9. If it is a negative, try another --seed, or raise --lambda-1 and --lambda-2.",
    )


def _deviation(images: Slices, bodies: Bodies) -> float:
    """Standard deviation inside the body, of the median slice."""
    values = [float(image[body].std()) for image, body in zip(images, bodies, strict=True) if body.any()]
    return float(np.median(values)) if values else 0.0


def _variation(images: Slices, where: Bool[np.ndarray, "size size"]) -> float:
    """How far slices lie apart: standard deviation over slices, averaged over pixels."""
    return float(images.std(axis=0)[where].mean())


def _correlation(first: Slices, second: Slices, bodies: Bodies) -> float:
    """Pearson's correlation inside the body, of the median slice; NaN if all slices are flat."""
    pairs = [(a[body], b[body]) for a, b, body in zip(first, second, bodies, strict=True)]
    values = [float(np.corrcoef(a, b)[0, 1]) for a, b in pairs if min(a.std(), b.std()) > 1e-6]
    return float(np.median(values)) if values else float("nan")
