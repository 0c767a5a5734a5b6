"""The data of an experiment's report, read once, and what its readers are warned of."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from crossmod.config import read_yaml
from crossmod.data.store import MANIFEST, Store
from crossmod.engine.logger import alarms
from crossmod.errors import InputError
from crossmod.files import read_json
from crossmod.html.format import Table, count, listed
from crossmod.presets import TRANSLATE
from crossmod.report.collect import DESIGN, FINDINGS, PLAN, Arm, Card
from crossmod.report.experiment.schema import ArmFinding, Comparison, Findings, PlanFile
from crossmod.report.sections import LEAKS, constant, shifted_stores, unequal_steps
from crossmod.runs import Run
from crossmod.statistics.verdicts import MAIN, METRICS
from crossmod.synthesis.synthesize import StoreShift, shift_of


@dataclass(frozen=True)
class ReadRun(Run):
    """A finished run whose card is read once: an experiment has hundreds."""

    @cached_property
    def card(self) -> Card:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What the run made."""
        return super().card

    @property
    def has_predictions(self) -> bool:
        """Whether its predictions still exist: a user may delete them to free disk space."""
        return (self.path / "predictions" / MANIFEST).is_file()


@dataclass(frozen=True)
class Experiment:
    """What an experiment wrote in its folder."""

    root: Path
    findings: Findings
    design: Mapping[str, object]
    plan: PlanFile  # the jobs
    translators: dict[str, ReadRun]  # finished trainings of translators, by run
    segmenters: dict[str, ReadRun]  # the runs behind the findings, by run

    @cached_property
    def arms(self) -> list[ArmFinding]:
        """The arms of the findings, each after its baseline."""
        found = self.findings["arms"]
        bases = [arm for arm in found if arm["baseline"] is None]
        grouped = [arm for base in bases for arm in (base, *(arm for arm in found if arm["baseline"] == base["name"]))]
        return grouped + [arm for arm in found if arm not in grouped]

    @property
    def several_organs(self) -> bool:
        """Whether scores are means over several organs."""
        return any(arm.get("organs") for arm in self.arms)

    @property
    def compared(self) -> list[ArmFinding]:
        """The arms that were compared with a baseline."""
        return [arm for arm in self.arms if arm["effects"][MAIN] is not None]

    @property
    def best(self) -> ArmFinding | None:
        """The arm with the largest mean difference to its baseline."""
        return best_of(self.compared)

    def arm(self, name: str) -> ArmFinding | None:
        """An arm by its name; None if it has no results."""
        return next((arm for arm in self.arms if arm["name"] == name), None)

    def baseline(self, arm: ArmFinding | None) -> ArmFinding | None:
        """The baseline of an arm; None if it has none, or no results."""
        return self.arm(arm["baseline"]) if arm and arm["baseline"] else None

    def runs(self, arm: ArmFinding) -> dict[tuple[int, int], ReadRun]:
        """The runs of an arm by seed and fold, in that order."""
        named = {(run["seed"], run["fold"]): run["run"] for run in arm["runs"]}
        return {key: self.segmenters[named[key]] for key in sorted(named)}

    def cards(self, arm: ArmFinding) -> list[Card]:
        """The cards of an arm's runs."""
        return [run.card for run in self.runs(arm).values()]

    def as_arm(self, arm: ArmFinding) -> Arm:
        """An arm as the report of single runs has it."""
        runs = tuple(self.runs(arm).values())
        return Arm(arm["name"], runs, {}, runs[0].card["settings"]["count"])

    def family(self, arm: ArmFinding) -> str | None:
        """The family of translators that made its synthetic slices; None of a baseline."""
        return self.cards(arm)[0]["data"]["synthetic_family"]

    @cached_property
    def stores(self) -> dict[str, Store]:
        """The synthetic stores, by folder; only manifests are read."""
        folders = {job["name"]: self.root / "runs" / job["name"] for job in self.plan["jobs"]}
        return {name: Store(path) for name, path in folders.items() if (path / MANIFEST).is_file()}

    @cached_property
    def synthesized(self) -> dict[str, dict[str, ReadRun]]:
        """By translator: its synthetic stores, and the training that made each."""
        models = {job["name"]: job["needs"].get("model") for job in self.plan["jobs"] if job["kind"] == "synthesize"}
        found: dict[str, dict[str, ReadRun]] = {}
        for arm in self.arms:
            for run in self.runs(arm).values():
                folder = Path(run.card["data"]["synthetic"] or "").name
                model = self.translators.get(models.get(folder) or "")
                if arm["translator"] and folder in self.stores and model is not None:
                    found.setdefault(arm["translator"], {}).setdefault(folder, model)
        return found

    @property
    def shown_stores(self) -> dict[str, Store]:
        """Of each translator, the store of its first seed and fold, for pictures."""
        return {name: self.stores[next(iter(folders))] for name, folders in self.synthesized.items()}


