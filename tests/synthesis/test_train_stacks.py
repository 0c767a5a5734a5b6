"""2.5D: slices above and below go in together, and come out together, from stores to a store."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from crossmod.config import Modality
from crossmod.data.batches import UnpairedBatches
from crossmod.data.store import Store, open_stores
from crossmod.runs import Run
from crossmod.settings import TranslateSettings
from crossmod.synthesis import cyclegan, multi_input
from crossmod.synthesis.synthesize import synthesize
from crossmod.synthesis.train import train_translator
from crossmod.synthesis.training_data import divide, stack_mm, training_slices
from crossmod.synthesis.translator import load_translator
from tests.support.registered import two_sequences
from tests.support.stores import Stores
from tests.support.training import TINY, train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Run:
    return train(tmp_path_factory.mktemp("stack") / "essnet", stores, stack=3, epochs=1, select_every=1)


def hand_made(store: Path, case: str) -> np.ndarray:
    """All slices of a CT case in the order slice, below, above, `[slices, 3, rows, columns]`, in [-1, 1]."""
    voxels = Store(store).read(case).voxels.astype(np.float32)
    images = np.clip((voxels + 160) / 200 - 1, -1, 1)
    padded = np.concatenate([images[:1], images, images[-1:]])
    return np.stack([padded[1:-1], padded[:-2], padded[2:]], axis=1)


def test_the_card_says_how_far_apart_and_the_picture_shows_the_slice_alone(run: Run) -> None:
    assert run.card["stack_mm"] == 5.0
    assert len(run.card["fingerprint"]["inputs"]) == 1
    with Image.open(run.path / "samples" / "epoch-0001.png") as panel:
        assert panel.size == (3 * 32, 4 * 32)


def test_networks_see_and_give_whole_stacks_and_s_the_slice(run: Run, stores: Stores) -> None:
    plain = train(run.path.parent / "plain", stores, epochs=1).card["parameters"]
    more = {name: run.card["parameters"][name] - plain[name] for name in plain}
    # Two images more: 7 x 7 weights of two filters for each on the way in; and out, where each also has a bias.
    assert more["G1"] == more["G2"] == 2 * (2 * 2 * 49) + 2
    assert more["D1"] == more["D2"] == 2 * 2 * 16
    assert more["S"] == 0


def test_a_synthetic_slice_is_made_of_the_three_that_lie_around_it(run: Run, stores: Stores, tmp_path: Path) -> None:
    made = synthesize(run.path, source=stores.ct, out=tmp_path / "mr").store
    model = load_translator(run.path)
    given = hand_made(stores.ct, "ct-2")[1:5]
    with torch.inference_mode():
        whole = model.generator(torch.from_numpy(given))
        assert whole.shape == (4, 3, 32, 32)
        assert model.segmentor is not None
        answer = model.segmentor(whole[:, :1]).argmax(dim=1)
    side = run.card["data"]["mr"]
    expected = (whole[:, 0].numpy() + 1) / 2 * (side["high"] - side["low"]) + side["low"]
    np.testing.assert_allclose(made.read("ct-2-as-mr").voxels, expected, atol=1e-2)
    np.testing.assert_array_equal(made.tensors("ct-2-as-mr")["answer"], answer)
    # What lies above and below counts.
    for image in (1, 2):
        other = given.copy()
        other[:, image] *= -1
        assert not np.allclose(model.translate(other)[0], model.translate(given)[0])


def test_a_batch_cuts_all_images_of_a_stack_at_one_place(stores: Stores) -> None:
    settings = TranslateSettings(**{**TINY, "load_size": 40, "stack": 3, "batch_size": 2, "flip": True})
    sides: dict[Modality, Store] = {"ct": open_stores(stores.ct), "mr": open_stores(stores.mr)}
    data = divide(sides, settings)
    sets = {side: training_slices(data, side, settings) for side in sides}
    batches = UnpairedBatches(sets["ct"], sets["mr"], settings, torch.device("cpu"))
    for step in range(batches.steps):
        batch = batches.batch(0, step)
        assert batch["ct"].shape == batch["mr"].shape == (2, 3, 32, 32)
        assert batch["mask"].shape == (2, 32, 32)
        for stack in batch["ct"].numpy():
            assert any(_lies_in(stack, [one.image(row) for one in sets["ct"]]) for row in range(len(sets["ct"][0])))


def _lies_in(stack: np.ndarray, images: list[np.ndarray]) -> bool:
    """Whether some part of all images, mirrored or not, is the stack: all at one place."""
    whole = np.stack(images)
    parts = (whole[:, top : top + 32, left : left + 32] for top in range(9) for left in range(9))
    return any(np.array_equal(stack, part) or np.array_equal(stack, part[..., ::-1]) for part in parts)


def test_the_distance_is_that_of_the_coarser_side(stores: Stores, tmp_path: Path) -> None:
    data = divide({"ct": open_stores(stores.ct), "mr": open_stores(stores.mr)}, TranslateSettings(**TINY, stack=3))
    assert stack_mm(data, TranslateSettings(**TINY, stack=3)) == 5.0
    assert stack_mm(data, TranslateSettings(**TINY, stack=3, stack_mm=9.0)) == 9.0
    # Ten millimetres: every other slice of these.
    run = train(tmp_path / "run", stores, stack=3, stack_mm=10.0, epochs=1)
    assert load_translator(run.path).stack(5.0) == (0, -2, 2)


def test_stacks_of_several_inputs(stores: Stores, tmp_path: Path) -> None:
    both = two_sequences(tmp_path / "both").path
    more: dict[str, Any] = {"family": "multi_input", "source": "mr", "inputs": ("t1_in", "t1_out"), "stack": 3}
    settings = TranslateSettings(**{**TINY, **more, "epochs": 1, "select_every": 1})
    run = train_translator(tmp_path / "run", ct=stores.ct, mr=both, settings=settings)
    made = synthesize(run.path, source=both, out=tmp_path / "ct").store
    store, model = Store(both), load_translator(run.path)
    stacks = []
    for name in ("1-t1_in", "1-t1_out"):
        voxels = store.read(name).voxels.astype(float)
        low, high = np.percentile(voxels, (0.5, 99.5))
        images = np.clip((voxels - low) / (high - low) * 2 - 1, -1, 1)
        stacks += [images[1:5], images[0:4], images[2:6]]
    with torch.inference_mode():
        whole = model.generator(torch.from_numpy(np.stack(stacks, axis=1).astype(np.float32)))
    expected = (whole[:, 0].numpy() + 1) * 200 - 160
    np.testing.assert_allclose(made.read("1-t1_in-as-ct").voxels, expected, atol=0.51)  # HU are whole numbers


def test_one_input_of_the_family_of_several_is_cyclegan_also_with_stacks() -> None:
    settings = TranslateSettings(**{**TINY, "family": "multi_input", "source": "mr", "stack": 3})
    made = multi_input.build(settings, torch.device("cpu")).networks
    plain = cyclegan.build(settings, torch.device("cpu")).networks
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    for name in ("G1", "G2", "D1", "D2"):
        torch.testing.assert_close(made[name](x), plain[name](x))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"stack": 2}, "1, 3, 5 or 7 slices, got --stack 2"),
        ({"stack": 9}, "less than or equal to 7"),
        ({"stack_mm": 4.0}, "--stack 3 or more with it, got --stack-mm 4 alone"),
    ],
)
def test_stacks_that_cannot_be_are_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TranslateSettings(**TINY, **more)
