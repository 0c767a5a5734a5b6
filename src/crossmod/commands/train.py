"""`crossmod train`, `synthesize` and `segment`: from stores to models, and back to stores."""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from crossmod.commands import Option, Paths, build_settings, command, print_yaml, settings_of, several
from crossmod.config import Settings, read_yaml
from crossmod.errors import InputError
from crossmod.files import PathName
from crossmod.presets import SEGMENT, STATED, TRANSLATE, Chosen, with_asked
from crossmod.progress import say
from crossmod.settings import (
    CONTROLS,
    PANELS,
    Device,
    Machine,
    SegmentSettings,
    TranslateSettings,
    as_recorded,
    pixel_words,
)

if TYPE_CHECKING:
    from crossmod.data.store import Store
    from crossmod.runs import Run

PRESET = "rafiq2025"
HARDWARE = settings_of(Machine, panels=PANELS)


def options_of(
    model: type[TranslateSettings] | type[SegmentSettings], presets: Mapping[str, Settings]
) -> dict[str, Option]:
    """The options of training: settings, which start from a preset."""
    return settings_of(model, preset=presets[PRESET], stated=STATED[model], panels=PANELS)


@command("train", 3, options=options_of(TranslateSettings, TRANSLATE) | HARDWARE)
def train(
    out: PathName,
    *,
    ct: Paths,
    mr: Paths,
    preset: str = PRESET,
    config: PathName | None = None,
    dry_run: bool = False,
    **settings: Any,
) -> "Run | TranslateSettings":
    """Train a translator between CT and MR from unpaired stores; rerun the command to resume.

    The patients of the target side that `segment` will test on are held out here by the same --folds and --fold.

    Args:
        out: The run folder.
        ct: Store with CT cases, or several.
        mr: Store with MR cases, or several.
        preset: Settings to start from: rafiq2025 (the paper), guided (keeps structures in place), tiny or tiny_guided
            (for a CPU), or one of Crespi et al.: all_in, in_phase, in_phase_plus, t2, in_n_out, in_n_out_hum or
            triple, each also as tiny_NAME; or a control by its name, such as source.
        config: YAML file whose settings override the preset's, such as the config.yaml of another run.
        dry_run: Print the settings and stop.
        settings: Fields of `TranslateSettings` and `Machine`.

    Returns:
        The finished run; with `dry_run` its settings.

    Raises:
        InputError: stores without suitable slices, settings that contradict one another, or `out` is something else.
    """
    machine, asked = build_settings(Machine, settings)
    chosen = resolve(TRANSLATE, preset, config, asked)
    if dry_run:
        return print_yaml(chosen)
    from crossmod.synthesis.train import train_translator

    run = train_translator(Path(out), ct=several(ct), mr=several(mr), settings=chosen, machine=machine)
    card = run.card
    if chosen.family in CONTROLS:
        say(f"{out}: the control {card['family']}, fitted in {card['seconds']:.0f} s; nothing was trained.")
    else:
        pictures = f"Pictures: {run.path / 'samples'}"
        say(f"{out}: {card['family']}, {card['steps']} steps in {card['seconds']:.0f} s. {pictures}")
    say(f"{card['settings']['size']} pixels of a slice: {pixel_words(card['settings'])}.")
    if card["best"]:
        say(f"Best of its scored epochs: {card['best']['epoch'] + 1}; `synthesize` uses it by default.")
    if card["alarms"]:
        say(f"Alarms: {', '.join(alarm['alarm'] for alarm in card['alarms'])}. Look at the pictures, or at a report.")
    if card["leaking"]:
        say("Split by slice: LEAKING, neighbours of the held-out slices were trained on.")
    if card["split"] == "none":
        say("No patient was held out: test its results on other patients only.")
    source = several(ct if chosen.source == "ct" else mr)[0]
    every = "" if _labelled(source, chosen) else " --slices all"
    say(f"Next: crossmod synthesize {quote(str(out))} --source {quote(str(source))}{every} --out STORE")
    return run


