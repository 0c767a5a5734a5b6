"""`crossmod phantom` and `crossmod demo`: everything on made-up patients."""

from pathlib import Path
from shlex import quote
from typing import Literal

from crossmod.cli.application import app, say
from crossmod.config import build


@app.command(sort_key=7)
def phantom(
    out: Path,
    *,
    patients: int = 10,
    ct_patients: int | None = None,
    mr_patients: int | None = None,
    size: int = 128,
    slices: int = 32,
    seed: int = 0,
    layout: Literal["chaos", "nifti"] = "chaos",
    paired: bool = False,
) -> None:
    """Make up patients: an upper abdomen with labelled organs, as CT and as MR in three sequences.

    Parameters
    ----------
    out
        The new folder.
    patients
        CT patients, and as many other MR patients.
    ct_patients
        CT patients, where they are not as many.
    mr_patients
        MR patients, where they are not as many.
    size
        Pixels along each side of a slice.
    slices
        CT slices of a patient; MR slices are thicker and fewer.
    seed
        Another seed, other patients.
    layout
        `chaos`: DICOM and PNG as in the CHAOS set; `nifti`: one file a volume.
    paired
        The same patients in both modalities. This is the truth for checking a translation, not for training one.
    """
    from crossmod.phantom.dataset import PhantomSettings, write_phantom

    values = {
        "ct_patients": patients if ct_patients is None else ct_patients,
        "mr_patients": patients if mr_patients is None else mr_patients,
        "size": size,
        "slices": slices,
        "seed": seed,
        "layout": layout,
        "paired": paired,
    }
    write_phantom(out, build(PhantomSettings, values, subject=""))
    source = out if layout == "chaos" else out / "ct"
    say(f"Next: crossmod prepare {layout} {quote(str(source))} STORE{'' if layout == 'chaos' else ' --modality ct'}")


@app.command(sort_key=8)
def demo(*, out: Path = Path("demo"), seed: int = 0) -> None:
    """Do it all on made-up patients: phantom, stores, EssNet and CycleGAN, synthesis, U-Nets, report.

    Takes some minutes on two cores. Run again, it continues where it stopped.

    Parameters
    ----------
    out
        Folder for everything it makes.
    seed
        Another seed, other patients and other networks.
    """
    from crossmod.experiment.demo import run_demo

    page = run_demo(out, seed)
    say(f"Open {page} in a browser.")
