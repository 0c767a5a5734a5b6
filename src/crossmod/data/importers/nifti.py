"""NIfTI files into a store."""

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossmod.config import Modality
from crossmod.data.importers.common import (
    Crop,
    check_contrast_option,
    checked_and_cropped,
    choose_cases,
    phantom_mark,
    phantom_record,
    safe_name,
    say_who_is_who,
    with_stated_contrast,
)
from crossmod.data.labels import read_label_names
from crossmod.data.nifti import read_nifti
from crossmod.data.patient_identity import NUMBER, Mark
from crossmod.data.store import MANIFEST, CaseRecord, Store, listed
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.files import natural_key
from crossmod.progress import track

logger = logging.getLogger(__name__)

LABEL_FILE = "label.nii.gz"


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
        append: whether an existing store may grow.
        image: the file in each case's folder, or a pattern such as `{case}_0000.nii.gz`.
        label: the same for labels; None: no labels are read. Cases may lack the file, but a name other than the default
            must exist for at least one case.
        labels_json: names of the labels; default: `labels.json` in `src`.
        sequence: the MR sequence or CT phase; becomes part of the case's name.
        name: patients are `<name>-<case>`; default: the name of `src`.
        number_patients: call cases p001, p002, ... if their names could identify someone.
        orientation: the axes' directions, such as `RAS`, for files that do not say.
        only: take only these cases (or patients).
        exclude: leave these out.
        contrast: whether the CT has contrast agent; NIfTI files do not say.
        crop: `abdomen` crops longer CT, see `crossmod.data.crop_abdomen`.
        accept_units: also take values that cannot be HU (CT) or signal (MR), with the unit `unknown`.

    Raises:
        InputError: nothing to take, two folders that would become one patient, no label file of the given name, or a
        file that cannot be used.

    Raises:
        InputError: nothing to take, two folders that would become one patient, no label file of the name that was
            given, or a file that cannot be used, named.
    """
    check_contrast_option(contrast, {modality})
    found = _nifti_cases(src, image)
    prefix = safe_name(name or src.resolve().name)
    patients = [
        f"{prefix}-{f'p{i:03d}' if number_patients else safe_name(case)}" for i, (case, _) in enumerate(found, 1)
    ]
    cases = [_NiftiCase(case, path, patient) for (case, path), patient in zip(found, patients, strict=True)]
    keep = choose_cases(src, [{case.name, case.patient} for case in cases], only, exclude)
    chosen = [cases[index] for index in keep]
    _check_distinct(src, chosen)
    if number_patients:
        _check_new(store, append, (case.patient for case in chosen))
    label_files = _label_files(src, chosen, label)
    names = _label_names(src, label, labels_json)
    marks = _marks(src, modality, {case.name: case.patient.removeprefix(f"{prefix}-") for case in chosen})
    with writing_store(store, append=append) as writer:
        records = []
        for case in track(chosen, "Preparing NIfTI"):
            volume = read_nifti(
                case.image,
                modality=modality,
                label=label_files.get(case.name),
                label_names=names,
                sequence=sequence,
                orientation=orientation,
            )
            volume = checked_and_cropped(
                case.image, with_stated_contrast(case.image, volume, contrast), crop, accept_units
            )
            case_id = f"{case.patient}-{sequence}" if sequence else case.patient
            records.append(writer.add(case_id, volume, patient=case.patient, person=marks[case.name]))
    say_who_is_who(src, [case.image for case in chosen], records)
    return records


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
            raise InputError(src, found=found, expected="one name per patient", do=do)


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


def _check_new(store: Path, append: bool, patients: Iterable[str]) -> None:
    """Numbers start at 1 in every call: in a store that grows they must not be given to someone else."""
    if not append or not (store / MANIFEST).is_file():
        return
    known = {record.patient for record in Store(store).cases}
    again = sorted(known & set(patients))
    if again:
        found = f"patient {again[0]} already, who may be someone else"
        raise InputError(store, found=found, expected="new pseudonyms", do="Give another --name.")


def _marks(src: Path, modality: Modality, names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The marks of each case, by its name without the store's prefix or by its number; a phantom names its people."""
    people = phantom_record(src.resolve().parent)
    if people is not None and src.resolve().name == modality:
        return {case: phantom_mark(people, modality, case) for case in names}
    return {
        case: (str(Mark("number" if NUMBER.fullmatch(name) and name != case else "name", "", name)),)
        for case, name in names.items()
    }
