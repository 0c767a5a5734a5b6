"""What the importers of CHAOS, DICOM and NIfTI share.

Notable:
- A store holds pseudonyms: of a DICOM PatientID a keyed hash; folder names of NIfTI data become pseudonyms, unless
  numbering is requested.
- A failure leaves no half-written store.
"""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypedDict, cast

from crossmod.config import Modality
from crossmod.data.contrast_agent import settled_contrast
from crossmod.data.crop_abdomen import crop_to_abdomen
from crossmod.data.patient_identity import Mark
from crossmod.data.store import CaseRecord, listed
from crossmod.data.units import with_checked_units
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.files import natural_key, read_json

logger = logging.getLogger(__name__)

PHANTOM = "phantom.json"
# Rows of the table; `crossmod info` shows all cases.
MOST_ROWS = 60

Crop = Literal["abdomen"]


def check_contrast_option(contrast: bool | None, modalities: Collection[Modality]) -> None:
    """Refuse `--contrast` where no image is CT."""
    if contrast is not None and "ct" not in modalities:
        do = "Leave it out: agents in MR are not distinguished."
        raise InputError("--contrast", found="images that are all MR", expected="CT", do=do)


def with_stated_contrast(subject: Path, volume: Volume, contrast: bool | None) -> Volume:
    """A CT with what its header and the user say of contrast agent; MR as it is."""
    if volume.modality != "ct":
        return volume
    return replace(volume, contrast=settled_contrast(subject, header=volume.contrast, stated=contrast))


def checked_and_cropped(subject: Path, volume: Volume, crop: Crop | None, accept_units: bool) -> Volume:
    """The volume with its unit checked, cropped where that is asked for, which needs HU."""
    advice = "Or pass --accept-units: it is then stored with the unit `unknown`."
    volume = with_checked_units(subject, volume, accept=accept_units, advice=advice)
    return volume if crop is None else crop_to_abdomen(volume, subject)


def choose_cases(src: Path, names: Sequence[set[str]], only: Collection[str], exclude: Collection[str]) -> list[int]:
    """Indexes of the cases to take; each case goes by several names."""
    known = set().union(*names)
    for option, names_given in (("--only", only), ("--exclude", exclude)):
        for name in names_given:
            if name not in known:
                expected = f"one of {listed(sorted(known, key=lambda text: natural_key(Path(text))))}"
                raise InputError(f"{option} {name}", found="no such case", expected=expected, do="Check the name.")
    keep = [i for i, own in enumerate(names) if (not only or own & set(only)) and not own & set(exclude)]
    if not keep:
        do = "Loosen --only, --exclude or --sequences."
        raise InputError(src, found="no case that is left", expected="at least one", do=do)
    return keep


def safe_name(text: str) -> str:
    """`text` as part of a case name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-") or "case"


class PhantomCase(TypedDict):
    """A case of `phantom.json`: equal persons of one seed are the same made-up person."""

    modality: str
    id: int
    person: int


class PhantomRecord(TypedDict):
    """What importers read of `phantom.json`."""

    settings: Mapping[str, object]
    cases: list[PhantomCase]


def phantom_record(folder: Path) -> PhantomRecord | None:
    """What `phantom.json` in a folder says, if there is one."""
    path = folder / PHANTOM
    content = read_json(path) if path.is_file() else None
    return cast(PhantomRecord, content) if isinstance(content, dict) and content.get("phantom") is True else None


def phantom_mark(record: PhantomRecord, modality: Modality, number: str) -> tuple[str, ...]:
    """The mark of a phantom's patient: equal seeds and numbers are the same made-up person."""
    scope = f"phantom/seed {record['settings']['seed']}"
    person = next(
        (case["person"] for case in record["cases"] if (case["modality"], str(case["id"])) == (modality, number)), None
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
