"""Python interface: read a volume, load a model, translate, write.

    model = crossmod.load_model("essnet")
    made = model.translate(crossmod.read_volume("patient/CT"))
    crossmod.write_translation(made, "patient/MR.nii.gz")

Voxels are always `[slices, rows, columns]`, feet to head, front to back, the patient's right to left; CT is in HU.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import cast

from crossmod.config import Modality
from crossmod.data.dicom.series import read_dicom_series
from crossmod.data.nifti import read_nifti, write_nifti
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.files import PathName
from crossmod.inference.ensemble import about_all, ct_windows, load_run
from crossmod.inference.inputs import check_same_frame
from crossmod.inference.paired import AgainstTruth, write_card
from crossmod.inference.translate_volume import translate_volume
from crossmod.inference.trust.assess import Limits, Trust, assess_trust
from crossmod.inference.trust.similarity import fingerprint_of
from crossmod.inference.types import About, Network, Options, Translation
from crossmod.progress import progress_if_asked
from crossmod.runs import CONFIG, is_run
from crossmod.settings import Device

NIFTI = (".nii", ".nii.gz")
BUNDLE = "bundle.json"
# File types that users may expect, in place of a folder.
OTHER_FILES = (".nrrd", ".mha", ".mhd", ".dcm", ".img", ".hdr", ".nii", ".nii.gz", ".gz", ".zip")


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model, or several that translate together; each network is from a run folder or a bundle."""

    networks: tuple[Network, ...]

    @property
    def about(self) -> About:
        """What is known of it: modalities, inputs, window, hash of the weights, numbers of training patients."""
        return about_all(self.networks)

    @progress_if_asked()
    def translate(self, volume: Volume, *more: Volume, options: Options | None = None) -> Translation:
        """Translate one patient's volume; a model of several inputs takes as many volumes.

        Args:
            volume: `[slices, rows, columns]`, any size, spacing and direction; CT in HU, MR in any unit.
            more: the other inputs, identified by their `sequence`, else by their order; they are resampled to the first
                input's grid.
            options: variants to average over, tiles, batch size.

        Returns:
            `image` on the grid of the first input: int16 HU for CT, float32 for MR; `body`, where it is synthetic;
            `uncertainty` in the image's unit, with variants or several networks; `labels`, if the model has a
            segmentor.

        Raises:
            InputError: the wrong number of volumes, modality or sequence; values that are impossible for the modality;
                grids that share less than half of what they show; MR without contrast.
        """
        return translate_volume(self.networks, (volume, *more), options)

    def trust(self, translation: Translation, limits: Limits | None = None) -> Trust:
        """Compare a translation of this model with its source and with the model's training images.

        Args:
            translation: from `translate`; without variants or several models its uncertainty is unknown.

        Returns:
            `warnings`, a sentence for each exceeded limit; `unknown`, the checks that could not be made; and the
            numbers. A translation without warnings may still be wrong.
        """
        return assess_trust(translation, fingerprint_of(self.networks), limits)


def read_volume(
    path: PathName,
    modality: str | None = None,
    *,
    sequence: str | None = None,
    series_number: int | None = None,
    echo_time: float | None = None,
    beside: PathName | None = None,
) -> Volume:
    """Read a CT or MR volume.

    Args:
        path: a folder of one DICOM series, a multi-frame DICOM file, or a `.nii` or `.nii.gz` file.
        modality: `ct` or `mr`; required for NIfTI. DICOM of another modality is refused.
        sequence: the MR sequence (`t1_in`, `t1_out`, `t2_spir`), for models of several inputs.
        series_number: selects one of several series in a DICOM folder.
        echo_time: selects one of several echoes, milliseconds.
        beside: another scan in the same position: DICOM of two patients or frames of reference is refused.

    Returns:
        Voxels `[slices, rows, columns]`, HU for CT, and the affine to RAS+ millimetres.

    Raises:
        InputError: no such path, several series or patients, a broken file, a tilted or uneven stack, no modality.
    """
    path = Path(path)
    if modality is not None and str(modality).lower() not in ("ct", "mr"):
        raise InputError(path, found=f"the modality {modality!r}", expected="ct or mr", do="Name one of them.")
    modality = None if modality is None else cast("Modality", str(modality).lower())
    if beside is not None:
        check_same_frame([Path(beside), path])
    if not is_nifti(path):
        volume = read_dicom_series(path, modality=modality, series_number=series_number, echo_time=echo_time)
        return volume if sequence is None else replace(volume, sequence=sequence)
    if modality is None:
        do = 'Give it: read_volume(path, "ct") or read_volume(path, "mr").'
        raise InputError(path, found="NIfTI, which does not say its modality", expected="a modality", do=do)
    if series_number is not None or echo_time is not None:
        do = "Omit --series-number and --echo-time, or give DICOM."
        raise InputError(path, found="NIfTI, which is one series", expected="DICOM to choose from", do=do)
    return read_nifti(path, modality=modality, sequence=sequence)


