import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from crossmod.benchmark import doctor
from crossmod.benchmark.doctor import NEEDED, Check, examine, gpus, packages, save, show
from crossmod.engine import device as compute
from crossmod.engine.device import choose
from tests.support.paths import ROOT


def by_topic(findings: list[Check]) -> dict[str, Check]:
    made = {finding.topic: finding for finding in findings}
    assert len(made) == len(findings)
    return made


def without(*names: str) -> Callable[[str], None]:
    def load(name: str) -> None:
        if name in names:
            raise ImportError(f"No module named {name!r}")

    return load


def test_it_names_the_path_that_a_training_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = by_topic(examine({"HOME": str(tmp_path)}, tmp_path))
    for size in (64, 256):
        chosen = choose(torch.device("cpu"), size=size)
        text = found[f"training, {size} px, cpu"].text
        assert text.split("; ")[0] == str(chosen)
        assert all(reason.rstrip(".") in text for reason in chosen.why)
    assert found["U-Net, cpu"].text.split("; ")[0] == str(choose(torch.device("cpu"), blocks=False))
    assert "broken" not in {finding.state for finding in found.values()}
    assert str(tmp_path) in found["disk"].text
    assert found["Python"].state == "ok"
    show(list(found.values()))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(found) <= 24
    assert all(line.split()[0] in ("ok", "note", "missing") for line in lines)


def test_no_compiler_is_missing_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    compute.no_compiling.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = by_topic([*doctor.paths(), doctor._compilers()])
    compute.no_compiling.cache_clear()
    assert found["training, 256 px, cpu"].state == "missing"
    assert "no C++ compiler found" in found["training, 256 px, cpu"].text
    assert found["training, 64 px, cpu"].state == "ok"
    assert (found["compilers"].state, "Install g++" in found["compilers"].do) == ("missing", True)


def test_a_package_that_is_needed_is_broken_and_the_rest_is_looked_at_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = packages(without("gdcm"))
    assert by_topic(found)["packages"] == Check(
        "broken", "packages", "gdcm: ImportError: No module named 'gdcm'", found[1].do
    )
    monkeypatch.setattr(doctor, "packages", lambda: found)
    monkeypatch.setattr(doctor, "paths", list)
    more = by_topic(examine({}))
    assert [*more.values()][: len(found)] == found
    assert {"CPU", "memory", "GPU"} <= more.keys()


def test_without_torch_nothing_more_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    found = packages(without("torch"))
    monkeypatch.setattr(doctor, "packages", lambda: found)
    monkeypatch.setitem(sys.modules, "crossmod.engine.device", None)
    assert examine({}) == found
    monkeypatch.setattr(doctor, "packages", lambda: packages(without()))
    with pytest.raises(ImportError):
        examine({})


def test_one_process_needs_no_fabric() -> None:
    assert by_topic(packages(without("lightning_fabric")))["several processes"].state == "missing"
    assert by_topic(packages(without()))["several processes"].state == "ok"


def test_every_dependency_is_looked_at() -> None:
    """One name for each package that pyproject.toml asks for, but for Fabric, which has a line of its own."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {line.split(">")[0].strip() for line in project["dependencies"]} - {"lightning-fabric"}
    imported = {"pillow": "PIL", "python-gdcm": "gdcm", "pyyaml": "yaml"}
    assert {imported.get(name, name) for name in wanted} == {name.split(".")[0] for name in NEEDED}


@pytest.mark.parametrize(
    ("smi", "cuda", "state", "words"),
    [
        (None, None, "note", "none; the CPU computes"),
        ("NVIDIA H200, 570.1\n", None, "missing", "built without CUDA"),
        ("NVIDIA H200, 570.1\nNVIDIA A40, 570.1\n", "13.0", "missing", "H200, 570.1, but torch, built for CUDA 13.0"),
    ],
)  # fmt: skip
def test_a_gpu_that_torch_cannot_use_is_told(
    smi: str | None, cuda: str | None, state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(shutil, "which", lambda name: smi and "/bin/nvidia-smi")
    monkeypatch.setattr(subprocess, "run", lambda *words, **more: SimpleNamespace(returncode=0, stdout=smi))
    (found,) = gpus()
    assert found.state == state
    assert words in found.text


def test_threads_and_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "usable_cores", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert "--threads 4" in doctor._cores({}).do
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    held = doctor._cores({"OMP_NUM_THREADS": "2"})
    assert (held.state, "as OMP_NUM_THREADS=2 says" in held.text) == ("note", True)
    found = by_topic(doctor._variables({"CUDA_VISIBLE_DEVICES": "", "CROSSMOD_REAL_DATA": str(tmp_path / "gone")}))
    assert found["CUDA_VISIBLE_DEVICES"].text == "empty, which hides everything"
    assert found["CROSSMOD_REAL_DATA"].state == "missing"
    assert by_topic(doctor._variables({"CROSSMOD_REAL_DATA": str(tmp_path)}))["CROSSMOD_REAL_DATA"].state == "ok"


def test_memory_is_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       2000 kB\nMemFree:  1 kB\nMemAvailable:    500 kB\n")
    monkeypatch.setattr(doctor, "MEMINFO", tmp_path / "meminfo")
    assert doctor.memory() == (2000 * 1024, 500 * 1024)
    assert doctor._memory().state == "note"
    monkeypatch.setattr(doctor, "MEMINFO", tmp_path / "gone")
    assert doctor.memory()[0] > 2**26


def test_findings_as_json(tmp_path: Path) -> None:
    save([Check("note", "GPU", "none")], tmp_path / "doctor.json")
    wanted = {"findings": [{"state": "note", "topic": "GPU", "text": "none", "do": ""}]}
    assert json.loads((tmp_path / "doctor.json").read_text()) == wanted
