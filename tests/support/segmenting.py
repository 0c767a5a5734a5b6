"""Small trainings of segmenters."""

from pathlib import Path
from typing import Any

from crossmod.runs import Run
from crossmod.segmentation.train import train_segmenter
from crossmod.settings import SegmentSettings

TINY: dict[str, Any] = {
    "network": "tiny",
    "precision": "fp32",
    "size": 32,
    "frame": "field",
    "pixel_mm": 10.0,
    "learning_rate": 5e-3,
    "batch_size": 8,
    "epochs": 25,
}


def segment(out: Path, real: Path, synthetic: Path | None = None, **more: Any) -> Run:
    return train_segmenter(out, real=real, synthetic=synthetic, settings=SegmentSettings(**{**TINY, **more}))
