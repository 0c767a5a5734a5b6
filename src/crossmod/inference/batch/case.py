"""One case of a batch: read, translate, judge, write; whole or not at all.

Notable:
- A case is made in a folder of its own and moved when it is whole, its image last. So an image in the output folder
  with the key of its making in its card is done, whatever was killed when.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

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
Result = TypeVar("Result")
KEY = "batch"


class BatchJob(Settings):
    """What is the same for all cases."""

    out: Path
    """Folder of the outputs."""
    options: Options = Options()
    """How volumes are translated."""
    limits: Limits = Limits()
    """Beyond which is warned."""
    suffix: str = ".nii.gz"
    """Of outputs that the list does not name; empty: folders with DICOM series."""
    keep_identity: bool = False
    """Copy the patient's data into DICOM outputs."""
    segmentation: bool = False
    """Write the organs that the model's segmentor finds into DICOM outputs, as DICOM SEG."""
    series_number: int | None = None
    """Which series, where DICOM folders hold several."""
    echo_time: float | None = Field(default=None, ge=0)
    """Likewise, in milliseconds."""
    device: Device = "auto"
    """Where to compute, where the model is given by its path."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A case that was read.

    Args:
        case: which.
        volumes: one an input.
        key: of what it is made of and how.
        seconds: that reading took.
    """

    case: Case
    volumes: tuple[Volume, ...]
    key: str
    seconds: float


@dataclass(frozen=True, eq=False)
class Made:
    """A case that was translated.

    Args:
        case: which.
        translation: what was made.
        key: as of `Ready`.
        seconds: that it took so far.
    """

    case: Case
    translation: Translation
    key: str
    seconds: float


def translate_case(model: Model | tuple[Path, ...], case: Case, job: BatchJob) -> Row:
    """Do one case; nothing that is wrong with it is raised. All that is given and returned can be pickled.

    Args:
        model: loaded, or paths as of `load_model`: a process loads them once.
        case: which.
        job: how.
    """
    loaded = model if isinstance(model, Model) else _loaded(model, job.device)
    return put_case(loaded, make_case(loaded, read_case(loaded, case, job), job), job)


def read_case(model: Model, case: Case, job: BatchJob) -> Ready | Row:
    """Read a case; or say that it is done already, or why it cannot be done."""
    began = time.monotonic()
    try:
        key = key_of(model, case, job)
        before = _done_before(case, job, key)
        if before is not None:
            return before
        named = {name: path for name, path in case.inputs if name is not None and path is not None}
        paths = named or [path for _, path in case.inputs if path is not None]
        asked = {"series_number": job.series_number, "echo_time": job.echo_time}
        volumes = read_volumes(paths, model.about.source, **asked)
        return Ready(case, volumes, key, time.monotonic() - began)
    except Exception as error:
        return _failed(case, error, time.monotonic() - began)


def make_case(model: Model, ready: Ready | Row, job: BatchJob) -> Made | Row:
    """Translate a case that was read."""
    if isinstance(ready, Row):
        return ready
    began = time.monotonic()
    try:
        made = _hushed(partial(model.translate, *ready.volumes, options=job.options))
    except Exception as error:
        return _failed(ready.case, error, ready.seconds + time.monotonic() - began)
    return Made(ready.case, made, ready.key, ready.seconds + time.monotonic() - began)


def put_case(model: Model, made: Made | Row, job: BatchJob) -> Row:
    """Judge a case that was translated, and write it."""
    if isinstance(made, Row):
        return made
    began = time.monotonic()
    try:
        return _hushed(partial(_put, model, made, job, began))
    except Exception as error:
        return _failed(made.case, error, made.seconds + time.monotonic() - began)


def _hushed(work: Callable[[], Result]) -> Result:
    """The batch tells how far it is; a bar for every case would be in its way."""
    context = copy_context()
    context.run(disable_progress)
    return context.run(work)


def key_of(model: Model, case: Case, job: BatchJob) -> str:
    """Of what a case is made, and how: equal where it would be made alike.

    Raises:
        InputError: an input that is missing.
    """
    told = {
        "inputs": [[name, _hash(case, path)] for name, path in case.inputs],
        "model": model.about.weights,
        **job.model_dump(mode="json", exclude={"out", "device", "suffix"}),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _put(model: Model, made: Made, job: BatchJob, began: float) -> Row:
    case, translation = made.case, made.translation
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
    seconds = round(made.seconds + time.monotonic() - began, 1)
    row = Row(case.name, "done", seconds, case.output, trust.verdict, trust.warnings, trust.status)
    card = place / f"{case.output}.json"
    told = {
        "key": made.key,
        "seconds": row.seconds,
        "verdict": row.verdict,
        "sentences": list(row.sentences),
        "trust": row.trust,
    }
    write_json(card, {**read_json(card), KEY: told})
    for suffix in SUFFIXES:
        (place / f"{case.output}{suffix}").replace(job.out / f"{case.output}{suffix}")
    (place / case.output).rename(job.out / case.output)
    place.rmdir()
    return row


def _done_before(case: Case, job: BatchJob, key: str) -> Row | None:
    """The row of a case that is there already.

    Raises:
        InputError: there is something else in its place.
    """
    output = job.out / case.output
    if not output.exists():
        return None
    card = output.with_name(output.name + ".json")
    content = read_json(card) if card.is_file() else {}
    told: dict[str, Any] = content.get(KEY, {}) if isinstance(content, dict) else {}
    if told.get("key") != key:
        found = "an output of other inputs, another model or other options" if told else "something that is no output"
        do = "Choose another folder, or remove it."
        raise InputError(output, found=found, expected="a free place", do=do)
    return Row(
        case.name,
        "done before",
        float(told["seconds"]),
        case.output,
        told["verdict"],
        tuple(told["sentences"]),
        str(told.get("trust", "")),
    )


def _hash(case: Case, path: Path | None) -> str:
    if path is None:
        raise InputError(case.name, found="no path", expected="one for each input", do="Complete its line in the list.")
    if not path.exists():
        do = "Check the list: its paths are seen from its own folder."
        raise InputError(path, found="no such file or folder", expected="a series or a file", do=do)
    if path.is_file():
        return sha256(path)
    files = sorted(one for one in path.rglob("*") if one.is_file())
    told = "\n".join(f"{one.relative_to(path).as_posix()} {sha256(one)}" for one in files)
    return hashlib.sha256(told.encode()).hexdigest()


def _failed(case: Case, error: Exception, seconds: float) -> Row:
    """What is no `InputError` comes from files that are broken in a way nobody thought of, or from a lack of memory."""
    words = (
        str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    )
    return Row(case.name, "failed", round(seconds, 1), case.output, "", (words,))


@lru_cache(maxsize=1)
def _loaded(paths: tuple[Path, ...], device: Device) -> Model:
    return load_model(*paths, device=device)
