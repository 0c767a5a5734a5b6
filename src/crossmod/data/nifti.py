"""NIfTI files in and out, with position and values kept.

- A file that does not say how its axes are oriented in the patient is refused: a guess could swap left and right.
- No text of the header (`descrip`, `intent_name`, `db_name`) is kept; people write names there.
"""

import gzip
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
from jaxtyping import Shaped
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Image, Nifti1Pair
from nibabel.spatialimages import HeaderDataError

from crossmod.config import Modality
from crossmod.data.labels import label_map, whole_labels
from crossmod.data.store_writer import check_spacing, check_values, compact
from crossmod.data.volume import CANONICAL, Affine, Labels, Volume, Voxels, axis_codes, reorient
from crossmod.errors import InputError
from crossmod.files import atomic_write

MILLIMETRES = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}

# Well under a voxel; labels label_voxels elsewhere often come with the affine rounded.
SAME_PLACE_MM = 0.1

# The sine-like volume of the unit axes: 1 for a straight grid, 0 for axes in one plane.
LEAST_VOLUME = 1e-3

# Rounded headers stay far below; the sizes of a slanted grid's voxels are not their distances.
MOST_SHEAR_DEGREES = 1.0

AXES = ("RL", "AP", "SI")


def read_nifti(
    image: Path,
    *,
    modality: Modality,
    label: Path | None = None,
    label_names: Mapping[int, str] | None = None,
    sequence: str | None = None,
    orientation: str | None = None,
) -> Volume:
    """Read an image and, if given, its label map.

    Args:
        image: `.nii` or `.nii.gz`, three axes; further axes of length 1 are dropped.
        modality: `ct` (values in HU) or `mr`.
        label: a file on the same grid; its axes may be stored in another order.
        label_names: label value -> organ, for every value in `label` besides 0.
        sequence: the MR sequence or CT phase.
        orientation: directions of the axes, such as `RAS`, for files that do not say.

    Raises:
        InputError: a file that is no NIfTI, is cut, does not say where it lies, or has slanted axes or an impossible
            spacing; values that are no image; labels on another grid or without names.
        OSError: a file that the system does not let be read.
    """
    values, affine = _read(image, orientation)
    with np.errstate(over="ignore"):
        voxels = compact(values) if np.isfinite(values).all() else values
    check_values(image, voxels)
    codes = axis_codes(affine)
    voxels, affine = reorient(voxels, affine, CANONICAL)
    volume = Volume(voxels=voxels, affine=affine, modality=modality, sequence=sequence, orientation=codes)
    if label is None:
        return volume
    names = {value: name for value, name in (label_names or {}).items() if value != 0}
    label_voxels, label_affine = reorient(*_read(label, orientation), CANONICAL)
    _check_same_grid(label, label_voxels, label_affine, volume)
    return replace(volume, labels=label_map(label, label_voxels, names), label_names=names)


def read_label_map(path: Path) -> tuple[Labels, Affine]:
    """A label map on its own grid, with the axes of a `Volume`, and its affine; its values need no name.

    Raises:
        InputError: what `read_nifti` refuses of a file, or values that are no whole numbers from 0 to 255.
        OSError: a file that the system does not let be read.
    """
    values, affine = reorient(*_read(path, None), CANONICAL)
    return whole_labels(path, values), affine


def write_nifti(volume: Volume, path: Path, *, labels_path: Path | None = None) -> None:
    """Write a volume, and with `labels_path` its label map, as `.nii` or `.nii.gz` with the axes of the file it came
    from.

    Raises:
        InputError: another ending, labels requested of a volume without any, or a full disk.
    """
    if labels_path is not None and volume.labels is None:
        found = "a volume without labels"
        raise InputError(labels_path, found=found, expected="labels to write", do="Leave out the path for labels.")
    _write(volume.voxels, volume, path)
    if labels_path is not None and volume.labels is not None:
        _write(volume.labels, volume, labels_path)


