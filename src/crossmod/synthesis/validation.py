"""Validation of a translator during training: metrics of held-out patients, pictures, the best epoch.

Notable:
- The adversarial losses do not tell: they are of discriminators that change with the generators.
- Of several registered images a slice, cycle and Fréchet distance are means over them, as the losses are, so that they
  mean the same however many there are.
- No single number here is trusted. Consistency cannot see a shift that S learns too, the cycle closes over anything
  that the way back can undo, also a way forth that does nothing, and the Fréchet distance sees no anatomy.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from crossmod.config import Modality
from crossmod.data.slices import SliceSet, spread
from crossmod.engine.alarms import LEVELS, discriminator_alarms, picture_alarms
from crossmod.engine.device import Compute
from crossmod.engine.logger import write_panel
from crossmod.engine.state import TrainerState, TrainingTask, ValidationResult
from crossmod.errors import InputError
from crossmod.metrics.features import FeatureExtractor, detector, frechet_distance
from crossmod.metrics.segmentation import dice
from crossmod.seeds import rng
from crossmod.settings import TranslateSettings

# Below any difference that means something, so that a part that is exactly 0 does not hide what the others say.
FLOOR = 1e-6

# Of each slice one image or several.
Images = Float[np.ndarray, "slices images size size"]


@dataclass(frozen=True)
class Scores:
    """What is measured of a translator on held-out slices.

    Args:
        consistency: mean Dice between S(G(x)) and the mask of x, over the source slices that show an organ; None
            without S, without masks, or where no slice shows one.
        cycle: mean |G_back(G_forth(x)) - x| and mean |G_forth(G_back(y)) - y|, averaged (Zhu et al. 2017, Eq. 2);
            images in [-1, 1]. Each is a mean over the images of a slice too.
        frechet: Fréchet distance between the features of synthetic and of real target slices, as many of each; of
            several images a slice the mean of their distances, each image against its own kind; None with fewer than
            two slices.
    """

    consistency: float | None
    cycle: float
    frechet: float | None

    @property
    def score(self) -> float:
        """The lower the better: the geometric mean of 1 - consistency, cycle and frechet, those that there are.

        Geometric, because they have no common unit: to halve any of them counts the same. Infinite where one is no
        number, so that a translator that diverged is never the best.
        """
        missed = None if self.consistency is None else 1 - self.consistency
        parts = [part for part in (missed, self.cycle, self.frechet) if part is not None]
        if not all(math.isfinite(part) for part in parts):
            return math.inf
        return math.exp(sum(math.log(max(part, FLOOR)) for part in parts) / len(parts))

    def as_reading(self) -> dict[str, float]:
        """The parts that there are, and the score, by name, for a log."""
        parts = {"consistency": self.consistency, "cycle": self.cycle, "frechet": self.frechet, "score": self.score}
        return {f"select_{name}": value for name, value in parts.items() if value is not None}


@torch.no_grad()
def score_translator(
    forth: nn.Module,
    back: nn.Module,
    S: nn.Module | None,
    source_images: Float[np.ndarray, "slices inputs size size"],
    masks: UInt8[np.ndarray, "slices size size"] | None,
    target_images: Float[np.ndarray, "others outputs size size"],
    detector: FeatureExtractor,
    device: torch.device,
    batch: int = 8,
) -> Scores:
    """Measure a translator; its networks are left as they were.

    Args:
        forth: from source to target, on `device`.
        back: from target to source.
        S: the segmentor that looks at synthetic target images, where the family has one.
        source_images: held-out slices, in [-1, 1], of each as many images as `forth` takes.
        masks: class of each of their pixels, 0 for background.
        target_images: held-out real slices, in [-1, 1], of any patients, of each as many images as `forth` gives.
        detector: what the Fréchet distance is taken with.
        device: where the networks are.
        batch: slices at a time.

    Raises:
        InputError: there are no slices on one side.
    """
    for side, images in (("source", source_images), ("target", target_images)):
        if len(images) == 0:
            found, do = f"no held-out {side} slices", "Hold out a patient of each side."
            raise InputError("selection", found=found, expected="one or more", do=do)
    count = min(len(source_images), len(target_images))
    with _evaluating([network for network in (forth, back, S) if network is not None]):
        closes, features, dices = [], [], []
        for start, x in _parts(source_images, device, batch):
            fake = forth(x)
            closes += _distances(back(fake), x)
            features.append(_features(detector, fake.float().cpu().numpy()))
            if S is not None and masks is not None:
                dices += _dices(S(fake[:, :1]), masks[start : start + batch])
        closes_back = [gap for _, y in _parts(target_images, device, batch) for gap in _distances(forth(back(y)), y)]
    fakes, real = np.concatenate(features), _features(detector, target_images[_draw(len(target_images), count)])
    return Scores(
        consistency=float(np.mean(dices)) if dices else None,
        cycle=float(np.mean(closes) + np.mean(closes_back)) / 2,
        frechet=_frechet(fakes[_draw(len(fakes), count)], real),
    )


@contextmanager
def _evaluating(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Switch networks to evaluation; every layer then gets back the mode that it had, since not all need have one."""
    modes = [(layer, layer.training) for network in networks for layer in network.modules()]
    try:
        for network in networks:
            network.eval()
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode


def _parts(
    images: Images, device: torch.device, batch: int
) -> Iterator[tuple[int, Float[Tensor, "part images size size"]]]:
    for start in range(0, len(images), batch):
        # Copied, because PyTorch warns of arrays that may not be written to.
        yield start, torch.from_numpy(np.array(images[start : start + batch], np.float32)).to(device)


def _distances(
    again: Float[Tensor, "part images size size"], given: Float[Tensor, "part images size size"]
) -> list[float]:
    """Mean absolute difference of each slice, over all of its images."""
    return (again - given).abs().mean(dim=(1, 2, 3)).tolist()


