"""`crossmod prepare` and `phantom`: make a store from image files, or made-up patients to try it with."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from crossmod.commands import build_settings, command, settings_of
from crossmod.config import Modality, Settings, build
from crossmod.files import PathName
from crossmod.progress import say

if TYPE_CHECKING:
    from crossmod.data.store import CaseRecord, Store


class ImportOptions(Settings):
    """What all importers ask."""

    append: bool = False
    """Add to an existing store."""
    contrast: Literal["yes", "no"] | None = None
    """Whether the CT has contrast agent; default: yes for CHAOS, what the headers say for DICOM, otherwise unknown."""
    crop: Literal["abdomen"] | None = None
    """`abdomen` crops CT that shows more, such as the whole body, to the abdomen: by its liver and kidneys where they
    are labelled, else by the lower end of the lungs and the upper end of the pelvis."""
    accept_units: bool = False
    """Also accept values that cannot be HU (CT) or signal (MR), such as 8-bit images: for experts. Their unit is stored
    as `unknown`, with a warning."""

    @property
    def keywords(self) -> dict[str, Any]:
        """As the importers take them."""
        return {**self.model_dump(), "contrast": None if self.contrast is None else self.contrast == "yes"}


IMPORT = settings_of(ImportOptions)


@command("prepare chaos", 1, options=IMPORT)
def prepare_chaos(
    src: PathName,
    store: PathName,
    *,
    download: bool = False,
    sequences: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    name: str | None = None,
    **options: Any,
) -> "Store":
    """Read the CHAOS layout: CT, MR T1-DUAL in and out of phase, MR T2-SPIR, with masks.

    Args:
        src: Folder that holds Train_Sets, or CT and MR.
        store: The new store.
        download: First download the published training set into SRC (891 MB, CC BY-NC-SA 4.0); an interrupted download
            is resumed.
        sequences: Only these of ct, t1_in, t1_out, t2_spir.
        only: Only these patients, by CHAOS number or pseudonym.
        exclude: All but these patients.
        name: First part of the patients' pseudonyms, for another dataset in this layout; default: chaos.
        options: Fields of `ImportOptions`.

    Returns:
        The store.

    Raises:
        InputError: another layout, or images and masks that do not match.
    """
    from crossmod.data.importers import chaos
    from crossmod.data.importers.download import download_chaos

    given, _ = build_settings(ImportOptions, options)
    if download:
        download_chaos(Path(src))
    choice = {"sequences": sequences, "only": only, "exclude": exclude, "name": name}
    return _prepared(Path(store), chaos.prepare_chaos(Path(src), Path(store), **choice, **given.keywords))


@command("prepare dicom", 2, options=IMPORT)
def prepare_dicom(
    src: PathName,
    store: PathName,
    *,
    patient: str | None = None,
    name: str | None = None,
    sequence: str | None = None,
    ignore_ids: bool = False,
    **options: Any,
) -> "Store":
    """Read every CT and MR series in a folder of DICOM files.

    Patients are distinguished by PatientID, of which the store keeps a hash under your patient key
    (CROSSMOD_PATIENT_KEY names its file). With it, --append recognises patients, and `train` sees who is in both
    stores.

    Args:
        src: Folder with DICOM files, at any depth.
        store: The new store.
        patient: Pseudonym of the patient, if all series are of one; refused if another person of the store has it.
        name: First part of the new pseudonyms; default: dicom.
        sequence: Name of the MR sequence or CT phase of all series, such as t2_spir.
        ignore_ids: Treat each folder in SRC as one patient, for exports whose PatientIDs were all set to one value.
        options: Fields of `ImportOptions`.

    Returns:
        The store.

    Raises:
        InputError: no usable series, or one that contradicts an option; it is named by its folder.
    """
    from crossmod.data.importers import dicom

    given, _ = build_settings(ImportOptions, options)
    choice = {"patient": patient, "name": name, "sequence": sequence, "ignore_ids": ignore_ids}
    return _prepared(Path(store), dicom.prepare_dicom(Path(src), Path(store), **choice, **given.keywords))


@command("prepare nifti", 3, options=IMPORT)
def prepare_nifti(
    src: PathName,
    store: PathName,
    *,
    modality: Modality,
    image: str = "image.nii.gz",
    label: str = "label.nii.gz",
    labels_json: PathName | None = None,
    sequence: str | None = None,
    name: str | None = None,
    number_patients: bool = False,
    orientation: str | None = None,
    only: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    **options: Any,
) -> "Store":
    """Read NIfTI files: SRC/CASE/image.nii.gz and, if it exists, SRC/CASE/label.nii.gz.

    Args:
        src: Folder with a folder per case, or with files that all name their case.
        store: The new store.
        modality: Modality of the images.
        image: Name of the image file; `{case}` stands for the case, such as `{case}_0000.nii.gz`.
        label: Name of the label file, in the same way.
        labels_json: JSON with the name of each label value; default: labels.json in SRC.
        sequence: Name of the MR sequence, such as t2_spir.
        name: First part of the patients' pseudonyms; default: the name of SRC. The rest is the case's name, by which
            people are matched with other stores.
        number_patients: Call patients p001, p002 and so on, for folders that are named after people.
        orientation: Axis codes to assume, such as RAS, for files that do not state theirs.
        only: Only these cases.
        exclude: All but these cases.
        options: Fields of `ImportOptions`.

    Returns:
        The store.

    Raises:
        InputError: no case, a case without an image, labels on another grid, or values that cannot be of `modality`.
    """
    from crossmod.data.importers import nifti

    given, _ = build_settings(ImportOptions, options)
    cases = nifti.prepare_nifti(
        Path(src),
        Path(store),
        modality=modality,
        image=image,
        label=label,
        labels_json=None if labels_json is None else Path(labels_json),
        sequence=sequence,
        name=name,
        number_patients=number_patients,
        orientation=orientation,
        only=only,
        exclude=exclude,
        **given.keywords,
    )
    return _prepared(Path(store), cases)


def _prepared(path: Path, cases: "list[CaseRecord]") -> "Store":
    from crossmod.data.pixel_size import extents, side_extent, warn_of_sizes
    from crossmod.data.store import Store

    say(f"{path}: {len(cases)} new case{'s' if len(cases) != 1 else ''}. Look at it: crossmod info {quote(str(path))}")
    store = Store(path)
    for modality in sorted({case.modality for case in cases}):
        own = [case for case in cases if case.modality == modality]
        say(f"{modality.upper()}, medians: {side_extent(extents(store, own)).words}")
        # Beside those that were there before, where it costs no reading.
        every = [case for case in store.cases if case.modality == modality and case.body is not None]
        warn_of_sizes(f"{path}, {modality.upper()}", extents(store, every))
    return store


@command("phantom", 7)
def write_phantom(
    out: PathName,
    *,
    patients: int = 10,
    ct_patients: int | None = None,
    mr_patients: int | None = None,
    size: int = 128,
    slices: int = 32,
    seed: int = 0,
    layout: Literal["chaos", "nifti"] = "chaos",
    paired: bool = False,
    ct_contrast: Literal["yes", "no"] | None = None,
    mr_source: Literal[1, 2] = 1,
) -> Path:
    """Make up patients: an upper abdomen with labelled organs, as CT and as MR in three sequences.

    Args:
        out: The new folder.
        patients: CT patients, and as many other MR patients.
        ct_patients: CT patients, if their number differs.
        mr_patients: MR patients, if their number differs.
        size: Pixels along each side of a slice.
        slices: CT slices of a patient; MR slices are thicker and fewer.
        seed: Seed; another one gives other patients.
        layout: `chaos`: DICOM and PNG as in the CHAOS dataset; `nifti`: one file per volume.
        paired: The same patients in both modalities: ground truth for checking a translation, not for training.
        ct_contrast: CT with contrast agent, or the same patients without; DICOM headers name the agent. Default: with
            it, and headers that do not say so.
        mr_source: 1: a scanner of 1.5 T, as in CHAOS; 2: a 3 T scanner of another hospital, with another T1 and other
            patients.

    Returns:
        The folder.

    Raises:
        InputError: a size or number out of range, or `out` is not empty.
    """
    from crossmod.phantom import dataset

    values = {
        "ct_patients": patients if ct_patients is None else ct_patients,
        "mr_patients": patients if mr_patients is None else mr_patients,
        "size": size,
        "slices": slices,
        "seed": seed,
        "layout": layout,
        "paired": paired,
        "ct_contrast": ct_contrast,
        "mr_source": mr_source,
    }
    out = Path(out)
    dataset.write_phantom(out, build(dataset.PhantomSettings, values, subject=""))
    source = out if layout == "chaos" else out / "ct"
    words = "" if layout == "chaos" else " --modality ct"
    # A header can only say yes, and the layout of CHAOS is read as CHAOS, whose CT has contrast agent.
    words += "" if ct_contrast is None or (layout, ct_contrast) == ("chaos", "yes") else f" --contrast {ct_contrast}"
    say(f"Next: crossmod prepare {layout} {quote(str(source))} STORE{words}")
    return out