def _read(path: Path, orientation: str | None) -> tuple[Shaped[np.ndarray, "i j k"], Affine]:
    """The values in the file's own order, and their affine in millimetres."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise InputError(path, found=found, expected="a NIfTI file", do="Check the path.")
    # nibabel calls an unreadable file no image; the system names the cause.
    path.open("rb").close()
    with _refusing_damage(path, "a file that is not NIfTI, or cut", "a .nii or .nii.gz file"):
        loaded = nibabel.load(path)
    if not isinstance(loaded, Nifti1Pair):
        found = "an image of another format"
        raise InputError(path, found=found, expected="a .nii or .nii.gz file", do="Convert it to NIfTI.")
    if 0 in loaded.shape:
        found = f"axes of lengths {' x '.join(map(str, loaded.shape))}, so no voxels"
        raise InputError(path, found=found, expected="an image", do="Export it again; leave out this case.")
    dtype = np.dtype(loaded.get_data_dtype())
    if dtype.kind not in "iuf":
        found = f"values of type {dtype}"
        raise InputError(path, found=found, expected="one number per voxel", do="Convert it to a grey image.")
    with _refusing_damage(path, "a file that ends too early or is damaged", "a whole NIfTI file"):
        if path.suffix == ".gz":
            # The checksum stands at the end, and nibabel stops before it: flipped bits would pass for voxels.
            with gzip.open(path) as stream:
                while stream.read(1 << 20):
                    pass
        values = np.asarray(loaded.dataobj)
    shape = values.shape + (1,) * (3 - values.ndim)
    if any(length != 1 for length in shape[3:]):
        found = f"{len(shape)} axes of lengths {' x '.join(map(str, shape))}"
        do = "Split it into one file per volume (a time point, a channel)."
        raise InputError(path, found=found, expected="three axes", do=do)
    return values.reshape(shape[:3]), _affine(path, loaded, orientation)


@contextmanager
def _refusing_damage(path: Path, found: str, expected: str) -> Generator[None, None, None]:
    try:
        yield
    except (ImageFileError, HeaderDataError, EOFError, OSError, zlib.error, ValueError) as error:
        # What the system refuses (permissions, a lost disk) has a number; nibabel's and gzip's own errors have none.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(path, found=found, expected=expected, do="Restore it from a copy.") from None


def _affine(path: Path, loaded: Nifti1Pair, orientation: str | None) -> Affine:
    header = loaded.header
    known = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    if known:
        affine = np.array(loaded.affine, dtype=np.float64)
    elif orientation is not None:
        affine = _assumed(path, loaded, orientation)
    else:
        found = "a file that does not say how its axes lie (sform_code and qform_code are 0)"
        do = "If you know it, write it into the file, or say it to `prepare` with --orientation RAS."
        raise InputError(path, found=found, expected="an orientation", do=do)
    with suppress(KeyError):  # a code that the standard does not know
        affine[:3] *= MILLIMETRES.get(str(header.get_xyzt_units()[0]), 1.0)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    # A zero or NaN length must not reach the division.
    straight = np.isfinite(affine).all() and bool((lengths > 0).all())
    if not straight or abs(np.linalg.det(affine[:3, :3] / lengths)) < LEAST_VOLUME:
        found = f"an affine that is singular (axes {np.round(affine[:3, :3], 4).T.tolist()})"
        raise InputError(path, found=found, expected="three independent axes", do="Correct the file's sform or qform.")
    cosines = np.abs((affine[:3, :3] / lengths).T @ (affine[:3, :3] / lengths) - np.eye(3))
    off = float(np.degrees(np.arcsin(min(float(cosines.max()), 1.0))))
    if off > MOST_SHEAR_DEGREES:
        found = f"axes that are {off:.1f} degrees off right angles (sheared, as from a tilted gantry)"
        do = "Resample the image to a straight grid, or leave out this case."
        raise InputError(path, found=found, expected="three axes at right angles", do=do)
    check_spacing(path, affine)
    return affine


def _assumed(path: Path, loaded: Nifti1Pair, orientation: str) -> Affine:
    codes = orientation.upper()
    if len(codes) != 3 or sorted(next((pair for pair in AXES if code in pair), "") for code in codes) != sorted(AXES):
        subject, expected = f"--orientation {orientation}", "three letters, one each of R/L, A/P and S/I"
        raise InputError(subject, found=repr(orientation), expected=expected, do="Give --orientation RAS.")
    affine = np.zeros((4, 4))
    affine[3, 3] = 1.0
    zooms = [float(length) for length in loaded.header.get_zooms()[:3]]
    for axis, (code, length) in enumerate(zip(codes, zooms + [1.0] * (3 - len(zooms)), strict=True)):
        world = next(index for index, pair in enumerate(AXES) if code in pair)
        affine[world, axis] = length if code in "RAS" else -length
    return affine


def _check_same_grid(path: Path, label_voxels: np.ndarray, affine: Affine, volume: Volume) -> None:
    if label_voxels.shape != volume.voxels.shape:
        found = f"labels of {' x '.join(map(str, label_voxels.shape))} voxels (slices, rows, columns)"
        expected = f"{' x '.join(map(str, volume.voxels.shape))}, as the image has"
        raise InputError(path, found=found, expected=expected, do="Resample the labels to the image.")
    ends = np.array(label_voxels.shape) - 1
    corners = np.array([[*(ends * corner), 1] for corner in np.ndindex(2, 2, 2)])
    away = float(np.linalg.norm(corners @ (affine - volume.affine).T, axis=1).max())
    if away > SAME_PLACE_MM:
        found = f"labels that lie {away:.2f} mm away from the image (another affine)"
        do = "Resample the labels to the image, or correct the affine."
        raise InputError(path, found=found, expected="the image's grid", do=do)


def _write(array: Voxels, volume: Volume, path: Path) -> None:
    ending = next((ending for ending in (".nii.gz", ".nii") if path.name.endswith(ending)), None)
    if ending is None:
        found = f"the ending {path.suffix or 'none'}"
        raise InputError(path, found=found, expected=".nii or .nii.gz", do="Use one of these.")
    values, affine = reorient(array, volume.affine, volume.orientation)
    image = Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    # A quaternion cannot hold a shear; readers must then take the sform.
    straight = np.allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    image.set_qform(affine, code=1 if straight else 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        # nibabel reads the format off the name, so the name must end as the real one does.
        named = temporary.with_name(temporary.name + ending)
        try:
            nibabel.save(image, named)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)
