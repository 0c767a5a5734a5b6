"""The fingerprint of a training: its slices, and what the trained generator makes of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32
from torch import Tensor, nn

from crossmod.config import Modality
from crossmod.data.pixel_size import training_scale
from crossmod.data.slices import SliceSet, load_slices
from crossmod.engine import checkpoint
from crossmod.engine.device import Compute, apply
from crossmod.errors import InputError
from crossmod.metrics.fingerprint import MOST_PATIENTS, CaseGrid, Training, fingerprint
from crossmod.settings import TranslateSettings
from crossmod.synthesis.training_data import TrainingData

Slices = Mapping[Modality, tuple[SliceSet, ...]]


def training_fingerprint(
    data: TrainingData,
    slices: Slices,
    generator: nn.Module,
    settings: TranslateSettings,
    compute: Compute,
    best: Mapping[str, Tensor] | None = None,
) -> dict[str, Any]:
    """What the images of a training look like, and what its generator makes of them.

    Args:
        data: the cases.
        slices: that were trained on: a set an image of what goes in.
        generator: from source to target, as it stands after the last epoch.
        settings: of the training.
        compute: where and how the generator is run.
        best: weights of the best epoch, which are used instead where epochs were scored.

    Returns:
        As of `crossmod.metrics.fingerprint.fingerprint`, and under `made_epoch` whether `best` or `last` was run.
    """
    last = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    was_training = generator.training
    if best is not None:
        # In place and taken back afterwards: a compiled network cannot be copied.
        checkpoint.load_weights(generator, dict(best), "generator", "fingerprint")
    generator.eval()

    def translate(images: Float32[np.ndarray, "n images size size"]) -> Float32[np.ndarray, "n size size"]:
        return apply(generator, None, images, compute)[0]

    target: Modality = "mr" if settings.source == "ct" else "ct"
    training = Training(
        source=slices[settings.source][:: settings.stack],
        stacks=slices[settings.source],
        target=slices[target][0],
        organs=_labelled(data, target, settings),
        grids=_grids(data, settings),
        translate=translate,
    )
    try:
        with compute.inference():
            found = fingerprint(training, settings)
    finally:
        generator.load_state_dict(last)
        generator.train(was_training)
    found = found.model_copy(update={"made_epoch": "last" if best is None else "best"})
    return found.model_dump(mode="json", exclude_unset=True)


def _grids(data: TrainingData, settings: TranslateSettings) -> dict[str, CaseGrid]:
    """Of the first input of each case."""
    found = {}
    for groups in data.train.values():
        for group in groups:
            case = group.first
            field = max(case.shape[axis] * case.spacing[axis] for axis in (1, 2))
            side = field if settings.frame == "stretch" else settings.size * settings.pixel_mm
            found[case.id] = CaseGrid(pixels=round(side / min(case.spacing[1:])), pixel_mm=side / settings.size)
    return found


def _labelled(data: TrainingData, target: Modality, settings: TranslateSettings) -> SliceSet | None:
    """Slices of the target that show the organs, where some of its training cases have labels of them all.

    They are measured here and are not trained on.
    """
    cases = [group.first for group in data.train[target]]
    known = [case for case in cases if set(settings.organs) <= set(case.labels.values())][:MOST_PATIENTS]
    if not known:
        return None
    try:
        return load_slices(
            data.stores[target], known, settings, scale=training_scale(settings), labelled=True, only_showing=True
        )
    except InputError:  # labels that mark nothing
        return None
