"""Whole volumes, from file to file, compared with a plain eager loop: slice by slice, fp32, read, compute, write.

Run: `python benchmarks/volumes.py [DEVICE] [--full] [--volumes N] [--slices N] [--threads N]`. Both sides use the same
random weights, and alternate. Target: a ratio of 1.5 on two cores. `--full` is the paper's network at 256 px, which
takes seconds per slice on a CPU. Also printed: the peak memory in addition to the process before translation (`--memory
ROWS SLICES`: only this, for one volume of that size through a network without cost).
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from crossmod.data.body_mask import body_mask
from crossmod.data.nifti import read_nifti, write_nifti
from crossmod.data.resample import to_size
from crossmod.data.volume import Volume
from crossmod.engine.device import Compute, batches_of, choose, pick_device, prepare, wait_for
from crossmod.inference.batch.run import overlapped
from crossmod.inference.translate_volume import translate_volume
from crossmod.inference.types import About
from crossmod.networks.blocks import ResNet, blocks, initialise

ABOUT = About(
    "random", "cyclegan", "ct", "mr", ("ct",), 256, None, 0.0, 1000.0, (-160.0, 240.0), (), "0" * 64, "0"
)  # fmt: skip


class Random:
    """A generator with random weights, computed as the network of a run."""

    def __init__(self, generator: torch.nn.Module, size: int, compute: Compute):
        self.about, self.compute = replace(ABOUT, size=size), compute
        self.generator = generator
        prepare([generator], blocks([generator]), compute)

    @torch.inference_mode()
    def translate(self, images: np.ndarray) -> tuple[np.ndarray, None]:
        made = np.empty((len(images), *images.shape[2:]), np.float32)
        with self.compute.autocast():
            for part, held in batches_of(images, self.compute):
                made[held] = self.generator(part)[: len(made[held]), 0].float().cpu().numpy()
        return made, None


class Nothing:
    """A network without cost: the rest is the cost of the volumes themselves."""

    about = ABOUT

    def translate(self, images: np.ndarray) -> tuple[np.ndarray, None]:
        return images[:, 0].copy(), None


def made_up(slices: int, rows: int) -> Volume:
    """A round body of soft tissue with noise."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : rows * 1j]
    one = np.where(x**2 + y**2 < 0.7, 50, -1000).astype(np.int16)
    rng = np.random.default_rng(0)
    voxels = np.stack([one + rng.integers(-20, 20, one.shape, dtype=np.int16) for _ in range(slices)])
    affine = np.array([[0, 0, -400 / rows, 200], [0, -400 / rows, 0, 200], [3.0, 0, 0, 0], [0, 0, 0, 1]])
    return Volume(voxels, affine, "ct")


def plainly(generator: torch.nn.Module, size: int, device: torch.device, files: list[Path], out: Path) -> None:
    """The obvious implementation in ten lines."""
    for file in files:
        volume = read_nifti(file, modality="ct")
        body = body_mask(volume.voxels, "ct")
        small = np.clip((to_size(volume, size).voxels.astype(np.float32) + 160) / 200 - 1, -1, 1)
        made = np.zeros(volume.voxels.shape, np.float32)
        with torch.inference_mode():
            for index, image in enumerate(small):
                fake = generator(torch.from_numpy(image)[None, None].to(device))
                large = torch.nn.functional.interpolate(fake, volume.voxels.shape[1:], mode="bilinear")
                made[index] = (large[0, 0].cpu().numpy() + 1) * 500 * body[index]
        write_nifti(replace(volume, voxels=made, modality="mr"), out / f"plain-{file.name}")


def ours(network: Random, files: list[Path], out: Path) -> None:
    """The implementation of the command for many volumes."""
    ends = overlapped(
        files,
        lambda file: read_nifti(file, modality="ct"),
        lambda file, volume: translate_volume([network], [volume]),
        lambda file, made: write_nifti(made.image, out / f"ours-{file.name}"),
    )
    for _, end in ends:
        if isinstance(end, Exception):
            raise end


def peak_mb() -> float:
    """The peak memory of the process."""
    text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(text.split("VmHWM:")[1].split()[0]) / 1024


def memory(rows: int, slices: int) -> None:
    volume = made_up(slices, rows)
    translate_volume([Nothing()], [replace(volume, voxels=volume.voxels[:4])])
    before, start = peak_mb(), time.perf_counter()
    translate_volume([Nothing()], [volume])
    taken = time.perf_counter() - start
    mb = volume.voxels.nbytes / 2**20
    print(f"{rows} x {rows} x {slices}: {mb:.0f} MB in, at most {peak_mb() - before:.0f} MB beside it, {taken:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("device", nargs="?", default="auto")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--volumes", type=int, default=3)
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs=2)
    given = parser.parse_args()
    if given.memory:
        return memory(*given.memory)
    torch.set_num_threads(given.threads)
    device = pick_device(given.device)
    size, filters, depth = (256, 64, 9) if given.full else (128, 32, 6)
    generators = [ResNet(1, filters, depth).to(device).eval() for _ in range(2)]
    initialise(generators[0])
    generators[1].load_state_dict(generators[0].state_dict())
    network = Random(generators[1], size, choose(device, "auto", "on" if device.type == "cuda" else "off"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / f"{number}.nii.gz" for number in range(given.volumes)]
        for file in files:
            write_nifti(made_up(given.slices, 256), file)
        ours(network, files[:1], folder)
        plain, own = [], []
        for _ in range(given.rounds):
            for seconds, work in (
                (plain, lambda: plainly(generators[0], size, device, files, folder)),
                (own, lambda: ours(network, files, folder)),
            ):
                before = time.perf_counter()
                work()
                wait_for(device)
                seconds.append(time.perf_counter() - before)
    first, second = statistics.median(plain), statistics.median(own)
    ratios = ", ".join(f"{a / b:.2f}" for a, b in zip(plain, own, strict=True))
    print(
        f"{given.volumes} volumes of {given.slices} slices, {size} px, {filters} filters; {device}, {network.compute}"
    )
    print(f"plain loop {first:.2f} s, crossmod {second:.2f} s; ratios {ratios}")
    return None


if __name__ == "__main__":
    main()
