"""The draw: counts, evenness to the optimum, nothing twice; and each reader's order."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmod.errors import InputError
from crossmod.reader.sampling import APART, SliceRef, choose_patients, draw, order_of, spread

SPOTS = st.lists(st.builds(SliceRef, st.integers(0, 5), st.sampled_from("abcd")), max_size=60)


def by_layer(spots: list[SliceRef], chosen: list[int]) -> Counter[int]:
    return Counter(spots[i].layer for i in chosen)


@given(SPOTS, SPOTS, st.integers(1, 8), st.integers(1, 8), st.integers(0, 3))
def test_counts_are_right_and_layers_alike(
    real: list[SliceRef], synthetic: list[SliceRef], n_real: int, n_synthetic: int, seed: int
) -> None:
    layers = (1, 5)
    sides = [Counter(s.layer for s in side if 1 <= s.layer <= 5) for side in (real, synthetic)]
    both = {layer: min(side[layer] for side in sides) for layer in range(1, 6)}
    enough = sum(both.values()) >= min(n_real, n_synthetic)
    enough &= all(sum(side.values()) >= n for side, n in zip(sides, (n_real, n_synthetic), strict=True))
    if not enough:
        with pytest.raises(InputError, match="too few to draw from"):
            draw(real, synthetic, (n_real, n_synthetic), layers, seed)
        return
    chosen = draw(real, synthetic, (n_real, n_synthetic), layers, seed)
    assert chosen == draw(real, synthetic, (n_real, n_synthetic), layers, seed)
    for spots, indexes, count, held in zip((real, synthetic), chosen, (n_real, n_synthetic), sides, strict=True):
        assert len(indexes) == len(set(indexes)) == count
        assert all(1 <= spots[i].layer <= 5 for i in indexes)
        assert not by_layer(spots, indexes) - held
    counts = [by_layer(spots, indexes) for spots, indexes in zip((real, synthetic), chosen, strict=True)]
    if n_real == n_synthetic:
        assert counts[0] == counts[1]
        # Nothing moved from one layer to another would make them more even.
        for fuller, emptier in itertools.permutations(both, 2):
            assert counts[0][fuller] - counts[0][emptier] <= 1 or counts[0][emptier] == both[emptier]
    else:
        few, many = sorted(counts, key=Counter.total)
        assert not few - many


@given(st.dictionaries(st.integers(1, 3), st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)), min_size=1),
       st.data())  # fmt: skip
def test_patients_are_as_even_as_any_choice_has_them(stock: dict[int, dict[str, int]], data: st.DataObject) -> None:
    wanted = {layer: data.draw(st.integers(0, min(sum(have.values()), 4))) for layer, have in stock.items()}
    given_ = choose_patients(stock, wanted, data.draw(st.permutations("abc")))
    for layer, count in wanted.items():
        assert sum(given_[layer].values()) == count
        assert all(0 <= n <= stock[layer].get(patient, 0) for patient, n in given_[layer].items())
    load = [sum(one[patient] for one in given_.values()) for patient in "abc"]
    assert sum(n * n for n in load) == least_squares(stock, wanted)


def least_squares(stock: dict[int, dict[str, int]], wanted: dict[int, int]) -> int:
    """By trying everything."""
    loads = {(0, 0, 0)}
    for layer, count in wanted.items():
        ways = [
            way for way in itertools.product(*(range(stock[layer].get(patient, 0) + 1) for patient in "abc"))
            if sum(way) == count
        ]  # fmt: skip
        loads = {(a + x, b + y, c + z) for a, b, c in loads for x, y, z in ways}
    return min(a * a + b * b + c * c for a, b, c in loads)


def test_layers_are_filled_evenly() -> None:
    assert spread({1: 9, 2: 1, 3: 9}, 6, [3, 1, 2], {}) == {1: 2, 2: 1, 3: 3}
    assert spread({1: 1, 2: 1}, 3, [1, 2], {}) is None


def test_the_error_says_what_each_layer_holds() -> None:
    real, synthetic = [SliceRef(3, "a"), SliceRef(4, "a")], [SliceRef(4, "b"), SliceRef(4, "b")]
    with pytest.raises(InputError, match=r"layer 3: 1 real, 0 synthetic; layer 4: 1 real, 2 synthetic"):
        draw(real, synthetic, (2, 2), (3, 4), 0)


def test_another_seed_is_another_draw() -> None:
    spots = [SliceRef(layer, patient) for layer in range(1, 11) for patient in "abcdef" for _ in range(3)]
    draws = {tuple(draw(spots, spots, (10, 10), (1, 10), seed)[0]) for seed in range(5)}
    assert len(draws) == 5
    assert all(max(Counter(spots[i].patient for i in one).values()) == 2 for one in draws)


@given(st.integers(4, 12), st.integers(0, 12), st.integers(0, 5))
def test_orders_hold_all_scans_and_repeats_come_later(count: int, repeats: int, seed: int) -> None:
    scans: dict[str, str | None] = {f"s{i}": None for i in range(count)}
    scans |= {f"r{i}": f"s{i}" for i in range(min(repeats, count))}
    order = order_of(scans, seed, "reader")
    assert sorted(order) == sorted(scans)
    assert order == order_of(scans, seed, "reader")
    for repeat, original in scans.items():
        assert original is None or order.index(original) < order.index(repeat)


def test_repeats_stand_apart_and_readers_have_other_orders() -> None:
    scans: dict[str, str | None] = {f"{i:02}": None for i in range(20)} | {
        f"again {i:02}": f"{i:02}" for i in range(20)
    }
    orders = [order_of(scans, 0, f"reader {number}") for number in range(8)]
    assert len({tuple(order) for order in orders}) == 8
    for order in orders:
        gaps = [order.index(one) - order.index(other) for one, other in scans.items() if other is not None]
        assert min(gaps) >= APART


def test_orders_say_nothing_of_the_class() -> None:
    """Ids are random: whoever knows seed and name knows where an id stands, not what it is."""
    first, second = ({f"{tag}{i}": None for i in range(6)} for tag in "ab")
    assert [name[1] for name in order_of(first, 0, "x")] == [name[1] for name in order_of(second, 0, "x")]
