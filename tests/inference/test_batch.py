"""Many patients: bad ones among good ones, interruptions, lists that cannot be used."""

import csv
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmod.data.nifti import read_nifti, write_nifti
from crossmod.errors import InputError
from crossmod.files import lock, read_json
from crossmod.inference import api
from crossmod.inference.api import Model
from crossmod.inference.batch import case as batch_case
from crossmod.inference.batch.case import WORKING, BatchJob, translate_case
from crossmod.inference.batch.run import translate_list
from crossmod.inference.batch.table import Case, Row, read_table
from crossmod.inference.types import Options
from tests.support.small_models import Made, about, body


@pytest.fixture(autouse=True)
def quick_pages(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Pictures take a second a case; one test draws them."""

    def quick(translation: object, trust: object, path: Path) -> None:
        path.write_text("<!doctype html>")
        path.with_suffix(".json").write_text("{}")

    if "real_pages" not in request.fixturenames:
        monkeypatch.setattr(batch_case, "write_trust", quick)


@pytest.fixture
def real_pages() -> None:
    """Asks for the pages as they are."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three patients, and a list of them."""
    for number, name in enumerate("abc"):
        volume = body((3 + number, 40, 44))
        write_nifti(volume, tmp_path / "scans" / f"{name}.nii.gz")
    write_list(tmp_path, "case,input", *(f"{name},scans/{name}.nii.gz" for name in "abc"))
    return tmp_path


def write_list(folder: Path, *lines: str) -> Path:
    path = folder / "cases.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def model() -> Model:
    return Model((Made(about()),))


def summary(out: Path) -> dict[str, dict[str, str]]:
    with (out / "summary.csv").open() as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


def calls(one: Model) -> int:
    network = one.networks[0]
    assert isinstance(network, Made)
    return len(network.calls)


def run(folder: Path, one: Model | None = None, options: Options | None = None) -> tuple[Row, ...]:
    job = BatchJob(out=folder / "out", options=options or Options())
    return translate_list(one or model(), folder / "cases.csv", job)


def test_all_are_made_and_told_of(folder: Path, real_pages: None) -> None:
    rows = run(folder)
    assert [(row.case, row.status) for row in rows] == [("a", "done"), ("b", "done"), ("c", "done")]
    for number, name in enumerate("abc"):
        assert read_nifti(folder / "out" / f"{name}.nii.gz", modality="ct").voxels.shape == (3 + number, 40, 44)
        assert (folder / "out" / f"{name}.nii.gz.trust.html").is_file()
        assert (folder / "out" / f"{name}.nii.gz.trust.json").is_file()
    assert summary(folder / "out")["b"]["verdict"] == rows[1].verdict == "not assessed"
    assert summary(folder / "out")["b"]["trust"] == rows[1].trust == "not assessed"
    assert [path.name for path in (folder / "out" / WORKING).iterdir()] == ["lock"]


def test_a_bad_file_does_not_stop_the_rest(folder: Path) -> None:
    (folder / "scans" / "bad.nii.gz").write_bytes(b"no scan")
    write_list(
        folder,
        "case,input",
        "bad,scans/bad.nii.gz",
        "a,scans/a.nii.gz",
        "gone,scans/no.nii.gz",
        "left,",
        "b,scans/b.nii.gz",
    )
    rows = {row.case: row for row in run(folder)}
    assert {name: row.status for name, row in rows.items()} == {
        "bad": "failed", "a": "done", "gone": "failed", "left": "failed", "b": "done",
    }  # fmt: skip
    assert "no such file" in rows["gone"].sentences[0]
    assert "no path" in rows["left"].sentences[0]
    assert summary(folder / "out")["bad"]["sentences"] == rows["bad"].sentences[0] != ""


def test_what_nobody_thought_of_is_told_too(folder: Path) -> None:
    def breaks(images: np.ndarray) -> np.ndarray:
        raise MemoryError("out of it")

    rows = run(folder, Model((Made(about(), work=breaks),)))
    assert {row.sentences for row in rows} == {("MemoryError: out of it",)}


def test_a_second_run_makes_nothing_anew(folder: Path) -> None:
    first, one = run(folder), model()
    again = run(folder, one)
    assert [row.status for row in again] == ["done before"] * 3
    assert calls(one) == 0
    assert [(row.verdict, row.seconds) for row in again] == [(row.verdict, row.seconds) for row in first]


class Killed(BaseException):
    """As a signal would be: nothing catches it."""


@pytest.mark.parametrize("when", ["write_translation", "write_trust", "write_json"])
def test_an_interruption_costs_one_case(folder: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    real: Callable[..., object] = getattr(batch_case, when)
    count = 0

    def killed(*args: object, **more: object) -> object:
        nonlocal count
        count += 1
        if count == 2:
            raise Killed
        return real(*args, **more)

    monkeypatch.setattr(batch_case, when, killed)
    with pytest.raises(Killed):
        run(folder)
    assert {name: row["status"] for name, row in summary(folder / "out").items()} == {
        "a": "done", "b": "waiting", "c": "waiting",
    }  # fmt: skip
    assert not (folder / "out" / "b.nii.gz").exists()
    monkeypatch.undo()
    assert [row.status for row in run(folder)] == ["done before", "done", "done"]


def test_a_card_without_its_image_is_not_done(folder: Path) -> None:
    """The image is moved last; a kill before that leaves a card."""
    run(folder)
    (folder / "out" / "b.nii.gz").unlink()
    assert [row.status for row in run(folder)] == ["done before", "done", "done before"]


def test_outputs_of_something_else_are_left_alone(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "a.nii.gz").write_text("mine")
    rows = run(folder)
    assert [row.status for row in rows] == ["failed", "done", "done"]
    assert (folder / "out" / "a.nii.gz").read_text() == "mine"
    other = run(folder, options=Options(variants=("shift",)))
    assert [row.status for row in other] == ["failed"] * 3
    assert "other options" in other[1].sentences[0]
    write_nifti(body((7, 40, 44)), folder / "scans" / "b.nii.gz")
    assert [row.status for row in run(folder)] == ["failed", "failed", "done before"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("case,input", "a,x", "A,y"), "more than once"),
        (("case,input,output", "a,x,o.nii.gz", "b,y,o.nii.gz"), "more than once"),
        (("case,scan", "a,x"), "columns case, scan"),
        (("input", "x"), "columns input"),
        (("case,input,extra", "a,x,1"), "columns case, input, extra"),
        (("case,input",), "no case"),
        (("case,input", "../a,x"), "in line 2"),
        (("case,input,output", "a,x,/etc/b"), "in line 2"),
        (("case,input", "a,x,y,z"), "4 cells in line 2"),
        (("case,input,output", "a,x,summary.csv"), "in line 2"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path: Path, lines: Sequence[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_table(write_list(tmp_path, *lines), ("ct",), ".nii.gz")


def test_columns_by_name_and_other_spellings(tmp_path: Path) -> None:
    path = write_list(tmp_path, "\ufeffcase;t1_in;t1_out;output", "a;x/in;x/out;mine", "b;y/in;;")
    first, second = read_table(path, ("t1_in", "t1_out"), ".nii.gz")
    assert first == Case("a", (("t1_in", tmp_path / "x/in"), ("t1_out", tmp_path / "x/out")), "mine")
    assert (second.inputs[1], second.output) == (("t1_out", None), "b.nii.gz")
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "none.csv", ("ct",), "")


def test_cases_can_be_done_elsewhere(folder: Path) -> None:
    def cluster(do: Callable[[Case], Row], cases: Sequence[Case]) -> Iterator[Row]:
        for case in reversed(cases):
            yield pickle.loads(pickle.dumps(do(case)))

    pickle.dumps((translate_case, (Path("run"),), BatchJob(out=folder)))
    job = BatchJob(out=folder / "out", suffix="")
    rows = translate_list(model(), folder / "cases.csv", job, spread=cluster)
    assert [(row.case, row.status) for row in rows] == [("a", "done"), ("b", "done"), ("c", "done")]
    assert read_json(folder / "out" / "a.json")["batch"]["key"]
    assert (folder / "out" / "a").is_dir()


def test_two_batches_do_not_write_to_one_folder(folder: Path) -> None:
    (folder / "out" / WORKING).mkdir(parents=True)
    with lock(folder / "out" / WORKING / "lock"), pytest.raises(InputError, match="one at a time"):
        run(folder)


def test_at_most_two_cases_are_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_list(folder, "case,input", *(f"n{number},scans/a.nii.gz" for number in range(6)))
    alive, most = 0, 0
    real = api.read_volumes

    class Counted(tuple):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def read(*args: object, **more: object) -> tuple[object, ...]:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return Counted(real(*args, **more))  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(batch_case, "read_volumes", read)
    run(folder)
    assert most <= 2


def test_one_case_is_read_and_one_written_while_one_is_computed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading of the third, computing of the second and writing of the first meet: each waits for the others."""
    meeting = threading.Barrier(3, timeout=20)
    turns = {"read": 0, "compute": 0, "write": 0}

    def meet(name: str, turn: int) -> None:
        turns[name] += 1
        if turns[name] == turn:
            meeting.wait()

    read, write = api.read_volumes, api.write_translation

    def reading(*given: Any, **more: Any) -> Any:
        meet("read", 3)
        return read(*given, **more)

    def writing(*given: Any, **more: Any) -> None:
        meet("write", 1)
        write(*given, **more)

    def computing(images: np.ndarray) -> np.ndarray:
        meet("compute", 2)
        return images[:, 0]

    monkeypatch.setattr(batch_case, "read_volumes", reading)
    monkeypatch.setattr(batch_case, "write_translation", writing)
    rows = run(folder, Model((Made(about(), computing),)))
    assert [row.status for row in rows] == ["done"] * 3
    assert meeting.n_waiting == 0
    assert turns == {"read": 3, "compute": 3, "write": 3}


@pytest.mark.parametrize("asked", ["segmentation", "keep_identity"])
def test_what_only_dicom_holds_is_refused_for_nifti_before_anything_is_made(folder: Path, asked: str) -> None:
    one = model()
    job = BatchJob.model_validate({"out": folder / "out", asked: True})
    with pytest.raises(InputError, match=r"--\S+ and the output a\.nii\.gz\. Expected: DICOM for it"):
        translate_list(one, folder / "cases.csv", job)
    assert not (folder / "out").exists()
    assert calls(one) == 0
