"""Writing a store: case by case, the manifest last; a failure leaves the folder as it was."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from crossmod.data.body_box import body_box
from crossmod.data.patient_identity import with_scope
from crossmod.data.store import CASE_NAME, FORMAT, MANIFEST, CaseRecord, Store, Synthetic
from crossmod.data.volume import Affine, Volume
from crossmod.errors import InputError
from crossmod.files import atomic_write, lock, remove_partial, sha256, write_json

# It is locked while cases are added; found unlocked, it says that a writer was killed.
WRITING = ".writing"

# Millimetres; micro-CT of a sample lies below, scout views and headers in another unit above.
LEAST_SPACING, MOST_SPACING = 0.01, 100.0


class StoreWriter:
    """Adds cases to a store; made by `writing_store`."""

    def __init__(self, path: Path, cases: list[CaseRecord]):
        self.path, self.cases = path, cases
        self.written: list[Path] = []
        self._scopes: dict[str, str] = {}

    def add(
        self,
        case: str,
        volume: Volume,
        *,
        patient: str,
        person: Sequence[str] | None = None,
        synthetic: Synthetic | None = None,
        answer: np.ndarray | None = None,
    ) -> CaseRecord:
        """Write one case.

        Args:
            case: its name, unique in the store: letters, digits, `.`, `_` and `-`.
            volume: its voxels and labels.
            patient: the patient's pseudonym; the unit of splitting and statistics.
            person: marks that identify the patient in other stores (`data.patient_identity`); those of a name or number
                may lack their scope. Default: the pseudonym as a name.
            synthetic: how a synthetic case was made.
            answer: prediction of a segmentation model, uint8 `[slice, row, column]`.

        Raises:
            InputError: the name is taken or unusable, or the volume is constant or has NaN or infinite values.
        """
        file = self.path / f"{case}.safetensors"
        if not re.fullmatch(CASE_NAME, case):
            expected = "letters, digits, '.', '_' and '-'"
            raise InputError(self.path, found=f"case name {case!r}", expected=expected, do="Rename the case.")
        if any(record.id == case for record in self.cases):
            found = f"a case {case!r} already"
            raise InputError(self.path, found=found, expected="a new name", do="Use a new store, or another --name.")
        check_values(case, volume.voxels)
        labels, names = volume.labels, dict(volume.label_names) if volume.labels is not None else {}
        tensors = {"image": compact(volume.voxels), "label": labels, "answer": answer}
        with atomic_write(file) as temporary:
            save_file({name: np.ascontiguousarray(t) for name, t in tensors.items() if t is not None}, temporary)
            digest = sha256(temporary)
        self.written.append(file)
        record = CaseRecord(
            id=case,
            patient=patient,
            person=tuple(
                with_scope(mark, patient, digest, self._scopes)
                for mark in ((f"name::{patient}",) if person is None else person)
            ),
            modality=volume.modality,
            sequence=volume.sequence,
            unit=volume.unit,
            shape=tuple(volume.voxels.shape),
            spacing=volume.spacing,
            affine=volume.affine.tolist(),
            orientation=volume.orientation,
            dtype=str(tensors["image"].dtype),
            labels=names,
            slices_with={name: int(np.any(labels == value, axis=(1, 2)).sum()) for value, name in names.items()},
            acquisition=dict(volume.acquisition),
            notes=volume.notes,
            # An MR that was made from CT holds no iodine.
            contrast=volume.contrast if volume.modality == "ct" else None,
            synthetic=synthetic,
            sha256=digest,
            body=body_box(volume),
        )
        self.cases.append(record)
        return record


@contextmanager
def writing_store(path: Path, *, append: bool = False) -> Iterator[StoreWriter]:
    """Open a new folder, or with `append` a store, for new cases; the manifest is written when the block succeeds.

    Raises:
        InputError: the folder holds something else, or a store and `append` is off.
    """
    made = not path.exists()
    occupied = not made and not (path.is_dir() and not any(path.iterdir()))
    if (path / MANIFEST).is_file() and not append:
        do = "Choose another folder, or remove it; `crossmod prepare` adds to it with --append."
        raise InputError(path, found="a store already", expected="a new folder", do=do)
    if occupied and not (path / MANIFEST).is_file() and not (path / WRITING).is_file():
        found = "a file" if path.is_file() else "something that is not a store"
        raise InputError(path, found=found, expected="a new folder or a store", do="Choose another folder.")
    path.mkdir(parents=True, exist_ok=True)
    with lock(path / WRITING):
        remove_partial(path)
        if not (path / MANIFEST).is_file():
            # What a writer that was killed left of a new store; no manifest names it.
            for file in path.glob("*.safetensors"):
                file.unlink()
        writer = StoreWriter(path, list(Store(path).cases) if (path / MANIFEST).is_file() else [])
        try:
            yield writer
            records = [record.model_dump(mode="json") for record in writer.cases]
            write_json(path / MANIFEST, {"format": FORMAT, "cases": records})
            (path / WRITING).unlink()
        except BaseException:
            for file in (*writer.written, path / WRITING):
                file.unlink(missing_ok=True)
            if made and not any(path.iterdir()):
                path.rmdir()
            raise


def check_spacing(subject: object, affine: Affine) -> None:
    """Refuse voxel sizes that no scanner of people has: lengths in another unit, or a damaged header."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not ((lengths >= LEAST_SPACING) & (lengths <= MOST_SPACING)).all():
        found = f"a spacing of {' x '.join(f'{length:.4g}' for length in lengths)} mm"
        expected = f"{LEAST_SPACING} to {MOST_SPACING:g} mm along each axis"
        do = "Correct the spacing in the header (its unit may be wrong), or leave out this case."
        raise InputError(subject, found=found, expected=expected, do=do)


def check_values(subject: object, voxels: np.ndarray) -> None:
    """Refuse what no model can learn from: NaN or infinite values, or one value everywhere."""
    if not np.isfinite(voxels).all():
        broken = np.count_nonzero(~np.isfinite(voxels))
        found = f"{broken} voxel{'s that are' if broken != 1 else ' that is'} NaN or infinite"
        raise InputError(subject, found=found, expected="finite values", do="Fix or leave out this case.")
    if voxels.size == 0 or voxels.min() == voxels.max():
        found = "no voxels" if voxels.size == 0 else f"the value {voxels.flat[0]} everywhere"
        raise InputError(subject, found=found, expected="an image", do="Check the export; leave out this case.")


def compact(voxels: np.ndarray) -> np.ndarray:
    """The smallest of int16 and float32 that loses nothing a scanner can say."""
    limits = np.iinfo(np.int16)
    whole = np.issubdtype(voxels.dtype, np.integer) or bool((voxels == np.rint(voxels)).all())
    if whole and voxels.min() >= limits.min and voxels.max() <= limits.max:
        return voxels.astype(np.int16)
    return voxels.astype(np.float32)
