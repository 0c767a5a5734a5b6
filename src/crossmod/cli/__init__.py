"""The command line: one function per command, all heavy imports inside, so that `--help` answers at once."""

import sys

from crossmod.system import unsupported

if why := unsupported():
    print(f"crossmod: {why}", file=sys.stderr)
    sys.exit(2)


# Importing a module of commands adds them to the application.
from crossmod.cli import (
    benchmark,
    evaluate,
    experiment,
    export,
    nnunet,
    phantom,
    prepare,
    reader,
    report,
    train,
    translate,
)
from crossmod.cli.app import main as main

__all__ = [
    "benchmark",
    "evaluate",
    "experiment",
    "export",
    "main",
    "nnunet",
    "phantom",
    "prepare",
    "reader",
    "report",
    "train",
    "translate",
]
