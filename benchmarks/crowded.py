"""How much longer a training run and the demo take on two cores if another process keeps one core busy.

Run: `python benchmarks/crowded.py [--rounds N] [--full]`. Target: at most 2.5 times as long as without it. Quiet
and crowded runs alternate, and ratios use medians, so that other load affects both equally. The demo is
scaled down (fewer patients, one epoch, 60 steps per U-Net); `--full` runs it at full size. A run that takes more than
ten times as long as the previous quiet run is stopped. Exits with code 1 if the target is missed. Linux only.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

MOST, PATIENCE = 2.5, 10.0
BUSY = "while True: pass"
TRAIN = "from crossmod.cli import main; main(['train', {out!r}, '--ct', {store!r}, '--mr', {store!r}, {more}])"
STORE = """
from pathlib import Path
from crossmod.data.importers.chaos import prepare_chaos
from crossmod.phantom.dataset import PhantomSettings, write_phantom
write_phantom(Path({out!r}) / "phantom", PhantomSettings(ct_patients=5, mr_patients=5, size=64, slices=24))
prepare_chaos(Path({out!r}) / "phantom", Path({out!r}) / "store", sequences=("ct", "t2_spir"))
"""
DEMO = """
from pathlib import Path
from crossmod.config import with_changes
from crossmod.experiment import demo
if __name__ == "__main__":
    if not {full}:
        demo.CT_PATIENTS, demo.LABELLED, demo.UNLABELLED, demo.TESTED, demo.SYNTHETIC = 4, 2, 2, 2, 20
        demo.TRANSLATE["tiny"] = with_changes(demo.TRANSLATE["tiny"], epochs=1)
        demo.SEGMENT["tiny"] = with_changes(demo.SEGMENT["tiny"], steps=60)
    demo.run_demo(Path({out!r}))
"""


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    other = subprocess.Popen([sys.executable, "-c", BUSY]) if wanted else None
    try:
        yield
    finally:
        if other:
            other.kill()
            other.wait()


def seconds(program: Path, out: Path, *, crowded: bool, limit: float) -> float:
    shutil.rmtree(out, ignore_errors=True)
    with busy(crowded):
        began = time.monotonic()
        words = program.with_suffix(".log")
        with words.open("w") as log, subprocess.Popen([sys.executable, program], stdout=log, stderr=log) as run:
            try:
                code = run.wait(limit)
            except subprocess.TimeoutExpired:
                run.terminate()
                return limit
    if code:
        raise SystemExit(words.read_text()[-2000:])
    return time.monotonic() - began


def ratio(name: str, program: Path, out: Path, rounds: int) -> float:
    quiet, crowded = [], []
    for _ in range(rounds):
        quiet.append(seconds(program, out, crowded=False, limit=3600))
        crowded.append(seconds(program, out, crowded=True, limit=PATIENCE * quiet[-1]))
    found = median(crowded) / median(quiet)
    ended = " or more (ended)" if found > 0.99 * PATIENCE else ""
    each = f"{', '.join(f'{one:.1f}' for one in quiet)} s against {', '.join(f'{one:.1f}' for one in crowded)} s"
    print(f"{name}: {found:.2f} times as long{ended} ({each}); load {os.getloadavg()[0]:.1f}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--full", action="store_true")
    given = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    os.environ.pop("OMP_NUM_THREADS", None)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        out = root / "out"
        subprocess.run([sys.executable, "-c", STORE.format(out=folder)], check=True, stderr=subprocess.DEVNULL)
        more = "'--preset', 'tiny', '--epochs', '2', '--device', 'cpu'"
        (root / "train.py").write_text(TRAIN.format(out=str(out), store=f"{folder}/store", more=more))
        (root / "demo.py").write_text(DEMO.format(out=str(out), full=given.full))
        size = "as it is" if given.full else "scaled down"
        found = [
            ratio("train --preset tiny, 2 epochs", root / "train.py", out, given.rounds),
            ratio(f"demo, {size}", root / "demo.py", out, given.rounds),
        ]
    sys.exit(int(max(found) > MOST))


if __name__ == "__main__":
    main()
