"""Stopping between two steps: Ctrl-C and a cluster's SIGTERM wait until the step is complete."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(Exception):  # noqa: N818 - to stop when asked is no error
    """Training was interrupted by the signal `number`, and has saved its state."""

    def __init__(self, number: int, step: int, total: int):
        self.number = number
        super().__init__(f"stopped at step {step} of {total}; rerun the command to resume")


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], int | None]]:
    """Give a function that returns the signal that asked to stop, or None, as always outside the main thread; a second
    Ctrl-C stops at once."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def note(number: int, frame: FrameType | None) -> None:
        # A cluster may send SIGTERM several times, and so may its launcher; only a second Ctrl-C is deliberate.
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield lambda: asked[0] if asked else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
