"""NIfTI files into a store."""

import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossmod.config import Modality
from crossmod.data.importers.importer import (
    Crop,
    check_contrast_option,
    choose_cases,
    importing,
    phantom_mark,
    phantom_record,
    safe_name,
    with_stated_contrast,
)
from crossmod.data.labels import read_label_names
from crossmod.data.nifti import read_nifti
from crossmod.data.patient_identity import NUMBER, Mark
from crossmod.data.store import MANIFEST, CaseRecord, Store, listed
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

    The arguments are those of `crossmod.prepare_nifti`; without `label` no labels are read, and `contrast` says whether
    the CT has contrast agent. Cases may lack a label file, but a name other than the default must exist once.

    Raises:
        InputError: nothing to take, two folders that would become one patient, no label file of the given name, or a
        file that cannot be used, named.
    """
    check_contrast_option(contrast, {modality})
    prefix = safe_name(name or src.resolve().name)
    cases = [
        _NiftiCase(case, path, f"{prefix}-{f'p{number:03d}' if number_patients else safe_name(case)}")
        for number, (case, path) in enumerate(_nifti_cases(src, image), 1)
    ]
    keep = choose_cases(src, [{case.name, case.patient} for case in cases], only, exclude)
    chosen = [cases[index] for index in keep]
    known = Store(store).cases if number_patients and append and (store / MANIFEST).is_file() else ()
    _check_patients(src, chosen, known, store)
    label_files = _label_files(src, chosen, label)
    path = labels_json or src / "labels.json"
    names: dict[int, str] = {}
    if label is not None and (labels_json is not None or path.is_file()):
        names = read_label_names(path, Path(label).name.removesuffix(".gz").removesuffix(".nii"))
    people = phantom_record(src.resolve().parent) if src.resolve().name == modality else None
    with importing(src, store, append=append, crop=crop, accept_units=accept_units) as importer:
        for case in track(chosen, "Preparing NIfTI"):
            volume = read_nifti(
                case.image,
                modality=modality,
                label=label_files.get(case.name),
                label_names=names,
                sequence=sequence,
                orientation=orientation,
            )
            volume = with_stated_contrast(case.image, volume, contrast)
            bare = case.patient.removeprefix(f"{prefix}-")
            kind = "number" if NUMBER.fullmatch(bare) and bare != case.name else "name"
            # A phantom names its people.
            person = phantom_mark(people, modality, case.name) if people else (str(Mark(kind, "", bare)),)
            case_id = f"{case.patient}-{sequence}" if sequence else case.patient
            importer.add(case.image, case_id, volume, patient=case.patient, person=person)
    return importer.records


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


def _check_patients(src: Path, cases: Sequence[_NiftiCase], known: Sequence[CaseRecord], store: Path) -> None:
    """Refuse one name for two people: `a b` and `a_b`, or a number that the store (`known`) has given already."""
    names: dict[str, str] = {}
    for case in cases:
        other = names.setdefault(case.patient, case.name)
        if other != case.name:
            found = f"cases {other!r} and {case.name!r}, which would both be called {case.patient}"
            do = "Rename one of them, or number the patients with --number-patients."
            raise InputError(src, found=found, expected="one name per patient", do=do)
    # Numbers start at 1 in every call.
    again = sorted({record.patient for record in known} & set(names))
    if again:
        found = f"patient {again[0]} already, who may be someone else"
        raise InputError(store, found=found, expected="new pseudonyms", do="Give another --name.")


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
