"""A trained segmenter, its predictions for whole cases, and their scores."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import nn

from crossmod.config import build
from crossmod.data.frame import Frame
from crossmod.data.intensity import intensity_of
from crossmod.data.pixel_size import Scale, model_scale
from crossmod.data.slices import PIXEL_STEP, SliceSet
from crossmod.data.store import CaseRecord
from crossmod.data.volume import Volume
from crossmod.engine import checkpoint
from crossmod.engine.device import Compute, choose, pick_device, prepare
from crossmod.engine.distributed import suited_to
from crossmod.errors import InputError
from crossmod.files import to_json
from crossmod.metrics.segmentation import (
    CUT_DICE,
    DISTANCES,
    SURFACE,
    dice,
    iou,
    roc,
    surface_distance,
    volume_difference,
)
from crossmod.networks.unet import make_network
from crossmod.progress import track
from crossmod.runs import SegmentationScores, SegmenterCard, open_run
from crossmod.settings import Machine, SegmentSettings, as_recorded
from crossmod.statistics.baseline_quality import trivial_dice
from crossmod.statistics.intervals import interval
from crossmod.statistics.verdicts import METRICS

KIND = "segment"


@dataclass(frozen=True, eq=False)
class Segmenter:
    """Finds its organs in slices of its modality."""

    settings: SegmentSettings
    card: SegmenterCard
    run: str  # name of the run folder
    network: nn.Module  # gives `settings.outputs` logits for each pixel
    weights: str  # SHA-256 of its weights
    compute: Compute

    @property
    def organs(self) -> tuple[str, ...]:
        """The organs that it finds: 1, 2 and so on in its answers."""
        return self.settings.organs

    @property
    def on_real(self) -> float:
        """Its mean 3D Dice over its real test patients; of several organs, the mean over them too."""
        return _mean_dice(self.card["scores"])

    def on_real_of(self, organ: str) -> float:
        """The same of one of its organs."""
        scores = self.card["scores"]
        return _mean_dice(scores.get("organs", {}).get(organ, scores))

    @property
    def scale(self) -> Scale:
        """Millimetres and pixels of its input."""
        return model_scale(self.settings)

    def find(self, volume: Volume, frame: Frame) -> UInt8[np.ndarray, "slices size size"]:
        """The number of the organ that it sees, counted from 1 as in `organs`, or 0, on the pixels of `frame`; the
        volume must be whole, since its percentiles count."""
        if volume.modality != self.settings.modality:
            do = f"Give a segmenter that was trained with --modality {volume.modality}."
            found = f"a segmenter of {self.settings.modality}"
            raise InputError(self.run, found=found, expected=f"one of {volume.modality}", do=do)
        step = intensity_of(volume, self.settings)
        images = step.to_model(frame.place(volume.with_labels(None, {})).voxels)
        with self.compute.inference(), suited_to(self.network, self.settings.size, self.compute.device):
            return predict(self.network, images, self.compute.device, quiet=True).answer


def _mean_dice(scores: SegmentationScores) -> float:
    mean = scores["patient"]["dice"]
    assert mean is not None  # Dice is always defined
    return float(mean)


def load_segmenter(path: Path, *, machine: Machine | None = None) -> Segmenter:
    """The segmenter that a finished run made."""
    card = cast(SegmenterCard, open_run(path, KIND).card)
    settings = build(SegmentSettings, as_recorded(card["settings"]), subject=path / "card.json")
    sha256 = card.get("weights_sha256", "")
    weights = checkpoint.trained_weights(path, card["steps"], sha256).get("segmenter", {})
    compute = choose(pick_device((machine or Machine()).device), settings.precision, "off", blocks=False)
    network = make_network(settings.network, settings.size, settings.outputs)
    checkpoint.load_weights(network, weights, "segmenter", path)
    network.to(compute.device).eval()
    prepare([network], [], compute)
    return Segmenter(settings, card, path.resolve().name, network, sha256, compute)


THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class Prediction:
    """The output of a network for a set of slices."""

    # Of the organ at each pixel; of each of several organs, first
    probability: Float[np.ndarray, "slices size size"] | Float[np.ndarray, "organs slices size size"]
    answer: UInt8[np.ndarray, "slices size size"]  # number of the organ at each pixel, 0 for background
    slices_per_second: float  # of the network only


@torch.no_grad()
def predict(
    network: nn.Module,
    slices: SliceSet | Float[np.ndarray, "slices size size"],
    device: torch.device,
    *,
    batch: int = 8,
    quiet: bool = False,
) -> Prediction:
    """Run a network over a set of slices or images in [-1, 1]; it is left in evaluation mode.

    Its output is a logit of the organ, which is found where its sigmoid is `THRESHOLD` or more; or of several organs a
    logit of the background and one of each: the class with the largest one is found. `quiet`: no progress bar, if the
    caller shows one.
    """
    network.eval()
    pixels, step = (slices.pixels, PIXEL_STEP) if isinstance(slices, SliceSet) else (slices, 1.0)
    probability, answer = np.empty(pixels.shape, np.float32), np.empty(pixels.shape, np.uint8)
    began = time.monotonic()
    begins = range(0, len(pixels), batch)
    for begin in begins if quiet else track(begins, f"Testing on {len(pixels)} slices"):
        part = slice(begin, begin + batch)
        images = torch.from_numpy(pixels[part]).to(device)[:, None].float() * step
        logits = network(images)
        if logits.shape[1] == 1:
            probability[part] = torch.sigmoid(logits)[:, 0].cpu().numpy()
            answer[part] = probability[part] >= THRESHOLD
            continue
        if begin == 0:
            probability = np.empty((logits.shape[1] - 1, *pixels.shape), np.float32)
        # Each organ's in one piece, as they are scored.
        probability[:, part] = torch.softmax(logits, dim=1)[:, 1:].transpose(0, 1).cpu().numpy()
        answer[part] = logits.argmax(dim=1).cpu().numpy()
    return Prediction(probability, answer, len(pixels) / max(time.monotonic() - began, 1e-9))


def score(
    slices: SliceSet, probability: Float[np.ndarray, "slices size size"], cases: Sequence[CaseRecord] = ()
) -> SegmentationScores:
    """Dice and IoU over all pixels, by slice and by patient; distances and RAVD by patient; ROC and AUC.

    Pooled: all pixels of all tested slices as one, so that IoU = Dice / (2 - Dice), which holds for the numbers that
    Rafiq et al. 2025 print. By slice: the mean over slices whose truth shows the organ. By patient: all tested slices
    of a patient taken together as one volume (3D), so that false positives in slices without the organ count too; those
    beyond the first and the last slice that show one of the organs do not count in `dice_cut`, the 3D Dice of a scan
    that is cut to its labels, as in the public code of CSDG and SLAug (optimistic: it takes the truth to cut it).
    Distances are in mm, by `surface_distance`, RAVD in percent, by `volume_difference`; the mean over patients is of
    those that have them, and `patient_undefined` counts the others: truth or answer empty, or, for distances, tested
    slices with gaps between them, which are no volume; for `dice_cut`, no organ in a tested scan.

    Args:
        slices: with masks.
        probability: of the organ at each pixel.
        cases: the records of the tested cases, with their pixels' size; without a case's there are no distances.
    """
    assert slices.masks is not None
    return score_masks(slices, slices.masks > 0, probability >= THRESHOLD, probability, cases)


def score_masks(
    slices: SliceSet,
    truth: Bool[np.ndarray, "slices size size"],
    answer: Bool[np.ndarray, "slices size size"],
    probability: Float[np.ndarray, "slices size size"],
    cases: Sequence[CaseRecord],
) -> SegmentationScores:
    """`score` of one of the organs of the slices, whose truth and answer are given."""
    showing = [int(i) for i in np.flatnonzero(truth.any(axis=(1, 2)))]
    by_slice = {
        "dice": [dice(answer[i], truth[i]) for i in showing],
        "iou": [iou(answer[i], truth[i]) for i in showing],
    }
    by_patient = _by_patient(slices, answer, truth, {record.id: record for record in cases})
    means, undefined = {}, {}
    for name, values in by_patient.items():
        known = [value for value in values.values() if np.isfinite(value)]
        means[name] = float(np.mean(known)) if known else None
        undefined[name] = len(values) - len(known)
    interval_ends = interval(np.array(list(by_patient["dice"].values())))
    curve = roc(probability.ravel(), truth.ravel())
    return {
        "pooled": {"dice": dice(answer, truth), "iou": iou(answer, truth)},
        "trivial_dice": trivial_dice(truth),
        "slice": {name: float(np.mean(values)) if values else None for name, values in by_slice.items()},
        "slice_values": [
            {"case": slices.keys[i].case, "slice": slices.keys[i].slice, "dice": value}
            for i, value in zip(showing, by_slice["dice"], strict=True)
        ],
        "patient": means,
        "patient_interval": interval_ends if np.isfinite(interval_ends).all() else None,
        "patient_values": to_json(by_patient),
        "patient_undefined": {name: missing for name, missing in undefined.items() if name not in ("dice", "iou")},
        "surface": SURFACE,
        "auc": curve.auc,
        "roc": {"fpr": curve.false_positive_rate, "tpr": curve.true_positive_rate},
        "test_slices": len(slices),
        "test_slices_with_organ": len(showing),
        "constant": bool(answer.all() or not answer.any()),
    }


def _by_patient(
    slices: SliceSet,
    answer: Bool[np.ndarray, "slices size size"],
    truth: Bool[np.ndarray, "slices size size"],
    records: Mapping[str, CaseRecord],
) -> dict[str, dict[str, float]]:
    """Score -> patient -> value; NaN if undefined. Dice and IoU count the voxels of all cases of a patient; distances,
    RAVD and added metrics, which depend on the voxels' size, are means over the cases, undefined if one is."""
    rows: dict[str, dict[str, list[int]]] = {patient: {} for patient in slices.patients}
    for index, key in enumerate(slices.keys):
        rows[key.patient].setdefault(key.case, []).append(index)
    added = {name: metric.of for name, metric in METRICS.items() if metric.of is not None}
    scores: dict[str, dict[str, float]] = {name: {} for name in ("dice", "iou", CUT_DICE, *DISTANCES, "ravd", *added)}
    assert slices.masks is not None
    labelled = np.asarray(slices.masks.any(axis=(1, 2)))
    for patient, own in rows.items():
        everything = [index for indexes in own.values() for index in indexes]
        distances, ravds, of_added, cut = [], [], [], []
        for case, indexes in own.items():
            indexes.sort(key=lambda index: slices.keys[index].slice)
            cut.append(_cut(indexes, labelled))
            a, t, record = answer[indexes], truth[indexes], records.get(case)
            distances.append([np.nan] * len(DISTANCES))
            of_added.append([np.nan] * len(added))
            if record is not None and _is_volume([slices.keys[index].slice for index in indexes], record):
                voxel_mm = (record.spacing[0], *slices.frame(record).pixel_mm)
                distance = surface_distance(a, t, voxel_mm)
                distances[-1] = [getattr(distance, name) for name in DISTANCES]
                of_added[-1] = [float(of(a, t, voxel_mm)) for of in added.values()]
            ravds.append(volume_difference(a, t))
        scores["dice"][patient] = dice(answer[everything], truth[everything])
        scores["iou"][patient] = iou(answer[everything], truth[everything])
        within = [index for indexes in cut for index in indexes]
        scores[CUT_DICE][patient] = dice(answer[within], truth[within]) if all(cut) else np.nan
        means = np.mean(np.hstack([distances, of_added]), axis=0)
        for name, value in zip((*DISTANCES, *added), means, strict=True):
            scores[name][patient] = float(value)
        scores["ravd"][patient] = float(np.mean(ravds))
    return scores


def _cut(indexes: Sequence[int], labelled: Bool[np.ndarray, " slices"]) -> Sequence[int]:
    """The indexes, in order, from the first to the last of a labelled slice; none without one."""
    shown = np.flatnonzero(labelled[indexes])
    return indexes[shown[0] : shown[-1] + 1] if shown.size else []


def _is_volume(tested: Sequence[int], record: CaseRecord) -> bool:
    """Whether slices, in order, leave no gap; a single one is a volume only of a case that has no other."""
    return list(tested) == list(range(tested[0], tested[-1] + 1)) and (len(tested) > 1 or record.shape[0] == 1)
