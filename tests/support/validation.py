"""Trainings that are validated on held-out slices."""

from pathlib import Path

import pytest
import torch

from crossmod.engine import checkpoint
from crossmod.runs import Run
from crossmod.synthesis.validation import Scores, Validator


def scripted(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Scores as they are wanted, one an epoch."""
    left = iter(scores)
    monkeypatch.setattr(Validator, "_score", lambda self: Scores(None, next(left), None))


def best_file(run: Run) -> Path:
    (path,) = (run.path / "checkpoints").glob("best-*")
    return path


def kept(run: Run) -> dict[str, dict[str, torch.Tensor]]:
    return checkpoint.load(best_file(run))["networks"]
