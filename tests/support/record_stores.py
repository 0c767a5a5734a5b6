"""Stores of records alone, without any file: who is who is decided by records."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from crossmod.config import Modality
from crossmod.data.store import CaseRecord, SliceOrigin, Store, Synthetic


def checksum(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def record(
    patient: str,
    *marks: str,
    modality: Modality = "mr",
    scan: str | None = None,
    case: str | None = None,
    sequence: str | None = None,
    synthetic: Synthetic | None = None,
) -> CaseRecord:
    return CaseRecord(
        id=case or patient.replace("/", "_"),
        patient=patient,
        person=marks,
        modality=modality,
        sequence=sequence,
        unit="HU" if modality == "ct" else "arbitrary",
        shape=(4, 8, 8),
        spacing=(5.0, 3.0, 3.0),
        affine=[[0, 0, -3, 0], [0, -3, 0, 0], [5, 0, 0, 0], [0, 0, 0, 1]],
        orientation=("L", "P", "S"),
        dtype="int16",
        labels={1: "liver"},
        slices_with={"liver": 3},
        synthetic=synthetic,
        sha256=scan or checksum(modality, patient, marks, case, sequence),
    )


def store(path: str | Path, cases: Iterable[CaseRecord]) -> Store:
    made = object.__new__(Store)
    made.path, made.cases = Path(path), tuple(cases)
    return made


def synthetic(
    people: Mapping[str, tuple[str, ...]], *, source: str = "0" * 64, on: Iterable[str] | None = None
) -> Synthetic:
    """Provenance of an image whose model knows some people, and saw those of `on`, or all; of an earlier version, where
    they have no marks."""
    return Synthetic(
        family="cyclegan",
        model=checksum("model", *people),
        recipe="0" * 64,
        run="run",
        split="patient",
        source_case="case",
        source_sha256=source,
        source_range=(-160.0, 240.0),
        shift=(0.0, 0.0),
        slices_per_second=1.0,
        trained_on=tuple(sorted(people if on is None else on)),
        trained_cases=(),
        people={name: marks for name, marks in people.items() if marks},
        slices=tuple(SliceOrigin(source_slice=i) for i in range(4)),
    )
