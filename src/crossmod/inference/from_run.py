"""A finished training run as a network that translates, and what is known of it."""

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
    """A `Network` from a run folder.

    Args:
        about: what is known of it.
        translator: what computes.
    """

    about: About
    translator: Translator

    def translate(
        self, images: Float32[np.ndarray, "slices images size size"]
    ) -> tuple[Float32[np.ndarray, "slices size size"], UInt8[np.ndarray, "slices size size"] | None]:
        """Slices in [-1, 1] to slices in [-1, 1], and the class that S sees at each pixel, where there is an S."""
        # For one volume compiling would take longer than the volume.
        one = self.translator
        with one.compute.inference(), suited_to(one.generator, images.shape[-1], one.compute.device):
            return one.translate(images)


def load_run(path: Path, *, device: Device = "auto", epoch: Epoch = "auto") -> RunNetwork:
    """The network that a finished training run made.

    Args:
        path: the run folder.
        device: where to compute.
        epoch: `best` or `last`; `auto`: the best where the run scored its epochs, otherwise the last.

    Raises:
        InputError: the folder is no finished training run, or its weights are damaged.
    """
    translator = load_translator(path, epoch=epoch, machine=Machine(device=device))
    return RunNetwork(about_run(translator, path), translator)


def about_run(translator: Translator, path: Path) -> About:
    """What a run's card says of its model.

    Args:
        translator: taken from the run.
        path: the run folder: of the stores that it was trained on, where they are still there, the field is learnt.
    """
    settings, card = translator.settings, translator.card
    made = card["data"][translator.target]
    return About(
        name=translator.run,
        family=settings.family,
        source=settings.source,
        target=translator.target,
        inputs=_inputs(translator),
        size=settings.size,
        field_mm=_field(path, card["data"][settings.source], settings.source),
        low=float(made["low"]),
        high=float(made["high"]),
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
        sequence=made["sequence"],
        contrast=made.get("contrast"),
        stack=settings.stack,
        stack_mm=card.get("stack_mm"),
        # Older runs do not say it: they took all CT for HU.
        ct_unit=card["data"]["ct"].get("unit", "HU"),
        frame=settings.frame,
        pixel_mm=settings.pixel_mm,
    )


def _inputs(translator: Translator) -> tuple[str, ...]:
    settings = translator.settings
    if settings.source == "ct":
        return ("ct",)
    # Older cards and stores that do not name sequences leave the input open.
    return settings.inputs or (translator.card["data"]["mr"]["sequence"] or "mr",)


def _field(path: Path, data: dict[str, Any], side: Modality) -> float | None:
    """Millimetres a side of the squared slices that were trained on, the median over cases; None if they are gone."""
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
