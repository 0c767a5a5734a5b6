"""What a report is made of: paths sorted into runs and synthetic stores."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossmod.data.store import MANIFEST, Store
from crossmod.errors import InputError
from crossmod.runs import Run, is_run, open_run

log = logging.getLogger(__name__)

# What `crossmod experiment` leaves in its folder: what was asked, what is to be done and, in the end, what came out.
DESIGN, PLAN, FINDINGS = "design.yaml", "plan.json", "findings.json"


@dataclass(frozen=True)
class Contents:
    """What a report is made of.

    Args:
        translators: training runs.
        segmenters: segmentation runs.
        judgements: results of `evaluate images`.
        stores: synthetic stores.
        sources: by the checksum of a real case, the store that holds it and its name there.
    """

    translators: tuple[Run, ...]
    segmenters: tuple[Run, ...]
    judgements: tuple[Run, ...]
    stores: tuple[Store, ...]
    sources: dict[str, tuple[Store, str]]


def is_experiment(path: Path) -> bool:
    """Whether a folder is that of an experiment."""
    return (path / FINDINGS).is_file() or ((path / PLAN).is_file() and (path / DESIGN).is_file())


def experiment_among(paths: Sequence[Path]) -> Path | None:
    """The experiment, where it is one that is to be reported; None for runs, results and stores.

    Raises:
        InputError: an experiment beside other paths, or one without results yet.
    """
    found = next((path for path in paths if is_experiment(path)), None)
    if found is None:
        return None
    others = [path for path in paths if path.resolve() != found.resolve()]
    if others:
        do = f"Report the experiment by itself, or name folders below {found / 'runs'}."
        raise InputError(found, found=f"an experiment, beside {others[0]}", wanted="an experiment alone", do=do)
    if not (found / FINDINGS).is_file():
        do = "Give its `crossmod experiment` command again: it continues, and ends with the results."
        raise InputError(found, found=f"an experiment without {FINDINGS}", wanted="one that has results", do=do)
    return found


def collect(paths: Sequence[Path], sources: Sequence[Path] = ()) -> Contents:
    """Sort paths into runs and stores, and follow segmentation runs to the synthetic stores that they used."""
    runs: list[Run] = []
    stores: dict[Path, Store] = {}
    for path in paths:
        if is_run(path):
            run = open_run(path)
            used = run.card["data"].get("synthetic") if run.card["kind"] == "segment" else None
            runs.append(run)
            if used and not (path / used / MANIFEST).is_file():
                log.warning("%s: its synthetic store is not at %s any more; name it too.", path, path / used)
                continue
            path = (path / used).resolve() if used else path
        if (path / MANIFEST).is_file():
            store = Store(path)
            if not all(case.synthetic for case in store.cases):
                wanted = "runs, and stores that `synthesize` made"
                raise InputError(path, found="a store of real cases", wanted=wanted, do="Leave it out.")
            stores[path.resolve()] = store
        elif not is_run(path):
            found = "no such folder" if not path.exists() else "neither a run nor a store"
            raise InputError(path, found=found, wanted="a run or a synthetic store", do="Check the path.")
    if not runs and not stores:
        raise InputError("report", found="nothing", wanted="at least one run", do="Name run folders.")
    return Contents(
        translators=tuple(run for run in runs if run.card["kind"] == "train"),
        segmenters=tuple(run for run in runs if run.card["kind"] == "segment"),
        judgements=tuple(run for run in runs if run.card["kind"] == "evaluate"),
        stores=tuple(stores.values()),
        sources=sources_of(runs, sources),
    )


def sources_of(runs: Sequence[Run], named: Sequence[Path]) -> dict[str, tuple[Store, str]]:
    """Where real cases lie, by checksum: in the stores that were named, and in those that training runs read."""
    used = [
        run.path / side["store"] for run in runs if run.card["kind"] == "train" for side in run.card["data"].values()
    ]
    there = [*named, *(path for path in used if (path / MANIFEST).is_file())]
    opened = [Store(path) for path in {path.resolve(): path for path in there}.values()]
    return {case.sha256: (store, case.id) for store in opened for case in store.cases}
