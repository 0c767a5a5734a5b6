"""Many patients: the next is read, and the last is written, while one is computed."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Given = TypeVar("Given")
Made = TypeVar("Made")


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Given],
    work: Callable[[Item, Given], Made],
    write: Callable[[Item, Made], object],
) -> Iterator[tuple[Item, Exception | None]]:
    """Read, compute and write item after item, each kind of work on a thread of its own; `work` runs on the caller's.

    One item is read ahead and one is being written: memory does not grow with the number of items.

    Args:
        items: patients, whatever says where they are.
        read: gives what goes in.
        work: makes what comes out.
        write: puts it away.

    Yields:
        Each item when it is written, in order, and what went wrong with it, if anything did: the rest goes on.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        ahead = ((item, reader.submit(read, item)) for item in items)
        coming = next(ahead, None)
        last: tuple[Item, Future[object]] | None = None
        while coming is not None:
            (item, given), made = coming, Future[Made]()
            given.exception()  # waits
            coming = next(ahead, None)
            _settle(made, lambda given=given, item=item: work(item, given.result()))
            if last is not None:
                yield last[0], _error(last[1])
            last = item, writer.submit(lambda made=made, item=item: write(item, made.result()))
            del given, made  # not kept while the next is computed
        if last is not None:
            yield last[0], _error(last[1])


def _settle(made: Future[Made], work: Callable[[], Made]) -> None:
    try:
        made.set_result(work())
    except Exception as error:  # one bad patient does not stop the rest; the caller is told
        made.set_exception(error)


def _error(future: Future[object]) -> Exception | None:
    error = future.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error
