"""Descriptions of stores, volumes, folders of DICOM, and runs, as text."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from crossmod.config import Modality
from crossmod.data.body_box import body_box
from crossmod.data.dicom.series import check_uniform, list_series, read_series
from crossmod.data.nifti import read_nifti
from crossmod.data.patient_identity import in_words, parse_mark
from crossmod.data.patient_key import existing_key, key_path
from crossmod.data.pixel_size import extents, side_extent
from crossmod.data.store import MANIFEST, CaseRecord, Store
from crossmod.data.volume import Volume
from crossmod.engine.logger import alarms, losses
from crossmod.errors import InputError
from crossmod.evaluation.result import lines
from crossmod.files import natural_key
from crossmod.html.format import count, listed
from crossmod.report.collect import Card, family_name, one_line
from crossmod.report.sections import extent_words
from crossmod.runs import Run, is_run
from crossmod.settings import pixel_words


def describe_data(path: Path, *, modality: Modality | None = None) -> Group:
    """Describe a store, a NIfTI file (whose unit depends on its modality) or a DICOM folder as rich tables."""
    if (path / MANIFEST).is_file():
        return _store(Store(path))
    if path.is_file() and path.name.endswith((".nii", ".nii.gz")):
        volume = read_nifti(path, modality=modality or "mr")
        return Group(_volume(path, volume, "unknown" if modality is None else volume.unit))
    if path.is_dir() and any(path.iterdir()):
        all_series = list_series(path)
        check_uniform(all_series)
        volumes = [(series.folder, read_series(series)[0]) for series in all_series]
        return Group(*(_volume(folder, volume, volume.unit) for folder, volume in volumes))
    found = "a file" if path.is_file() else "an empty folder" if path.is_dir() else "no such file or folder"
    # `crossmod info` looks for runs before it calls this.
    expected = "a run, a store, a NIfTI file or a folder of DICOM"
    raise InputError(path, found=found, expected=expected, do="Check the path.")


def _store(store: Store) -> Group:
    groups: dict[tuple[str, str], list[CaseRecord]] = {}
    for case in store.cases:
        groups.setdefault((case.modality, case.sequence or ""), []).append(case)
    title = Text(f"{store.path}: {count(len(store.cases), 'case')}", overflow="fold")
    tables = [_group(store, f"{kind[0]} {kind[1]}".strip(), cases) for kind, cases in sorted(groups.items())]
    notes: dict[str, list[str]] = {}
    for case in store.cases:
        for note in case.notes:
            notes.setdefault(note, []).append(case.id)
    rows = [(note, listed(names, 4)) for note, names in notes.items()]
    return Group(title, *tables, *_patients(store), *([_table("notes", ("note", "cases"), rows)] if rows else []))


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    return _filled(Table(*(Column(name, overflow="fold") for name in head), title=title, title_justify="left"), rows)


def _two_columns(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    # Long texts are folded; rich would else cut them.
    return _filled(Table(Column("", no_wrap=True), Column(Text(title), overflow="fold")), rows)


def _filled(table: Table, rows: Iterable[Sequence[str]]) -> Table:
    """With these rows, as Text: brackets in a name are no markup."""
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _patients(store: Store) -> list[RenderableType]:
    """The patient of each case, and how it is recognised in other stores."""
    cases = sorted(store.cases, key=lambda case: natural_key(Path(case.id)))
    rows = [(case.id, case.patient, in_words(case.person)) for case in cases]
    keys = sorted({mark.scope for case in cases for mark in map(parse_mark, case.person) if mark.kind == "id"})
    table = _table("cases and patients", ("case", "patient", "recognised by"), rows)
    return [table, *(Text(_key_in_words(key), overflow="fold") for key in keys)] if cases else []


def _key_in_words(fingerprint: str) -> str:
    text = f"PatientIDs were hashed under the patient key {fingerprint}"
    try:
        own = existing_key()
    except InputError as error:
        return f"{text}; yours cannot be read: {error}"
    if own is None:
        return f"{text}; you have none ({key_path()})"
    return f"{text}, which is {'yours' if own.fingerprint == fingerprint else 'not yours'} ({own.path})"


def _group(store: Store, title: str, cases: Sequence[CaseRecord]) -> Table:
    patients = sorted({case.patient for case in cases}, key=lambda name: natural_key(Path(name)))
    rows = {}
    if cases[0].modality == "ct":
        agents = {True: "with", False: "without", None: "not known"}
        counts = {word: sum(case.contrast is agent for case in cases) for agent, word in agents.items()}
        rows["contrast agent"] = ", ".join(f"{word} ({count(n, 'case')})" for word, n in counts.items() if n)
    organs: Counter[str] = Counter()
    for case in cases:
        organs.update(case.slices_with)
    shapes = zip(*(case.shape for case in cases), strict=True)
    spacings = zip(*(case.spacing for case in cases), strict=True)
    rows |= {
        "unit": ", ".join(sorted({case.unit for case in cases})),
        "cases": str(len(cases)),
        "patients": f"{len(patients)}: {', '.join(patients)}",
        "slices": str(sum(case.shape[0] for case in cases)),
        "slices with": ", ".join(f"{organ} {slices}" for organ, slices in organs.items()) or "no labels",
        "voxels": f"{' x '.join(map(_range, shapes))} (slices, rows, columns)",
        "spacing": f"{' x '.join(map(_range, spacings))} mm (slices, rows, columns)",
        "median": side_extent(extents(store, cases)).words,
    }
    return _two_columns(title, rows.items())


def _range(values: Sequence[float | int]) -> str:
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    return low if low == high else f"{low}-{high}"


def _volume(path: Path, volume: Volume, unit: str) -> Table:
    slices, rows, columns = volume.voxels.shape
    percentiles = np.percentile(volume.voxels, [0, 1, 50, 99, 100])
    table = [
        ("voxels", f"{count(slices, 'slice')} of {rows} x {columns} (rows, columns), {volume.voxels.dtype}"),
        ("spacing", " x ".join(f"{length:.4g}" for length in volume.spacing) + " mm (slices, rows, columns)"),
        ("stored axes", "-".join(volume.orientation)),
        ("first voxel", ", ".join(f"{part:.2f}" for part in volume.affine[:3, 3]) + " mm (RAS+)"),
        ("values", "min {:.5g}, 1 % {:.5g}, median {:.5g}, 99 % {:.5g}, max {:.5g}".format(*percentiles)),
        ("unit", unit),
    ]
    if unit != "unknown":
        body = body_box(volume)
        measured = f"{body.height:.0f} x {body.width:.0f} mm (front to back, side to side)"
        table.append(("body", measured if body.slices else "none found"))
    # A label file is a NIfTI file too; what matters of it are its values.
    values = np.unique(volume.voxels)
    if values.size <= 32 and (values == np.rint(values)).all():
        table.append(("only the values", ", ".join(f"{value:g}" for value in values)))
    table += [(keyword, str(value)) for keyword, value in volume.acquisition.items()]
    return _two_columns(str(path), [*table, *(("note", note) for note in volume.notes)])


def describe(path: Path) -> Group:
    """Describe a run, a store, a NIfTI file or a DICOM folder as rich tables."""
    if not is_run(path):
        return describe_data(path)
    table = Table(Column(style="bold"), Column(), title=str(path), title_justify="left", show_header=False)
    return Group(_filled(table, _rows_of_run(Run(path))))


def description(path: Path) -> str:
    """The description as text, as wide as the terminal, in colour if there is one."""
    console = Console()
    with console.capture() as capture:
        console.print(describe(path))
    return capture.get()


def _rows_of_run(run: Run) -> Iterator[tuple[str, str]]:
    config, readings = run.config, list(run.metrics())
    yield "command", config["kind"]
    if run.finished:
        yield from _rows_of_card(run.card)
    else:
        state = f"stopped after step {readings[-1]['step']}" if readings else "not begun"
        yield "state", f"not finished, {state}; rerun its command to resume"
    last = [values for reading in readings if (values := losses(reading))][-1:]
    if last:
        yield "last losses", ", ".join(f"{name} {value:.4g}" for name, value in last[0].items())
    yield from (("alarm", f"at step {step}, {alarm}") for step, alarm in alarms(run))
    yield from ((f"--{name.replace('_', '-')}", str(value)) for name, value in config["settings"].items())


def _rows_of_card(card: Card) -> Iterator[tuple[str, str]]:
    work = f"{card['steps']} draws of patients" if card["kind"] == "evaluate" else f"{card['steps']} steps"
    # Another program did not record its time.
    yield (
        "state",
        "finished" if card.get("unmeasured") else (f"finished: {work} in {card['seconds']:.0f} s on {card['device']}"),
    )
    if card["kind"] == "train":
        yield "family", family_name(card["family"])
        counts = ", ".join(f"{name} {number:,}" for name, number in card["parameters"].items())
        yield "parameters", counts or "none: a control"
        for side, data in card["data"].items():
            yield side, f"{data['slices']} slices of {count(len(data['patients']), 'patient')}"
            if words := extent_words(card.get("extents", {}).get(side)):
                yield f"{side}, medians", words
        yield "pixels", f"{card['settings']['size']} per side: {pixel_words(card['settings'])}"
        yield "held out", ", ".join(card["held_out"]) or "none"
        yield "split", f"{card['split']}{' (LEAKING)' if card['leaking'] else ''}"
    elif card["kind"] == "evaluate":
        yield from (("result", line) for line in lines(card))
    else:
        yield "result", one_line(card)
