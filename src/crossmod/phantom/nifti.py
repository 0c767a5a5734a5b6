"""The phantom as NIfTI: `ct/<id>/{image,label}.nii.gz` and `mr/<id>/{t1_in,t1_out,t2_spir,label}.nii.gz`.

Notable: it writes through nibabel alone, not through crossmod's own writer, so that a mistake in the one is not hidden
by the same mistake in the other.
"""

from pathlib import Path

import nibabel
import numpy as np
from jaxtyping import Shaped, UInt8
from nibabel.nifti1 import Nifti1Image

from crossmod.data.volume import Affine, Volume
from crossmod.files import write_json
from crossmod.phantom.tissues import ORGANS


def write_nifti_case(
    folder: Path, volumes: dict[str, Volume], labels: UInt8[np.ndarray, "slices rows columns"]
) -> None:
    """Write one patient of one modality.

    Args:
        folder: of the patient; made here.
        volumes: file name without ending -> image, all on one grid.
        labels: organs, by the values of `ORGANS`.
    """
    folder.mkdir(parents=True)
    for name, volume in volumes.items():
        _write(folder / f"{name}.nii.gz", volume.voxels, volume.affine)
    _write(folder / "label.nii.gz", labels, next(iter(volumes.values())).affine)


def write_label_names(folder: Path) -> None:
    """Write `labels.json` beside the patients' folders."""
    names = {"background": 0, **{organ: value for value, organ in ORGANS.items()}}
    write_json(folder / "labels.json", {"labels": names})


def _write(path: Path, values: Shaped[np.ndarray, "slices rows columns"], affine: Affine) -> None:
    # [slice, row, column] runs to S, P, L; columns, rows and slices turned round run to R, A, S.
    turned = np.ascontiguousarray(values[:, ::-1, ::-1].transpose(2, 1, 0))
    world = np.zeros((4, 4))
    world[:3, 0], world[:3, 1], world[:3, 2] = -affine[:3, 2], -affine[:3, 1], affine[:3, 0]
    world[:, 3] = affine @ [0, values.shape[1] - 1, values.shape[2] - 1, 1]
    image = Nifti1Image(turned, world)
    image.header.set_xyzt_units("mm")
    image.set_sform(world, code=1)
    image.set_qform(world, code=1)
    nibabel.save(image, path)
