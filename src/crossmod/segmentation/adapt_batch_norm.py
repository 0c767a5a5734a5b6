"""Adaptive batch normalisation, AdaBN (Li et al. 2016, Revisiting Batch Normalization For Practical Domain Adaptation):
after training, the statistics of batch norm are those of unlabelled images of the domain that is tested on.

Only images of the training side are used, never those of test patients, although the paper takes the images that it
tests on. One more deviation: a batch passes each layer with its own statistics, as in training, and those of all
batches are averaged; in the paper's Algorithm 1 each layer has the statistics of all images before the next is reached.
"""

import math

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage] - the base of all of them

from crossmod.data.pixel_size import model_scale
from crossmod.data.slices import SliceSet, load_slices
from crossmod.data.splits import split_patients
from crossmod.engine import checkpoint
from crossmod.errors import InputError
from crossmod.runs import AdaptedCard, Run
from crossmod.seeds import rng
from crossmod.segmentation.data import SegmentationData
from crossmod.segmentation.model import begin
from crossmod.settings import SegmentSettings

# Built-in networks with batch norm.
WITH_BATCH_NORM = ("tiny", "attention_unet")
BATCH = 16


def layers_of(network: nn.Module) -> list[_BatchNorm]:
    """The layers of batch norm of a network."""
    return [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]


def refuse_without_batch_norm(settings: SegmentSettings) -> None:
    """Refuse a network without batch norm."""
    if not layers_of(begin(settings)):
        found, expected = f"the network {settings.network}, which has no batch norm", "a network that has"
        do = f"Use --network {' or '.join(WITH_BATCH_NORM)}, or leave --adapt-batch-norm out."
        raise InputError("--adapt-batch-norm", found=found, expected=expected, do=do)


def unlabelled_images(chosen: SegmentationData, test: SliceSet) -> SliceSet:
    """Every real slice of the modality that is not of the test side, whether its patient has labels or not."""
    settings = chosen.settings
    cases = chosen.store.select(settings.modality, sequence=settings.sequence if settings.modality == "mr" else None)
    if settings.split == "patient":
        held_out = set(split_patients([case.patient for case in cases], settings).test)
        cases = tuple(case for case in cases if case.patient not in held_out)
    slices = load_slices(chosen.store, cases, settings, scale=model_scale(settings), labelled=False)
    tested = set(test.keys)
    return slices.take([place for place, key in enumerate(slices.keys) if key not in tested])


@torch.no_grad()
def adapt(network: nn.Module, slices: SliceSet, device: torch.device, seed: int) -> None:
    """Replace the running mean and variance of each batch norm by those over `slices`; weights stay as they are."""
    network.eval()
    layers = layers_of(network)
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        # An average in which all batches count alike.
        layer.momentum = None
        layer.train()
    # Batches of different patients, of nearly equal size.
    order = rng(seed, "adapt batch norm").permutation(len(slices))
    for part in np.array_split(order, math.ceil(len(slices) / BATCH)):
        images = np.stack([slices.image(int(place)) for place in part])
        network(torch.from_numpy(images)[:, None].to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


def adapt_run(
    network: nn.Module, run: Run, step: int, chosen: SegmentationData, test: SliceSet, device: torch.device
) -> AdaptedCard:
    """Adapt the network that a run ended with, also in its last checkpoint; gives what the card says of it."""
    slices = unlabelled_images(chosen, test)
    adapt(network, slices, device, chosen.settings.seed)
    path = checkpoint.at_step(run.path / "checkpoints", step)
    state = checkpoint.load(path)
    kind = "averages" if state.get("averages") else "networks"
    checkpoint.write(path, {**state, kind: {**state[kind], "segmenter": network.state_dict()}})
    return {"slices": len(slices), "patients": list(slices.patients), "layers": len(layers_of(network))}