def _features(detector: FeatureExtractor, images: Images) -> Float[np.ndarray, "slices images features"]:
    """Features of each image by itself: a detector looks at one at a time."""
    return np.stack([detector.features(kind) for kind in images.swapaxes(0, 1)], axis=1)


def _dices(logits: Float[Tensor, "part classes size size"], masks: UInt8[np.ndarray, "part size size"]) -> list[float]:
    """Of each slice whose mask shows an organ, mean Dice over the organs that S or the mask shows.

    The label consistency of `crossmod.synthesis.synthesize`, which cannot be imported here, since it needs training.
    """
    scores = []
    for answer, mask in zip(logits.argmax(dim=1).cpu().numpy(), masks, strict=True):
        if mask.any():
            organs = np.union1d(answer, mask)
            scores.append(float(np.mean([dice(answer == organ, mask == organ) for organ in organs[organs > 0]])))
    return scores


def _draw(there: int, count: int) -> list[int]:
    """Which slices to compare: all, or the first of a shuffle that is the same every epoch."""
    return list(range(there)) if there == count else rng(0, "selection").permutation(there)[:count].tolist()


def _frechet(
    fakes: Float[np.ndarray, "slices images features"], real: Float[np.ndarray, "slices images features"]
) -> float | None:
    """Mean over the images of a slice, each held against real ones of its own kind."""
    if len(fakes) < 2:
        return None
    if not np.isfinite(fakes).all():
        return math.inf
    kinds = zip(fakes.swapaxes(0, 1), real.swapaxes(0, 1), strict=True)
    return float(np.mean([frechet_distance(made, expected) for made, expected in kinds]))


# A panel shows the first few of the slices that alarms look at.
SAMPLES, SHOWN = 8, 4
# More would cost more than the epoch that they are to judge.
MOST_SCORED = 48
# Never trained, needs no download: good enough to compare epochs of one run with.
DETECTOR = "random"


# Of each slice one image or several.
Several = Float[np.ndarray, "slices _ size size"]


@dataclass(frozen=True, eq=False)
class Validator:
    """Looks at a translator after an epoch, every few epochs.

    Args:
        trainee: the translator.
        settings: how often.
        compute: how its networks are run.
        samples: folder of the pictures.
        slices: what it is trained on, by modality, a set an image of what goes in.
        held_out: slices of patients kept for its scores, likewise; empty: no scores.
    """

    trainee: TrainingTask
    settings: TranslateSettings
    compute: Compute
    samples: Path
    slices: Mapping[Modality, tuple[SliceSet, ...]]
    held_out: Mapping[Modality, tuple[SliceSet, ...]]

    @property
    def _sides(self) -> tuple[Modality, Modality]:
        return ("ct", "mr") if self.settings.source == "ct" else ("mr", "ct")

    def __call__(self, epoch: int, at: TrainerState) -> ValidationResult:
        """See what there is to see after an epoch, counted from 0."""
        s = self.settings
        last = epoch + 1 == s.epochs
        levels = LEVELS[s.adversarial]
        alarms = discriminator_alarms(at.history, levels)
        picture, numbers, score = None, {}, None
        with torch.no_grad(), self.compute.inference():
            if last or (epoch + 1) % s.sample_every == 0:
                source, fake, again = self._pictures()
                picture = self.samples / f"epoch-{epoch + 1:04d}.png"
                # Of a stack only the slice itself is shown.
                shown = np.concatenate([part[:SHOWN, :: s.stack] for part in (source, fake, again)], axis=1)
                write_panel(picture, [[*row] for row in shown])
                alarms += picture_alarms(source[:, 0], fake[:, 0], self._middle(self._sides[1])[:, 0])
            if self.held_out and (last or (epoch + 1) % s.select_every == 0):
                scores = self._score()
                numbers, score = scores.as_reading(), scores.score
        return ValidationResult(numbers=numbers, score=score, alarms=alarms, picture=picture)

    def _pictures(self) -> tuple[Several, Several, Several]:
        """Source, synthetic, and source again after the cycle, for a few slices spread over the set."""
        forth, back = ("G1", "G2") if self.settings.source == "ct" else ("G2", "G1")
        images = self._middle(self._sides[0])
        source = torch.from_numpy(images).to(self.compute.device)
        fake = torch.cat([self.trainee.model[forth](part) for part in source.split(1)])
        again = torch.cat([self.trainee.model[back](part) for part in fake.split(1)])
        return images, fake.float().cpu().numpy(), again.float().cpu().numpy()

    def _middle(self, side: Modality) -> Several:
        few = _images(_few(self.slices[side], SAMPLES))
        margin = (few.shape[-1] - self.settings.size) // 2
        middle = slice(margin, margin + self.settings.size)
        return np.ascontiguousarray(few[..., middle, middle])

    def _score(self) -> Scores:
        forth, back = ("G1", "G2") if self.settings.source == "ct" else ("G2", "G1")
        source, target = (_few(self.held_out[side], MOST_SCORED) for side in self._sides)
        model = self.trainee.model
        return score_translator(
            model[forth],
            model[back],
            model.get("S"),
            _images(source),
            # Labels are those of the first input.
            source[0].masks,
            _images(target),
            detector(DETECTOR),
            self.compute.device,
            batch=1,
        )


def _few(sets: tuple[SliceSet, ...], most: int) -> tuple[SliceSet, ...]:
    """At most so many slices, evenly spread, the same ones of every input."""
    return tuple(one.take(spread(len(one), most)) for one in sets)


def _images(sets: tuple[SliceSet, ...]) -> Several:
    """The slices of all inputs side by side."""
    return np.stack([one.images for one in sets], axis=1)
