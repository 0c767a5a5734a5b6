"""`crossmod phantom` and `crossmod demo`: everything on made-up patients."""

from pathlib import Path
from shlex import quote
from typing import Literal

from crossmod.cli.app import app, say
from crossmod.config import build
from crossmod.errors import InputError


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
    ct_contrast: Literal["yes", "no"] | None = None,
    mr_source: Literal[1, 2] = 1,
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
    ct_contrast
        CT with contrast agent, or the same patients without; DICOM headers name the agent. Default: with it, and
        headers that do not tell.
    mr_source
        1: a scanner of 1.5 T, as in the CHAOS set; 2: another hospital's of 3 T, with another T1 and other patients.
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
        "ct_contrast": ct_contrast,
        "mr_source": mr_source,
    }
    write_phantom(out, build(PhantomSettings, values, subject=""))
    source = out if layout == "chaos" else out / "ct"
    words = "" if layout == "chaos" else " --modality ct"
    # A header can only say yes, and the layout of CHAOS is taken for CHAOS, whose CT has contrast agent.
    words += "" if ct_contrast is None or (layout, ct_contrast) == ("chaos", "yes") else f" --contrast {ct_contrast}"
    say(f"Next: crossmod prepare {layout} {quote(str(source))} STORE{words}")


@app.command(sort_key=8)
def demo(*, out: Path = Path("demo"), seed: int = 0, jobs: int = 0) -> None:
    """Do it all on made-up patients: phantom, stores, EssNet and CycleGAN, synthesis, U-Nets, report.

    Takes some minutes on two cores. Run again, it continues where it stopped.

    Parameters
    ----------
    out
        Folder for everything it makes.
    seed
        Another seed, other patients and other networks.
    jobs
        Runs at once; 0: one on each core. The results are the same.
    """
    if jobs < 0:
        raise InputError("--jobs", found=str(jobs), expected="0 or more", do="Leave it out for one run on each core.")
    from crossmod.experiment.demo import run_demo

    page = run_demo(out, seed, jobs)
    say(f"Open {page} in a browser.")
