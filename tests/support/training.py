"""Small trainings of translators."""

from pathlib import Path
from typing import Any

from crossmod.runs import Run
from crossmod.settings import Machine, TranslateSettings
from crossmod.synthesis.train import train_translator
from tests.support.stores import Stores

TINY: dict[str, Any] = {
    "precision": "fp32",
    "size": 32,
    # The stores' own pixels.
    "frame": "field",
    "pixel_mm": 10.0,
    "load_size": 36,
    "generator_filters": 2,
    "generator_blocks": 1,
    "discriminator_filters": 2,
    "discriminator_layers": 1,
    "ct_slices": 6,
    "mr_slices": 6,
    "epochs": 2,
    "sample_every": 1,
}


def train(out: Path, stores: Stores, machine: Machine | None = None, **more: Any) -> Run:
    settings = TranslateSettings(**{**TINY, **more})
    return train_translator(out, ct=stores.ct, mr=stores.mr, settings=settings, machine=machine)
