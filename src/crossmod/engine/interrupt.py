"""Stopping between two steps: Ctrl-C and a cluster's SIGTERM wait until the step is whole."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(Exception):  # noqa: N818 - to stop when asked is no error
    """Training was asked to stop, and has saved where it stood.

    Args:
        number: the signal that asked.
        step: steps taken.
        total: steps planned.
    """

    def __init__(self, number: int, step: int, total: int):
        self.number = number
        super().__init__(f"stopped at step {step} of {total}; the same command continues there")


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], int | None]]:
    """Give a function that says which signal asked to stop, or None; a second Ctrl-C stops at once.

    Outside the main thread signals cannot be caught, and nobody is ever asked.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def note(number: int, frame: FrameType | None) -> None:
        # A cluster may ask several times, and its launcher once more for all that it started: only people insist.
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield lambda: asked[0] if asked else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
