"""`crossmod experiment`: many runs and their statistics from one short plan."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from crossmod.cli.app import app, say
from crossmod.experiment.executors.options import ExecutorOptions, executor_of

Flat = Parameter(name="*")


@app.command(sort_key=5)
def experiment(
    preset: str,
    *,
    data: tuple[Path, ...] = (),
    out: Path | None = None,
    dry_run: bool = False,
    show: bool = False,
    seeds: tuple[int, ...] = (),
    same_people: Literal["yes", "no"] | None = None,
    where: Annotated[ExecutorOptions | None, Flat] = None,
) -> None:
    """Does synthetic data help, how much, and how many slices? Arms x folds x seeds, with paired statistics.

    Given again, the command continues: runs that are finished are left alone, stopped ones go on, failed ones are tried
    again. Exit code 1 says that a run failed; the others, statistics and report are there all the same.

    Parameters
    ----------
    preset
        rafiq2025_table3, rafiq2025_table4, liver_patients, few_labels, no_labels or tiny (made-up patients, some
        minutes on a CPU); or a YAML file of your own.
    data
        Stores of real CT and MR cases; `tiny` makes up its own.
    out
        The experiment's folder.
    dry_run
        Print the planned runs, the effect that they can detect, and their time and disk space, and stop.
    show
        Print the preset as YAML, to copy and change, and stop.
    seeds
        Seeds in place of the preset's.
    same_people
        Whether equal case names in two stores are one person, where no patient id tells; asked for where it matters.
    """
    from crossmod.config import with_changes
    from crossmod.errors import InputError
    from crossmod.experiment.design import read_design

    design = read_design(preset)
    design = with_changes(design, seeds=seeds) if seeds else design
    design = with_changes(design, same_people=same_people) if same_people else design
    if show:
        return _print(design.model_dump(mode="json", exclude_defaults=True))
    if out is None:
        raise InputError("--out", found="nothing", expected="a folder", do="Name the experiment's folder.")
    where = where or ExecutorOptions()
    if where.executor == "local":
        from crossmod.experiment.executors.options import side_by_side

        runs = (*design.translator_settings.values(), *design.segmenter_settings.values())
        chosen = side_by_side(where, runs, where.jobs)
        where = with_changes(where, jobs=chosen.jobs)
        say(chosen.why)
    if dry_run:
        from crossmod.experiment.run import describe_plan, estimate_experiment

        for line in describe_plan(*estimate_experiment(design, data, out, where), out, where.jobs):
            say(line)
        return None
    from crossmod.experiment.run import run_experiment

    several = where.jobs > 1 or where.executor != "local"
    done = run_experiment(design, data, out, executor=executor_of(out, where), live=several)
    for line in done.sentences:
        say(line)
    say(f"{out / 'report.html'}")
    if done.failed:
        say(f"{len(done.failed)} of {len(done.plan.jobs)} runs failed or could not be made; the report says which.")
        sys.exit(1)
    return None


def _print(content: dict[str, object]) -> None:
    import yaml

    print(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), end="")
