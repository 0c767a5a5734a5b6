"""A volume as a DICOM series without a patient, for tests."""

from pathlib import Path

from crossmod.data.dicom.geometry import laid_out
from crossmod.data.dicom.write import as_16_bit, series_header, slice_header, slice_name, write_slice
from crossmod.data.store_writer import check_values
from crossmod.data.volume import Volume
from crossmod.files import atomic_folder


def write_dicom_series(volume: Volume, folder: Path) -> None:
    """Write a volume's voxels as a DICOM series; labels are not written.

    Args:
        volume: what to write.
        folder: a new or empty folder; it appears when all slices are written.

    Raises:
        InputError: the folder holds something, the disk is full, or the volume is sheared, which DICOM cannot say.
    """
    with atomic_folder(folder) as temporary:
        check_values(folder, volume.voxels)
        voxels, layout = laid_out(folder, volume)
        stored = as_16_bit(voxels, hounsfield=volume.unit == "HU")
        series = series_header(volume.modality, layout, stored)
        for index in range(len(voxels)):
            write_slice(temporary / slice_name(index), slice_header(series, layout, index), stored.pixels[index])
