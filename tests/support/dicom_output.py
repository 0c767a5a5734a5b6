"""A model, DICOM input for it, and the headers of what is written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
from scipy.spatial.transform import Rotation

from crossmod.config import Modality
from crossmod.data.dicom.header import quiet
from crossmod.data.volume import Volume
from crossmod.inference.types import About, Translation
from tests.support.dicom import body, put, write_series

FRAME = "1.2.840.99.1"


# Columns and rows of each plane as scanners store them, and against it: six orders, and one at an angle to all.
PLANES = {
    "axial": ([1, 0, 0], [0, 1, 0]),
    "axial, from the feet's side": ([-1, 0, 0], [0, 1, 0]),
    "coronal": ([1, 0, 0], [0, 0, -1]),
    "coronal, from behind": ([-1, 0, 0], [0, 0, -1]),
    "sagittal": ([0, 1, 0], [0, 0, -1]),
    "sagittal, from the left": ([0, -1, 0], [0, 0, -1]),
    "oblique": tuple(Rotation.from_euler("xyz", (31, -22, 44), degrees=True).as_matrix()[:2].tolist()),
}


def a_model(target: Modality = "ct", organs: tuple[str, ...] = ("liver", "left_kidney")) -> About:
    source: Modality = "mr" if target == "ct" else "ct"
    window, weights = (-200.0, 300.0), "0123456789abcdef" * 4
    return About("net", "essnet", source, target, (source,), 64, 320.0, -200.0, 300.0, window, organs, weights, "0.1.0")


def made(source: Volume, target: Modality = "ct", **changes) -> Translation:
    """What a model that halves each value would make of a volume; labels where the source is bright."""
    voxels = (source.voxels * 0.5).astype(np.float32)
    image = replace(source, voxels=voxels, modality=target, sequence=None)
    labels = (source.voxels > np.percentile(source.voxels, 80)).astype(np.uint8)
    body_mask = np.ones(voxels.shape, dtype=bool)
    translation = Translation(image, (source,), a_model(target), body_mask, None, labels, 0.012, 1.0)
    return replace(translation, **changes)


def a_series(folder: Path, plane: str = "axial", modality: str = "MR", **more) -> Path:
    """A series with one study, series and frame of reference, its slices `(columns x rows)` apart by 3 mm."""
    along_row, along_column = (np.array(direction, dtype=float) for direction in PLANES[plane])
    normal = np.cross(along_row, along_column)

    def change(dataset, index):
        dataset.ImageOrientationPatient = [round(part, 10) for part in (*along_row, *along_column)]
        dataset.ImagePositionPatient = [round(part, 6) for part in np.array([-10.5, -20.25, 100]) + 3 * index * normal]
        dataset.FrameOfReferenceUID, dataset.StudyInstanceUID = FRAME, "1.2.840.99.2.19641212"
        dataset.SeriesInstanceUID, dataset.PatientPosition = "1.2.840.99.3.19641212", "FFS"
        dataset.AccessionNumber, dataset.StudyID, dataset.PatientSex = "A-1", "S-1", "F"
        dataset.StudyTime = "101112"
        with quiet():
            put(dataset, **more)

    write_series(folder, body()[0], modality=modality, change=change)
    return folder


def headers(folder: Path) -> list[pydicom.Dataset]:
    """In the order of the positions along the normal."""
    with quiet():
        read = [pydicom.dcmread(path) for path in folder.iterdir() if path.is_file()]
        for one in read:
            one.walk(lambda *_: None)
    along_row, along_column = np.reshape(read[0].ImageOrientationPatient, (2, 3)).astype(float)
    normal = np.cross(along_row, along_column)
    return sorted(read, key=lambda one: float(np.dot(normal, [float(part) for part in one.ImagePositionPatient])))
