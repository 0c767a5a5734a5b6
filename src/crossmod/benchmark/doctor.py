"""`crossmod doctor`: what this machine has, which path a training takes on it, and what to fix.

PyTorch and what needs it are imported where they are used: the doctor also reports that they are missing.
"""

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crossmod.errors import InputError
from crossmod.files import write_json
from crossmod.machine import usable_cores
from crossmod.progress import track
from crossmod.version import __version__

if TYPE_CHECKING:
    import torch

    from crossmod.engine.device import Compute

SIZES = (64, 256)

State = Literal["ok", "note", "missing", "broken"]

COLOURS: dict[State, str] = {"ok": "green", "note": "cyan", "missing": "yellow", "broken": "red"}

# By the name they are imported by; torch comes first, since nearly all commands need it.
NEEDED = (
    "torch", "numpy", "scipy.ndimage", "pydicom", "gdcm", "nibabel", "PIL.Image", "matplotlib", "jinja2",
    "safetensors.torch", "tensorboard", "yaml", "rich", "pydantic", "cyclopts", "jaxtyping",
)  # fmt: skip
DEVELOPERS = ("pytest", "xdist", "hypothesis", "beartype", "ruff", "pyright", "importlinter", "sklearn")

GB = 1e9
MEMINFO = Path("/proc/meminfo")

# Instructions that decide how fast a network runs.
MATTER = ("avx2", "avx512_f", "avx512_bf16", "avx512_fp16", "amx_bf16", "neon", "sve", "bf16")

# A small training takes about this much; the paper's size on a CPU needs more.
LITTLE_MEMORY, LITTLE_DISK = 4 * GB, 5 * GB


@dataclass(frozen=True)
class Check:
    """One check of the machine."""

    state: State  # `ok`; `note`: worth knowing; `missing`: crossmod works without it; `broken`: it does not
    topic: str  # what was checked
    text: str  # what was found
    do: str = ""  # what to do about it; "": nothing


def save(checks: Sequence[Check], path: Path) -> None:
    """Write the findings as JSON."""
    write_json(path, {"findings": [asdict(check) for check in checks]})


def show(checks: Sequence[Check]) -> None:
    """Print the findings on standard output, in colour on a terminal."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for check in checks:
            table.add_row(Text(check.state, COLOURS[check.state]), Text(check.topic, "bold"), Text(_sentence(check)))
        Console().print(table)
        return
    width = max(len(check.topic) for check in checks)
    for check in checks:
        print(f"{check.state:7}  {check.topic:{width}}  {_sentence(check)}")


def _sentence(check: Check) -> str:
    return f"{check.text}. {check.do}".strip()


def examine(environment: Mapping[str, str] = os.environ, where: Path | None = None) -> list[Check]:
    """Check everything; `where` is the folder whose disk is examined (default: the current one)."""
    found = packages()
    try:
        room = (where or Path()).absolute()
        own = [_cpu(), _cores(environment), _memory(), *gpus(), _compilers(), _disk(room)]
        return [*found, *own, *paths(), _patient_key(environment), *_variables(environment)]
    except ImportError:
        # Without a missing package, which is reported, nothing more can be found out.
        if not any(check.state == "broken" for check in found):
            raise
        return found


def packages(load: Callable[[str], object] = importlib.import_module) -> list[Check]:
    """Checks of Python and of packages; `load` imports a module by its name."""
    broken = {name: reason for name in NEEDED if (reason := _why_not(name, load))}
    found = [Check("ok", "Python", ".".join(map(str, sys.version_info[:3])))]
    if broken:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        found.append(Check("broken", "packages", reasons, "pip install -c constraints.txt . fixes most of this."))
    else:
        found.append(Check("ok", "packages", f"all {len(NEEDED)} that crossmod needs, crossmod {__version__}"))
    several = _why_not("lightning_fabric", load)
    text = f"lightning-fabric: {several}; training uses one process" if several else "lightning-fabric is installed"
    do = "For --devices and --nodes: pip install lightning-fabric" if several else ""
    found.append(Check("missing" if several else "ok", "several processes", text, do))
    absent = [name for name in DEVELOPERS if importlib.util.find_spec(name) is None]
    if absent:
        text = f"the extra dev is incomplete ({', '.join(absent)}); only needed to develop crossmod"
        found.append(Check("note", "developers' tools", text))
    return found


def _why_not(name: str, load: Callable[[str], object]) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load(name)
    except Exception as error:  # whatever a broken library raises as it is loaded
        return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0][:150]}"
    return None


def _cpu() -> Check:
    import torch

    from crossmod.engine.device import cpu_abilities, cpu_name, no_bf16

    abilities = cpu_abilities()
    has = [name for name in MATTER if abilities.get(name)]
    slow = no_bf16(torch.device("cpu"))
    text = f"{cpu_name()}; {', '.join(has) or 'torch lists no relevant instructions'}"
    return Check("note" if slow else "ok", "CPU", f"{text}; {'no fast bf16' if slow else 'bf16 is fast'}")


def _cores(environment: Mapping[str, str]) -> Check:
    import torch

    cores, threads = usable_cores(), torch.get_num_threads()
    text = f"{cores} usable, torch takes {threads} thread{'s' if threads != 1 else ''}"
    if threads != cores and environment.get("OMP_NUM_THREADS"):
        text += f", as OMP_NUM_THREADS={environment['OMP_NUM_THREADS']} says"
        return Check("note", "cores", text, "Unset it, or give --threads.")
    if threads < 2:
        return Check("note", "cores", text)
    do = f"Two large trainings at once: give each --threads {threads // 2}, or they wait for each other."
    return Check("ok", "cores", text, do)


def _memory() -> Check:
    total, free = memory()
    if free is None:
        return Check("ok", "memory", f"{total / GB:.1f} GB")
    text = f"{total / GB:.1f} GB, {free / GB:.1f} GB free"
    if free < LITTLE_MEMORY:
        return Check("note", "memory", text, "Little: close other programs, or lower --size and --batch-size.")
    return Check("ok", "memory", text)


def memory() -> tuple[int, int | None]:
    """Main memory and what of it programs can still have, bytes; None where the system does not say (macOS)."""
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text(encoding="ascii").splitlines())
    except FileNotFoundError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
    total, free = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total, free


def gpus() -> list[Check]:
    """Findings on GPUs: each that torch can use, or why it can use none."""
    import torch

    driver = _driver()
    if torch.cuda.is_available():
        return [_gpu(torch.device("cuda", number), driver) for number in range(torch.cuda.device_count())]
    if driver is None:
        return [Check("note", "GPU", "none; the CPU computes")]
    if torch.version.cuda is None:
        do = "Install a CUDA build of torch: see pytorch.org."
        return [Check("missing", "GPU", f"{driver}, but torch {torch.__version__} is built without CUDA", do)]
    text = f"{driver}, but torch, built for CUDA {torch.version.cuda}, cannot use it"
    do = "Look at CUDA_VISIBLE_DEVICES; else update the driver, or install a build of torch for an older CUDA."
    return [Check("missing", "GPU", text, do)]


def _gpu(device: "torch.device", driver: str | None) -> Check:
    import torch

    from crossmod.engine.device import no_bf16

    free, total = torch.cuda.mem_get_info(device)
    major, minor = torch.cuda.get_device_capability(device)
    bf16 = "bf16 is fast" if no_bf16(device) is None else "no bf16"
    text = (
        f"{torch.cuda.get_device_name(device)}, {total / GB:.0f} GB, {free / GB:.0f} GB free, "
        f"capability {major}.{minor}, {bf16}, CUDA {torch.version.cuda}, driver {driver or 'unknown'}"
    )
    return Check("ok", f"GPU {device.index}", text)


def _driver() -> str | None:
    """Name of the first GPU and version of the driver, as nvidia-smi says them; None where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    words = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None