def read_volumes(
    paths: Sequence[PathName] | Mapping[str, PathName],
    modality: str | None = None,
    *,
    series_number: int | None = None,
    echo_time: float | None = None,
) -> tuple[Volume, ...]:
    """Read the inputs of one patient.

    Args:
        paths: as in `read_volume`; or sequence -> path.
        modality: as in `read_volume`.
        series_number: as in `read_volume`, for every folder.
        echo_time: as in `read_volume`, for every folder.

    Raises:
        InputError: as in `read_volume`; DICOM of two patients or two frames of reference.
    """
    named = list(paths.items()) if isinstance(paths, Mapping) else [(None, path) for path in paths]
    files = [Path(path) for _, path in named]
    if len({path.resolve() for path in files}) < len(files):
        raise InputError("inputs", found="one path twice", expected="one for each input", do="Give the other scan.")
    if len(files) > 1:
        check_same_frame(files)
    return tuple(
        read_volume(path, modality, sequence=name, series_number=series_number, echo_time=echo_time)
        for name, path in named
    )


def load_model(path: PathName, *more: PathName, device: Device = "auto") -> Model:
    """Load a trained model.

    Args:
        path: a finished training run, or a bundle from `crossmod export`.
        more: other models to combine. Those of the same window are averaged, and their differences give the
            uncertainty; CT models of other windows (bone, lung) widen the range.
        device: `cpu`, `cuda`, or `auto`: a GPU if there is one.

    Raises:
        InputError: no run, an unfinished one, damaged weights; models of different modalities or inputs, or one twice;
            no GPU.
    """
    networks = tuple(network for each in (path, *more) for network in _load(Path(each), device))
    ct_windows(networks)  # refuses models that do not belong together
    if len({network.about.weights for network in networks}) < len(networks):
        found, do = "the same weights twice", "Omit one, since they would agree."
        raise InputError("models", found=found, expected="separately trained models", do=do)
    return Model(networks)


def _load(path: Path, device: Device) -> tuple[Network, ...]:
    """A run has one network, a bundle one per window."""
    if (path / BUNDLE).is_file():
        from crossmod.inference.bundle.load import load_networks

        return load_networks(path, device=device)
    if not is_run(path):
        inside = f"no {CONFIG} and no {BUNDLE} in it" if path.is_dir() else "no such folder"
        what = "a file" if path.is_file() else inside
        do = "Give the folder of `crossmod train` or `crossmod export`."
        raise InputError(path, found=what, expected="the folder of a training run or of a bundle", do=do)
    return (load_run(path, device=device),)


def write_translation(
    translation: Translation,
    path: PathName,
    *,
    source: PathName | Sequence[PathName] | None = None,
    keep_identity: bool = False,
    segmentation: bool = False,
    options: Options | None = None,
    truth: AgainstTruth | None = None,
) -> None:
    """Write the synthetic volume, and beside it its card, `<path>.json`.

    Args:
        translation: from `Model.translate`.
        path: `.nii` or `.nii.gz`: a NIfTI file with the stored axes of the first input; else a new folder for a DICOM
            series. Existing files are not overwritten.
        source: DICOM: path of the input, for references to it; of several inputs all paths, in the order of
            `translation.sources`, or the first alone; None for NIfTI.
        keep_identity: DICOM: copy the patient's data from the source.
        segmentation: DICOM: also write the organs that S found, as DICOM SEG (extra `seg`).
        options: of `translate`, for the card.
        truth: from `evaluate_translation`, for the card.

    Raises:
        InputError: the path exists, the disk is full, there is no identity to keep, or the model has no segmentor.
    """
    path = Path(path)
    paths = [Path(each) for each in ([source] if isinstance(source, str | PathLike) else source or ())]
    refuse_existing(path, path.with_name(path.name + ".json"))
    if is_nifti(path):
        for option, asked in (("--keep-identity", keep_identity), ("--segmentation", segmentation)):
            if asked:
                do = f"Omit {option}, or write DICOM."
                raise InputError(path, found=f"NIfTI with {option}", expected="a folder for DICOM", do=do)
        write_nifti(translation.image, path)
    else:
        from crossmod.inference.dicom.write import write_translated

        write_translated(
            translation,
            path,
            source=paths[0] if paths else None,
            others=paths[1:],
            keep_identity=keep_identity,
            labels=segmentation,
        )
    write_card(translation, path, options or Options(), truth)


def refuse_existing(*paths: Path) -> None:
    """Check that a result can be written, before it is computed.

    Args:
        paths: of the result, and of the files beside it.

    Raises:
        InputError: an existing file, or a folder with content; a folder without write permission; the name of an
            unsupported kind of file.
    """
    for path in paths:
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            found = "something that is there already"
            raise InputError(path, found=found, expected="a new file or folder", do="Choose another, or remove it.")
    path = paths[0]
    if not is_nifti(path) and path.name.lower().endswith(OTHER_FILES):
        found = f"the name of an unsupported file (.{path.name.rpartition('.')[2]})"
        expected = "a name that ends in .nii or .nii.gz, or a folder for DICOM"
        raise InputError(path, found=found, expected=expected, do="Choose another name.")
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if not os.access(there, os.W_OK):
        do = "Choose another folder, or change its permissions."
        raise InputError(there, found="a folder that may not be written", expected="a writable folder", do=do)


def is_nifti(path: Path) -> bool:
    """Whether a path names a NIfTI file."""
    return path.name.endswith(NIFTI)
