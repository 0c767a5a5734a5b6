"""A bundle as a network that translates: loaded with no pickle, no training code, and no trust in who made it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from torch import nn

from crossmod.engine.device import Compute, choose, pick_device, prepare
from crossmod.engine.threads import suited_to
from crossmod.errors import InputError
from crossmod.inference.bundle.format import Bundle, Entry
from crossmod.inference.bundle.networks import networks_of
from crossmod.inference.bundle.parse import damaged, read_bundle
from crossmod.inference.bundle.weights import hash_of, of_network, read_weights
from crossmod.inference.contract import About
from crossmod.inference.trust.fingerprint import Fingerprint
from crossmod.networks.blocks import blocks
from crossmod.synthesis.translator import apply


@dataclass(frozen=True, eq=False)
class BundleNetwork:
    """A `Network` from a bundle.

    Args:
        about: what is known of it.
        generator: from source to target.
        segmentor: S, where there is one.
        compute: where and how it computes.
        fingerprint: what the inputs of its training looked like, where that is known.
    """

    about: About
    generator: nn.Module
    segmentor: nn.Module | None
    compute: Compute
    fingerprint: Fingerprint | None = None

    def translate(
        self, images: Float32[np.ndarray, "slices images size size"]
    ) -> tuple[Float32[np.ndarray, "slices size size"], UInt8[np.ndarray, "slices size size"] | None]:
        """Slices in [-1, 1] to slices in [-1, 1], and the class that S sees at each pixel, where there is an S.

        Raises:
            InputError: what comes out is no image, as of weights that were made to overflow.
        """
        with suited_to(self.generator, images.shape[-1], self.compute.device):
            fakes, answers = apply(self.generator, self.segmentor, images, self.compute)
        if not np.isfinite(fakes).all():
            raise damaged(self.about.name, "values that are no numbers in what it makes")
        return fakes, answers


def load_bundle(path: Path, *, device: str = "auto", network: str | None = None) -> BundleNetwork:
    """One network of a bundle.

    Args:
        path: the bundle's folder.
        device: where to compute: `auto`, `cpu` or `cuda`.
        network: by its name in the bundle; default: the first.

    Raises:
        InputError: the folder is no bundle, one of a newer crossmod, damaged, or made to do harm.
    """
    bundle = read_bundle(path)
    names = [entry.name for entry in bundle.networks]
    if network is not None and network not in names:
        wanted = f"one of {', '.join(names)}"
        raise InputError(path, found=f"no network {network!r}", wanted=wanted, do="Choose one of them.")
    return _loaded(path, bundle, device, (network or names[0],))[0]


def load_networks(path: Path, *, device: str = "auto") -> tuple[BundleNetwork, ...]:
    """Every network of a bundle, in its order: of one patient's scan, each makes its own CT window.

    Raises:
        InputError: as `load_bundle`.
    """
    bundle = read_bundle(path)
    return _loaded(path, bundle, device, tuple(entry.name for entry in bundle.networks))


def _loaded(path: Path, bundle: Bundle, device: str, wanted: tuple[str, ...]) -> tuple[BundleNetwork, ...]:
    place = pick_device(device)
    tensors = read_weights(path, bundle)
    made = []
    for entry in bundle.networks:
        if entry.name not in wanted:
            continue
        if hash_of(entry, tensors) != entry.weights:
            raise damaged(path, f"other weights than {entry.name} is said to have")
        # Compiling takes longer than a volume.
        compute = choose(place, entry.precision, "off")
        parts = networks_of(entry)
        for part, state in of_network(entry.name, tensors).items():
            parts[part].load_state_dict(state, assign=True)
            parts[part].requires_grad_(False).to(place).eval()
        prepare(parts.values(), blocks(parts.values()), compute)
        made.append(
            BundleNetwork(
                about_entry(bundle, entry), parts["generator"], parts.get("segmentor"), compute, entry.fingerprint
            )
        )
    return tuple(made)


def about_entry(bundle: Bundle, entry: Entry) -> About:
    """What a bundle says of one of its networks."""
    several = len(bundle.networks) > 1
    return About(
        name=f"{bundle.name}, {entry.name}" if several else bundle.name,
        family=entry.family,
        source=bundle.source,
        target=bundle.target,
        inputs=bundle.inputs,
        size=entry.size,
        field_mm=entry.field_mm,
        low=entry.low,
        high=entry.high,
        window=entry.window,
        organs=entry.organs,
        weights=entry.weights,
        version=entry.version,
        trained_on={side: one.model_dump() for side, one in entry.trained_on.items()},
        licence=bundle.card.licence,
        percentiles=entry.percentiles,
        flip=entry.flip,
        sequence=entry.sequence,
        contrast=entry.contrast,
        stack=entry.architecture.stack,
        stack_mm=entry.stack_mm,
        frame=entry.frame,
        pixel_mm=entry.pixel_mm,
    )
