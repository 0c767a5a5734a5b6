import json

import numpy as np
import pytest

from crossmod.config import Modality
from crossmod.data.store import Store, listed
from crossmod.data.store_writer import compact, writing_store
from crossmod.data.volume import Volume
from crossmod.errors import InputError


def a_volume(modality: Modality = "mr", sequence=None, labelled=True, **more) -> Volume:
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    labels = (voxels > 20).astype(np.uint8) if labelled else None
    names = {1: "liver"} if labelled else {}
    affine = np.diag([5.0, 2.0, 1.0, 1.0])
    return Volume(voxels, affine, modality, sequence, labels=labels, label_names=names, **more)


@pytest.fixture
def path(tmp_path):
    with writing_store(tmp_path / "store") as writer:
        writer.add("a", a_volume("ct", notes=("a note",), acquisition={"KVP": 120.0}), patient="p1")
        writer.add("b", a_volume(sequence="t1_in", labelled=False), patient="p2")
        writer.add("c", a_volume(sequence="t2_spir", orientation=("L", "P", "S")), patient="p2")
    return tmp_path / "store"


def test_there_and_back(path):
    store = Store(path)
    store.verify()
    for case, volume in (("a", a_volume("ct")), ("c", a_volume(sequence="t2_spir"))):
        back = store.read(case)
        np.testing.assert_array_equal(back.voxels, volume.voxels)
        np.testing.assert_array_equal(back.labels, volume.labels)
        np.testing.assert_array_equal(back.affine, volume.affine)
        assert back.label_names == {1: "liver"}
    assert store.read("a").notes == ("a note",)
    assert store.read("a").acquisition == {"KVP": 120.0}
    assert store.read("c").orientation == ("L", "P", "S")
    assert store.read("b").labels is None
    assert store.record("a").slices_with == {"liver": 1}
    assert list(store.tensors("a", ["label"])) == ["label"]


def test_cases_are_chosen_by_modality_sequence_and_organ(path):
    store = Store(path)
    assert [case.id for case in store.select("ct")] == ["a"]
    assert [case.id for case in store.select("mr", sequence="t1_in")] == ["b"]
    with pytest.raises(InputError, match=r"several sequences \(t1_in, t2_spir\)"):
        store.select("mr")
    with pytest.raises(InputError, match="sequence flair"):
        store.select("mr", sequence="flair")
    with pytest.raises(InputError, match="no mr case with liver labels"):
        store.select("mr", sequence="t1_in", organ="liver")
    with pytest.raises(InputError, match="no case 'x'"):
        store.read("x")


def test_a_store_without_a_modality_says_what_it_has(tmp_path):
    with writing_store(tmp_path / "s") as writer:
        writer.add("a", a_volume("ct"), patient="p")
    with pytest.raises(InputError, match=r"a store of ct\. Expected: mr cases"):
        Store(tmp_path / "s").select("mr")


def fail_halfway(target, append):
    with writing_store(target, append=append) as writer:
        writer.add("d", a_volume(), patient="p")
        raise ZeroDivisionError


def test_a_failure_leaves_the_folder_as_it_was(tmp_path, path):
    before = sorted((file.name, file.read_bytes()) for file in path.iterdir())
    for target, append in ((path, True), (tmp_path / "new", False)):
        with pytest.raises(ZeroDivisionError):
            fail_halfway(target, append)
    assert sorted((file.name, file.read_bytes()) for file in path.iterdir()) == before
    assert not (tmp_path / "new").exists()


def test_a_store_grows_only_when_asked_and_never_over_other_files(tmp_path, path):
    with writing_store(path, append=True) as writer:
        writer.add("d", a_volume(), patient="p3")
    assert [case.id for case in Store(path).cases] == ["a", "b", "c", "d"]
    with pytest.raises(InputError, match="a store already"), writing_store(path):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    with pytest.raises(InputError, match="not a store"), writing_store(tmp_path / "other", append=True):
        pass


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "ä", "a"])
def test_names_that_are_unusable_or_taken(path, name):
    with pytest.raises(InputError, match=r"case name|already"), writing_store(path, append=True) as writer:
        writer.add(name, a_volume(), patient="p")


