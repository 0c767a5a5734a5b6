"""The CHAOS data set, as its organisers publish it.

- Slices of one series have different UIDs: folders and echo times make the series, positions the order.
- One set of T1 masks serves both phases; the longer echo is the in-phase one, whatever the folder is called.
- CT patient 1 and MR patient 1 are different people.
- All CT is portal-venous: with contrast agent, also where a header was stripped of it.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossmod.config import Modality
from crossmod.data.deidentify import distinct_notes
from crossmod.data.dicom.series import Series, check_uniform, list_series, read_series
from crossmod.data.importers.chaos_masks import LABEL_NAMES, paired, read_masks
from crossmod.data.importers.importer import (
    Crop,
    choose_cases,
    importing,
    phantom_mark,
    phantom_record,
    safe_name,
    with_stated_contrast,
)
from crossmod.data.patient_identity import Mark
from crossmod.data.patient_key import known_id, patient_key_for
from crossmod.data.store import CaseRecord, listed
from crossmod.data.volume import CANONICAL, Volume
from crossmod.errors import InputError
from crossmod.files import natural_key
from crossmod.progress import track

logger = logging.getLogger(__name__)

SETS = ("Train_Sets", "Test_Sets")
# By modality and folder of a patient, the sequences in it.
LAYOUT: dict[Modality, dict[str, tuple[str | None, ...]]] = {
    "ct": {"": (None,)},
    "mr": {"T1DUAL": ("t1_in", "t1_out"), "T2SPIR": ("t2_spir",)},
}
SEQUENCES = ("ct", "t1_in", "t1_out", "t2_spir")

# Reported by users of the set; the error, if it is there, cannot be seen in the file.
DOUBTFUL_MR = ("21", "22", "33")
DOUBTFUL = "the geometry of this case was reported not to match its labels"


@dataclass(frozen=True)
class ChaosCase:
    """One series of one CHAOS patient: `folder` holds `DICOM_anon` and, in the training set, `Ground`.

    `name` is the first part of the pseudonym, different for another set in the same layout.
    """

    modality: Modality
    number: str
    sequence: str | None
    folder: Path
    name: str = "chaos"

    @property
    def patient(self) -> str:
        """The pseudonym: `chaos-ct-1`."""
        return f"{self.name}-{self.modality}-{self.number}"

    @property
    def id(self) -> str:
        """The case's name in a store: `chaos-mr-10-t2_spir`."""
        return self.patient if self.sequence is None else f"{self.patient}-{self.sequence}"


def prepare_chaos(
    src: Path,
    store: Path,
    *,
    append: bool = False,
    only: Collection[str] = (),
    exclude: Collection[str] = (),
    sequences: Collection[str] = (),
    name: str | None = None,
    contrast: bool | None = None,
    crop: Crop | None = None,
    accept_units: bool = False,
) -> list[CaseRecord]:
    """Make a store of CHAOS; patients are named `chaos-ct-<id>` and `chaos-mr-<id>`. Its CT has contrast agent.

    The arguments are those of `crossmod.prepare_chaos`; `src` may also be `Train_Sets` itself.

    Raises:
        InputError: nothing to take, or a case that cannot be used, named by its folder.
    """
    unknown = sorted(set(sequences) - set(SEQUENCES))
    if unknown:
        raise InputError("--sequences", found=unknown[0], expected=", ".join(SEQUENCES), do="Name some of these.")
    every = chaos_cases(src, safe_name(name) if name else "chaos")
    cases = [case for case in every if not sequences or (case.sequence or "ct") in sequences]
    keep = choose_cases(src, [{case.id, case.patient, case.number} for case in cases], only, exclude)
    chosen = [cases[index] for index in keep]
    marks = _marks(src, chosen, store, chaos=name is None)
    with importing(src, store, append=append, crop=crop, accept_units=accept_units) as importer:
        for case in track(chosen, "Preparing CHAOS"):
            volume = read_chaos_case(case, contrast=contrast)
            importer.add(case.folder, case.id, volume, patient=case.patient, person=marks[case.patient])
    return importer.records


def chaos_cases(src: Path, name: str = "chaos") -> list[ChaosCase]:
    """All cases below `src`, of which there must be one at least; `name` begins the pseudonyms."""
    roots = [src / name for name in SETS if (src / name).is_dir()] or [src]
    cases = [
        ChaosCase(modality, patient.name, sequence, patient / inside, name)
        for root in roots
        for modality, series in LAYOUT.items()
        for patient in _folders(root / modality.upper())
        for inside, sequences in series.items()
        if (patient / inside / "DICOM_anon").is_dir()
        for sequence in sequences
    ]
    if not cases:
        inside = listed(sorted(path.name for path in src.iterdir()), 6) if src.is_dir() else "no such folder"
        expected = "Train_Sets, or CT/<id>/DICOM_anon or MR/<id>/T2SPIR/DICOM_anon"
        do = "Give the folder that the CHAOS archive was unpacked into."
        raise InputError(src, found=inside or "an empty folder", expected=expected, do=do)
    return cases


