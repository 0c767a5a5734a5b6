"""What `crossmod` on the command line does, and what happens when a command fails."""

import logging
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from cyclopts import CoercionError, CycloptsError
from pydantic import TypeAdapter, ValidationError

from crossmod.cli.build import add_importers, build_app
from crossmod.config import invalid
from crossmod.engine.interrupt import TrainingInterrupted
from crossmod.errors import InputError, Untrusted
from crossmod.files import disk_full, is_disk_full
from crossmod.progress import progress_disabled, progress_shown

# A translation that was made, and that the trust report warns of.
UNTRUSTED = 3
# As shells say it: 128 and the number of SIGPIPE.
READER_GONE = 141

app = build_app()


def main(words: Sequence[str] | None = None) -> None:
    """Run the words after `crossmod`; a mistake by the user gives one clear sentence and exit code 2."""
    _escape_what_stdout_cannot_show()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    words = sys.argv[1:] if words is None else list(words)
    try:
        if words[:1] == ["prepare"]:
            add_importers(app)
        with progress_shown():
            app(
                words,
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
    except CycloptsError as error:
        print(f"crossmod: {_mistyped(error)}", file=sys.stderr)
        sys.exit(2)
    except InputError as error:
        _complain(str(error))
        sys.exit(2)
    except Untrusted:
        # The warnings were printed.
        sys.exit(UNTRUSTED)
    except BrokenPipeError:
        # The reader of the output, such as `head`, has seen enough: no mistake. Nothing more is written at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(READER_GONE)
    except OSError as error:
        _complain(str(_about_place(error)))
        sys.exit(2)
    except TrainingInterrupted as stopped:
        _complain(f"{stopped}.")
        sys.exit(128 + stopped.number)
    except KeyboardInterrupt:
        print("crossmod: stopped; nothing half-made is left.", file=sys.stderr)
        sys.exit(130)


def _mistyped(error: CycloptsError) -> InputError | CycloptsError:
    """A value of the wrong kind gets the same sentence as from Python; what cyclopts says of the rest is clear."""
    if isinstance(error, CoercionError) and error.token and error.argument and error.target_type:
        try:
            TypeAdapter[Any](error.target_type).validate_python(error.token.value)
        except ValidationError as refused:
            return invalid(refused, error.argument.name)
    return error


def _escape_what_stdout_cannot_show() -> None:
    # As on standard error: a file name outside the terminal's encoding must not end a command.
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _complain(sentence: str) -> None:
    if not progress_disabled():
        print(f"crossmod: {sentence}", file=sys.stderr)


def _about_place(error: OSError) -> InputError:
    """The sentence for a file or folder that the system refuses: no permission, a file for a folder, no room."""
    place = Path(error.filename or ".")
    if is_disk_full(error):
        return disk_full(place)
    found = (error.strerror or str(error)).lower()
    expected = "a file or folder that you may read and write there"
    return InputError(place, found=found, expected=expected, do="Check the path and its permissions.")
