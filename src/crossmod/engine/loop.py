"""The one training loop: restore, then step, read, look, save, until the plan is done."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from math import cos, pi
from typing import Literal

import torch

from crossmod.engine import checkpoint
from crossmod.engine.checkpoint import best, restore, snapshot
from crossmod.engine.crowding import GivingWay
from crossmod.engine.distributed import Distributed
from crossmod.engine.interrupt import TrainingInterrupted, asked_to_stop
from crossmod.engine.logger import journal
from crossmod.engine.optimizers import rates, set_rates
from crossmod.engine.state import Batches, Losses, TrainerState, TrainingTask, ValidationResult
from crossmod.files import lock, remove_partial
from crossmod.progress import progress
from crossmod.runs import LOCK, Run
from crossmod.seeds import derive, rng

# Reading losses waits for the device.
STEPS_BETWEEN_READINGS = 25

Look = Callable[[int, TrainerState], ValidationResult]


@dataclass(frozen=True)
class TrainingPlan:
    """How long to train, and what to keep."""

    title: str  # of the progress line
    epochs: int  # passes over the data
    seed: int  # the run's seed
    steps: int = 0  # number of steps, which replaces the epochs; 0: the epochs count
    decay: float = 0.0  # share of the epochs, at the end, over which the learning rates fall linearly to 0
    # `cosine`: the learning rates fall to 0 along half a cosine over all steps; replaces `decay`
    schedule: Literal["constant", "cosine"] = "constant"
    patience: int = 0  # stop after this many scores without a better one; 0: never
    minutes: float = 5.0  # between checkpoints
    keep: int = 2  # how many of the last checkpoints stay

    def learning_rate_factor(self, epoch: int, done: float = 0.0) -> float:
        """Factor of the learning rates in an epoch counted from 0, after the share `done` of all steps. A plan of steps
        may last longer than its epochs: the factor of the last epoch then stays."""
        if self.schedule == "cosine":
            # Loshchilov & Hutter 2017, Eq. 5, with a least rate of 0 and no restarts.
            return (1 + cos(pi * done)) / 2
        falling = round(self.epochs * self.decay)
        flat = self.epochs - falling
        fallen = min(epoch, self.epochs - 1) - flat + 1
        return 1.0 if fallen <= 0 else 1 - fallen / (falling + 1)


def fit(
    trainee: TrainingTask,
    batches: Batches,
    run: Run,
    plan: TrainingPlan,
    world: Distributed,
    look: Look = lambda epoch, standing: ValidationResult(),
) -> TrainerState:
    """Train to the end of the plan, from the run's newest checkpoint; `look` is called after each epoch, on the first
    process."""
    with ExitStack() as stack:
        # No other command may write to the run. Half-written files are of a killed one.
        world.once(lambda: stack.enter_context(lock(run.path / LOCK)))
        world.once(lambda: remove_partial(run.path / "checkpoints"))
        return _fit(trainee, batches, run, plan, world, look)


def _fit(
    trainee: TrainingTask, batches: Batches, run: Run, plan: TrainingPlan, world: Distributed, look: Look
) -> TrainerState:
    first_rates = {name: rates(optimizer) for name, optimizer in trainee.optimizers.items()}
    total = plan.steps or plan.epochs * batches.steps
    folder = run.path / "checkpoints"
    torch.manual_seed(derive(plan.seed, "dropout", world.rank))
    for optimizer in trainee.optimizers.values():
        world.average_gradients(optimizer)
    at = restore(trainee, run, world)
    began, saved = time.monotonic() - at.seconds, time.monotonic()
    since: list[Losses] = []
    cores = GivingWay(world, at)

    with (
        progress(plan.title, total, done=at.step) as advance,
        journal(run, world, at.step) as notes,
        asked_to_stop() as asked,
    ):
        while at.step < total and not at.over:
            # One step. Nothing here waits for the device.
            epoch, within = divmod(at.step, batches.steps)
            for name, optimizer in trainee.optimizers.items():
                factor = plan.learning_rate_factor(epoch, at.step / total)
                set_rates(optimizer, [rate * factor for rate in first_rates[name]])
            draws = trainee.draw(rng(plan.seed, "step", at.step, world.rank))
            draws = {name: drawn.to(world.device, non_blocking=True) for name, drawn in draws.items()}
            since.append(trainee.step({**batches.batch(epoch, within), **draws}))
            at.step += 1
            cores.after_step()
            ends_epoch = within + 1 == batches.steps or at.step == total
            late = time.monotonic() - saved > plan.minutes * 60
            stop, save = world.all_agree(asked() or 0, int(late or at.step == total))

            # Read, before each save: so no NaN gets into a checkpoint, and no reading is lost.
            if ends_epoch or stop or save or at.step % STEPS_BETWEEN_READINGS == 0:
                at.seconds = time.monotonic() - began
                advance(0, note=notes.read(since, at, epoch))
                since.clear()

            # Look.
            if ends_epoch:
                at.end_epoch()
                sight = world.once(lambda epoch=epoch: look(epoch, at))
                notes.saw(sight, at, epoch)
                if at.is_best(sight.score, epoch):
                    save = True
                    world.once(lambda: checkpoint.write(checkpoint.best_at(folder, at.step), best(trainee, at)))
                at.over = 0 < plan.patience <= at.waited
                notes.restart_timer()
                cores.restart()

            # Save.
            if save or stop or at.over:
                at.seconds = time.monotonic() - began
                state = snapshot(trainee, at, world)
                world.once(
                    lambda state=state: checkpoint.save(folder, at.step, state, keep=plan.keep, best=at.best_step)
                )
                saved = time.monotonic()
                notes.restart_timer()
                cores.restart()
            advance()
            if stop and at.step < total:
                raise TrainingInterrupted(stop, at.step, total)
    return at
