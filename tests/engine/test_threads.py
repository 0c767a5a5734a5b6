import pytest
import torch

from crossmod.engine import distributed as threads
from crossmod.engine.distributed import computing_with, launch_processes, suited_to, threads_for
from crossmod.settings import Machine

CPU = torch.device("cpu")


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, of which torch takes all."""
    monkeypatch.setattr(threads, "usable_cores", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)


@pytest.mark.usefixtures("eight")
def test_what_was_asked_for_wins_and_small_runs_take_one() -> None:
    assert threads_for(Machine(threads=3), small=True) == 3
    assert threads_for(Machine(threads=3), small=False) == 3
    assert threads_for(Machine(), small=True) == 1
    assert threads_for(Machine(), small=False) == 8
    assert threads_for(Machine(), small=False, processes=3) == 2
    assert threads_for(Machine(), small=False, processes=20) == 1


@pytest.mark.usefixtures("eight")
def test_no_more_threads_than_a_container_may_use_or_omp_num_threads_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    assert threads_for(Machine(), small=False) == 2
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert threads_for(Machine(), small=False) == 1


def test_threads_are_put_back_whatever_happens() -> None:
    before = torch.get_num_threads()
    with computing_with(before + 2):
        assert torch.get_num_threads() == before + 2
    with pytest.raises(KeyError), computing_with(before + 2):
        raise KeyError
    assert torch.get_num_threads() == before
    with launch_processes(Machine(threads=3, device="cpu"), small=True) as world:
        assert torch.get_num_threads() == world.threads == 3
    with computing_with(4), launch_processes(Machine(device="cpu"), small=True) as world:
        assert (torch.get_num_threads(), world.threads) == (1, 0)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    # Four slices of 64 px at a time, one of 256.
    ("channels", "size", "asked", "taken"),
    [(8, 64, 0, 1), (64, 64, 0, 4), (8, 256, 0, 4), (8, 64, 2, 2), (64, 256, 3, 3)],
)
def test_a_trained_network_is_used_as_its_size_suggests(channels: int, size: int, asked: int, taken: int) -> None:
    network = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(1, channels, 3))
    with computing_with(4), suited_to(network, size, CPU, asked):
        assert torch.get_num_threads() == taken


def test_a_network_of_unknown_width_is_left_alone() -> None:
    with computing_with(2), suited_to(torch.nn.ReLU(), 16, CPU):
        assert torch.get_num_threads() == 2
