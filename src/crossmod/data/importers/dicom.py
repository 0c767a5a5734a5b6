"""DICOM series into a store."""

import itertools
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from crossmod.data.dicom.patients import checked_name, owners
from crossmod.data.dicom.series import check_uniform, list_series, read_series
from crossmod.data.importers.importer import Crop, check_contrast_option, importing, safe_name, with_stated_contrast
from crossmod.data.store import MANIFEST, CaseRecord, Store
from crossmod.errors import InputError
from crossmod.progress import track

logger = logging.getLogger(__name__)


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

    The arguments are those of `crossmod.prepare_dicom`; `contrast` says whether the CT has contrast agent.

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
    check_contrast_option(contrast, {series.modality for series in found})
    # Never the folder's name: a scanner's export is often named after the patient.
    prefix = safe_name(name or "dicom")
    known = Store(store).cases if append and (store / MANIFEST).is_file() else ()
    whose = owners(src, found, prefix=prefix, store=store, known=known, patient=patient, ignore_ids=ignore_ids)
    echoes: dict[str, set[float | None]] = {}
    for series, (pseudonym, _) in zip(found, whose, strict=True):
        if series.modality == "mr":
            echoes.setdefault(pseudonym, set()).add(series.echo_time)
    several = {name for name, times in echoes.items() if len(times) > 1}
    taken = {record.id for record in known}
    with importing(src, store, append=append, crop=crop, accept_units=accept_units) as importer:
        for series, (pseudonym, mark) in track(list(zip(found, whose, strict=True)), "Preparing DICOM"):
            by_echo = series.modality == "mr" and series.echo_time is not None and pseudonym in several
            series_name = sequence or (f"te{series.echo_time:g}" if by_echo else None)
            volume = replace(read_series(series)[0], sequence=series_name)
            volume = with_stated_contrast(series.folder, volume, contrast)
            name = "-".join(part for part in (pseudonym, volume.modality, series_name) if part)
            # One patient may have several such series.
            names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
            case = next(name for name in names if name not in taken)
            taken.add(case)
            record = importer.add(series.folder, case, volume, patient=pseudonym, person=(mark,))
            _check_not_again(series.folder, record, known)
    return importer.records


def _check_not_again(folder: Path, record: CaseRecord, known: Iterable[CaseRecord]) -> None:
    """Refuse a scan that is in the store already, with the same parameters: it would count twice."""
    for other in known:
        alike = all(
            getattr(other, name) == getattr(record, name) for name in ("patient", "sha256", "sequence", "acquisition")
        )
        if alike:
            found, expected = f"a scan that is in the store already, as {other.id}", "new scans"
            raise InputError(folder, found=found, expected=expected, do="Leave its folder out.")
