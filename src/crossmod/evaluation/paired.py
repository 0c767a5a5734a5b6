"""Synthetic images compared with real ones of the same patients, pixel by pixel."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import map_coordinates

from crossmod.config import Modality
from crossmod.data.body_mask import body_mask
from crossmod.data.store import CaseRecord, Store
from crossmod.errors import InputError
from crossmod.evaluation.settings import EvaluationSettings
from crossmod.metrics.axial_layers import Placed, slice_positions
from crossmod.metrics.paired import PairedScores, in_percent, paired_scores
from crossmod.progress import track
from crossmod.statistics.intervals import interval

# Affines that went through files and back agree to about this, mm.
SAME_MM = 0.01


@dataclass(frozen=True)
class PairedSummary:
    """A model compared with the truth."""

    patients: int  # how many have a truth; scores are means over them
    slices: int  # how many lie within it
    moved: int  # cases whose truth is on another grid and was interpolated, which blurs it
    unit: str  # of `mae`
    mae: tuple[float, float, float]  # mean absolute error with its 95 % interval over patients
    psnr: tuple[float, float, float]  # dB, with its interval
    ssim: tuple[float, float, float]  # with its interval


def truth_of(
    store: Store, modality: Modality, sequence: str | None, cases: Sequence[CaseRecord]
) -> dict[str, CaseRecord]:
    """By patient of the synthetic cases, the real image."""
    expected = {case.patient for case in cases}
    known: dict[str, CaseRecord] = {}
    for record in store.select(modality, sequence=sequence):
        if record.patient in expected:
            if record.patient in known:
                found, do = f"two {modality} cases of {record.patient}", "Give a store with one truth per patient."
                raise InputError(store.path, found=found, expected="one", do=do)
            known[record.patient] = record
    if not known:
        found = f"{modality} of other patients than the synthetic cases' ({', '.join(sorted(expected)[:3])})"
        do = "Prepare both modalities with the same patient names, or omit --truth."
        raise InputError(store.path, found=found, expected="the same patients", do=do)
    return known


def against_truth(
    cases: Sequence[Placed], truth: Store | None, records: Mapping[str, CaseRecord], settings: EvaluationSettings
) -> PairedSummary | None:
    """Score the cases that have a truth, on their own grid, inside the truth's body; None if none overlaps."""
    if truth is None:
        return None
    rows: dict[str, list[PairedScores]] = {}
    slices = moved = 0
    known = [placed for placed in cases if placed.record.patient in records]
    for placed in track(known, "Comparing with the truth"):
        scored = _score(placed, truth, records[placed.record.patient], settings)
        if scored is not None:
            scores, count, elsewhere = scored
            rows.setdefault(placed.record.patient, []).append(scores)
            slices += count
            moved += elsewhere
    if not rows:
        return None
    unit = "HU" if cases[0].record.modality == "ct" else "of the range, in %"
    return PairedSummary(
        patients=len(rows),
        slices=slices,
        moved=moved,
        unit=unit,
        mae=_mean(rows.values(), "mae"),
        psnr=_mean(rows.values(), "psnr"),
        ssim=_mean(rows.values(), "ssim"),
    )


def _mean(patients: Iterable[Sequence[PairedScores]], score: str) -> tuple[float, float, float]:
    means = np.array([np.mean([getattr(scores, score) for scores in own]) for own in patients])
    if not np.isfinite(means).all():  # PSNR of equal images is infinite
        return float(means.mean()), float("-inf"), float("inf")
    return float(means.mean()), *interval(means)


def _score(
    placed: Placed, truth: Store, record: CaseRecord, settings: EvaluationSettings
) -> tuple[PairedScores, int, bool] | None:
    synthetic = placed.store.tensors(placed.record.id, ("image",))["image"].astype(np.float64)
    real, inside, moved = on_grid(truth.read(record.id).voxels, record, placed.record)
    if not inside.any():
        return None
    synthetic, real = synthetic[inside], real[inside]
    if placed.record.modality == "ct":
        # The model cannot produce values outside the window: cutting them is no error of the model.
        real, synthetic = (np.clip(side, *settings.window) for side in (real, synthetic))
        body, span = body_mask(real, "ct", settings.window), settings.window[1] - settings.window[0]
    else:
        body, span = body_mask(real, "mr"), 100.0
        real, synthetic = (in_percent(side, settings.percentiles) for side in (real, synthetic))
    if not body.any():
        return None
    return paired_scores(real, synthetic, body, span), len(real), moved


def on_grid(
    voxels: np.ndarray, truth: CaseRecord, synthetic: CaseRecord
) -> tuple[Float[np.ndarray, "slices rows columns"], Bool[np.ndarray, " slices"], bool]:
    """A real image on the grid of a synthetic one, which may lack slices; linearly interpolated if the grids differ.

    Args:
        voxels: of the truth.
        synthetic: the record of the synthetic case.

    Returns:
        The image, which of its slices lie within the truth, and whether it was interpolated.
    """
    slices, rows, columns = synthetic.shape
    z = (slice_positions(synthetic) - synthetic.affine[2][3]) / synthetic.spacing[0]
    index = np.stack(np.meshgrid(z, np.arange(rows), np.arange(columns), indexing="ij")).reshape(3, -1)
    step = np.linalg.inv(np.array(truth.affine)) @ np.array(synthetic.affine)
    there = step[:3, :3] @ index + step[:3, 3:]
    spacing = np.array(truth.spacing)[:, None]
    moved = bool((np.abs(there - np.rint(there)) * spacing > SAME_MM).any())
    along = there[0].reshape(slices, -1)
    slack = SAME_MM / truth.spacing[0]
    inside = np.asarray((along >= -slack).all(axis=1) & (along <= truth.shape[0] - 1 + slack).all(axis=1))
    there[0] = np.clip(there[0], 0, truth.shape[0] - 1)  # rounding may exceed the ends; other slices do not count
    if not moved:
        there = np.rint(there)
    low = float(voxels.min())
    image = map_coordinates(voxels.astype(np.float64), there, order=1, mode="constant", cval=low)
    return image.reshape(slices, rows, columns), inside, moved
