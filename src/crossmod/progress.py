"""Progress with the remaining time: a bar on a terminal, occasional lines in a log."""

import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")

# Minimum seconds between lines in a log.
SECONDS_BETWEEN_LINES = 20.0

Advance = Callable[..., None]

_hushed: ContextVar[bool] = ContextVar("hushed", default=False)
_asked: ContextVar[bool] = ContextVar("asked", default=False)


def disable_progress() -> None:
    """Show no progress in this process, because another one of a group shows it."""
    _hushed.set(True)


def progress_disabled() -> bool:
    """Whether this process shows no progress."""
    return _hushed.get()


def show_progress(on: bool = True) -> None:
    """Whether the commands of `crossmod`, called from Python, show progress and print what they made.

    They are quiet otherwise. The command line always shows both.

    Args:
        on: from now on, in this context (`contextvars`).
    """
    _asked.set(on)


@contextmanager
def _within(variable: ContextVar[bool], value: bool) -> Generator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def progress_shown() -> AbstractContextManager[None]:
    """The same as `show_progress`, within the block."""
    return _within(_asked, True)


@contextmanager
def progress_if_asked() -> Generator[None]:
    """Within the block, or in the function that it decorates, nothing is shown unless `show_progress` asked for it."""
    with _within(_hushed, _hushed.get() or not _asked.get()):
        yield


def say(text: str) -> None:
    """Print what was made and what comes next, on standard output."""
    if not progress_disabled():
        print(text, flush=True)


def track(items: Iterable[Item], title: str) -> Iterator[Item]:
    """Yield `items`, showing how many are done and how long the rest will take."""
    with progress(title, len(items) if isinstance(items, Sized) else 0) as advance:
        for item in items:
            yield item
            advance()


def _unseen(steps: int = 1, note: str = "") -> None:
    pass


@contextmanager
def progress(title: str, total: int, *, done: int = 0) -> Generator[Advance]:
    """Show progress on standard error; the block gets `advance(steps=1, note="")`. Steps `done` before (a resumed run)
    do not count for the speed."""
    if progress_disabled():
        yield _unseen
        return
    shown = _bar(title, total, done) if sys.stderr.isatty() else _lines(title, total, done)
    with shown as advance:
        yield advance


@contextmanager
def _bar(title: str, total: int, done: int) -> Generator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, completed=done, note="")

        def advance(steps: int = 1, note: str = "") -> None:
            bar.update(task, advance=steps)
            if note:
                bar.update(task, note=note)

        yield advance


@contextmanager
def _lines(title: str, total: int, done: int) -> Generator[Advance]:
    start = last = time.monotonic()
    count = done

    def advance(steps: int = 1, note: str = "") -> None:
        nonlocal count, last
        count += steps
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and count < total:
            last = now
            left = (now - start) / max(count - done, 1) * (total - count)
            text = f"{title}: {count}/{total}, {clock(left)} left{'  ' + note if note else ''}"
            print(text, file=sys.stderr, flush=True)

    yield advance
    print(f"{title}: {count}/{total}, took {clock(time.monotonic() - start)}", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Seconds as `m:ss`, or `h:mm:ss` from an hour on."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
