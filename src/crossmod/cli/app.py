"""The application that all commands hang on, and what happens when one fails."""

import logging
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

from crossmod.config import invalid
from crossmod.engine.interrupt import TrainingInterrupted
from crossmod.errors import InputError
from crossmod.files import disk_full, is_disk_full
from crossmod.progress import progress_disabled
from crossmod.version import __version__

app = App(
    name="crossmod",
    version=__version__,
    # No --no-... and --empty-... beside every option: the help stays short.
    default_parameter=Parameter(negative=(), consume_multiple=True),
    help="""Unpaired cross-modality image synthesis between CT and MR, with proof of what it is worth.

    The way of the data: `prepare` makes a store of cases; `train` learns to turn one modality into the other;
    `synthesize` turns labelled slices into labelled synthetic slices; `segment` trains a segmenter on real and
    synthetic slices and tests it on held-out patients; `report` shows it all on one page. `demo` does everything on
    made-up patients in a few minutes.""",
)
prepare = App(name="prepare", sort_key=1, help="Make a store of cases out of image files.")
app.command(prepare)


def say(text: str) -> None:
    """Tell the user what was made and what comes next, on standard output."""
    if not progress_disabled():
        print(text, flush=True)


def main(words: Sequence[str] | None = None) -> None:
    """Run a command; a mistake of the user's gives one clear sentence and exit code 2.

    Args:
        words: what was typed after `crossmod`; taken from the command line by default.
    """
    _escape_what_stdout_cannot_show()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app(
            sys.argv[1:] if words is None else list(words),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        sentence = invalid(error.__cause__, "") if isinstance(error.__cause__, ValidationError) else error
        print(f"crossmod: {sentence}", file=sys.stderr)
        sys.exit(2)
    except InputError as error:
        _complain(str(error))
        sys.exit(2)
    except OSError as error:
        _complain(str(_about_place(error)))
        sys.exit(2)
    except TrainingInterrupted as stopped:
        _complain(f"{stopped}.")
        sys.exit(128 + stopped.number)
    except KeyboardInterrupt:
        print("crossmod: stopped; nothing half-made is left.", file=sys.stderr)
        sys.exit(130)


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
