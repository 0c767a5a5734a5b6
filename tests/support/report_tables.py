"""A made-up segmentation run, for tables of arms."""

from pathlib import Path
from typing import Any

from crossmod.runs import Run, start_run


def made_run(
    path: Path,
    dice: dict[str, float],
    *,
    count: int = 0,
    seed: int = 0,
    fold: int = 0,
    network: str = "tiny",
    models: tuple[str, ...] = ("m",),
    **more: Any,
) -> Run:
    """A finished segmentation run with these scores."""
    card = {
        "settings": {
            "seed": seed,
            "fold": fold,
            "count": count,
            "min_consistency": 0.0,
            "network": network,
            "test_patients": (),
        },
        "parameters": 10,
        "data": {
            "synthetic_family": "essnet" if count else None,
            "synthetic_recipe": "r" if count else None,
            "synthetic_models": list(models) if count else [],
            "train_slices": 20,
            "test_patients": sorted(dice),
        },
        "tested": {},
        "leaking": False,
        "scores": {
            "patient": {"dice": sum(dice.values()) / len(dice), "iou": 0.5},
            "patient_values": {"dice": dice},
            "slice": {"dice": 0.7, "iou": 0.6},
            "auc": 0.9,
            "constant": False,
            "pooled": {"dice": 0.75, "iou": 0.6},
            "trivial_dice": 0.3,
        },
        "steps": 100,
        **more,
    }
    run = start_run(path, "segment", card["settings"], {})
    run.finish(card)
    return run
