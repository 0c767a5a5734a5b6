"""The patients of a folder of DICOM files: by PatientID, or by folder if there is none.

- A PatientID is compared as it is hashed: without padding, ignoring case. An anonymiser's placeholder, such as
  ANONYMOUS, is not an id.
- In a store that grows, a patient is recognised by the hash; a new patient gets the next number.
- Without ids each folder is one patient, and folders that look like several people are refused: scans of one kind (two
  CT) in two folders are of two people, unless the headers give both the same study or frame of reference. An id of a
  study given to every folder proves nothing.
"""

import itertools
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossmod.data.dicom.series import Series, check_one_patient
from crossmod.data.patient_identity import Mark, parse_mark
from crossmod.data.patient_key import PatientKey, known_id, patient_key_for
from crossmod.data.same_person import ScanKind
from crossmod.data.store import CASE_NAME, CASE_NAME_LETTERS, CaseRecord, listed
from crossmod.errors import InputError

logger = logging.getLogger(__name__)

# Years of birth that were counted back from ages differ by one.
SAME_YEARS = 1


def checked_name(patient: str) -> str:
    """What `--patient` says, without blanks around it; an `InputError` if it cannot be part of a case name."""
    name = patient.strip()
    if not re.fullmatch(CASE_NAME, name):
        found = repr(patient) if name else "an empty name"
        expected = "letters, digits, '.', '_' and '-', beginning with a letter or digit"
        suggested = CASE_NAME_LETTERS.sub("_", name).lstrip("._-")
        do = f"Give for instance --patient {suggested or 'P1'}."
        raise InputError("--patient", found=found, expected=expected, do=do)
    return name


@dataclass(frozen=True)
class _Scan:
    """A series of an export and its patient: the known PatientID, or empty, and the folder in the export (`.`: it)."""

    series: Series
    id: str
    folder: str

    @property
    def place(self) -> Path:
        """Where it lies: a folder, or a multi-frame file."""
        first = self.series.slices[0]
        return self.series.folder if first.frame is None else first.path

    @property
    def uids(self) -> set[str]:
        """The studies and frames of reference."""
        return {uid for one in self.series.slices for uid in (one.study, one.frame_of_reference) if uid}


def owners(
    src: Path,
    found: Sequence[Series],
    *,
    prefix: str,
    store: Path,
    known: Sequence[CaseRecord] = (),
    patient: str | None = None,
    ignore_ids: bool = False,
) -> list[tuple[str, str]]:
    """The patient of each series: the pseudonym, and the mark (of a name or number without its scope).

    Args:
        src: the folder of the export.
        found: its series.
        prefix: pseudonyms are `<prefix>-p001`, ...
        store: for messages.
        known: the records already in the store.
        patient: the pseudonym, if all series are of one patient.
        ignore_ids: take each folder in `src` for a patient, whatever the ids say.

    Raises:
        InputError: slices of several patients in one series; a pseudonym that someone else has; series that cannot be
            matched with the patients of the store; series without ids of several people in one folder.
    """
    scans = []
    for series in found:
        if not ignore_ids:
            check_one_patient(series)
        own = "" if ignore_ids else known_id(series.slices[0].patient)
        scans.append(_Scan(series, own, "/".join(series.folder.relative_to(src).parts[:1]) or "."))
    key = patient_key_for(store) if any(scan.id for scan in scans) else None
    if key is not None:
        logger.info("PatientIDs become hashes under the patient key %s.", key.path)
    if patient is None:
        _check_one_patient_a_folder(src, [scan for scan in scans if not scan.id], ignored=ignore_ids)
        _warn_of_missing_ids(src, scans, ignored=ignore_ids)
    _report_shared_ids(src, scans, named=patient is not None)
    if patient is not None:
        return [(patient, _mark_of_one(src, {scan.id for scan in scans} - {""}, patient, key, store, known))] * len(
            scans
        )
    return _numbered(scans, prefix, key, store, known)


def _mark_of_one(
    src: Path, ids: set[str], patient: str, key: PatientKey | None, store: Path, known: Sequence[CaseRecord]
) -> str:
    """The mark of the only patient, by the name that the user gave."""
    if len(ids) > 1:
        found, do = (
            f"series of {len(ids)} PatientIDs for --patient {patient}",
            "Leave out --patient, or give one patient's folder.",
        )
        raise InputError(src, found=found, expected="one patient", do=do)
    if key is None or not ids:
        return str(Mark("name", "", patient))
    mark = key.mark(ids.pop())
    own = (parse_mark(text) for one in known if one.patient == patient for text in one.person)
    if any(other.domain == mark.domain and other != mark for other in own):
        found = f"patient {patient} already, whose PatientID is another one"
        raise InputError(store, found=found, expected="one person per name", do="Give another --patient.")
    others = sorted({one.patient for one in known if str(mark) in one.person} - {patient})
    if others:
        found = f"this patient already, by the name {others[0]}"
        do = f"Give --patient {others[0]}. If one PatientID was given to several people: --ignore-ids, too."
        raise InputError(store, found=found, expected="one name per person", do=do)
    return str(mark)


