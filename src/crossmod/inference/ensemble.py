"""Trained runs as networks that translate, one or several as one.

Notable: the narrowest window has the finest gray levels and takes precedence. Where its network gives the upper end of
the window, the next network that reaches higher gives the value, but not less than that end: otherwise two neighbours
of 239 and 241 HU could come out 100 apart. The lower end is treated in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from statistics import median

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from crossmod.config import Modality
from crossmod.data.store import Store
from crossmod.engine.distributed import suited_to
from crossmod.errors import InputError
from crossmod.files import read_json
from crossmod.inference.predict import Prediction, pooled
from crossmod.inference.types import About, Network
from crossmod.settings import Device, Machine
from crossmod.synthesis.families import refuse_control
from crossmod.synthesis.translator import Epoch, Translator, load_translator
from crossmod.version import __version__


@dataclass(frozen=True, eq=False)
class RunNetwork:
    """A `Network` from a run folder."""

    about: About
    translator: Translator

    def translate(
        self, images: Float32[np.ndarray, "slices images size size"]
    ) -> tuple[Float32[np.ndarray, "slices size size"], UInt8[np.ndarray, "slices size size"] | None]:
        """Translate slices in [-1, 1], and give the class of each pixel from S, if there is an S."""
        own = self.translator
        with own.compute.inference(), suited_to(own.generator, images.shape[-1], own.compute.device):
            return own.translate(images)


def load_run(path: Path, *, device: Device = "auto", epoch: Epoch = "auto") -> RunNetwork:
    """The network of a finished training run.

    Raises:
        InputError: the folder is not a finished training run, or its weights are damaged; or it is of a control.
    """
    translator = load_translator(path, epoch=epoch, machine=Machine(device=device))
    if translator.control is not None:
        refuse_control(translator.settings)
    return RunNetwork(about_run(translator, path), translator)


def about_run(translator: Translator, path: Path) -> About:
    """What is known of a run's model; the field of view is read from the training stores, if they still exist."""
    settings, card = translator.settings, translator.card
    target = card["data"][translator.target]
    return About(
        name=translator.run,
        family=settings.family,
        source=settings.source,
        target=translator.target,
        # Older cards and stores do not name the sequence.
        inputs=("ct",) if settings.source == "ct" else settings.inputs or (card["data"]["mr"]["sequence"] or "mr",),
        size=settings.size,
        field_mm=_field(path / card["data"][settings.source]["store"], card["data"][settings.source]["cases"]),
        low=float(target["low"]),
        high=float(target["high"]),
        window=settings.window,
        organs=settings.organs if translator.segmentor is not None else (),
        weights=translator.weights,
        version=_version(path),
        trained_on={
            side: {"patients": len(data["patients"]), "slices": int(data["slices"])}
            for side, data in card["data"].items()
        },
        percentiles=settings.percentiles,
        flip=settings.flip,
        sequence=target["sequence"],
        contrast=target.get("contrast"),
        stack=settings.stack,
        stack_mm=card.get("stack_mm"),
        # Older runs assumed HU.
        ct_unit=card["data"]["ct"].get("unit", "HU"),
        frame=settings.frame,
        pixel_mm=settings.pixel_mm,
    )


def _field(store: Path, trained: Sequence[str]) -> float | None:
    """Median side of the squared training slices in millimetres; None if they are gone."""
    try:
        cases = Store(store).cases
    except InputError:
        return None
    known = set(trained)
    seen = [case for case in cases if case.sha256 in known]
    fields = [max(case.shape[axis] * case.spacing[axis] for axis in (1, 2)) for case in seen]
    return float(median(fields)) if fields else None


def _version(path: Path) -> str:
    try:
        content = read_json(path / "environment.json")
    except InputError:
        return __version__
    versions = content.get("packages", {}) if isinstance(content, dict) else {}
    return str(versions.get("crossmod", __version__))


# Share of a window's width: networks end in tanh, which never reaches the ends.
AT_END = 0.01

Window = tuple[float, float]


