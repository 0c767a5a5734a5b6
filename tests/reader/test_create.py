"""`crossmod reader create` and its neighbours: a survey is there, whole, or it is not."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from crossmod.cli import main
from crossmod.data.store import Store
from crossmod.errors import InputError
from crossmod.reader import create, demo
from crossmod.reader.create import create_survey, opened
from crossmod.reader.repository import ReaderRepository
from tests.support.reader_stores import DATABASES, fresh_database, pair

SMALL = {"real": 4, "synthetic": 4, "layers": (3, 8), "size": 32}


def make(out: Path, **changes: object) -> create.Created:
    stores = pair("ct")
    return create_survey(
        out, [stores.real], [stores.synthetic], source=[stores.source], design={**SMALL, **changes}
    )  # fmt: skip


def key_of(folder: Path) -> list[tuple[object, ...]]:
    database = sqlite3.connect(folder / "survey.sqlite")
    rows = database.execute('SELECT synthetic, layer, patient, "case", slice, repeats, id, sha256 FROM scan').fetchall()
    database.close()
    return rows


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = 0
    try:
        main(["reader", *map(str, words)])
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_a_survey_holds_what_was_asked_for(tmp_path: Path) -> None:
    made = make(tmp_path / "s", repeats=3)
    rows = key_of(tmp_path / "s")
    first, again = [row for row in rows if row[5] is None], [row for row in rows if row[5]]
    layers = [Counter(layer for synthetic, layer, *_ in first if synthetic == side) for side in (0, 1)]
    assert layers[0] == layers[1]
    assert layers[0].total() == 4
    assert set(layers[0]) <= set(range(3, 9))
    assert len({row[3:5] for row in first}) == 8
    assert made.patients == (4, 4)
    assert sorted(sum(row[0] == side for row in again) for side in (0, 1)) == [1, 2]  # pyright: ignore[reportArgumentType]
    by_id = {row[6]: row for row in rows}
    assert all(by_id[row[5]][:5] == row[:5] and by_id[row[5]][7] == row[7] for row in again)
    names = {path.name for path in (tmp_path / "s" / "images").iterdir()}
    assert names == {f"{row[6]}.nii" for row in rows}
    assert all(re.fullmatch(r"[0-9a-f]{32}\.nii", name) for name in names)
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["images", "survey.sqlite"]
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    # The key is in it.
    assert (tmp_path / "s" / "survey.sqlite").stat().st_mode & 0o077 == 0


def test_a_seed_is_a_draw_but_no_key(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make(tmp_path / name, seed=seed)
    a, b, c = ([row[:5] for row in key_of(tmp_path / name)] for name in "abc")
    assert Counter(a) == Counter(b) != Counter(c)
    assert not {row[6] for row in key_of(tmp_path / "a")} & {row[6] for row in key_of(tmp_path / "b")}


def test_volumes_show_the_same_slices(tmp_path: Path) -> None:
    made = make(tmp_path / "s", unit="volume", real=3, synthetic=3)
    assert made.design.unit == "volume"
    sizes = {path.stat().st_size for path in (tmp_path / "s" / "images").iterdir()}
    assert len(sizes) == 1
    slices = (sizes.pop() - 352) / (32 * 32 * 2)
    assert slices == int(slices) >= 5
    assert {(row[1], row[4]) for row in key_of(tmp_path / "s")} == {(0, None)}


@pytest.mark.parametrize("kind", DATABASES)
def test_another_database_holds_several_surveys(kind: str, tmp_path: Path) -> None:
    stores = pair("mr")
    with fresh_database(kind, tmp_path) as url:
        for name in ("one", "two"):
            create_survey(tmp_path / name, [stores.real], [stores.synthetic], database=url, design=SMALL)
            assert [path.name for path in (tmp_path / name).iterdir()] == ["images"]
        with opened(tmp_path / "two", url) as (study, number):
            assert study.design(number).name == "two"
            assert study.design(number).modality == "mr"
        shutil.rmtree(tmp_path / "one")
        with pytest.raises(InputError, match="there is a survey 'one' already"):
            create_survey(tmp_path / "one", [stores.real], [stores.synthetic], database=url, design=SMALL)
        assert not (tmp_path / "one").exists()
        with pytest.raises(InputError, match="Give the database"), opened(tmp_path / "two"):
            pass


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ReaderRepository, "add", fails)
    with pytest.raises(InputError, match="the disk is full"):
        make(tmp_path / "s")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "notes").write_text("mine")
    with pytest.raises(InputError, match="a folder with something in it"):
        make(tmp_path / "s")
    assert [path.name for path in tmp_path.rglob("*")] == ["s", "notes"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"real": 99}, r"too few to draw from \(layer 3: \d+ real, \d+ synthetic; .*layer 8"),
        ({"unit": "volume", "synthetic": 6}, "5 synthetic volumes with enough slices"),
        ({"layers": (8, 3)}, "two rising layers"),
        ({"size": 8}, "--size"),
    ],
)
def test_too_much_is_said(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make(tmp_path / "s", **changes)
    assert list(tmp_path.iterdir()) == []


def test_stores_that_do_not_fit_are_said(tmp_path: Path) -> None:
    ct, mr = pair("ct"), pair("mr")
    cases = [
        ([mr.real], [ct.synthetic], "real cases of mr t2_spir. Expected: ct"),
        ([ct.real], [ct.real], "no synthetic cases"),
        ([ct.synthetic], [ct.synthetic], "real cases of nothing"),
        ([ct.real], [ct.synthetic, mr.synthetic], "synthetic cases of ct, mr t2_spir"),
        ([tmp_path / "none"], [ct.synthetic], "no such folder"),
    ]
    for real, synthetic, words in cases:
        with pytest.raises(InputError, match=words):
            create_survey(tmp_path / "s", real, synthetic, design=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    stores = pair("ct")
    with pytest.raises(InputError, match="5 real, 5 synthetic volumes"):
        create_survey(
            tmp_path / "s", [stores.real] * 2, [stores.synthetic] * 2,
            design={**SMALL, "unit": "volume", "real": 6, "synthetic": 6},
        )  # fmt: skip


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    stores = pair("ct")
    shutil.copytree(stores.real, tmp_path / "real")
    file = tmp_path / "real" / "ct-102.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"ct-102.*other bytes"):
        create_survey(tmp_path / "s", [tmp_path / "real"], [stores.synthetic], design=SMALL)
    assert not (tmp_path / "s").exists()


def test_scans_without_layers_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single slice shows no end of anything."""
    stores = pair("ct")
    shutil.copytree(stores.real, tmp_path / "real")
    monkeypatch.setattr("crossmod.metrics.axial_layers.Placement.numbers", lambda self, z: np.zeros(len(z), np.int64))
    with pytest.raises(InputError, match="no slice with a known axial layer"):
        create_survey(tmp_path / "s", [tmp_path / "real"], [stores.synthetic], design=SMALL)


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stores, survey = pair("ct"), tmp_path / "my survey"
    words = ("--real", stores.real, "--synthetic", stores.synthetic, "--layers", "3-8", "--size", "32", "--seed", 4)
    code, out, err = run(capsys, "create", survey, *words, "--count", "3+3", "--realism", "--language", "it")
    assert code == 0, err
    owner = re.search(r"/o/(\S{43})$", out, re.M)
    assert owner
    assert "3 real scans of 3 patients" in out
    code, out, _ = run(capsys, "invite", survey, "anna", "bert", "--address", "https://here/", "--days", "3")
    links = dict(re.findall(r"^(\w+): https://here/r/(\S{43})$", out, re.M))
    assert set(links) == {"anna", "bert"}
    with opened(survey) as (study, number):
        seat = study.seat(links["anna"])
        assert study.owner(owner[1]) == number
        assert study.design(number).realism
    assert seat is not None
    assert (seat.total, seat.language) == (6, "it")
    code, _, err = run(capsys, "invite", survey, "anna")
    assert (code, "there is a reader 'anna' already" in err) == (2, True)
    code, out, _ = run(capsys, "close", survey)
    assert (code, "0 of 2 readers" in out) == (0, True)
    for wrong in (("--count", "10"), ("--count", "a+b"), ("--layers", "3-x"), ("--layers", "0-4")):
        assert run(capsys, "create", tmp_path / "t", *words, *wrong)[0] == 2, wrong
    assert run(capsys, "close", tmp_path / "none")[0] == 2
    assert run(capsys, "close", survey, "--database", "mysql://x/y")[0] == 2


