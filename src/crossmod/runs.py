"""The run folder: the output of one command, and everything that is needed to understand or resume it.

    config.yaml       the resolved settings, and the inputs
    environment.json  versions, machine, command
    metrics.jsonl     log entries: step, epoch, losses
    checkpoints/      safetensors
    samples/          images from training
    card.json         written last: the results; a folder with a card is finished

Rerunning the command resumes an unfinished run; a finished run is not changed.
"""

import json
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import yaml

from crossmod.config import Modality, read_yaml
from crossmod.errors import InputError
from crossmod.files import lock, read_json, remove_partial, write_json, write_text
from crossmod.settings import BEFORE_FRAMES, JudgedOn, TrainSettings
from crossmod.version import __version__

CONFIG, CARD, LOCK = "config.yaml", "card.json", ".lock"


class AlarmRecord(TypedDict):
    """An alarm, in a card and in metrics.jsonl."""

    step: int
    epoch: int
    alarm: str
    seen: str
    advice: str


class TrainingCard(TypedDict):
    """What the cards of `train` and `segment` share, as they are written now; cards of earlier versions lack keys."""

    settings: dict[str, Any]  # of any version: `settings.as_recorded` reads them
    leaking: bool
    alarms: list[AlarmRecord]
    steps: int
    seconds: float
    seconds_per_epoch: float
    device: str
    threads: NotRequired[list[dict[str, int]]]  # not of predictions by nnU-Net
    processes: int
    compute: str


class PeopleCard(TypedDict):
    """The people of a run: the marks of each, and whether it was decided who is one person."""

    marks: dict[str, list[str]]
    decided: bool


class ExtentCard(TypedDict):
    """Medians over the cases of one side; lengths in mm, `body_pixels` in model pixels."""

    pixel_mm: float
    field_mm: float
    body_mm: list[float]
    touching: list[float]
    body_pixels: list[float] | None


class TranslatorSideCard(TypedDict):
    """One modality of a translator's training."""

    store: str
    sequence: str | None
    contrast: bool | None
    unit: str
    patients: list[str]
    scored_patients: list[str]
    cases: list[str]
    slices: int
    labelled: bool
    low: float
    high: float


class BestEpochCard(TypedDict):
    """The epoch with the best score on held-out patients."""

    score: float
    step: int
    epoch: int
    weights_sha256: str


class JudgeCard(TypedDict):
    """The judge of a translator."""

    trained_on: JudgedOn
    patients: list[str]
    slices: int
    steps: int
    weights_sha256: str
    dice: float | None  # of synthetic training slices at the end, mean
    shift: tuple[float, float] | None  # of organs in them, rows and columns in pixels


class TranslatorCard(TrainingCard):
    """The card of a run of `train`."""

    family: str
    weights_sha256: str
    best: BestEpochCard | None
    parameters: dict[str, int]
    data: dict[Modality, TranslatorSideCard]
    fingerprint: dict[str, object]  # of any version: `metrics.fingerprint.Fingerprint` reads it
    stack_mm: float | None
    held_out: list[str]
    people: PeopleCard
    split: str
    stopped_early: bool
    extents: dict[Modality, ExtentCard]
    judge: NotRequired[JudgeCard]


class SegmenterDataCard(TypedDict):
    """What a segmenter was trained and tested on."""

    real: str
    synthetic: str | None
    synthetic_family: str | None
    synthetic_run: str | None
    synthetic_models: list[str]
    synthetic_recipe: str | None
    train_slices: int
    train_patients: list[str]
    test_slices: int
    test_patients: list[str]
    people: PeopleCard


class SliceScore(TypedDict):
    """Dice of one tested slice that shows the organ; of several organs, the mean of those that it shows."""

    case: str
    slice: int
    dice: float


class RocCard(TypedDict):
    """A curve; empty where there are no probabilities."""

    fpr: Sequence[float]
    tpr: Sequence[float]


class SegmentationScores(TypedDict):
    """Scores of a segmenter; `crossmod.segmentation.predict.score` says what each is. None: undefined. Of several
    organs: their means (`crossmod.segmentation.several_organs`), and in `organs` the scores of each."""

    pooled: dict[str, float]
    trivial_dice: float
    slice: dict[str, float | None]
    slice_values: list[SliceScore]
    patient: dict[str, float | None]
    patient_interval: Sequence[float] | None
    patient_values: dict[str, dict[str, float | None]]
    patient_undefined: dict[str, int]
    surface: str
    auc: float | None
    roc: RocCard
    test_slices: int
    test_slices_with_organ: int
    constant: bool
    organs: NotRequired[dict[str, "SegmentationScores"]]


class NnunetCard(TypedDict):
    """The export that nnU-Net's predictions were made for."""

    export: str
    dataset: str
    probabilities: str


class AdaptedCard(TypedDict):
    """The unlabelled images that statistics of batch norm were estimated on, and the number of these layers."""

    slices: int
    patients: list[str]
    layers: int


class SegmenterCard(TrainingCard):
    """The card of a run of `segment`."""

    weights_sha256: NotRequired[str]  # not of predictions by nnU-Net
    parameters: int
    data: SegmenterDataCard
    tested: dict[str, list[int]]
    scores: SegmentationScores
    slices_per_second: float
    adapted: NotRequired[AdaptedCard]  # with `adapt_batch_norm`
    unmeasured: NotRequired[list[str]]
    nnunet: NotRequired[NnunetCard]


