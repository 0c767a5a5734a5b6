"""A training task of a few numbers, for the loop."""

from pathlib import Path

import numpy as np
import torch

from crossmod.engine.distributed import Distributed
from crossmod.engine.loop import TrainingPlan
from crossmod.engine.state import Batch, Losses, TrainingTask
from crossmod.runs import Run, start_run
from crossmod.seeds import rng


class Numbers:
    """Batches that are a function of epoch and step."""

    steps = 5

    def batch(self, epoch: int, step: int) -> dict[str, torch.Tensor]:
        return {"x": torch.from_numpy(rng(0, epoch, step).normal(size=(4, 3)))}


def regression() -> TrainingTask:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(0.5), torch.nn.Linear(3, 1)).double()
    adam = torch.optim.Adam(net.parameters(), 0.05)

    def draw(draws: np.random.Generator) -> Batch:
        return {"drawn": torch.tensor(draws.random())}

    def step(batch: Batch) -> Losses:
        loss = (net(batch["x"]).sum() - batch["drawn"]) ** 2
        adam.zero_grad()
        loss.backward()
        adam.step()
        return {"square": loss.detach()}

    return TrainingTask({"net": net}, {"net": adam}, step, draw)


def weights(trainee: TrainingTask) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainee.networks["net"].parameters()])


def new_run(path: Path) -> Run:
    return start_run(path, "train", {}, {})


PLAN = TrainingPlan("test", epochs=4, seed=3, decay=0.5)


ALONE = Distributed(torch.device("cpu"))