def effect_of(arm: ArmFinding) -> Comparison:
    """The change of 3D Dice of an arm that was compared."""
    effect = arm["effects"][MAIN]
    assert effect is not None
    return effect


def means_of_seeds(arm: ArmFinding) -> list[float]:
    """The mean 3D Dice of each seed."""
    score = arm["scores"][MAIN]
    return [mean for mean in (score["seeds"] if score else ()) if mean is not None]


def change_of(arm: ArmFinding) -> float | None:
    """The mean change of 3D Dice; None if it is unknown."""
    effect = arm["effects"][MAIN]
    return None if effect is None else effect["mean"]


def best_of(arms: Iterable[ArmFinding]) -> ArmFinding | None:
    """The arm with the largest change of 3D Dice; None if none has one."""
    known = {arm["name"]: (change, arm) for arm in arms if (change := change_of(arm)) is not None}
    return max(known.values(), key=lambda pair: pair[0], default=(0.0, None))[1]


def read_experiment(root: Path) -> Experiment:
    """Read an experiment's folder."""
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


# The family of the control that changes nothing.
UNCHANGED = "source"
PARTIAL = ("hd95", "assd", "mssd", "ravd")
# Student's t with four degrees of freedom is 2.8, with three 3.2, with one 12.7.
FEW_FOLDS = 5


def warnings(experiment: Experiment) -> list[str]:
    """All warnings, those that concern every number first."""
    return [
        *_of_the_design(experiment),
        *_of_what_is_missing(experiment),
        *_of_the_runs(experiment),
        *_of_the_slices(experiment),
    ]


def failures(experiment: Experiment) -> dict[str, Table]:
    """Runs that failed, and runs that were blocked by these."""
    found = experiment.findings.get("failed", [])
    names = {row["run"] for row in found}
    needs = {job["name"]: set(job["needs"].values()) for job in experiment.plan["jobs"]}
    rows = [(row["run"], [row["run"], f"{row['kind']}: {row['title']}", str(row["why"])]) for row in found]
    head = ("Run", "What", "Why")
    is_blocked = {run: bool(needs.get(run, set()) & names) for run, _ in rows}
    return {
        kind: Table(head, [row for run, row in rows if is_blocked[run] == blocked])
        for kind, blocked in (("failed", False), ("blocked", True))
    }


def _of_the_design(experiment: Experiment) -> Iterator[str]:
    found = experiment.findings
    if found["leaking"]:
        yield LEAKS
    if experiment.design.get("phantom") and (experiment.root / "data").is_dir():
        yield "The patients are made up: this page shows that everything works, and nothing about real patients."
    yield from dict.fromkeys(
        f"{why[0].upper()}{why[1:]}: no arm can be compared with it. Train longer."
        for arm in experiment.compared
        if (why := effect_of(arm).get("untrained"))
    )
    families = families_of(experiment.design)
    if families and UNCHANGED not in families.values():
        yield (
            "The control is missing: whether a network is needed, or unchanged source slices help as much, is not "
            "known. Add `source: {preset: source}` to translators."
        )
    if len(found["seeds"]) < 2:
        yield (
            "One seed per arm: two runs of one arm often differ by more than two arms do, so that no effect is shown, "
            "however large it looks."
        )
    alone = [name for name, models in _translators(experiment).items() if models == 1]
    if alone and len(found["folds"]) < 2:
        yield (
            f"One training of {listed(alone)} made all synthetic slices: the intervals do not include the chance of "
            "that training, and another training may give another result."
        )
    if 1 < len(found["folds"]) < FEW_FOLDS:
        yield (
            f"{len(found['folds'])} folds: the effect that a fold's translator and training side have on all of its "
            "patients is estimated from these few, so that intervals are wide. More folds make them narrower."
        )


