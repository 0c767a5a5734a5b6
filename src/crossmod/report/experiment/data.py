"""An experiment's folder: its design, its findings, and every run's card, read once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from crossmod.config import read_yaml
from crossmod.data.store import MANIFEST, Store
from crossmod.errors import InputError
from crossmod.files import read_json
from crossmod.report.collect import DESIGN, FINDINGS, PLAN, Arm, Card
from crossmod.runs import Run

# Parts of findings.json as `crossmod.experiment` writes them, also of earlier versions; this room may not import it.
Finding = Mapping[str, Any]


@dataclass(frozen=True)
class ReadRun(Run):
    """A finished run whose card is read once: an experiment has hundreds."""

    @property
    def card(self) -> dict[str, Any]:
        """What the run made."""
        return self._card

    @cached_property
    def _card(self) -> dict[str, Any]:
        return super().card

    @property
    def answered(self) -> bool:
        """Whether its predictions still exist: a user may delete them to free disk space."""
        return (self.path / "predictions" / MANIFEST).is_file()


@dataclass(frozen=True)
class Experiment:
    """What an experiment wrote in its folder.

    Args:
        root: the folder.
        findings: its statistics.
        design: the question.
        plan: the jobs.
        translators: finished trainings of translators, by run.
        segmenters: the runs behind the findings, by run.
    """

    root: Path
    findings: Finding
    design: Mapping[str, Any]
    plan: Finding
    translators: dict[str, ReadRun]
    segmenters: dict[str, ReadRun]

    @cached_property
    def arms(self) -> list[Finding]:
        """The arms of the findings, each after its baseline."""
        found = self.findings["arms"]
        bases = [arm for arm in found if arm["baseline"] is None]
        grouped = [arm for base in bases for arm in (base, *(arm for arm in found if arm["baseline"] == base["name"]))]
        return grouped + [arm for arm in found if arm not in grouped]

    @property
    def compared(self) -> list[Finding]:
        """The arms that were compared with a baseline."""
        return [arm for arm in self.arms if arm["effects"]["dice"] is not None]

    @property
    def best(self) -> Finding | None:
        """The arm with the largest mean difference to its baseline."""
        return best_of(self.compared)

    def arm(self, name: str) -> Finding | None:
        """An arm by its name; None if it has no results."""
        return next((arm for arm in self.arms if arm["name"] == name), None)

    def runs(self, arm: Finding) -> dict[tuple[int, int], ReadRun]:
        """The runs of an arm by seed and fold, in that order."""
        named = {(run["seed"], run["fold"]): run["run"] for run in arm["runs"]}
        return {key: self.segmenters[named[key]] for key in sorted(named)}

    def cards(self, arm: Finding) -> list[Card]:
        """The cards of an arm's runs."""
        return [run.card for run in self.runs(arm).values()]

    def drawn(self, arm: Finding) -> Arm:
        """An arm as the report of single runs has it."""
        runs = self.runs(arm)
        cards = tuple(run.card for run in runs.values())
        return Arm(arm["name"], tuple(runs.values()), cards, {}, cards[0]["settings"]["count"])

    def family(self, arm: Finding) -> str | None:
        """The family of translators that made its synthetic slices; None of a baseline."""
        return self.cards(arm)[0]["data"]["synthetic_family"]

    @cached_property
    def stores(self) -> dict[str, Store]:
        """The synthetic stores, by folder; only manifests are read."""
        folders = {job["name"]: self.root / "runs" / job["name"] for job in self.plan["jobs"]}
        return {name: Store(path) for name, path in folders.items() if (path / MANIFEST).is_file()}

    @cached_property
    def made(self) -> dict[str, dict[str, ReadRun]]:
        """By translator: its synthetic stores, and the training that made each."""
        models = {job["name"]: job["needs"].get("model") for job in self.plan["jobs"] if job["kind"] == "synthesize"}
        found: dict[str, dict[str, ReadRun]] = {}
        for arm in self.arms:
            for run in self.runs(arm).values() if arm["translator"] else ():
                folder = Path(run.card["data"]["synthetic"] or "").name
                model = self.translators.get(models.get(folder) or "")
                if folder in self.stores and model is not None:
                    found.setdefault(arm["translator"], {}).setdefault(folder, model)
        return found

    @property
    def shown_stores(self) -> dict[str, Store]:
        """Of each translator, the store of its first seed and fold, for pictures."""
        return {name: self.stores[next(iter(folders))] for name, folders in self.made.items()}


def best_of(arms: Iterable[Finding]) -> Finding | None:
    """The arm with the largest change of 3D Dice; None if none has one."""
    known = [arm for arm in arms if arm["effects"]["dice"] and arm["effects"]["dice"]["mean"] is not None]
    return max(known, key=lambda arm: arm["effects"]["dice"]["mean"], default=None)


def read_experiment(root: Path) -> Experiment:
    """Read an experiment's folder.

    Raises:
        InputError: a file is missing, or is not what `crossmod experiment` writes.
    """
    findings, plan = read_json(root / FINDINGS), read_json(root / PLAN)
    for name, content, keys in ((FINDINGS, findings, ("arms", "curves", "seeds")), (PLAN, plan, ("jobs", "arms"))):
        if not isinstance(content, dict) or not all(key in content for key in keys):
            expected, do = "what `crossmod experiment` writes", "Rerun its command."
            raise InputError(root / name, found="something else", expected=expected, do=do)
    trained = [job["name"] for job in plan["jobs"] if job["kind"] == "train"]
    tested = dict.fromkeys(run["run"] for arm in findings["arms"] for run in arm["runs"])
    of_translators, of_segmenters = (
        {name: ReadRun(root / "runs" / name) for name in names} for names in (trained, tested)
    )
    finished = {name: run for name, run in of_translators.items() if run.finished}
    # Reading now finds a damaged card before anything is drawn.
    for run in (*finished.values(), *of_segmenters.values()):
        _ = run.card
    return Experiment(root, findings, read_yaml(root / DESIGN), plan, finished, of_segmenters)
