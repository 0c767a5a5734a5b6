from pathlib import Path

import numpy as np
import pytest
from conftest import Stores, made_volume

from crossmod.data.joined import open_stores
from crossmod.data.store import Store
from crossmod.data.store_writer import writing_store
from crossmod.errors import InputError


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


@pytest.mark.parametrize("same", ["case", "patient"])
def test_what_two_stores_hold_is_refused(tmp_path: Path, stores: Stores, same: str) -> None:
    known = Store(stores.mr).cases[0]
    other = more(tmp_path / "other", known.id if same == "case" else "new", "new" if same == "case" else known.patient)
    with pytest.raises(InputError, match=f"{known.id if same == 'case' else known.patient} in .* and in "):
        open_stores([stores.mr, other])
