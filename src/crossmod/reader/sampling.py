"""The cases that a survey can draw from, the draw of its scans, and the order in which each reader sees them.

Notable:
- Each layer has equally many real and synthetic scans, so that the difficulty of a layer reveals nothing about the
  class. If more of one class are requested, the surplus is spread evenly over the layers.
- Patients are balanced optimally: no other choice of slices from the same layers has a smaller sum of squares of the
  patients' numbers. It is found as in Harvey et al. 2006, semi-matchings: each added slice goes to the patient with the
  fewest who can be reached, also through patients who then give another slice.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from crossmod.config import Modality
from crossmod.data.frame import centre_of, field_centre
from crossmod.data.people import who_is_who
from crossmod.data.store import CaseRecord, Store
from crossmod.errors import InputError
from crossmod.html.format import listed
from crossmod.metrics.axial_layers import OUTSIDE, Placed, place_real, place_synthetic, slice_positions, sources_of
from crossmod.reader.design import Design
from crossmod.reader.images import Look, common_look, common_steps, nearest_slices
from crossmod.seeds import rng

# Fewer slices are no volume to scroll through.
LEAST_SLICES = 3


@dataclass(frozen=True, eq=False)
class Candidate:
    """One case, and the layers of its slices."""

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


# A scan is repeated at least this many places later, so that readers do not remember it.
APART = 5
# At least one try in about 150 keeps all repeats apart, however many they are.
TRIES = 2000


def order_of(scans: Mapping[str, str | None], seed: int, reader: str) -> list[str]:
    """All scans in a reader's own order, each repeat some places after its original.

    The order follows from the seed, the reader's name and the scans' ids. The ids are random, so that seed and name
    reveal nothing of the key. In surveys that are too short, repeats are as far apart as the best of `TRIES` draws.
    """
    generator = rng(seed, "order", reader)
    names = sorted(scans)
    pairs = [(original, repeat) for repeat, original in scans.items() if original is not None]
    best, furthest = names, -1
    for _ in range(TRIES):
        order = [names[int(i)] for i in generator.permutation(len(names))]
        places = {name: place for place, name in enumerate(order)}
        nearest = min((abs(places[one] - places[other]) for one, other in pairs), default=APART)
        if nearest > furthest:
            best, furthest = order, nearest
        if furthest >= APART:
            break
    places = {name: place for place, name in enumerate(best)}
    for original, repeat in pairs:
        first, last = sorted((places[original], places[repeat]))
        best[first], best[last] = original, repeat
    return best


@dataclass(frozen=True, eq=False)
class StudySample:
    """One shown scan."""

    id: str  # of the image; random and independent of the survey's seed, so that the seed does not reveal it
    case: Candidate  # its source
    slices: tuple[int, ...]  # of the case
    layer: int  # axial layer; 0 of a volume
    repeats: str | None = None  # the id of the scan that it repeats


def choose(sides: Sides, design: Design) -> tuple[list[StudySample], Look]:
    """Draw the scans of a survey."""
    scans, look = _volumes(sides, design) if design.unit == "volume" else _slices(sides, design)
    return [*scans, *_repeats(scans, design)], look


def _slices(sides: Sides, design: Design) -> tuple[list[StudySample], Look]:
    pools = [
        [(case, index) for case in side for index in case.inside(design.layers)]
        for side in (sides.real, sides.synthetic)
    ]
    spots = [[SliceRef(int(case.placed.layers[i]), case.record.patient) for case, i in pool] for pool in pools]
    drawn = draw(spots[0], spots[1], (design.real, design.synthetic), design.layers, design.seed)
    scans = [
        StudySample(_new_id(), case, (index,), int(case.placed.layers[index]))
        for pool, chosen in zip(pools, drawn, strict=True)
        for case, index in (pool[i] for i in chosen)
    ]
    return scans, Look(*_common(scans, design.size))


def _volumes(sides: Sides, design: Design) -> tuple[list[StudySample], Look]:
    pools = [
        [case for case in side if len(case.inside(design.layers)) >= LEAST_SLICES]
        for side in (sides.real, sides.synthetic)
    ]
    spots = [[SliceRef(0, case.record.patient) for case in pool] for pool in pools]
    drawn = draw(spots[0], spots[1], (design.real, design.synthetic), (0, 0), design.seed)
    cases = [pool[i] for pool, chosen in zip(pools, drawn, strict=True) for i in chosen]
    # Layers that all volumes have: liver slices must not be compared with whole scans.
    shown = [[int(case.placed.layers[i]) for i in case.inside(design.layers)] for case in cases]
    layers = (max(map(min, shown)), min(map(max, shown)))
    inside = [case.inside(layers) for case in cases]
    for case, indexes in zip(cases, inside, strict=True):
        if len(indexes) < LEAST_SLICES:
            raise _no_volume(case, len(indexes), layers)
    stacks = [case.z(indexes) for case, indexes in zip(cases, inside, strict=True)]
    step, slices = common_steps(stacks)
    if slices < LEAST_SLICES:
        shortest = int(np.argmin([z[-1] - z[0] for z in stacks]))
        raise _no_volume(cases[shortest], slices, layers)
    scans = [
        StudySample(_new_id(), case, tuple(indexes[i] for i in nearest_slices(z, step, slices)), 0)
        for case, indexes, z in zip(cases, inside, stacks, strict=True)
    ]
    return scans, Look(*_common(scans, design.size), step=round(step, 3), slices=slices)


def _repeats(scans: Sequence[StudySample], design: Design) -> list[StudySample]:
    """Scans to repeat: equally many real and synthetic ones, or one more of a class."""
    generator = rng(design.seed, "repeats")
    shuffled = [scans[int(i)] for i in generator.permutation(len(scans))]
    turn = {False: 0, True: 0}
    ranked = []
    for scan in shuffled:
        ranked.append((turn[scan.case.synthetic], len(ranked), scan))
        turn[scan.case.synthetic] += 1
    chosen = [scan for _, _, scan in sorted(ranked, key=lambda row: row[:2])[: design.repeats]]
    return [replace(scan, id=_new_id(), repeats=scan.id) for scan in chosen]


def _common(scans: Sequence[StudySample], size: int) -> tuple[float, int]:
    records = [scan.case.record for scan in scans]
    sizes = [((r.shape[1], r.shape[2]), (r.spacing[1], r.spacing[2])) for r in records]
    return common_look(sizes, size, [scan.case.offset for scan in scans])


def _new_id() -> str:
    return secrets.token_hex(16)


def _no_volume(case: Candidate, slices: int, layers: tuple[int, int]) -> InputError:
    found = f"{slices} slices in the layers that all drawn volumes show ({layers[0]} to {layers[1]})"
    do = "Choose other --layers, leave the case out, or show slices."
    return InputError(case.record.id, found=found, expected=f"{LEAST_SLICES} or more", do=do)


# By layer and patient, numbers of slices.
Stock = Mapping[int, Mapping[str, int]]


@dataclass(frozen=True)
class SliceRef:
    """Layer and patient of a scan, which determine the draw."""

    layer: int
    patient: str


def draw(
    real: Sequence[SliceRef], synthetic: Sequence[SliceRef], count: tuple[int, int], layers: tuple[int, int], seed: int
) -> tuple[list[int], list[int]]:
    """The indexes of the real and of the synthetic scans to show, in rising order."""
    generator = rng(seed, "draw")
    inside = range(layers[0], layers[1] + 1)
    order = [int(layer) for layer in generator.permutation(inside)]
    sides = [Counter(spot.layer for spot in side if spot.layer in inside) for side in (real, synthetic)]
    of_real, of_synthetic = _by_layer(sides, count, order)
    return _side(real, of_real, generator), _side(synthetic, of_synthetic, generator)


def spread(
    most: Mapping[int, int], count: int, order: Sequence[int], begin: Mapping[int, int]
) -> dict[int, int] | None:
    """Numbers by layer: one more of the layer with the fewest, up to `count` in all; None if there are too few."""
    chosen = {layer: begin.get(layer, 0) for layer in order}
    for _ in range(count - sum(chosen.values())):
        free = [layer for layer in order if chosen[layer] < most.get(layer, 0)]
        if not free:
            return None
        chosen[min(free, key=lambda layer: chosen[layer])] += 1
    return chosen


def choose_patients(stock: Stock, expected: Mapping[int, int], order: Sequence[str]) -> dict[int, dict[str, int]]:
    """Numbers of slices by layer and patient, with patients as equal as possible."""
    chosen: dict[int, dict[str, int]] = {layer: dict.fromkeys(order, 0) for layer in expected}
    load = dict.fromkeys(order, 0)
    for layer, count in expected.items():
        for _ in range(count):
            _add(layer, stock, chosen, load)
    return chosen


def _add(start: int, stock: Stock, chosen: dict[int, dict[str, int]], load: dict[str, int]) -> None:
    """One slice more of a layer, for the patient with the fewest who can be reached."""
    # By patient the layer, and by layer the patient, on the path: a patient who gives less of a layer frees a place.
    through: dict[str, int] = {}
    before: dict[int, str] = {}
    layers = [start]
    for layer in layers:
        for patient in load:
            if patient in through or chosen[layer][patient] >= stock[layer].get(patient, 0):
                continue
            through[patient] = layer
            for other in chosen:
                if chosen[other][patient] > 0 and other not in layers:
                    before[other] = patient
                    layers.append(other)
    patient = min(through, key=lambda name: load[name])
    load[patient] += 1
    while True:
        layer = through[patient]
        chosen[layer][patient] += 1
        if layer == start:
            return
        patient = before[layer]
        chosen[layer][patient] -= 1


def _by_layer(sides: Sequence[Counter[int]], count: tuple[int, int], order: Sequence[int]) -> list[dict[int, int]]:
    both = {layer: min(side[layer] for side in sides) for layer in order}
    alike = spread(both, min(count), order, {})
    expected = [None if alike is None else spread(side, n, order, alike) for side, n in zip(sides, count, strict=True)]
    known = [numbers for numbers in expected if numbers is not None]
    if len(known) < 2:
        raise _too_few(sides, count, sorted(order))
    return known


def _side(spots: Sequence[SliceRef], expected: Mapping[int, int], generator: np.random.Generator) -> list[int]:
    where: dict[tuple[int, str], list[int]] = {}
    for index, spot in enumerate(spots):
        where.setdefault((spot.layer, spot.patient), []).append(index)
    patients = [str(name) for name in generator.permutation(sorted({spot.patient for spot in spots}))]
    stock = {layer: {name: len(where.get((layer, name), [])) for name in patients} for layer in expected}
    counts = choose_patients(stock, expected, patients)
    chosen: list[int] = []
    for layer in sorted(counts):
        for patient, count in sorted(counts[layer].items()):
            indexes = where.get((layer, patient), [])
            chosen += [int(i) for i in generator.choice(indexes, count, replace=False)] if count else []
    return sorted(chosen)


def _too_few(sides: Sequence[Counter[int]], count: tuple[int, int], layers: Sequence[int]) -> InputError:
    held = "; ".join(f"layer {layer}: {sides[0][layer]} real, {sides[1][layer]} synthetic" for layer in layers)
    if layers == [0]:
        held = f"{sides[0][0]} real, {sides[1][0]} synthetic volumes with enough slices in these layers"
    expected = f"{count[0]} real and {count[1]} synthetic scans, with equal numbers in each layer"
    do = "Give more stores, a smaller --count, or other --layers."
    return InputError("--count", found=f"too few to draw from ({held})", expected=expected, do=do)
