"""How a training computes: device, precision, memory layout, compiled blocks, batched inference.

Notable:
- The weights, their gradients' sums, Adam and the losses stay in fp32; bf16 is what convolutions read and write.
- Blocks are compiled, not whole networks: minutes of compiling become seconds, for the same speed.
- Channels come last where blocks are compiled, on GPUs, and in networks that are not to be compiled at all (U-Nets,
  whose convolutions are faster so); other networks' eager path on a CPU is faster without.
"""

import logging
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from crossmod.engine import cuda_graph as graph
from crossmod.engine.state import Batch, Losses, TrainingTask
from crossmod.errors import InputError
from crossmod.settings import Compile, Precision


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name; `auto`: a GPU if available."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        found, do = "no CUDA device that torch can use", "Use --device cpu, or a CUDA build of torch."
        raise InputError("--device cuda", found=found, expected="a GPU", do=do)
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Name and threads: the same seed gives the same result on the same device with the same number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type}, {threads} thread{'' if threads == 1 else 's'}"


def wait_for(device: torch.device) -> None:
    """Wait for a GPU's outstanding work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def cpu_abilities() -> Mapping[str, object]:
    """Properties of the CPU by torch: instructions by name, such as `avx512_bf16`, and numbers; old versions: none."""
    return dict(torch.cpu.get_capabilities()) if hasattr(torch.cpu, "get_capabilities") else {}


def cpu_name() -> str:
    """The name of the CPU, or of its architecture."""
    return str(cpu_abilities().get("cpu_name") or platform.processor() or platform.machine())


log = logging.getLogger(__name__)

# Compiling takes 20 to 60 s; below this size a CPU run seldom saves as much.
COMPILED_FROM_PIXELS = 128


@dataclass(frozen=True)
class Compute:
    """How networks are computed."""

    device: torch.device
    bf16: bool = False  # convolutions in bfloat16
    compiled: bool = False  # blocks are compiled
    graphs: bool = False  # steps are recorded as CUDA graphs
    blocks: bool = True  # the networks have blocks that may be compiled
    why: tuple[str, ...] = ()  # sentences on what is not used, and why

    @property
    def channels_last(self) -> bool:
        """Whether channels come last in memory."""
        return self.compiled or self.device.type == "cuda" or not self.blocks

    @property
    def precision(self) -> str:
        """Precision of convolutions."""
        return "bf16" if self.bf16 else "fp32"

    def __str__(self) -> str:
        parts = [
            self.precision,
            "channels last" if self.channels_last else "",
            "compiled blocks" if self.compiled else "eager",
            "CUDA graph" if self.graphs else "",
        ]
        return ", ".join(part for part in parts if part)

    def autocast(self) -> torch.autocast:
        """Context in which networks run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Context for a few slices through networks that are being trained: nothing is compiled."""
        stance = torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()
        with stance, self.autocast():
            yield


def choose(
    device: torch.device,
    precision: Precision = "auto",
    compiling: Compile = "auto",
    *,
    size: int = 256,
    ranks: int = 1,
    blocks: bool = True,
) -> Compute:
    """The fastest way that the settings and the machine allow, for slices of `size` pixels per side; `blocks`: whether
    the networks have blocks to compile."""
    why = []
    missing = no_bf16(device)
    if missing and precision == "auto":
        why.append(f"No bf16: {missing}.")
    elif missing and precision == "bf16":
        why.append(f"bf16 as requested, though slow: {missing}.")
    bf16 = precision == "bf16" or (precision == "auto" and not missing)
    large = device.type == "cuda" or size >= COMPILED_FROM_PIXELS
    expected = blocks and (compiling == "on" or (compiling == "auto" and large))
    broken = no_compiling(device) if expected else None
    if broken:
        why.append(f"Not compiled: {broken}.")
    elif blocks and not expected and compiling == "auto":
        why.append(f"Not compiled: under {COMPILED_FROM_PIXELS} pixels it takes longer than it saves; --compile on.")
    graphs = device.type == "cuda" and ranks == 1
    if device.type == "cuda" and ranks > 1:
        why.append("No CUDA graph: processes that train together exchange gradients in the middle of a step.")
    return Compute(device, bf16, expected and not broken, graphs, blocks, tuple(why))


def no_bf16(device: torch.device) -> str | None:
    """Why a device should not compute in bf16; None if it has instructions for it."""
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = any(cpu_abilities().get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return None if has else f"this {'GPU' if device.type == 'cuda' else 'CPU'} has no instructions for it"


@lru_cache(maxsize=4)
def no_compiling(device: torch.device) -> str | None:
    """Why nothing can be compiled for a device; None if a small test can be."""
    if device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++", "c++"))):
        return "no C++ compiler found (g++ or clang++)"
    try:
        probe = torch.compile(lambda x: torch.relu(x * 2 + 1), dynamic=False)
        probe(torch.ones(8, device=device))
    except Exception as error:  # whatever fails in a toolchain, training continues without it
        return f"a small test failed ({type(error).__name__}: {graph.first_line(error)[:200]})"
    return None


def prepare(networks: Iterable[nn.Module], blocks: Iterable[nn.Module], compute: Compute) -> None:
    """Set the memory layout of networks, and have their blocks compiled at their first call, in place."""
    if compute.channels_last:
        for network in networks:
            network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if compute.compiled:
        # Blocks of many shapes share one code object, compiled once per shape.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
        for block in blocks:
            block.compile(dynamic=False)
    if compute.device.type == "cuda":
        torch.backends.cudnn.benchmark = True


def accelerate(trainee: TrainingTask, compute: Compute) -> TrainingTask:
    """The same trainee, computed as `compute` says; its networks are changed in place."""
    prepare((*trainee.networks.values(), *trainee.averages.values()), trainee.blocks, compute)
    for optimizer in trainee.optimizers.values():
        # Autocast caches rounded weights until the step ends, also those that were updated meanwhile.
        optimizer.register_step_post_hook(lambda *_: torch.clear_autocast_cache())

    def step(batch: Batch) -> Losses:
        with compute.autocast():
            return trainee.step(batch)

    return replace(trainee, step=graph.on_cuda(step) if compute.graphs else step)


BATCH = {"cpu": 4, "cuda": 16}
# Pixels per side from which a CPU takes one slice at a time: four of 256 exceed its cache, and took 1.3 times as long.
ALONE = 256


def batch_size(device: torch.device, size: int) -> int:
    """The fastest number of slices per batch, for slices of `size` pixels per side."""
    return 1 if device.type == "cpu" and size >= ALONE else BATCH[device.type]


def batches_of(
    images: Float[np.ndarray, "slices images size size"], compute: Compute
) -> Iterator[tuple[Float[Tensor, "batch images size size"], slice]]:
    """Slices as batches on the device, and which slices each contains.

    With compiled blocks, the last batch is filled up with its last slice: another size would be compiled again.
    """
    count = batch_size(compute.device, images.shape[-1])
    for start in range(0, len(images), count):
        part = torch.from_numpy(images[start : start + count])
        held = slice(start, start + len(part))
        if compute.compiled and len(part) < count:
            part = torch.cat([part, part[-1:].expand(count - len(part), -1, -1, -1)])
        yield part.to(compute.device, non_blocking=True), held


@torch.inference_mode()
def apply(
    generator: nn.Module,
    segmentor: nn.Module | None,
    images: Float[np.ndarray, "slices images size size"],
    compute: Compute,
) -> tuple[Float[np.ndarray, "slices size size"], UInt8[np.ndarray, "slices size size"] | None]:
    """Translate slices in [-1, 1], each with the stacks of all inputs: the synthetic slices in [-1, 1], which are the
    first image of the output, and the class that S sees at each of their pixels."""
    shape = (len(images), *images.shape[2:])
    fakes = np.empty(shape, np.float32)
    answers = None if segmentor is None else np.empty(shape, np.uint8)
    with compute.autocast():
        for part, given in batches_of(images, compute):
            fake = generator(part)
            fakes[given] = fake[: len(fakes[given]), 0].cpu().numpy()
            if segmentor is not None and answers is not None:
                seen = segmentor(fake[:, :1]).argmax(dim=1).to(torch.uint8)
                answers[given] = seen[: len(fakes[given])].cpu().numpy()
    return fakes, answers
