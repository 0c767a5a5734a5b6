import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from crossmod.engine import checkpoint
from crossmod.errors import InputError


def state(value: float) -> dict[str, object]:
    return {
        "step": int(value),
        "net": {"weight": torch.full((3, 2), value, dtype=torch.bfloat16)},
        "rates": [0.1, None],
    }


def test_round_trip_and_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, state(step))
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == [
        "step-00000002.safetensors", "step-00000003.safetensors",
    ]  # fmt: skip
    back = checkpoint.newest(tmp_path)
    assert back is not None
    assert back["step"] == 3
    assert back["rates"] == [0.1, None]
    assert torch.equal(back["net"]["weight"], torch.full((3, 2), 3.0, dtype=torch.bfloat16))


@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_damaged_file_is_named_and_the_one_before_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: float
) -> None:
    for step in (1, 2):
        path = checkpoint.save(tmp_path, step, state(step))
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        back = checkpoint.newest(tmp_path)
    assert back is not None
    assert back["step"] == 1
    assert "step-00000002.safetensors" in caplog.text


def test_a_truncated_file_too(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, state(1))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="all damaged"):
        checkpoint.newest(tmp_path)


def test_none_where_there_is_none(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path) is None


def test_weights_of_another_architecture_are_refused_by_name() -> None:
    small, large = nn.Linear(2, 3), nn.Linear(2, 4)
    with pytest.raises(InputError, match=r"another architecture: G1 holds \[4, 2\] for weight. Expected: \[3, 2\]"):
        checkpoint.load_weights(small, large.state_dict(), "G1", "a run")
    with pytest.raises(InputError, match="holds nothing for bias"):
        checkpoint.load_weights(small, {"weight": torch.zeros(3, 2)}, "G1", "a run")


def test_two_names_for_one_memory(tmp_path: Path) -> None:
    tied = torch.ones(2)
    checkpoint.save(tmp_path, 1, {"a": tied, "b": tied})
    back = checkpoint.newest(tmp_path)
    assert back is not None
    assert torch.equal(back["a"], back["b"])


def test_the_hash_is_that_of_the_weights() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.load_state_dict(first.state_dict())
    assert checkpoint.weights_hash({"G1": first.state_dict()}) == checkpoint.weights_hash({"G1": second.state_dict()})
    second.bias.data[0] += 1
    assert checkpoint.weights_hash({"G1": first.state_dict()}) != checkpoint.weights_hash({"G1": second.state_dict()})
