"""A trained segmenter, its predictions for whole cases, and their scores."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from crossmod.metrics.segmentation import DISTANCES, SURFACE, dice, iou, roc, surface_distance, volume_difference
from crossmod.networks.unet import make_network
from crossmod.progress import track
from crossmod.runs import open_run
from crossmod.settings import Machine, SegmentSettings, as_recorded
from crossmod.statistics.baseline_quality import trivial_dice
from crossmod.statistics.intervals import interval

# The kind of run that this is.
KIND = "segment"


@dataclass(frozen=True, eq=False)
class Segmenter:
    """Finds its organ in slices of its modality.

    Args:
        settings: what it was trained with.
        card: the run's card.
        run: name of the run folder.
        network: gives a logit of the organ for each pixel.
        weights: SHA-256 of its weights.
        compute: where and how it computes.
    """

    settings: SegmentSettings
    card: dict[str, Any]
    run: str
    network: nn.Module
    weights: str
    compute: Compute

    @property
    def organ(self) -> str:
        """What it finds."""
        return self.settings.organs[0]

    @property
    def on_real(self) -> float:
        """Its mean 3D Dice over the real patients that it was tested on."""
        return float(self.card["scores"]["patient"]["dice"])

    @property
    def scale(self) -> Scale:
        """Millimetres and pixels of what it sees."""
        return model_scale(self.settings)

    def find(self, volume: Volume, frame: Frame) -> UInt8[np.ndarray, "slices size size"]:
        """1 where it sees the organ, on the pixels of `frame`.

        Args:
            volume: the whole of it, whose percentiles count.
            frame: of this volume, by `scale`.

        Raises:
            InputError: the volume is of the other modality.
        """
        if volume.modality != self.settings.modality:
            do = f"Give a segmenter that was trained with --modality {volume.modality}."
            found = f"a segmenter of {self.settings.modality}"
            raise InputError(self.run, found=found, expected=f"one of {volume.modality}", do=do)
        step = intensity_of(volume, self.settings)
        images = step.to_model(frame.place(volume.with_labels(None, {})).voxels)
        with self.compute.inference(), suited_to(self.network, self.settings.size, self.compute.device):
            found = predict(self.network, images, self.compute.device, quiet=True)
        return (found.probability >= THRESHOLD).astype(np.uint8)


def load_segmenter(path: Path, *, machine: Machine | None = None) -> Segmenter:
    """The segmenter that a finished run made.

    Args:
        path: the run folder.
        machine: where to compute.

    Raises:
        InputError: the folder is no finished segmenter, or its checkpoint is damaged or of another architecture.
    """
    card = open_run(path, KIND).card
    settings = build(SegmentSettings, as_recorded(card["settings"]), subject=path / "card.json")
    file = checkpoint.at_step(path / "checkpoints", card["steps"])
    state = checkpoint.load(file)
    weights = {**state["networks"], **state.get("averages", {})}.get("segmenter", {})
    if checkpoint.weights_hash({"segmenter": weights}) != card["weights_sha256"]:
        do = "Restore the file, or train anew in another folder."
        expected = f"those of {card['weights_sha256'][:12]}"
        raise InputError(file, found="other weights than the run ended with", expected=expected, do=do)
    device = pick_device((machine or Machine()).device)
    compute = choose(device, settings.precision, "off", blocks=False)
    network = make_network(settings.network, settings.size)
    checkpoint.load_weights(network, weights, "segmenter", path)
    network.to(device).eval()
    prepare([network], [], compute)
    return Segmenter(settings, card, path.resolve().name, network, card["weights_sha256"], compute)


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
    quiet: bool = False,
) -> Prediction:
    """Run a network over slices; those of a set become float32 a batch at a time.

    Args:
        network: gives a logit of the organ for each pixel; it is left in evaluation mode.
        slices: a set, or images in [-1, 1].
        device: where the network is.
        batch: slices at a time.
        quiet: no progress bar, where the caller shows one.
    """
    network.eval()
    pixels, step = (slices.pixels, PIXEL_STEP) if isinstance(slices, SliceSet) else (slices, 1.0)
    probability = np.empty(pixels.shape, np.float32)
    began = time.monotonic()
    begins = range(0, len(pixels), batch)
    for begin in begins if quiet else track(begins, f"Testing on {len(pixels)} slices"):
        part = slice(begin, begin + batch)
        images = torch.from_numpy(pixels[part]).to(device)[:, None].float() * step
        probability[part] = torch.sigmoid(network(images))[:, 0].cpu().numpy()
    return Prediction(probability, len(pixels) / max(time.monotonic() - began, 1e-9))


def score(
    slices: SliceSet, probability: Float[np.ndarray, "slices size size"], cases: Sequence[CaseRecord] = ()
) -> dict[str, Any]:
    """Dice and IoU over all pixels, by slice and by patient; distances and RAVD by patient; ROC and AUC; as plain data.

    Pooled: all pixels of all tested slices as one, so that IoU = Dice / (2 - Dice), which holds for the numbers that
    Rafiq et al. 2025 print. By slice: the mean over slices whose truth shows the organ. By patient: all tested slices
    of a patient taken together as one volume (3D), so that what is found where nothing is counts too. Distances are
    in mm, by `surface_distance`, RAVD in percent, by `volume_difference`; the mean over patients is of those that have
    them, and `patient_undefined` counts the others: truth or answer empty, or, for distances, tested slices with gaps
    between them, which are no volume.

    Args:
        slices: with masks.
        probability: of the organ at each pixel.
        cases: the records of the tested cases, which know the pixels' size; without a case's there are no distances.
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
    partial = {
        **_distances(slices, answer, truth, cases),
        "ravd": {patient: _ravd(slices, answer, truth, patient) for patient in slices.patients},
    }
    curve = roc(probability.ravel(), truth.ravel())
    return {
        "pooled": {"dice": dice(answer, truth), "iou": iou(answer, truth)},
        "trivial_dice": trivial_dice(truth),
        "slice": {name: float(np.mean(values)) if values else None for name, values in by_slice.items()},
        "slice_values": [
            {"case": slices.keys[i].case, "slice": slices.keys[i].slice, "dice": by_slice["dice"][place]}
            for place, i in enumerate(showing)
        ],
        "patient": {
            **{name: float(np.mean(list(values.values()))) for name, values in by_patient.items()},
            **{name: _mean(list(values.values())) for name, values in partial.items()},
        },
        "patient_interval": _finite(interval(np.array(list(by_patient["dice"].values())))),
        "patient_values": {**by_patient, **partial},
        "patient_undefined": {name: list(values.values()).count(None) for name, values in partial.items()},
        "surface": SURFACE,
        "auc": curve.auc,
        "roc": {"fpr": curve.false_positive_rate, "tpr": curve.true_positive_rate},
        "test_slices": len(slices),
        "test_slices_with_organ": len(showing),
        "constant": bool(answer.all() or not answer.any()),
    }


