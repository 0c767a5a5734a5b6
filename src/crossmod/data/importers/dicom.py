"""DICOM series into a store."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from crossmod.data.dicom.choose_series import Series
from crossmod.data.dicom.patients import checked_name, owners
from crossmod.data.dicom.series import check_uniform, list_series, read_series
from crossmod.data.importers.common import (
    Crop,
    check_contrast_option,
    checked_and_cropped,
    safe_name,
    say_who_is_who,
    with_stated_contrast,
)
from crossmod.data.store import MANIFEST, CaseRecord, Store
from crossmod.data.store_writer import writing_store
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

    Args:
        src: a folder of DICOM folders, one series per folder (or several, of different modality or echo time).
        store: the new store.
        append: whether an existing store may grow.
        patient: the pseudonym, if all series are of one patient.
        name: pseudonyms are `<name>-p001`, ...; default: `dicom`.
        sequence: name of the series in the store, such as `t2_spir`; without it, MR series of several echo times of one
            patient are named by them: `te4.6`, `te80`.
        contrast: whether the CT has contrast agent; default: as the headers say.
        crop: `abdomen` crops longer CT, see `crossmod.data.crop_abdomen`.
        accept_units: also take values that cannot be HU (CT) or signal (MR), with the unit `unknown`.
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
    with writing_store(store, append=append) as writer:
        records = []
        for series, (pseudonym, mark) in track(list(zip(found, whose, strict=True)), "Preparing DICOM"):
            series_name = sequence or (_by_echo(series) if pseudonym in several else None)
            volume = with_stated_contrast(
                series.folder, replace(read_series(series)[0], sequence=series_name), contrast
            )
            volume = checked_and_cropped(series.folder, volume, crop, accept_units)
            case = _free("-".join(part for part in (pseudonym, volume.modality, series_name) if part), taken)
            records.append(writer.add(case, volume, patient=pseudonym, person=(mark,)))
            _check_not_again(series.folder, records[-1], known)
    say_who_is_who(src, [series.folder for series in found], records)
    return records


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
