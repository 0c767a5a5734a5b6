"""Many patients through one model: finished cases are skipped, and failures are listed.

Notable: while one case is computed, the next is read and the last is written: at most three are in memory.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from crossmod.errors import InputError
from crossmod.files import PathName, lock, remove_partial
from crossmod.inference.api import Model, is_nifti, load_model
from crossmod.inference.batch.case import (
    WORKING,
    BatchJob,
    Work,
    attempt,
    make_case,
    put_case,
    read_case,
    translate_case,
)
from crossmod.inference.batch.table import SUMMARY, Case, Row, read_table, write_summary
from crossmod.progress import disable_progress, progress, progress_if_asked

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
    """Read, compute and write items in parallel: `read` and `write` have a thread each, `work` runs on the caller's.

    One item is read ahead and one is being written: memory does not grow with the number of items.

    Yields:
        Each item, in order, with the result of `write`, or the exception of any of the three; the others continue.
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
            del given, made  # frees memory while the next is computed
        if last is not None:
            yield last[0], _end(last[1])


def _settle(made: Future[Made], work: Callable[[], Made]) -> None:
    try:
        made.set_result(work())
    except Exception as error:  # one failing patient does not stop the others
        made.set_exception(error)


def _end(future: Future[End]) -> End | Exception:
    error = future.exception()
    if error is None:
        return future.result()
    if not isinstance(error, Exception):
        raise error
    return error


log = logging.getLogger(__name__)

# Runs a function, which can be pickled, on all cases elsewhere, such as on a cluster; yields their rows in any order.
Spread = Callable[[Callable[[Case], Row], Sequence[Case]], Iterable[Row]]


@progress_if_asked()
def translate_list(
    model: Model | Sequence[PathName], table: PathName, job: BatchJob, *, spread: Spread | None = None
) -> tuple[Row, ...]:
    """Translate all cases of a list; rerunning resumes.

    Beside each output are its card, `<output>.json`, and its trust report; `summary.csv` lists all cases and is updated
    after each.

    Args:
        model: loaded, or paths as in `load_model`; for `spread`, paths that all machines can read.
        table: the list.
        job: settings of all cases, and the output folder.
        spread: used in place of this process.

    Returns:
        One row per case, in the order of the list.

    Raises:
        InputError: an invalid list, another batch that writes to the same folder, or a full disk.
    """
    job = job.model_copy(update={"out": job.out.absolute()})
    model = model if isinstance(model, Model) else [Path(path).absolute() for path in model]
    loaded = model if isinstance(model, Model) else load_model(*model, device=job.device)
    cases = read_table(Path(table).absolute(), loaded.about.inputs, job.suffix)
    _check_outputs(Path(table), cases, job)
    if job.out.is_file():
        raise InputError(job.out, found="a file", expected="a folder", do="Choose another --out.")
    (job.out / WORKING).mkdir(parents=True, exist_ok=True)
    rows = {case.name: Row(case.name, "waiting", 0.0, case.output) for case in cases}
    with lock(job.out / WORKING / "lock"), progress("Translating", len(cases)) as advance:
        remove_partial(job.out)
        write_summary(job.out / SUMMARY, rows.values())
        for row in _rows(loaded, model, cases, job, spread):
            rows[row.case] = row
            write_summary(job.out / SUMMARY, rows.values())
            if row.status == "failed":
                log.warning("%s failed: %s", row.case, " ".join(row.sentences))
            advance(note=row.case)
    return tuple(rows.values())


def _check_outputs(table: Path, cases: Sequence[Case], job: BatchJob) -> None:
    asked = "--segmentation" if job.segmentation else "--keep-identity" if job.keep_identity else None
    nifti = next((case.output for case in cases if is_nifti(Path(case.output))), None)
    if asked is not None and nifti is not None:
        do = "Add a column `output` with names of folders, which become DICOM."
        raise InputError(table, found=f"{asked} and the output {nifti}", expected="DICOM for it", do=do)


def _rows(
    loaded: Model, model: Model | Sequence[Path], cases: Sequence[Case], job: BatchJob, spread: Spread | None
) -> Iterable[Row]:
    if spread is None:
        return _one_by_one(loaded, cases, job)
    return spread(partial(translate_case, model if isinstance(model, Model) else tuple(model), job=job), cases)


def _one_by_one(model: Model, cases: Sequence[Case], job: BatchJob) -> Iterator[Row]:
    ends = overlapped(
        cases,
        lambda case: attempt(read_case, model, Work(case), job),
        lambda _, work: attempt(make_case, model, work, job),
        lambda _, work: attempt(put_case, model, work, job),
        thread_begins=disable_progress,
    )
    for _, end in ends:
        if isinstance(end, Exception):
            # A bug: errors of a case are in its row.
            raise end
        assert isinstance(end, Row)
        yield end
