"""How much of the body a window shows, on volumes of which it is known."""

import logging
from pathlib import Path

import numpy as np
import pytest

from crossmod.data.intensity import Intensity, intensity_of, warn_of_windows, window_use
from crossmod.data.pixel_size import Scale
from crossmod.data.slices import load_slices
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError
from crossmod.settings import ImageSettings
from tests.support.stores import Stores
from tests.support.unit_stores import ct, mr, volume_of


def blocks(*parts: tuple[float, int]) -> np.ndarray:
    """So many voxels of each value, in a volume with as many of air."""
    values = np.concatenate([np.full(count, value) for value, count in parts])
    return np.concatenate([np.full(len(values), -1000.0), values]).reshape(2, 1, -1)


def test_shares_below_and_above_are_those_of_the_body() -> None:
    use = window_use(volume_of(blocks((-100.0, 20), (50.0, 50), (400.0, 30))), Intensity(-50.0, 240.0), "p")
    assert (use.below, use.above, use.outside) == pytest.approx((0.2, 0.3, 0.5))
    whole = window_use(volume_of(blocks((-100.0, 20), (50.0, 50), (400.0, 30))), Intensity(-1000.0, 1000.0), "p")
    assert (whole.below, whole.above) == (0, 0)
    assert whole.range == pytest.approx(500 / 2000)


def test_a_body_that_was_cut_at_its_lower_end_is_told_from_air() -> None:
    cut = np.clip(blocks((-100.0, 20), (50.0, 50), (400.0, 30)), -125, 275)
    assert window_use(volume_of(cut), Intensity(-50.0, 240.0), "p").outside == pytest.approx(0.5)


def test_the_usual_windows_show_usual_bodies(caplog: pytest.LogCaptureFixture) -> None:
    for volume in (volume_of(ct()), volume_of(np.clip(ct(), -125, 275)), volume_of(mr(), "mr")):
        step = intensity_of(volume, ImageSettings())
        use = window_use(volume, step, "p")
        assert use.outside < 0.25
        assert use.range > 0.2
        warn_of_windows("store", volume.modality, [use], {"a": step})
    assert not caplog.messages


def test_a_body_beyond_the_window_is_named_with_its_side(caplog: pytest.LogCaptureFixture) -> None:
    step = Intensity(-160.0, 240.0)
    far = window_use(volume_of(ct() + 1024, stated_unit="unknown"), step, "far")
    near = window_use(volume_of(ct()), step, "near")
    warn_of_windows("store", "ct", [near, far], {"a": step})
    (said,) = caplog.messages
    assert said.startswith("store: 1 of 2 CT cases have most of their body outside of the window -160 to 240 (0% below")
    assert "most: far 97%. Check the units" in said
    assert "near" not in said


def test_percentiles_that_collapse_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    hot = mr()
    hot[0, 0, 0] = 1e6
    volume = volume_of(hot, "mr")
    step = intensity_of(volume, ImageSettings(percentiles=(0, 100)))
    warn_of_windows("store", "mr", [window_use(volume, step, "hot")], {"a": step})
    assert "store: 1 of 1 MR cases have 90% of their body on fewer than 8 of 256 grey values of their percentiles" in (
        caplog.text
    )
    assert "fewest: hot 0.1" in caplog.text


def test_loading_warns_of_the_worst_patients(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(stores.ct)
    settings = ImageSettings(window=(1000.0, 2000.0), size=32)
    with caplog.at_level(logging.WARNING):
        load_slices(store, store.select("ct"), settings, scale=Scale("stretch", 32, 0.0), labelled=False)
    (said,) = caplog.messages
    assert (
        f"{stores.ct}: 6 of 6 CT cases have most of their body outside of the window 1000 to 2000 (100% below" in said
    )
    assert said.count("100%, ") + said.count("100%.") == 3
    caplog.clear()
    load_slices(store, store.select("ct"), ImageSettings(size=32), scale=Scale("stretch", 32, 0.0), labelled=False)
    assert not caplog.messages


def test_a_store_of_two_units_is_refused(tmp_path: Path) -> None:
    with writing_store(tmp_path / "store") as writer:
        writer.add("a", volume_of(ct()), patient="a")
        writer.add("b", volume_of(ct() + 1024, stated_unit="unknown"), patient="b")
    store = Store(tmp_path / "store")
    with pytest.raises(InputError, match="CT in HU and in unknown units"):
        load_slices(store, store.cases, ImageSettings(), scale=Scale("stretch", 32, 0.0), labelled=False)