def ct_windows(networks: Sequence[Network]) -> dict[Window, list[Network]]:
    """Networks by their output range, the narrowest first; those of MR have one range."""
    first = networks[0].about
    for network in networks[1:]:
        other = network.about
        if other.ct_unit != first.ct_unit:
            found = f"CT in {first.ct_unit} ({first.name}) and in {other.ct_unit} ({other.name})"
            raise InputError("models", found=found, expected="one unit", do="Translate one by one.")
        if (other.source, other.target, other.inputs) != (first.source, first.target, first.inputs):
            found = " and ".join(f"{a.name} ({'+'.join(a.inputs)} to {a.target})" for a in (first, other))
            raise InputError(
                "models", found=found, expected="the same direction and inputs", do="Translate one by one."
            )
    if first.target == "mr":
        return {(first.low, first.high): list(networks)}
    groups: dict[Window, list[Network]] = {}
    for network in sorted(networks, key=lambda one: one.about.high - one.about.low):
        groups.setdefault((network.about.low, network.about.high), []).append(network)
    _check_no_gap(list(groups))
    return groups


def _check_no_gap(windows: Sequence[Window]) -> None:
    rising = sorted(windows)
    reach = rising[0][1]
    for low, high in rising[1:]:
        if low > reach:
            found = f"windows with a gap from {reach:g} to {low:g} HU"
            do = "Add a model for the missing range."
            raise InputError("models", found=found, expected="windows that touch", do=do)
        reach = max(reach, high)


def about_all(networks: Sequence[Network]) -> About:
    """Several networks as one model: the first, with the range of all."""
    abouts = [network.about for network in networks]
    first = abouts[0]
    if len(abouts) == 1:
        return first
    wide = first.target == "ct"
    return replace(
        first,
        name=" + ".join(about.name for about in abouts),
        weights=sha256("".join(about.weights for about in abouts).encode()).hexdigest(),
        low=min(about.low for about in abouts) if wide else first.low,
        high=max(about.high for about in abouts) if wide else first.high,
        window=(min(about.window[0] for about in abouts), max(about.window[1] for about in abouts)),
        organs=next((about.organs for about in abouts if about.organs), ()),
    )


def merged(answers: Sequence[tuple[Window, Prediction]]) -> Prediction:
    """CT of several windows, the narrowest first, as CT of the wide range."""
    (window, whole), *others = answers
    if not others:
        return whole
    mean, variance = whole.mean.copy(), whole.variance.copy()
    _extend(mean, variance, window, others, up=True)
    _extend(mean, variance, window, others, up=False)
    labels = pooled([answer for _, answer in answers]).labels
    return Prediction(mean, variance, labels, sum(answer.seconds for _, answer in answers))


def _extend(
    mean: Float32[np.ndarray, "slices rows columns"],
    variance: Float32[np.ndarray, "slices rows columns"],
    window: Window,
    others: Sequence[tuple[Window, Prediction]],
    *,
    up: bool,
) -> None:
    """Extend one end in place, window by window."""
    low, high = window
    for (other_low, other_high), answer in others:
        if (other_high <= high) if up else (other_low >= low):
            continue
        beyond = at_end(mean, low, high, up=up)
        limit = np.maximum if up else np.minimum
        mean[beyond] = limit(mean[beyond], answer.mean[beyond])
        variance[beyond] = answer.variance[beyond]
        low, high = (low, other_high) if up else (other_low, high)


def at_end(values: Float32[np.ndarray, "*shape"], low: float, high: float, *, up: bool) -> Bool[np.ndarray, "*shape"]:
    """Where values are at the upper (or lower) end of a window, or beyond."""
    margin = AT_END * (high - low)
    return values >= high - margin if up else values <= low + margin


def unknown(
    values: Float32[np.ndarray, "*shape"], output: Float32[np.ndarray, "*shape"], source: Modality, about: About
) -> Bool[np.ndarray, "*shape"]:
    """Where the CT of either side is outside the model's range."""
    outside = np.zeros(output.shape, dtype=bool)
    if source == "ct":
        outside |= (values < about.window[0]) | (values > about.window[1])
    if about.target == "ct":
        for up in (False, True):
            outside |= at_end(output, about.low, about.high, up=up)
    return outside
