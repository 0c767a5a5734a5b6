"""One case of a batch: read, translate, check, write.

Notable: a case is written to a folder of its own and moved when it is complete, its image last. So an image in the
output folder whose card has the right key is done, even if a process was killed.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

from pydantic import Field

from crossmod.config import Settings
from crossmod.data.volume import Volume
from crossmod.errors import InputError
from crossmod.files import read_json, sha256, write_json
from crossmod.inference.api import Model, load_model, read_volumes, write_translation
from crossmod.inference.batch.table import SUFFIXES, Case, Row
from crossmod.inference.trust.assess import Limits
from crossmod.inference.trust.report import write_trust
from crossmod.inference.types import Options, Translation
from crossmod.progress import disable_progress
from crossmod.settings import Device

WORKING = ".working"
KEY = "batch"


class BatchJob(Settings):
    """Settings of all cases."""

    out: Path
    """Folder of the outputs."""
    options: Options = Options()
    """How volumes are translated."""
    limits: Limits = Limits()
    """Of warnings."""
    suffix: str = ".nii.gz"
    """Of outputs without a name in the list; empty: folders with DICOM series."""
    keep_identity: bool = False
    """Copy the patient's data into DICOM outputs."""
    segmentation: bool = False
    """Write the organs that the model's segmentor finds into DICOM outputs, as DICOM SEG."""
    series_number: int | None = None
    """Selects one of several series in DICOM folders."""
    echo_time: float | None = Field(default=None, ge=0)
    """Selects one of several echoes in DICOM folders, milliseconds."""
    device: Device = "auto"
    """Where to compute, if the model is given by its path."""


@dataclass(eq=False)
class Work:
    """A case under way: what was read, then the translation; `seconds` without waiting between steps."""

    case: Case
    key: str = ""
    volumes: tuple[Volume, ...] = ()
    translation: Translation | None = None
    seconds: float = 0.0


# A step fills the work, and returns the row of a case that is done.
Step = Callable[[Model, Work, BatchJob, Callable[[], float]], Row | None]


class BatchCard(TypedDict):
    """What the card of an output says under `batch`."""

    key: str
    seconds: float
    verdict: str
    sentences: list[str]
    trust: str


def translate_case(model: Model | tuple[Path, ...], case: Case, job: BatchJob) -> Row:
    """Translate one case; its errors are returned, not raised. Arguments and result can be pickled.

    Args:
        model: loaded, or paths as in `load_model`: a process loads them once.
    """
    loaded = model if isinstance(model, Model) else _loaded(model, job.device)
    work: Work | Row = Work(case)
    for step in (read_case, make_case, put_case):
        work = attempt(step, loaded, work, job)
    assert isinstance(work, Row)
    return work


def attempt(step: Step, model: Model, work: Work | Row, job: BatchJob) -> Work | Row:
    """The work after one more step, or the row of a case that is done or failed."""
    if isinstance(work, Row):
        return work
    clock = time.monotonic() - work.seconds
    # The batch has one progress bar, its cases have none.
    context = copy_context()
    context.run(disable_progress)
    try:
        row = context.run(step, model, work, job, lambda: time.monotonic() - clock)
    except Exception as error:  # also errors of damaged files and lack of memory
        text = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        sentence = str(error) if isinstance(error, InputError) else text
        row = Row(work.case.name, "failed", round(time.monotonic() - clock, 1), work.case.output, "", (sentence,))
    work.seconds = time.monotonic() - clock
    return row or work


def read_case(model: Model, work: Work, job: BatchJob, seconds: Callable[[], float]) -> Row | None:
    """Read a case that is not done already."""
    case = work.case
    work.key = key_of(model, case, job)
    before = _done_before(case, job, work.key)
    if before is None:
        named = {name: path for name, path in case.inputs if name is not None and path is not None}
        paths = named or [path for _, path in case.inputs if path is not None]
        chosen = {"series_number": job.series_number, "echo_time": job.echo_time}
        work.volumes = read_volumes(paths, model.about.source, **chosen)
    return before


def make_case(model: Model, work: Work, job: BatchJob, seconds: Callable[[], float]) -> None:
    """Translate a case that was read."""
    volumes, work.volumes = work.volumes, ()  # to free memory
    work.translation = model.translate(*volumes, options=job.options)


def key_of(model: Model, case: Case, job: BatchJob) -> str:
    """A hash of all that determines the output of a case.

    Raises:
        InputError: a missing input.
    """
    content = {
        "inputs": [[name, _hash(case, path)] for name, path in case.inputs],
        "model": model.about.weights,
        **job.model_dump(mode="json", exclude={"out", "device", "suffix"}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def put_case(model: Model, work: Work, job: BatchJob, elapsed: Callable[[], float]) -> Row:
    """Check a case that was translated, and write it."""
    case, translation = work.case, work.translation
    assert translation is not None
    trust = model.trust(translation, job.limits)
    place = job.out / WORKING / case.output
    shutil.rmtree(place, ignore_errors=True)
    source = [path for _, path in case.inputs if path is not None]
    write_translation(
        translation,
        place / case.output,
        source=source,
        keep_identity=job.keep_identity,
        segmentation=job.segmentation,
        options=job.options,
    )
    write_trust(translation, trust, place / f"{case.output}.trust.html")
    seconds = round(elapsed(), 1)
    row = Row(case.name, "done", seconds, case.output, trust.verdict, trust.warnings, trust.status)
    card = place / f"{case.output}.json"
    batch: BatchCard = {
        "key": work.key,
        "seconds": seconds,
        "verdict": trust.verdict,
        "sentences": list(trust.warnings),
        "trust": trust.status,
    }
    write_json(card, {**read_json(card), KEY: batch})
    for suffix in SUFFIXES:
        (place / f"{case.output}{suffix}").replace(job.out / f"{case.output}{suffix}")
    (place / case.output).rename(job.out / case.output)
    place.rmdir()
    return row


def _done_before(case: Case, job: BatchJob, key: str) -> Row | None:
    """The row of a finished case; refuses other content in its place."""
    output = job.out / case.output
    if not output.exists():
        return None
    card = output.with_name(output.name + ".json")
    content = read_json(card) if card.is_file() else {}
    batch: BatchCard | None = content.get(KEY) if isinstance(content, dict) else None
    if not batch or batch.get("key") != key:
        found = "an output of other inputs, another model or other options" if batch else "something that is no output"
        do = "Choose another folder, or remove it."
        raise InputError(output, found=found, expected="a free place", do=do)
    sentences, trust = tuple(batch["sentences"]), batch.get("trust", "")
    return Row(case.name, "done before", float(batch["seconds"]), case.output, batch["verdict"], sentences, trust)


def _hash(case: Case, path: Path | None) -> str:
    if path is None:
        raise InputError(case.name, found="no path", expected="one for each input", do="Complete its line in the list.")
    if not path.exists():
        do = "Check the list: its paths are relative to its own folder."
        raise InputError(path, found="no such file or folder", expected="a series or a file", do=do)
    if path.is_file():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = "\n".join(f"{file.relative_to(path).as_posix()} {sha256(file)}" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


@lru_cache(maxsize=1)
def _loaded(paths: tuple[Path, ...], device: Device) -> Model:
    return load_model(*paths, device=device)
