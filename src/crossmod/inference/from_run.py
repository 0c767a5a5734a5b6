"""A finished training run as a network that translates."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from crossmod.config import Modality
from crossmod.data.store import Store
from crossmod.engine.threads import suited_to
from crossmod.errors import InputError
from crossmod.files import read_json
from crossmod.inference.types import About
from crossmod.settings import Device, Machine
from crossmod.synthesis.translator import Epoch, Translator, load_translator
from crossmod.version import __version__


@dataclass(frozen=True, eq=False)
class RunNetwork:
    """A `Network` from a run folder."""

    about: About
    translator: Translator

    def translate(
        self, images: Float32[np.ndarray, "slices images size size"]
    ) -> tuple[Float32[np.ndarray, "slices size size"], UInt8[np.ndarray, "slices size size"] | None]:
        """Translate slices in [-1, 1], and give the class of each pixel from S, if there is an S."""
        own = self.translator
        with own.compute.inference(), suited_to(own.generator, images.shape[-1], own.compute.device):
            return own.translate(images)


def load_run(path: Path, *, device: Device = "auto", epoch: Epoch = "auto") -> RunNetwork:
    """The network of a finished training run.

    Args:
        epoch: `best` or `last`; `auto`: the best if the run scored its epochs, otherwise the last.

    Raises:
        InputError: the folder is not a finished training run, or its weights are damaged.
    """
    translator = load_translator(path, epoch=epoch, machine=Machine(device=device))
    return RunNetwork(about_run(translator, path), translator)


def about_run(translator: Translator, path: Path) -> About:
    """What is known of a run's model.

    Args:
        path: the run folder; the field of view is read from the training stores, if they still exist.
    """
    settings, card = translator.settings, translator.card
    target = card["data"][translator.target]
    return About(
        name=translator.run,
        family=settings.family,
        source=settings.source,
        target=translator.target,
        # Older cards and stores do not name the sequence.
        inputs=("ct",) if settings.source == "ct" else settings.inputs or (card["data"]["mr"]["sequence"] or "mr",),
        size=settings.size,
        field_mm=_field(path, card["data"][settings.source], settings.source),
        low=float(target["low"]),
        high=float(target["high"]),
        window=settings.window,
        organs=settings.organs if translator.segmentor is not None else (),
        weights=translator.weights,
        version=_version(path),
        trained_on={
            side: {"patients": len(data["patients"]), "slices": int(data["slices"])}
            for side, data in card["data"].items()
        },
        percentiles=settings.percentiles,
        flip=settings.flip,
        sequence=target["sequence"],
        contrast=target.get("contrast"),
        stack=settings.stack,
        stack_mm=card.get("stack_mm"),
        # Older runs assumed HU.
        ct_unit=card["data"]["ct"].get("unit", "HU"),
        frame=settings.frame,
        pixel_mm=settings.pixel_mm,
    )


def _field(path: Path, data: dict[str, Any], side: Modality) -> float | None:
    """Median side of the squared training slices in millimetres; None if they are gone."""
    try:
        cases = Store(path / data["store"]).cases
    except InputError:
        return None
    trained = set(data["cases"])
    seen = [case for case in cases if case.modality == side and case.sha256 in trained]
    fields = [max(case.shape[axis] * case.spacing[axis] for axis in (1, 2)) for case in seen]
    return float(median(fields)) if fields else None


def _version(path: Path) -> str:
    try:
        content = read_json(path / "environment.json")
    except InputError:
        return __version__
    versions = content.get("packages", {}) if isinstance(content, dict) else {}
    return str(versions.get("crossmod", __version__))
