"""`crossmod train`, `synthesize` and `segment`: from stores to models and back."""

from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import BaseModel

from crossmod.cli.app import app, say
from crossmod.config import Settings, overrides_of, read_yaml
from crossmod.errors import InputError
from crossmod.presets import SEGMENT, TRANSLATE, Chosen, with_asked
from crossmod.settings import Device, Machine, SegmentSettings, TranslateSettings, as_recorded, pixel_words

Flat = Parameter(name="*")


class Setup(Machine):
    """What `train` and `segment` ask before their settings."""

    preset: str = "rafiq2025"
    """Settings to start from: rafiq2025 (the paper) or tiny (a CPU); `train` has those of Crespi et al. too."""
    config: Path | None = None
    """YAML file of settings that go before the preset's, such as another run's config.yaml."""
    dry_run: bool = False
    """Print the settings and stop."""


TranslateOverrides = overrides_of(TranslateSettings)
SegmentOverrides = overrides_of(SegmentSettings)


@app.command(sort_key=3)
def train(
    out: Path,
    *,
    ct: list[Path],
    mr: list[Path],
    setup: Annotated[Setup | None, Flat] = None,
    overrides: Annotated[TranslateOverrides | None, Flat] = None,  # pyright: ignore[reportInvalidTypeForm]
) -> None:
    """Train a translator between CT and MR from unpaired stores; the same command again continues it.

    The patients of the target side that `segment` will test on are held out here by the same --folds and --fold.

    Parameters
    ----------
    out
        The run folder.
    ct
        Store with CT cases, or several.
    mr
        Store with MR cases, or several.
    """
    setup = setup or Setup()
    settings = resolve(TRANSLATE, setup, overrides)
    if setup.dry_run:
        return _print_settings(settings)
    from crossmod.synthesis.train import train_translator

    run = train_translator(out, ct=ct, mr=mr, settings=settings, machine=setup)
    card = run.card
    say(f"{out}: {card['family']}, {card['steps']} steps in {card['seconds']:.0f} s. Pictures: {out / 'samples'}")
    say(f"{card['settings']['size']} pixels of a slice: {pixel_words(card['settings'])}.")
    if card["best"]:
        say(f"Best of its scored epochs: {card['best']['epoch'] + 1}; `synthesize` uses it unless told otherwise.")
    if card["alarms"]:
        say(f"Alarms: {', '.join(alarm['alarm'] for alarm in card['alarms'])}. Look at the pictures, or at a report.")
    if card["leaking"]:
        say("Split by slice: LEAKING, neighbours of the held-out slices were trained on.")
    if card["split"] == "none":
        say("Nobody was held out: test what it makes on other people than these.")
    source = (ct if settings.source == "ct" else mr)[0]
    every = "" if _labelled(source, settings) else " --slices all"
    say(f"Next: crossmod synthesize {quote(str(out))} --source {quote(str(source))}{every} --out STORE")
    return None


@app.command(sort_key=4)
def synthesize(
    run: Path,
    *,
    source: Path,
    out: Path,
    slices: Literal["organ", "all"] = "organ",
    min_consistency: float = 0.0,
    epoch: Literal["auto", "best", "last"] = "auto",
    same_people: Literal["yes", "no"] | None = None,
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
    epoch
        The weights to use; `auto`: the best epoch where the run scored its epochs, otherwise the last.
    same_people
        Whether equal case names in SOURCE and in the model's training are one person; asked for where it matters.
    device
        Where to compute.
    """
    from crossmod.synthesis.synthesize import synthesize as work

    made = work(
        run,
        source=source,
        out=out,
        slices=slices,
        min_consistency=min_consistency,
        epoch=epoch,
        same_people=same_people,
        machine=Machine(device=device),
    )
    say(f"{out}: {made.slices} synthetic slices, {made.left_out} left out for their consistency")


@app.command(sort_key=5)
def segment(
    out: Path,
    *,
    real: Path,
    synthetic: Path | None = None,
    setup: Annotated[Setup | None, Flat] = None,
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
    """
    setup = setup or Setup()
    settings = resolve(SEGMENT, setup, overrides)
    if setup.dry_run:
        return _print_settings(settings)
    from crossmod.report.collect import one_line
    from crossmod.segmentation.train import train_segmenter

    run = train_segmenter(out, real=real, synthetic=synthetic, settings=settings, machine=setup)
    say(f"{out}: {one_line(run.card)}")
    if synthetic is None and not settings.pixel_mm and run.card["settings"].get("pixel_mm"):
        say(
            f"Pixels of {run.card['settings']['pixel_mm']:g} mm; runs that are to be compared need the same --pixel-mm."
        )
    return None


def resolve(presets: dict[str, Chosen], setup: Setup, overrides: BaseModel | None) -> Chosen:
    """The settings that a preset, a file and options come to.

    Raises:
        InputError: an unknown preset, values that the settings refuse, or an option that would have no effect.
    """
    if setup.preset not in presets:
        found, expected = f"{setup.preset!r}", f"one of {', '.join(presets)}"
        raise InputError("--preset", found=found, expected=expected, do="Choose one of them.")
    settings = presets[setup.preset]
    if setup.config is not None:
        content = read_yaml(setup.config)
        # A run's config.yaml holds the settings next to kind and inputs.
        values = content["settings"] if isinstance(content.get("settings"), dict) else content
        values = as_recorded(values) if "kind" in content else values
        settings = with_asked(settings, values, every=False, subject=setup.config)
    return with_asked(settings, overrides.model_dump(exclude_none=True) if overrides is not None else {})


def _labelled(store: Path, settings: TranslateSettings) -> bool:
    """Whether the source store has labels of the organ, by which `synthesize` chooses slices."""
    from crossmod.data.store import Store

    return any(settings.organs[0] in case.labels.values() for case in Store(store).cases)


def _print_settings(settings: Settings) -> None:
    import yaml

    print(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), end="")
