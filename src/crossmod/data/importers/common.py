"""From files as people have them to a store: CHAOS, DICOM, NIfTI.

Notable:
- A store gets pseudonyms. Of a DICOM patient id it keeps a keyed hash; folder names of NIfTI data become pseudonyms
  unless they are asked to be numbered.
- A failure leaves no half-written store.
"""

import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from crossmod.config import Modality
from crossmod.data.contrast_agent import settled_contrast
from crossmod.data.crop_abdomen import crop_to_abdomen
from crossmod.data.dicom.choose_series import Series
from crossmod.data.dicom.patients import checked_name, owners
from crossmod.data.dicom.series import check_uniform, list_series, read_series
from crossmod.data.importers.chaos import MR_SEQUENCES, chaos_cases, read_chaos_case
from crossmod.data.importers.patients import chaos_marks, nifti_marks, say_who_is_who
from crossmod.data.labels import read_label_names
from crossmod.data.nifti import read_nifti
from crossmod.data.store import MANIFEST, CaseRecord, Store, listed
from crossmod.data.store_writer import writing_store
from crossmod.data.units import with_checked_units
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.files import natural_key
from crossmod.progress import track

logger = logging.getLogger(__name__)

LABEL_FILE = "label.nii.gz"

Crop = Literal["abdomen"]


def prepare_chaos(
    src: Path,
    store: Path,
    *,
    append: bool = False,
    only: Collection[str] = (),
    exclude: Collection[str] = (),
    sequences: Collection[str] = (),
    name: str | None = None,
    contrast: bool | None = None,
    crop: Crop | None = None,
    accept_units: bool = False,
) -> list[CaseRecord]:
    """Make a store of CHAOS; patients are named `chaos-ct-<id>` and `chaos-mr-<id>`. Its CT has contrast agent.

    Args:
        src: the folder of `Train_Sets`, or that itself, or one with `CT` or `MR` in it.
        store: the new store.
        append: whether a store that is there may grow.
        only: take only these: cases, patients, or CHAOS's numbers.
        exclude: leave these out; named alike.
        sequences: take only these, of `ct`, `t1_in`, `t1_out`, `t2_spir`.
        name: first part of the patients' names, for another set in this layout.
        contrast: whether CT has contrast agent, for another set in this layout.
        crop: `abdomen` cuts what is longer, see `crossmod.data.crop_abdomen`.
        accept_units: take values that cannot be HU (CT) or signal (MR) all the same, as of an unknown unit.

    Raises:
        InputError: nothing to take, or a case that cannot be used, named by its folder.
    """
    unknown = sorted(set(sequences) - {"ct", *MR_SEQUENCES})
    if unknown:
        expected = ", ".join(("ct", *MR_SEQUENCES))
        raise InputError("--sequences", found=unknown[0], expected=expected, do="Name some of these.")
    every = chaos_cases(src, _safe(name) if name else "chaos")
    cases = [case for case in every if not sequences or (case.sequence or "ct") in sequences]
    keep = _chosen(src, [{case.id, case.patient, case.number} for case in cases], only, exclude)
    chosen = [cases[index] for index in keep]
    marks = chaos_marks(src, chosen, store, chaos=name is None)
    with writing_store(store, append=append) as writer:
        records = [
            writer.add(
                case.id,
                _usable(case.folder, read_chaos_case(case, contrast=contrast), crop, accept_units),
                patient=case.patient,
                person=marks[case.patient],
            )
            for case in track(chosen, "Preparing CHAOS")
        ]
    say_who_is_who(src, [case.folder for case in chosen], records)
    return records


