"""A design for the made-up stores of all tests: seconds, not minutes."""

from typing import Any

from crossmod.config import build
from crossmod.experiment.design import Design

TRANSLATOR = {
    "preset": "tiny",
    "settings": {"size": 32, "generator_filters": 4, "generator_blocks": 1, "discriminator_filters": 4, "epochs": 1},
}
SEGMENTER = {"preset": "tiny", "settings": {"size": 32, "steps": 4}}


def small_design(**changes: Any) -> Design:
    """Two folds of five MR patients, two seeds, real only and one count."""
    values: dict[str, Any] = {
        "translators": {"essnet": TRANSLATOR},
        "segmenters": {"unet": SEGMENTER},
        "counts": [0, 4],
        "folds": 2,
        "seeds": [0, 1],
        **changes,
    }
    return build(Design, values, subject="design")
