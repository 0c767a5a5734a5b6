"""Doing one job: the same functions that the commands `train`, `synthesize` and `segment` call."""

from pathlib import Path

from crossmod.config import build
from crossmod.experiment.jobs import Job
from crossmod.settings import Machine, SegmentSettings, TranslateSettings


def perform(job: Job, root: Path, machine: Machine) -> None:
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
