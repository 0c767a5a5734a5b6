"""What is silenced while DICOM is read, by one thread and by several."""

import threading
import warnings

import pydicom.config
import pytest
from pydicom.dataset import Dataset

from crossmod.data.dicom.header import quiet


def set_wrong() -> None:
    Dataset().SOPInstanceUID = "not a UID"


def test_a_wrong_value_is_let_through_inside_alone() -> None:
    before = pydicom.config.settings.writing_validation_mode, list(warnings.filters)
    with quiet():
        set_wrong()
        with quiet():
            set_wrong()
        set_wrong()
    assert (pydicom.config.settings.writing_validation_mode, list(warnings.filters)) == before
    with pytest.raises((UserWarning, ValueError)):
        set_wrong()


def test_one_thread_does_not_end_the_quiet_of_another() -> None:
    """The other comes first and goes first, while this one is still at it."""
    before = pydicom.config.settings.writing_validation_mode, list(warnings.filters)
    come, go = threading.Event(), threading.Event()

    def other() -> None:
        with quiet():
            come.set()
            go.wait(20)

    thread = threading.Thread(target=other)
    thread.start()
    assert come.wait(20)
    with quiet():
        go.set()
        thread.join(20)
        assert not thread.is_alive()
        set_wrong()
    assert (pydicom.config.settings.writing_validation_mode, list(warnings.filters)) == before


def test_what_fails_inside_leaves_nothing_behind() -> None:
    before = pydicom.config.settings.writing_validation_mode
    with pytest.raises(KeyError), quiet():
        raise KeyError
    assert pydicom.config.settings.writing_validation_mode == before
