"""How many files must be read to follow one command? Those of src whose functions run, traced on a tiny phantom.

    python benchmarks/files_touched.py [--list COMMAND]

Notable:
- All of crossmod is imported first, so that what runs at import is not counted; a comprehension counts as its function.
- Experiments run their jobs in this process; otherwise they would be traced in another one.
"""

import argparse
import inspect
import io
import pkgutil
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from types import FrameType

import crossmod
from crossmod.cli import main
from crossmod.experiment.executors.base import InProcess

SOURCE = Path(crossmod.__file__).parent
# What this tracer found before files were joined by idea and renamed (394 files, 47,220 lines).
BEFORE = {
    "prepare chaos": 35,
    "train": 77,
    "synthesize": 51,
    "segment": 72,
    "translate": 93,
    "evaluate images": 60,
    "report of runs": 30,
    "report of an experiment": 36,
    "experiment": 153,
}
NETWORKS = "--generator-filters 4 --discriminator-filters 4 --generator-blocks 1"
SMALL = "--preset tiny --size 32 --folds 3"
TRANSLATOR = f"{SMALL} --epochs 1 {NETWORKS}"
COMMANDS = {
    "phantom": "phantom patients --patients 4 --size 32 --slices 12",
    "prepare chaos": "prepare chaos patients store --sequences ct t2_spir",
    "train": f"train run --ct store --mr store --family essnet {TRANSLATOR}",
    "synthesize": "synthesize run --source store --out synthetic",
    "segment": f"segment real --real store {SMALL} --steps 4",
    "more": f"segment more --real store --synthetic synthetic --count 8 {SMALL} --steps 4",
    "translate": "translate run patients/Train_Sets/CT/3/DICOM_anon series",
    "evaluate images": "evaluate images store synthetic --source store --draws 5 --out scores",
    "report of runs": "report run real more --out report.html",
    "experiment": "experiment tiny.yaml --data store --out experiment --executor here",
    "report of an experiment": "report experiment --out experiment.html",
}
# Two arms, two seeds, three folds.
DESIGN = """
translators:
  essnet:
    preset: tiny
    settings: {epochs: 1, size: 32, generator_filters: 4, discriminator_filters: 4, generator_blocks: 1}
segmenters:
  unet:
    preset: tiny
    settings: {steps: 4, size: 32}
counts: [0, 0.5x]
folds: 3
seeds: [0, 1]
"""


def touched(run: Callable[[], None]) -> list[str]:
    """The files of src whose functions ran."""
    codes = set()

    def trace(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        # Module and class bodies are not optimized.
        if event == "call" and code.co_flags & inspect.CO_OPTIMIZED:
            codes.add(code.co_filename)

    threading.setprofile(trace)
    sys.setprofile(trace)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    files = (Path(name) for name in codes if name.endswith(".py"))
    return sorted(str(file.relative_to(SOURCE)) for file in files if file.is_relative_to(SOURCE))


def traced(words: str) -> list[str]:
    """The files that a command touches; what it prints is shown only if it fails."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            return touched(lambda: main(words.split()))
    except SystemExit:
        sys.exit(f"crossmod {words}\n{printed.getvalue()}")


def table(counts: dict[str, int]) -> list[str]:
    """Each command, before and now."""
    mean_before, mean_now = (sum(side[name] for name in BEFORE) / len(BEFORE) for side in (BEFORE, counts))
    rows = [f"| {name} | {BEFORE[name]} | {counts[name]} |" for name in BEFORE]
    change = f"({mean_now / mean_before - 1:+.0%})"
    return ["| command | files before | files now |", "| --- | --- | --- |", *rows,
            f"| mean | {mean_before:.1f} | {mean_now:.1f} {change} |"]  # fmt: skip


def main_of_tracer() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--list", metavar="COMMAND", choices=BEFORE, help="also print the files of this command")
    asked = parser.parse_args()
    for module in pkgutil.walk_packages(crossmod.__path__, "crossmod."):
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            import_module(module.name)
    crossmod.register("executor", "here", lambda root, machine, options: InProcess(root, machine))
    found = {}
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        Path("tiny.yaml").write_text(DESIGN, encoding="utf-8")
        for name, words in COMMANDS.items():
            found[name] = traced(words)
    print("\n".join(table({name: len(found[name]) for name in BEFORE})))
    for file in found.get(asked.list, ()):
        print(file)


if __name__ == "__main__":
    main_of_tracer()
