"""A trained translator, loaded from its run folder."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8
from torch import nn

from crossmod.config import Modality, build
from crossmod.data.intensity import Intensity
from crossmod.data.patient_identity import Seen
from crossmod.data.people import seen_on
from crossmod.data.slices import offsets
from crossmod.engine import checkpoint
from crossmod.engine.device import Compute, apply, choose, pick_device, prepare
from crossmod.errors import InputError
from crossmod.networks.blocks import blocks
from crossmod.runs import open_run
from crossmod.settings import Machine, TranslateSettings, as_recorded
from crossmod.synthesis.families import family_of

# The kind of run that this is.
KIND = "train"

Epoch = Literal["auto", "best", "last"]


@dataclass(frozen=True, eq=False)
class Translator:
    """Turns slices of its source modality into its target modality.

    Args:
        settings: what it was trained with.
        card: the run's card.
        run: name of the run folder.
        generator: from source to target.
        segmentor: S, where the family has one.
        weights: SHA-256 of the weights that are used.
        compute: where and how it computes.
        best: whether they are those of the best epoch, where epochs were scored.
    """

    settings: TranslateSettings
    card: dict[str, Any]
    run: str
    generator: nn.Module
    segmentor: nn.Module | None
    weights: str
    compute: Compute
    best: bool = False

    @property
    def target(self) -> Modality:
        """The modality that it makes."""
        return "mr" if self.settings.source == "ct" else "ct"

    def stack(self, spacing_mm: float) -> tuple[int, ...]:
        """Which slices it sees together, counted from the slice itself, where slices lie so far apart."""
        return offsets(self.settings.stack, self.card.get("stack_mm") or 0.0, spacing_mm)

    @property
    def output_intensity(self) -> Intensity:
        """The step that brings its output back to units."""
        side = self.card["data"][self.target]
        return Intensity(side["low"], side["high"])

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Every patient whose image it saw, to learn from or to choose an epoch by."""
        sides = self.card["data"].values()
        seen = {patient for side in sides for patient in (*side["patients"], *side.get("scored_patients", ()))}
        return tuple(sorted(seen))

    @property
    def people(self) -> Seen:
        """By what everybody is recognised whom it saw, or whom it was kept from."""
        return seen_on(self.card, self.weights)

    @property
    def recipe(self) -> str:
        """SHA-256 of its settings but for the seed and the fold: equal for models that differ by chance alone.

        The last epoch where the best was there for the taking is another recipe.
        """
        chance = ("seed", "fold", "test_patients", "train_patients", "same_people")
        kept = {key: value for key, value in self.card["settings"].items() if key not in chance}
        passed_over = {"epoch": "last"} if self.card.get("best") and not self.best else {}
        return hashlib.sha256(json.dumps({**kept, **passed_over}, sort_keys=True).encode()).hexdigest()

    @property
    def trained_cases(self) -> tuple[str, ...]:
        """Checksums of the cases that it saw."""
        return tuple(sorted({digest for side in self.card["data"].values() for digest in side["cases"]}))

    def translate(
        self, images: Float[np.ndarray, "slices images size size"] | Float[np.ndarray, "slices size size"]
    ) -> tuple[Float[np.ndarray, "slices size size"], UInt8[np.ndarray, "slices size size"] | None]:
        """Translate slices in [-1, 1], of each the stacks of all inputs; a single image needs no axis of its own.

        Returns:
            The synthetic slices; also the class that S sees at each pixel of them, where there is an S.
        """
        return apply(self.generator, self.segmentor, images[:, None] if images.ndim == 3 else images, self.compute)


def load_translator(path: Path, *, epoch: Epoch = "auto", machine: Machine | None = None) -> Translator:
    """The translator that a finished run made.

    Args:
        path: the run folder.
        epoch: `best` or `last`; `auto`: the best where the run scored its epochs, otherwise the last.
        machine: where to compute.

    Raises:
        InputError: the folder is no finished training run, or its checkpoint is damaged or of another architecture.
    """
    run = open_run(path, KIND)
    card = run.card
    settings = build(TranslateSettings, as_recorded(card["settings"]), subject=path / "card.json")
    machine = machine or Machine()
    networks, sha256, best = _weights(path, card, epoch)
    device = pick_device(machine.device)
    family, forth = family_of(settings.family), "G1" if settings.source == "ct" else "G2"
    # On a CPU compiling takes longer than a store of slices.
    compute = choose(device, settings.precision, settings.compile if device.type == "cuda" else "off")

    def loaded(name: str, made: nn.Module) -> nn.Module:
        checkpoint.load_weights(made, networks.get(name, {}), name, path)
        made.to(device).eval()
        prepare([made], blocks([made]), compute)
        return made

    return Translator(
        settings=settings,
        card=card,
        run=path.resolve().name,
        generator=loaded(forth, family.generators(settings)[forth]),
        segmentor=loaded("S", family.segmentor(settings)) if family.segmentor else None,
        weights=sha256,
        compute=compute,
        best=best,
    )


def _weights(path: Path, card: dict[str, Any], epoch: Epoch) -> tuple[dict[str, Any], str, bool]:
    """The weights by network, their hash, and whether they are the best epoch's.

    Only those that the card speaks of are given, since others go by another name.
    """
    best = card.get("best") or {}
    if epoch == "best" and not best:
        found, do = "a run that did not score its epochs", "Use --epoch last, or train with --select-every."
        raise InputError(path, found=found, expected="a best epoch", do=do)
    use_best = bool(best) and epoch != "last"
    if use_best:
        file, expected = checkpoint.best_at(path / "checkpoints", best["step"]), best["weights_sha256"]
    else:
        file, expected = checkpoint.at_step(path / "checkpoints", card["steps"]), card["weights_sha256"]
    state = checkpoint.load(file)
    networks = {**state["networks"], **state.get("averages", {})}
    if checkpoint.weights_hash(networks) != expected:
        found = f"other weights than the run {'had at its best' if use_best else 'ended with'}"
        do = "Restore the file, or train anew in another folder."
        raise InputError(file, found=found, expected=f"those of {expected[:12]}", do=do)
    return networks, expected, use_best
