"""ONNX files answer as PyTorch does, for any batch, and carry no path of the machine that made them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from crossmod.errors import InputError
from crossmod.files import sha256
from crossmod.inference.bundle import onnx as onnx_export
from crossmod.inference.bundle.export import export_bundle
from crossmod.inference.bundle.load import load_networks
from crossmod.inference.bundle.onnx import OPSET, TOLERANCE, export_onnx
from crossmod.networks.blocks import MultiInputGenerator, ResNet, initialise
from tests.support.stores import Stores
from tests.support.training import train

onnx = pytest.importorskip("onnx", reason="ONNX: pip install 'crossmod[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def answers(path: Path, images: np.ndarray) -> np.ndarray:
    (found,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"images": images})
    return found


def noise(batch: int, channels: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(batch).uniform(-1, 1, (batch, channels, size, size)).astype(np.float32)


@pytest.mark.slow
def test_a_bundle_with_onnx(stores: Stores, tmp_path: Path) -> None:
    run = train(tmp_path / "run", stores, epochs=1)
    out = tmp_path / "out"
    export_bundle([run.path], out, onnx=True)
    plain = json.loads((out / "bundle.json").read_text())
    told = {one["part"]: one for one in plain["onnx"]["files"]}
    assert {name: one["file"] for name, one in told.items()} == {
        "generator": "ct-160+240.generator.onnx",
        "segmentor": "ct-160+240.segmentor.onnx",
    }
    assert (plain["onnx"]["opset"], plain["onnx"]["tolerance"]) == (OPSET, TOLERANCE)
    network = load_networks(out, device="cpu")[0]
    for batch in (1, 5):
        fakes, classes = network.translate(noise(batch, 1))
        assert classes is not None
        made = answers(out / told["generator"]["file"], noise(batch, 1))
        np.testing.assert_allclose(made[:, 0], fakes, atol=1e-5)
        logits = answers(out / told["segmentor"]["file"], made)
        assert logits.shape == (batch, 2, 32, 32)
        assert (logits.argmax(axis=1) == classes).mean() > 0.999
    for one in told.values():
        assert one["max_difference"] < 1e-5
        assert plain["files"][one["file"]]["sha256"] == sha256(out / one["file"])
        content = (out / one["file"]).read_bytes()
        assert not any(word in content for word in (b".py", b"site-packages", b"crossmod", bytes(Path.cwd())))
        model = onnx.load(out / one["file"])
        onnx.checker.check_model(model, full_check=True)
        assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]


@pytest.mark.slow
def test_several_inputs_and_what_answers_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = MultiInputGenerator(2, 2, 2, 1).eval()
    difference = export_onnx(network, tmp_path / "merge.onnx", channels=2, size=32)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(noise(3, 2))).numpy()
    np.testing.assert_allclose(answers(tmp_path / "merge.onnx", noise(3, 2)), wanted, atol=1e-5)
    assert 0 < difference < 1e-5
    content = (tmp_path / "merge.onnx").read_bytes()
    monkeypatch.setattr(onnx_export, "_converted", lambda *_: content)
    with pytest.raises(InputError, match=r"differs by up to .* from PyTorch. Expected: at most 0.0001"):
        export_onnx(MultiInputGenerator(2, 2, 2, 1).eval(), tmp_path / "other.onnx", channels=2, size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["merge.onnx"]


@pytest.mark.slow
def test_channels_that_hardly_vary(tmp_path: Path) -> None:
    """One bright pixel in many of one value: with the plain instance norm of ONNX the full network was 5e-4 away."""
    torch.manual_seed(0)
    network = ResNet(1, 8, 2).eval()
    initialise(network)
    assert export_onnx(network, tmp_path / "x.onnx", channels=1, size=96) < 3e-5


def test_without_the_packages_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None if name == "onnxruntime" else 1)
    with pytest.raises(InputError, match=r"no onnxruntime installed.*pip install 'crossmod\[onnx\]'"):
        export_bundle([tmp_path / "no-run"], tmp_path / "out", onnx=True)


def test_a_slice_of_one_value_has_no_defined_answer() -> None:
    """Why the check leaves it out: a millionth of the range, as rounding may add it, decides what comes out."""
    torch.manual_seed(0)
    network = ResNet(1, 4, 2).eval()
    initialise(network)
    network.double()
    images = torch.full((1, 1, 32, 32), -1.0, dtype=torch.float64)
    noise = 1e-6 * torch.randn(images.shape, dtype=torch.float64)
    with torch.inference_mode():
        plain, nearly = network(images), network(images + noise)
    assert float((plain - nearly).abs().max()) > 1e-2
