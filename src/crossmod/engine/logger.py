"""The log of a training: metrics.jsonl, TensorBoard, sample pictures, alarms.

Notable:
- When a run resumes, TensorBoard drops later points of earlier sittings, so that no step appears twice.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from crossmod.engine.alarms import Alarm, loss_advice
from crossmod.engine.checkpoint import checkpoints
from crossmod.engine.device import Compute, describe_device
from crossmod.engine.distributed import Distributed
from crossmod.engine.memory import peak_bytes
from crossmod.engine.state import Losses, TrainerState, ValidationResult
from crossmod.errors import InputError
from crossmod.files import atomic_write
from crossmod.runs import Run, TrainingCard, is_run
from crossmod.settings import TrainSettings
from crossmod.statistics.baseline_quality import Training


def write_panel(path: Path, rows: Sequence[Sequence[Float[np.ndarray, "size size"]]]) -> None:
    """Write slices in [-1, 1] as a grid; every row has the same number of slices."""
    grid = np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
    gray = np.rint((np.clip(grid, -1, 1) + 1) * 127.5).astype(np.uint8)
    with atomic_write(path) as temporary:
        Image.fromarray(gray).save(temporary, format="PNG")


@dataclass(frozen=True)
class TensorBoardWriter:
    """An open TensorBoard folder; `board` makes it."""

    writer: Any  # torch's SummaryWriter. Its type stays unnamed, since naming it imports it, and that is slow.

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add one value to each curve; `loss/cycle_ct` is a curve in the group `loss`."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        # At once, as in metrics.jsonl: otherwise a killed run would have a gap where it resumes.
        self.writer.flush()

    def picture(self, step: int, path: Path) -> None:
        """Add a gray or RGB PNG, tagged with its folder's name, such as `samples`."""
        with Image.open(path) as image:
            pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
        self.writer.add_image(path.parent.name, pixels, step, dataformats="HW" if pixels.ndim == 2 else "HWC")
        self.writer.flush()


@contextmanager
def board(folder: Path, start_step: int) -> Iterator[TensorBoardWriter]:
    """Open a folder for TensorBoard while the block runs; its earlier files are kept, and are valid up to
    `start_step`."""
    # Imported here because it is slow.
    from torch.utils.tensorboard import SummaryWriter

    # TensorBoard drops points from `purge_step` on; the one at `start_step` is still valid.
    writer = SummaryWriter(str(folder), purge_step=start_step + 1)
    try:
        yield TensorBoardWriter(writer)
    finally:
        writer.close()


# Numbers of a reading that are not losses.
_NO_LOSS = frozenset({"step", "epoch", "seconds", "steps_per_second", "memory_gb"})
# Scores on held-out patients, and what the independent judge finds in training slices.
_SCORES = {"select_": "held out: ", "judge_": "judge: "}


def losses(reading: Mapping[str, Any]) -> dict[str, float]:
    """The losses in one reading, by name; none in a reading of an alarm or of scores alone."""
    return {
        name: float(value)
        for name, value in reading.items()
        if isinstance(value, int | float) and name not in _NO_LOSS and not name.startswith(tuple(_SCORES))
    }


