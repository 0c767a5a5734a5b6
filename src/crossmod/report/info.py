"""What a path holds, as text: a store, a volume, a folder of DICOM, or a run."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from crossmod.config import Modality
from crossmod.data.body_box import body_box
from crossmod.data.dicom.series import check_uniform, list_series, read_series
from crossmod.data.nifti import read_nifti
from crossmod.data.patient_identity import in_words, parse_mark
from crossmod.data.patient_key import existing_key, key_path
from crossmod.data.pixel_size import extents, side_extent
from crossmod.data.store import MANIFEST, CaseRecord, Store, listed
from crossmod.data.volume import Volume
from crossmod.engine.logger import alarms, losses
from crossmod.errors import InputError
from crossmod.evaluation.result import lines
from crossmod.files import natural_key
from crossmod.report.collect import FAMILY, one_line
from crossmod.report.sections import extent_words
from crossmod.runs import Run, is_run
from crossmod.settings import pixel_words


def describe_data(path: Path, *, modality: Modality | None = None) -> Group:
    """Describe a store, a NIfTI file or a DICOM folder as rich tables.

    Args:
        path: what to look at.
        modality: of a NIfTI file, which does not say it itself; only the unit depends on it.

    Raises:
        InputError: the path is none of these, or cannot be read.
    """
    if (path / MANIFEST).is_file():
        return _store(Store(path))
    if path.is_file() and path.name.endswith((".nii", ".nii.gz")):
        volume = read_nifti(path, modality=modality or "mr")
        return Group(_volume(path, volume, "unknown" if modality is None else volume.unit))
    if path.is_dir() and any(True for _ in path.iterdir()):
        found_series = list_series(path)
        check_uniform(found_series)
        volumes = [(series.folder, read_series(series)[0]) for series in found_series]
        return Group(*(_volume(folder, volume, volume.unit) for folder, volume in volumes))
    found = "a file" if path.is_file() else "an empty folder" if path.is_dir() else "no such file or folder"
    # `crossmod info` asks for runs before it comes here.
    expected = "a run, a store, a NIfTI file or a folder of DICOM"
    raise InputError(path, found=found, expected=expected, do="Check the path.")


def _store(store: Store) -> Group:
    groups: dict[tuple[str, str], list[CaseRecord]] = {}
    for case in store.cases:
        groups.setdefault((case.modality, case.sequence or ""), []).append(case)
    title = Text(f"{store.path}: {len(store.cases)} case{'s' if len(store.cases) != 1 else ''}", overflow="fold")
    tables = [_group(store, modality, sequence, cases) for (modality, sequence), cases in sorted(groups.items())]
    notes = _notes((case.id, case.notes) for case in store.cases)
    return Group(title, *tables, *_people(store), *notes)


def _people(store: Store) -> list[RenderableType]:
    """Which case is of which patient, and by what the patient is recognised in other stores."""
    table = Table(title="cases and patients", title_justify="left")
    for name in ("case", "patient", "recognised by"):
        table.add_column(name, overflow="fold")
    for case in sorted(store.cases, key=lambda case: natural_key(Path(case.id))):
        table.add_row(Text(case.id), Text(case.patient), Text(in_words(case.person)))
    keys = sorted({mark.scope for case in store.cases for mark in map(parse_mark, case.person) if mark.kind == "id"})
    return [table, *(Text(_key_in_words(key), overflow="fold") for key in keys)] if store.cases else []


def _key_in_words(fingerprint: str) -> str:
    text = f"PatientIDs were hashed under the patient key {fingerprint}"
    try:
        own = existing_key()
    except InputError as error:
        return f"{text}; yours cannot be read: {error}"
    if own is None:
        return f"{text}; you have none ({key_path()})"
    return f"{text}, which is {'yours' if own.fingerprint == fingerprint else 'not yours'} ({own.path})"


def _group(store: Store, modality: str, sequence: str, cases: Sequence[CaseRecord]) -> Table:
    patients = sorted({case.patient for case in cases}, key=lambda name: natural_key(Path(name)))
    table = _two_columns(f"{modality} {sequence}".strip())
    if modality == "ct":
        _add(table, "contrast agent", _contrast(cases))
    _add(table, "unit", ", ".join(sorted({case.unit for case in cases})))
    _add(table, "cases", str(len(cases)))
    _add(table, "patients", f"{len(patients)}: {', '.join(patients)}")
    _add(table, "slices", str(sum(case.shape[0] for case in cases)))
    organs = ", ".join(f"{organ} {count}" for organ, count in organ_counts(cases).items())
    _add(table, "slices with", organs or "no labels")
    shape = " x ".join(_range([float(case.shape[axis]) for case in cases]) for axis in range(3))
    _add(table, "voxels", f"{shape} (slices, rows, columns)")
    spacing = " x ".join(_range([case.spacing[axis] for case in cases]) for axis in range(3))
    _add(table, "spacing", f"{spacing} mm (slices, rows, columns)")
    _add(table, "median", side_extent(extents(store, cases)).words)
    return table


def _contrast(cases: Sequence[CaseRecord]) -> str:
    words = {True: "with", False: "without", None: "not known"}
    counts = {word: sum(case.contrast is kind for case in cases) for kind, word in words.items()}
    return ", ".join(f"{word} ({count} case{'s' * (count != 1)})" for word, count in counts.items() if count)


def _two_columns(title: str) -> Table:
    # What is too long for a line goes on in the next; rich would else cut it.
    table = Table()
    table.add_column("", no_wrap=True)
    table.add_column(Text(title), overflow="fold")
    return table


def _add(table: Table, name: str, value: str) -> None:
    # As Text: brackets in a name are no markup.
    table.add_row(Text(name), Text(value))


def organ_counts(cases: Iterable[CaseRecord]) -> dict[str, int]:
    """How many slices of `cases` hold each organ."""
    counts: dict[str, int] = {}
    for case in cases:
        for organ, count in case.slices_with.items():
            counts[organ] = counts.get(organ, 0) + count
    return counts


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    return low if low == high else f"{low}-{high}"


def _notes(noted: Iterable[tuple[str, Sequence[str]]]) -> list[RenderableType]:
    cases: dict[str, list[str]] = {}
    for case, notes in noted:
        for note in notes:
            cases.setdefault(note, []).append(case)
    table = Table(title="notes", title_justify="left")
    table.add_column("note", overflow="fold")
    table.add_column("cases", overflow="fold")
    for note, names in cases.items():
        table.add_row(Text(note), Text(listed(names, 4)))
    return [table] if cases else []


def _volume(path: Path, volume: Volume, unit: str) -> Table:
    table = _two_columns(str(path))
    slices, rows, columns = volume.voxels.shape
    count = f"{slices} slice{'s' if slices != 1 else ''}"
    _add(table, "voxels", f"{count} of {rows} x {columns} (rows, columns), {volume.voxels.dtype}")
    _add(table, "spacing", " x ".join(f"{length:.4g}" for length in volume.spacing) + " mm (slices, rows, columns)")
    _add(table, "stored axes", "-".join(volume.orientation))
    _add(table, "first voxel", ", ".join(f"{part:.2f}" for part in volume.affine[:3, 3]) + " mm (RAS+)")
    percentiles = np.percentile(volume.voxels, [0, 1, 50, 99, 100])
    _add(table, "values", "min {:.5g}, 1 % {:.5g}, median {:.5g}, 99 % {:.5g}, max {:.5g}".format(*percentiles))
    _add(table, "unit", unit)
    if unit != "unknown":
        body = body_box(volume)
        measured = f"{body.height:.0f} x {body.width:.0f} mm (front to back, side to side)"
        _add(table, "body", measured if body.slices else "none found")
    # A label file is a NIfTI file too, and its values are what one wants to know of it.
    held = np.unique(volume.voxels)
    if held.size <= 32 and (held == np.rint(held)).all():
        _add(table, "only the values", ", ".join(f"{value:g}" for value in held))
    for keyword, value in volume.acquisition.items():
        _add(table, keyword, str(value))
    for note in volume.notes:
        _add(table, "note", note)
    return table


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