def families_of(design: Mapping[str, object]) -> dict[str, str]:
    """By translator of a design, its family."""
    recipes = design.get("translators")
    found: dict[str, str] = {}
    for name, recipe in recipes.items() if isinstance(recipes, dict) else ():
        preset = TRANSLATE.get(recipe.get("preset", ""))
        found[name] = recipe.get("settings", {}).get("family") or (preset.family if preset else "")
    return found


def _translators(experiment: Experiment) -> dict[str, int]:
    """By translator, the largest number of trained models in a fold."""
    models: dict[str, dict[int, set[str]]] = {}
    for arm in experiment.arms:
        if arm["translator"]:
            of_folds = models.setdefault(arm["translator"], {})
            for (_, fold), run in experiment.runs(arm).items():
                of_folds.setdefault(fold, set()).update(run.card["data"]["synthetic_models"])
    return {name: max(len(seen) for seen in folds.values()) for name, folds in models.items()}


def _of_what_is_missing(experiment: Experiment) -> Iterator[str]:
    found = experiment.findings
    yield from experiment.plan.get("left_out", [])
    failed, blocked = (len(table.rows) for table in failures(experiment).values())
    if failed:
        others = f", and {blocked} more could not be made because of that" if blocked else ""
        yield f"{count(failed, 'run')} failed{others}: see What failed."
    if found["missing"]:
        yield f"Without results, as no seed is finished in all folds: {listed(found['missing'])}."
    for arm in experiment.arms:
        if len(arm["runs"]) < arm["wanted"]:
            yield (
                f"{arm['name']}: {len(arm['runs'])} of {arm['wanted']} runs are finished; a seed counts if all its "
                "folds are finished."
            )


def _of_the_runs(experiment: Experiment) -> Iterator[str]:
    for arm in experiment.arms:
        yield from constant(arm["name"], arm["constant"], len(arm["runs"]))
    yield from _without_score(experiment)
    yield from unequal_steps([(arm["name"], experiment.cards(arm)[0]["steps"]) for arm in experiment.arms])
    for kind, runs in (("translators", experiment.translators), ("segmenters", experiment.segmenters)):
        raised = {name: dict.fromkeys(alarm.name for _, alarm in alarms(run)) for name, run in runs.items()}
        raised = {name: names for name, names in raised.items() if names}
        if raised:
            kinds = ", ".join(dict.fromkeys(name for names in raised.values() for name in names))
            yield (
                f"Alarms ({kinds}) were raised in {len(raised)} of {len(runs)} trainings of {kind}: {listed(raised)}. "
                "`crossmod info` of a run says when and what to do."
            )


def _without_score(experiment: Experiment) -> Iterator[str]:
    """Arms with patients without a score; scores that the same patients lack share a sentence."""
    patients = len(experiment.findings["patients"])
    metrics: dict[str, list[str]] = {}
    for metric in PARTIAL:
        counts = {arm["name"]: (arm["scores"].get(metric) or {}).get("undefined", 0) for arm in experiment.arms}
        if any(counts.values()):
            words = listed(f"{name}: {missing} of {patients}" for name, missing in counts.items())
            metrics.setdefault(words, []).append(METRICS[metric].name)
    for words, names in metrics.items():
        yield (
            f"{listed(names)}: undefined for some patients (nothing was found, the organ is absent, or tested slices "
            f"have gaps between them), which are left out of the mean. {words} patients. Arms are compared over the "
            "patients that have the score in both; Other scores shows the result if failures count."
        )


def _of_the_slices(experiment: Experiment) -> Iterator[str]:
    stores = experiment.stores
    moved = {name: store for name, store in stores.items() if shifted_stores(store)}
    if moved:
        worst = max(moved, key=lambda name: max(shift.mm for shift in _shifts(stores[name])))
        also = f" Stores shifted by more than the limit: {len(moved)} of {len(stores)}." if len(stores) > 1 else ""
        yield shifted_stores(stores[worst])[0] + also


def _shifts(store: Store) -> list[StoreShift]:
    return [shift for shift in (shift_of(store), shift_of(store, "judge")) if shift is not None]
