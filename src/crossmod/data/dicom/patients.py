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

from crossmod.data.dicom.choose_series import Series
from crossmod.data.dicom.series import check_one_patient
from crossmod.data.patient_identity import Mark, known_values, parse_mark
from crossmod.data.patient_key import PatientKey, known_id, patient_key_for
from crossmod.data.same_person import ScanKind, same_kind
from crossmod.data.store import CASE_NAME, CASE_NAME_LETTERS, CaseRecord, listed
from crossmod.errors import InputError


def top_folder(src: Path, series: Series) -> str:
    """The folder in `src` that a series lies in; `.` for `src` itself."""
    return "/".join(series.folder.relative_to(src).parts[:1]) or "."


def check_one_patient_a_folder(src: Path, without_id: Sequence[Series], *, ignored: bool) -> None:
    """Refuse a folder that would become one patient and looks like several.

    Args:
        src: the folder of the export.
        without_id: its series without a known PatientID.
        ignored: whether the ids were ignored.

    Raises:
        InputError: there is one, such as `CT` with `CT/p0` and `CT/p1`.
    """
    inside: dict[str, list[Series]] = {}
    for series in without_id:
        inside.setdefault(top_folder(src, series), []).append(series)
    uses = Counter(uid for several in inside.values() for uid in set().union(*map(_uids, several)))
    everywhere = {uid for uid, count in uses.items() if count > 1}
    for several in inside.values():
        pair = like_two_people(several, without=everywhere)
        if pair is not None:
            places = " and ".join(_file(series).relative_to(src).as_posix() for series in pair)
            ids = "ids are ignored" if ignored else "no PatientID says whose they are"
            kind = pair[0].modality.upper()
            found = f"several series of one kind ({kind}) in one folder: {places}; {ids}"
            also = " --ignore-ids" if ignored else ""
            do = (
                "Give SRC with one folder per patient. Or prepare each patient's folders one by one, with"
                f"{also} --patient NAME --append and the same NAME for all scans of a person."
            )
            raise InputError(src, found=found, expected="one patient in each folder of SRC", do=do)


def like_two_people(found: Iterable[Series], *, without: Collection[str] = ()) -> tuple[Series, Series] | None:
    """Two series of one kind in two places that have neither study nor frame of reference in common.

    UIDs in `without` (of studies and frames) prove nothing.
    """
    for one, two in itertools.combinations(found, 2):
        common = (_uids(one) & _uids(two)) - set(without)
        kinds = (ScanKind(series.modality, series.echo_time) for series in (one, two))
        if _file(one) != _file(two) and same_kind(*kinds) and not common:
            return one, two
    return None


def _file(series: Series) -> Path:
    """Where it lies: a folder, or a multi-frame file."""
    first = series.slices[0]
    return series.folder if first.frame is None else first.path


def _uids(series: Series) -> set[str]:
    return {uid for one in series.slices for uid in (one.study, one.frame_of_reference) if uid}


logger = logging.getLogger(__name__)

# Years of birth that were counted back from ages differ by one.
SAME_YEARS = 1


@dataclass(frozen=True)
class Owner:
    """The patient of a series: the name in the store, and the identifying mark (of a name or number without its
    scope)."""

    pseudonym: str
    mark: str


def checked_name(patient: str) -> str:
    """What `--patient` says, without blanks around it.

    Raises:
        InputError: it cannot be part of a case name.
    """
    name = patient.strip()
    if not re.fullmatch(CASE_NAME, name):
        found = repr(patient) if name else "an empty name"
        expected = "letters, digits, '.', '_' and '-', beginning with a letter or digit"
        suggested = CASE_NAME_LETTERS.sub("_", name).lstrip("._-")
        do = f"Give for instance --patient {suggested or 'P1'}."
        raise InputError("--patient", found=found, expected=expected, do=do)
    return name


