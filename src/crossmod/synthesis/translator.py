"""A trained translator, loaded from its run folder."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

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
from crossmod.runs import TranslatorCard, open_run
from crossmod.seeds import rng
from crossmod.settings import Machine, TranslateSettings, as_recorded
from crossmod.synthesis.families import Control, SourceSlices, Statistics, family_of
from crossmod.synthesis.judge import Judge, load_judge
from crossmod.synthesis.train_control import statistics_in

KIND = "train"

Epoch = Literal["auto", "best", "last"]


@dataclass(frozen=True, eq=False)
class Translator:
    """Turns slices of its source modality into its target modality."""

    settings: TranslateSettings
    card: TranslatorCard
    run: str  # name of the run folder
    generator: nn.Module  # from source to target; of a control, which has none, the identity
    segmentor: nn.Module | None  # S, if the family has one
    weights: str  # SHA-256 of the weights that are used
    compute: Compute
    best: bool = False  # whether they are those of the best epoch; False if epochs were not scored
    control: Control | None = None  # of a family without networks
    statistics: Statistics = field(default_factory=dict)  # of the control
    judge: Judge | None = None  # the independent one, if it was trained with one

    @property
    def target(self) -> Modality:
        """The modality that it makes."""
        return self.settings.target

    def stack(self, spacing_mm: float) -> tuple[int, ...]:
        """Which slices it sees together, counted from the slice itself, in a scan of this slice spacing."""
        return offsets(self.settings.stack, self.card.get("stack_mm") or 0.0, spacing_mm)

    @property
    def output_intensity(self) -> Intensity:
        """Brings its output back to units."""
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
        """By what the people are recognised whom it saw, or who were held out."""
        return seen_on(self.card, self.weights)

    @property
    def recipe(self) -> str:
        """SHA-256 of its settings without seed and fold: equal for models that differ by chance only. The last epoch of
        a run that has a best one is another recipe."""
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
        """Translate slices in [-1, 1], each with the stacks of all inputs; a single image needs no second axis.

        Returns:
            The synthetic slices; and the class that S sees at each of their pixels, if the family has an S.
        """
        return apply(self.generator, self.segmentor, images[:, None] if images.ndim == 3 else images, self.compute)

    def changed(self, slices: SourceSlices, case: str) -> Float[np.ndarray, "slices size size"]:
        """The slices of one case as the control of this run changes them; what is drawn depends on the run's seed and
        the name of the case."""
        assert self.control is not None
        return self.control.change(slices, self.statistics, rng(self.settings.seed, "control", case))


def load_translator(path: Path, *, epoch: Epoch = "auto", machine: Machine | None = None) -> Translator:
    """The translator that a finished run made; `auto`: of the best epoch if the run scored its epochs, else of the
    last."""
    card = cast(TranslatorCard, open_run(path, KIND).card)
    settings = build(TranslateSettings, as_recorded(card["settings"]), subject=path / "card.json")
    best = card.get("best")
    if epoch == "best" and not best:
        found, do = "a run that did not score its epochs", "Use --epoch last, or train with --select-every."
        raise InputError(path, found=found, expected="a best epoch", do=do)
    used = best if best and epoch != "last" else None
    step, sha256 = (used["step"], used["weights_sha256"]) if used else (card["steps"], card["weights_sha256"])
    networks = checkpoint.trained_weights(path, step, sha256, best=used is not None)
    device = pick_device((machine or Machine()).device)
    # On a CPU compiling takes longer than a store of slices.
    compute = choose(device, settings.precision, settings.compile if device.type == "cuda" else "off")

    def loaded(name: str, network: nn.Module) -> nn.Module:
        checkpoint.load_weights(network, networks.get(name, {}), name, path)
        network.to(device).eval()
        prepare([network], blocks([network]), compute)
        return network

    family, forth, run = family_of(settings.family), settings.generators[0], path.resolve().name
    if family.control is not None:
        found = statistics_in(networks)
        return Translator(
            settings, card, run, nn.Identity(), None, sha256, compute, control=family.control, statistics=found
        )
    return Translator(
        settings=settings,
        card=card,
        run=run,
        generator=loaded(forth, family.generators(settings)[forth]),
        segmentor=loaded("S", family.segmentor(settings)) if family.segmentor else None,
        judge=load_judge(path, card["judge"], card["held_out"], device) if "judge" in card else None,
        weights=sha256,
        compute=compute,
        best=used is not None,
    )
