"""The real and synthetic cases that a survey can draw from, with the axial layers of their slices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from crossmod.config import Modality
from crossmod.data.frame import centre_of, field_centre
from crossmod.data.people import who_is_who
from crossmod.data.store import CaseRecord, Store
from crossmod.errors import InputError
from crossmod.html.format import listed
from crossmod.metrics.axial_layers import OUTSIDE
from crossmod.metrics.slice_positions import Placed, place_real, place_synthetic, slice_positions, sources_of

# Fewer slices are no volume to scroll through.
LEAST_SLICES = 3


@dataclass(frozen=True, eq=False)
class Candidate:
    """One case, and the layers of its slices.

    Args:
        placed: store, record and layers.
        synthetic: whether it is.
    """

    placed: Placed
    synthetic: bool

    @property
    def record(self) -> CaseRecord:
        """Its line in the manifest."""
        return self.placed.record

    @property
    def offset(self) -> tuple[float, float]:
        """Millimetres from the middle of its field of view to that of its body, down the rows and along the columns.

        0 for slices that a model saw centred on the body.
        """
        record = self.record
        down, along = centre_of(self.placed.store, record, "body")
        middle = field_centre((record.shape[1], record.shape[2]), (record.spacing[1], record.spacing[2]))
        return down - middle[0], along - middle[1]

    def inside(self, layers: tuple[int, int]) -> list[int]:
        """Indexes of the slices in some layers."""
        return [int(i) for i in np.flatnonzero((self.placed.layers >= layers[0]) & (self.placed.layers <= layers[1]))]

    def z(self, indexes: Sequence[int]) -> Float[np.ndarray, " slices"]:
        """Positions of slices, mm."""
        return slice_positions(self.record)[list(indexes)]


@dataclass(frozen=True, eq=False)
class Sides:
    """The real and the synthetic cases."""

    modality: Modality
    real: tuple[Candidate, ...]
    synthetic: tuple[Candidate, ...]


def candidates(real: Sequence[Path], synthetic: Sequence[Path], source: Sequence[Path]) -> Sides:
    """Read the stores."""
    opened = who_is_who([Store(path) for path in (*real, *synthetic)], ask=False).stores
    reals, synthetics = opened[: len(real)], opened[len(real) :]
    chosen = [(store, [case for case in store.cases if case.synthetic is not None]) for store in synthetics]
    kind = _kind([case for _, cases in chosen for case in cases], synthetic)
    fitting = [
        (store, [case for case in store.cases if case.synthetic is None and (case.modality, case.sequence) == kind])
        for store in reals
    ]
    if not any(cases for _, cases in fitting):
        have = {_words(case.modality, case.sequence) for store in reals for case in store.cases if not case.synthetic}
        found = f"real cases of {listed(sorted(have), 12) or 'nothing'}"
        do = "Give the store that holds them."
        raise InputError("--real", found=found, expected=f"{_words(*kind)}, as the synthetic ones are", do=do)
    sources = sources_of([*reals, *(Store(path) for path in source)])
    sides = Sides(
        modality=kind[0],
        real=_placed(fitting, place_real, synthetic=False),
        synthetic=_placed(chosen, lambda store, cases: place_synthetic(store, cases, sources), synthetic=True),
    )
    _check_layers("--real", sides.real)
    _check_layers("--synthetic", sides.synthetic)
    return sides


def _words(modality: Modality, sequence: str | None) -> str:
    return modality if sequence is None else f"{modality} {sequence}"


def _kind(cases: Sequence[CaseRecord], paths: Sequence[Path]) -> tuple[Modality, str | None]:
    """Modality and sequence of synthetic cases."""
    kinds: set[tuple[Modality, str | None]] = {(case.modality, case.sequence) for case in cases}
    if len(kinds) != 1:
        several = f"synthetic cases of {listed(sorted(_words(*kind) for kind in kinds), 12)}"
        found = several if kinds else "no synthetic cases"
        do = "Give stores that `crossmod synthesize` made, of one modality and sequence."
        where = ", ".join(map(str, paths))
        raise InputError(f"--synthetic {where}", found=found, expected="synthetic cases of one kind", do=do)
    return next(iter(kinds))


def _placed(
    chosen: Sequence[tuple[Store, list[CaseRecord]]],
    place: Callable[[Store, Sequence[CaseRecord]], list[Placed]],
    *,
    synthetic: bool,
) -> tuple[Candidate, ...]:
    seen: set[str] = set()
    found: list[Candidate] = []
    for store, cases in chosen:
        # The same case in two stores, or in a store that is named twice, counts once.
        new = [case for case in cases if case.sha256 not in seen]
        seen |= {case.sha256 for case in new}
        found += [Candidate(placed, synthetic) for placed in place(store, new)] if new else []
    return tuple(found)


def _check_layers(option: str, side: Sequence[Candidate]) -> None:
    if any((case.placed.layers != OUTSIDE).any() for case in side):
        return
    rules = listed(sorted({case.placed.rule for case in side}), 12)
    found = f"no slice with a known axial layer (placed by: {rules})"
    do = "Give whole scans, preferably with labels, and the synthetic ones' sources as --source."
    raise InputError(option, found=found, expected="scans that can be placed along the body", do=do)
