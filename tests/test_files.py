import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crossmod.errors import InputError
from crossmod.files import atomic_write, is_disk_full, natural_key, read_json, write_json, write_text


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def fail() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_in_a_sentence(tmp_path: Path) -> None:
    def fill() -> None:
        with atomic_write(tmp_path / "file"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match="the disk is full"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_safetensors_words_for_a_full_disk_are_understood() -> None:
    assert is_disk_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert not is_disk_full(RuntimeError("something else"))


def test_a_real_limit_of_the_system_is_met_in_the_same_way(tmp_path: Path) -> None:
    """The process may write files of 2000 bytes at most; the checkpoint of 40000 must not stay behind half-written."""
    program = (
        "import sys, torch; from pathlib import Path; from crossmod.engine.checkpoint import save\n"
        "from crossmod.errors import InputError\n"
        "try: save(Path(sys.argv[1]), 1, {'w': torch.zeros(10000)})\n"
        "except InputError as error: print(error); sys.exit(2)\n"
    )

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    done = subprocess.run(
        [sys.executable, "-B", "-c", program, str(tmp_path)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "the disk is full" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_json_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_reading_json_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(InputError, match=r"x.json: not JSON"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077])
def test_files_are_as_open_as_others_of_the_same_process(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "ours", "text")
        (tmp_path / "plain").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_mask_of_new_files_is_never_changed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other threads write files at the same time."""
    status = Path("/proc/self/status")
    if not status.exists() or "\nUmask:" not in status.read_text(encoding="ascii", errors="replace"):
        pytest.skip("this system shows the mask only to those who set it")

    def never(mask: int) -> int:
        raise AssertionError(mask)

    monkeypatch.setattr(os, "umask", never)
    write_text(tmp_path / "ours", "text")


def test_names_are_counted_and_in_one_order_whatever_the_disk_says(tmp_path: Path) -> None:
    names = ["i1", "i2", "i02", "i10", "I2", "i2b", "j", "1", "a10b2", "a10b10"]
    orders = [sorted(map(Path, several), key=natural_key) for several in (names, names[::-1], sorted(names))]
    assert orders[0] == orders[1] == orders[2]
    assert [path.name for path in orders[0]] == ["a10b2", "a10b10", "i1", "i02", "I2", "i2", "i2b", "i10", "j", "1"]
