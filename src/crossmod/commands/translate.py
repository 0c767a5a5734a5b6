"""`crossmod translate` and `export`: a patient's volume through a trained model, and the model as a folder to share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import crossmod
from crossmod.commands import Paths, command, several
from crossmod.config import build
from crossmod.errors import InputError, Untrusted
from crossmod.files import PathName
from crossmod.html.format import count
from crossmod.progress import say
from crossmod.settings import Device

if TYPE_CHECKING:
    from crossmod.inference.batch.run import Spread
    from crossmod.inference.batch.table import Row
    from crossmod.inference.bundle.schema import Bundle


@dataclass(frozen=True)
class Translated:
    """One translated patient."""

    out: Path
    translation: "crossmod.Translation"  # image, body, uncertainty and labels
    trust: "crossmod.Trust"  # how far to trust it
    truth: "crossmod.AgainstTruth | None"  # its difference from a real scan, if one was given


def _failed(result: "Translated | tuple[Row, ...]") -> int:
    return int(isinstance(result, tuple) and any(row.status == "failed" for row in result))


@command("translate", 4, exit_code=_failed)
def translate(
    run: PathName,
    *paths: Annotated[PathName, "INPUT... OUTPUT"],
    input: tuple[str, ...] = (),
    also: Paths = (),
    variants: tuple[Literal["flip", "shift", "neighbours"], ...] = (),
    tiles: Literal["auto", "on", "off"] = "auto",
    batch: int = 16,
    series_number: int | None = None,
    echo_time: float | None = None,
    keep_identity: bool = False,
    segmentation: bool = False,
    truth: PathName | None = None,
    list: PathName | None = None,
    strict: bool = False,
    accept_units: bool = False,
    executor: Literal["local", "ray"] = "local",
    address: str | None = None,
    gpus: float = 0.0,
    device: Device = "auto",
) -> "Translated | tuple[Row, ...]":
    """Turn a patient's CT into MR, or MR into CT: RUN INPUT OUTPUT. Synthetic, not for diagnosis.

    OUTPUT.trust.html says how far to trust it. Many patients: RUN --list CASES.csv FOLDER.

    INPUT is a folder with one DICOM series, or a NIfTI file; models of several inputs take several, all before OUTPUT.
    OUTPUT that ends in .nii or .nii.gz is NIfTI, otherwise a new folder with a DICOM series. OUTPUT.json describes how
    it was made.

    Args:
        run: Folder of a finished training run, or of a model made by `export`.
        paths: Input paths in the model's input order, followed by the output path.
        input: Inputs by name, as NAME=PATH, such as t1_in=scans/T1; then only the output follows the run.
        also: More models: with the same window, for a mean and an uncertainty, or with other CT windows, for a wider
            range.
        variants: Also translate these variants of each slice and average; their spread is the uncertainty.
        tiles: Whole slices, or tiles at the training's pixel size; `auto`: tiles where whole slices would be much
            coarser.
        batch: Slices at a time.
        series_number: Number of the series, if a DICOM folder holds several.
        echo_time: Echo time of the series in milliseconds, if a DICOM folder holds several echoes.
        keep_identity: Copy the patient's name and identifiers into the DICOM output.
        segmentation: Add the organs that the model's segmentor finds to the DICOM output, as DICOM SEG (extra `seg`).
        truth: A real scan of the same patient, in the output's modality and frame of reference: DICOM or NIfTI. Its
            difference from the result is printed and written to OUTPUT.json and the trust report.
        list: CSV of many patients: columns `case`, `input` (or one for each input's name) and optionally `output`.
            Paths are relative to the CSV. Rerunning resumes; a failing case does not stop the others; results are
            listed in `summary.csv`.
        strict: Exit with code 3 if the trust report has a warning; in Python, raise `crossmod.errors.Untrusted`.
        accept_units: Also accept inputs whose values cannot be HU (CT) or signal (MR): for experts. OUTPUT.json and the
            trust report say so.
        executor: With a list: this machine, or a Ray cluster (extra `ray`) whose machines all see the same folders.
        address: Ray: address of the cluster, such as `auto` or head:6379; default: a local Ray on this machine.
        gpus: Ray: GPUs per patient; 0.25 lets four share one.
        device: Where to compute.

    Returns:
        Translation and trust of one patient; with `list` one row per case.

    Raises:
        InputError: the wrong number of inputs, one that cannot be read or is of another modality, or an existing
            output.
        Untrusted: with `strict`, a result was written that has a warning.
    """
    model_paths = (Path(run), *several(also))
    options = build(
        crossmod.Options,
        {"variants": variants, "tiles": tiles, "batch": batch, "accept_units": accept_units},
        subject="translate",
    )
    output = {"keep_identity": keep_identity, "segmentation": segmentation}
    if list is not None:
        if len(paths) != 1 or input or truth:
            more = (" and --input" if input else "") + (" and --truth" if truth else "")
            found, alone = f"{count(len(paths), 'path')} after the run{more}", "the folder of the outputs alone"
            raise InputError("translate --list", found=found, expected=alone, do="Leave the rest out.")
        values = {"out": Path(paths[0]), "options": options, "device": device, **output}
        values |= {"series_number": series_number, "echo_time": echo_time}
        job = build(crossmod.BatchJob, values, subject="translate")
        return _translate_list(model_paths, Path(list), job, strict, _spread(executor, address, gpus))
    if executor != "local" or address is not None or gpus:
        found, do = "--executor, --address or --gpus", "Leave them out, or give a list."
        raise InputError("translate", found=found, expected="--list with them", do=do)
    named = _named(input)
    inputs = [Path(path) for path in paths[:-1]]
    if not paths or bool(inputs) == bool(named):
        found = f"{count(len(paths), 'path')} after the run" + (" and --input" if named else "")
        expected = "the output alone beside --input" if named else "INPUT and OUTPUT"
        raise InputError("translate", found=found, expected=expected, do="See crossmod translate --help.")
    from crossmod.inference.api import refuse_existing
    from crossmod.inference.batch.table import SUFFIXES

    out = Path(paths[-1])
    refuse_existing(out, *(Path(f"{out}{suffix}") for suffix in SUFFIXES))
    model = crossmod.load_model(*model_paths, device=device)
    real = None if truth is None else Path(truth)
    source = model.about.source
    volumes = crossmod.read_volumes(named or inputs, source, series_number=series_number, echo_time=echo_time)
    result = _translate_one(model, [*named.values(), *inputs], volumes, out, options, real, output)
    if strict and result.trust.warnings:
        raise Untrusted(f"{out}: {result.trust.verdict}")
    return result


def _translate_one(
    model: "crossmod.Model",
    given: Sequence[Path],
    volumes: "Sequence[crossmod.Volume]",
    out: Path,
    options: "crossmod.Options",
    truth: Path | None,
    output: dict[str, bool],
) -> Translated:
    about = model.about
    # Before the work, not after it.
    real = None if truth is None else crossmod.read_volume(truth, about.target, beside=given[0])
    result = model.translate(*volumes, options=options)
    # The model has an order of its own, if the inputs say what they are.
    sources = [given[at] for source in result.sources for at, volume in enumerate(volumes) if volume is source]
    against = None if real is None else crossmod.evaluate_translation(result, real)
    crossmod.write_translation(result, out, source=sources, options=options, truth=against, **output)
    say(f"{out}: synthetic {about.target.upper()} of {count(len(result.image.voxels), 'slice')}, not for diagnosis")
    if result.clipped > 0.005:
        window = f"{about.window[0]:g} to {about.window[1]:g} {about.ct_words}"
        say(f"{result.clipped:.1%} of the body lies beyond {window}.")
    if against is not None:
        say(f"Against {truth}: {against.words}")
    trust, page = model.trust(result), Path(f"{out}.trust.html")
    crossmod.write_trust(result, trust, page, truth=against)
    say(f"Trust: {trust.status}" + (f", {trust.verdict}" if trust.warnings else ""))
    for sentence in trust.warnings:
        say(f"Warning: {sentence}")
    say(f"{page}")
    return Translated(out, result, trust, against)


def _spread(executor: str, address: str | None, gpus: float) -> "Spread | None":
    if executor == "ray":
        from crossmod.experiment.executors.ray import cases_on_ray

        return cases_on_ray(address, gpus)
    if address is not None or gpus:
        found, do = "--address or --gpus with --executor local", "Leave them out, or give --executor ray."
        raise InputError("translate", found=found, expected="--executor ray with them", do=do)
    return None


def _translate_list(
    paths: tuple[Path, ...], table: Path, job: "crossmod.BatchJob", strict: bool, spread: "Spread | None"
) -> "tuple[Row, ...]":
    rows = crossmod.translate_list([path.absolute() for path in paths], table, job, spread=spread)
    failed = [row for row in rows if row.status == "failed"]
    warned = [row for row in rows if row.status != "failed" and row.sentences]
    counts = f"{len(rows) - len(failed)} of {len(rows)} translated, {len(warned)} with warnings"
    say(f"{job.out}: {counts}; see summary.csv")
    if strict and warned and not failed:
        raise Untrusted(f"{job.out}: {counts}")
    return rows


def _named(texts: Sequence[str]) -> dict[str, Path]:
    """Names and paths of `NAME=PATH`."""
    pairs = [text.partition("=") for text in texts]
    names = [name for name, _, _ in pairs]
    if not all(name and path for name, _, path in pairs) or len(set(names)) < len(names):
        do = "Write --input t1_in=PATH."
        raise InputError("--input", found=" ".join(texts), expected="NAME=PATH, each name once", do=do)
    return {name: Path(path) for name, _, path in pairs}


@command("export", 4, joined="RUN... OUT")
def export_bundle(
    runs: Paths,
    out: PathName,
    *,
    epoch: Literal["auto", "best", "last"] = "auto",
    licence: str = "",
    scores: Paths = (),
    onnx: bool = False,
) -> "Bundle":
    """Make a bundle of a training run: weights, all that is needed to use them, and a card; no patient's name, no path.

    Args:
        runs: One run folder, or several that differ in their CT window (soft tissue, bone, lung).
        out: The new folder.
        epoch: The weights to use; `auto`: the best epoch if the run scored its epochs, otherwise the last.
        licence: Licence of the weights, such as CC-BY-4.0; without one, others may not use them.
        scores: Results of `evaluate images`, `segment` or an experiment with these models: they go into the card.
        onnx: Also write the networks as ONNX, checked against PyTorch; needs crossmod[onnx].

    Returns:
        The bundle's content.

    Raises:
        InputError: unfinished runs, runs that do not belong together, results of other models, or `out` exists.
    """
    from crossmod.inference.bundle import export

    bundle = export.export_bundle(several(runs), out, epoch=epoch, licence=licence, scores=several(scores), onnx=onnx)
    names = ", ".join(network.name for network in bundle.networks)
    say(f"{out}: {names}; {bundle.source.upper()} to {bundle.target.upper()}")
    for network in bundle.onnx.files if bundle.onnx else ():
        say(f"{network.file}: at most {network.max_difference:.1e} away from PyTorch")
    if not bundle.card.licence:
        say("No licence was stated: --licence says what others may do with it.")
    say(f"Next: crossmod translate {out} INPUT OUTPUT")
    return bundle