def test_damage_is_noticed(path):
    file = path / "a.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"x")
    with pytest.raises(InputError, match=r"a\.safetensors: other bytes"):
        Store(path).verify()
    file.write_bytes(whole[:40])
    with pytest.raises(InputError, match=r"a\.safetensors: other bytes"):
        Store(path).read("a")
    with pytest.raises(InputError, match=r"a\.safetensors: a damaged file"):
        Store(path).tensors("a")
    file.unlink()
    with pytest.raises(InputError, match=r"a\.safetensors: no such file"):
        Store(path).read("a")


@pytest.mark.parametrize(
    ("content", "words"),
    [({"format": 2}, "store format 2"), ([], "store format"), ({"format": 1}, "does not fit"), ("x", "store format")],
)
def test_manifests_that_are_none(tmp_path, content, words):
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=words):
        Store(tmp_path)


@pytest.mark.parametrize("cases", [None, 3, "a", {"a": 1}])
def test_cases_that_are_no_list(tmp_path, cases):
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "cases": cases}))
    with pytest.raises(InputError, match=r"manifest\.json: no list of cases"):
        Store(tmp_path)


def test_a_record_that_does_not_fit_is_named_with_its_field(path):
    manifest = path / "manifest.json"
    whole = json.loads(manifest.read_text())

    def refused(change, words):
        content = json.loads(json.dumps(whole))
        change(content["cases"])
        manifest.write_text(json.dumps(content))
        with pytest.raises(InputError, match=rf"manifest\.json: {words}"):
            Store(path)

    refused(lambda cases: cases[1].pop("unit"), r"a record that does not fit \(case 'b', unit: Field required\)")
    refused(lambda cases: cases[1].update(shape=[1, "x", 2]), r".*\(case 'b', shape\.1: ")
    refused(lambda cases: cases[2].pop("id"), r".*\(record 3, id: ")
    refused(lambda cases: cases.append(7), r".*\(record 4, the whole: ")
    refused(lambda cases: cases[0].clear() or cases[0].update(id="a"), r".*\(case 'a', .* and \d+ more\)")
    refused(lambda cases: cases.append(cases[1]), r"two cases 'b'\. Expected: one record per case")


def test_a_case_that_may_not_be_read_is_not_called_missing(path, monkeypatch):
    def no(*_, **__):
        raise PermissionError(13, "Permission denied")

    store = Store(path)
    monkeypatch.setattr("pathlib.Path.open", no)
    with pytest.raises(PermissionError):
        store.tensors("a")


def test_long_lists_say_how_many_more():
    assert listed(["a", "b"]) == "a, b"
    assert listed((str(i) for i in range(12)), 12).endswith("10, 11")
    assert listed(map(str, range(15))).endswith("10, 11 and 3 more")


def test_no_store(tmp_path):
    with pytest.raises(InputError, match=r"none: no such folder"):
        Store(tmp_path / "none")
    with pytest.raises(InputError, match=r"no manifest\.json in it"):
        Store(tmp_path)


def test_the_smallest_type_that_loses_nothing():
    assert compact(np.array([[[-1.0, 32767.0]]])).dtype == np.int16
    assert compact(np.array([[[0.5, 1.0]]])).dtype == np.float32
    assert compact(np.array([[[0, 40000]]], dtype=np.uint16)).dtype == np.float32


def test_constant_and_broken_volumes_are_refused(tmp_path):
    for voxels, words in ((np.zeros((1, 2, 2)), "the value 0.0 everywhere"), (np.full((1, 2, 2), np.nan), "4 voxels")):
        with pytest.raises(InputError, match=f"bad: {words}"), writing_store(tmp_path / "s") as writer:
            writer.add("bad", Volume(voxels, np.eye(4), "ct"), patient="p")
    assert not (tmp_path / "s").exists()
