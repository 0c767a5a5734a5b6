"""An independent judge of synthetic slices: a segmenter that never saw one, and that no loss depends on.

The model's own S cannot judge: trained together with the generator it learns the same shift, and a generator that is
trained against a frozen S learns what pleases it. Neither has the judge a part in the training.

Notable:
- A judge that was trained on source slices with random contrast also finds organs in images that look like the source.
  So it measures whether labels fit, not whether images look like the target: epochs are chosen by its Dice together
  with the Fréchet distance (`validation.Scores`).
- A judge that was trained on labelled target slices measures both, and uses these labels: it then is no judge of what
  can be done without them.
- The shift is that of all its answers together: where the cross-correlation of labels and answers is largest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn

from crossmod.config import build
from crossmod.engine import checkpoint
from crossmod.engine.alarms import Alarm
from crossmod.errors import InputError
from crossmod.metrics.paired import SHIFT_LIMIT_MM, shift_of_labels
from crossmod.metrics.segmentation import label_consistency
from crossmod.networks.unet import make_network
from crossmod.runs import JudgeCard, JudgedOn, open_run
from crossmod.segmentation.predict import predict
from crossmod.settings import SegmentSettings

# The judge's run folder in that of the translator, and its kind.
FOLDER = "judge"
# Mean Dice below which a translator raises an alarm. Measured by a segmenter of real MR on CT to T2-SPIR at 64 and 96
# pixels: EssNet 0.67 to 0.76, and 0.53 to 0.60 where images stayed too much like CT or were shifted by two pixels.
LOW = 0.5


@dataclass(frozen=True)
class Judgement:
    """What a judge finds in synthetic slices."""

    # of each slice whose label shows an organ, over the organs that label or answer show; None of the others
    dices: tuple[float | None, ...]
    # Rows and columns from the labels to what is found, in pixels, to a fraction of one; None if nothing is found
    shift: tuple[float, float] | None

    @property
    def dice(self) -> float | None:
        """The mean; None without any slice that shows an organ."""
        known = [value for value in self.dices if value is not None]
        return float(np.mean(known)) if known else None

    def pixels(self) -> float | None:
        """Length of the shift in pixels."""
        return None if self.shift is None else float(np.hypot(*self.shift))

    def as_reading(self, pixel_mm: float) -> dict[str, float]:
        """The mean Dice and the length of the shift, by name, for a log; in mm where slices have pixels of one size."""
        dice, pixels = self.dice, self.pixels()
        found = {} if dice is None else {"judge_dice": dice}
        return found if pixels is None or not pixel_mm else {**found, "judge_shift_mm": pixels * pixel_mm}


def judgement(
    answers: UInt8[np.ndarray, "slices size size"], masks: UInt8[np.ndarray, "slices size size"]
) -> Judgement:
    """What the classes that a judge finds say of slices with these labels."""
    pairs = zip(answers, masks, strict=True)
    dices = tuple(label_consistency(answer, mask) if mask.any() else None for answer, mask in pairs)
    return Judgement(dices, shift_of_labels(masks, answers))


@dataclass(frozen=True, eq=False)
class Judge:
    """A segmenter of the organs of a translator, which saw no synthetic image."""

    network: nn.Module  # one logit of one organ, or those of background and of each organ
    trained_on: JudgedOn
    device: torch.device

    def of(
        self, images: Float[np.ndarray, "slices size size"], masks: UInt8[np.ndarray, "slices size size"]
    ) -> Judgement:
        """Judge synthetic slices in [-1, 1] by the labels of their sources, in the classes of the translator."""
        images = np.ascontiguousarray(images, np.float32)
        return judgement(predict(self.network, images, self.device, quiet=True).answer, masks)


def load_judge(run: Path, card: JudgeCard, held_out: Sequence[str], device: torch.device) -> Judge:
    """The judge of a finished run of `train`, whose card describes it."""
    seen = sorted(set(card["patients"]) & set(held_out))
    if seen:
        raise InputError(
            run / FOLDER,
            found=f"a judge that was trained on {', '.join(seen)}, held out for testing",
            expected="one that saw training patients only",
            do="Train the translator again.",
        )
    own = open_run(run / FOLDER, FOLDER).card
    settings = build(SegmentSettings, own["settings"], subject=run / FOLDER / "card.json")
    weights = checkpoint.trained_weights(run / FOLDER, card["steps"], card["weights_sha256"])["segmenter"]
    network = make_network(settings.network, settings.size, settings.outputs)
    checkpoint.load_weights(network, weights, "segmenter", run / FOLDER)
    return Judge(network.to(device).eval(), card["trained_on"], device)


def judge_alarms(found: Judgement, pixel_mm: float) -> list[Alarm]:
    """Alarms of a trained translator; `pixel_mm`: 0 if slices differ in it, so that a shift is known in pixels only."""
    alarms, dice, pixels = [], found.dice, found.pixels()
    if dice is not None and dice < LOW:
        seen = f"the judge finds the labelled organs with a mean Dice of {dice:.2f} (limit {LOW:g})"
        do = "Look at the pictures. Train longer, try another --seed, or use --family guided, which keeps structures."
        alarms.append(Alarm("labels do not fit", seen, do))
    if pixels is not None and pixel_mm and pixels * pixel_mm > SHIFT_LIMIT_MM:
        rows, columns = (part * pixel_mm for part in found.shift or (0.0, 0.0))
        seen = (
            f"the judge finds organs {pixels * pixel_mm:.1f} mm from their labels ({rows:+.1f} mm down, {columns:+.1f} "
            f"mm to the right; limit {SHIFT_LIMIT_MM:g} mm)"
        )
        do = "Labels of synthetic slices would be off by it: train longer, try another --seed, or use --family guided."
        alarms.append(Alarm("shifted output", seen, do))
    return alarms