@dataclass(frozen=True)
class Run:
    """An existing run folder."""

    path: Path

    def __repr__(self) -> str:
        try:
            kind = self.config["kind"]
        except InputError:
            # A repr must not fail, least of all in the report of another error.
            kind = "not readable"
        return f"Run({str(self.path)!r}: {kind}, {'finished' if self.finished else 'not finished'})"

    @property
    def config(self) -> dict[str, Any]:
        """Kind, settings and inputs.

        Raises:
            InputError: the file was not written by a crossmod command.
        """
        content = read_yaml(self.path / CONFIG)
        return _with_keys(self.path / CONFIG, content, ("kind", "settings", "inputs"))

    @property
    def finished(self) -> bool:
        """Whether the run is finished."""
        return (self.path / CARD).is_file()

    @property
    def card(self) -> dict[str, Any]:
        """The results of the run.

        Raises:
            InputError: the run is not finished, or the card was not written by a crossmod command.
        """
        if not self.finished:
            do = "Run its command again: it continues where it stopped."
            raise InputError(self.path, found="a run that is not finished", expected="a finished run", do=do)
        return _with_keys(self.path / CARD, read_json(self.path / CARD), ("kind", "settings", "data", "steps"))

    def finish(self, card: Mapping[str, Any]) -> None:
        """Write the card: from now on the run is finished."""
        write_json(self.path / CARD, {"kind": self.config["kind"], **card})

    def log(self, reading: Mapping[str, Any]) -> None:
        """Append one reading to the metrics."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(reading) + "\n")

    def metrics(self) -> Iterator[dict[str, Any]]:
        """The entries so far, without a last line that is incomplete because the process was killed."""
        path = self.path / "metrics.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return

    def rewind_metrics(self, step: int) -> None:
        """Remove entries after `step`: those steps will be repeated."""
        kept = [json.dumps(reading) + "\n" for reading in self.metrics() if reading["step"] <= step]
        write_text(self.path / "metrics.jsonl", "".join(kept))


def _with_keys(path: Path, content: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(content, dict) or not all(key in content for key in keys):
        found, expected = "other content than a crossmod command writes", ", ".join(keys)
        raise InputError(path, found=found, expected=expected, do="Restore the file, or create the run again.")
    return content


def is_run(path: Path) -> bool:
    """Whether a folder is a run folder."""
    return (path / CONFIG).is_file()


def open_run(path: Path, kind: str | None = None) -> Run:
    """An existing run."""
    if not is_run(path):
        found = f"no {CONFIG} in it" if path.is_dir() else "no such folder"
        raise InputError(path, found=found, expected="a run folder", do="Give the folder that a crossmod command made.")
    run = Run(path)
    have = run.config.get("kind")
    if kind is not None and have != kind:
        raise InputError(path, found=f"a run of `{have}`", expected=f"a run of `{kind}`", do="Give another run folder.")
    return run


def start_run(
    path: Path,
    kind: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Any],
    *,
    unknown: Mapping[str, Any] | None = None,
) -> Run:
    """Create a run folder, or open the one that the same command created before. A run without a checkpoint has nothing
    to lose: with other settings or inputs (checksums of cases) it starts again."""
    config = json.loads(json.dumps({"kind": kind, "settings": settings, "inputs": inputs}))
    if is_run(path):
        if Run(path).config["kind"] != kind:
            found, expected = f"a run of `{Run(path).config['kind']}`", f"a new folder, or a run of `{kind}`"
            raise InputError(path, found=found, expected=expected, do="Choose another --out.")
        before = Run(path).config
        known = json.loads(json.dumps({**(unknown or {}), **before["settings"]}))
        differences = list(_differences({**before, "settings": known}, config))
        resumable = Run(path).finished or any((path / "checkpoints").glob("*.safetensors"))
        if differences and not resumable:
            with lock(path / LOCK):
                for picture in (path / "samples").glob("*"):
                    picture.unlink()
                return _begin(Run(path), config)
        if differences:
            raise InputError(
                path,
                found=f"a run with another {'; '.join(differences[:3])}",
                expected="the same command as before, or a new folder",
                do="Choose another --out, or repeat the settings in its config.yaml to continue it.",
            )
        return _complete(Run(path))
    remove_partial(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        found = "a file" if path.is_file() else "a folder with something else in it"
        raise InputError(path, found=found, expected="a new or empty folder", do="Choose another --out.")
    path.mkdir(parents=True, exist_ok=True)
    return _begin(Run(path), config)


def start_training(path: Path, kind: str, settings: TrainSettings, inputs: Mapping[str, Any]) -> Run:
    """`start_run` for a training; settings that an earlier version did not have mean what they meant there."""
    earlier = {**type(settings)().model_dump(mode="json"), **BEFORE_FRAMES}
    return start_run(path, kind, settings.model_dump(mode="json"), inputs, unknown=earlier)


def _begin(run: Run, config: Mapping[str, object]) -> Run:
    # Written first: it makes the folder a run, so a command that is killed after this line can be rerun.
    write_text(run.path / CONFIG, yaml.safe_dump(config, sort_keys=False))
    write_json(run.path / "environment.json", _environment())
    return _complete(run)


def _complete(run: Run) -> Run:
    for name in ("checkpoints", "samples"):
        (run.path / name).mkdir(exist_ok=True)
    return run


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}, key=str):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
    elif old != new:
        yield f"{_option(name)} ({_short(old)} then, {_short(new)} now)"


def _option(name: str) -> str:
    first, _, rest = name.partition(".")
    return f"--{rest.replace('_', '-')}" if first == "settings" else f"input {rest.replace('.', ' ')}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _environment() -> dict[str, object]:
    packages = ("torch", "numpy", "scipy", "pydicom", "nibabel", "safetensors")
    return {
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "packages": {"crossmod": __version__, **{name: metadata.version(name) for name in packages}},
    }
