"""The order in which one reader sees the scans."""

from collections.abc import Mapping

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
