"""Parts and summary of `gpu.sh`: description of the machine, number of epochs, weights, pictures, and the final page.

Run: `python benchmarks/gpu_report.py machine FILE | epochs WORK CT MR SECONDS | volume FOLDER FILE | weights RUN OUT |
pictures RUN OUT | summary WORK OUT`. The summary skips missing parts.
"""

import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

# Maximum size of a file that leaves the machine.
LARGEST = 15_000_000
SLICES = 100
PACKAGES = ("torch", "triton", "numpy", "scipy", "pydicom", "nibabel", "safetensors", "pytest", "jaxtyping", "beartype")


def machine(file: str) -> None:
    """Description of the machine; items that fail are skipped."""
    import torch

    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
        "cuda built for": torch.version.cuda,
        "cuda available": torch.cuda.is_available(),
        "nvidia-smi": said(
            "nvidia-smi",
            "--query-gpu=name,driver_version,memory.total,power.limit,clocks.max.sm,mig.mode.current",
            "--format=csv",
        ),
        "commit": said("git", "rev-parse", "--short", "HEAD"),
        "g++": said("g++", "--version").partition("\n")[0],
    }
    if torch.cuda.is_available():
        found |= {
            "card": torch.cuda.get_device_name(),
            "capability": ".".join(map(str, torch.cuda.get_device_capability())),
            "architectures of this torch": torch.cuda.get_arch_list(),
            "cudnn": torch.backends.cudnn.version(),
            "bf16": torch.cuda.is_bf16_supported(including_emulation=False),
            "TF32 in convolutions": torch.backends.cudnn.allow_tf32,
            "TF32 in products": torch.backends.cuda.matmul.allow_tf32,
            "memory free, total, MB": [round(bytes / 1e6) for bytes in torch.cuda.mem_get_info()],
        }
    write(Path(file), found)
    print(json.dumps(found, indent=1))


