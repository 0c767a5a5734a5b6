"""`crossmod nnunet`: nnU-Net as the segmenter, in an environment of its own."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmod.commands import command, settings_of
from crossmod.commands.train import PRESET, resolve
from crossmod.files import PathName
from crossmod.presets import SEGMENT, STATED
from crossmod.progress import say
from crossmod.settings import ImageSettings, SegmentSettings

if TYPE_CHECKING:
    from crossmod.runs import Run

# What decides which slices there are and how they look; the other settings matter only when crossmod trains.
_CHOOSING = (
    *("modality", "train_on", "test_on", "real_slices", "count", "without_real", "min_consistency"),
    *ImageSettings.model_fields,
)
_OPTIONS = settings_of(SegmentSettings, preset=SEGMENT[PRESET], stated=STATED[SegmentSettings], only=_CHOOSING)


@command("nnunet export", 1, options=_OPTIONS)
def export_nnunet(
    out: PathName,
    *,
    real: PathName,
    synthetic: PathName | None = None,
    dataset: int = 501,
    preset: str = PRESET,
    config: PathName | None = None,
    **settings: Any,
) -> Path:
    """Write what `segment` would train and test on in nnU-Net's raw format, with the commands to run.

    Args:
        out: The export folder, new or empty.
        real: Store with labelled real cases.
        synthetic: Store that `synthesize` made.
        dataset: nnU-Net's number of the dataset, from 1 to 999.
        preset: Settings to start from, as for `segment`: use the same for both, and the report compares them.
        config: YAML file whose settings override the preset's, such as the config.yaml of another run.
        settings: Fields of `SegmentSettings` that decide which slices there are and how they look.

    Returns:
        The export folder.

    Raises:
        InputError: stores without suitable slices, settings that contradict one another, or `out` is not empty.
    """
    chosen = resolve(SEGMENT, preset, config, settings)
    from crossmod.segmentation.nnunet import export

    store = None if synthetic is None else Path(synthetic)
    text = export.export_nnunet(Path(out), real=Path(real), synthetic=store, settings=chosen, dataset=dataset)
    say(f"{out}. {text}")
    return Path(out)


@command("nnunet read", 2)
def read_nnunet(out: PathName, *, export: PathName, predictions: PathName) -> "Run":
    """Score nnU-Net's predictions of an export's imagesTs as a run of `segment`, for `report`.

    Args:
        out: The run folder.
        export: Folder made by `nnunet export`; its plan.json says where the stores are.
        predictions: Folder written by nnUNetv2_predict; with --save_probabilities there is an AUC, too.

    Returns:
        The run.

    Raises:
        InputError: predictions that are missing, too many, of another export or on another grid; stores or slices that
            differ from those exported; or `out` is something else.
    """
    from crossmod.report.collect import one_line
    from crossmod.segmentation.nnunet import import_predictions

    run = import_predictions.read_nnunet(Path(out), export=Path(export), predictions=Path(predictions))
    say(f"{out}: {one_line(run.card)}")
    return run
