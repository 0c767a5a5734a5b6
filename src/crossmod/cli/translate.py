"""`crossmod translate`: a patient's volume through a trained model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from crossmod.cli.application import app, say
from crossmod.errors import InputError
from crossmod.settings import Device


@app.command(sort_key=4)
def translate(
    run: Path,
    *paths: Annotated[Path, Parameter(name="INPUT... OUTPUT")],
    input: list[str] | None = None,
    also: list[Path] | None = None,
    variants: list[Literal["flip", "shift", "neighbours"]] | None = None,
    tiles: Literal["auto", "on", "off"] = "auto",
    batch: int = 16,
    series_number: int | None = None,
    echo_time: float | None = None,
    keep_identity: bool = False,
    device: Device = "auto",
) -> None:
    """Turn a patient's CT into MR, or MR into CT: RUN INPUT OUTPUT. Synthetic, not for diagnosis.

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
    device
        Where to compute.
    """
    import crossmod
    from crossmod.inference.api import refuse_existing

    named = _named(input or [])
    *inputs, out = paths or (None,)
    if out is None or bool(inputs) == bool(named):
        found = f"{len(paths)} paths after the run" + (" and --input" if named else "")
        wanted = "the output alone beside --input" if named else "INPUT and OUTPUT"
        raise InputError("translate", found=found, wanted=wanted, do="See crossmod translate --help.")
    refuse_existing(out)
    options = crossmod.Options(variants=tuple(variants or ()), tiles=tiles, batch=batch)
    model = crossmod.load_model(run, *(also or ()), device=device)
    about = model.about
    volumes = crossmod.read_volumes(named or inputs, about.source, series_number=series_number, echo_time=echo_time)
    made = model.translate(*volumes, options=options)
    source = _first(named, about.inputs) if named else inputs[0]
    crossmod.write_translation(made, out, source=source, keep_identity=keep_identity, options=options)
    say(f"{out}: synthetic {about.target.upper()} of {len(made.image.voxels)} slices, not for diagnosis")
    if made.clipped > 0.005:
        say(f"{made.clipped:.1%} of the body lies beyond {about.window[0]:g} to {about.window[1]:g} HU.")


def _named(texts: Sequence[str]) -> dict[str, Path]:
    """Names and paths of `NAME=PATH`."""
    pairs = [text.partition("=") for text in texts]
    names = [name for name, _, _ in pairs]
    if not all(name and path for name, _, path in pairs) or len(set(names)) < len(names):
        do = "Write --input t1_in=PATH."
        raise InputError("--input", found=" ".join(texts), wanted="NAME=PATH, each name once", do=do)
    return {name: Path(path) for name, _, path in pairs}


def _first(named: Mapping[str, Path], inputs: Sequence[str]) -> Path:
    """Whose grid the output has: that of the model's first input, whatever came first."""
    fitting = [path for name, path in named.items() if inputs and name in inputs[0].split("+")]
    return fitting[0] if fitting else next(iter(named.values()))
