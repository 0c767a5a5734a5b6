"""Validation of a translator during training: metrics of held-out patients, pictures, the best epoch.

Notable:
- The adversarial losses show no progress: their discriminators change with the generators.
- With several registered images per slice, cycle and Fréchet distance are means over them, as the losses are, so that
  they mean the same for any number of images.
- No single number here is trusted. Consistency does not see a shift that S learns too, the cycle closes over anything
  that the way back can undo, also a generator that does nothing, and the Fréchet distance sees no anatomy. An
  independent judge (`judge`), if there is one, replaces S in the score.
"""

import math
from collections.abc import Iterator, Sequence
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
from crossmod.metrics.segmentation import label_consistency
from crossmod.seeds import rng
from crossmod.settings import TranslateSettings
from crossmod.synthesis.judge import Judge, Judgement, judge_alarms
from crossmod.synthesis.training_data import Slices

# Below any meaningful difference, so that a part that is exactly 0 does not hide the others.
FLOOR = 1e-6

# One image per slice, or several.
Images = Float[np.ndarray, "slices _ size size"]


@dataclass(frozen=True)
class Scores:
    """Scores of a translator on held-out slices."""

    # Mean Dice between S(G(x)) and the mask of x, over the source slices that show an organ; None without S, without
    # masks, or if no slice shows an organ
    consistency: float | None
    # Mean |G_back(G_forth(x)) - x| and mean |G_forth(G_back(y)) - y|, averaged (Zhu et al. 2017, Eq. 2); images in [-1,
    # 1].
    cycle: float
    # Fréchet distance between the features of synthetic and of real target slices, equal numbers of both; with several
    # images per slice the mean of their distances; None with fewer than two slices
    frechet: float | None
    # The consistency by the independent judge in place of S; None without one
    judged: float | None = None

    @property
    def score(self) -> float:
        """The lower the better: the geometric mean of 1 - Dice, cycle and frechet, without undefined ones; Dice is the
        judge's, if there is a judge, else the consistency. Geometric, since they have no common unit. Infinite if one
        is NaN or infinite, so that it is never the best."""
        dice = self.consistency if self.judged is None else self.judged
        missed = None if dice is None else 1 - dice
        parts = [part for part in (missed, self.cycle, self.frechet) if part is not None]
        if not all(math.isfinite(part) for part in parts):
            return math.inf
        return math.exp(sum(math.log(max(part, FLOOR)) for part in parts) / len(parts))

    def as_reading(self) -> dict[str, float]:
        """The defined parts and the score, by name, for a log."""
        parts = {
            "consistency": self.consistency, "judged": self.judged, "cycle": self.cycle, "frechet": self.frechet,
            "score": self.score,
        }  # fmt: skip
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
    judge: Judge | None = None,
) -> Scores:
    """Measure a translator on held-out slices in [-1, 1] of any patients; its networks are left as they were. Slices
    have as many images as `forth` (source to target) takes and makes."""
    for side, images in (("source", source_images), ("target", target_images)):
        if len(images) == 0:
            found, do = f"no held-out {side} slices", "Hold out a patient of each side."
            raise InputError("selection", found=found, expected="one or more", do=do)
    count = min(len(source_images), len(target_images))
    with _evaluating([network for network in (forth, back, S) if network is not None]):
        closes, features, dices, seen = [], [], [], []
        for start, x in _parts(source_images, device, batch):
            fake = forth(x)
            closes += _distances(back(fake), x)
            images = fake.float().cpu().numpy()
            features.append(_features(detector, images))
            if judge is not None and masks is not None:
                seen += judge.of(images[:, 0], masks[start : start + batch]).dices
            if S is not None and masks is not None:
                answers = S(fake[:, :1]).argmax(dim=1).to(torch.uint8).cpu().numpy()
                pairs = zip(answers, masks[start : start + batch], strict=True)
                dices += [label_consistency(answer, mask) for answer, mask in pairs if mask.any()]
        closes_back = [gap for _, y in _parts(target_images, device, batch) for gap in _distances(forth(back(y)), y)]
    fakes, real = np.concatenate(features), _features(detector, target_images[_draw(len(target_images), count)])
    return Scores(
        consistency=float(np.mean(dices)) if dices else None,
        judged=Judgement(tuple(seen), None).dice,
        cycle=float(np.mean(closes) + np.mean(closes_back)) / 2,
        frechet=_frechet(fakes[_draw(len(fakes), count)], real),
    )


