import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossmod.engine.checkpoint import flatten, unflatten

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5).filter(lambda text: not text.startswith("tensor:"))
    | st.lists(st.integers(-9, 9), max_size=3).map(torch.tensor)
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers() | st.text(max_size=3), inner, max_size=3),
)


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return type(first) is type(second) and first == second


@given(trees)
def test_round_trip_through_json(tree: Any) -> None:
    tensors, skeleton = flatten(tree)
    if not any(isinstance(key, str) and "/" in key for key in _keys(tree)):
        assert same(unflatten(tensors, json.loads(json.dumps(skeleton))), tree)


def _keys(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [*tree, *(key for value in tree.values() for key in _keys(value))]
    return [key for value in tree for key in _keys(value)] if isinstance(tree, list) else []


def test_an_optimizers_state_survives() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    adam = torch.optim.Adam([weight], 0.1, (0.5, 0.999))
    weight.sum().backward()
    adam.step()
    tensors, skeleton = flatten(adam.state_dict())
    back = unflatten(tensors, json.loads(json.dumps(skeleton)))
    other = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))], 0.2)
    other.load_state_dict(back)
    assert torch.equal(other.state_dict()["state"][0]["exp_avg"], adam.state_dict()["state"][0]["exp_avg"])
    assert other.param_groups[0]["lr"] == 0.1
    assert tuple(other.param_groups[0]["betas"]) == (0.5, 0.999)


def test_what_is_no_data_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="a/b: a object"):
        flatten({"a": {"b": object()}})
