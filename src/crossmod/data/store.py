"""A store: a folder of cases, one safetensors file per case and one `manifest.json`; or several stores as one.

- A case file holds `image` and, if they exist, `label` (truth) and `answer` (a model's prediction); all else is in the
  manifest, so that listing a store reads one small file.
- The manifest is written last: a file that it does not name is not part of the store.
- No identities: a record has no field for one. Its `person` holds a keyed hash of a DICOM PatientID, and names that the
  user gave.
"""

import copy
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open

from crossmod.config import Modality
from crossmod.data.body_box import BodyBox, body_box
from crossmod.data.patient_identity import MARK
from crossmod.data.units import check_stored
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.files import PathName, read_json, sha256
from crossmod.settings import JudgedOn

FORMAT = 1
CASE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
MANIFEST = "manifest.json"
# What cannot stand in a case name.
CASE_NAME_LETTERS = re.compile(r"[^A-Za-z0-9._-]+")

MarkText = Annotated[str, Field(pattern=MARK)]


class SliceOrigin(BaseModel):
    """Where a synthetic slice came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    source_slice: int
    """Its index in the source case."""
    consistency: float | None = None
    """Dice between S(G1(x)) and the mask: 1 where the segmentor finds the organ where the label says it is."""
    judged: float | None = None
    """The same by the model's independent judge, if it has one. Older manifests do not have it."""

    @property
    def fits(self) -> float | None:
        """How well image and label fit: by the judge, if there is one, else by the model's own segmentor."""
        return self.consistency if self.judged is None else self.judged


class Synthetic(BaseModel):
    """How a synthetic case was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    family: str
    model: str
    """SHA-256 of the weights."""
    recipe: str
    """SHA-256 of the settings that it was trained with, but for the seed and the fold."""
    run: str
    """Name of the run folder."""
    split: str
    """How the target side was divided for training, in words; `patient` or a description of a split by slice."""
    source_case: str
    source_sha256: str
    """Checksum of the case that it was made from, by which its file is found again."""
    source_range: tuple[float, float]
    """Units of the source that the model saw as -1 and 1."""
    model_range: tuple[float, float] | None = None
    """Units that the model made of its output's -1 and 1. Older manifests do not have it."""
    shift: tuple[float, float]
    """Rows and columns by which its slices lie away from their source, in pixels (median): labels are off by it."""
    slices_per_second: float
    """Speed of the translation, reading and writing left out."""
    judged_by: JudgedOn | None = None
    """On what the judge was trained that gave `judged`, of the slices."""
    judged_shift: tuple[float, float] | None = None
    """Rows and columns by which the judge finds organs away from their labels, in pixels; None if it finds none."""
    frame: str = "stretch"
    """What the model saw of its slices: the frame of its settings. Older manifests do not have it."""
    pixel_mm: float = 0.0
    """Millimetres of the model's pixels, which are those of the case; 0 where the whole field of view was stretched."""
    organs: tuple[str, ...] = ()
    """What the model was trained to know: classes 1, 2 and so on of `answer`, where there is one."""
    other_inputs: tuple[str, ...] = ()
    """The cases that went in with the source case, where the model has several inputs."""
    trained_on: tuple[str, ...]
    """Every patient whose image the model saw in training."""
    trained_cases: tuple[str, ...]
    """Checksums of the cases that it saw, which identify a patient under another name."""
    people: dict[str, tuple[MarkText, ...]] = {}
    """The people of the stores that the model was trained with, and of the source: the marks of each
    (`crossmod.data.patient_identity`), by the names of `trained_on`. Older manifests do not have it."""
    decided: bool = True
    """Whether it was decided who of them is one person."""
    slices: tuple[SliceOrigin, ...]


