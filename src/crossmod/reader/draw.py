"""Which scans a survey shows: as even as can be over axial layers, then over patients.

Notable:
- Real and synthetic scans are as many as one another in each layer, so that knowing how often a layer is hard tells
  nothing about which scan is which. Where more of one side are wanted, the rest of it is spread as evenly by itself.
- Patients are even to the optimum: no other choice of slices from the same layers has patients that differ less (least
  sum of squares). It is found as in Harvey et al. 2006, semi-matchings: each slice that is added goes to the patient
  with the fewest whom it can reach, also by way of others who then give another slice.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crossmod.errors import InputError
from crossmod.seeds import rng

# Of each layer, how many slices each patient has, or gives.
Stock = Mapping[int, Mapping[str, int]]


@dataclass(frozen=True)
class Spot:
    """What of a scan matters for the draw."""

    layer: int
    patient: str


def draw(
    real: Sequence[Spot], synthetic: Sequence[Spot], count: tuple[int, int], layers: tuple[int, int], seed: int
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
    wanted = _by_layer(sides, count, order)
    return (
        _side(real, wanted[0], generator),
        _side(synthetic, wanted[1], generator),
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


def choose_patients(stock: Stock, wanted: Mapping[int, int], order: Sequence[str]) -> dict[int, dict[str, int]]:
    """How many slices each patient gives of each layer, so that patients give as alike as can be.

    Args:
        stock: what there is.
        wanted: of each layer, at most what there is.
        order: of the patients, for those that come first among equals.
    """
    given: dict[int, dict[str, int]] = {layer: dict.fromkeys(order, 0) for layer in wanted}
    load = dict.fromkeys(order, 0)
    for layer, count in wanted.items():
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
    wanted = [None if alike is None else spread(side, n, order, alike) for side, n in zip(sides, count, strict=True)]
    found = [one for one in wanted if one is not None]
    if len(found) < 2:
        raise _too_few(sides, count, sorted(order))
    return found


def _side(spots: Sequence[Spot], wanted: Mapping[int, int], generator: np.random.Generator) -> list[int]:
    where: dict[tuple[int, str], list[int]] = {}
    for index, spot in enumerate(spots):
        where.setdefault((spot.layer, spot.patient), []).append(index)
    patients = [str(name) for name in generator.permutation(sorted({spot.patient for spot in spots}))]
    stock = {layer: {name: len(where.get((layer, name), [])) for name in patients} for layer in wanted}
    given = choose_patients(stock, wanted, patients)
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
    wanted = f"{count[0]} real and {count[1]} synthetic scans, as many of either in each layer"
    do = "Give more stores, ask for fewer with --count, or for other --layers."
    return InputError("--count", found=f"too few to draw from ({held})", wanted=wanted, do=do)
