"""Prediction, and the scores that it earns by slice and by patient."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from crossmod.data.slices import PIXEL_STEP, SliceSet
from crossmod.evaluate.overlap import dice, iou
from crossmod.evaluate.roc import roc
from crossmod.evaluate.statistics import interval
from crossmod.progress import track

THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of a set of slices.

    Args:
        probability: of the organ at each pixel.
        slices_per_second: of the network, all else left out.
    """

    probability: Float[np.ndarray, "slices size size"]
    slices_per_second: float


@torch.no_grad()
def predict(
    network: nn.Module,
    slices: SliceSet | Float[np.ndarray, "slices size size"],
    device: torch.device,
    *,
    batch: int = 8,
) -> Prediction:
    """Run a network over slices; those of a set become float32 a batch at a time.

    Args:
        network: gives a logit of the organ for each pixel; it is left in evaluation mode.
        slices: a set, or images in [-1, 1].
        device: where the network is.
        batch: slices at a time.
    """
    network.eval()
    pixels, step = (slices.pixels, PIXEL_STEP) if isinstance(slices, SliceSet) else (slices, 1.0)
    probability = np.empty(pixels.shape, np.float32)
    began = time.monotonic()
    for begin in track(range(0, len(pixels), batch), f"Testing on {len(pixels)} slices"):
        part = slice(begin, begin + batch)
        images = torch.from_numpy(pixels[part]).to(device)[:, None].float() * step
        probability[part] = torch.sigmoid(network(images))[:, 0].cpu().numpy()
    return Prediction(probability, len(pixels) / max(time.monotonic() - began, 1e-9))


def score(slices: SliceSet, probability: Float[np.ndarray, "slices size size"]) -> dict[str, Any]:
    """Dice and IoU by slice and by patient, ROC and AUC, as plain data.

    By slice: the mean over slices whose truth shows the organ, as in Rafiq et al. 2025. By patient: all tested slices
    of a patient taken together as one volume (3D), so that what is found where nothing is counts too.
    """
    assert slices.masks is not None
    truth, answer = slices.masks > 0, probability >= THRESHOLD
    showing = [int(i) for i in np.flatnonzero(truth.any(axis=(1, 2)))]
    by_slice = {
        "dice": [dice(answer[i], truth[i]) for i in showing],
        "iou": [iou(answer[i], truth[i]) for i in showing],
    }
    owners = np.array([key.patient for key in slices.keys])
    by_patient = {
        name: {patient: measure(answer[owners == patient], truth[owners == patient]) for patient in slices.patients}
        for name, measure in (("dice", dice), ("iou", iou))
    }
    curve = roc(probability.ravel(), truth.ravel())
    return {
        "slice": {name: float(np.mean(values)) if values else None for name, values in by_slice.items()},
        "slice_values": [
            {"case": slices.keys[i].case, "slice": slices.keys[i].slice, "dice": by_slice["dice"][place]}
            for place, i in enumerate(showing)
        ],
        "patient": {name: float(np.mean(list(values.values()))) for name, values in by_patient.items()},
        "patient_interval": _finite(interval(np.array(list(by_patient["dice"].values())))),
        "patient_values": by_patient,
        "auc": curve.auc,
        "roc": {"fpr": curve.false_positive_rate, "tpr": curve.true_positive_rate},
        "test_slices": len(slices),
        "test_slices_with_organ": len(showing),
        "constant": bool(answer.all() or not answer.any()),
    }


def _finite(ends: tuple[float, float]) -> tuple[float, float] | None:
    return ends if np.isfinite(ends).all() else None
