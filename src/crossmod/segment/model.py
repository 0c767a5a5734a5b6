"""A trained segmenter, taken from its run folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import nn

from crossmod.config import build
from crossmod.data.frame import Frame
from crossmod.data.intensity import intensity_of
from crossmod.data.pixel_size import Scale, model_scale
from crossmod.data.volume import Volume
from crossmod.engine import checkpoint
from crossmod.engine.device import Compute, choose, pick_device, prepare
from crossmod.engine.threads import suited_to
from crossmod.errors import InputError
from crossmod.networks.unet import make_network
from crossmod.runs import open_run
from crossmod.segment.predict import THRESHOLD, predict
from crossmod.settings import Machine, SegmentSettings, as_recorded

# The kind of run that this is.
KIND = "segment"


@dataclass(frozen=True, eq=False)
class Segmenter:
    """Finds its organ in slices of its modality.

    Args:
        settings: what it was trained with.
        card: the run's card.
        run: name of the run folder.
        network: gives a logit of the organ for each pixel.
        weights: SHA-256 of its weights.
        compute: where and how it computes.
    """

    settings: SegmentSettings
    card: dict[str, Any]
    run: str
    network: nn.Module
    weights: str
    compute: Compute

    @property
    def organ(self) -> str:
        """What it finds."""
        return self.settings.organs[0]

    @property
    def on_real(self) -> float:
        """Its mean 3D Dice over the real patients that it was tested on."""
        return float(self.card["scores"]["patient"]["dice"])

    @property
    def scale(self) -> Scale:
        """Millimetres and pixels of what it sees."""
        return model_scale(self.settings)

    def find(self, volume: Volume, frame: Frame) -> UInt8[np.ndarray, "slices size size"]:
        """1 where it sees the organ, on the pixels of `frame`.

        Args:
            volume: the whole of it, whose percentiles count.
            frame: of this volume, by `scale`.

        Raises:
            InputError: the volume is of the other modality.
        """
        if volume.modality != self.settings.modality:
            do = f"Give a segmenter that was trained with --modality {volume.modality}."
            found = f"a segmenter of {self.settings.modality}"
            raise InputError(self.run, found=found, wanted=f"one of {volume.modality}", do=do)
        step = intensity_of(volume, self.settings)
        images = step.to_model(frame.place(volume.with_labels(None, {})).voxels)
        with self.compute.inference(), suited_to(self.network, self.settings.size, self.compute.device):
            found = predict(self.network, images, self.compute.device, quiet=True)
        return (found.probability >= THRESHOLD).astype(np.uint8)


def load_segmenter(path: Path, *, machine: Machine | None = None) -> Segmenter:
    """The segmenter that a finished run made.

    Args:
        path: the run folder.
        machine: where to compute.

    Raises:
        InputError: the folder is no finished segmenter, or its checkpoint is damaged or of another architecture.
    """
    card = open_run(path, KIND).card
    settings = build(SegmentSettings, as_recorded(card["settings"]), subject=path / "card.json")
    file = checkpoint.at_step(path / "checkpoints", card["steps"])
    state = checkpoint.load(file)
    weights = {**state["networks"], **state.get("averages", {})}.get("segmenter", {})
    if checkpoint.weights_hash({"segmenter": weights}) != card["weights_sha256"]:
        do = "Restore the file, or train anew in another folder."
        wanted = f"those of {card['weights_sha256'][:12]}"
        raise InputError(file, found="other weights than the run ended with", wanted=wanted, do=do)
    device = pick_device((machine or Machine()).device)
    compute = choose(device, settings.precision, "off", blocks=False)
    network = make_network(settings.network, settings.size)
    checkpoint.load_weights(network, weights, "segmenter", path)
    network.to(device).eval()
    prepare([network], [], compute)
    return Segmenter(settings, card, path.resolve().name, network, card["weights_sha256"], compute)