def _compilers() -> Check:
    found = [name for name in ("g++", "clang++", "c++", "gcc") if shutil.which(name)]
    if found:
        return Check("ok", "compilers", ", ".join(found))
    do = "Install g++: compiled blocks train up to twice as fast."
    return Check("missing", "compilers", "none, so that torch.compile cannot work", do)


def _disk(where: Path) -> Check:
    free = shutil.disk_usage(where).free
    text = f"{free / GB:.0f} GB free in {where}"
    return Check("ok", "disk", text) if free >= LITTLE_DISK else Check("note", "disk", text, "Little for checkpoints.")


def paths() -> list[Check]:
    """What `auto` makes of a training, on each device and for a small and a large size."""
    import torch

    from crossmod.engine.device import COMPILED_FROM_PIXELS, choose

    devices = [torch.device(name) for name in ("cuda", "cpu") if name == "cpu" or torch.cuda.is_available()]
    found = []
    # The first that compiles is slow: a small test is compiled.
    for device in track(devices, "Trying the compiler"):
        for size in SIZES:
            compute = choose(device, size=size)
            missed = not compute.compiled and (device.type == "cuda" or size >= COMPILED_FROM_PIXELS)
            found.append(_path(f"training, {size} px, {device.type}", compute, "missing" if missed else "ok"))
        found.append(_path(f"U-Net, {device.type}", choose(device, blocks=False), "ok"))
    return found


def _path(topic: str, compute: "Compute", state: State) -> Check:
    return Check(state, topic, "; ".join(filter(None, (str(compute), " ".join(compute.why).rstrip(".")))))


def _patient_key(environment: Mapping[str, str]) -> Check:
    from crossmod.data.patient_key import existing_key, key_path

    topic = "patient key"
    try:
        key = existing_key(environment)
    except InputError as error:
        return Check("broken", topic, f"{error.subject}: {error.found}", error.do)
    if key is None:
        return Check("note", topic, f"none yet; `prepare dicom` makes it: {key_path(environment)}")
    return Check("ok", topic, f"{key.fingerprint}, in {key.path}")


def _variables(environment: Mapping[str, str]) -> list[Check]:
    found = []
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        if name in environment:
            found.append(Check("note", name, environment[name] or "empty, which hides everything"))
    folder = environment.get("CROSSMOD_REAL_DATA")
    if folder is None:
        text = "not set: tests with real scans are left out"
        return [*found, Check("note", "CROSSMOD_REAL_DATA", text)]
    if not Path(folder).is_dir():
        return [*found, Check("missing", "CROSSMOD_REAL_DATA", f"{folder}, which is no folder", "Correct it.")]
    return [*found, Check("ok", "CROSSMOD_REAL_DATA", folder)]
