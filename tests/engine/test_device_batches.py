from typing import cast

import numpy as np
import pytest
import torch

from crossmod.engine.device import BATCH, Compute, batches_of
from crossmod.networks.blocks import ResNet
from crossmod.runs import TranslatorCard
from crossmod.settings import TranslateSettings
from crossmod.synthesis.translator import Translator

CPU = torch.device("cpu")
NO_CARD = cast(TranslatorCard, {})


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("count", range(10))
def test_every_slice_comes_once_in_order_and_only_compiled_batches_are_filled_up(count: int, compiled: bool) -> None:
    images = np.arange(count * 4, dtype=np.float32).reshape(count, 2, 2)
    back, sizes = np.full_like(images, -1), []
    for part, given in batches_of(images[:, None], Compute(CPU, compiled=compiled)):
        sizes.append(len(part))
        assert part.dtype == torch.float32
        assert part.shape[1:] == (1, 2, 2)
        held = part.numpy()[: given.stop - given.start, 0]
        back[given] = held
        # With what is there: another number would make another norm of nothing.
        assert all((extra == held[-1]).all() for extra in part.numpy()[len(held) :, 0])
    np.testing.assert_array_equal(back, images)
    full, rest = divmod(count, BATCH["cpu"])
    assert sizes == [BATCH["cpu"]] * full + ([BATCH["cpu"] if compiled else rest] if rest else [])


def translator(compute: Compute) -> Translator:
    torch.manual_seed(3)
    generator, segmentor = ResNet(1, 2, 1), ResNet(3, 2, 1, "linear")
    return Translator(TranslateSettings(), NO_CARD, "run", generator.eval(), segmentor.eval(), "", compute)


@pytest.mark.parametrize(
    "compute", [Compute(CPU), Compute(CPU, compiled=True), Compute(CPU, bf16=True)], ids=["fp32", "filled up", "bf16"]
)
@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_many_slices_are_translated_as_one_by_one(count: int, compute: Compute) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (count, 16, 16)).astype(np.float32)
    model = translator(compute)
    fakes, answers = model.translate(images)
    assert answers is not None
    assert model.segmentor is not None
    assert fakes.dtype == np.float32
    assert answers.dtype == np.uint8
    with torch.no_grad(), compute.autocast():
        for image, fake, answer in zip(images, fakes, answers, strict=True):
            alone = model.generator(torch.from_numpy(image)[None, None])
            # In bf16 a convolution may add in another order for another batch.
            tolerance = 2e-2 if compute.bf16 else 1e-5
            np.testing.assert_allclose(fake, alone[0, 0].numpy(), atol=tolerance)
            agree = (answer == model.segmentor(torch.from_numpy(fake)[None, None]).argmax(1)[0].numpy()).mean()
            assert agree > (0.95 if compute.bf16 else 0.99)


def test_without_a_segmentor_there_is_no_answer() -> None:
    model = translator(Compute(CPU))
    alone = Translator(model.settings, NO_CARD, "run", model.generator, None, "", model.compute)
    images = np.zeros((2, 16, 16), np.float32)
    assert alone.translate(images)[1] is None
    np.testing.assert_array_equal(alone.translate(images)[0], model.translate(images)[0])


def test_no_slices_make_none() -> None:
    fakes, answers = translator(Compute(CPU)).translate(np.zeros((0, 16, 16), np.float32))
    assert fakes.shape == (0, 16, 16)
    assert answers is not None
    assert answers.shape == (0, 16, 16)