def prepare_dicom(
    src: Path,
    store: Path,
    *,
    append: bool = False,
    patient: str | None = None,
    name: str | None = None,
    sequence: str | None = None,
    contrast: bool | None = None,
    crop: Crop | None = None,
    accept_units: bool = False,
    ignore_ids: bool = False,
) -> list[CaseRecord]:
    """Make a store of every CT and MR series below a folder; scout views are left out.

    Args:
        src: a folder of DICOM folders, one series a folder (or several, told apart by modality and echo time).
        store: the new store.
        append: whether a store that is there may grow.
        patient: the pseudonym, where all series are of one patient.
        name: pseudonyms are `<name>-p001`, ...; `dicom` by default.
        sequence: what the series are called in the store, such as `t2_spir`; where one patient has MR series of several
            echo times and no name is given, they are called by it: `te4.6`, `te80`.
        contrast: whether the CT has contrast agent; taken from the headers, where they name one.
        crop: `abdomen` cuts what is longer, see `crossmod.data.crop_abdomen`.
        accept_units: take values that cannot be HU (CT) or signal (MR) all the same, as of an unknown unit.
        ignore_ids: take each folder in `src` for a patient, whatever the PatientIDs say.

    Raises:
        InputError: no series, one that cannot be used, named by its folder, or one that says otherwise than `contrast`.
    """
    patient = None if patient is None else checked_name(patient)
    every = list_series(src)
    found = [series for series in every if not series.localizer]
    if len(found) < len(every):
        logger.warning("%s: left out %d series of scout views", src, len(every) - len(found))
    if not found:
        raise InputError(src, found="only scout views", expected="CT or MR series", do="Give the folder of a series.")
    check_uniform(found)
    _check_stated(contrast, {series.modality for series in found})
    # Never the folder's name: a scanner's export is often named after the patient.
    prefix = _safe(name or "dicom")
    known = Store(store).cases if append and (store / MANIFEST).is_file() else ()
    whose = owners(src, found, prefix=prefix, store=store, known=known, patient=patient, ignore_ids=ignore_ids)
    echoes: dict[str, set[float | None]] = {}
    for series, owner in zip(found, whose, strict=True):
        if series.modality == "mr":
            echoes.setdefault(owner.pseudonym, set()).add(series.echo_time)
    several = {pseudonym for pseudonym, times in echoes.items() if len(times) > 1}
    taken = {one.id for one in known}
    with writing_store(store, append=append) as writer:
        records = []
        for series, owner in track(list(zip(found, whose, strict=True)), "Preparing DICOM"):
            called = sequence or (_by_echo(series) if owner.pseudonym in several else None)
            volume = _stated(series.folder, replace(read_series(series)[0], sequence=called), contrast)
            volume = _usable(series.folder, volume, crop, accept_units)
            case = _free("-".join(part for part in (owner.pseudonym, volume.modality, called) if part), taken)
            records.append(writer.add(case, volume, patient=owner.pseudonym, person=(owner.mark,)))
            _check_not_again(series.folder, records[-1], known)
    say_who_is_who(src, [series.folder for series in found], records)
    return records


