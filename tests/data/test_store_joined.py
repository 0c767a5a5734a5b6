from pathlib import Path

import numpy as np

from crossmod.data.store import Store, distinct_names, open_stores
from crossmod.data.store_writer import writing_store
from tests.support.stores import Stores, made_volume


def more(path: Path, case: str, patient: str) -> Path:
    with writing_store(path) as writer:
        writer.add(case, made_volume(np.random.default_rng(9), "mr"), patient=patient)
    return path


def test_two_stores_are_read_as_one(tmp_path: Path, stores: Stores) -> None:
    other = more(tmp_path / "other", "new", "new-patient")
    joined = open_stores([stores.mr, other])
    assert {case.id for case in joined.cases} == {case.id for case in Store(stores.mr).cases} | {"new"}
    np.testing.assert_array_equal(joined.read("new").voxels, Store(other).read("new").voxels)
    known = Store(stores.mr).cases[0].id
    np.testing.assert_array_equal(joined.read(known).voxels, Store(stores.mr).read(known).voxels)
    joined.verify()


def test_one_store_stays_what_it_is(stores: Stores) -> None:
    assert type(open_stores(stores.mr)) is type(open_stores([stores.mr])) is Store


def test_names_that_two_stores_have_get_the_store_before_them(tmp_path: Path, stores: Stores) -> None:
    """`scans/1` of two hospitals: two cases. Whether it is one person is decided in `people`."""
    known = Store(stores.mr).cases[0]
    other = more(tmp_path / "other", known.id, "new")
    joined = open_stores([stores.mr, other])
    assert {case.id for case in joined.cases} >= {f"mr.{known.id}", f"other.{known.id}"}
    np.testing.assert_array_equal(joined.read(f"other.{known.id}").voxels, Store(other).read(known.id).voxels)
    np.testing.assert_array_equal(joined.read(f"mr.{known.id}").voxels, Store(stores.mr).read(known.id).voxels)
    joined.verify()


def test_a_store_that_is_named_twice_is_one_store(stores: Stores) -> None:
    assert open_stores([stores.mr, stores.mr / "." / ".." / "mr"]).cases == Store(stores.mr).cases


def test_folders_of_one_name_are_told_apart_by_those_above() -> None:
    paths = [Path("/data/a/store"), Path("/data/b/store"), Path("/c/b c/store")]
    assert distinct_names(paths[:2]) == ["a-store", "b-store"]
    assert distinct_names([Path("/x/ct"), Path("/x/mr")]) == ["ct", "mr"]
    assert len(set(distinct_names([Path("/a b/s"), Path("/a_b/s")]))) == 2
