"""What is written down of a training while it runs: metrics.jsonl, TensorBoard, alarms. The first process writes."""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from crossmod.engine.alarms import loss_advice
from crossmod.engine.board import Board, board
from crossmod.engine.checkpoint import checkpoints
from crossmod.engine.memory import peak_bytes
from crossmod.engine.standing import Sight, Standing
from crossmod.engine.trainee import Losses
from crossmod.engine.world import World
from crossmod.errors import InputError
from crossmod.runs import Run

log = logging.getLogger(__name__)


@dataclass
class Journal:
    """An open journal; `journal` opens it.

    Args:
        run: where it lies.
        world: the processes that train together.
        curves: TensorBoard, on the first process.
        lap: when the steps of the next reading began.
    """

    run: Run
    world: World
    curves: Board | None
    lap: float = field(default_factory=time.monotonic)

    def read(self, since: Sequence[Losses], at: Standing, epoch: int) -> str:
        """Wait for the device and write down the mean losses since the last reading.

        Returns:
            The same for the progress line.

        Raises:
            InputError: a loss that is no number.
        """
        means = self._means(since, at.step)
        at.count(means, len(since))
        speed = len(since) / max(time.monotonic() - self.lap, 1e-9)
        memory = peak_bytes(self.world.device) / 1e9
        if self.curves:
            machine = {"steps_per_second": round(speed, 3), "memory_gb": round(memory, 3)}
            self.run.log({"step": at.step, "epoch": epoch, "seconds": round(at.seconds, 3), **means, **machine})
            self.curves.scalars(at.step, {f"loss/{name}": mean for name, mean in means.items()} | machine)
        self.start_lap()
        losses = "  ".join(f"{name} {mean:.3f}" for name, mean in means.items())
        return f"{speed:.3g} steps/s  {memory:.1f} GB  {losses}"

    def start_lap(self) -> None:
        """Whatever was done since the last reading was no training."""
        self.lap = time.monotonic()

    def saw(self, sight: Sight, at: Standing, epoch: int) -> None:
        """Write down what was seen after an epoch; an alarm is raised once."""
        fresh = at.new(sight.alarms, epoch)
        for alarm in fresh:
            log.warning("Alarm. %s", alarm)
        if self.curves is None:
            return
        where = {"step": at.step, "epoch": epoch}
        # What is no number cannot be drawn, and JSON has none.
        numbers = {name: value for name, value in sight.numbers.items() if math.isfinite(value)}
        if numbers:
            self.run.log({**where, **numbers})
            self.curves.scalars(at.step, numbers)
        for alarm in fresh:
            self.run.log({**where, **alarm.reading})
        if sight.picture:
            self.curves.picture(at.step, sight.picture)

    def _means(self, since: Sequence[Losses], step: int) -> dict[str, float]:
        names = list(since[0])
        means = torch.stack([torch.stack([losses[name] for losses in since]).mean() for name in names])
        found = dict(zip(names, self.world.mean(means.tolist()), strict=True))
        bad = [name for name, value in found.items() if not math.isfinite(value)]
        if bad:
            raise InputError(
                self.run.path,
                found=f"a {' and a '.join(bad)} loss that is no number at step {step}",
                wanted="finite losses",
                do=loss_advice(names, kept=bool(checkpoints(self.run.path / "checkpoints"))),
            )
        return found


@contextmanager
def journal(run: Run, world: World, start_step: int) -> Iterator[Journal]:
    """Open the journal of a run that continues after `start_step`."""
    if not world.first:
        yield Journal(run, world, None)
        return
    with board(run.path / "tensorboard", start_step) as curves:
        yield Journal(run, world, curves)
