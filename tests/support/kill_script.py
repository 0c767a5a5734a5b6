"""`crossmod` killed at a chosen moment: `kill_script.py MOMENT COUNT WORDS...` sends itself SIGKILL at the COUNTth."""

# Other modules' names are what this script is here to change.
# pyright: reportPrivateImportUsage=false

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossmod import files
from crossmod.cli import main
from crossmod.engine import checkpoint, loop
from crossmod.runs import Run


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def every(count: int, call: Callable[..., Any]) -> Callable[..., Any]:
    """Call `call` at the COUNTth time, and what was there before at all other times."""
    calls = iter(range(1, 10_000))
    return lambda before: lambda *words, **named: (call if next(calls) == count else before)(*words, **named)


def half(tensors: Any, path: Path, metadata: Any) -> None:
    """Half of a checkpoint."""
    whole = path.with_suffix(".whole")
    saved(tensors, whole, metadata)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    whole.unlink()
    die()


def torn(run: Run, reading: Any) -> None:
    """Half of a line of the metrics."""
    with (run.path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"step": 7, "epo')
    die()


moment, count = sys.argv[1], int(sys.argv[2])
saved = checkpoint.save_file
if moment == "step":
    # After the step's number is told to the others, before anything of it is written.
    loop.Distributed.all_agree = every(count, lambda *values: die())(loop.Distributed.all_agree)
elif moment == "write":
    checkpoint.save_file = every(count, half)(saved)
elif moment == "rename":
    # Whole and in its place, with the old ones still there.
    written = checkpoint.write

    def write_and_die(path: Path, state: Any) -> None:
        written(path, state)
        die()

    checkpoint.write = every(count, write_and_die)(written)
elif moment == "metrics":
    Run.log = every(count, torn)(Run.log)
elif moment == "card":
    files.write_json = Run.finish = every(count, lambda *words: die())(Run.finish)
elif moment != "never":
    sys.exit(f"no moment {moment}")
main(sys.argv[3:])
