import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from crossmod.benchmark import doctor
from crossmod.benchmark.doctor import Check
from crossmod.cli import app as application
from crossmod.cli import main
from crossmod.cli.app import READER_GONE, app
from crossmod.engine.interrupt import TrainingInterrupted
from crossmod.presets import SEGMENT, TRANSLATE
from crossmod.version import __version__
from tests.support.paths import ROOT
from tests.support.stores import Stores


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code = 0
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_help_imports_nothing_heavy() -> None:
    """What makes `--help` slow is torch, SciPy and matplotlib: none of them may be needed for it."""
    heavy = {"torch", "scipy", "matplotlib", "nibabel", "numpy"}
    program = f"import sys, crossmod.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("words", [["bench", "--help"], ["bench", "train", "--help"], ["doctor", "--help"]])
def test_help_on_measuring_imports_nothing_heavy(words: list[str]) -> None:
    heavy = {"torch", "scipy", "matplotlib", "nibabel", "numpy", "lightning_fabric"}
    program = f"import sys, crossmod.cli as c; c.main({words}); print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "command", [*[["prepare", name] for name in ("chaos", "dicom", "nifti")], *[[name] for name in (
        "info", "phantom", "train", "synthesize", "segment", "report", "demo", "doctor", "experiment"
    )], *[["evaluate", name] for name in ("images", "compare")], *[["nnunet", name] for name in ("export", "read")],
    *[["bench", name] for name in ("train", "synthesize", "segment", "prepare")]], ids="-".join,
)  # fmt: skip
def test_every_option_is_explained(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    code, out, _ = run(capsys, *command, "--help")
    assert code == 0
    options = [line.strip(" │*") for line in out.splitlines() if "--" in line and line.startswith("│")]
    assert options
    for line in options:
        name, *words = line.split()
        assert len([word for word in words if word.islower()]) >= 2, f"{name} is not explained: {line}"


def test_every_setting_is_described() -> None:
    for presets in (TRANSLATE, SEGMENT):
        for settings in presets.values():
            for name, field in type(settings).model_fields.items():
                assert field.description, name


def test_a_dry_run_prints_settings_that_can_be_given_back(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["train", tmp_path / "run", "--ct", "a", "--mr", "b", "--preset", "tiny", "--dry-run"]
    code, out, _ = run(capsys, *words, "--epochs", 7, "--window", -100, 200, "--organs", "liver", "spleen")
    assert code == 0
    settings = yaml.safe_load(out)
    assert (settings["epochs"], settings["window"], settings["organs"]) == (7, [-100.0, 200.0], ["liver", "spleen"])
    assert settings["generator_filters"] == TRANSLATE["tiny"].generator_filters
    (tmp_path / "mine.yaml").write_text(out)
    _, again, _ = run(capsys, *words[:6], "--config", tmp_path / "mine.yaml", "--dry-run")
    assert yaml.safe_load(again) == settings
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"kind": "train", "settings": settings, "inputs": {}}))
    _, again, _ = run(capsys, *words[:6], "--config", tmp_path / "run.yaml", "--dry-run", "--epochs", 8)
    assert yaml.safe_load(again) == {**settings, "epochs": 8}
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "out", "--ct", "nowhere", "--mr", "nowhere"], "nowhere: no such folder"),
        (["train", "out", "--ct", "a", "--mr", "b", "--preset", "huge"], "'huge'. Expected: one of rafiq2025, tiny"),
        (["train", "out", "--ct", "a", "--mr", "b", "--size", "30"], "--size: 30. Expected: a multiple of 4"),
        (["train", "out", "--ct", "a", "--mr", "b", "--size", "many"], "--size: 'many'. Expected: a valid integer"),
        (["train", "out", "--ct", "a", "--mr", "b", "--load-size", "200"], "load_size of at least size (256)"),
        (["train", "out", "--ct", "a", "--mr", "b", "--fold", "5"], "fold below folds (5)"),
        (["train", "out", "--ct", "a", "--mr", "b", "--window", "9", "1"], "a window from low to high HU"),
        (["train", "out", "--ct", "a", "--mr", "b", "--percentiles", "9", "1"], "two rising percentiles"),
        (["train", "out", "--mr", "b"], "--ct"),
        (["trian"], 'Did you mean "train"'),
        (["info", "nowhere"], "nowhere: no such file or folder"),
        (["report", "nowhere"], "nowhere: no such folder"),
        (["synthesize", "nowhere", "--source", "a", "--out", "b"], "nowhere: no such folder"),
        (["segment", "out", "--real", "nowhere"], "nowhere: no such folder"),
        (["segment", "out", "--real", "nowhere", "--organs", "liver", "liver"], "Expected: each organ once"),
        (["phantom", "out", "--size", "3"], "--size: 3"),
        (["train", "out", "--ct", "a", "--mr", "b", "--config", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["bench", "train", "--size", "30"], "--size: 30. Expected: a multiple of 4"),
        (["bench", "train", "--filters", "0"], "--filters"),
        (["bench", "prepare", "--json", "nowhere/x.json"], "--json: nowhere/x.json, in no folder"),
        (["doctor", "--json", "nowhere/x.json"], "--json: nowhere/x.json, in no folder"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_sentence_and_code_2(
    words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *words)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_from_stores_to_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, stores: Stores
) -> None:
    """All commands one after the other, and `info` on all that they make."""
    monkeypatch.chdir(tmp_path)
    tiny = ["--preset", "tiny", "--size", "32", "--folds", "2"]
    for words in (
        ["train", "run", "--ct", stores.ct, "--mr", stores.mr, *tiny, "--epochs", "1"],
        ["synthesize", "run", "--source", stores.ct, "--out", "synthetic"],
        ["segment", "real", "--real", stores.mr, *tiny, "--steps", "4"],
        ["segment", "more", "--real", stores.mr, "--synthetic", "synthetic", "--count", "9", *tiny, "--steps", "4"],
        ["report", "run", "real", "more", "--out", "pages/report.html"],
        ["info", "run"],
        ["info", "more"],
        ["info", "synthetic"],
    ):
        code, out, err = run(capsys, *words)
        assert code == 0, err
        assert out
    assert "24" in out
    page = (tmp_path / "pages" / "report.html").read_text()
    assert "12 real + 9 EssNet" in page
    assert "the baseline is not trained enough" in page


def test_a_split_by_slice_is_called_leaking_in_every_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, stores: Stores
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = ["--preset", "tiny", "--size", "32", "--split", "slice", "--test-slices", "4"]
    for words in (
        ["train", "run", "--ct", stores.ct, "--mr", stores.mr, *tiny, "--epochs", "1"],
        ["segment", "real", "--real", stores.mr, *tiny, "--steps", "2"],
        ["info", "run"],
        ["info", "real"],
    ):
        code, out, err = run(capsys, *words)
        assert code == 0, err
        assert "LEAKING" in out, words


@pytest.mark.slow
def test_what_is_measured_is_printed_and_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = ["--preset", "tiny", "--size", "32", "--filters", "2", "--blocks", "1", "--device", "cpu", "--steps", "1"]
    code, out, err = run(capsys, "bench", "train", *tiny, "--json", "train.json")
    assert code == 0, err
    (made,) = json.loads((tmp_path / "train.json").read_text())["comparisons"]
    assert f"{made['ratio']:.2f}" in out
    assert "Timing: 2/2" in err
    code, out, err = run(capsys, "doctor", "--json", "doctor.json")
    assert code == 0, err
    assert len(json.loads((tmp_path / "doctor.json").read_text())["findings"]) == len(out.splitlines())


def test_the_doctor_leaves_with_1_where_something_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: [Check("broken", "packages", "gdcm: ImportError")])
    code, out, _ = run(capsys, "doctor")
    assert (code, out) == (1, "broken   packages  gdcm: ImportError.\n")