def prepare_nifti(
    src: Path,
    store: Path,
    *,
    modality: Modality,
    append: bool = False,
    image: str = "image.nii.gz",
    label: str | None = LABEL_FILE,
    labels_json: Path | None = None,
    sequence: str | None = None,
    name: str | None = None,
    number_patients: bool = False,
    orientation: str | None = None,
    only: Collection[str] = (),
    exclude: Collection[str] = (),
    contrast: bool | None = None,
    crop: Crop | None = None,
    accept_units: bool = False,
) -> list[CaseRecord]:
    """Make a store of NIfTI files.

    Args:
        src: the folder of the data.
        store: the new store.
        modality: of all images.
        append: whether a store that is there may grow.
        image: the file in each case's folder, or a pattern such as `{case}_0000.nii.gz`.
        label: the same for labels; a case without the file has none, but another name than the default must be that of
            some file. None: no labels are read.
        labels_json: names of the labels; `labels.json` in `src` by default.
        sequence: the MR sequence or CT phase; ends up in the case's name.
        name: patients are `<name>-<case>`; `src`'s own name by default.
        number_patients: call cases p001, p002, ... where their names could identify somebody.
        orientation: the axes' directions, such as `RAS`, where a file does not say.
        only: take only these cases (or patients).
        exclude: leave these out.
        contrast: whether the CT has contrast agent; a NIfTI file does not say it.
        crop: `abdomen` cuts what is longer, see `crossmod.data.crop_abdomen`.
        accept_units: take values that cannot be HU (CT) or signal (MR) all the same, as of an unknown unit.

    Raises:
        InputError: nothing to take, two folders that would become one patient, no label file of the name that was
            given, or a file that cannot be used, named.
    """
    _check_stated(contrast, {modality})
    found = _nifti_cases(src, image)
    prefix = _safe(name or src.resolve().name)
    patients = [f"{prefix}-{f'p{i:03d}' if number_patients else _safe(case)}" for i, (case, _) in enumerate(found, 1)]
    cases = [_NiftiCase(case, path, patient) for (case, path), patient in zip(found, patients, strict=True)]
    keep = _chosen(src, [{case.name, case.patient} for case in cases], only, exclude)
    chosen = [cases[index] for index in keep]
    _check_distinct(src, chosen)
    if number_patients:
        _check_new(store, append, (case.patient for case in chosen))
    drawn = _label_files(src, chosen, label)
    names = _label_names(src, label, labels_json)
    marks = nifti_marks(src, modality, {case.name: case.patient.removeprefix(f"{prefix}-") for case in chosen})
    with writing_store(store, append=append) as writer:
        records = []
        for case in track(chosen, "Preparing NIfTI"):
            volume = read_nifti(
                case.image,
                modality=modality,
                label=drawn.get(case.name),
                label_names=names,
                sequence=sequence,
                orientation=orientation,
            )
            volume = _usable(case.image, _stated(case.image, volume, contrast), crop, accept_units)
            case_id = f"{case.patient}-{sequence}" if sequence else case.patient
            records.append(writer.add(case_id, volume, patient=case.patient, person=marks[case.name]))
    say_who_is_who(src, [case.image for case in chosen], records)
    return records


def _check_stated(contrast: bool | None, modalities: Collection[Modality]) -> None:
    if contrast is not None and "ct" not in modalities:
        do = "Leave it out: agents in MR are not told apart."
        raise InputError("--contrast", found="images that are all MR", expected="CT", do=do)


def _stated(subject: Path, volume: Volume, contrast: bool | None) -> Volume:
    if volume.modality != "ct":
        return volume
    return replace(volume, contrast=settled_contrast(subject, header=volume.contrast, stated=contrast))


def _usable(subject: Path, volume: Volume, crop: Crop | None, accept_units: bool) -> Volume:
    """The volume with its unit checked, cropped where that is asked for, which needs HU."""
    advice = "Or pass --accept-units: it is then stored with the unit `unknown`."
    volume = with_checked_units(subject, volume, accept=accept_units, advice=advice)
    return volume if crop is None else crop_to_abdomen(volume, subject)


@dataclass(frozen=True)
class _NiftiCase:
    name: str
    image: Path
    patient: str


def _pattern(name: str) -> str:
    return name if "{case}" in name else "{case}/" + name


def _nifti_cases(src: Path, image: str) -> list[tuple[str, Path]]:
    """Case names and their images, in natural order."""
    if not src.is_dir():
        found = "a file" if src.exists() else "no such folder"
        raise InputError(src, found=found, expected="a folder of cases", do="Check the path.")
    pattern = _pattern(image)
    # The first {case} names it; a later one must repeat it.
    expression = re.escape(pattern).replace(re.escape("{case}"), "(?P<case>[^/]+)", 1)
    expression = re.compile(expression.replace(re.escape("{case}"), "(?P=case)"))
    matches = [
        (expression.fullmatch(path.relative_to(src).as_posix()), path)
        for path in src.glob(pattern.replace("{case}", "*"))
    ]
    cases = [(match["case"], path) for match, path in matches if match]
    if not cases:
        inside = listed(sorted(path.name for path in src.iterdir()), 6) or "an empty folder"
        do = "Name the files with --image, for instance --image '{case}_0000.nii.gz'."
        raise InputError(src, found=inside, expected=f"files {pattern}", do=do)
    return sorted(cases, key=lambda case: natural_key(Path(case[0])))


