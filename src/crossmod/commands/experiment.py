"""`crossmod experiment` and `demo`: many runs and their statistics from one short plan."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crossmod.commands import Paths, build_settings, command, print_yaml, settings_of, several
from crossmod.config import with_changes
from crossmod.errors import InputError
from crossmod.experiment.executors.options import ExecutorOptions, executor_of, side_by_side
from crossmod.files import PathName
from crossmod.progress import progress_disabled, say

if TYPE_CHECKING:
    from crossmod.experiment.design import Design
    from crossmod.experiment.plan import Plan
    from crossmod.experiment.run import ExperimentResult


def _failed(result: "ExperimentResult | Design | Plan") -> int:
    return int(bool(getattr(result, "failed", ())))


@command("experiment", 5, options=settings_of(ExecutorOptions), exit_code=_failed)
def run_experiment(
    preset: str,
    *,
    data: Paths = (),
    out: PathName | None = None,
    dry_run: bool = False,
    show: bool = False,
    seeds: tuple[int, ...] = (),
    same_people: Literal["yes", "no"] | None = None,
    **options: Any,
) -> "ExperimentResult | Design | Plan":
    """Does synthetic data help, how much, and how many slices? Arms x folds x seeds, with paired statistics.

    Rerun the command to resume: finished runs are kept, stopped ones resume, failed ones are tried again. Exit code 1
    means that a run failed; the other runs, statistics and report are complete all the same.

    Args:
        preset: worth (what are synthetic slices worth with none, 1, 2, 4, 8 or all MR patients labelled), worth_small
            (the same for two CPU cores, in hours), rafiq2025_table3, rafiq2025_table4, liver_patients, few_labels,
            no_labels, uda_abdomen or dg_abdomen (public benchmarks, with published numbers beside yours) or tiny (some
            minutes on a CPU); or a YAML file of your own.
        data: Stores of real CT and MR cases; without them worth, worth_small and tiny make up patients.
        out: The experiment's folder.
        dry_run: Print the planned runs, the effect that they can detect, and their time and disk space, and stop.
        show: Print the preset as YAML, to copy and change, and stop.
        seeds: Seeds in place of the preset's.
        same_people: Whether equal case names in two stores are one person, where no patient ID decides; needed only
            where it matters.
        options: Fields of `ExecutorOptions`, which are those of `Machine` and more.

    Returns:
        Plan, state of each run and findings; with `dry_run` the plan, with `show` the design.

    Raises:
        InputError: an unknown preset, stores that cannot be planned for, data that changed since, or another command
            that works in `out`.
    """
    from crossmod.experiment.design import read_design

    design = read_design(str(preset))
    design = with_changes(design, seeds=seeds) if seeds else design
    design = with_changes(design, same_people=same_people) if same_people else design
    if show:
        return print_yaml(design, exclude_defaults=True)
    if out is None:
        raise InputError("--out", found="nothing", expected="a folder", do="Name the experiment's folder.")
    where, _ = build_settings(ExecutorOptions, options)
    out, stores = Path(out), several(data)
    if where.executor == "local":
        runs = (*design.translator_settings.values(), *design.segmenter_settings.values())
        chosen = side_by_side(where, runs, where.jobs)
        where = with_changes(where, jobs=chosen.jobs)
        say(chosen.why)
    from crossmod.experiment import run

    if dry_run:
        plan, cost = run.estimate_experiment(design, stores, out, where)
        for line in run.describe_plan(plan, cost, out, where.jobs):
            say(line)
        return plan
    live = (where.jobs > 1 or where.executor != "local") and not progress_disabled()
    result = run.run_experiment(design, stores, out, executor=executor_of(out, where), live=live)
    for line in (*result.sentences, *result.answers):
        say(line)
    say(f"{out / 'report.html'}")
    if result.failed:
        count = f"{len(result.failed)} of {len(result.plan.jobs)}"
        say(f"{count} runs failed or could not be made; the report says which.")
    return result


@command("demo", 8)
def run_demo(*, out: PathName = "demo", seed: int = 0, jobs: int = 0) -> Path:
    """Run everything on made-up patients: phantom, stores, EssNet and a control, synthesis, U-Nets, report.

    Takes about four minutes on two cores. Rerun the command to resume.

    Args:
        out: Folder for all results.
        seed: Seed; another one gives other patients and other networks.
        jobs: Runs at once; 0: one per core. The results are the same.

    Returns:
        The report, an HTML page.

    Raises:
        InputError: the folder holds a demo of another seed, another demo writes there, or a run failed.
    """
    if jobs < 0:
        raise InputError("--jobs", found=str(jobs), expected="0 or more", do="Leave it out for one run per core.")
    from crossmod.experiment import demo

    page = demo.run_demo(Path(out), seed, jobs)
    say(f"Open {page} in a browser.")
    return page