def test_a_full_disk_is_a_sentence_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*words: object, **more: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(application, "app", fail)
    code, _, err = run(capsys, "info", "x")
    assert (code, err.startswith("crossmod: somewhere: the disk is full")) == (2, True)


def test_places_that_cannot_be_used_get_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for words in (
        ["phantom", tmp_path / "file" / "x", "--patients", 1, "--size", 32, "--slices", 8],
        ["report", tmp_path, "--out", tmp_path / "file" / "x.html"],
        ["train", "out", "--ct", "a", "--mr", "b", "--config", tmp_path],
    ):
        code, _, err = run(capsys, *words)
        assert code == 2, words
        assert "Traceback" not in err
        assert str(tmp_path) in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_stop_says_where_and_leaves_with_the_signals_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*words: object, **more: object) -> None:
        raise TrainingInterrupted(15, 7, 20)

    monkeypatch.setattr(application, "app", stop)
    assert run(capsys, "train")[0] == 143
    code, _, err = run(capsys, "train")
    assert (code, err) == (143, "crossmod: stopped at step 7 of 20; rerun the command to resume.\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_name_that_the_terminal_cannot_show_does_not_end_a_command(tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / "Łódź"
    code = "from crossmod.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "phantom", str(folder), "--patients", "1", "--size", "32", "--slices", "8"],
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"}, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert ("Łódź" if encoding == "utf-8" else "\\u0141").encode(encoding) in done.stdout


def test_commands_are_known() -> None:
    assert {"prepare", "info", "phantom", "train", "synthesize", "segment", "report", "demo", "bench", "doctor"} <= set(
        app
    )


@pytest.mark.slow
def test_phantoms_of_two_hospitals_become_stores_that_know_their_contrast(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What `phantom` says comes next works as it stands, and states the contrast that a header cannot deny."""
    small = ["--patients", 1, "--size", 64, "--slices", 12]
    store = tmp_path / "store"
    for name, more, contrast in (
        ("first", ["--ct-contrast", "yes"], True),
        ("second", ["--ct-contrast", "no", "--mr-source", 2, "--seed", 1], False),
    ):
        code, out, err = run(capsys, "phantom", tmp_path / name, *small, *more)
        assert code == 0, err
        words = shlex.split(out.split("crossmod ")[1])
        assert ("--contrast" in words) != contrast
        code, _, err = run(
            capsys, *[store if word == "STORE" else word for word in words], "--append", "--crop", "abdomen"
        )
        assert code == 0, err
        records = [
            case for case in json.loads((store / "manifest.json").read_text())["cases"] if case["modality"] == "ct"
        ]
        assert records[-1]["contrast"] is contrast
    assert len({case["patient"] for case in json.loads((store / "manifest.json").read_text())["cases"]}) == 4
    code, _, err = run(capsys, "prepare", "dicom", tmp_path / "first", tmp_path / "other", "--contrast", "no")
    assert code == 2
    assert "a header that names a contrast agent" in err


NOT_INSTALLED = """
import sys
from importlib import metadata

found = metadata.version

def version(name):
    if name == "crossmod":
        raise metadata.PackageNotFoundError(name)
    return found(name)

metadata.version = version
from crossmod.benchmark.doctor import packages
from crossmod.cli import main
from crossmod.runs import start_run
from pathlib import Path
start_run(Path(sys.argv[1]), "train", {}, {})
print(packages()[1].text)
main(["--version"])
"""


def test_it_works_where_it_is_on_the_path_and_not_installed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOT_INSTALLED, str(tmp_path / "run")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith(f"crossmod {__version__}")
    assert done.stdout.splitlines()[-1] == __version__
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["packages"]["crossmod"] == __version__


def test_the_version_is_the_same_everywhere() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == __version__


def test_a_reader_that_has_seen_enough_is_no_mistake() -> None:
    """As in `crossmod experiment worth --show | head -1`."""
    program = "from crossmod.cli import main; main(['experiment', 'worth', '--show'])"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as done:
        assert done.stdout is not None
        done.stdout.close()
        assert done.stderr is not None
        said = done.stderr.read()
    assert (done.returncode, said) == (READER_GONE, b"")