@command("synthesize", 4)
def synthesize(
    run: PathName,
    *,
    source: PathName,
    out: PathName,
    slices: Literal["organ", "all"] = "organ",
    min_consistency: float = 0.0,
    epoch: Literal["auto", "best", "last"] = "auto",
    same_people: Literal["yes", "no"] | None = None,
    device: Device = "auto",
) -> "Store":
    """Turn the labelled slices of a store into labelled synthetic slices of the other modality.

    Args:
        run: Folder of a finished training run.
        source: Store with labelled cases of the model's source modality.
        out: The new store.
        slices: Slices that show the organ, or all.
        min_consistency: Keep slices whose label consistency is at least this: the Dice between the label and the
            prediction of the model's judge, if it was trained with one, else of its own segmentor.
        epoch: The weights to use; `auto`: the best epoch if the run scored its epochs, otherwise the last.
        same_people: Whether equal case names in SOURCE and in the model's training are one person; needed only where
            it matters.
        device: Where to compute.

    Returns:
        The synthetic store.

    Raises:
        InputError: an unfinished run, no suitable slices in `source`, or `out` exists.
    """
    from crossmod.data.store import Store
    from crossmod.synthesis.synthesize import synthesize as make

    made = make(
        Path(run),
        source=Path(source),
        out=Path(out),
        slices=slices,
        min_consistency=min_consistency,
        epoch=epoch,
        same_people=same_people,
        machine=Machine(device=device),
    )
    say(f"{out}: {made.slices} synthetic slices, {made.left_out} left out for their consistency")
    return Store(out)


@command("segment", 5, options=options_of(SegmentSettings, SEGMENT) | HARDWARE)
def segment(
    out: PathName,
    *,
    real: PathName,
    synthetic: PathName | None = None,
    preset: str = PRESET,
    config: PathName | None = None,
    dry_run: bool = False,
    **settings: Any,
) -> "Run | SegmentSettings":
    """Train a segmenter on real slices and --count synthetic ones, and test it on held-out real ones.

    Args:
        out: The run folder.
        real: Store with labelled real cases.
        synthetic: Store that `synthesize` made.
        preset: Settings to start from: rafiq2025 (the paper), tiny (for a CPU), modern or tiny_modern.
        config: YAML file whose settings override the preset's, such as the config.yaml of another run.
        dry_run: Print the settings and stop.
        settings: Fields of `SegmentSettings` and `Machine`.

    Returns:
        The finished run; with `dry_run` its settings.

    Raises:
        InputError: stores without suitable slices, settings that contradict one another, or `out` is something else.
    """
    machine, asked = build_settings(Machine, settings)
    chosen = resolve(SEGMENT, preset, config, asked)
    if dry_run:
        return print_yaml(chosen)
    from crossmod.report.collect import one_line
    from crossmod.segmentation.train import train_segmenter

    store = None if synthetic is None else Path(synthetic)
    run = train_segmenter(Path(out), real=Path(real), synthetic=store, settings=chosen, machine=machine)
    say(f"{out}: {one_line(run.card)}")
    pixel_mm = run.card["settings"].get("pixel_mm")
    if synthetic is None and not chosen.pixel_mm and pixel_mm:
        say(f"Pixels of {pixel_mm:g} mm; runs that are to be compared need the same --pixel-mm.")
    return run


def resolve(presets: Mapping[str, Chosen], preset: str, config: PathName | None, asked: Mapping[str, Any]) -> Chosen:
    """The settings that result from a preset, a file and options."""
    if preset not in presets:
        found, expected = f"{preset!r}", f"one of {', '.join(presets)}"
        raise InputError("--preset", found=found, expected=expected, do="Choose one of them.")
    settings = presets[preset]
    if config is not None:
        content = read_yaml(Path(config))
        # A run's config.yaml holds the settings next to kind and inputs.
        values = content["settings"] if isinstance(content.get("settings"), dict) else content
        values = as_recorded(values) if "kind" in content else values
        settings = with_asked(settings, values, every=False, subject=config)
    return with_asked(settings, {name: value for name, value in asked.items() if value is not None})


def _labelled(store: PathName, settings: TranslateSettings) -> bool:
    """Whether the source store has labels of the organ, by which `synthesize` chooses slices."""
    from crossmod.data.store import Store

    return any(settings.organs[0] in case.labels.values() for case in Store(store).cases)
