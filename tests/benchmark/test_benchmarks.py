"""The four benches on tiny networks: what they compare, and what they print and write."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from crossmod.benchmark import prepare, session, synthesize, train
from crossmod.benchmark.options import PrepareBench, SegmentBench, TranslateBench, segment_settings, translate_settings
from crossmod.benchmark.prepare import bench_prepare
from crossmod.benchmark.result import Bench, rows, save, show, verdict
from crossmod.benchmark.segment import bench_segment
from crossmod.benchmark.synthesize import bench_synthesize
from crossmod.benchmark.train import bench_train
from crossmod.engine.device import Compute, choose
from crossmod.engine.state import TrainingTask
from crossmod.errors import InputError
from crossmod.presets import SEGMENT, TRANSLATE
from crossmod.settings import TranslateSettings
from crossmod.synthesis.train import build

CPU = torch.device("cpu")
TINY: Mapping[str, Any] = {"device": "cpu", "steps": 2, "preset": "tiny", "size": 32}
TRANSLATE_TINY = TranslateBench(**TINY, filters=2, blocks=1)


@pytest.fixture(autouse=True)
def known_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 TFLOP/s in fp32, 8 in bf16: measuring the machine takes seconds, and is tested by itself."""
    monkeypatch.setattr(session, "best_rate", lambda device, dtype: 2.0 if dtype == torch.float32 else 8.0)


def convolutions(network: nn.Module, size: int) -> int:
    """Operations of a network for one image, by its layers' shapes alone."""
    counted = 0

    def count(layer: nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        nonlocal counted
        if isinstance(layer, nn.ConvTranspose2d):
            counted += 2 * given[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Conv2d):
            counted += 2 * out.numel() * layer.weight[0].numel()

    for layer in network.modules():
        layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 1, size, size))
    return counted


@pytest.mark.parametrize("family", ["essnet", "cyclegan"])
def test_a_training_step(family: str) -> None:
    options = TranslateBench.model_validate({**TRANSLATE_TINY.model_dump(), "family": family, "precision": "bf16"})
    found = bench_train(options)
    (made,) = found.comparisons
    assert found.command == "train"
    assert found.size == f"{family}, 32 px, 2 filters, 1 blocks, batch 1"
    assert found.rates == {"bf16": 8.0, "fp32": 2.0}
    assert (made.reference.path, made.shipped.path) == ("fp32, eager", "bf16, eager, fused Adam")
    assert made.ratio == pytest.approx(np.median(made.reference.seconds) / np.median(made.shipped.seconds))
    assert made.reference.tflops is not None
    assert made.reference.share == pytest.approx(made.reference.tflops / 2)
    assert made.shipped.tflops is not None
    assert made.shipped.share == pytest.approx(made.shipped.tflops / 8)
    assert made.same
    assert made.difference is not None
    assert 0 < made.difference < 0.05
    assert made.reading_milliseconds is not None
    assert made.reading_share == pytest.approx(made.reading_milliseconds / made.shipped.milliseconds)


def test_in_fp32_the_shipped_step_is_the_reference_to_rounding() -> None:
    (made,) = bench_train(TRANSLATE_TINY).comparisons
    assert made.difference is not None
    # Biases before a norm have no gradient but rounding, and Adam makes full steps of it.
    assert made.difference < 0.01
    assert made.same


def trains_nothing(settings: TranslateSettings, compute: Compute) -> TrainingTask:
    """G1 stands still: its losses are right for a while."""
    trainee = build(settings, compute)
    for weight in trainee.networks["G1"].parameters():
        weight.register_hook(torch.zeros_like)
    return trainee


def sees_the_other_side(settings: TranslateSettings, compute: Compute) -> TrainingTask:
    trainee = build(settings, compute)
    return replace(trainee, step=lambda batch: trainee.step({**batch, "ct": batch["mr"], "mr": batch["ct"] * 0.5}))


