"""Organs in synthetic images by label maps that another program made."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

import crossmod
from crossmod.data.store import Store
from crossmod.errors import InputError
from crossmod.evaluation.result import lines
from crossmod.runs import Run
from tests.support.evaluated_people import People, look_alike, make_people, real_store, synthetic_store
from tests.support.label_maps import save_map, write_maps

MM = 340 / 32


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return make_people(tmp_path_factory.mktemp("people"))


def evaluated(people: People, out: Path, folder: Path, *models: Path) -> Run:
    stores = models or (people.good,)
    return crossmod.evaluate_images(people.mr, stores, out=out, source=[people.ct], segmenter=folder, draws=0)


def test_maps_that_are_the_labels(people: People, tmp_path: Path) -> None:
    run = evaluated(people, tmp_path / "r", write_maps(tmp_path / "found", people.good))
    (organ,) = run.card["models"]["good"]["organs"].items()
    assert organ[0] == "liver"
    assert organ[1]["found_by"] == "found (label maps)"
    assert organ[1]["on_real"] is None
    assert (organ[1]["dice"], organ[1]["shift_mm"], organ[1]["rows_mm"], organ[1]["columns_mm"]) == (1, 0, 0, 0)
    assert organ[1]["cases"] == 4
    assert not [line for line in run.card["warnings"] if "label" in line and "map" in line]
    assert any("what found (label maps) finds, not known on real images" in line for line in lines(run.card))


def test_maps_that_lie_beside_the_labels(people: People, tmp_path: Path) -> None:
    """By two rows to the back and one column to the right, in all cases; MRSegmentator's names of files."""
    folder = write_maps(
        tmp_path / "found", people.good, lambda labels: np.roll(labels, (2, -1), (1, 2)), layout="{case}_seg.nii.gz"
    )
    run = evaluated(people, tmp_path / "r", folder)
    liver = run.card["models"]["good"]["organs"]["liver"]
    assert (liver["rows_mm"], liver["columns_mm"]) == pytest.approx((2 * MM, -MM))
    assert liver["shift_mm"] == pytest.approx(math.hypot(2, 1) * MM)
    assert 0.5 < liver["dice"] < 0.9
    assert any("mean shift: rows +21.2 mm, columns -10.6 mm" in line for line in lines(run.card))


def test_an_empty_map_is_a_missed_organ(people: People, tmp_path: Path) -> None:
    run = evaluated(people, tmp_path / "r", write_maps(tmp_path / "found", people.good, np.zeros_like))
    liver = run.card["models"]["good"]["organs"]["liver"]
    assert (liver["cases"], liver["vanished"], liver["dice"], liver["least"]) == (4, 4, 0, 0)
    assert liver["shift_mm"] is liver["rows_mm"] is liver["columns_mm"] is None


def test_each_store_has_its_own_folder(people: People, tmp_path: Path) -> None:
    """The cases of two models have equal names."""
    folder = tmp_path / "found"
    write_maps(folder / "good", people.good)
    (folder / "labels.json").write_text('{"liver": 5}')
    with pytest.raises(InputError, match=r"no folder poor\. Expected: .*good, poor"):
        evaluated(people, tmp_path / "r", folder, people.good, people.poor)
    write_maps(folder / "poor", people.poor, np.zeros_like)
    run = evaluated(people, tmp_path / "r", folder, people.good, people.poor)
    assert [model["organs"]["liver"]["dice"] for model in run.card["models"].values()] == [1, 0]


def test_missing_and_unknown_files_are_named_and_the_others_count(people: People, tmp_path: Path) -> None:
    folder = write_maps(tmp_path / "found", people.good)
    (folder / "ct-2-as-mr.nii.gz").rename(folder / "ct-9-as-mr.nii.gz")
    run = evaluated(people, tmp_path / "r", folder)
    assert run.card["models"]["good"]["organs"]["liver"]["cases"] == 3
    warnings = "\n".join(run.card["warnings"])
    assert "good: 1 of 4 cases without a label map, and not in its organs: ct-2-as-mr." in warnings
    assert f"good: files in {folder} that are of no case: ct-9-as-mr.nii.gz." in warnings


def test_values_and_organs_without_a_counterpart_are_named(people: People, tmp_path: Path) -> None:
    def more(labels: np.ndarray) -> np.ndarray:
        found = labels * 5
        found[0, :2] = 9
        return found

    folder = write_maps(tmp_path / "found", people.good, more, value=1, names={"liver": 5, "stomach": 7})
    run = evaluated(people, tmp_path / "r", folder)
    assert list(run.card["models"]["good"]["organs"]) == ["liver"]
    assert any("count as background: 9." in line for line in run.card["warnings"])


def test_organs_that_the_names_lack_are_named(people: People, tmp_path: Path) -> None:
    both = real_store(tmp_path / "both", "mr", range(200, 202))
    text = (both / "manifest.json").read_text().replace('"1": "liver"', '"1": "liver",\n"2": "left_kidney"')
    (both / "manifest.json").write_text(text)
    run = evaluated(people, tmp_path / "r", write_maps(tmp_path / "found", both), both)
    assert list(run.card["models"]["both"]["organs"]) == ["liver"]
    assert any("that labels.json does not name are not compared: left_kidney." in line for line in run.card["warnings"])


