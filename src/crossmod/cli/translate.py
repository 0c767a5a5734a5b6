"""`crossmod translate`: a patient's volume through a trained model."""

import sys
from builtins import list as several
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

import crossmod
from crossmod.cli.app import app, say
from crossmod.config import build
from crossmod.errors import InputError
from crossmod.html.format import count
from crossmod.settings import Device

if TYPE_CHECKING:
    from crossmod.inference.batch.run import Spread

# A translation that was made, and that the trust report warns of.
UNTRUSTED = 3


@app.command(sort_key=4)
def translate(
    run: Path,
    *paths: Annotated[Path, Parameter(name="INPUT... OUTPUT")],
    input: several[str] | None = None,
    also: several[Path] | None = None,
    variants: several[Literal["flip", "shift", "neighbours"]] | None = None,
    tiles: Literal["auto", "on", "off"] = "auto",
    batch: int = 16,
    series_number: int | None = None,
    echo_time: float | None = None,
    keep_identity: bool = False,
    segmentation: bool = False,
    truth: Path | None = None,
    list: Path | None = None,
    strict: bool = False,
    accept_units: bool = False,
    executor: Literal["local", "ray"] = "local",
    address: str | None = None,
    gpus: float = 0.0,
    device: Device = "auto",
) -> None:
    """Turn a patient's CT into MR, or MR into CT: RUN INPUT OUTPUT. Synthetic, not for diagnosis.

    OUTPUT.trust.html says how far to trust it. Many patients: RUN --list CASES.csv FOLDER.

    INPUT is a folder with one DICOM series, or a NIfTI file; models of several inputs take several, all before OUTPUT.
    OUTPUT that ends in .nii or .nii.gz is NIfTI, else a new folder with a DICOM series. OUTPUT.json says what made it.

    Parameters
    ----------
    run
        Folder of a finished training run, or of a model that `export` made.
    paths
        The inputs, in the order of the model's, and at last the output.
    input
        Inputs by name, as NAME=PATH, such as t1_in=scans/T1; only the output then stands after the run.
    also
        More models: of the same window, for a mean and an uncertainty, or of other CT windows, for a wider range.
    variants
        Translate these variants of each slice too and take the mean; their spread is the uncertainty.
    tiles
        Whole slices, or tiles of training's pixels; `auto`: tiles where whole slices would be much coarser.
    batch
        Slices at a time.
    series_number
        Which series, where a DICOM folder holds several.
    echo_time
        Which series, where a DICOM folder holds several echoes; milliseconds.
    keep_identity
        Copy the patient's name and identifiers into the DICOM output.
    segmentation
        Write the organs that the model's segmentor finds into the DICOM output, as DICOM SEG (extra `seg`).
    truth
        A real scan of the same patient in the modality that is made, at the same place: DICOM or NIfTI. Says how far
        the result is from it, here, in OUTPUT.json and in the trust report.
    list
        CSV of many patients: columns `case`, `input` (or one for each input's name) and, if you like, `output`. Paths
        are seen from the folder of the CSV. Given again, the command goes on; one bad patient does not stop the rest;
        `summary.csv` tells of all.
    strict
        Exit with code 3 if the trust report has a warning.
    accept_units
        Also take inputs whose values cannot be HU (CT) or signal (MR): for experts. OUTPUT.json and the trust report
        say so.
    executor
        Of a list: this machine, or a Ray cluster (extra `ray`) whose machines all see the same folders.
    address
        Ray: of the cluster, such as `auto` or head:6379; default: a Ray of its own on this machine.
    gpus
        Ray: GPUs of each patient; 0.25 lets four share one.
    device
        Where to compute.
    """
    from crossmod.inference.api import refuse_existing
    from crossmod.inference.batch.table import SUFFIXES

    chosen = {
        "variants": tuple(variants or ()),
        "tiles": tiles,
        "batch": batch,
        "accept_units": accept_units,
    }
    options = build(crossmod.Options, chosen, subject="translate")
    models = (run, *(also or ()))
    expected = {"keep_identity": keep_identity, "segmentation": segmentation}
    series = {"series_number": series_number, "echo_time": echo_time}
    if list is not None:
        if len(paths) != 1 or input or truth:
            more = (" and --input" if input else "") + (" and --truth" if truth else "")
            found, alone = f"{count(len(paths), 'path')} after the run{more}", "the folder of the outputs alone"
            raise InputError("translate --list", found=found, expected=alone, do="Leave the rest out.")
        same = {"out": paths[0], "options": options, "device": device, **expected, **series}
        job = build(crossmod.BatchJob, same, subject="translate")
        spread = None
        if executor != "ray" and (address is not None or gpus):
            found, do = "--address or --gpus with --executor local", "Leave them out, or give --executor ray."
            raise InputError("translate", found=found, expected="--executor ray with them", do=do)
        if executor == "ray":
            from crossmod.experiment.executors.ray import cases_on_ray

            spread = cases_on_ray(address, gpus)
        return _translate_list(models, list, job, strict, spread)
    if executor != "local" or address is not None or gpus:
        found, do = "--executor, --address or --gpus", "Leave them out, or give a list."
        raise InputError("translate", found=found, expected="--list with them", do=do)
    named = _named(input or [])
    *inputs, out = paths or (None,)
    if out is None or bool(inputs) == bool(named):
        found = f"{count(len(paths), 'path')} after the run" + (" and --input" if named else "")
        one = "the output alone beside --input" if named else "INPUT and OUTPUT"
        raise InputError("translate", found=found, expected=one, do="See crossmod translate --help.")
    refuse_existing(out, *(Path(f"{out}{suffix}") for suffix in SUFFIXES))
    model = crossmod.load_model(*models, device=device)
    trust = _translate_one(model, named or inputs, out, options, truth, expected, series)
    if strict and trust.warnings:
        sys.exit(UNTRUSTED)
    return None