def _numbered(
    scans: Sequence[_Scan], prefix: str, key: PatientKey | None, store: Path, known: Sequence[CaseRecord]
) -> list[tuple[str, str]]:
    matches = {one.patient: re.fullmatch(rf"{re.escape(prefix)}-p(\d+)", one.patient) for one in known}
    numbers = {name: int(match[1]) for name, match in matches.items() if match}
    numbered = [one for one in known if one.patient in numbers]
    _check_recognisable(numbered, key, any(not scan.id for scan in scans), store)
    names = {text: one.patient for one in known for text in one.person if text.startswith("id:")}
    again: dict[str, None] = {}
    last = max(numbers.values(), default=0)
    result = []
    for scan in scans:
        mark = str(key.mark(scan.id)) if key and scan.id else f"folder/{scan.folder}"
        if mark not in names:
            last += 1
            names[mark] = f"{prefix}-p{last:03d}"
        elif names[mark] in matches:
            again[names[mark]] = None
        number = str(Mark("number", "", names[mark].rpartition("-")[2]))
        result.append((names[mark], mark if scan.id else number))
    if again:
        logger.info("%s: found again by their PatientID: %s", store, listed(again, 8))
    return result


def _check_recognisable(known: Sequence[CaseRecord], key: PatientKey | None, without_id: bool, store: Path) -> None:
    """Numbers of an earlier call must be the same people's again, which only hashes under one key can show."""
    for one in known:
        marks = [parse_mark(text) for text in one.person]
        if key is not None and not without_id and any(mark.domain == f"id:{key.fingerprint}" for mark in marks):
            continue
        found = f"patient {one.patient} already, who may be in the new series, too"
        if without_id or any(mark.kind == "number" for mark in marks):
            do = (
                "Series without PatientID cannot be matched. Give one patient's folder at a time, with --patient and "
                "the pseudonym; or prepare all series in one call, of a folder with one folder per patient; or give "
                "another --name if they are other people."
            )
        elif marks:
            do = "Its PatientIDs were hashed under another patient key: set CROSSMOD_PATIENT_KEY to that key's file."
        else:
            do = "Its patients have no hash of their PatientID, since an earlier version wrote it: prepare it again."
        raise InputError(store, found=found, expected="series that can be matched with it", do=do)


def _by_folder(scans: Iterable[_Scan]) -> dict[str, list[_Scan]]:
    found: dict[str, list[_Scan]] = defaultdict(list)
    for scan in scans:
        found[scan.folder].append(scan)
    return found


def _like_two_people(scans: Iterable[_Scan], *, without: Collection[str] = ()) -> tuple[_Scan, _Scan] | None:
    """Two scans of one kind in two places with neither a study nor a frame of reference (but for `without`) in
    common."""
    for one, two in itertools.combinations(scans, 2):
        first, second = (ScanKind(scan.series.modality, scan.series.echo_time) for scan in (one, two))
        if one.place != two.place and first.may_be(second) and not (one.uids & two.uids) - set(without):
            return one, two
    return None


def _check_one_patient_a_folder(src: Path, without_id: Sequence[_Scan], *, ignored: bool) -> None:
    """Refuse a folder that would become one patient and looks like several, such as `CT` with `CT/p0` and `CT/p1`."""
    inside = _by_folder(without_id)
    uses = Counter(uid for several in inside.values() for uid in set().union(*(scan.uids for scan in several)))
    everywhere = {uid for uid, count in uses.items() if count > 1}
    for several in inside.values():
        pair = _like_two_people(several, without=everywhere)
        if pair is not None:
            places = " and ".join(scan.place.relative_to(src).as_posix() for scan in pair)
            ids = "ids are ignored" if ignored else "no PatientID says whose they are"
            found = f"several series of one kind ({pair[0].series.modality.upper()}) in one folder: {places}; {ids}"
            do = (
                "Give SRC with one folder per patient. Or prepare each patient's folders one by one, with"
                f"{' --ignore-ids' if ignored else ''} --patient NAME --append and the same NAME for all scans of a "
                "person."
            )
            raise InputError(src, found=found, expected="one patient in each folder of SRC", do=do)


def _warn_of_missing_ids(src: Path, scans: Sequence[_Scan], *, ignored: bool) -> None:
    without = [scan for scan in scans if not scan.id]
    if without and ignored:
        logger.info("%s: PatientIDs are ignored: each folder in it is taken as a patient", src)
    elif without:
        placeholder = any(scan.series.slices[0].patient for scan in without)
        what = "the same placeholder as patient id" if placeholder else "no patient id"
        logger.warning("%s: series without a patient id (%s): each folder in it is taken as a patient", src, what)


def _report_shared_ids(src: Path, scans: Sequence[_Scan], *, named: bool) -> None:
    """Say which folders are one patient, and warn where one id may be several people's."""
    by_id: dict[str, list[_Scan]] = defaultdict(list)
    for scan in scans:
        by_id[scan.id].append(scan)
    without = by_id.pop("", [])
    for several in by_id.values():
        folders = _by_folder(several)
        names = listed(folders, 6)
        advice = "If they are several people, prepare them with --ignore-ids, which takes each folder for a patient."
        if any(_like_two_people(inside) for inside in folders.values()):
            one_by_one = "one by one, with --ignore-ids --patient NAME --append"
            advice = f"If they are several people, prepare each patient's folders {one_by_one}."
        first = [scan.series.slices[0] for scan in several]
        years = [header.born for header in first if header.born is not None]
        apart = bool(years) and max(years) - min(years) > SAME_YEARS
        if apart or len({header.sex for header in first} & {"M", "F"}) > 1:
            logger.warning("%s: one PatientID, but patients of different sex or year of birth, in %s. %s",
                           src, names, advice)  # fmt: skip
        elif len(by_id) == 1 and not named and _like_two_people(several):
            whom = "all that have one" if without else "everybody"
            if len(folders) == 1:
                names = listed([str(scan.series.folder.relative_to(src)) for scan in several], 6)
            logger.warning("%s: one PatientID for %s: %s are taken as one patient. %s", src, whom, names, advice)
        elif len(folders) > 1:
            logger.info("%s: one patient, by PatientID: %s", src, names)
