"""Whether the folders of an export look like one patient each, where PatientIDs do not tell.

Notable: scans of one kind (two CT) in two folders are of two people, unless the headers give both the same study or
frame of reference. An id of a study says nothing where it was given to every folder.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from crossmod.data.dicom.choose import Series
from crossmod.data.scan_kind import ScanKind, same_kind
from crossmod.errors import InputError


def top_folder(src: Path, series: Series) -> str:
    """The folder in `src` that a series lies in; `.` for `src` itself."""
    return "/".join(series.folder.relative_to(src).parts[:1]) or "."


def check_one_patient_a_folder(src: Path, without_id: Sequence[Series], *, ignored: bool) -> None:
    """Refuse a folder that would become one patient and looks like several.

    Args:
        src: the folder of the export.
        without_id: its series that no id tells the patient of.
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
            places = " and ".join(_place(src, series) for series in pair)
            ids = "ids are ignored" if ignored else "no PatientID tells whose they are"
            kind = pair[0].modality.upper()
            found = f"several series of one kind ({kind}) in one folder: {places}; {ids}"
            also = " --ignore-ids" if ignored else ""
            do = (
                "Give SRC with one folder a patient. Or prepare each patient's folders one by one, with"
                f"{also} --patient NAME --append and the same NAME for all scans of a person."
            )
            raise InputError(src, found=found, wanted="one patient in each folder of SRC", do=do)


def like_two_people(found: Iterable[Series], *, without: Collection[str] = ()) -> tuple[Series, Series] | None:
    """Two series of one kind in two places that have neither study nor frame of reference in common.

    Args:
        found: series that would be one patient's.
        without: UIDs of studies and frames that prove nothing.
    """
    for one, two in itertools.combinations(found, 2):
        common = (_uids(one) & _uids(two)) - set(without)
        if _file(one) != _file(two) and same_kind(_kind(one), _kind(two)) and not common:
            return one, two
    return None


def _kind(series: Series) -> ScanKind:
    return ScanKind(series.modality, series.echo_time)


def _file(series: Series) -> Path:
    """Where it lies: a folder, or a multi-frame file."""
    first = series.slices[0]
    return series.folder if first.frame is None else first.path


def _place(src: Path, series: Series) -> str:
    return _file(series).relative_to(src).as_posix()


def _uids(series: Series) -> set[str]:
    return {uid for one in series.slices for uid in (one.study, one.frame_of_reference) if uid}
