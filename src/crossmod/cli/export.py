"""`crossmod export`: a trained model as a folder that can be given away."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import crossmod
from crossmod.cli.app import app, say
from crossmod.errors import InputError


@app.command(sort_key=4)
def export(
    paths: Annotated[tuple[Path, ...], Parameter(name="RUN... OUT", negative=())],
    /,
    *,
    epoch: Literal["auto", "best", "last"] = "auto",
    licence: str = "",
    scores: tuple[Path, ...] = (),
    onnx: bool = False,
) -> None:
    """Make a bundle of a training run: weights, all that is needed to use them, and a card; no patient's name, no path.

    Parameters
    ----------
    paths
        One run folder, or several that differ in their CT window (soft tissue, bone, lung); at last the new folder.
    epoch
        The weights to use; `auto`: the best epoch where the run scored its epochs, otherwise the last.
    licence
        Of the weights, such as CC-BY-4.0; what is not stated cannot be used by others.
    scores
        Folders of `evaluate images`, `segment` or an experiment, about these models: they go into the card.
    onnx
        Write the networks as ONNX, too, checked against PyTorch; needs crossmod[onnx].
    """
    if len(paths) < 2:
        found = f"{len(paths)} folder" if paths else "no folder"
        raise InputError("crossmod export", found=found, expected="RUN... OUT", do="Give a run folder and a new one.")
    out = paths[-1]
    bundle = crossmod.export_bundle(paths[:-1], out, epoch=epoch, licence=licence, scores=scores, onnx=onnx)
    say(f"{out}: {', '.join(one.name for one in bundle.networks)}; {bundle.source.upper()} to {bundle.target.upper()}")
    for one in bundle.onnx.files if bundle.onnx else ():
        say(f"{one.file}: at most {one.max_difference:.1e} away from PyTorch")
    if not bundle.card.licence:
        say("No licence was stated: --licence says what others may do with it.")
    say(f"Next: crossmod translate {out} INPUT OUTPUT")
