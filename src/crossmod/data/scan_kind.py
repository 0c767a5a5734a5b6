"""What a scan is of, as far as headers tell without words: CT, or MR of an echo time.

Two scans of one kind in folders without PatientIDs are rather two people; scans of different kinds may be one person's.
"""

from collections.abc import Collection
from typing import NamedTuple

from crossmod.config import Modality
from crossmod.data.store import CaseRecord

# One sequence has other echo times on another scanner, but not twice as long ones; T1 and T2 differ by more.
OTHER_SEQUENCE = 2.0


class ScanKind(NamedTuple):
    """A modality, and the echo time in ms where it is known."""

    modality: Modality
    echo_time: float | None


def kind_of(record: CaseRecord) -> ScanKind:
    """What a stored scan is of."""
    echo = record.acquisition.get("EchoTime") if record.modality == "mr" else None
    return ScanKind(record.modality, float(echo) if isinstance(echo, int | float) else None)


def same_kind(one: ScanKind, two: ScanKind) -> bool:
    """Whether two scans may be of one sequence."""
    if one.modality != two.modality:
        return False
    if one.modality == "ct" or not one.echo_time or not two.echo_time:
        return True
    low, high = sorted((one.echo_time, two.echo_time))
    return high < OTHER_SEQUENCE * low


def nothing_in_common(one: Collection[ScanKind], two: Collection[ScanKind]) -> bool:
    """Whether two patients have scans, and none of one kind: CT alone and MR alone, T1 alone and T2 alone."""
    return bool(one and two) and not any(same_kind(a, b) for a in one for b in two)
