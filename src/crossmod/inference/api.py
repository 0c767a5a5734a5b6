"""What a program uses, and the command line too: read a volume, load a model, translate, write.

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
from crossmod.inference.ensemble import about_all, ct_windows
from crossmod.inference.inputs import check_same_frame
from crossmod.inference.paired import AgainstTruth, write_card
from crossmod.inference.translate_volume import translate_volume
from crossmod.inference.trust.assess import Limits, Trust, assess_trust
from crossmod.inference.trust.similarity import fingerprint_of
from crossmod.inference.types import About, Network, Options, Translation
from crossmod.runs import CONFIG, is_run
from crossmod.settings import Device

NIFTI = (".nii", ".nii.gz")
BUNDLE = "bundle.json"
# What people may expect to get, and would find a folder in place of.
OTHER_FILES = (".nrrd", ".mha", ".mhd", ".dcm", ".img", ".hdr", ".nii", ".nii.gz", ".gz", ".zip")


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model, or several that answer together.

    Args:
        networks: each from a run folder or a bundle.
    """

    networks: tuple[Network, ...]

    @property
    def about(self) -> About:
        """What is known of it: modalities, inputs, window, hash of the weights, patients that it was trained on."""
        return about_all(self.networks)

    def translate(self, volume: Volume, *more: Volume, options: Options | None = None) -> Translation:
        """Translate one patient's volume; a model of several inputs takes as many volumes.

        Args:
            volume: `[slices, rows, columns]`, any size, spacing and direction; CT in HU, MR in any unit.
            more: the other inputs, told apart by their `sequence`, else by their order; they are brought to the
                first input's grid.
            options: variants to average over, tiles, slices at a time.

        Returns:
            `image` on the grid of the first input: int16 HU for CT, float32 for MR; `body`, where something was made;
            `uncertainty` in the image's unit, where there were variants or several networks; `labels`, where the model
            has a segmentor.

        Raises:
            InputError: the wrong number of volumes, modality or sequence; values that cannot be of the modality; grids
                that do not share half of what they show; MR without contrast.
        """
        return translate_volume(self.networks, (volume, *more), options)

    def trust(self, translation: Translation, limits: Limits | None = None) -> Trust:
        """Check a translation of this model against its source and against what the model was trained on.

        Args:
            translation: what `translate` made; without variants or several models its uncertainty is not known.
            limits: beyond which is warned.

        Returns:
            `warnings`, a sentence for each limit that is exceeded; `unknown`, what could not be checked; and the
            numbers. No warning does not mean that the image is right.
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
        path: a folder of one DICOM series, a multi-frame DICOM file, or a file that ends in `.nii` or `.nii.gz`.
        modality: `ct` or `mr`; needed for NIfTI, which does not say it. DICOM of another modality is refused.
        sequence: the MR sequence (`t1_in`, `t1_out`, `t2_spir`), for models of several inputs.
        series_number: which series, where a DICOM folder holds several.
        echo_time: likewise, in milliseconds.
        beside: another scan that it is to be laid over: DICOM of two patients or frames of reference is refused.

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
        do = 'Say it: read_volume(path, "ct") or read_volume(path, "mr").'
        raise InputError(path, found="NIfTI, which does not say its modality", expected="a modality", do=do)
    if series_number is not None or echo_time is not None:
        do = "Leave --series-number and --echo-time out, or give DICOM."
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
        paths: as of `read_volume`; or sequence -> path.
        modality: as of `read_volume`.
        series_number: as of `read_volume`, of every folder.
        echo_time: likewise.

    Raises:
        InputError: as of `read_volume`; DICOM of two patients or two frames of reference.
    """
    named = dict(paths) if isinstance(paths, Mapping) else None
    given = list(named.values()) if named is not None else list(paths)
    places = [Path(path).resolve() for path in given]
    if len(set(places)) < len(places):
        raise InputError("inputs", found="one path twice", expected="one for each input", do="Give the other scan.")
    names = list(named) if named is not None else [None] * len(given)
    if len(given) > 1:
        check_same_frame([Path(path) for path in given])
    chosen = {"series_number": series_number, "echo_time": echo_time}
    return tuple(read_volume(path, modality, sequence=name, **chosen) for path, name in zip(given, names, strict=True))


