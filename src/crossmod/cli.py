"""The command line: one function a command, all heavy imports inside, so that `--help` answers at once."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter
from pydantic import BaseModel, ValidationError

from crossmod import __version__
from crossmod.config import Modality, Settings, SettingsType, build, invalid, overrides_of, read_yaml, with_overrides
from crossmod.errors import InputError
from crossmod.files import disk_full, is_disk_full
from crossmod.presets import SEGMENT, TRANSLATE
from crossmod.settings import SegmentSettings, TranslateSettings

Device = Literal["auto", "cpu", "cuda"]
Flat = Parameter(name="*")

app = App(
    name="crossmod",
    version=__version__,
    # No --no-... and --empty-... beside every option: the help stays short.
    default_parameter=Parameter(negative=(), consume_multiple=True),
    help="""Unpaired cross-modality image synthesis between CT and MR, with proof of what it is worth.

    The way of the data: `prepare` makes a store of cases; `train` learns to turn one modality into the other;
    `synthesize` turns labelled slices into labelled synthetic slices; `segment` trains a segmenter on real and
    synthetic slices and tests it on held-out patients; `report` shows it all on one page. `demo` does everything on
    made-up patients in a few minutes.""",
)
prepare = App(name="prepare", help="Make a store of cases out of image files.")
app.command(prepare)

TranslateOverrides = overrides_of(TranslateSettings)
SegmentOverrides = overrides_of(SegmentSettings)


@prepare.command(name="chaos")
def prepare_chaos(
    src: Path,
    store: Path,
    *,
    download: bool = False,
    append: bool = False,
    sequences: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
) -> None:
    """Read the CHAOS layout: CT, MR T1-DUAL in and out of phase, MR T2-SPIR, with masks.

    Parameters
    ----------
    src
        Folder that holds Train_Sets, or CT and MR.
    store
        The new store.
    download
        First fetch the published training set into SRC (891 MB, CC BY-NC-SA 4.0); a broken download is resumed.
    append
        Add to a store that is there.
    sequences
        Only these of ct, t1_in, t1_out, t2_spir.
    only
        Only these patients, by CHAOS number or pseudonym.
    exclude
        All but these patients.
    """
    from crossmod.data import prepare as rooms
    from crossmod.data.download import download_chaos

    if download:
        download_chaos(src)
    cases = rooms.prepare_chaos(src, store, append=append, sequences=sequences, only=only, exclude=exclude)
    _say(f"{store}: {len(cases)} cases more. Look at it: crossmod info {store}")


@prepare.command(name="dicom")
def prepare_dicom(
    src: Path, store: Path, *, append: bool = False, patient: str | None = None, name: str | None = None
) -> None:
    """Read every CT and MR series in a folder of DICOM files.

    Parameters
    ----------
    src
        Folder with DICOM files, at any depth.
    store
        The new store.
    append
        Add to a store that is there.
    patient
        Pseudonym of the patient, where all series are of one.
    name
        First part of the pseudonyms that are given out; default: the folder's name.
    """
    from crossmod.data import prepare as rooms

    cases = rooms.prepare_dicom(src, store, append=append, patient=patient, name=name)
    _say(f"{store}: {len(cases)} cases more. Look at it: crossmod info {store}")


@prepare.command(name="nifti")
def prepare_nifti(
    src: Path,
    store: Path,
    *,
    modality: Modality,
    append: bool = False,
    image: str = "image.nii.gz",
    label: str = "label.nii.gz",
    labels_json: Path | None = None,
    sequence: str | None = None,
    name: str | None = None,
    number_patients: bool = False,
    orientation: str | None = None,
    only: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
) -> None:
    """Read NIfTI files: SRC/<case>/image.nii.gz and, where there is one, SRC/<case>/label.nii.gz.

    Parameters
    ----------
    src
        Folder with a folder for each case, or with files that all name their case.
    store
        The new store.
    modality
        What the images are.
    append
        Add to a store that is there.
    image
        Name of the image file; `{case}` stands for the case, such as `{case}_0000.nii.gz`.
    label
        Name of the label file, in the same way.
    labels_json
        JSON with the name of each label value; default: labels.json in SRC.
    sequence
        Name of the MR sequence, such as t2_spir.
    name
        First part of the patients' pseudonyms; default: the name of SRC. The rest is the case's name.
    number_patients
        Call patients p001, p002 and so on, for folders that are named after people.
    orientation
        Axis codes to assume, such as RAS, for files that do not say theirs.
    only
        Only these cases.
    exclude
        All but these cases.
    """
    from crossmod.data import prepare as rooms

    cases = rooms.prepare_nifti(
        src,
        store,
        modality=modality,
        append=append,
        image=image,
        label=label,
        labels_json=labels_json,
        sequence=sequence,
        name=name,
        number_patients=number_patients,
        orientation=orientation,
        only=only,
        exclude=exclude,
    )
    _say(f"{store}: {len(cases)} cases more. Look at it: crossmod info {store}")


@app.command
def info(path: Path) -> None:
    """Describe a volume, a store or a run.

    Parameters
    ----------
    path
        NIfTI file, folder of DICOM files, store, or run folder.
    """
    from crossmod.report.describe import show

    show(path)


@app.command
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
    write_phantom(out, build(PhantomSettings, values, subject="phantom"))
    _say(f"Next: crossmod prepare {layout} {out} STORE{'' if layout == 'chaos' else ' --modality ct'}")


@app.command
def train(
    out: Path,
    *,
    ct: Path,
    mr: Path,
    preset: str = "rafiq2025",
    config: Path | None = None,
    device: Device = "auto",
    dry_run: bool = False,
    overrides: Annotated[TranslateOverrides | None, Flat] = None,  # pyright: ignore[reportInvalidTypeForm]
) -> None:
    """Train a translator between CT and MR from unpaired stores; the same command again continues it.

    The patients of the target side that `segment` will test on are held out here by the same --folds and --fold.

    Parameters
    ----------
    out
        The run folder.
    ct
        Store with CT cases.
    mr
        Store with MR cases.
    preset
        Settings to start from: rafiq2025 (the paper) or tiny (a CPU).
    config
        YAML file of settings that go before the preset's, such as another run's config.yaml.
    device
        Where to compute.
    dry_run
        Print the settings and stop.
    """
    settings = _settings(TRANSLATE, preset, config, overrides)
    if dry_run:
        return _print_settings(settings)
    from crossmod.translate.train import train_translator

    run = train_translator(out, ct=ct, mr=mr, settings=settings, device=device)
    card = run.card
    _say(f"{out}: {card['family']}, {card['steps']} steps in {card['seconds']:.0f} s. Pictures: {out / 'samples'}")
    _say(f"Next: crossmod synthesize {out} --source {ct if settings.source == 'ct' else mr} --out STORE")
    return None


@app.command
def synthesize(
    run: Path,
    *,
    source: Path,
    out: Path,
    slices: Literal["organ", "all"] = "organ",
    min_consistency: float = 0.0,
    device: Device = "auto",
) -> None:
    """Turn the labelled slices of a store into labelled synthetic slices of the other modality.

    Parameters
    ----------
    run
        Folder of a finished training run.
    source
        Store with labelled cases of the model's source modality.
    out
        The new store.
    slices
        Slices that show the organ, or all.
    min_consistency
        Keep slices whose label consistency, the Dice between the segmentor's answer and the label, is at least this.
    device
        Where to compute.
    """
    from crossmod.translate.synthesize import synthesize as work

    made = work(run, source=source, out=out, slices=slices, min_consistency=min_consistency, device=device)
    _say(f"{out}: {made.slices} synthetic slices, {made.left_out} left out for their consistency")


@app.command
def segment(
    out: Path,
    *,
    real: Path,
    synthetic: Path | None = None,
    preset: str = "rafiq2025",
    config: Path | None = None,
    device: Device = "auto",
    dry_run: bool = False,
    overrides: Annotated[SegmentOverrides | None, Flat] = None,  # pyright: ignore[reportInvalidTypeForm]
) -> None:
    """Train a segmenter on real slices and --count synthetic ones, and test it on held-out real ones.

    Parameters
    ----------
    out
        The run folder.
    real
        Store with labelled real cases.
    synthetic
        Store that `synthesize` made.
    preset
        Settings to start from: rafiq2025 (the paper) or tiny (a CPU).
    config
        YAML file of settings that go before the preset's, such as another run's config.yaml.
    device
        Where to compute.
    dry_run
        Print the settings and stop.
    """
    settings = _settings(SEGMENT, preset, config, overrides)
    if dry_run:
        return _print_settings(settings)
    from crossmod.report.tables import one_line
    from crossmod.segment.train import train_segmenter

    run = train_segmenter(out, real=real, synthetic=synthetic, settings=settings, device=device)
    _say(f"{out}: {one_line(run.card)}")
    return None


@app.command
def report(runs: tuple[Path, ...], *, out: Path = Path("report.html")) -> None:
    """Make one HTML page, which opens offline, of training and segmentation runs and synthetic stores.

    Parameters
    ----------
    runs
        Run folders, and stores that `synthesize` made. The first segmentation run without synthetic slices is what
        the others are compared to.
    out
        The page.
    """
    from crossmod.report.build import build_report

    build_report(list(runs), out)
    _say(f"{out}")


@app.command
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
    _say(f"Open {page} in a browser.")


def _settings(
    presets: dict[str, SettingsType], preset: str, config: Path | None, overrides: BaseModel | None
) -> SettingsType:
    if preset not in presets:
        found, wanted = f"{preset!r}", f"one of {', '.join(presets)}"
        raise InputError("--preset", found=found, wanted=wanted, do="Choose one of them.")
    settings = presets[preset]
    if config is not None:
        values = read_yaml(config)
        # A run's config.yaml holds the settings next to kind and inputs.
        values = values["settings"] if isinstance(values.get("settings"), dict) else values
        settings = build(type(settings), {**settings.model_dump(), **values}, subject=config)
    return with_overrides(settings, overrides)


def _print_settings(settings: Settings) -> None:
    import yaml

    print(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), end="")


def _say(text: str) -> None:
    print(text, flush=True)


def main(words: Sequence[str] | None = None) -> None:
    """Run a command; a mistake of the user's gives one clear sentence and exit code 2.

    Args:
        words: what was typed after `crossmod`; taken from the command line by default.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app(
            sys.argv[1:] if words is None else list(words),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        sentence = invalid(error.__cause__, "option") if isinstance(error.__cause__, ValidationError) else error
        print(f"crossmod: {sentence}", file=sys.stderr)
        sys.exit(2)
    except InputError as error:
        print(f"crossmod: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if not is_disk_full(error):
            raise
        print(f"crossmod: {disk_full(Path(error.filename or '.'))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("crossmod: stopped. The same command again continues.", file=sys.stderr)
        sys.exit(130)
