"""A survey's folder: how it is made and opened."""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.engine import URL

from crossmod.config import build
from crossmod.data.store import Store
from crossmod.errors import InputError
from crossmod.files import atomic_folder, require_empty
from crossmod.progress import track
from crossmod.reader.design import Design
from crossmod.reader.images import Look, encoded, levels_of, picture, value_range
from crossmod.reader.repository import ReaderRepository
from crossmod.reader.sampling import StudySample, candidates, choose
from crossmod.reader.schema import AnswerRejected, NotSaved, Scan
from crossmod.seeds import rng

IMAGES, DATABASE = "images", "survey.sqlite"


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite file, whose name may have characters with a meaning in URLs."""
    return URL.create("sqlite", database=str(file.absolute())).render_as_string()


@contextmanager
def opened(folder: Path, database: str | None = None) -> Iterator[tuple[ReaderRepository, int]]:
    """A survey's database, and the survey's number in it: the only one, or the one with the folder's name.

    Raises:
        InputError: no survey, a database that does not answer, or a step that it refuses.
    """
    if not (folder / IMAGES).is_dir():
        found = "no such folder" if not folder.exists() else f"no {IMAGES} folder in it"
        raise InputError(folder, found=found, expected="a survey", do="Make one with `crossmod reader create`.")
    if database is None and not (folder / DATABASE).is_file():
        do = "Give the database that it was created with as --database."
        raise InputError(folder, found=f"no {DATABASE} in it", expected="a survey's database", do=do)
    with _connected(database or sqlite_url(folder / DATABASE)) as study:
        surveys, name = study.surveys(), folder.absolute().name
        if name not in surveys and len(surveys) != 1:
            found = f"surveys {', '.join(sorted(surveys))}" if surveys else "no survey"
            do = "Restore the folder's old name, or give another --database."
            raise InputError("database", found=found, expected=f"one named {name!r}", do=do)
        yield study, surveys.get(name) or next(iter(surveys.values()))


@contextmanager
def _connected(url: str) -> Iterator[ReaderRepository]:
    """A database with its tables brought up to date; its refusals become errors for the command line."""
    try:
        study = ReaderRepository.made(url)
        try:
            yield study
        finally:
            study.dispose()
    except AnswerRejected as refused:
        advice = {"taken": "Choose another name.", "closed": "Make a new survey.", "open": "Close it first."}
        do = advice.get(refused.why, "Change it.")
        raise InputError("survey", found=str(refused), expected="a step that the survey accepts", do=do) from None
    except NotSaved as error:
        do = "Check that it runs, that the disk has space, and that no program locks it; then try again."
        raise InputError("database", found=f"no answer ({error})", expected="a database of a survey", do=do) from error


log = logging.getLogger(__name__)

# The share of the window by which synthetic scans may miss its ends.
MARGIN = 0.1
# Modification time of every image, seconds since 1970: 1 January 2000.
ONE_TIME = 946_684_800


@dataclass(frozen=True)
class Created:
    """A survey that was made; `owner`: the owner's token, stored nowhere; `patients`: of real and synthetic scans."""

    design: Design
    survey: int
    owner: str
    patients: tuple[int, int]


def create_survey(
    out: Path,
    real: Sequence[Path],
    synthetic: Sequence[Path],
    *,
    source: Sequence[Path] = (),
    database: str | None = None,
    design: Mapping[str, Any] | None = None,
) -> Created:
    """Make a survey's folder; the arguments are those of `crossmod.create_survey`, and `design` fields of `Design`."""
    out = out.absolute()
    require_empty(out)
    # Settings are checked before stores are read, which may take minutes.
    checked = build(Design, {"modality": "ct", **(design or {}), "name": out.name}, subject="")
    sides = candidates(real, synthetic, source)
    complete = checked.model_copy(update={"modality": sides.modality})
    scans, look = choose(sides, complete)
    _warn_of_window(scans, complete)
    with atomic_folder(out) as folder:
        rows = _write(folder / IMAGES, scans, look, complete)
        with _connected(database or sqlite_url(folder / DATABASE)) as study:
            survey, owner = study.add(complete, rows)
        if database is None:
            # Readable by the owner only, since it holds the key. SQLite gives its other files the same permissions.
            (folder / DATABASE).chmod(0o600)
    real_patients, others = (
        len({scan.case.record.patient for scan in scans if scan.case.synthetic is side}) for side in (False, True)
    )
    return Created(complete, survey, owner, (real_patients, others))


def _write(folder: Path, scans: Sequence[StudySample], look: Look, design: Design) -> list[Scan]:
    """Write the images in the order of their random names, so that the order of writing reveals nothing."""
    folder.mkdir()
    rows = []
    for scan in track(sorted(scans, key=lambda scan: scan.id), "Writing images"):
        content = _image(scan, look, design)
        path = folder / f"{scan.id}.nii"
        path.write_bytes(content)
        os.utime(path, (ONE_TIME, ONE_TIME))
        record = scan.case.record
        rows.append(
            Scan(
                id=scan.id,
                survey_id=0,  # known when the survey is added
                synthetic=scan.case.synthetic,
                layer=scan.layer,
                patient=record.patient,
                store=scan.case.placed.store.path.name,
                case=record.id,
                slice=scan.slices[0] if design.unit == "slice" else None,
                repeats=scan.repeats,
                sha256=hashlib.sha256(content).hexdigest(),
            )
        )
    return rows


def _image(scan: StudySample, look: Look, design: Design) -> bytes:
    record = scan.case.record
    voxels = _voxels(scan.case.placed.store, record.id)
    inside = voxels[scan.case.inside(design.layers)]
    cut = value_range(inside, design)
    if cut[0] >= cut[1]:
        found, expected = f"the value {cut[0]:g} at both percentiles {design.percentiles}", "contrast"
        raise InputError(record.id, found=found, expected=expected, do="Leave the case out.")
    generator = rng(design.seed, "values", record.id, *scan.slices)
    mm = (record.spacing[1], record.spacing[2])
    levels, offset = levels_of(inside), scan.case.offset
    shown = picture(voxels[list(scan.slices)], mm, levels, cut, look, design, generator, offset)
    return encoded(shown, look, design)


def _warn_of_window(scans: Sequence[StudySample], design: Design) -> None:
    """Synthetic CT that was clipped at other values than the survey's is recognised by its extreme values."""
    if design.modality != "ct":
        return
    synthetic = [scan for scan in scans if scan.case.synthetic]
    shown = [_voxels(scan.case.placed.store, scan.case.record.id)[list(scan.slices)] for scan in synthetic]
    low, high = float(min(voxels.min() for voxels in shown)), float(max(voxels.max() for voxels in shown))
    margin = MARGIN * (design.window[1] - design.window[0])
    if low > design.window[0] + margin or high < design.window[1] - margin:
        log.warning(
            "The synthetic scans reach from %.0f to %.0f HU, and are shown from %.0f to %.0f: readers may recognise "
            "them by that. See --window.", low, high, *design.window,
        )  # fmt: skip


def _voxels(store: Store, case: str) -> np.ndarray:
    # The checksum was verified when the case was placed.
    return store.tensors(case, ["image"])["image"]
