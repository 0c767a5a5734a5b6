"""By what the patients of files without PatientIDs are recognised, and the table that `prepare` prints."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossmod.config import Modality
from crossmod.data.dicom.series import list_series
from crossmod.data.importers.chaos import ChaosCase
from crossmod.data.patient_identity import NUMBER, Mark
from crossmod.data.patient_key import known_id, patient_key_for
from crossmod.data.store import CaseRecord
from crossmod.files import read_json

logger = logging.getLogger(__name__)

PHANTOM = "phantom.json"
# Rows of the table; `crossmod info` shows all cases.
MOST_ROWS = 60


def chaos_marks(src: Path, cases: Sequence[ChaosCase], store: Path, *, chaos: bool) -> dict[str, tuple[str, ...]]:
    """Marks of the patients of CHAOS, or of another set in its layout.

    CHAOS says who is who: its CT patient 1 and its MR patient 1 are different people. A phantom says it in its
    `phantom.json`. Of another set, PatientIDs are hashed; without them, numbers are case names, and commands ask
    whether CT 1 and MR 1 are one person.

    Args:
        src: the folder of the set.
        cases: what is taken of it.
        store: where it goes.
        chaos: whether it is CHAOS itself.
    """
    people = _phantom_people(src)
    found: dict[str, tuple[str, ...]] = {}
    for case in cases:
        if case.patient in found:
            continue
        if people is not None:
            found[case.patient] = _of_phantom(people, case.modality, case.number)
        elif chaos:
            found[case.patient] = (str(Mark("set", "chaos", f"{case.modality}-{case.number}")),)
        else:
            found[case.patient] = (_by_id(case, store) or str(Mark("name", "", case.number)),)
    return found


def nifti_marks(src: Path, modality: Modality, names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Marks of NIfTI cases: their names, which the user gave; a phantom says who is who.

    Args:
        src: the folder of the cases.
        modality: of all of them.
        names: by case, its name without the store's prefix, or its number.
    """
    people = _phantom_people(src.resolve().parent)
    if people is not None and src.resolve().name == modality:
        return {case: _of_phantom(people, modality, case) for case in names}
    return {
        case: (str(Mark("number" if NUMBER.fullmatch(name) and name != case else "name", "", name)),)
        for case, name in names.items()
    }


def _by_id(case: ChaosCase, store: Path) -> str | None:
    ids = {series.slices[0].patient for series in list_series(case.folder / "DICOM_anon")}
    own = known_id(next(iter(ids))) if len(ids) == 1 else ""
    if not own:
        return None
    key = patient_key_for(store)
    return str(Mark("id", key.fingerprint, key.hash(own)))


def _phantom_people(folder: Path) -> dict[str, Any] | None:
    path = folder / PHANTOM
    content = read_json(path) if path.is_file() else None
    return content if isinstance(content, dict) and content.get("phantom") is True else None


def _of_phantom(record: Mapping[str, Any], modality: Modality, number: str) -> tuple[str, ...]:
    """The mark of a phantom's patient: equal seeds and numbers are the same made-up person."""
    scope = f"phantom/seed {record['settings']['seed']}"
    person = next(
        (one["person"] for one in record["cases"] if (one["modality"], str(one["id"])) == (modality, number)), None
    )
    # A folder that was added to the phantom by hand.
    return (str(Mark("set", scope, str(person))) if person is not None else str(Mark("name", "", number)),)


def say_who_is_who(src: Path, sources: Sequence[Path], records: Sequence[CaseRecord]) -> None:
    """Print which folder or file became which case of which patient. It goes to the terminal alone, since the names of
    folders are often those of people."""
    rows = [("from", "case", "patient")]
    for source, record in zip(sources, records, strict=True):
        inside = source.relative_to(src) if source.is_relative_to(src) else source
        rows.append((str(inside), record.id, record.patient))
    more = len(rows) - 1 - MOST_ROWS
    rows = rows[: MOST_ROWS + 1]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if more > 0:
        lines.append(f"... and {more} more cases")
    logger.info("%s", "\n".join(lines))
