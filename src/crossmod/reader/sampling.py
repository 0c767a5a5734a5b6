"""Which scans a survey shows, and in which order each reader sees them.

Notable:
- Real and synthetic scans are as many as one another in each layer, so that knowing how often a layer is hard tells
  nothing about which scan is which. Where more of one side are wanted, the rest of it is spread as evenly by itself.
- Patients are even to the optimum: no other choice of slices from the same layers has patients that differ less (least
  sum of squares). It is found as in Harvey et al. 2006, semi-matchings: each slice that is added goes to the patient
  with the fewest whom it can reach, also by way of others who then give another slice.
"""

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crossmod.errors import InputError
from crossmod.reader.candidates import LEAST_SLICES, Candidate, Sides
from crossmod.reader.design import Design
from crossmod.reader.images import Look, common_look, common_steps, nearest_slices
from crossmod.seeds import rng

# A scan is shown again this many places later, or more: by then others stand between it and the memory of it.
APART = 5
# One try in a hundred and fifty or more keeps all repeats apart, however many there are.
TRIES = 2000


def order_of(scans: Mapping[str, str | None], seed: int, reader: str) -> list[str]:
    """All scans in an order of this reader's own, each repeat some places after what it repeats.

    It follows from the seed, the reader's name and the scans' ids. Since those are random and say nothing, somebody who
    knows the seed and the name learns nothing of the key. Surveys that are too short get repeats as far apart as a few
    thousand draws bring them.

    Args:
        scans: id -> the id that it repeats, if any.
        seed: the survey's.
        reader: their name.
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
    """One scan that is shown.

    Args:
        id: of the image; random, and not from the survey's seed, so that who knows that knows nothing.
        case: where it comes from.
        slices: which of its slices.
        layer: axial layer; 0 of a volume.
        repeats: the id of the scan that it shows again.
    """

    id: str
    case: Candidate
    slices: tuple[int, ...]
    layer: int
    repeats: str | None = None


def choose(sides: Sides, design: Design) -> tuple[list[StudySample], Look]:
    """Draw the scans of a survey.

    Raises:
        InputError: there are too few.
    """
    scans, look = _volumes(sides, design) if design.unit == "volume" else _slices(sides, design)
    return [*scans, *_repeats(scans, design)], look


def _slices(sides: Sides, design: Design) -> tuple[list[StudySample], Look]:
    pools = [[(case, index) for case in side for index in case.inside(design.layers)] for side in _both(sides)]
    spots = [[SliceRef(int(case.placed.layers[i]), case.record.patient) for case, i in pool] for pool in pools]
    drawn = draw(spots[0], spots[1], (design.real, design.synthetic), design.layers, design.seed)
    scans = [
        StudySample(_new_id(), case, (index,), int(case.placed.layers[index]))
        for pool, chosen in zip(pools, drawn, strict=True)
        for case, index in (pool[i] for i in chosen)
    ]
    return scans, Look(*common_look(_sizes(scans), design.size, _offsets(scans)))


def _volumes(sides: Sides, design: Design) -> tuple[list[StudySample], Look]:
    pools = [[case for case in side if len(case.inside(design.layers)) >= LEAST_SLICES] for side in _both(sides)]
    spots = [[SliceRef(0, case.record.patient) for case in pool] for pool in pools]
    drawn = draw(spots[0], spots[1], (design.real, design.synthetic), (0, 0), design.seed)
    cases = [pool[i] for pool, chosen in zip(pools, drawn, strict=True) for i in chosen]
    # Layers that all of them show: liver slices alone must not stand beside whole scans.
    ends = [[int(case.placed.layers[i]) for i in case.inside(design.layers)] for case in cases]
    layers = (max(min(one) for one in ends), min(max(one) for one in ends))
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
    return scans, Look(*common_look(_sizes(scans), design.size, _offsets(scans)), step=round(step, 3), slices=slices)


def _both(sides: Sides) -> tuple[Sequence[Candidate], Sequence[Candidate]]:
    return sides.real, sides.synthetic


def _repeats(scans: Sequence[StudySample], design: Design) -> list[StudySample]:
    """Scans to show again: as many real as synthetic ones, or one more."""
    generator = rng(design.seed, "repeats")
    shuffled = [scans[int(i)] for i in generator.permutation(len(scans))]
    turn = {False: 0, True: 0}
    ranked = []
    for scan in shuffled:
        ranked.append((turn[scan.case.synthetic], len(ranked), scan))
        turn[scan.case.synthetic] += 1
    chosen = [scan for _, _, scan in sorted(ranked, key=lambda one: one[:2])[: design.repeats]]
    return [replace(scan, id=_new_id(), repeats=scan.id) for scan in chosen]


def _sizes(scans: Sequence[StudySample]) -> list[tuple[tuple[int, int], tuple[float, float]]]:
    records = [scan.case.record for scan in scans]
    return [((r.shape[1], r.shape[2]), (r.spacing[1], r.spacing[2])) for r in records]


def _offsets(scans: Sequence[StudySample]) -> list[tuple[float, float]]:
    return [scan.case.offset for scan in scans]


def _new_id() -> str:
    return secrets.token_hex(16)


def _no_volume(case: Candidate, slices: int, layers: tuple[int, int]) -> InputError:
    found = f"{slices} slices in the layers that all drawn volumes show ({layers[0]} to {layers[1]})"
    do = "Choose other --layers, leave the case out, or ask for slices."
    return InputError(case.record.id, found=found, expected=f"{LEAST_SLICES} or more", do=do)


# Of each layer, how many slices each patient has, or gives.
Stock = Mapping[int, Mapping[str, int]]


@dataclass(frozen=True)
class SliceRef:
    """What of a scan matters for the draw."""

    layer: int
    patient: str


def draw(
    real: Sequence[SliceRef], synthetic: Sequence[SliceRef], count: tuple[int, int], layers: tuple[int, int], seed: int
) -> tuple[list[int], list[int]]:
    """The indexes of the real and of the synthetic scans to show, each once, in rising order.

    Args:
        real: real scans to draw from; those outside of `layers` are left out.
        synthetic: synthetic scans to draw from.
        count: real and synthetic scans wanted.
        layers: first and last layer.
        seed: of the draw.

    Raises:
        InputError: there are too few, and of what.
    """
    generator = rng(seed, "draw")
    inside = range(layers[0], layers[1] + 1)
    order = [int(layer) for layer in generator.permutation(inside)]
    sides = [Counter(spot.layer for spot in side if spot.layer in inside) for side in (real, synthetic)]
    expected = _by_layer(sides, count, order)
    return (
        _side(real, expected[0], generator),
        _side(synthetic, expected[1], generator),
    )


def spread(
    most: Mapping[int, int], count: int, order: Sequence[int], begin: Mapping[int, int]
) -> dict[int, int] | None:
    """How many of each layer: one more of those with the fewest, up to `count`; None where there are too few.

    Args:
        most: of each layer.
        count: in all.
        order: of the layers, for those that come first where not all can.
        begin: what is chosen already.
    """
    chosen = {layer: begin.get(layer, 0) for layer in order}
    for _ in range(count - sum(chosen.values())):
        free = [layer for layer in order if chosen[layer] < most.get(layer, 0)]
        if not free:
            return None
        chosen[min(free, key=lambda layer: chosen[layer])] += 1
    return chosen


def choose_patients(stock: Stock, expected: Mapping[int, int], order: Sequence[str]) -> dict[int, dict[str, int]]:
    """How many slices each patient gives of each layer, so that patients give as alike as can be.

    Args:
        stock: what there is.
        wanted: of each layer, at most what there is.
        order: of the patients, for those that come first among equals.
    """
    given: dict[int, dict[str, int]] = {layer: dict.fromkeys(order, 0) for layer in expected}
    load = dict.fromkeys(order, 0)
    for layer, count in expected.items():
        for _ in range(count):
            _add(layer, stock, given, load)
    return given


def _add(start: int, stock: Stock, given: dict[int, dict[str, int]], load: dict[str, int]) -> None:
    """One slice more of a layer, to the patient with the fewest who can be reached."""
    # Who is reached from which layer, and which layer by whom: a patient who gives less of one frees a place in it.
    through: dict[str, int] = {}
    before: dict[int, str] = {}
    layers = [start]
    for layer in layers:
        for patient in load:
            if patient in through or given[layer][patient] >= stock[layer].get(patient, 0):
                continue
            through[patient] = layer
            for other in given:
                if given[other][patient] > 0 and other not in layers:
                    before[other] = patient
                    layers.append(other)
    patient = min(through, key=lambda name: load[name])
    load[patient] += 1
    while True:
        layer = through[patient]
        given[layer][patient] += 1
        if layer == start:
            return
        patient = before[layer]
        given[layer][patient] -= 1


def _by_layer(sides: Sequence[Counter[int]], count: tuple[int, int], order: Sequence[int]) -> list[dict[int, int]]:
    both = {layer: min(side[layer] for side in sides) for layer in order}
    alike = spread(both, min(count), order, {})
    expected = [None if alike is None else spread(side, n, order, alike) for side, n in zip(sides, count, strict=True)]
    found = [one for one in expected if one is not None]
    if len(found) < 2:
        raise _too_few(sides, count, sorted(order))
    return found


def _side(spots: Sequence[SliceRef], expected: Mapping[int, int], generator: np.random.Generator) -> list[int]:
    where: dict[tuple[int, str], list[int]] = {}
    for index, spot in enumerate(spots):
        where.setdefault((spot.layer, spot.patient), []).append(index)
    patients = [str(name) for name in generator.permutation(sorted({spot.patient for spot in spots}))]
    stock = {layer: {name: len(where.get((layer, name), [])) for name in patients} for layer in expected}
    given = choose_patients(stock, expected, patients)
    chosen: list[int] = []
    for layer in sorted(given):
        for patient, count in sorted(given[layer].items()):
            indexes = where.get((layer, patient), [])
            chosen += [int(i) for i in generator.choice(indexes, count, replace=False)] if count else []
    return sorted(chosen)


def _too_few(sides: Sequence[Counter[int]], count: tuple[int, int], layers: Sequence[int]) -> InputError:
    held = "; ".join(f"layer {layer}: {sides[0][layer]} real, {sides[1][layer]} synthetic" for layer in layers)
    if layers == [0]:
        held = f"{sides[0][0]} real, {sides[1][0]} synthetic volumes with enough slices in these layers"
    expected = f"{count[0]} real and {count[1]} synthetic scans, as many of either in each layer"
    do = "Give more stores, ask for fewer with --count, or for other --layers."
    return InputError("--count", found=f"too few to draw from ({held})", expected=expected, do=do)