@contextmanager
def _evaluating(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Switch networks to evaluation; every layer then gets its own mode back, since they may differ."""
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
        # Copied, because PyTorch warns about read-only arrays.
        yield start, torch.from_numpy(np.array(images[start : start + batch], np.float32)).to(device)


def _distances(
    again: Float[Tensor, "part images size size"], original: Float[Tensor, "part images size size"]
) -> list[float]:
    """Mean absolute difference of each slice, over all of its images."""
    return (again - original).abs().mean(dim=(1, 2, 3)).tolist()


def _features(detector: FeatureExtractor, images: Images) -> Float[np.ndarray, "slices images features"]:
    """Features of each image, one at a time."""
    return np.stack([detector.features(kind) for kind in images.swapaxes(0, 1)], axis=1)


def _draw(available: int, count: int) -> list[int]:
    """Which slices to compare: all, or the first of a shuffle that is the same in every epoch."""
    if available == count:
        return list(range(available))
    return rng(0, "selection").permutation(available)[:count].tolist()


def _frechet(
    fakes: Float[np.ndarray, "slices images features"], real: Float[np.ndarray, "slices images features"]
) -> float | None:
    """Mean over the images of a slice, each compared with real ones of the same kind."""
    if len(fakes) < 2:
        return None
    if not np.isfinite(fakes).all():
        return math.inf
    kinds = zip(fakes.swapaxes(0, 1), real.swapaxes(0, 1), strict=True)
    return float(np.mean([frechet_distance(synthetic, expected) for synthetic, expected in kinds]))


# Slices for the alarms; the first few of them are shown in a panel.
SAMPLES, SHOWN = 8, 4
# More would take longer than the epoch that they score.
MOST_SCORED = 48
# Untrained, needs no download, and is good enough to compare epochs of one run.
DETECTOR = "random"


@dataclass(frozen=True, eq=False)
class Validator:
    """Alarms, pictures and scores of a translator, every few epochs."""

    trainee: TrainingTask
    settings: TranslateSettings
    compute: Compute
    samples: Path  # folder of the pictures
    slices: Slices  # what it is trained on
    held_out: Slices  # slices of patients kept for its scores; empty: no scores
    judge: Judge | None = None

    def __call__(self, epoch: int, at: TrainerState) -> ValidationResult:
        """Validate after an epoch, counted from 0."""
        s = self.settings
        last = epoch + 1 == s.epochs
        # The levels of an added loss are unknown.
        alarms = discriminator_alarms(at.history, LEVELS[s.adversarial]) if s.adversarial in LEVELS else []
        picture, numbers, score = None, dict[str, float](), None
        with torch.no_grad(), self.compute.inference():
            if last or (epoch + 1) % s.sample_every == 0:
                source, fake, again = self._pictures()
                picture = self.samples / f"epoch-{epoch + 1:04d}.png"
                # Of a stack only the slice itself is shown.
                shown = np.concatenate([part[:SHOWN, :: s.stack] for part in (source, fake, again)], axis=1)
                write_panel(picture, [[*row] for row in shown])
                alarms += picture_alarms(source[:, 0], fake[:, 0], self._middle(s.target)[:, 0])
                if (found := self.judged()) is not None:
                    numbers |= found.as_reading(s.pixel_mm)
                    # Early epochs fit badly, as they should.
                    alarms += judge_alarms(found, s.pixel_mm) if 2 * (epoch + 1) >= s.epochs else []
            if self.held_out and (last or (epoch + 1) % s.select_every == 0):
                scores = self._score()
                numbers |= scores.as_reading()
                score = scores.score
        return ValidationResult(numbers=numbers, score=score, alarms=alarms, picture=picture)

    def judged(self) -> Judgement | None:
        """What the judge finds in evenly spread training slices that show an organ; None without a judge."""
        sets = self.slices[self.settings.source]
        if self.judge is None or sets[0].masks is None:
            return None
        showing = sets[0].showing_organ()
        chosen = [showing[index] for index in spread(len(showing), MOST_SCORED)]
        few = tuple(slices.take(chosen) for slices in sets)
        masks = few[0].masks
        assert masks is not None
        middle = middle_of(masks.shape[-1], self.settings.size)
        forth, _ = self._generators
        with torch.no_grad(), self.compute.inference():
            parts = torch.from_numpy(np.ascontiguousarray(_images(few)[..., middle, middle])).split(1)
            fakes = [forth(part.to(self.compute.device))[:, 0].float().cpu().numpy() for part in parts]
        return self.judge.of(np.concatenate(fakes), np.ascontiguousarray(masks[..., middle, middle]))

    @property
    def _generators(self) -> tuple[nn.Module, nn.Module]:
        forth, back = self.settings.generators
        return self.trainee.model[forth], self.trainee.model[back]

    def _pictures(self) -> tuple[Images, Images, Images]:
        """Source, synthetic, and source again after the cycle, of evenly spread slices."""
        forth, back = self._generators
        images = self._middle(self.settings.source)
        source = torch.from_numpy(images).to(self.compute.device)
        fake = torch.cat([forth(part) for part in source.split(1)])
        again = torch.cat([back(part) for part in fake.split(1)])
        return images, fake.float().cpu().numpy(), again.float().cpu().numpy()

    def _middle(self, side: Modality) -> Images:
        few = _images(_few(self.slices[side], SAMPLES))
        middle = middle_of(few.shape[-1], self.settings.size)
        return np.ascontiguousarray(few[..., middle, middle])

    def _score(self) -> Scores:
        source, target = (
            _few(self.held_out[side], MOST_SCORED) for side in (self.settings.source, self.settings.target)
        )
        return score_translator(
            *self._generators,
            self.trainee.model.get("S"),
            _images(source),
            source[0].masks,  # labels are those of the first input
            _images(target),
            detector(DETECTOR),
            self.compute.device,
            batch=1,
            judge=self.judge,
        )


def middle_of(loaded: int, size: int) -> slice:
    """The rows, or columns, of the middle of slices, without the margin of the random cut."""
    margin = (loaded - size) // 2
    return slice(margin, margin + size)


def _few(sets: tuple[SliceSet, ...], most: int) -> tuple[SliceSet, ...]:
    """At most this many slices, evenly spread, the same ones of every input."""
    return tuple(slices.take(spread(len(slices), most)) for slices in sets)


def _images(sets: tuple[SliceSet, ...]) -> Images:
    """The slices of all inputs side by side."""
    return np.stack([slices.images for slices in sets], axis=1)