def version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def said(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, encoding="utf-8", errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"({type(error).__name__})"
    return (done.stdout or done.stderr).strip()


def epochs(work: str, ct: str, mr: str, seconds: str) -> None:
    """How many training epochs fit into the given seconds, at the speed of the short training run."""
    short = Path(work) / "short"
    readings = [json.loads(line) for line in (short / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    speed = [reading["steps_per_second"] for reading in readings if "steps_per_second" in reading][-1]
    card = json.loads((short / "card.json").read_text(encoding="utf-8"))
    whole = next(float(row[2]) for row in rows(Path(work)) if row[0] == "short-training")
    begin = whole - card["steps"] / speed
    # 350 slices are the most that the preset takes of a side; an epoch passes once over the larger one.
    steps = max(1, *(min(350, with_organ(Path(store), side)) for store, side in ((ct, "ct"), (mr, "mr"))))
    # A tenth is left for pictures, checkpoints and a slower card.
    print(max(1, int(0.9 * (float(seconds) - begin) * speed / steps)))


def with_organ(store: Path, side: str) -> int:
    cases = json.loads((store / "manifest.json").read_text(encoding="utf-8"))["cases"]
    return sum(case["slices_with"].get("liver", 0) for case in cases if case["modality"] == side)


def volume(folder: str, file: str) -> None:
    """The longest image of a folder of cases, repeated to a hundred slices, as NIfTI; prints its shape."""
    import numpy as np
    from nibabel.nifti1 import Nifti1Image

    images = [Nifti1Image.from_filename(path) for path in sorted(Path(folder).glob("*/image.nii.gz"))]
    axes = [int(np.argmax(np.abs(np.asarray(image.affine)[2, :3]))) for image in images]
    longest, axis = max(zip(images, axes, strict=True), key=lambda pair: pair[0].shape[pair[1]])
    kept = np.arange(SLICES) % longest.shape[axis]
    voxels = np.take(np.asanyarray(longest.dataobj), kept, axis=axis)
    Nifti1Image(voxels, longest.affine).to_filename(file)
    print(f"{SLICES} slices, voxels {' x '.join(map(str, voxels.shape))}")


def weights(run: str, out: str) -> None:
    """G1 as fp16, in files that are small enough; for an interrupted run, from its last checkpoint."""
    from safetensors.torch import save_file

    from crossmod.engine import checkpoint

    state = checkpoint.newest(Path(run) / "checkpoints")
    assert state is not None, "no checkpoint"
    G1 = {name: tensor.half().contiguous() for name, tensor in state["networks"]["G1"].items()}
    files: list[dict[str, Any]] = [{}]
    for name, tensor in G1.items():
        if sum(kept.nbytes for kept in files[-1].values()) + tensor.nbytes > LARGEST:
            files.append({})
        files[-1][name] = tensor
    step = str(state["standing"]["step"])
    for number, part in enumerate(files, 1):
        path = Path(out) / f"G1-fp16-{number}-of-{len(files)}.safetensors"
        save_file(
            part, path, {"network": "G1", "step": step, "settings": (Path(run) / "config.yaml").read_text("utf-8")}
        )
        print(f"{path.name}: {len(part)} tensors, {path.stat().st_size / 1e6:.1f} MB, step {step}")


def pictures(run: str, out: str) -> None:
    """The first, the middle and the last sample picture, one above the other."""
    from PIL import Image

    paths = sorted((Path(run) / "samples").glob("*.png"))
    chosen = [paths[at] for at in sorted({0, len(paths) // 2, len(paths) - 1})] if paths else []
    assert chosen, "no pictures"
    images = [Image.open(path).convert("L") for path in chosen]
    sheet = Image.new("L", (max(image.width for image in images), sum(image.height for image in images)))
    top = 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height
    while sheet.width * sheet.height > LARGEST:
        sheet = sheet.reduce(2)
    sheet.save(Path(out) / "pictures.png")
    print(", ".join(path.name for path in chosen))


@dataclass(frozen=True)
class Told:
    """The content of the summary.

    Args:
        found: the parts' JSON files, by name.
        parts: name, exit code, seconds and limit of each part.
        work: the folder of all that is not kept.
        output: what all parts printed.
    """

    found: dict[str, Any]
    parts: list[list[str]]
    work: Path
    output: str

    def said(self, part: str) -> str:
        """The output of one part."""
        return self.output.partition(f"\n==== {part} (")[2].partition("\n")[2].partition("\n==== ")[0].strip()


def summary(work: str, out: str) -> None:
    """One page on standard output, and the numbers as JSON."""
    folder, found = Path(work), {}
    names = ("machine", "paths", "train-1", "train-4", "synthesize", "segment", "short/card", "run/card", "scores/card")
    for name in names:
        try:
            found[name] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            print(f"no {name}.json: {type(error).__name__}", file=sys.stderr)
    parts = rows(folder)
    write(Path(out) / "summary.json", {"parts": parts, **found})
    told = Told(found, parts, folder, (Path(out) / "output.txt").read_text(encoding="utf-8", errors="replace"))
    for section in (head, table, tests, equality, fallbacks, speed, translation, training, scores):
        # A page without one of its sections is better than none.
        try:
            print(*section(told), sep="\n", end="\n\n")
        except Exception as error:  # whatever a half-written file holds
            print(f"({section.__name__}: not available, {type(error).__name__}: {error})\n")


def rows(work: Path) -> list[list[str]]:
    """Name, exit code, seconds and limit of each part."""
    return [line.split("\t") for line in (work / "rows.tsv").read_text(encoding="utf-8").splitlines()]


def head(told: Told) -> Iterator[str]:
    m = told.found["machine"]
    yield f"# {m.get('card', 'CPU')}, PyTorch {m['packages']['torch']}"
    yield ""
    yield f"Python {m['python']}, CUDA {m['cuda built for']}, cuDNN {m.get('cudnn')}, commit {m['commit']}, "
    yield f"capability {m.get('capability')}, fast bf16: {m.get('bf16')}. {m['nvidia-smi'].rpartition(chr(10))[2]}"
    failed = [f"{row[0]} ({row[1]})" for row in told.parts if row[1] != "0"]
    yield f"{sum(int(row[2]) for row in told.parts)} s in all. Not well: {', '.join(failed) or 'none'}."


def table(told: Told) -> Iterator[str]:
    yield from ("| part | exit code | seconds | at most |", "| --- | --- | --- | --- |")
    for name, code, seconds, limit in told.parts:
        yield f"| {name} | {'124, out of time' if code == '124' else code} | {seconds} | {limit} |"


def tests(told: Told) -> Iterator[str]:
    words = re.search(r"<testsuite [^>]*>", (told.work / "tests.xml").read_text(encoding="utf-8"))
    counts = dict(re.findall(r'(tests|failures|errors|skipped)="(\d+)"', words[0] if words else ""))
    yield f"Tests marked gpu: {', '.join(f'{count} {name}' for name, count in counts.items())}."


def equality(told: Told) -> Iterator[str]:
    yield from (
        "| path, 20 steps | loss apart | weights apart | first steps, s | ms | MB | |",
        "| --- |" + " --- |" * 6,
    )
    for one in told.found["paths"]:
        apart = ("", "") if one["loss"] is None else (f"{one['loss']:.5f}", f"{one['weights']:.3f}")
        numbers = f"{one['first_seconds']:.1f} | {one['milliseconds']:.1f} | {one['peak_mb']:.0f}"
        yield f"| {one['path']} | {' | '.join(apart)} | {numbers} | {'ok' if one['good'] else 'BAD'} {one['note']} |"


def fallbacks(told: Told) -> Iterator[str]:
    """Fallbacks and warnings, and their reasons."""
    pattern = r"No CUDA graph|Not compiled|No bf16|bf16 as asked for|[A-Za-z]*Warning:|is not what the reference gives"
    lines = [line.strip()[:300] for line in told.output.splitlines() if re.search(pattern, line)]
    yield from (f"- {line}" for line in [*dict.fromkeys(lines)][:20] or ["no fallback, no warning"])


def speed(told: Told) -> Iterator[str]:
    yield from (
        "| bench | of | plain, ms | shipped, ms | times as fast | start, s | MB | of the best rate | the same |",
        "| --- |" + " --- |" * 8,
    )
    for name in ("train-1", "train-4", "synthesize", "segment"):
        for one in told.found.get(name, {}).get("comparisons", ()):
            plain, ours = one["reference"], one["shipped"]
            share = "" if ours["share"] is None else f"{ours['share']:.0%}"
            same = f"{'yes' if one['same'] else 'NO'} ({one['difference']})"
            yield (
                f"| {name}: {one['work']}, {ours['path']} | {one['unit']} | {plain['milliseconds']:.2f} "
                f"| {ours['milliseconds']:.2f} | {one['ratio']:.2f} | {ours['start_seconds']:.1f} "
                f"| {ours['peak_bytes'] / 1e6:.0f} | {share} | {same} |"
            )


def translation(told: Told) -> Iterator[str]:
    seconds = next((row[2] for row in told.parts if row[0] == "translate" and row[1] == "0"), None)
    what = (told.work / "volume.txt").read_text(encoding="utf-8").strip()
    yield f"`translate`, file to file with its trust report, {what}: {seconds} s, the command's start included."


def training(told: Told) -> Iterator[str]:
    short, card = told.found.get("short/card", {}), told.found.get("run/card")
    if short:
        yield f"Short training: {short['steps']} steps, {short['seconds']} s, {short['compute']}."
    readings = [json.loads(line) for line in (told.work / "run/metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    last = [reading for reading in readings if "steps_per_second" in reading][-1]
    state = (
        f"{card['seconds']} s, {card['compute']}, {card['device']}" if card else "not finished: stopped by its limit"
    )
    yield f"Training: {last['step']} steps, epoch {last['epoch'] + 1}; {state}. Last reading: {json.dumps(last)}."
    if card:
        yield f"Alarms: {', '.join(alarm['alarm'] for alarm in card['alarms']) or 'none'}."


def scores(told: Told) -> Iterator[str]:
    for part in ("weights", "synthetic", "scores"):
        yield from (f"{part}:", "", "```", told.said(part) or "(nothing)", "```", "")


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


COMMANDS: dict[str, Callable[..., None]] = {
    "machine": machine, "epochs": epochs, "volume": volume,
    "weights": weights, "pictures": pictures, "summary": summary,
}  # fmt: skip

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
