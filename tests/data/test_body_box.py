import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossmod.config import Modality
from crossmod.data.body_box import body_box, box_of
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.data.volume import Volume
from tests.support.stores import made_volume


def ellipse(
    shape: tuple[int, int] = (200, 240),
    mm: tuple[float, float] = (1.5, 1.25),
    centre: tuple[float, float] = (140.0, 160.0),
    half: tuple[float, float] = (90.0, 130.0),
    slices: int = 5,
    modality: Modality = "ct",
) -> Volume:
    """A body of known place and size: centre and half axes in mm from the first pixel's centre."""
    down, along = np.indices(shape)
    inside = ((down * mm[0] - centre[0]) / half[0]) ** 2 + ((along * mm[1] - centre[1]) / half[1]) ** 2 < 1
    image = np.where(inside, 40, -1000) if modality == "ct" else np.where(inside, 400, 4)
    noise = np.random.default_rng(0).normal(0, 8 if modality == "ct" else 2, (slices, *shape))
    affine = np.array([[0, 0, -mm[1], 0], [0, -mm[0], 0, 0], [5, 0, 0, 0], [0, 0, 0, 1.0]])
    return Volume((image + noise).astype(np.float32), affine, modality)


@pytest.mark.parametrize("modality", ["ct", "mr"])
@pytest.mark.parametrize("slices", [1, 5])
def test_an_ellipse_is_measured_in_millimetres(modality: Modality, slices: int) -> None:
    box = body_box(ellipse(modality=modality, slices=slices))
    assert box.centre == pytest.approx((140, 160), abs=1)
    # A tenth of the longest row is where an ellipse has half a hundredth of its axis left. MR's mask is smoothed.
    most = 4 if modality == "ct" else 11
    assert (box.height, box.width) == pytest.approx((180, 260), abs=most)
    assert box.touching == (0, 0)
    assert box.slices == slices
    assert box.side_around(box.centre) == pytest.approx(260, abs=most)
    assert box.side_around((140.0, 150.0)) == pytest.approx(280, abs=most)


def test_the_same_place_whatever_the_pixels() -> None:
    """Coarse and fine, of 60 to 800 pixels a side: a millimetre or half a pixel at most."""
    for mm in (0.5, 1.0, 2.0, 5.0):
        shape = (round(300 / mm), round(400 / mm))
        box = body_box(ellipse(shape, (mm, mm), slices=1))
        assert box.centre == pytest.approx((140, 160), abs=max(1.0, 0.5 * mm))


def test_arms_and_a_table_do_not_decide() -> None:
    """Arms beside the body in a quarter of the slices, joined to it; a table's edge under all of it."""
    volume = ellipse(half=(90.0, 100.0), slices=16)
    plain = body_box(volume)
    volume.voxels[:4, 85:100, 10:220] = 40
    volume.voxels[:, 156:158, 20:220] = 200
    box = body_box(volume)
    assert box.centre == pytest.approx(plain.centre, abs=3)
    assert box.height == pytest.approx(plain.height, abs=8)


def test_a_body_that_the_field_cuts() -> None:
    """Cut on both sides its middle is the field's; cut in front it begins at the first row."""
    both = body_box(ellipse((200, 160), centre=(140.0, 99.375), half=(90.0, 130.0)))
    assert both.touching == (0, 1)
    assert both.width == pytest.approx(200, abs=0.1)
    assert both.centre == pytest.approx((140, 99.375), abs=1)
    front = body_box(ellipse(centre=(60.0, 150.0)))
    assert front.touching == (1, 0)
    assert front.rows == pytest.approx((-0.75, 150), abs=3)


@pytest.mark.parametrize("more", [-12.0, 0.0, 12.0])
def test_the_middle_does_not_move_with_the_field(more: float) -> None:
    """A body of 260 mm in a field of 200, that cuts one flank by 24 mm more than the other."""
    whole = ellipse((200, 400), centre=(140.0, 250.0))
    first = round((250 - 100 + more) / 1.25)
    cut = replace(whole, voxels=whole.voxels[:, :, first : first + 160])
    box = body_box(cut)
    assert box.touching == (0, 1)
    assert box.centre[1] + first * 1.25 == pytest.approx(250, abs=1.5)


def test_where_there_is_no_body_it_is_the_field() -> None:
    volume = ellipse()
    empty = replace(volume, voxels=np.random.default_rng(0).normal(-990, 5, volume.voxels.shape).astype(np.float32))
    box = body_box(empty)
    assert box.slices == 0
    assert (box.height, box.width) == (300, 300)
    assert box.centre == pytest.approx((149.25, 149.38), abs=0.01)


def test_edges_by_hand() -> None:
    """Three slices: outer ends are percentiles, the middle is that of the medians."""
    edges = [np.array([[10.0, 50.0], [20.0, 80.0]]), np.array([[12.0, 52.0], [20.0, 84.0]])]
    edges.append(np.array([[11.0, 60.0], [0.0, 100.0]]))
    box = box_of(edges, [50.0, 52.0, 40.0], (64, 100), (2.0, 1.0))
    assert box.centre == ((2 * (11 + 52 - 1)) / 2, 50 - 0.5)
    assert box.touching == (0.0, 0.3333)
    assert box.rows == (pytest.approx(2 * (10.1 - 0.5)), pytest.approx(2 * (59.2 - 0.5)))


def test_it_stands_in_the_manifest_and_old_manifests_are_measured(tmp_path: Path, rng: np.random.Generator) -> None:
    volume = made_volume(rng, "mr")
    with writing_store(tmp_path / "store") as writer:
        writer.add("a", volume, patient="a")
    store = Store(tmp_path / "store")
    told = store.record("a").body
    assert told == body_box(volume)
    manifest = tmp_path / "store" / "manifest.json"
    content = json.loads(manifest.read_text())
    del content["cases"][0]["body"]
    manifest.write_text(json.dumps(content))
    old = Store(tmp_path / "store")
    assert old.record("a").body is None
    assert old.body(old.record("a")) == told
