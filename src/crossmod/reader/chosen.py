"""What a survey shows: which slices of which cases, under which ids, and what they have in common."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crossmod.errors import InputError
from crossmod.reader.candidates import LEAST_SLICES, Candidate, Sides
from crossmod.reader.design import Design
from crossmod.reader.draw import Spot, draw
from crossmod.reader.images import Look, common_look, common_steps, nearest_slices
from crossmod.seeds import rng


@dataclass(frozen=True, eq=False)
class Chosen:
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


def choose(sides: Sides, design: Design) -> tuple[list[Chosen], Look]:
    """Draw the scans of a survey.

    Raises:
        InputError: there are too few.
    """
    scans, look = _volumes(sides, design) if design.unit == "volume" else _slices(sides, design)
    return [*scans, *_repeats(scans, design)], look


def _slices(sides: Sides, design: Design) -> tuple[list[Chosen], Look]:
    pools = [[(case, index) for case in side for index in case.inside(design.layers)] for side in _both(sides)]
    spots = [[Spot(int(case.placed.layers[i]), case.record.patient) for case, i in pool] for pool in pools]
    drawn = draw(spots[0], spots[1], (design.real, design.synthetic), design.layers, design.seed)
    scans = [
        Chosen(_new_id(), case, (index,), int(case.placed.layers[index]))
        for pool, chosen in zip(pools, drawn, strict=True)
        for case, index in (pool[i] for i in chosen)
    ]
    return scans, Look(*common_look(_sizes(scans), design.size, _offsets(scans)))


def _volumes(sides: Sides, design: Design) -> tuple[list[Chosen], Look]:
    pools = [[case for case in side if len(case.inside(design.layers)) >= LEAST_SLICES] for side in _both(sides)]
    spots = [[Spot(0, case.record.patient) for case in pool] for pool in pools]
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
        Chosen(_new_id(), case, tuple(indexes[i] for i in nearest_slices(z, step, slices)), 0)
        for case, indexes, z in zip(cases, inside, stacks, strict=True)
    ]
    return scans, Look(*common_look(_sizes(scans), design.size, _offsets(scans)), step=round(step, 3), slices=slices)


def _both(sides: Sides) -> tuple[Sequence[Candidate], Sequence[Candidate]]:
    return sides.real, sides.synthetic


def _repeats(scans: Sequence[Chosen], design: Design) -> list[Chosen]:
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


def _sizes(scans: Sequence[Chosen]) -> list[tuple[tuple[int, int], tuple[float, float]]]:
    records = [scan.case.record for scan in scans]
    return [((r.shape[1], r.shape[2]), (r.spacing[1], r.spacing[2])) for r in records]


def _offsets(scans: Sequence[Chosen]) -> list[tuple[float, float]]:
    return [scan.case.offset for scan in scans]


def _new_id() -> str:
    return secrets.token_hex(16)


def _no_volume(case: Candidate, slices: int, layers: tuple[int, int]) -> InputError:
    found = f"{slices} slices in the layers that all drawn volumes show ({layers[0]} to {layers[1]})"
    do = "Choose other --layers, leave the case out, or ask for slices."
    return InputError(case.record.id, found=found, wanted=f"{LEAST_SLICES} or more", do=do)