def test_a_part_of_the_grid_is_read_where_it_lies(people: People, tmp_path: Path) -> None:
    folder = write_maps(tmp_path / "found", people.good)
    store = Store(people.good)
    record = store.cases[1]
    volume = store.read(record.id)
    assert volume.labels is not None
    rows, columns = (np.flatnonzero(volume.labels.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    row, column = int(rows[0]), int(columns[0])
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 1] * row + affine[:3, 2] * column
    part = volume.labels[:, row : rows[-1] + 1, column : columns[-1] + 1] * 5
    save_map(folder / f"{record.id}.nii.gz", part.astype(np.float32), affine, codes=("P", "S", "R"))
    run = evaluated(people, tmp_path / "r", folder)
    assert run.card["models"]["good"]["organs"]["liver"]["least"] == 1
    assert f"good: label maps on another grid, read at the nearest voxel: {record.id}." in run.card["warnings"]


def test_changed_maps_are_noticed_and_the_same_are_not_read_again(people: People, tmp_path: Path) -> None:
    folder = write_maps(tmp_path / "found", people.good)
    run = evaluated(people, tmp_path / "r", folder)
    before = (run.path / "card.json").stat().st_mtime_ns
    evaluated(people, tmp_path / "r", folder)
    assert (run.path / "card.json").stat().st_mtime_ns == before
    (folder / "labels.json").write_text('{"liver": 7, "stomach": 5}')
    with pytest.raises(InputError, match=r"another input segmenter names 5 \(liver then, stomach now\)"):
        evaluated(people, tmp_path / "r", folder)
    write_maps(folder, people.good, np.zeros_like)
    with pytest.raises(InputError, match="another input segmenter maps good ct-0-as-mr"):
        evaluated(people, tmp_path / "r", folder)
    (folder / "ct-0-as-mr.nii.gz").unlink()
    with pytest.raises(InputError, match=r"another input segmenter maps good ct-0-as-mr \(.* then, None now\)"):
        evaluated(people, tmp_path / "r", folder)


def test_what_cannot_be_compared_is_refused_before_anything_is_written(people: People, tmp_path: Path) -> None:
    out, folder = tmp_path / "r", tmp_path / "found"

    def refused(words: str) -> None:
        with pytest.raises(InputError, match=words):
            evaluated(people, out, folder)
        assert not out.exists()

    refused(r"no such folder\. Expected: a run of `segment`, or a folder of label maps")
    folder.mkdir()
    refused(r"neither a run of `segment` nor a folder with labels\.json")
    (folder / "labels.json").write_text('{"labels": {"spleen": 1, "kidney": 2}}')
    refused(r"labels\.json: names of spleen, kidney\. Expected: an organ of the synthetic labels: liver")
    (folder / "labels.json").write_text('{"labels": {"liver": 5}}')
    refused(r"found: labels\.json\. Expected: label maps named as the cases: .*such as ct-0-as-mr")
    write_maps(folder, people.good)
    shutil.copy(folder / "ct-0-as-mr.nii.gz", folder / "ct-0-as-mr_seg.nii.gz")
    refused("two label maps for one case")
    (folder / "ct-0-as-mr_seg.nii.gz").unlink()
    record = Store(people.good).record("ct-1-as-mr")
    away = np.array(record.affine)
    away[0, 3] += 300
    path = save_map(folder / "ct-1-as-mr.nii.gz", np.ones(record.shape, np.uint8), away)
    refused(f"{path.name}: a label map of the image's size, 300.0 mm away")
    save_map(path, np.full(record.shape, 0.5, np.float32), np.array(record.affine))
    refused(r"the label value 0\.5")


def test_a_run_that_segments_nothing_is_no_folder_of_maps(people: People, tmp_path: Path) -> None:
    run = crossmod.evaluate_images(people.mr, people.good, out=tmp_path / "r", draws=0)
    with pytest.raises(InputError, match=r"a run of `evaluate`\. Expected: a run of `segment`"):
        evaluated(people, tmp_path / "again", run.path)


def test_real_images_in_the_place_of_synthetic_ones(people: People, tmp_path: Path) -> None:
    """Real cases in the place of synthetic ones say how well the tool does on real images."""
    folder = write_maps(tmp_path / "found", people.mr, lambda labels: np.roll(labels, 1, axis=1))
    run = evaluated(people, tmp_path / "r", folder, people.mr)
    assert run.card["models"]["mr"]["organs"]["liver"]["rows_mm"] == pytest.approx(MM)


def test_labels_in_gaps_are_compared_slice_by_slice(people: People, tmp_path: Path) -> None:
    """Slices that were left out have no place in the file: image and map have the same ones."""
    gaps = synthetic_store(tmp_path / "gaps", people.ct, look_alike, slices=[3, 5, 6, 9, 13])
    run = evaluated(people, tmp_path / "r", write_maps(tmp_path / "found", gaps), gaps)
    assert run.card["models"]["gaps"]["organs"]["liver"]["dice"] == 1
