import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmod.data.intensity import Intensity, intensity_of
from crossmod.errors import InputError
from crossmod.settings import TranslateSettings
from tests.support.stores import made_volume


@given(st.floats(-2000, 2000), st.floats(1, 5000), st.floats(0, 1))
def test_there_and_back(low: float, width: float, share: float) -> None:
    step = Intensity(low, low + width)
    value = np.array([low + share * width])
    assert step.to_units(step.to_model(value))[0] == pytest.approx(value[0], abs=1e-5 * (abs(low) + width))


def test_ends_and_what_lies_outside() -> None:
    step = Intensity(-160.0, 240.0)
    given_values = np.array([-1000, -160, 40, 240, 3000], dtype=np.int16)
    assert step.to_model(given_values).tolist() == [-1, -1, 0, 1, 1]
    assert step.to_model(given_values).dtype == np.float32


def test_ct_by_window_and_mr_by_its_own_percentiles(rng: np.random.Generator) -> None:
    settings = TranslateSettings(window=(-100, 200), percentiles=(1, 99))
    assert intensity_of(made_volume(rng, "ct"), settings) == Intensity(-100.0, 200.0)
    volume = made_volume(rng, "mr")
    step = intensity_of(volume, settings)
    ordered = np.sort(volume.voxels, axis=None)
    # The value below which one in a hundred lies, to the next one in order.
    place = round(0.01 * (ordered.size - 1))
    assert ordered[place - 1] <= step.low <= ordered[place + 1]
    assert np.mean(volume.voxels > step.high) == pytest.approx(0.01, abs=0.002)


def test_no_contrast_is_refused(rng: np.random.Generator) -> None:
    volume = made_volume(rng, "mr")
    flat = np.zeros_like(volume.voxels)
    flat[0, 0, 0] = 1
    from dataclasses import replace

    with pytest.raises(InputError, match="at both percentiles"):
        intensity_of(replace(volume, voxels=flat), TranslateSettings())
