"""The one training loop: restore, then step, read, save, picture, until the plan is done."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from crossmod.engine import checkpoint
from crossmod.engine.stopping import Stopped, asked_to_stop
from crossmod.engine.trainee import Batches, Losses, Trainee
from crossmod.errors import InputError
from crossmod.files import held, remove_partial
from crossmod.progress import progress
from crossmod.runs import Run
from crossmod.seeds import derive, rng

# Reading losses waits for the device; every so many steps is often enough to watch.
STEPS_BETWEEN_READINGS = 25
SECONDS_BETWEEN_CHECKPOINTS = 300.0


@dataclass(frozen=True)
class Plan:
    """How long to train.

    Args:
        title: what the progress line says.
        epochs: passes over the data.
        seed: the run's seed.
        steps: train for so many steps in place of epochs; 0: the epochs decide.
        decay: share of the epochs, at the end, over which the learning rates fall in a straight line to 0.
    """

    title: str
    epochs: int
    seed: int
    steps: int = 0
    decay: float = 0.0

    def learning_rate_factor(self, epoch: int) -> float:
        """What the learning rates are multiplied with in an epoch, counted from 0."""
        falling = round(self.epochs * self.decay)
        flat = self.epochs - falling
        return 1.0 if epoch < flat else 1 - (epoch - flat + 1) / (falling + 1)


@dataclass(frozen=True)
class Done:
    """What a training took.

    Args:
        steps: updates.
        seconds: of training.
    """

    steps: int
    seconds: float


def fit(
    trainee: Trainee,
    batches: Batches,
    run: Run,
    plan: Plan,
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> Done:
    """Train to the end of the plan, from wherever the run's newest checkpoint stands.

    Returns:
        What was done, all sittings together.

    Raises:
        Stopped: Ctrl-C or SIGTERM; where training stood is saved.
        InputError: a loss that is no number, or another command that writes to the run.
    """
    with held(run.path / ".lock"):
        remove_partial(run.path / "checkpoints")
        return _fit(trainee, batches, run, plan, after_epoch)


def _fit(trainee: Trainee, batches: Batches, run: Run, plan: Plan, after_epoch: Callable[[int], None]) -> Done:
    rates = {name: [group["lr"] for group in o.param_groups] for name, o in trainee.optimizers.items()}
    total = plan.steps or plan.epochs * batches.steps
    torch.manual_seed(derive(plan.seed, "dropout"))
    step, seconds = _restore(trainee, run)
    began = saved = time.monotonic()
    since: list[Losses] = []

    with progress(plan.title, total, done=step) as advance, asked_to_stop() as asked:
        while step < total:
            epoch, within = divmod(step, batches.steps)
            for name, optimizer in trainee.optimizers.items():
                for group, rate in zip(optimizer.param_groups, rates[name], strict=True):
                    group["lr"] = rate * plan.learning_rate_factor(epoch)
            since.append(trainee.step(batches.batch(epoch, within), rng(plan.seed, "step", step)))
            step += 1
            ends_epoch = within + 1 == batches.steps or step == total
            stop = asked()
            due = stop or step == total or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS

            # Before each save, so that no loss that is no number gets into a checkpoint and no reading is lost.
            if ends_epoch or due or step % STEPS_BETWEEN_READINGS == 0:
                spent = seconds + time.monotonic() - began
                means = _means(since, run, step)
                run.log({"step": step, "epoch": epoch, "seconds": round(spent, 3), **means})
                since.clear()
                advance(0, note="  ".join(f"{name} {value:.3f}" for name, value in means.items()))
            if ends_epoch:
                after_epoch(epoch)
            if due:
                _save(trainee, run, step, seconds + time.monotonic() - began)
                saved = time.monotonic()
            advance()
            if stop and step < total:
                raise Stopped(stop, step, total)
    return Done(step, seconds + time.monotonic() - began)


def _means(since: list[Losses], run: Run, step: int) -> dict[str, float]:
    means = {name: torch.stack([losses[name] for losses in since]).mean().item() for name in since[0]}
    bad = [name for name, value in means.items() if not math.isfinite(value)]
    if bad:
        raise InputError(
            run.path,
            found=f"a {' and a '.join(bad)} loss that is no number at step {step}",
            wanted="finite losses",
            do="Lower the learning rates, then train anew in another folder; the last checkpoint is kept.",
        )
    return means


def _save(trainee: Trainee, run: Run, step: int, seconds: float) -> None:
    state: dict[str, Any] = {name: part.state_dict() for name, part in trainee.parts.items()}
    state["random"] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["random"]["cuda"] = torch.cuda.get_rng_state()
    checkpoint.save(run.path / "checkpoints", step, {"step": step, "seconds": seconds, **state})


def _restore(trainee: Trainee, run: Run) -> tuple[int, float]:
    state = checkpoint.newest(run.path / "checkpoints")
    if state is None:
        run.rewind_metrics(0)
        return 0, 0.0
    for name, network in trainee.networks.items():
        checkpoint.load_weights(network, state[name], name, run.path)
    for name, part in trainee.parts.items():
        if name not in trainee.networks:
            part.load_state_dict(state[name])
    torch.set_rng_state(state["random"]["cpu"])
    if torch.cuda.is_available() and "cuda" in state["random"]:
        torch.cuda.set_rng_state(state["random"]["cuda"])
    run.rewind_metrics(state["step"])
    return state["step"], state["seconds"]
