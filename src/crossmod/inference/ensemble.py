"""Several networks in one translation: equal windows are averaged, other CT windows widen the range.

Notable: the narrowest window has the finest gray levels and takes precedence. Where its network gives the upper end of
the window, the next network that reaches higher gives the value, but not less than that end: otherwise two neighbours
of 239 and 241 HU could come out 100 apart. The lower end is treated in the same way.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np
from jaxtyping import Bool, Float32

from crossmod.config import Modality
from crossmod.errors import InputError
from crossmod.inference.predict import Prediction, pooled
from crossmod.inference.types import About, Network

# Share of a window's width: networks end in tanh, which never reaches the ends.
AT_END = 0.01

Window = tuple[float, float]


def ct_windows(networks: Sequence[Network]) -> dict[Window, list[Network]]:
    """Networks by their output range, the narrowest first; those of MR have one range.

    Args:
        networks: of one source and one target.

    Raises:
        InputError: none, or networks of different modalities or inputs; windows with a gap between them.
    """
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
