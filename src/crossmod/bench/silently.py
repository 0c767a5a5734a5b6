"""Work that shows no progress of its own."""

from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

from crossmod.progress import hush

Given = TypeVar("Given")


def silently(work: Callable[[], Given]) -> Given:
    """What `work` gives; whatever progress it would show is not shown, since the bench shows its own."""

    def hushed() -> Given:
        hush()
        return work()

    # In a copy of the context, so that nothing else is hushed.
    return copy_context().run(hushed)
