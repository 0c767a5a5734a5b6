"""Label maps and their names: what each number in a mask stands for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crossmod.data.store import listed
from crossmod.data.volume import Labels, Voxels
from crossmod.errors import InputError
from crossmod.files import read_json

BACKGROUND = 0


def read_label_names(path: Path, stem: str) -> dict[int, str]:
    """Label value -> name without the background, from JSON: `{"labels": {name: value}}`, `{name: value}`, or
    `{file stem: {name: value}}`, where `stem` is the name of the label files without `.nii.gz`.

    The Medical Segmentation Decathlon's form, `{"labels": {"1": name}}`, is read too.

    Raises:
        InputError: another form, a value that is no integer in 0..255, 0 for an organ, or a value that comes twice.
    """
    content = read_json(path)
    table = content.get("labels", content) if isinstance(content, dict) else content
    if isinstance(table, dict) and table and all(isinstance(value, dict) for value in table.values()):
        if stem not in table:
            found = f"labels for {listed(table)}"
            raise InputError(path, found=found, expected=f"labels for {stem}", do=f"Add an entry {stem!r}.")
        table = table[stem]
    if not isinstance(table, dict) or not table:
        found = f"a {type(table).__name__}" if not isinstance(table, dict) else "no labels"
        raise InputError(path, found=found, expected='{"labels": {"liver": 1}}', do="Correct the file.")
    if all(str(key).isdigit() and isinstance(name, str) for key, name in table.items()):
        if len(set(table.values())) < len(table):
            found, expected = "a name for two label values", "one value per name"
            raise InputError(path, found=found, expected=expected, do="Correct the file.")
        table = {name: int(key) for key, name in table.items()}
    names = {_value(path, name, value): str(name) for name, value in table.items()}
    if len(names) != len(table):
        found = "a label value with two names"
        raise InputError(path, found=found, expected="one name per value", do="Correct the file.")
    return {value: name for value, name in names.items() if value != BACKGROUND}


def _value(path: Path, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        expected = "a whole number from 0 to 255"
        do = 'Write name: value, such as {"labels": {"background": 0, "liver": 1}}.'
        raise InputError(path, found=f"label {name!r} with value {value!r}", expected=expected, do=do)
    if value == BACKGROUND and name.casefold() != "background":
        expected = f"{BACKGROUND} for background alone"
        do = "Give it another value, in the label files too; or call it background."
        raise InputError(path, found=f"label {name!r} with value {value}", expected=expected, do=do)
    return value


def label_map(subject: object, values: Voxels, names: Mapping[int, str]) -> Labels:
    """`values` as a label map; an `InputError` if they are no whole numbers in 0..255, or have no name."""
    labels = whole_labels(subject, values)
    unnamed = unnamed_values(labels, names)
    if unnamed:
        plural = "s" if len(unnamed) != 1 else ""
        found = f"label value{plural} without a name: {listed(map(str, unnamed))}"
        known = listed(f"{value} {name}" for value, name in names.items()) or "none"
        do = 'Name them in labels.json, for instance {"labels": {"liver": 1}}.'
        raise InputError(subject, found=found, expected=f"values with a name (known: {known})", do=do)
    return labels


def whole_labels(subject: object, values: Voxels) -> Labels:
    """`values` as a label map; an `InputError` if they are no whole numbers in 0..255, of whatever type."""
    found_values = np.unique(values)
    if not np.isfinite(found_values).all() or (found_values != np.rint(found_values)).any():
        odd = next(float(value) for value in found_values if not np.isfinite(value) or value != np.rint(value))
        do = "Save the labels as integers, without interpolation; or check that this is the label file."
        raise InputError(subject, found=f"the label value {odd:g}", expected="whole numbers", do=do)
    if found_values.size and (found_values[0] < 0 or found_values[-1] > 255):
        found = f"label values from {found_values[0]:g} to {found_values[-1]:g}"
        do = "Renumber the labels; or check that this is the label file."
        raise InputError(subject, found=found, expected="values from 0 to 255", do=do)
    return values.astype(np.uint8)


def unnamed_values(labels: Labels, names: Mapping[int, str]) -> list[int]:
    """The values besides the background that have no name, in rising order."""
    return [int(value) for value in np.unique(labels) if value != BACKGROUND and int(value) not in names]
