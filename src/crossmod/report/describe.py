"""What a path holds, for people: a run, or anything that the data room can describe."""

from pathlib import Path

from rich.console import Console, Group
from rich.table import Table

from crossmod.data.describe import describe as describe_data
from crossmod.engine.logger import alarms, losses
from crossmod.evaluation.result import lines
from crossmod.report.sections import extent_words
from crossmod.report.tables import FAMILY, one_line
from crossmod.runs import Run, is_run
from crossmod.settings import pixel_words


def describe(path: Path) -> Group:
    """Describe a run, a store, a NIfTI file or a DICOM folder as rich tables.

    Raises:
        InputError: the path is none of these, or cannot be read.
    """
    return Group(_run(Run(path))) if is_run(path) else describe_data(path)


def show(path: Path) -> None:
    """Print the description of a path."""
    Console().print(describe(path))


def _run(run: Run) -> Table:
    table = Table(title=str(run.path), title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    config = run.config
    table.add_row("command", config["kind"])
    readings = list(run.metrics())
    if not run.finished:
        state = f"stopped after step {readings[-1]['step']}" if readings else "not begun"
        table.add_row("state", f"not finished, {state}; its command continues it")
    else:
        card = run.card
        work = f"{card['steps']} draws of patients" if card["kind"] == "evaluate" else f"{card['steps']} steps"
        # What ran in another program did not say how long it took.
        taken = "" if card.get("unmeasured") else f": {work} in {card['seconds']:.0f} s on {card['device']}"
        table.add_row("state", f"finished{taken}")
        if card["kind"] == "train":
            table.add_row("family", FAMILY.get(card["family"], card["family"]))
            table.add_row("parameters", ", ".join(f"{name} {count:,}" for name, count in card["parameters"].items()))
            for side, data in card["data"].items():
                people = len(data["patients"])
                table.add_row(side, f"{data['slices']} slices of {people} patient{'s' * (people != 1)}")
                if words := extent_words(card.get("extents", {}).get(side)):
                    table.add_row(f"{side}, medians", words)
            table.add_row("pixels", f"{card['settings']['size']} a side: {pixel_words(card['settings'])}")
            table.add_row("held out", ", ".join(card["held_out"]) or "none")
            table.add_row("split", f"{card['split']}{' (LEAKING)' if card['leaking'] else ''}")
        elif card["kind"] == "evaluate":
            for line in lines(card):
                table.add_row("result", line)
        else:
            table.add_row("result", one_line(card))
    last = [found for reading in readings if (found := losses(reading))][-1:]
    if last:
        table.add_row("last losses", ", ".join(f"{name} {value:.4g}" for name, value in last[0].items()))
    for step, alarm in alarms(run):
        table.add_row("alarm", f"at step {step}, {alarm}")
    for name, value in config["settings"].items():
        table.add_row(f"--{name.replace('_', '-')}", str(value))
    return table
