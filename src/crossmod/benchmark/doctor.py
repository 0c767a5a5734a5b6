"""`crossmod doctor`: what there is, which path a training takes, and what to mend."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from crossmod.benchmark.machine import Finding, State, packages
from crossmod.errors import InputError
from crossmod.progress import track

if TYPE_CHECKING:
    from crossmod.engine.device import Compute

SIZES = (64, 256)


def examine(environment: Mapping[str, str] = os.environ, where: Path | None = None) -> list[Finding]:
    """Check everything; `where` is the folder whose disk is examined (default: the current one)."""
    found = packages()
    broken = any(finding.state == "broken" for finding in found)
    try:
        from crossmod.benchmark.machine import machine

        room = (where or Path()).absolute()
        return [*found, *machine(environment, room), *paths(), _patient_key(environment), *_variables(environment)]
    except ImportError:
        # Nothing more can be found out without what is missing, which is named.
        if not broken:
            raise
        return found


def paths() -> list[Finding]:
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


def _path(topic: str, compute: "Compute", state: State) -> Finding:
    return Finding(state, topic, "; ".join(filter(None, (str(compute), " ".join(compute.why).rstrip(".")))))


def _patient_key(environment: Mapping[str, str]) -> Finding:
    from crossmod.data.patient_key import existing_key, key_path

    topic = "patient key"
    try:
        key = existing_key(environment)
    except InputError as error:
        return Finding("broken", topic, f"{error.subject}: {error.found}", error.do)
    if key is None:
        return Finding("note", topic, f"none yet; `prepare dicom` makes it: {key_path(environment)}")
    return Finding("ok", topic, f"{key.fingerprint}, in {key.path}")


def _variables(environment: Mapping[str, str]) -> list[Finding]:
    found = []
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        if name in environment:
            found.append(Finding("note", name, environment[name] or "empty, which hides everything"))
    folder = environment.get("CROSSMOD_REAL_DATA")
    if folder is None:
        text = "not set: tests with real scans are left out"
        return [*found, Finding("note", "CROSSMOD_REAL_DATA", text)]
    if not Path(folder).is_dir():
        return [*found, Finding("missing", "CROSSMOD_REAL_DATA", f"{folder}, which is no folder", "Correct it.")]
    return [*found, Finding("ok", "CROSSMOD_REAL_DATA", folder)]
