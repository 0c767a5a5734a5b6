"""Many patients through one model: what is done is skipped, what fails is told, and the rest goes on.

Notable:
- While one case is computed the next is read and the last is judged and written: three are in memory at most.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from crossmod.errors import InputError
from crossmod.files import PathName, held, remove_partial
from crossmod.inference.api import Model, is_nifti, load_model
from crossmod.inference.batch.case import WORKING, Job, make_case, put_case, read_case, translate_case
from crossmod.inference.batch.overlap import overlapped
from crossmod.inference.batch.table import SUMMARY, Case, Row, read_table, write_summary
from crossmod.progress import hush, progress

log = logging.getLogger(__name__)

# Does cases elsewhere, such as on a cluster, and gives their rows as they come, in any order. What it is given to do a
# case with can be pickled.
Spread = Callable[[Callable[[Case], Row], Sequence[Case]], Iterable[Row]]


def translate_list(
    model: Model | Sequence[PathName], table: PathName, job: Job, *, spread: Spread | None = None
) -> tuple[Row, ...]:
    """Translate all cases of a list; given again after an interruption, it goes on.

    Beside each output lie its card, `<output>.json`, and its trust report; `summary.csv` tells of all cases and is
    written anew after each.

    Args:
        model: loaded, or paths as of `load_model`; for `spread`, paths, which all machines see.
        table: the list.
        job: how, and where to.
        spread: in place of this process.

    Returns:
        A row a case, in the order of the list.

    Raises:
        InputError: a list that cannot be used, another batch that writes to the same folder, or a disk that is full.
    """
    job = job.model_copy(update={"out": job.out.absolute()})
    model = model if isinstance(model, Model) else [Path(path).absolute() for path in model]
    loaded = model if isinstance(model, Model) else load_model(*model, device=job.device)
    cases = read_table(Path(table).absolute(), loaded.about.inputs, job.suffix)
    _check_outputs(Path(table), cases, job)
    if job.out.is_file():
        raise InputError(job.out, found="a file", wanted="a folder", do="Choose another --out.")
    (job.out / WORKING).mkdir(parents=True, exist_ok=True)
    rows = {case.name: Row(case.name, "waiting", 0.0, case.output) for case in cases}
    with held(job.out / WORKING / "lock"), progress("Translating", len(cases)) as advance:
        remove_partial(job.out)
        write_summary(job.out / SUMMARY, rows.values())
        for row in _rows(loaded, model, cases, job, spread):
            rows[row.case] = row
            write_summary(job.out / SUMMARY, rows.values())
            if row.status == "failed":
                log.warning("%s failed: %s", row.case, " ".join(row.sentences))
            advance(note=row.case)
    return tuple(rows.values())


def _check_outputs(table: Path, cases: Sequence[Case], job: Job) -> None:
    asked = "--segmentation" if job.segmentation else "--keep-identity" if job.keep_identity else None
    nifti = next((case.output for case in cases if is_nifti(Path(case.output))), None)
    if asked is not None and nifti is not None:
        do = "Add a column `output` with names of folders, which become DICOM."
        raise InputError(table, found=f"{asked} and the output {nifti}", wanted="DICOM for it", do=do)


def _rows(
    loaded: Model, model: Model | Sequence[Path], cases: Sequence[Case], job: Job, spread: Spread | None
) -> Iterable[Row]:
    if spread is None:
        return _one_by_one(loaded, cases, job)
    given = model if isinstance(model, Model) else tuple(model)
    return spread(partial(translate_case, given, job=job), cases)


def _one_by_one(model: Model, cases: Sequence[Case], job: Job) -> Iterator[Row]:
    ends = overlapped(
        cases,
        lambda case: read_case(model, case, job),
        lambda case, ready: make_case(model, ready, job),
        lambda case, made: put_case(model, made, job),
        thread_begins=hush,
    )
    for _, end in ends:
        if isinstance(end, Exception):
            # What is wrong with a case is told in its row: this is wrong with the program.
            raise end
        yield end
