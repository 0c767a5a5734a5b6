"""`crossmod nnunet`: nnU-Net as the segmenter, in an environment of its own."""

from pathlib import Path
from typing import Annotated

from cyclopts import App
from pydantic import BaseModel, ConfigDict, create_model

from crossmod.cli.app import app, say
from crossmod.cli.train import Flat, SegmentOverrides, Setup, resolve
from crossmod.presets import SEGMENT
from crossmod.settings import ImageSettings

nnunet = App(
    name="nnunet",
    sort_key=6,
    help="""Hand the slices of `segment` to nnU-Net, and read back what it predicts as a run of `segment`.

    nnU-Net is not part of crossmod: it runs in its own environment, by the commands that `export` prints.""",
)
app.command(nnunet)

# What decides which slices there are and how they look; all else is for a training by crossmod.
_CHOOSING = {*ImageSettings.model_fields, "modality", "train_on", "test_on", "real_slices", "count"}
_CHOOSING |= {"without_real", "min_consistency"}


def _some(model: type[BaseModel], names: set[str]) -> type[BaseModel]:
    """A model with some of another's fields."""
    fields = {name: (field.annotation, field) for name, field in model.model_fields.items() if name in names}
    return create_model("ExportOverrides", __config__=ConfigDict(frozen=True, extra="forbid"), **fields)  # pyright: ignore[reportCallIssue, reportArgumentType]


ExportOverrides = _some(SegmentOverrides, _CHOOSING)


@nnunet.command(sort_key=1)
def export(
    out: Path,
    *,
    real: Path,
    synthetic: Path | None = None,
    dataset: int = 501,
    preset: str = "rafiq2025",
    config: Path | None = None,
    overrides: Annotated[ExportOverrides | None, Flat] = None,  # pyright: ignore[reportInvalidTypeForm]
) -> None:
    """Write what `segment` would train and test on in nnU-Net's raw format, with the commands to run.

    Parameters
    ----------
    out
        The export folder, new or empty.
    real
        Store with labelled real cases.
    synthetic
        Store that `synthesize` made.
    dataset
        The number that nnU-Net knows the dataset by, from 1 to 999.
    preset
        Settings to start from, as for `segment`: give both the same, and the report holds them side by side.
    config
        YAML file of settings that go before the preset's, such as another run's config.yaml.
    """
    settings = resolve(SEGMENT, Setup(preset=preset, config=config), overrides)
    from crossmod.segmentation.nnunet.export import export_nnunet

    text = export_nnunet(out, real=real, synthetic=synthetic, settings=settings, dataset=dataset)
    say(f"{out}. {text}")


@nnunet.command(sort_key=2)
def read(out: Path, *, export: Path, predictions: Path) -> None:
    """Score nnU-Net's predictions of an export's imagesTs as a run of `segment`, for `report`.

    Parameters
    ----------
    out
        The run folder.
    export
        Folder that `nnunet export` made; its plan.json says where the stores are.
    predictions
        Folder that nnUNetv2_predict wrote; with --save_probabilities there is an AUC, too.
    """
    from crossmod.report.collect import one_line
    from crossmod.segmentation.nnunet.import_predictions import read_nnunet

    run = read_nnunet(out, export=export, predictions=predictions)
    say(f"{out}: {one_line(run.card)}")