def _check_distinct(src: Path, cases: Sequence[_NiftiCase]) -> None:
    """Two names may become one where letters are replaced: `a b` and `a_b`."""
    folders: dict[str, str] = {}
    for case in cases:
        other = folders.setdefault(case.patient, case.name)
        if other != case.name:
            found = f"cases {other!r} and {case.name!r}, which would both be called {case.patient}"
            do = "Rename one of them, or number the patients with --number-patients."
            raise InputError(src, found=found, expected="one name a patient", do=do)


def _label_files(src: Path, cases: Sequence[_NiftiCase], label: str | None) -> dict[str, Path]:
    """The label file of each case that has one."""
    if label is None:
        return {}
    pattern = _pattern(label)
    # Not str.format: other braces in a name stand for themselves.
    paths = {case.name: src / pattern.replace("{case}", case.name) for case in cases}
    there = {name: path for name, path in paths.items() if path.is_file()}
    if not there and label != LABEL_FILE:
        do = "Name the files with --label, for instance --label '{case}_seg.nii.gz'."
        raise InputError(src, found=f"no file {pattern} for any case", expected="label files of this name", do=do)
    without = [name for name in paths if name not in there]
    if without:
        count = f"{len(without)} of {len(cases)} case{'s' if len(cases) != 1 else ''}"
        logger.warning("%s: %s without a label file %s: %s", src, count, pattern, listed(without, 4))
    return there


def _label_names(src: Path, label: str | None, labels_json: Path | None) -> dict[int, str]:
    path = labels_json or src / "labels.json"
    if label is None or (labels_json is None and not path.is_file()):
        return {}
    return read_label_names(path, Path(label).name.removesuffix(".gz").removesuffix(".nii"))


def _chosen(src: Path, names: Sequence[set[str]], only: Collection[str], exclude: Collection[str]) -> list[int]:
    """Indexes of the cases to take; each case goes by several names."""
    known = set().union(*names)
    for option, given in (("--only", only), ("--exclude", exclude)):
        for one in given:
            if one not in known:
                expected = f"one of {listed(sorted(known, key=lambda text: natural_key(Path(text))))}"
                raise InputError(f"{option} {one}", found="no such case", expected=expected, do="Check the name.")
    keep = [i for i, own in enumerate(names) if (not only or own & set(only)) and not own & set(exclude)]
    if not keep:
        do = "Loosen --only, --exclude or --sequences."
        raise InputError(src, found="no case that is left", expected="at least one", do=do)
    return keep


def _check_new(store: Path, append: bool, patients: Iterable[str]) -> None:
    """Numbers start at 1 in every call: in a store that grows they must not name somebody else again."""
    if not append or not (store / MANIFEST).is_file():
        return
    known = {record.patient for record in Store(store).cases}
    again = sorted(known & set(patients))
    if again:
        found = f"patient {again[0]} already, who may be somebody else"
        raise InputError(store, found=found, expected="new pseudonyms", do="Give another --name.")


def _check_not_again(folder: Path, record: CaseRecord, known: Iterable[CaseRecord]) -> None:
    """A scan that is in the store already, with the same parameters, would count twice."""
    for other in known:
        alike = all(
            getattr(other, name) == getattr(record, name) for name in ("patient", "sha256", "sequence", "acquisition")
        )
        if alike:
            found, expected = f"a scan that is in the store already, as {other.id}", "new scans"
            raise InputError(folder, found=found, expected=expected, do="Leave its folder out.")


def _by_echo(series: Series) -> str | None:
    return None if series.modality == "ct" or series.echo_time is None else f"te{series.echo_time:g}"


def _free(case: str, taken: set[str]) -> str:
    """`case`, or with a number where one patient has several such series."""
    number, name = 1, case
    while name in taken:
        number += 1
        name = f"{case}-{number}"
    taken.add(name)
    return name


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-") or "case"
