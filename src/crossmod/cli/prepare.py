"""`crossmod prepare`: make a store of cases out of image files."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Literal

from crossmod.cli.app import prepare, say
from crossmod.config import Modality

if TYPE_CHECKING:
    from crossmod.data.store import CaseRecord


@prepare.command(name="chaos")
def prepare_chaos(
    src: Path,
    store: Path,
    *,
    download: bool = False,
    append: bool = False,
    sequences: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    name: str | None = None,
    contrast: Literal["yes", "no"] | None = None,
    crop: Literal["abdomen"] | None = None,
    accept_units: bool = False,
) -> None:
    """Read the CHAOS layout: CT, MR T1-DUAL in and out of phase, MR T2-SPIR, with masks.

    Parameters
    ----------
    src
        Folder that holds Train_Sets, or CT and MR.
    store
        The new store.
    download
        First fetch the published training set into SRC (891 MB, CC BY-NC-SA 4.0); a broken download is resumed.
    append
        Add to a store that is there.
    sequences
        Only these of ct, t1_in, t1_out, t2_spir.
    only
        Only these patients, by CHAOS number or pseudonym.
    exclude
        All but these patients.
    name
        First part of the patients' pseudonyms, for another set in this layout; default: chaos.
    contrast
        Whether CT has contrast agent, for another set in this layout; default: yes, as CHAOS has.
    crop
        `abdomen` cuts CT that shows more, such as the whole body, to the abdomen: by its liver and kidneys where they
        are labelled, else by where lungs end and the pelvis begins.
    accept_units
        Also take values that cannot be HU (CT) or signal (MR), such as 8-bit pictures: for experts. Their unit is
        stored as `unknown`, with a note.
    """
    from crossmod.data.importers import chaos
    from crossmod.data.importers.download import download_chaos

    if download:
        download_chaos(src)
    cases = chaos.prepare_chaos(
        src,
        store,
        append=append,
        sequences=sequences,
        only=only,
        exclude=exclude,
        name=name,
        contrast=_yes(contrast),
        crop=crop,
        accept_units=accept_units,
    )
    _say_done(store, cases)


@prepare.command(name="dicom")
def prepare_dicom(
    src: Path,
    store: Path,
    *,
    append: bool = False,
    patient: str | None = None,
    name: str | None = None,
    sequence: str | None = None,
    contrast: Literal["yes", "no"] | None = None,
    crop: Literal["abdomen"] | None = None,
    accept_units: bool = False,
    ignore_ids: bool = False,
) -> None:
    """Read every CT and MR series in a folder of DICOM files.

    Patients are told apart by PatientID, of which the store keeps a hash under your patient key (CROSSMOD_PATIENT_KEY
    names its file). With it, --append finds patients again, and `train` sees who is in both stores.

    Parameters
    ----------
    src
        Folder with DICOM files, at any depth.
    store
        The new store.
    append
        Add to a store that is there; its patients are found again by the hash of their PatientID.
    patient
        Pseudonym of the patient, where all series are of one; refused if another person of the store has it.
    name
        First part of the pseudonyms that are given out; default: dicom.
    sequence
        Name of the MR sequence or CT phase of all series, such as t2_spir.
    contrast
        Whether the CT has contrast agent; default: yes where the headers name one, else unknown.
    crop
        `abdomen` cuts CT that shows more, such as the whole body, to the abdomen: by its liver and kidneys where they
        are labelled, else by where lungs end and the pelvis begins.
    accept_units
        Also take values that cannot be HU (CT) or signal (MR), such as 8-bit pictures: for experts. Their unit is
        stored as `unknown`, with a note.
    ignore_ids
        Take each folder in SRC for a patient, for exports whose PatientIDs were all set to one value.
    """
    from crossmod.data.importers import dicom

    cases = dicom.prepare_dicom(
        src,
        store,
        append=append,
        patient=patient,
        name=name,
        sequence=sequence,
        contrast=_yes(contrast),
        crop=crop,
        accept_units=accept_units,
        ignore_ids=ignore_ids,
    )
    _say_done(store, cases)


@prepare.command(name="nifti")
def prepare_nifti(
    src: Path,
    store: Path,
    *,
    modality: Modality,
    append: bool = False,
    image: str = "image.nii.gz",
    label: str = "label.nii.gz",
    labels_json: Path | None = None,
    sequence: str | None = None,
    name: str | None = None,
    number_patients: bool = False,
    orientation: str | None = None,
    only: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    contrast: Literal["yes", "no"] | None = None,
    crop: Literal["abdomen"] | None = None,
    accept_units: bool = False,
) -> None:
    """Read NIfTI files: SRC/CASE/image.nii.gz and, where there is one, SRC/CASE/label.nii.gz.

    Parameters
    ----------
    src
        Folder with a folder for each case, or with files that all name their case.
    store
        The new store.
    modality
        What the images are.
    append
        Add to a store that is there.
    image
        Name of the image file; `{case}` stands for the case, such as `{case}_0000.nii.gz`.
    label
        Name of the label file, in the same way.
    labels_json
        JSON with the name of each label value; default: labels.json in SRC.
    sequence
        Name of the MR sequence, such as t2_spir.
    name
        First part of the patients' pseudonyms; default: the name of SRC. The rest is the case's name, by which people
        are matched with other stores.
    number_patients
        Call patients p001, p002 and so on, for folders that are named after people.
    orientation
        Axis codes to assume, such as RAS, for files that do not say theirs.
    only
        Only these cases.
    exclude
        All but these cases.
    contrast
        Whether the CT has contrast agent, which a NIfTI file does not say; default: unknown.
    crop
        `abdomen` cuts CT that shows more, such as the whole body, to the abdomen: by its liver and kidneys where they
        are labelled, else by where lungs end and the pelvis begins.
    accept_units
        Also take values that cannot be HU (CT) or signal (MR), such as 8-bit pictures: for experts. Their unit is
        stored as `unknown`, with a note.
    """
    from crossmod.data.importers import nifti

    cases = nifti.prepare_nifti(
        src,
        store,
        modality=modality,
        append=append,
        image=image,
        label=label,
        labels_json=labels_json,
        sequence=sequence,
        name=name,
        number_patients=number_patients,
        orientation=orientation,
        only=only,
        exclude=exclude,
        contrast=_yes(contrast),
        crop=crop,
        accept_units=accept_units,
    )
    _say_done(store, cases)


def _yes(contrast: Literal["yes", "no"] | None) -> bool | None:
    return None if contrast is None else contrast == "yes"


def _say_done(store: Path, cases: "list[CaseRecord]") -> None:
    from crossmod.data.pixel_size import extents, side_extent, warn_of_sizes
    from crossmod.data.store import Store

    say(
        f"{store}: {len(cases)} new case{'s' if len(cases) != 1 else ''}. Look at it: crossmod info {quote(str(store))}"
    )
    made = Store(store)
    for modality in sorted({case.modality for case in cases}):
        own = [case for case in cases if case.modality == modality]
        say(f"{modality.upper()}, medians: {side_extent(extents(made, own)).words}")
        # Beside those that were there before, where it costs no reading.
        every = [case for case in made.cases if case.modality == modality and case.body is not None]
        warn_of_sizes(f"{store}, {modality.upper()}", extents(made, every))
