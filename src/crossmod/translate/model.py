"""A trained translator, taken from its run folder."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn

from crossmod.config import Modality, build
from crossmod.data.intensity import Intensity
from crossmod.engine import checkpoint
from crossmod.engine.device import pick_device
from crossmod.errors import InputError
from crossmod.runs import open_run
from crossmod.settings import TranslateSettings
from crossmod.translate.networks import Head, ResNet
from crossmod.translate.train import KIND


@dataclass(frozen=True, eq=False)
class Translator:
    """Turns slices of its source modality into its target modality.

    Args:
        settings: what it was trained with.
        card: the run's card.
        run: name of the run folder.
        generator: from source to target.
        segmentor: S, where the family has one.
        device: where it computes.
    """

    settings: TranslateSettings
    card: dict[str, Any]
    run: str
    generator: nn.Module
    segmentor: nn.Module | None
    device: torch.device

    @property
    def target(self) -> Modality:
        """The modality that it makes."""
        return "mr" if self.settings.source == "ct" else "ct"

    @property
    def output_intensity(self) -> Intensity:
        """The step that brings its output back to units."""
        side = self.card["data"][self.target]
        return Intensity(side["low"], side["high"])

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Every patient whose image it saw."""
        return tuple(sorted({patient for side in self.card["data"].values() for patient in side["patients"]}))

    @property
    def recipe(self) -> str:
        """SHA-256 of its settings but for the seed and the fold: equal for models that differ by chance alone."""
        chance = ("seed", "fold", "test_patients", "train_patients")
        kept = {key: value for key, value in self.card["settings"].items() if key not in chance}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    @property
    def trained_cases(self) -> tuple[str, ...]:
        """Checksums of the cases that it saw."""
        return tuple(sorted({digest for side in self.card["data"].values() for digest in side["cases"]}))

    @torch.no_grad()
    def translate(
        self, images: Float[np.ndarray, "slices size size"], *, batch: int = 8
    ) -> tuple[Float[np.ndarray, "slices size size"], UInt8[np.ndarray, "slices size size"] | None]:
        """Translate slices in [-1, 1]; also the class that S sees at each pixel of the result, where there is an S."""
        fakes, answers, S = [], [], self.segmentor
        for part in torch.from_numpy(images)[:, None].split(batch):
            fake = self.generator(part.to(self.device))
            fakes.append(fake[:, 0].cpu().numpy())
            if S is not None:
                answers.append(S(fake).argmax(dim=1).to(torch.uint8).cpu().numpy())
        return np.concatenate(fakes), np.concatenate(answers) if answers else None


def load_translator(path: Path, *, device: str = "auto") -> Translator:
    """The translator that a finished run made.

    Raises:
        InputError: the folder is no finished training run, or its checkpoint is damaged or of another architecture.
    """
    run = open_run(path, KIND)
    card = run.card
    settings = build(TranslateSettings, card["settings"], subject=path / "card.json")
    # Only the checkpoint that the card speaks of: an earlier one would go by the wrong name.
    last = checkpoint.at_step(path / "checkpoints", card["steps"])
    weights = checkpoint.load(last)
    if checkpoint.weights_hash({name: weights[name] for name in card["parameters"]}) != card["weights_sha256"]:
        found, wanted = "other weights than the run ended with", f"those of {card['weights_sha256'][:12]}"
        raise InputError(last, found=found, wanted=wanted, do="Restore the file, or train anew in another folder.")
    where = pick_device(device)

    def network(name: str, outputs: int) -> nn.Module:
        head: Head = "linear" if name == "S" else "tanh"
        made = ResNet(outputs, settings.generator_filters, settings.generator_blocks, head)
        checkpoint.load_weights(made, weights.get(name, {}), name, path)
        return made.to(where).eval()

    return Translator(
        settings=settings,
        card=card,
        run=path.resolve().name,
        generator=network("G1" if settings.source == "ct" else "G2", 1),
        segmentor=network("S", 1 + len(settings.organs)) if settings.family == "essnet" else None,
        device=where,
    )
