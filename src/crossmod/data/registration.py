"""Registered inputs: the cases of one patient that go into a network together, on one grid."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import affine_transform

from crossmod.data.store import CaseRecord, Store
from crossmod.data.volume import Volume
from crossmod.errors import InputError

# Of the first input, inside the other one's field of view. Two scans of one abdomen share nearly all of it.
LEAST_SHARED = 0.5
# Millimetres: grids this alike are the same.
SAME = 1e-2
# Voxels of a grid that are asked whether they lie inside another volume, along each axis.
ASKED = 64


@dataclass(frozen=True)
class RegisteredScans:
    """Cases of one patient, one per input; the first one's grid and labels are those of the group."""

    records: tuple[CaseRecord, ...]

    @property
    def first(self) -> CaseRecord:
        """The case that the others are brought to."""
        return self.records[0]


def group_cases(
    store: Store, cases: Iterable[CaseRecord], inputs: Sequence[Sequence[str | None]]
) -> list[RegisteredScans]:
    """Group the cases of each patient, one per input; a patient who lacks one, or has two for one, is refused.

    `inputs` holds, per input, the sequences it may be of. A single input takes every case separately.
    """
    found = list(cases)
    if len(inputs) == 1:
        return [RegisteredScans((case,)) for case in found]
    groups = []
    for patient in sorted({case.patient for case in found}):
        own = [case for case in found if case.patient == patient]
        records = []
        for names in inputs:
            fitting = [case for case in own if case.sequence in names]
            if len(fitting) != 1:
                found = f"{len(fitting) or 'no'} cases of {' or '.join(map(str, names))}"
                subject = f"{store.path}, patient {patient}"
                do = "Prepare what is missing, or leave the patient out of the store."
                raise InputError(subject, found=found, expected="one of each input", do=do)
            records.append(fitting[0])
        groups.append(RegisteredScans(tuple(records)))
    return groups


def read_input(store: Store, group: RegisteredScans, index: int) -> Volume:
    """One input of a group on the group's grid, with the first one's labels; an `InputError` if it lies elsewhere."""
    first = store.read(group.first.id)
    if index == 0:
        return first
    record = group.records[index]
    volume = resample_to(store.read(record.id), first, subject=f"{store.path}, patient {record.patient}")
    return replace(volume, labels=first.labels, label_names=first.label_names)


def resample_to(volume: Volume, grid: Volume, *, subject: object, outside: float | None = None) -> Volume:
    """A volume at the voxels of `grid`, by both affines, linearly; without labels. It must hold half of the grid.

    `outside` is the value beyond the volume; default: its lowest. `subject` is for messages.
    """
    place = np.linalg.inv(volume.affine) @ grid.affine
    same = volume.voxels.shape == grid.voxels.shape and np.abs(volume.affine - grid.affine).max() < SAME
    if not same:
        asked = (np.arange(0, n, max(1, n // ASKED)) for n in grid.voxels.shape)
        at = np.stack(np.meshgrid(*asked, indexing="ij"), axis=-1) @ place[:3, :3].T + place[:3, 3]
        inside = ((at > -0.5) & (at < np.array(volume.voxels.shape) - 0.5)).all(axis=-1).mean()
        if inside < LEAST_SHARED:
            name, other = (one.sequence or one.modality.upper() for one in (volume, grid))
            other = other if other != name else "the other volume"
            found = f"{name} that holds {inside:.0%} of what {other} shows"
            do = "Register them first, or take them from one examination."
            raise InputError(subject, found=found, expected="volumes that are registered", do=do)
    voxels = volume.voxels
    if not same:
        voxels = affine_transform(
            voxels.astype(np.float32),
            place[:3, :3],
            tuple(place[:3, 3]),  # pyright: ignore[reportArgumentType] - SciPy takes a number per axis
            output_shape=grid.voxels.shape,
            order=1,
            mode="constant",
            cval=float(voxels.min()) if outside is None else outside,
        )
    return replace(volume, voxels=voxels, affine=grid.affine, labels=None, label_names={})