class CaseRecord(BaseModel):
    """One line of a manifest: everything about a case but its voxels."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    # No path may hide in it: it names a file.
    id: str = Field(pattern=CASE_NAME)
    patient: str
    person: tuple[MarkText, ...] = ()
    """By what the patient is recognised in other stores (`data.patient_identity`). Older manifests do not have it."""
    modality: Modality
    sequence: str | None = None
    unit: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    affine: list[list[float]]
    orientation: tuple[str, str, str]
    dtype: str
    labels: dict[int, str]
    slices_with: dict[str, int]
    """How many slices hold each organ."""
    acquisition: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    contrast: bool | None = None
    """CT: with contrast agent or without; None where it is not known, and of MR. Older manifests do not have it."""
    synthetic: Synthetic | None = None
    sha256: str
    body: BodyBox | None = None
    """Where the body lies in its slices. Older manifests do not have it: `Store.body` finds it."""


class Store:
    """A folder of cases, opened for reading.

    Raises:
        InputError: the folder is not a store, or one of a newer format.
    """

    def __init__(self, path: PathName):
        self.path = path = Path(path)
        manifest = path / MANIFEST
        if not manifest.is_file():
            found = "no such folder" if not path.exists() else f"no {MANIFEST} in it"
            raise InputError(path, found=found, expected="a crossmod store", do="Make one with `crossmod prepare`.")
        content = read_json(manifest)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            found = f"store format {content.get('format') if isinstance(content, dict) else content!r}"
            do = "Use the crossmod that made it, or prepare it again."
            raise InputError(manifest, found=found, expected=f"format {FORMAT}", do=do)
        self.cases = _records(manifest, content.get("cases"))

    def __repr__(self) -> str:
        counts = Counter(case.modality.upper() for case in self.cases)
        return f"Store({str(self.path)!r}: {' + '.join(f'{number} {name}' for name, number in counts.items())} cases)"

    @property
    def parts(self) -> tuple["Store", ...]:
        """The stores it consists of: itself."""
        return (self,)

    def with_people(self, people: Mapping[str, tuple[str, tuple[str, ...]]]) -> "Store":
        """The same store with other names for its patients: by patient, the new name and the marks."""
        other = copy.copy(self)
        other.cases = tuple(
            case.model_copy(update=dict(zip(("patient", "person"), people[case.patient], strict=True)))
            for case in self.cases
        )
        return other

    def record(self, case: str) -> CaseRecord:
        """The record of one case."""
        for record in self.cases:
            if record.id == case:
                return record
        known = listed(record.id for record in self.cases) or "none, since the store is empty"
        raise InputError(self.path, found=f"no case {case!r}", expected=f"one of {known}", do="Check the name.")

    def select(
        self, modality: Modality, *, sequence: str | None = None, organ: str | None = None
    ) -> tuple[CaseRecord, ...]:
        """The real cases of one modality, sorted by name, so that the order of preparing changes no training.

        With `sequence` or `organ` only those of the sequence, or with labels of the organ.

        Raises:
            InputError: there are none, several sequences and none was chosen, or synthetic cases among them.
        """
        cases = [case for case in self.cases if case.modality == modality]
        if not cases:
            found = f"a store of {', '.join(sorted({case.modality for case in self.cases})) or 'nothing'}"
            do = "Give the store that holds them; `crossmod info`."
            raise InputError(self.path, found=found, expected=f"{modality} cases", do=do)
        made = [case.id for case in cases if case.synthetic is not None]
        if made:
            found = f"synthetic cases ({made[0]})"
            raise InputError(self.path, found=found, expected="real ones", do="Give it as --synthetic to `segment`.")
        sequences = sorted({case.sequence or "unnamed" for case in cases})
        if sequence is None and len(sequences) > 1:
            found, do = f"{modality} of several sequences ({', '.join(sequences)})", f"--sequence {sequences[-1]}"
            raise InputError(self.path, found=found, expected="one", do=f"Name one, for instance {do}.")
        cases = [case for case in cases if sequence is None or case.sequence == sequence]
        if not cases:
            found = f"{modality} of {', '.join(sequences)}"
            raise InputError(self.path, found=found, expected=f"sequence {sequence}", do="Name one that is there.")
        known = sorted({name for case in cases for name in case.labels.values()})
        cases = [case for case in cases if organ is None or organ in case.labels.values()]
        if not cases:
            found = f"no {modality} case with {organ} labels (labels: {', '.join(known) or 'none'})"
            do = "Prepare with labels, or name another organ."
            raise InputError(self.path, found=found, expected=f"labelled {organ}", do=do)
        return tuple(sorted(cases, key=lambda case: case.id))

    def select_synthetic(self, modality: Modality, organ: str) -> tuple[CaseRecord, ...]:
        """The synthetic cases of one modality with labels of an organ, sorted by name.

        Raises:
            InputError: there are none, or real cases among them.
        """
        cases = [case for case in self.cases if case.modality == modality and organ in case.labels.values()]
        if not cases or any(case.synthetic is None for case in cases):
            found = "real cases" if cases else f"no {modality} case with {organ} labels"
            expected = f"synthetic {modality} with {organ} labels"
            raise InputError(self.path, found=found, expected=expected, do="Give a store that `synthesize` made.")
        return tuple(sorted(cases, key=lambda case: case.id))

    def read(self, case: str, *, check_units: bool = True) -> Volume:
        """One case as a volume.

        Args:
            case: its name.
            check_units: refuse values that cannot be what the store says. Synthetic cases are not checked: their values
                are the model's.

        Raises:
            InputError: its file is missing or damaged, or its values cannot be HU (CT) or signal (MR).
        """
        record = self.record(case)
        self._verify(record)
        tensors = self.tensors(case)
        volume = Volume(
            voxels=tensors["image"],
            affine=np.array(record.affine, dtype=np.float64),
            modality=record.modality,
            sequence=record.sequence,
            labels=tensors.get("label"),
            label_names=record.labels,
            orientation=record.orientation,
            acquisition=record.acquisition,
            notes=record.notes,
            contrast=record.contrast,
            stated_unit=record.unit if record.modality == "ct" and record.unit != "HU" else None,
            model_range=record.synthetic.model_range if record.synthetic else None,
        )
        if check_units and record.synthetic is None:
            check_stored(f"{self.path}: {case}", volume)
        return volume

    def body(self, record: CaseRecord) -> BodyBox:
        """Where the body lies in a case: by the manifest, or, where that does not say it, by the images.

        Raises:
            InputError: the case's file is missing or damaged.
        """
        if record.body is not None:
            return record.body
        if record.id not in self._bodies:
            self._bodies[record.id] = body_box(self.read(record.id))
        return self._bodies[record.id]

    @cached_property
    def _bodies(self) -> dict[str, BodyBox]:
        """What `body` has found so far."""
        return {}

    def tensors(self, case: str, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """The arrays of a case file, or those of `names` that it has.

        Raises:
            InputError: its file is missing or damaged.
        """
        path = self.file(case)
        try:
            # safetensors calls every file that it cannot open missing, also an unreadable one.
            path.open("rb").close()
            with safe_open(path, framework="numpy") as stream:
                have = list(stream.keys())
                return {name: stream.get_tensor(name) for name in (have if names is None else names) if name in have}
        except (OSError, SafetensorError) as error:
            missing = isinstance(error, FileNotFoundError)
            if isinstance(error, OSError) and error.errno is not None and not missing:
                raise
            found = "no such file" if missing else f"a damaged file ({error})"
            raise InputError(path, found=found, expected="the case's arrays", do="Prepare the store again.") from None

    def file(self, case: str) -> Path:
        """The file of a case."""
        return self.path / f"{case}.safetensors"

    def verify(self) -> None:
        """Compare every file with the checksum in the manifest.

        Raises:
            InputError: the first file that differs.
        """
        for record in self.cases:
            self._verify(record)

    def _verify(self, record: CaseRecord) -> None:
        path = self.file(record.id)
        if not path.is_file() or sha256(path) != record.sha256:
            found = "no such file" if not path.is_file() else "other bytes than when it was written"
            raise InputError(path, found=found, expected="the checksum in the manifest", do="Prepare the store again.")


def _records(manifest: Path, content: object) -> tuple[CaseRecord, ...]:
    """The records of a manifest's `cases`."""
    expected, do = "case records", "Restore the manifest from a copy, or prepare the store again."
    if not isinstance(content, list):
        found = "no list of cases, so that it does not fit"
        raise InputError(manifest, found=found, expected=expected, do=do)
    records: dict[str, CaseRecord] = {}
    for number, raw in enumerate(content, 1):
        case = raw.get("id") if isinstance(raw, dict) else None
        which = f"case {case!r}" if isinstance(case, str) else f"record {number}"
        try:
            record = CaseRecord.model_validate(raw)
        except ValidationError as error:
            first, count = error.errors()[0], error.error_count()
            field = ".".join(map(str, first["loc"])) or "the whole"
            more = f" and {count - 1} more" if count > 1 else ""
            found = f"a record that does not fit ({which}, {field}: {first['msg']}{more})"
            raise InputError(manifest, found=found, expected=expected, do=do) from None
        if record.id in records:
            raise InputError(manifest, found=f"two cases {record.id!r}", expected="one record per case", do=do)
        records[record.id] = record
    return tuple(records.values())


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names for a message: the first ones, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


