"""The command line: one function a command, all heavy imports inside, so that `--help` answers at once."""

import sys

from crossmod.system import unsupported

if why := unsupported():
    print(f"crossmod: {why}", file=sys.stderr)
    sys.exit(2)


from crossmod.cli import benchmark as measure
from crossmod.cli import evaluate as judge
from crossmod.cli import experiment, export, nnunet, prepare, reader, translate
from crossmod.cli import phantom as make_up
from crossmod.cli import report as look
from crossmod.cli import train as learn
from crossmod.cli.app import app as app
from crossmod.cli.app import main as main

# Importing a room of commands hangs them on the application.
__all__ = [
    "app",
    "experiment",
    "export",
    "judge",
    "learn",
    "look",
    "main",
    "make_up",
    "measure",
    "nnunet",
    "prepare",
    "reader",
    "translate",
]
