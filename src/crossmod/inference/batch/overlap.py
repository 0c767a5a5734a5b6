"""Many patients: the next is read, and the last is written, while one is computed."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Given = TypeVar("Given")
Made = TypeVar("Made")
End = TypeVar("End")


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Given],
    work: Callable[[Item, Given], Made],
    write: Callable[[Item, Made], End],
    *,
    thread_begins: Callable[[], object] | None = None,
) -> Iterator[tuple[Item, End | Exception]]:
    """Read, compute and write item after item, each kind of work on a thread of its own; `work` runs on the caller's.

    One item is read ahead and one is being written: memory does not grow with the number of items.

    Args:
        items: patients, whatever says where they are.
        read: gives what goes in.
        work: makes what comes out.
        write: puts it away.
        thread_begins: called first on each of the two threads.

    Yields:
        Each item, in order, with what `write` gave for it, or with what went wrong in any of the three: the rest goes
        on. Reading has moved on by then.
    """
    with (
        ThreadPoolExecutor(1, initializer=thread_begins) as reader,
        ThreadPoolExecutor(1, initializer=thread_begins) as writer,
    ):
        ahead = ((item, reader.submit(read, item)) for item in items)
        coming = next(ahead, None)
        last: tuple[Item, Future[End]] | None = None
        while coming is not None:
            (item, given), made = coming, Future[Made]()
            given.exception()  # waits
            coming = next(ahead, None)
            _settle(made, lambda given=given, item=item: work(item, given.result()))
            if last is not None:
                yield last[0], _end(last[1])
            last = item, writer.submit(lambda made=made, item=item: write(item, made.result()))
            del given, made  # not kept while the next is computed
        if last is not None:
            yield last[0], _end(last[1])


def _settle(made: Future[Made], work: Callable[[], Made]) -> None:
    try:
        made.set_result(work())
    except Exception as error:  # one bad patient does not stop the rest; the caller is told
        made.set_exception(error)


def _end(future: Future[End]) -> End | Exception:
    error = future.exception()
    if error is None:
        return future.result()
    if not isinstance(error, Exception):
        raise error
    return error