class JoinedStore(Store):
    """The cases of several stores; its path is that of the first.

    A case name that two stores have gets the store's name before it. Who is one person is not decided here, but in
    `crossmod.data.people`.
    """

    def __init__(self, parts: Sequence[Store]):
        self._parts = tuple(parts)
        self.path = parts[0].path
        self._locations: dict[str, tuple[Store, str]] = {}
        cases: list[CaseRecord] = []
        known = Counter(case.id for part in parts for case in part.cases)
        for part, label in zip(parts, distinct_names([part.path for part in parts]), strict=True):
            for case in part.cases:
                name = case.id if known[case.id] == 1 else f"{label}.{case.id}"
                self._locations[name] = part, case.id
                cases.append(case.model_copy(update={"id": name}))
        self.cases = tuple(cases)

    @property
    def parts(self) -> tuple[Store, ...]:
        """The stores it consists of."""
        return self._parts

    def file(self, case: str) -> Path:
        """The file of a case, in its own store."""
        part, name = self._locations[case]
        return part.file(name)


def open_stores(paths: Path | Sequence[Path]) -> Store:
    """One store, or several as one; a store that is named twice is opened once."""
    several = [paths] if isinstance(paths, Path) else list(paths)
    distinct = {path.resolve(): path for path in several}
    stores = [Store(path) for path in distinct.values()]
    return stores[0] if len(stores) == 1 else JoinedStore(stores)


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """A short name for each of some folders: its own, with those above it where names are alike."""
    parts = [[part for part in path.resolve().parts if part != path.anchor] for path in paths]
    depth = next((n for n in range(1, 99) if len({tuple(one[-n:]) for one in parts}) == len(parts)), 99)
    names = [CASE_NAME_LETTERS.sub("_", "-".join(one[-depth:])).lstrip("._-") or "store" for one in parts]
    return [name if names.count(name) == 1 else f"{name}-{names[:i].count(name) + 1}" for i, name in enumerate(names)]