def _folders(folder: Path) -> list[Path]:
    return sorted((path for path in folder.iterdir() if path.is_dir()), key=natural_key) if folder.is_dir() else []


def read_chaos_case(case: ChaosCase, *, contrast: bool | None = None) -> Volume:
    """Read one case with its labels, if any; `contrast` is for another set in this layout: CHAOS's CT has agent."""
    found = list_series(case.folder / "DICOM_anon")
    check_uniform(found)
    if case.sequence in ("t1_in", "t1_out"):
        series, notes = _phase(case, found)
    else:
        if len(found) != 1:
            raise _unlike_chaos(case.folder / "DICOM_anon", f"{len(found)} series", "one")
        series, notes = found[0], []
    if series.modality != case.modality:
        raise _unlike_chaos(series.folder, f"a series of modality {series.modality.upper()}", case.modality.upper())
    volume, files = read_series(series)
    if case.modality == "mr" and case.number in DOUBTFUL_MR:
        notes.append(DOUBTFUL)
    distinct_notes(case.id, notes)
    volume = replace(volume, sequence=case.sequence, notes=(*volume.notes, *notes))
    volume = with_stated_contrast(case.folder, volume, True if contrast is None else contrast)
    ground = case.folder / "Ground"
    if ground.is_dir():
        return _labelled(volume, files, ground)
    if "Train_Sets" in case.folder.absolute().parts:
        logger.warning("%s: no folder Ground: %s of the training set has no labels", case.folder, case.id)
    return volume


def _unlike_chaos(subject: Path, found: str, expected: str) -> InputError:
    return InputError(subject, found=found, expected=expected, do="Unpack the archive again.")


def _phase(case: ChaosCase, found: list[Series]) -> tuple[Series, list[str]]:
    """The series of one T1 phase: the longer echo is in-phase, since at 1.5 T fat and water meet again at 4.6 ms."""
    folder = case.folder / "DICOM_anon"
    echoes = [series.echo_time for series in found]
    if len(found) != 2:
        raise _unlike_chaos(folder, f"{len(found)} series", "two T1 phases")
    named = {series.folder.name.lower(): series for series in found}
    expected = "inphase" if case.sequence == "t1_in" else "outphase"
    if None in echoes or echoes[0] == echoes[1]:
        if expected not in named:
            raise _unlike_chaos(folder, f"echo times {echoes[0]} and {echoes[1]}", "two echo times")
        return named[expected], ["the phase was decided by the folder's name, not by echo time"]
    by_echo = sorted(found, key=lambda series: series.echo_time or 0.0, reverse=case.sequence == "t1_in")[0]
    notes = []
    if by_echo is not named.get(expected, by_echo):
        notes.append("the phase was decided by echo time; the folder's name says the other phase")
    return by_echo, notes


def _labelled(volume: Volume, files: list[Path], ground: Path) -> Volume:
    masks = read_masks(ground, volume.modality)
    if len(masks) != len(files):
        counts = (f"{n} {thing}{'s' if n != 1 else ''}" for n, thing in ((len(masks), "mask"), (len(files), "slice")))
        raise _unlike_chaos(ground, " for ".join(counts), "one mask per axial slice")
    if volume.orientation[2] not in ("S", "I"):
        found = f"slices that are not axial (they follow one another along {volume.orientation[2]})"
        raise _unlike_chaos(ground, found, "one mask per axial slice")
    if masks.shape[1:] != volume.voxels.shape[1:]:
        sizes = [f"{array.shape[1]} x {array.shape[2]}" for array in (masks, volume.voxels)]
        raise _unlike_chaos(ground, f"masks of {sizes[0]} for slices of {sizes[1]}", "masks of the slices' size")
    # Masks are drawn on the slices as stored; only axial slices stored the usual way need no turning.
    if volume.orientation != CANONICAL[::-1]:
        raise _unlike_chaos(ground, f"slices stored along {'-'.join(volume.orientation)}", "L-P-S, as CHAOS has it")
    labels, note = paired(ground, masks, files, volume.voxels, volume.modality)
    volume = volume.with_labels(labels, LABEL_NAMES[volume.modality])
    return replace(volume, notes=(*volume.notes, note))


def _marks(src: Path, cases: Sequence[ChaosCase], store: Path, *, chaos: bool) -> dict[str, tuple[str, ...]]:
    """The marks of each patient: by the number in CHAOS or in a phantom, else by PatientID, else by case name."""
    people = phantom_record(src)
    found: dict[str, tuple[str, ...]] = {}
    for case in cases:
        if case.patient in found:
            continue
        if people is not None:
            found[case.patient] = phantom_mark(people, case.modality, case.number)
        elif chaos:
            found[case.patient] = (str(Mark("set", "chaos", f"{case.modality}-{case.number}")),)
        else:
            ids = {series.slices[0].patient for series in list_series(case.folder / "DICOM_anon")}
            own = known_id(ids.pop()) if len(ids) == 1 else ""
            found[case.patient] = (str(patient_key_for(store).mark(own) if own else Mark("name", "", case.number)),)
    return found