def _translate_one(
    model: "crossmod.Model",
    paths: dict[str, Path] | several[Path],
    out: Path,
    options: "crossmod.Options",
    truth: Path | None,
    expected: dict[str, bool],
    series: dict[str, Any],
) -> "crossmod.Trust":
    about = model.about
    volumes = crossmod.read_volumes(paths, about.source, **series)
    given = [*(paths.values() if isinstance(paths, dict) else paths)]
    # Before the work, not after it.
    real = None if truth is None else crossmod.read_volume(truth, about.target, beside=given[0])
    made = model.translate(*volumes, options=options)
    # The model has an order of its own, where the inputs say what they are.
    sources = [given[at] for one in made.sources for at, volume in enumerate(volumes) if volume is one]
    against = None if real is None else crossmod.evaluate_translation(made, real)
    crossmod.write_translation(made, out, source=sources, options=options, truth=against, **expected)
    say(f"{out}: synthetic {about.target.upper()} of {count(len(made.image.voxels), 'slice')}, not for diagnosis")
    if made.clipped > 0.005:
        say(f"{made.clipped:.1%} of the body lies beyond {about.window[0]:g} to {about.window[1]:g} {about.ct_words}.")
    if against is not None:
        say(f"Against {truth}: {against.words}")
    trust, page = model.trust(made), Path(f"{out}.trust.html")
    crossmod.write_trust(made, trust, page, truth=against)
    say(f"Trust: {trust.status}" + (f", {trust.verdict}" if trust.warnings else ""))
    for sentence in trust.warnings:
        say(f"Warning: {sentence}")
    say(f"{page}")
    return trust


def _translate_list(
    paths: tuple[Path, ...], table: Path, job: "crossmod.BatchJob", strict: bool, spread: "Spread | None" = None
) -> None:
    rows = crossmod.translate_list([path.absolute() for path in paths], table, job, spread=spread)
    failed = [row for row in rows if row.status == "failed"]
    warned = [row for row in rows if row.status != "failed" and row.sentences]
    say(f"{job.out}: {len(rows) - len(failed)} of {len(rows)} translated, {len(warned)} with warnings; see summary.csv")
    if failed:
        sys.exit(1)
    if strict and warned:
        sys.exit(UNTRUSTED)


def _named(texts: Sequence[str]) -> dict[str, Path]:
    """Names and paths of `NAME=PATH`."""
    pairs = [text.partition("=") for text in texts]
    names = [name for name, _, _ in pairs]
    if not all(name and path for name, _, path in pairs) or len(set(names)) < len(names):
        do = "Write --input t1_in=PATH."
        raise InputError("--input", found=" ".join(texts), expected="NAME=PATH, each name once", do=do)
    return {name: Path(path) for name, _, path in pairs}
