"""The command line, generated from the functions of `crossmod.commands`; heavy imports are inside these functions."""

import sys

from crossmod.system import unsupported

if why := unsupported():
    print(f"crossmod: {why}", file=sys.stderr)
    sys.exit(2)

from crossmod.cli.app import main as main

__all__ = ["main"]
