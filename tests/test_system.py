"""Without the file locks of Unix, as on Windows."""

import subprocess
import sys

BARRED = "import sys; sys.modules['fcntl'] = None; "


def test_a_system_that_is_not_supported_is_a_sentence() -> None:
    program = BARRED + "from crossmod.cli import main; main(['info', 'nowhere'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Expected: Linux or macOS; on Windows, crossmod runs in WSL 2" in done.stderr


def test_for_programs_it_is_an_import_error_that_says_so() -> None:
    program = BARRED + "import crossmod; crossmod.Store"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: crossmod: this system has no file locks of Unix")
