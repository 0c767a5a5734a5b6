"""What the importers of CHAOS, DICOM and NIfTI share.

Notable:
- A store holds pseudonyms: of a DICOM PatientID a keyed hash; folder names of NIfTI data become pseudonyms, unless
  numbering is requested.
- A failure leaves no half-written store.
"""

import logging
import re
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypedDict, cast

from crossmod.config import Modality
from crossmod.data.contrast_agent import settled_contrast
from crossmod.data.crop_abdomen import crop_to_abdomen
from crossmod.data.patient_identity import Mark
from crossmod.data.store import CaseRecord, listed
from crossmod.data.store_writer import StoreWriter, writing_store
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


class Importer:
    """Adds the volumes of one call of `prepare` to a store; made by `importing`, which has the arguments."""

    def __init__(self, writer: StoreWriter, crop: Crop | None, accept_units: bool):
        self.writer, self.crop, self.accept_units = writer, crop, accept_units
        self.sources: list[Path] = []
        self.records: list[CaseRecord] = []

    def add(self, source: Path, case: str, volume: Volume, *, patient: str, person: tuple[str, ...]) -> CaseRecord:
        """Check the unit of a volume, crop it if requested, which needs HU, and write it; `source` is its file."""
        advice = "Or pass --accept-units: it is then stored with the unit `unknown`."
        volume = with_checked_units(source, volume, accept=self.accept_units, advice=advice)
        volume = volume if self.crop is None else crop_to_abdomen(volume, source)
        self.records.append(self.writer.add(case, volume, patient=patient, person=person))
        self.sources.append(source)
        return self.records[-1]


@contextmanager
def importing(
    src: Path, store: Path, *, append: bool, crop: Crop | None, accept_units: bool
) -> Generator[Importer, None, None]:
    """A store to add volumes to. When it is written, what became of the files in `src` is printed."""
    with writing_store(store, append=append) as writer:
        importer = Importer(writer, crop, accept_units)
        yield importer
    _print_patients(src, importer.sources, importer.records)


def with_stated_contrast(source: Path, volume: Volume, stated: bool | None) -> Volume:
    """A CT with what its header and the user say of contrast agent; MR as it is."""
    if volume.modality != "ct":
        return volume
    return replace(volume, contrast=settled_contrast(source, header=volume.contrast, stated=stated))


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
    """The mark of a phantom's patient; a folder that was added to the phantom by hand is known by its name."""
    for case in record["cases"]:
        if (case["modality"], str(case["id"])) == (modality, number):
            return (str(Mark("set", f"phantom/seed {record['settings']['seed']}", str(case["person"]))),)
    return (str(Mark("name", "", number)),)


def _print_patients(src: Path, sources: Sequence[Path], records: Sequence[CaseRecord]) -> None:
    """Print which file became which case of which patient. It goes to the terminal alone, since the names of folders
    are often those of people."""
    inside = (source.relative_to(src) if source.is_relative_to(src) else source for source in sources)
    rows = [("from", "case", "patient")]
    rows += [(str(path), record.id, record.patient) for path, record in zip(inside, records, strict=True)]
    shown, more = rows[: MOST_ROWS + 1], len(rows) - 1 - MOST_ROWS
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in shown]
    if more > 0:
        lines.append(f"... and {more} more cases")
    logger.info("%s", "\n".join(lines))
