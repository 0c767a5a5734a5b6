"""The command line: one function a command, all heavy imports inside, so that `--help` answers at once."""

from crossmod.cli import experiment, judge, learn, look, make_up, measure, nnunet, prepare, reader
from crossmod.cli.application import app as app
from crossmod.cli.application import main as main

# Importing a room of commands hangs them on the application.
__all__ = ["app", "experiment", "judge", "learn", "look", "main", "make_up", "measure", "nnunet", "prepare", "reader"]