def owners(
    src: Path,
    found: Sequence[Series],
    *,
    prefix: str,
    store: Path,
    known: Sequence[CaseRecord] = (),
    patient: str | None = None,
    ignore_ids: bool = False,
) -> list[Owner]:
    """The patient of each series.

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
    for series in found if not ignore_ids else ():
        check_one_patient(series)
    ids = ["" if ignore_ids else known_id(series.slices[0].patient) for series in found]
    key = patient_key_for(store) if any(ids) else None
    if key is not None:
        logger.info("PatientIDs become hashes under the patient key %s.", key.path)
    if patient is not None:
        _tell_of_shared_ids(src, ids, found, named=True)
        return _named(src, ids, patient, key, store, known)
    check_one_patient_a_folder(
        src, [series for own, series in zip(ids, found, strict=True) if not own], ignored=ignore_ids
    )
    _warn_of_missing_ids(src, ids, found, ignored=ignore_ids)
    _tell_of_shared_ids(src, ids, found, named=False)
    return _numbered(src, ids, found, prefix, key, store, known)


def _named(
    src: Path, ids: Sequence[str], patient: str, key: PatientKey | None, store: Path, known: Sequence[CaseRecord]
) -> list[Owner]:
    if len(set(ids) - {""}) > 1:
        found = f"series of {len(set(ids) - {''})} PatientIDs for --patient {patient}"
        raise InputError(
            src, found=found, expected="one patient", do="Leave out --patient, or give one patient's folder."
        )
    own = next((one for one in ids if one), "")
    if key is None or not own:
        return [Owner(patient, str(Mark("name", "", patient)))] * len(ids)
    mark = Mark("id", key.fingerprint, key.hash(own))
    hashes = known_values((text for one in known if one.patient == patient for text in one.person), mark.domain)
    if hashes - {mark.value}:
        found = f"patient {patient} already, whose PatientID is another one"
        raise InputError(store, found=found, expected="one person per name", do="Give another --patient.")
    others = sorted({one.patient for one in known if str(mark) in one.person} - {patient})
    if others:
        found = f"this patient already, by the name {others[0]}"
        do = f"Give --patient {others[0]}. If one PatientID was given to several people: --ignore-ids, too."
        raise InputError(store, found=found, expected="one name per person", do=do)
    return [Owner(patient, str(mark))] * len(ids)


def _numbered(
    src: Path,
    ids: Sequence[str],
    found: Sequence[Series],
    prefix: str,
    key: PatientKey | None,
    store: Path,
    known: Sequence[CaseRecord],
) -> list[Owner]:
    pseudonyms = _numbers(prefix, known)
    _refuse_strangers(prefix, key, any(not one for one in ids), store, known, pseudonyms)
    names: dict[str, str] = {text: one.patient for one in known for text in one.person if text.startswith("id:")}
    again: dict[str, None] = {}
    last = max(pseudonyms.values(), default=0)
    result = []
    for own, series in zip(ids, found, strict=True):
        inside = series.folder.relative_to(src).parts[:1]
        mark = str(Mark("id", key.fingerprint, key.hash(own))) if key and own else "/".join(("folder", *inside))
        if mark not in names:
            last += 1
            names[mark] = f"{prefix}-p{last:03d}"
        elif names[mark] in {one.patient for one in known}:
            again[names[mark]] = None
        number = names[mark].rpartition("-")[2]
        result.append(Owner(names[mark], mark if own else str(Mark("number", "", number))))
    if again:
        logger.info("%s: found again by their PatientID: %s", store, listed(again, 8))
    return result


def _numbers(prefix: str, known: Sequence[CaseRecord]) -> dict[str, int]:
    """The numbered patients of the store with this prefix."""
    found = {one.patient: re.fullmatch(rf"{re.escape(prefix)}-p(\d+)", one.patient) for one in known}
    return {name: int(match[1]) for name, match in found.items() if match}


def _refuse_strangers(
    prefix: str,
    key: PatientKey | None,
    without_id: bool,
    store: Path,
    known: Sequence[CaseRecord],
    pseudonyms: dict[str, int],
) -> None:
    """Numbers of an earlier call must be the same people's again, which only hashes under one key can show."""
    for one in known:
        if one.patient not in pseudonyms:
            continue
        marks = [parse_mark(text) for text in one.person]
        comparable = key is not None and any(mark.domain == f"id:{key.fingerprint}" for mark in marks)
        if comparable and not without_id:
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


def _warn_of_missing_ids(src: Path, ids: Sequence[str], found: Sequence[Series], *, ignored: bool) -> None:
    if all(ids):
        return
    if ignored:
        logger.info("%s: PatientIDs are ignored: each folder in it is taken as a patient", src)
        return
    placeholder = any(not one and series.slices[0].patient for one, series in zip(ids, found, strict=True))
    what = "the same placeholder as patient id" if placeholder else "no patient id"
    logger.warning("%s: series without a patient id (%s): each folder in it is taken as a patient", src, what)


def _tell_of_shared_ids(src: Path, ids: Sequence[str], found: Sequence[Series], *, named: bool) -> None:
    """Say which folders are one patient, and warn where one id may be several people's."""
    owned: dict[str, list[Series]] = defaultdict(list)
    for own, series in zip(ids, found, strict=True):
        if own:
            owned[own].append(series)
    for several in owned.values():
        names = list(dict.fromkeys(top_folder(src, series) for series in several))
        if _different(several):
            logger.warning("%s: one PatientID, but patients of different sex or year of birth, in %s. %s",
                           src, listed(names, 6), _if_several_people(src, several))  # fmt: skip
        elif len(owned) == 1 and not named and like_two_people(several):
            whom = "everybody" if all(ids) else "all that have one"
            inside = names if len(names) > 1 else [str(series.folder.relative_to(src)) for series in several]
            logger.warning("%s: one PatientID for %s: %s are taken as one patient. %s",
                           src, whom, listed(inside, 6), _if_several_people(src, several))  # fmt: skip
        elif len(names) > 1:
            logger.info("%s: one patient, by PatientID: %s", src, listed(names, 6))


def _if_several_people(src: Path, owned: Sequence[Series]) -> str:
    """What to do if an id was given to several people."""
    inside: dict[str, list[Series]] = defaultdict(list)
    for series in owned:
        inside[top_folder(src, series)].append(series)
    if any(like_two_people(several) for several in inside.values()):
        one_by_one = "one by one, with --ignore-ids --patient NAME --append"
        return f"If they are several people, prepare each patient's folders {one_by_one}."
    return "If they are several people, prepare them with --ignore-ids, which takes each folder for a patient."


def _different(several: Sequence[Series]) -> bool:
    sexes = {series.slices[0].sex for series in several} & {"M", "F"}
    years = [series.slices[0].born for series in several]
    known = [year for year in years if year is not None]
    return len(sexes) > 1 or (bool(known) and max(known) - min(known) > SAME_YEARS)