def test_help_and_a_missing_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    for command in ("create", "invite", "serve", "close", "analyze", "demo"):
        code, out, _ = run(capsys, command, "--help")
        assert code == 0
        options = [line.strip(" │*") for line in out.splitlines() if "--" in line and line.startswith("│")]
        assert all(len(line.split()) >= 3 for line in options)
    monkeypatch.setitem(sys.modules, "sqlmodel", None)
    for name in [name for name in sys.modules if name.startswith("crossmod.reader")]:
        monkeypatch.delitem(sys.modules, name)
    code, _, err = run(capsys, "close", tmp_path)
    assert (code, "pip install 'crossmod[reader]'" in err) == (2, True)


def test_help_and_surveys_need_no_torch() -> None:
    heavy = "{'torch', 'scipy', 'matplotlib', 'nibabel', 'numpy', 'sqlmodel', 'fastapi'}"
    program = (
        "import sys, crossmod.cli as c; c.main(['reader', 'create', '--help']);"
        f"print(sorted({heavy} & set(sys.modules)));"
        "import crossmod.reader.create, crossmod.reader.demo, crossmod.reader.database; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["[]", "False"]


@pytest.mark.slow
def test_the_demo_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PATIENTS", 4)
    monkeypatch.setattr(demo, "SIZE", 32)
    made = demo.create_demo(tmp_path / "demo")
    assert "No model was used" in made.design.note
    assert made.patients == (2, 2)
    assert all(
        case.synthetic and case.synthetic.family == "blur" for case in Store(tmp_path / "demo" / "synthetic").cases
    )
    assert len(os.listdir(tmp_path / "demo" / "survey" / "images")) == 20  # noqa: PTH208
