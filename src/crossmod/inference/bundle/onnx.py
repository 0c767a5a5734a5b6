"""Networks as ONNX, compared with PyTorch.

Notable:
- Instance norm is exported explicitly, centred twice and averaged over columns, then rows. ONNX's own operator and a
  plain mean have large rounding errors in onnxruntime: nearly constant channels differed by up to 8e-3 at 256 pixels;
  here they differ by 2e-5, about as much as PyTorch from double precision.
- The exporter's metadata is removed: it contains paths of this machine.
- Slices of a single value are not checked: instance norm then divides rounding errors, and PyTorch's own result depends
  on the memory layout.
"""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from crossmod.errors import InputError
from crossmod.files import atomic_write
from crossmod.networks.blocks import InstanceNorm

OPSET = 18
TOLERANCE = 1e-4
NEEDED = ("onnx", "onnxscript", "onnxruntime")


class _ExactNorm(nn.Module):
    """Instance norm whose rounding does not grow with the number of pixels."""

    def forward(self, x: Float[Tensor, "batch width rows columns"]) -> Float[Tensor, "batch width rows columns"]:
        """Bring each channel of each image to mean 0 and variance 1."""
        centred = x - _mean(x)
        # The mean that rounding left.
        centred = centred - _mean(centred)
        return centred * torch.rsqrt(_mean(centred * centred) + 1e-5)


def _mean(x: Float[Tensor, "batch width rows columns"]) -> Float[Tensor, "batch width 1 1"]:
    return x.mean(dim=3, keepdim=True).mean(dim=2, keepdim=True)


def refuse_without_onnx() -> None:
    """Check that the packages are installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        found, do = f"no {missing[0]} installed", "pip install 'crossmod[onnx]'"
        raise InputError("--onnx", found=found, expected="the packages of crossmod[onnx]", do=do)


def export_onnx(network: nn.Module, path: Path, *, channels: int, size: int) -> float:
    """Write a network as one ONNX file and compare it with PyTorch.

    Its input is `images`, `[batch, channels, size, size]` in fp32 with any batch; its output is `result`.

    Returns:
        The largest absolute difference from PyTorch.
    """
    content = _converted(network, channels, size)
    difference = _difference(network, content, _inputs(channels, size))
    if not difference <= TOLERANCE:
        raise InputError(
            path.name,
            found=f"an ONNX network whose output differs by up to {difference:.1e} from PyTorch",
            expected=f"at most {TOLERANCE:g}",
            do="Export without --onnx, or try other versions of onnx and onnxruntime.",
        )
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return difference


def _converted(network: nn.Module, channels: int, size: int) -> bytes:
    exact = copy.deepcopy(network).eval()
    _with_exact_norm(exact)
    # Two slices: a batch of one would become a fixed size.
    example = torch.zeros(2, channels, size, size)
    with _quiet():
        program = torch.onnx.export(
            exact,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["result"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _forget_where(model)
    return model.SerializeToString(deterministic=True)


def _with_exact_norm(network: nn.Module) -> None:
    for name, part in network.named_children():
        if isinstance(part, InstanceNorm):
            setattr(network, name, _ExactNorm())
        else:
            _with_exact_norm(part)


@contextmanager
def _quiet() -> Iterator[None]:
    # The exporter warns of its own use of PyTorch, and of a missing torchvision.
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _forget_where(model: Any) -> None:
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _inputs(channels: int, size: int) -> Iterator[Float32[np.ndarray, "batch channels size size"]]:
    """Noise, a body on air, the two ends side by side, a slope, one bright pixel; batches of one to four."""
    random = np.random.default_rng(0)
    shape = (channels, size, size)
    rows = np.linspace(-1, 1, size, dtype=np.float32)
    slope = np.broadcast_to(rows[:, None] * rows, shape)
    halves = np.broadcast_to(np.sign(rows), shape)
    body = np.full(shape, -1, np.float32)
    inner = slice(size // 4, 3 * size // 4)
    body[:, inner, inner] = random.uniform(-0.5, 1, (channels, size // 2, size // 2))
    point = np.full(shape, -1, np.float32)
    point[:, size // 3, size // 3] = 1
    yield np.stack([body, halves, slope, point]).astype(np.float32)
    for batch in (1, 3):
        yield random.uniform(-1, 1, (batch, *shape)).astype(np.float32)


@torch.inference_mode()
def _difference(network: nn.Module, content: bytes, inputs: Iterator[np.ndarray]) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    most = 0.0
    for images in inputs:
        expected = network(torch.from_numpy(images)).numpy()
        (result,) = session.run(["result"], {"images": images})
        # Stays NaN, which exceeds every tolerance.
        most = float(np.maximum(most, np.abs(np.asarray(result) - expected).max()))
    return most
