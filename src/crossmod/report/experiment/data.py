"""An experiment's folder as plain data: what was asked, what came out, and every run's card, read once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from crossmod.config import read_yaml
from crossmod.data.store import MANIFEST, Store
from crossmod.errors import InputError
from crossmod.files import read_json
from crossmod.report.collect import DESIGN, FAMILY, FINDINGS, PLAN, Arm
from crossmod.runs import Run

Finding = Mapping[str, Any]


@dataclass(frozen=True)
class ReadRun(Run):
    """A finished run whose card has been read: hundreds are not to be read again by each section."""

    content: dict[str, Any]

    @property
    def finished(self) -> bool:
        """It is."""
        return True

    @property
    def card(self) -> dict[str, Any]:
        """What the run made."""
        return self.content

    @property
    def answered(self) -> bool:
        """Whether its predictions are still there: who is short of room may take them away."""
        return (self.path / "predictions" / MANIFEST).is_file()


@dataclass(frozen=True)
class Experiment:
    """What an experiment left in its folder.

    Args:
        root: the folder.
        findings: its statistics.
        design: what was asked.
        plan: what was to be done.
        translators: finished trainings of translators, by run.
        segmenters: the runs that the findings rest on, by run.
    """

    root: Path
    findings: dict[str, Any]
    design: dict[str, Any]
    plan: dict[str, Any]
    translators: dict[str, ReadRun]
    segmenters: dict[str, ReadRun]

    @cached_property
    def arms(self) -> list[Finding]:
        """The arms as the findings have them, each behind its baseline."""
        found = self.findings["arms"]
        bases = [arm for arm in found if arm["baseline"] is None]
        grouped = [arm for base in bases for arm in (base, *(one for one in found if one["baseline"] == base["name"]))]
        return grouped + [arm for arm in found if arm not in grouped]

    @property
    def compared(self) -> list[Finding]:
        """The arms that were compared with a baseline."""
        return [arm for arm in self.arms if arm["effects"]["dice"] is not None]

    @property
    def best(self) -> Finding | None:
        """The arm with the largest mean difference to its baseline."""
        known = [arm for arm in self.compared if arm["effects"]["dice"]["mean"] is not None]
        return max(known, key=lambda arm: arm["effects"]["dice"]["mean"], default=None)

    def arm(self, name: str) -> Finding | None:
        """An arm by its name; None where it has no results."""
        return next((arm for arm in self.arms if arm["name"] == name), None)

    def runs(self, arm: Finding) -> dict[tuple[int, int], ReadRun]:
        """The runs of an arm by seed and fold, in that order."""
        named = {(one["seed"], one["fold"]): one["run"] for one in arm["runs"]}
        return {key: self.segmenters[named[key]] for key in sorted(named)}

    def cards(self, arm: Finding) -> list[dict[str, Any]]:
        """Their cards."""
        return [run.card for run in self.runs(arm).values()]

    def drawn(self, arm: Finding) -> Arm:
        """An arm as the figures of the other report take it."""
        runs = self.runs(arm)
        cards = tuple(run.card for run in runs.values())
        return Arm(arm["name"], tuple(runs.values()), cards, {}, cards[0]["settings"]["count"])

    def family(self, arm: Finding) -> str | None:
        """The family of translators that made its synthetic slices; None of a baseline."""
        return self.cards(arm)[0]["data"]["synthetic_family"]

    @cached_property
    def stores(self) -> dict[str, Store]:
        """The synthetic stores, by folder: manifests alone are read."""
        folders = {job["name"]: self.root / "runs" / job["name"] for job in self.plan["jobs"]}
        return {name: Store(path) for name, path in folders.items() if (path / MANIFEST).is_file()}

    @cached_property
    def made(self) -> dict[str, dict[str, ReadRun]]:
        """By translator's name in the design: its synthetic stores, and the training that each was made with."""
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
        """Of each translator, the store of its first seed and fold: what pictures are drawn from."""
        return {name: self.stores[next(iter(folders))] for name, folders in self.made.items()}


def family_name(family: str | None) -> str:
    """A family of translators as people write it."""
    return FAMILY.get(family or "", family or "")


def read_experiment(root: Path) -> Experiment:
    """Read an experiment's folder.

    Raises:
        InputError: a file is missing, or is not what `crossmod experiment` writes.
    """
    findings, plan = read_json(root / FINDINGS), read_json(root / PLAN)
    for name, content, keys in ((FINDINGS, findings, ("arms", "curves", "seeds")), (PLAN, plan, ("jobs", "arms"))):
        if not isinstance(content, dict) or not all(key in content for key in keys):
            expected, do = "what `crossmod experiment` writes", "Give its command again."
            raise InputError(root / name, found="something else", expected=expected, do=do)
    trained = [job["name"] for job in plan["jobs"] if job["kind"] == "train"]
    tested = dict.fromkeys(one["run"] for arm in findings["arms"] for one in arm["runs"])
    return Experiment(
        root,
        findings,
        read_yaml(root / DESIGN),
        plan,
        {name: _read(root, name) for name in trained if Run(root / "runs" / name).finished},
        {name: _read(root, name) for name in tested},
    )


def _read(root: Path, name: str) -> ReadRun:
    path = root / "runs" / name
    return ReadRun(path, Run(path).card)
