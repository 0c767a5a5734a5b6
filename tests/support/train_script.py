"""A training in processes of its own: `train_script.py OUT RANKS BATCH [what goes wrong]`.

A regression in double precision, so that two processes can be held against one with twice the batch. What may go wrong:
`stop-1-7` (process 1 is told to stop before step 7), `nan-1-7` (its loss is no number), `break-1-7` (it fails).
"""

import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from crossmod.engine import checkpoint
from crossmod.engine.distributed import Distributed, launch_processes
from crossmod.engine.interrupt import TrainingInterrupted
from crossmod.engine.loop import TrainingPlan, fit
from crossmod.engine.state import Batch, Losses, TrainingTask
from crossmod.errors import InputError
from crossmod.runs import start_run
from crossmod.seeds import rng
from crossmod.settings import Machine

STEPS = 6


@dataclass(frozen=True)
class Numbers:
    """Each process has its part of a batch."""

    rank: int
    each: int
    steps: int = STEPS

    def batch(self, epoch: int, step: int) -> Batch:
        x = rng(0, epoch, step).normal(size=(2, 3))
        return {"x": torch.from_numpy(x[self.rank * self.each : (self.rank + 1) * self.each])}


def regression(world: Distributed, wrong: str) -> TrainingTask:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
    adam = torch.optim.Adam(net.parameters(), 0.05)
    what, rank, when = wrong.split("-") if wrong else ("", "-1", "0")
    taken = iter(range(1, 999))

    def step(batch: Batch) -> Losses:
        here = next(taken) == int(when) and world.rank == int(rank)
        if here and what == "stop":
            signal.raise_signal(signal.SIGTERM)
        if here and what == "break":
            raise ZeroDivisionError("broken as asked for")
        loss = ((net(batch["x"]).sum(1) - batch["x"][:, 0]) ** 2).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        return {"square": loss.detach() * (float("nan") if here and what == "nan" else 1.0)}

    return TrainingTask({"net": net}, {"net": adam}, step, memory={"own": Own(world.rank)})


class Own:
    """Something that each process has for itself."""

    def __init__(self, rank: int):
        self.rank = torch.tensor(rank)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"rank": self.rank}

    def load_state_dict(self, state: dict[str, torch.Tensor], /) -> None:
        assert int(state["rank"]) == int(self.rank), "a process was given what another one had"


def main() -> int:
    out, ranks, each, *wrong = sys.argv[1:]
    nodes = int(os.environ.get("NODES", "1"))
    with launch_processes(Machine(device="cpu", devices=int(ranks) // nodes, nodes=nodes)) as world:
        run = world.once(lambda: start_run(Path(out), "train", {}, {}))
        trainee = regression(world, wrong[0] if wrong else "")
        try:
            fit(
                trainee,
                Numbers(world.rank, int(each)),
                run,
                replace(TrainingPlan("test", epochs=3, seed=0), keep=9),
                world,
            )
        except InputError as error:
            print(f"process {world.rank}: {error}", flush=True)
            return 2
        except TrainingInterrupted as stopped:
            print(f"process {world.rank}: {stopped}", flush=True)
            raise
    return 0


def weights(out: Path) -> np.ndarray:
    state = checkpoint.newest(out / "checkpoints")
    assert state is not None
    return np.concatenate([part.numpy().ravel() for part in state["networks"]["net"].values()])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TrainingInterrupted as stopped:
        sys.exit(128 + stopped.number)