def loss_histories(readings: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Every loss over the steps at which it was read, in the order in which losses first come."""
    return _histories(readings, losses)


def score_histories(readings: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Every score on held-out patients, and of the judge, over the steps at which it was taken."""
    named = _histories(readings, lambda each: {name: each[name] for name in each if name.startswith(tuple(_SCORES))})
    return {
        title + name.removeprefix(start): history
        for name, history in named.items()
        for start, title in _SCORES.items()
        if name.startswith(start)
    }


def _histories(
    readings: Iterable[Mapping[str, Any]], values_of: Callable[[Mapping[str, Any]], Mapping[str, float]]
) -> dict[str, list[tuple[int, float]]]:
    histories: dict[str, list[tuple[int, float]]] = {}
    for reading in readings:
        for name, value in values_of(reading).items():
            histories.setdefault(name, []).append((reading["step"], value))
    return histories


def alarms(run: Run) -> list[tuple[int, Alarm]]:
    """The alarms of a run's training, each with its step; older cards have none."""
    readings = run.card.get("alarms", []) if run.finished else [r for r in run.metrics() if "alarm" in r]
    return [(r["step"], Alarm(r["alarm"], r["seen"], r["advice"])) for r in readings]


def training(run: Run, card: Mapping[str, Any]) -> Training:
    """The losses of a segmenter, and the Dice of it and of the best fixed mask over all tested pixels.

    Cards of earlier versions have neither Dice; 3D Dice, a mean over patients, then replaces the first. A training in
    another program has no losses.
    """
    scores = card["scores"]
    pooled = scores.get("pooled")
    dice = pooled["dice"] if pooled else float(np.mean(list(scores["patient_values"]["dice"].values())))
    readings = [(int(reading["step"]), sum(found.values())) for reading in run.metrics() if (found := losses(reading))]
    return Training(dice, scores.get("trivial_dice"), tuple(readings))


def finished_run(out: Path, start: Callable[[], Run], world: Distributed) -> Run | None:
    """The run in a folder if `start`, which opens it with this command's settings, finds it finished."""
    # The first process may have made the folder by the time another one looks.
    if not world.once(lambda: is_run(out) and start().finished):
        return None
    log.info("%s is finished already.", out)
    return Run(out)


def training_card(
    done: TrainerState, steps_per_epoch: int, settings: TrainSettings, compute: Compute, world: Distributed
) -> TrainingCard:
    """What the card of every training says of it."""
    return {
        "settings": settings.model_dump(mode="json"),
        "leaking": settings.split == "slice",
        "alarms": done.alarms,
        "steps": done.step,
        "seconds": round(done.seconds, 1),
        "seconds_per_epoch": round(done.seconds * steps_per_epoch / done.step, 2),
        "device": describe_device(world.device),
        "threads": done.threads,
        "processes": world.ranks,
        "compute": str(compute),
    }


log = logging.getLogger(__name__)


@dataclass
class TrainingLogger:
    """Writes metrics.jsonl and TensorBoard; `journal` opens it."""

    run: Run
    world: Distributed
    curves: TensorBoardWriter | None  # TensorBoard, on the first process
    lap: float = field(default_factory=time.monotonic)  # when the steps of the next reading began

    def read(self, since: Sequence[Losses], at: TrainerState, epoch: int) -> str:
        """Wait for the device and write the mean losses since the last reading.

        Returns:
            The same for the progress line.

        Raises:
            InputError: a loss that is NaN or infinite.
        """
        means = self._means(since, at.step)
        at.count(means, len(since))
        speed = len(since) / max(time.monotonic() - self.lap, 1e-9)
        memory = peak_bytes(self.world.device) / 1e9
        if self.curves:
            machine = {"steps_per_second": round(speed, 3), "memory_gb": round(memory, 3)}
            self.run.log({"step": at.step, "epoch": epoch, "seconds": round(at.seconds, 3), **means, **machine})
            self.curves.scalars(at.step, {f"loss/{name}": mean for name, mean in means.items()} | machine)
        self.restart_timer()
        losses = "  ".join(f"{name} {mean:.3f}" for name, mean in means.items())
        return f"{speed:.3g} steps/s  {memory:.1f} GB  {losses}"

    def restart_timer(self) -> None:
        """Ignore the time since the last reading, which was not training."""
        self.lap = time.monotonic()

    def saw(self, sight: ValidationResult, at: TrainerState, epoch: int) -> None:
        """Write the result of a validation; each alarm is raised once."""
        fresh = at.new(sight.alarms, epoch)
        for alarm in fresh:
            log.warning("Alarm. %s", alarm)
        if self.curves is None:
            return
        where = {"step": at.step, "epoch": epoch}
        # NaN cannot be drawn, and JSON has none.
        numbers = {name: value for name, value in sight.numbers.items() if math.isfinite(value)}
        if numbers:
            self.run.log({**where, **numbers})
            self.curves.scalars(at.step, numbers)
        for alarm in fresh:
            self.run.log(alarm.record(at.step, epoch))
        if sight.picture:
            self.curves.picture(at.step, sight.picture)

    def _means(self, since: Sequence[Losses], step: int) -> dict[str, float]:
        names = list(since[0])
        means = torch.stack([torch.stack([losses[name] for losses in since]).mean() for name in names])
        by_name = dict(zip(names, self.world.mean(means.tolist()), strict=True))
        bad = [name for name, value in by_name.items() if not math.isfinite(value)]
        if bad:
            raise InputError(
                self.run.path,
                found=f"a {' and a '.join(bad)} loss that is not finite at step {step}",
                expected="finite losses",
                do=loss_advice(names, kept=bool(checkpoints(self.run.path / "checkpoints"))),
            )
        return by_name


@contextmanager
def journal(run: Run, world: Distributed, start_step: int) -> Iterator[TrainingLogger]:
    """Open the log of a run that resumes after `start_step`."""
    if not world.first:
        yield TrainingLogger(run, world, None)
        return
    with board(run.path / "tensorboard", start_step) as curves:
        yield TrainingLogger(run, world, curves)
