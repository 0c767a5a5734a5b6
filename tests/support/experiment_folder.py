"""An experiment's folder by hand: small, whole, and with every number known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from crossmod.data.store import SliceOrigin, Store, Synthetic
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from crossmod.settings import SegmentSettings, TranslateSettings

SIZE, SLICES = 16, 3
FOLDS = {0: ("a", "b"), 1: ("c", "d")}
PATIENTS = [patient for patients in FOLDS.values() for patient in patients]
SEEDS = (0, 1)
# By seed: what each arm adds to 0.8 in every patient.
GAIN = {"real": (0.0, 0.02), "real + 1x essnet": (0.05, 0.07)}


def volume(modality: str, *, shift: int = 0) -> Volume:
    """A square organ in all slices but the first."""
    label = np.zeros((SLICES, SIZE, SIZE), np.uint8)
    label[1:, 4 + shift : 10 + shift, 5:11] = 1
    voxels = (label * 100 + np.arange(SIZE)).astype(np.int16)
    affine = np.array([[0, 0, -5, 80], [0, -5, 0, 80], [5, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
    sequence = "t2_spir" if modality == "mr" else None
    return Volume(voxels, affine, modality, sequence=sequence, labels=label, label_names={1: "liver"})  # pyright: ignore[reportArgumentType]


def write_experiment(
    root: Path, *, family: str = "essnet", leaking: bool = False, seeds: tuple[int, ...] = SEEDS, **settings: Any
) -> dict[str, Any]:
    """Write the folder; gives its findings, to be changed and written again.

    Args:
        root: the folder.
        family: of the translator.
        leaking: split by slice.
        seeds: of the segmenters.
        settings: of the segmenters.
    """
    runs = root / "runs"
    with writing_store(root / "ct") as writer:
        writer.add("ct-1", volume("ct"), patient="ct-1")
    (record,) = Store(root / "ct").cases
    jobs = []
    for fold in FOLDS:
        _train(runs / f"train-{fold}", root, family, record.sha256)
        _synthesize(runs / f"synthesize-{fold}", family, record.sha256, fold)
        jobs += [job(f"train-{fold}", "train"), job(f"synthesize-{fold}", "synthesize", model=f"train-{fold}")]
        for arm in GAIN:
            for seed in seeds:
                name = run_name(arm, fold, seed)
                _segment(runs / name, arm, fold, seed, family, leaking, settings)
                jobs.append(job(name, "segment"))
    (root / "design.yaml").write_text(yaml.safe_dump({"seeds": list(seeds), "folds": 2}))
    (root / "plan.json").write_text(json.dumps({"crossmod": "0.1.0", "target": "mr", "arms": [], "jobs": jobs}))
    for name in ("results.csv", "runs.csv"):
        (root / name).write_text("arm\n")
    findings = _findings(leaking, seeds, family)
    save(root, findings)
    return findings


def save(root: Path, findings: dict[str, Any]) -> None:
    (root / "findings.json").write_text(json.dumps(findings))


def job(name: str, kind: str, **needs: str) -> dict[str, Any]:
    return {"name": name, "kind": kind, "title": name, "needs": needs, "work": 1}


def run_name(arm: str, fold: int, seed: int) -> str:
    return f"segment-{'real' if arm == 'real' else 'more'}-{fold}-{seed}"


def _finish(path: Path, card: dict[str, Any]) -> None:
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump({"kind": card["kind"], "settings": {}, "inputs": {}}))
    (path / "card.json").write_text(json.dumps(card))
    packages = {"torch": "2.13.0", "numpy": "2.4.6", "scipy": "1.17.1"}
    (path / "environment.json").write_text(json.dumps({"python": "3.11.7", "packages": packages}))


def _train(path: Path, root: Path, family: str, checksum: str) -> None:
    counts = {"G1": 10, "G2": 20, "D1": 1, "D2": 2, **({"S": 5} if family == "essnet" else {})}
    side = {"store": str(root / "ct"), "patients": ["ct-1"], "slices": 2, "cases": [checksum], "sequence": None}
    card = {
        "kind": "train", "family": family, "settings": TranslateSettings().model_dump(mode="json"),
        "weights_sha256": "w", "parameters": counts, "data": {"ct": side, "mr": {**side, "slices": 4}},
        "leaking": False, "alarms": [], "steps": 100, "seconds": 250.0, "seconds_per_epoch": 5.0,
        "device": "a GPU", "compute": "bf16",
    }  # fmt: skip
    _finish(path, card)


def _synthesize(path: Path, family: str, checksum: str, fold: int) -> None:
    scored = family == "essnet"
    origins = tuple(SliceOrigin(source_slice=i, consistency=0.5 + i / 10 if scored else None) for i in range(SLICES))
    synthetic = Synthetic(
        family=family, model=f"m{fold}", recipe="r", run=f"train-{fold}", split="patient", source_case="ct-1",
        source_sha256=checksum, source_range=(0.0, 100.0), shift=(0.0, 0.0), slices_per_second=50.0 + fold,
        organs=("liver",), trained_on=("ct-1",), trained_cases=(checksum,), slices=origins,
    )  # fmt: skip
    answer = volume("mr", shift=1).labels if scored else None
    with writing_store(path) as writer:
        writer.add("ct-1-as-mr", volume("mr"), patient="ct-1", synthetic=synthetic, answer=answer)


def dice_of(arm: str, seed: int, patient: str) -> float:
    return 0.8 + GAIN[arm][seed] + PATIENTS.index(patient) / 100


def _segment(path: Path, arm: str, fold: int, seed: int, family: str, leaking: bool, settings: dict[str, Any]) -> None:
    more = arm != "real"
    chosen = SegmentSettings(seed=seed, fold=fold, folds=2, count=3 if more else 0, steps=200, **settings)
    dice = {patient: dice_of(arm, seed, patient) for patient in FOLDS[fold]}
    rows = [
        {"case": patient, "slice": place, "dice": dice[patient] - 0.1 + 0.1 * (place == 2) * (1 if more else -1)}
        for patient in FOLDS[fold]
        for place in (1, 2)
    ]
    data = {
        "real": "../../mr", "synthetic": f"../synthesize-{fold}" if more else None,
        "synthetic_family": family if more else None, "synthetic_models": [f"m{fold}"] if more else [],
        "synthetic_recipe": "r" if more else None, "train_slices": 350, "test_slices": 6,
        "train_patients": [], "test_patients": list(FOLDS[fold]),
    }  # fmt: skip
    scores = {
        "slice": {"dice": 0.7, "iou": 0.6}, "slice_values": rows, "patient": {"dice": 0.8, "iou": 0.7},
        "patient_values": {"dice": dice}, "auc": 0.99, "roc": {"fpr": [0.0, 0.1, 1.0], "tpr": [0.0, 0.9, 1.0]},
        "constant": False,
    }  # fmt: skip
    card = {
        "kind": "segment", "settings": chosen.model_dump(mode="json"), "parameters": 1234, "data": data,
        "tested": {patient: [0, 1, 2] for patient in FOLDS[fold]}, "leaking": leaking, "alarms": [], "steps": 200,
        "seconds": 40.0, "seconds_per_epoch": 2.0, "device": "a GPU", "compute": "bf16", "scores": scores,
        "slices_per_second": 30.0,
    }  # fmt: skip
    _finish(path, card)
    with writing_store(path / "predictions") as writer:
        for patient in FOLDS[fold]:
            answer = volume("mr", shift=0 if more else 2).labels
            writer.add(patient, volume("mr"), patient=patient, answer=answer)


def effect(
    mean: float, verdict: str = "improves", words: str = "3D Dice", *, scope: str = "synthetic slices", **more: Any
) -> dict[str, Any]:
    return {
        "mean": mean, "low": mean - 0.01, "high": mean + 0.01, "p": 0.002, "patients": 4, "seeds": 2, "freedom": 1.0,
        "left_out": 0, "undefined_base": 0, "undefined_arm": 0, "undefined_p": 1.0, "folds_lost": 0, "worst": None,
        "holm": 0.004, "wilcoxon": 0.125, "wilcoxon_holm": 0.125, "arms": 1, "verdict": verdict, "scope": scope,
        "shared": [] if scope == "synthetic slices" else ["one trained translator"], "untrained": "", "obstacle": "",
        "sentence": f"real + 1x essnet: {verdict} {words} by {mean:+.3f} (4 patients, 2 seeds).", "failures": "",
        **more,
    }  # fmt: skip


def _findings(leaking: bool, seeds: tuple[int, ...], family: str) -> dict[str, Any]:
    arms = [_arm(name, seeds, family) for name in GAIN]
    curve = {
        "segmenter": "unet", "translator": family, "min_consistency": 0.0, "labelled": "all",
        "arms": {"0": "real", "3": "real + 1x essnet"}, "best": 3, "enough": 0, "within": 0.005,
        "points": [{"count": 0, "best": 0.25, "effect": None}, {"count": 3, "best": 0.75, "effect": effect(0.05)}],
    }  # fmt: skip
    return {
        "about": "What is it worth?", "target": "mr", "organ": "liver", "leaking": leaking, "folds": list(FOLDS),
        "seeds": list(seeds), "draws": 4321, "patients": PATIENTS, "arms": arms, "curves": [curve], "missing": [],
        "failed": [],
    }  # fmt: skip


def _arm(name: str, seeds: tuple[int, ...], family: str) -> dict[str, Any]:
    more = name != "real"
    means = [float(np.mean([dice_of(name, seed, patient) for patient in PATIENTS])) for seed in seeds]
    by_patient = [float(np.mean([dice_of(name, seed, patient) for seed in seeds])) for patient in PATIENTS]
    score = {"mean": float(np.mean(means)), "low": 0.75, "high": 0.95, "seeds": means, "undefined": 0}
    metrics = {"iou": 0.71, "hd95": 12.34, "assd": 3.21, "mssd": 45.67, "ravd": 8.91, "slice_dice": 0.69}
    others = {metric: {**score, "mean": value} for metric, value in metrics.items()}
    return {
        "name": name, "baseline": "real" if more else None, "segmenter": "unet",
        "translator": family if more else None, "count": "1x" if more else "0", "slices": 3 if more else 0,
        "real_slices": 350.0, "min_consistency": 0.0, "labelled": "all",
        "runs": [{"fold": fold, "seed": seed, "run": run_name(name, fold, seed)} for fold in FOLDS for seed in seeds],
        "wanted": len(FOLDS) * len(seeds), "constant": 0, "scores": {"dice": score, **others},
        "by_run": {"pooled_dice": {"mean": 0.8765, "least": 0.8, "most": 0.9},
                   "pooled_iou": {"mean": 0.7801, "least": 0.7, "most": 0.8},
                   "slice_dice": {"mean": 0.7012, "least": 0.7, "most": 0.71},
                   "slice_iou": {"mean": 0.6034, "least": 0.6, "most": 0.61},
                   "auc": {"mean": 0.9876, "least": 0.98, "most": 0.99}},
        "effects": {"dice": effect(0.05) if more else None,
                    **{metric: effect(0.01, words=metric) if more else None for metric in metrics}},
        "by_patient": by_patient,
        "power": {"sentence": "An effect of +0.050 would need 5 patients."} if more else None, "seconds": 160.0,
    }  # fmt: skip