@pytest.mark.parametrize("wrong", [trains_nothing, sees_the_other_side])
def test_a_shipped_step_that_computes_something_else_is_told(
    wrong: Callable[..., TrainingTask],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(train, "build", wrong)
    found = bench_train(TRANSLATE_TINY)
    assert not found.comparisons[0].same
    assert len(caplog.records) == 1
    show(found)
    assert "WARNING, fast but wrong: the two differ by" in capsys.readouterr().out


def test_a_translation(monkeypatch: pytest.MonkeyPatch) -> None:
    found = bench_synthesize(TRANSLATE_TINY)
    (made,) = found.comparisons
    settings = translate_settings(TRANSLATE_TINY, gpu=False)
    G, S = synthesize.networks(settings, CPU)
    assert S is not None
    assert made.operations == convolutions(G, 32) + convolutions(S, 32)
    assert (made.unit, made.difference, made.same) == ("slice", 0.0, True)
    assert made.shipped.milliseconds == pytest.approx(np.median(made.shipped.seconds) * 1000 / 4)
    assert made.shipped.slices_per_second == pytest.approx(1000 / made.shipped.milliseconds)
    (alone,) = bench_synthesize(
        TranslateBench.model_validate({**TRANSLATE_TINY.model_dump(), "family": "cyclegan"})
    ).comparisons
    assert alone.operations == convolutions(G, 32)


def test_a_segmentors_other_answers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    right = synthesize._shipped

    def wrong(settings: TranslateSettings, compute: Compute, source: np.ndarray) -> Any:
        def swapped(step: int) -> Any:
            tell = right(settings, compute, source)(step)
            return lambda: {**tell(), "classes": np.asarray(tell()["classes"])[::-1] * 2}

        return swapped

    monkeypatch.setattr(synthesize, "_shipped", wrong)
    assert not bench_synthesize(TRANSLATE_TINY).comparisons[0].same


def test_a_segmenter() -> None:
    training, prediction = bench_segment(SegmentBench(**TINY, precision="bf16", batch_size=3)).comparisons
    assert training.unit == "step"
    assert training.same
    assert training.difference is not None
    # Dropout that differed would be off by much more than bf16 is.
    assert 0 < training.difference < 0.03
    assert training.shipped.slices_per_second == pytest.approx(3 / np.median(training.shipped.seconds))
    assert prediction.unit == "slice"
    assert prediction.same
    assert (prediction.reference.path, prediction.shipped.path) == ("fp32, eager", "bf16, channels last, eager")


def test_preparing(capsys: pytest.CaptureFixture[str]) -> None:
    found = bench_prepare(PrepareBench(steps=1, patients=1, size=32, slices=6))
    (made,) = found.comparisons
    assert (made.same, made.difference, made.operations, made.reference.share) == (True, 0.0, None, None)
    assert int(found.size.split()[0]) * np.median(made.shipped.seconds) ** -1 == pytest.approx(
        made.shipped.slices_per_second
    )
    assert "It leaves out" in " ".join(found.notes)
    assert rows(made)[-1][0] == "memory, MB"


def test_a_store_with_other_values_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    right = prepare._sums
    calls = iter((0.0, 100.0))

    def off(series: Any) -> Any:
        more = next(calls)
        return right(one.astype(np.float64) + more for one in series)

    monkeypatch.setattr(prepare, "_sums", off)
    assert not bench_prepare(PrepareBench(steps=1, patients=1, size=32, slices=6)).comparisons[0].same


def test_what_is_set_is_taken_back() -> None:
    before = torch.get_num_threads(), torch.backends.cudnn.benchmark
    with session.session(TranslateBench(device="cpu", threads=before[0] + 1)) as device:
        assert (device, torch.get_num_threads()) == (CPU, before[0] + 1)
        torch.backends.cudnn.benchmark = not before[1]
    assert (torch.get_num_threads(), torch.backends.cudnn.benchmark) == before


def test_where_settings_come_from() -> None:
    """The paper's size is for GPUs, or for whoever asks for it."""
    assert translate_settings(TranslateBench(), gpu=True) == TRANSLATE["rafiq2025"]
    assert translate_settings(TranslateBench(), gpu=False) == TRANSLATE["tiny"]
    assert translate_settings(TranslateBench(size=256), gpu=False) == TRANSLATE["rafiq2025"]
    assert translate_settings(TranslateBench(preset="rafiq2025"), gpu=False) == TRANSLATE["rafiq2025"]
    assert segment_settings(SegmentBench(preset="tiny"), gpu=True) == SEGMENT["tiny"]
    made = translate_settings(TRANSLATE_TINY, gpu=False)
    assert (made.generator_filters, made.discriminator_filters, made.generator_blocks, made.size) == (2, 2, 1, 32)
    with pytest.raises(InputError, match="--size: 30"):
        translate_settings(TranslateBench(size=30), gpu=False)


@pytest.fixture(scope="module")
def measured() -> Bench:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "best_rate", lambda device, dtype: 2.0)
        return bench_train(TRANSLATE_TINY)


def read(path: Path) -> Bench:
    return TypeAdapter(Bench).validate_json(path.read_bytes())


def test_numbers_come_back_from_json(measured: Bench, tmp_path: Path) -> None:
    save(measured, tmp_path / "numbers.json")
    assert read(tmp_path / "numbers.json") == measured
    plain = json.loads((tmp_path / "numbers.json").read_text())
    assert plain["comparisons"][0]["ratio"] == measured.comparisons[0].ratio
    wrong = replace(measured, comparisons=(replace(measured.comparisons[0], difference=None, same=False),))
    save(wrong, tmp_path / "wrong.json")
    assert read(tmp_path / "wrong.json") == wrong


def test_what_is_printed(measured: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    made = measured.comparisons[0]
    shipped = replace(made.shipped, seconds=(2.0, 2.0874, 3.087), milliseconds=2087.4, start_seconds=63.6)
    late = replace(made, ratio=2.061, shipped=shipped)
    show(replace(measured, comparisons=(late,)))
    out = capsys.readouterr().out
    table = dict(line.split("  ", 1) for line in out.splitlines() if "  " in line)
    assert table["times as fast"].split() == ["1", "2.06"]
    assert table["ms per step"].split()[1] == "2087"
    assert table["from, to"].split()[2:] == ["2000,", "3087"]
    assert "64 s in the shipped path's first steps" in out
    assert "Peak rate: 2 TFLOP/s in fp32" in out
    assert "all losses, and how far each network moved, in the first 3 steps" in out
    assert all(note in out for note in measured.notes)


def test_no_number_is_told(measured: Bench) -> None:
    made = replace(measured.comparisons[0], difference=None, same=False)
    assert verdict(made).startswith("WARNING, fast but wrong: a value is not finite")


def test_why_auto_chose_is_told() -> None:
    found = bench_train(TranslateBench(**TINY, filters=2, blocks=1, compile="auto"))
    assert set(choose(CPU, "fp32", "auto", size=32).why) <= set(found.notes)
    assert "Not compiled: under 128 pixels" in " ".join(found.notes)
