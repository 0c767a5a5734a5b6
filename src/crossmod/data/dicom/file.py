"""Opening a DICOM file: what is cut or damaged is named, whatever part of the parser stumbles over it."""

import copy
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pydicom
import pydicom.config
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from crossmod.errors import InputError


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do.

    Raises:
        InputError: it cannot be opened.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError as error:
        found = f"a file that cannot be opened ({error.strerror})"
        raise InputError(path, found=found, wanted="a file that you may read", do="Check its permissions.") from None


class _Quiet:
    """What pydicom and Python hold for the whole process: the first thread that comes sets it, the last one to go
    puts it back. Each for itself, one thread would end the quiet of another in the middle of its file."""

    def __init__(self) -> None:
        self.lock, self.inside, self.held = threading.Lock(), 0, ExitStack()

    def begin(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.held.enter_context(warnings.catch_warnings())
                self.held.enter_context(pydicom.config.disable_value_validation())
                warnings.simplefilter("ignore")
            self.inside += 1

    def end(self) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.held.close()


_QUIET = _Quiet()


@contextmanager
def quiet() -> Iterator[None]:
    """Without pydicom's warnings about values; on several threads at once, too."""
    # Scanners write many values that the standard forbids; none of those that are used here goes unchecked.
    _QUIET.begin()
    try:
        yield
    finally:
        _QUIET.end()


def read_dataset(path: Path, *, pixels: bool) -> Dataset:
    """Read a DICOM file.

    Args:
        path: the file.
        pixels: whether to go on to the pixels.

    Raises:
        InputError: it is cut or damaged.
    """
    try:
        with path.open("rb") as stream, quiet():
            dataset = pydicom.dcmread(stream, stop_before_pixels=not pixels)
            # Reading stops at the pixels; without any it comes to the end.
            at_end = not stream.read(1)
            # Values are decoded when they are first asked for: ask now, where a failure can be named.
            dataset.walk(lambda *_: None)
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's own words say it better
        # A cut file can fail in any part of the parser.
        do = "Copy this file anew; it is cut or damaged."
        raise InputError(path, found="a DICOM file that cannot be read", wanted="a whole file", do=do) from None
    deflated = dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    if not pixels and "Rows" in dataset and at_end and not deflated:
        raise cut(path)
    return dataset


def copied(dataset: Dataset) -> Dataset:
    """Another dataset with the same values.

    `Dataset(dataset)` would share the elements, and to set a value changes the element.
    """
    other = Dataset()
    for element in dataset:
        other.add(copy.copy(element))
    return other


def cut(path: Path) -> InputError:
    """The error for a file that ends before its pixels."""
    do = "Copy this file anew; it is cut."
    return InputError(path, found="a file that ends before its pixels", wanted="a whole slice", do=do)