def _finite(ends: tuple[float, float]) -> tuple[float, float] | None:
    return ends if np.isfinite(ends).all() else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _distances(
    slices: SliceSet,
    answer: Bool[np.ndarray, "slices size size"],
    truth: Bool[np.ndarray, "slices size size"],
    cases: Sequence[CaseRecord],
) -> dict[str, dict[str, float | None]]:
    """HD95, ASSD and MSSD of each patient: of several cases the mean, undefined where one of them is."""
    records = {record.id: record for record in cases}
    rows: dict[str, dict[str, list[int]]] = {patient: {} for patient in slices.patients}
    for index, key in enumerate(slices.keys):
        rows[key.patient].setdefault(key.case, []).append(index)
    found: dict[str, dict[str, float | None]] = {name: {} for name in DISTANCES}
    for patient, own in rows.items():
        pairs = []
        for case, indexes in own.items():
            indexes.sort(key=lambda index: slices.keys[index].slice)
            if case in records and _is_volume([slices.keys[index].slice for index in indexes], records[case]):
                spacing = (records[case].spacing[0], *slices.frame(records[case]).pixel_mm)
                pair = surface_distance(answer[indexes], truth[indexes], spacing)
                pairs.append([getattr(pair, name) for name in DISTANCES])
        means = np.mean(pairs, axis=0) if len(pairs) == len(own) else np.full(len(DISTANCES), np.nan)
        for name, value in zip(DISTANCES, means, strict=True):
            found[name][patient] = float(value) if np.isfinite(value) else None
    return found


def _ravd(
    slices: SliceSet,
    answer: Bool[np.ndarray, "slices size size"],
    truth: Bool[np.ndarray, "slices size size"],
    patient: str,
) -> float | None:
    """RAVD of a patient: of several cases the mean, since their voxels differ; undefined where one of them is."""
    cases = dict.fromkeys(key.case for key in slices.keys if key.patient == patient)
    of_cases = [np.array([key.case == case for key in slices.keys]) for case in cases]
    mean = float(np.mean([volume_difference(answer[own], truth[own]) for own in of_cases]))
    return mean if np.isfinite(mean) else None


def _is_volume(tested: Sequence[int], record: CaseRecord) -> bool:
    """Whether slices, in order, leave no gap; a single one is a volume only of a case that has no other."""
    return list(tested) == list(range(tested[0], tested[-1] + 1)) and (len(tested) > 1 or record.shape[0] == 1)
