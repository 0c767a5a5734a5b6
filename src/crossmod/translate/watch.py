"""Looking at a translator while it is trained: pictures, alarms, and scores on held-out patients."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from crossmod.config import Modality
from crossmod.data.slices import SliceSet, spread
from crossmod.engine.alarms import LEVELS, discriminator_alarms, picture_alarms
from crossmod.engine.device import Compute
from crossmod.engine.logger import write_panel
from crossmod.engine.state import Sight, Standing, Trainee
from crossmod.metrics.features import detector
from crossmod.settings import TranslateSettings
from crossmod.translate.selection import Scores, score_translator

# A panel shows the first few of the slices that alarms look at.
SAMPLES, SHOWN = 8, 4
# More would cost more than the epoch that they are to judge.
MOST_SCORED = 48
# Never trained, needs no download: good enough to compare epochs of one run with.
DETECTOR = "random"


# Of each slice one image or several.
Several = Float[np.ndarray, "slices _ size size"]


@dataclass(frozen=True, eq=False)
class Watch:
    """Looks at a translator after an epoch, every few epochs.

    Args:
        trainee: the translator.
        settings: how often.
        compute: how its networks are run.
        samples: folder of the pictures.
        slices: what it is trained on, by modality, a set an image of what goes in.
        held_out: slices of patients kept for its scores, likewise; empty: no scores.
    """

    trainee: Trainee
    settings: TranslateSettings
    compute: Compute
    samples: Path
    slices: Mapping[Modality, tuple[SliceSet, ...]]
    held_out: Mapping[Modality, tuple[SliceSet, ...]]

    @property
    def _sides(self) -> tuple[Modality, Modality]:
        return ("ct", "mr") if self.settings.source == "ct" else ("mr", "ct")

    def __call__(self, epoch: int, at: Standing) -> Sight:
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
        return Sight(numbers=numbers, score=score, alarms=alarms, picture=picture)

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
