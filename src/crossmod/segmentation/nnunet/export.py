"""Stores to nnU-Net's raw format: a dataset of 2D images, its division for cross-validation, and the commands to run.

Source: nnU-Net's documentation (dataset_format.md, manual_data_splits.md, explanation_normalization.md), of 2.8.1.

    nnUNet_raw/DatasetNNN_Name/     dataset.json, imagesTr, labelsTr, imagesTs
    nnUNet_preprocessed/...         splits_final.json
    nnUNet_results/                 empty, for nnU-Net
    plan.json, README.txt           crossmod's

Notable:
- Pixels are exported in [-1, 1], by the window or the percentiles of the whole scan as for every other segmenter, with
  the channel name `noNorm`. nnU-Net's own z-score would be of one slice: the value of an organ would depend on what
  else the slice shows.
- The labels of the test slices are not exported.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from crossmod.data.nifti import write_nifti
from crossmod.data.slices import SliceSet
from crossmod.data.splits import patient_folds
from crossmod.data.store import CaseRecord
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.files import atomic_folder, require_empty, write_json, write_text
from crossmod.progress import track
from crossmod.segmentation.data import SegmentationData, Split, choose_cases
from crossmod.segmentation.nnunet.plan import MARK, REAL, SYNTHETIC, grids, name_of, write_plan
from crossmod.settings import SegmentSettings

ENDING = ".nii.gz"
# Columns, rows, slices: the order in which NIfTI readers expect an axial image.
AXES = ("L", "P", "S")
FOLDS = 5


def export_nnunet(
    out: Path, *, real: Path, synthetic: Path | None = None, settings: SegmentSettings, dataset: int = 501
) -> str:
    """Write what `train_segmenter` would train and test on, for nnU-Net; the folder is complete or not there. Returns
    the next steps as text, with commands."""
    if not 1 <= dataset <= 999:
        found, do = f"--dataset {dataset}", "Choose one that no other dataset of yours has."
        raise InputError("nnunet export", found=found, expected="a number from 1 to 999", do=do)
    require_empty(out)
    chosen = choose_cases(real, synthetic, settings)
    sides = chosen.load()
    name = f"Dataset{dataset:03d}_{_words(settings.organs)}{settings.modality.upper()}"
    folds = cross_validation(_owners(sides.train, REAL), _owners(sides.synthetic, SYNTHETIC), settings.split_seed)
    text = readme(name, dataset, len(folds))
    with atomic_folder(out) as folder:
        mark = write_plan(folder, out, name, chosen, sides)
        _write_raw(folder / "nnUNet_raw" / name, chosen, sides, mark)
        (folder / "nnUNet_preprocessed" / name).mkdir(parents=True)
        (folder / "nnUNet_results").mkdir()
        if folds:
            write_json(folder / "nnUNet_preprocessed" / name / "splits_final.json", folds)
        write_text(folder / "README.txt", text)
    return text


def cross_validation(real: Mapping[str, str], synthetic: Mapping[str, str], seed: int) -> list[dict[str, list[str]]]:
    """nnU-Net's own folds, from case -> patient: no patient on both sides, validation on real cases if any; none of one
    patient. The translator may have seen the validation patients: nnU-Net chooses nothing by these scores."""
    validated = real or synthetic
    patients = sorted(set(validated.values()))
    if len(patients) < 2:
        return []
    return [
        {
            "train": [name for name, patient in {**real, **synthetic}.items() if patient not in part],
            "val": [name for name, patient in validated.items() if patient in part],
        }
        for part in patient_folds(patients, min(FOLDS, len(patients)), seed)
    ]


def _owners(slices: SliceSet | None, kind: str) -> dict[str, str]:
    return {} if slices is None else {name_of(kind, key): key.patient for key in slices.keys}


def _words(organs: Sequence[str]) -> str:
    return "".join(part.capitalize() for part in re.findall("[A-Za-z0-9]+", " ".join(organs))) or "Organ"


def _write_raw(folder: Path, chosen: SegmentationData, sides: Split, mark: str) -> None:
    organs = chosen.settings.organs
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / name).mkdir(parents=True)
    images, labels = folder / "imagesTr", folder / "labelsTr"
    trained = ((sides.train, chosen.real, REAL), (sides.synthetic, chosen.synthetic, SYNTHETIC))
    for slices, cases, kind in trained:
        if slices is not None:
            _write_slices(slices, cases, kind, organs, images, labels)
    _write_slices(sides.test, chosen.real, REAL, organs, folder / "imagesTs", None)
    content = {
        "channel_names": {"0": "noNorm"},
        "labels": {"background": 0, **{organ: number for number, organ in enumerate(organs, start=1)}},
        "numTraining": sum(len(slices) for slices, _, _ in trained if slices is not None),
        "file_ending": ENDING,
        # By default nnU-Net uses SimpleITK, which refuses axes that are slightly off right angles.
        "overwrite_image_reader_writer": "NibabelIO",
        MARK: mark,
    }
    write_json(folder / "dataset.json", content)


def _write_slices(
    slices: SliceSet, cases: tuple[CaseRecord, ...], kind: str, organs: Sequence[str], images: Path, labels: Path | None
) -> None:
    assert slices.masks is not None
    affines = grids(slices, cases)
    for index, key in enumerate(track(slices.keys, f"Writing {len(slices)} slices to {images.name}")):
        volume = Volume(
            voxels=slices.image(index)[None],
            affine=affines[index],
            modality=cases[0].modality,
            labels=slices.masks[index][None],
            label_names=dict(enumerate(organs, start=1)),
            orientation=AXES,
        )
        name = name_of(kind, key)
        labels_path = None if labels is None else labels / f"{name}{ENDING}"
        write_nifti(volume, images / f"{name}_0000{ENDING}", labels_path=labels_path)


def readme(name: str, dataset: int, folds: int) -> str:
    """The text of README.txt: the next steps."""
    which = [str(fold) for fold in range(folds)] or ["all"]
    variables = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    lines = [
        "In nnU-Net's own environment, in this folder:",
        "",
        *(f'export {variable}="$PWD/{variable}"' for variable in variables),
        f"nnUNetv2_plan_and_preprocess -d {dataset} -c 2d --verify_dataset_integrity",
        *(f"nnUNetv2_train {dataset} 2d {fold}" for fold in which),
        f"nnUNetv2_predict -i nnUNet_raw/{name}/imagesTs -o predictions -d {dataset} -c 2d "
        f"-f {' '.join(which)} --save_probabilities",
        "",
        "Then, where crossmod and the stores are:",
        "",
        "crossmod nnunet read RUN --export THIS_FOLDER --predictions THIS_FOLDER/predictions",
    ]
    return "\n".join(lines) + "\n"
