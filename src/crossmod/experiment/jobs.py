"""Jobs: the runs of an experiment, each named by the hash of all that its result depends on, and how one is run."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from crossmod.config import build
from crossmod.data.store import MANIFEST
from crossmod.runs import CARD
from crossmod.settings import BEFORE_FRAMES, Machine, SegmentSettings, TranslateSettings

Kind = Literal["train", "synthesize", "segment"]

# Part of every hash: to be raised when the code changes what the same settings and data come to.
RESULTS = 1
DIGITS = 12


@dataclass(frozen=True)
class Job:
    """One run.

    Args:
        name: its folder under `runs`; ends with the hash.
        kind: what it does.
        title: what it is, for people.
        settings: of the run, as plain values; of `synthesize`, its options.
        stores: paths of the stores that it reads, by their role: `ct` and `mr` of `train`, `source` of `synthesize`,
            `real` of `segment`.
        needs: names of the jobs that it rests on, by their role: the `model` of `synthesize`, the `synthetic` slices of
            `segment`.
        work: how much it is, in steps of training or slices; 0 where that is unknown.
    """

    name: str
    kind: Kind
    title: str
    settings: Mapping[str, Any]
    stores: Mapping[str, tuple[str, ...]]
    needs: Mapping[str, str]
    work: int = 0

    def folder(self, root: Path) -> Path:
        """Where it leaves what it makes."""
        return root / "runs" / self.name

    def finished(self, root: Path) -> bool:
        """Whether what it makes is there, whole."""
        return (self.folder(root) / (MANIFEST if self.kind == "synthesize" else CARD)).is_file()


def name_of(
    kind: Kind, what: str, settings: Mapping[str, Any], cases: Mapping[str, Any], needs: Mapping[str, str]
) -> str:
    """`kind-what-hash`; the same for the same settings, cases and needed runs, whatever the plan.

    Args:
        kind: of the job.
        what: a word for people: the family or the network.
        settings: all of them.
        cases: checksums of the cases that it reads.
        needs: names of the jobs that it rests on.
    """
    # What was meant before there was a setting is no part of a name: runs of older experiments keep theirs.
    told = {key: value for key, value in settings.items() if key not in BEFORE_FRAMES or value != BEFORE_FRAMES[key]}
    content = {"results": RESULTS, "kind": kind, "settings": told, "cases": cases, "needs": needs}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{kind}-{what}-{digest[:DIGITS]}"


def finished_among(jobs: Mapping[str, Job], root: Path) -> list[str]:
    """Names of the jobs whose results are there, whole.

    The folder is read once: to ask a network disk for each of 100,000 jobs that were not begun takes minutes.
    """
    runs = root / "runs"
    there = {entry.name for entry in os.scandir(runs)} if runs.is_dir() else set()
    return [name for name, job in jobs.items() if name in there and job.finished(root)]


def execute_job(job: Job, root: Path, machine: Machine) -> None:
    """Do a job that its needs are there for; an unfinished one is continued, a finished one left alone.

    Args:
        job: what to do.
        root: folder of the experiment.
        machine: where and how to compute.

    Raises:
        InputError: whatever the command refuses.
    """
    if job.finished(root):
        return
    # PyTorch takes seconds to load; who only hands jobs to others needs none of it.
    from crossmod.segmentation.train import train_segmenter
    from crossmod.synthesis.synthesize import synthesize
    from crossmod.synthesis.train import train_translator

    out = job.folder(root)
    out.parent.mkdir(parents=True, exist_ok=True)
    runs = {role: root / "runs" / name for role, name in job.needs.items()}
    stores = {role: [Path(path) for path in paths] for role, paths in job.stores.items()}
    settings = dict(job.settings)
    if job.kind == "train":
        chosen = build(TranslateSettings, settings, subject=job.name)
        train_translator(out, ct=stores["ct"], mr=stores["mr"], settings=chosen, machine=machine)
    elif job.kind == "synthesize":
        synthesize(runs["model"], source=stores["source"], out=out, machine=machine)
    else:
        chosen = build(SegmentSettings, settings, subject=job.name)
        (real,) = stores["real"]
        train_segmenter(out, real=real, synthetic=runs.get("synthetic"), settings=chosen, machine=machine)
