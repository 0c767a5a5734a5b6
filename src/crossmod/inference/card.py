"""The card beside a translation: what made it, of what, how, and what it is not for."""

from pathlib import Path
from typing import Any

import numpy as np

from crossmod.files import write_json
from crossmod.inference.contract import Options, Translation
from crossmod.inference.truth import AgainstTruth
from crossmod.version import __version__

WARNING = "Synthetic, not for diagnosis: no scanner made this image. Organs can be missing, moved or made up."


def card_of(translation: Translation, options: Options, truth: AgainstTruth | None = None) -> dict[str, Any]:
    """What is told of a translation, as plain values; nothing of the patient.

    Args:
        translation: what was made.
        options: how.
        truth: how far it is from the truth, where that is known.
    """
    about, image = translation.about, translation.image
    spread = translation.uncertainty
    inside = spread[translation.body] if spread is not None else None
    return {
        "warning": WARNING,
        "software": f"crossmod {__version__}",
        "model": {
            "name": about.name,
            "family": about.family,
            "sha256": about.weights,
            "version": about.version,
            "inputs": list(about.inputs),
            "stack": about.stack,
            "stack_mm": about.stack_mm,
            "trained_on": about.trained_on,
            "licence": about.licence,
        },
        "options": options.model_dump(mode="json"),
        "modality": image.modality,
        "unit": image.unit,
        "notes": list(image.notes),
        "range": [about.low, about.high],
        "shape": list(image.voxels.shape),
        "spacing_mm": [round(length, 6) for length in image.spacing],
        "outside_the_body": about.low,
        "clipped_share": round(translation.clipped, 6),
        "mean_uncertainty": float(inside.mean()) if inside is not None and np.size(inside) else None,
        "seconds": translation.seconds,
        "against_truth": None if truth is None else truth.plain(),
    }


def write_card(translation: Translation, path: Path, options: Options, truth: AgainstTruth | None = None) -> Path:
    """Write the card of a translation that lies at `path`, and say where: `<path>.json`."""
    card = path.with_name(path.name + ".json")
    card.parent.mkdir(parents=True, exist_ok=True)
    write_json(card, card_of(translation, options, truth))
    return card
