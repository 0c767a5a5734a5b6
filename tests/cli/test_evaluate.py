import json
import subprocess
import sys
from pathlib import Path

import pytest

from crossmod.cli import main
from tests.support.evaluated_people import make_people


def test_from_stores_to_a_ranking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = make_people(tmp_path / "people")
    stores = [people.mr, people.good, people.poor]
    out, ranking = tmp_path / "result", tmp_path / "ranking.json"
    main(["evaluate", "images", *map(str, stores), "--out", str(out), "--draws", "20", "--source", str(people.ct)])
    text = capsys.readouterr().out
    assert "further than real" in text
    assert "poor   KL, 256 bins" in text
    assert "Warning: good, poor: trained on" in text
    assert f"Next: crossmod report {out}" in text
    main(["evaluate", "compare", str(out), "--json", str(ranking)])
    text = capsys.readouterr().out
    assert "good and poor: good is nearer by" in text
    assert json.loads(ranking.read_text())["models"] == ["good", "poor"]
    main(["report", str(out), "--out", str(tmp_path / "page.html")])
    assert (tmp_path / "page.html").is_file()


def test_a_mistake_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "images", str(tmp_path), str(tmp_path), "--out", str(tmp_path / "r"), "--draws", "-1"])
    assert stop.value.code == 2
    assert "draws" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["images", "compare"])
def test_help_explains_every_option_and_imports_nothing_heavy(command: str) -> None:
    heavy = {"torch", "scipy", "matplotlib", "nibabel", "numpy"}
    words = ["evaluate", command, "--help"]
    program = f"import sys, crossmod.cli as c; c.main({words}); print(sorted({heavy} & set(sys.modules)))"
    environment = {"COLUMNS": "400", "PATH": "/usr/bin"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    *help_lines, last = done.stdout.splitlines()
    assert last == "[]"
    options = [line.strip(" │*") for line in help_lines if "--" in line and line.startswith("│")]
    assert len(options) == {"images": 16, "compare": 2}[command]
    for line in options:
        assert len([word for word in line.split()[1:] if word.islower()]) >= 2, line