def load_model(path: PathName, *more: PathName, device: Device = "auto") -> Model:
    """Load a trained model.

    Args:
        path: a finished training run, or a bundle made of one by `crossmod export`.
        more: others to answer together with it. Those of the same window are averaged, and how far they differ is the
            uncertainty; CT models of other windows (bone, lung) widen the range.
        device: `cpu`, `cuda`, or `auto`: a GPU where there is one.

    Raises:
        InputError: no run, an unfinished one, damaged weights; models of other modalities or inputs, or one twice; no
            GPU.
    """
    networks = tuple(network for one in (path, *more) for network in _load(Path(one), device))
    ct_windows(networks)  # refuses what does not belong together
    hashes = [network.about.weights for network in networks]
    if len(set(hashes)) < len(hashes):
        found, do = "the same weights twice", "They would agree, and tell nothing: leave one out."
        raise InputError("models", found=found, expected="models that were trained apart", do=do)
    return Model(networks)


def _load(path: Path, device: Device) -> tuple[Network, ...]:
    """A run holds one network, a bundle one a window."""
    if (path / BUNDLE).is_file():
        from crossmod.inference.bundle.load import load_networks

        return load_networks(path, device=device)
    if not is_run(path):
        inside = f"no {CONFIG} and no {BUNDLE} in it" if path.is_dir() else "no such folder"
        what = "a file" if path.is_file() else inside
        do = "Give what `crossmod train` or `crossmod export` made."
        raise InputError(path, found=what, expected="the folder of a training run or of a bundle", do=do)
    # Only here: a bundle is loaded without any code that trains.
    from crossmod.inference.from_run import load_run

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
    """Write the synthetic volume, and beside it `<path>.json`: what made it, from what, and what it is not for.

    Args:
        translation: what `Model.translate` made.
        path: `.nii` or `.nii.gz`: a NIfTI file with the stored axes of the first input; else a new folder for a DICOM
            series. Nothing that is there is overwritten.
        source: DICOM: what the input was read from, for references to it; of several inputs all paths, in the order of
            `translation.sources`, or the first alone; None, or NIfTI, where there is none.
        keep_identity: DICOM: copy the patient's data from the source.
        segmentation: DICOM: write the organs that S found, too, as DICOM SEG (extra `seg`).
        options: that were given to `translate`, for the card.
        truth: what `evaluate_translation` found, for the card.

    Raises:
        InputError: there is something already, the disk is full, an identity is to be kept that is not there, or organs
            are wanted of a model without a segmentor.
    """
    path = Path(path)
    paths = [Path(one) for one in ([source] if isinstance(source, str | PathLike) else source or ())]
    refuse_existing(path, path.with_name(path.name + ".json"))
    if keep_identity and is_nifti(path):
        do = "Leave --keep-identity out, or write DICOM."
        raise InputError(path, found="NIfTI, which has no place for a name", expected="a folder for DICOM", do=do)
    if segmentation and is_nifti(path):
        do = "Leave --segmentation out, or write DICOM."
        raise InputError(path, found="NIfTI, which is no DICOM SEG", expected="a folder for DICOM", do=do)
    if is_nifti(path):
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
    """Say so before an hour of work where a result could not be written.

    Args:
        paths: of the result, and of what will lie beside it.

    Raises:
        InputError: a file, or a folder that holds something; a folder that may not be written; the name of another kind
            of file.
    """
    for path in paths:
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            found = "something that is there already"
            raise InputError(path, found=found, expected="a new file or folder", do="Choose another, or remove it.")
    path = paths[0]
    if not is_nifti(path) and path.name.lower().endswith(OTHER_FILES):
        found = f"the name of a file that is not written here (.{path.name.rpartition('.')[2]})"
        expected = "a name that ends in .nii or .nii.gz, or a folder for DICOM"
        raise InputError(path, found=found, expected=expected, do="Choose another name.")
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if not os.access(there, os.W_OK):
        do = "Choose another folder, or change its permissions."
        raise InputError(there, found="a folder that may not be written", expected="one that may", do=do)


def is_nifti(path: Path) -> bool:
    """Whether a path names a NIfTI file."""
    return path.name.endswith(NIFTI)
