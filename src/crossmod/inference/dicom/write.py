"""A translated volume as a new, derived DICOM series, at the position of its source.

Notable:
- CT is stored in whole HU: slope 1, intercept -1024, which all planning systems support.
- Positions and directions are those of the source's headers, if it is DICOM.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from pydicom.dataset import Dataset

from crossmod.data.dicom.geometry import Layout, laid_out
from crossmod.data.dicom.header import quiet
from crossmod.data.dicom.write import as_16_bit, is_whole, series_header, slice_header, slice_name, write_slice
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.files import atomic_folder
from crossmod.inference.dicom.attributes import put_description, put_identity, put_references
from crossmod.inference.dicom.segmentation import check_segmentation, write_segmentation
from crossmod.inference.dicom.source import Source, source_of, turn_onto
from crossmod.inference.types import Translation

# In a subfolder, so that the folder of the series has only slices.
SEGMENTATION = Path("segmentation", "organs.dcm")


def write_translated(
    translation: Translation,
    folder: Path,
    *,
    source: Path | None,
    others: Sequence[Path] = (),
    keep_identity: bool = False,
    labels: bool = False,
) -> None:
    """Write a translated volume as a derived DICOM series; the arguments are those of `crossmod.write_translation`."""
    labels = labels and check_segmentation(translation, folder)
    # UIDs of the source are copied as they are, valid or not.
    with atomic_folder(folder) as temporary, quiet():
        _check_numbers(folder, translation)
        origin = None if source is None else source_of(source, translation.sources[0])
        if keep_identity and origin is None:
            do = "Omit --keep-identity."
            raise InputError(source or folder, found="no DICOM source", expected="a header to copy", do=do)
        voxels, layout = placed(folder, translation.image, origin)
        further = zip(others, translation.sources[1:], strict=True) if others else ()
        all_origins = [origin, *(source_of(path, volume) for path, volume in further)] if origin else []
        origins = [known for known in all_origins if known is not None]
        headers = _write(temporary, translation, voxels, layout, origins, keep_identity)
        if labels and translation.labels is not None:
            classes, _ = placed(folder, replace(translation.image, voxels=translation.labels), origin)
            path = temporary / SEGMENTATION
            path.parent.mkdir()
            write_segmentation(translation.about, classes, headers, path)


def placed(folder: Path, volume: Volume, origin: Source | None) -> tuple[Shaped[np.ndarray, "a b c"], Layout]:
    """Voxels in the order of the series, and the positions of its slices."""
    if origin is None:
        return laid_out(folder, volume)
    turn = turn_onto(origin.affine, (len(origin.slices), *origin.slices[0].shape), volume)
    if turn is None:
        found, expected = "a translated volume on another grid than its source", "the grid of the source"
        raise InputError(folder, found=found, expected=expected, do="Write it without the source, or as NIfTI.")
    return turn.of(volume.voxels), origin.layout


def _check_numbers(folder: Path, translation: Translation) -> None:
    if not np.isfinite(translation.image.voxels).all():
        do = "Translate again, or use another model."
        raise InputError(folder, found="voxels that are NaN or infinite", expected="numbers", do=do)


def _write(
    folder: Path,
    translation: Translation,
    voxels: Shaped[np.ndarray, "slices rows columns"],
    layout: Layout,
    origins: Sequence[Source],
    keep: bool,
) -> list[Dataset]:
    """Write the slices; returns their headers, without pixels."""
    hounsfield = translation.image.unit == "HU"
    whole = np.rint(voxels) if hounsfield and not is_whole(voxels) else voxels
    stored = as_16_bit(whole, hounsfield=hounsfield)
    series = series_header(translation.about.target, layout, stored)
    put_description(series, translation)
    put_identity(series, origins[0] if origins else None, keep=keep)
    headers = []
    for index in range(len(voxels)):
        one = slice_header(series, layout, index)
        if origins:
            put_references(one, origins, index, keep=keep)
        write_slice(folder / slice_name(index), one, stored.pixels[index])
        headers.append(one)
    return headers
