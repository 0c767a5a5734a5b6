import shutil

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from crossmod.data.importers.chaos import DOUBTFUL, chaos_cases, read_chaos_case
from crossmod.data.importers.chaos_masks import NO_LIVER, UNDECIDED, _check_follow
from crossmod.errors import InputError
from tests.support.dicom import body, chaos_ct, chaos_mr, edit, write_masks, write_series


def read_only(root):
    (case,) = chaos_cases(root)
    return read_chaos_case(case)


def test_the_layout_is_found_from_three_places(tmp_path):
    train = tmp_path / "Train_Sets"
    chaos_ct(train, "2")
    chaos_mr(train, "10")
    ids = ["chaos-ct-2", "chaos-mr-10-t1_in", "chaos-mr-10-t1_out", "chaos-mr-10-t2_spir"]
    for root in (tmp_path, train):
        assert [case.id for case in chaos_cases(root)] == ids
    shutil.copytree(train / "CT", tmp_path / "Test_Sets" / "CT")
    shutil.rmtree(tmp_path / "Test_Sets" / "CT" / "2" / "Ground")
    (tmp_path / "Test_Sets" / "CT" / "2").rename(tmp_path / "Test_Sets" / "CT" / "3")
    assert [case.id for case in chaos_cases(tmp_path)] == [*ids, "chaos-ct-3"]
    assert read_chaos_case(chaos_cases(tmp_path)[-1]).labels is None


def test_no_layout_says_what_was_found(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=r"photos\. Expected: Train_Sets"):
        chaos_cases(tmp_path)
    with pytest.raises(InputError, match="none: no such folder"):
        chaos_cases(tmp_path / "none")


@pytest.mark.parametrize("reverse", [False, True])
def test_ct_masks_lie_on_their_slices_whichever_way_they_run(tmp_path, reverse):
    stored, mask = chaos_ct(tmp_path, reverse_masks=reverse)
    volume = read_only(tmp_path)
    np.testing.assert_array_equal(volume.voxels, stored.astype(np.int32) - 1000)
    np.testing.assert_array_equal(volume.labels, mask)
    assert volume.label_names == {1: "liver"}
    assert volume.notes == (f"masks follow the file names{' reversed' if reverse else ''}",)


def test_masks_can_follow_positions_where_file_names_say_nothing(tmp_path):
    stored, mask = body()
    names = [f"i{number}.dcm" for number in (3, 1, 5, 0, 4, 2)]
    write_series(tmp_path / "CT" / "1" / "DICOM_anon", stored, names=names)
    write_masks(tmp_path / "CT" / "1" / "Ground", mask[::-1] * 255)
    volume = read_only(tmp_path)
    np.testing.assert_array_equal(volume.labels, mask)
    assert volume.notes == ("masks follow the positions reversed",)


def test_file_names_are_counted_as_a_person_would(tmp_path):
    stored, mask = body(slices=12, size=20)
    # As text, i10 comes before i2, and 10.png before 2.png.
    write_series(tmp_path / "CT" / "1" / "DICOM_anon", stored)
    write_masks(tmp_path / "CT" / "1" / "Ground", mask, stem="{}")
    np.testing.assert_array_equal(read_only(tmp_path).labels, mask)


def test_a_ct_order_that_cannot_be_told_is_refused(tmp_path, rng):
    _, mask = body()
    write_series(tmp_path / "CT" / "1" / "DICOM_anon", rng.integers(0, 2000, mask.shape).astype(np.uint16))
    write_masks(tmp_path / "CT" / "1" / "Ground", mask * 255)
    with pytest.raises(InputError, match=r"1/Ground: masks whose order cannot be decided .*--exclude"):
        read_only(tmp_path)


def test_masks_that_read_the_same_both_ways_need_no_decision(tmp_path, rng):
    _, mask = body()
    write_series(tmp_path / "CT" / "1" / "DICOM_anon", rng.integers(0, 2000, mask.shape).astype(np.uint16))
    write_masks(tmp_path / "CT" / "1" / "Ground", [mask[5] * 255] * 6)
    assert read_only(tmp_path).notes == ("masks follow the file names",)


@pytest.mark.parametrize("swap", [False, True])
def test_mr_phases_share_masks_and_are_told_by_echo_time(tmp_path, swap):
    labels = chaos_mr(tmp_path, swap=swap)
    t1_in, t1_out, t2 = (read_chaos_case(case) for case in chaos_cases(tmp_path))
    for volume in (t1_in, t1_out, t2):
        np.testing.assert_array_equal(volume.labels, labels)
        assert volume.label_names == {1: "liver", 2: "right_kidney", 3: "left_kidney", 4: "spleen"}
    assert (t1_in.acquisition["EchoTime"], t1_out.acquisition["EchoTime"]) == (4.6, 2.3)
    assert [volume.sequence for volume in (t1_in, t1_out, t2)] == ["t1_in", "t1_out", "t2_spir"]
    contradiction = "the phase was decided by echo time; the folder's name says the other phase"
    assert (contradiction in t1_in.notes, contradiction in t1_out.notes) == (swap, swap)


def test_both_phases_in_one_folder_are_told_apart(tmp_path):
    labels = chaos_mr(tmp_path)
    folder = tmp_path / "MR" / "10" / "T1DUAL" / "DICOM_anon"
    for phase in ("InPhase", "OutPhase"):
        for path in (folder / phase).iterdir():
            path.rename(folder / f"{phase}{path.name}")
    volume = read_chaos_case(chaos_cases(tmp_path)[1])
    assert volume.acquisition["EchoTime"] == 2.3
    np.testing.assert_array_equal(volume.labels, labels)


def test_without_echo_times_the_folders_tell_the_phase(tmp_path):
    chaos_mr(tmp_path)
    for path in (tmp_path / "MR" / "10" / "T1DUAL").rglob("*.dcm"):
        edit(path, lambda dataset: delattr(dataset, "EchoTime"))
    volume = read_chaos_case(chaos_cases(tmp_path)[0])
    assert "the phase was decided by the folder's name, not by echo time" in volume.notes
    (tmp_path / "MR" / "10" / "T1DUAL" / "DICOM_anon" / "InPhase").rename(
        tmp_path / "MR" / "10" / "T1DUAL" / "DICOM_anon" / "x"
    )
    with pytest.raises(InputError, match="echo times None and None"):
        read_chaos_case(chaos_cases(tmp_path)[0])


def test_an_mr_order_that_cannot_be_told_follows_the_file_names_and_says_so(tmp_path, rng, caplog):
    labels = chaos_mr(tmp_path)
    folder = tmp_path / "MR" / "10" / "T2SPIR" / "DICOM_anon"
    noise = rng.integers(0, 2000, labels.shape).astype(np.uint16)
    write_series(folder, noise, modality="MR", names=[path.name for path in sorted(folder.iterdir())])
    volume = read_chaos_case(chaos_cases(tmp_path)[2])
    np.testing.assert_array_equal(volume.labels, labels)
    assert UNDECIDED in volume.notes
    assert UNDECIDED in caplog.text


@pytest.mark.parametrize("number", ["21", "22", "33"])
def test_doubtful_mr_cases_carry_a_note(tmp_path, number, caplog):
    chaos_mr(tmp_path, number)
    assert DOUBTFUL in read_chaos_case(chaos_cases(tmp_path)[2]).notes
    assert DOUBTFUL in caplog.text
    chaos_ct(tmp_path, number)
    assert DOUBTFUL not in read_chaos_case(chaos_cases(tmp_path)[0]).notes


def test_the_edges_of_the_mr_mask_ranges(tmp_path):
    chaos_mr(tmp_path)
    ground = tmp_path / "MR" / "10" / "T2SPIR" / "Ground"
    # Beside the slices with liver: the liver is one piece.
    path = sorted(ground.iterdir())[2]
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[0, :8] = 56, 70, 111, 135, 176, 200, 241, 255
    Image.fromarray(mask).save(path)
    volume = read_chaos_case(chaos_cases(tmp_path)[2])
    assert volume.labels is not None
    assert volume.labels[2, 0, :9].tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 0]
    for unknown in (1, 55, 71, 110, 136, 175, 201, 240):
        mask[0, 0] = unknown
        Image.fromarray(mask).save(path)
        with pytest.raises(InputError, match=rf"{path.name}: label value unknown: {unknown}\."):
            read_chaos_case(chaos_cases(tmp_path)[2])


def test_ct_masks_may_be_one_bit_and_hold_one_value(tmp_path):
    _, mask = chaos_ct(tmp_path)
    ground = tmp_path / "CT" / "1" / "Ground"
    for path, one in zip(sorted(ground.iterdir()), mask[::-1], strict=True):
        Image.fromarray(one).save(path)
        with Image.open(path) as image:
            assert image.mode == "1"
    np.testing.assert_array_equal(read_only(tmp_path).labels, mask)
    Image.fromarray(mask[5].astype(np.uint8) * 77).save(sorted(ground.iterdir())[3])
    with pytest.raises(InputError, match=r"liver_GT_003\.png: label value unknown: 77"):
        read_only(tmp_path)


def test_masks_that_do_not_fit_the_slices(tmp_path):
    chaos_ct(tmp_path)
    ground = tmp_path / "CT" / "1" / "Ground"
    (ground / "liver_GT_005.png").unlink()
    with pytest.raises(InputError, match=r"1/Ground: 5 masks for 6 slices"):
        read_only(tmp_path)
    write_masks(ground, np.zeros((6, 8, 8)))
    with pytest.raises(InputError, match=r"1/Ground: masks of 8 x 8 for slices of 16 x 16"):
        read_only(tmp_path)
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(ground / "liver_GT_004.png")
    with pytest.raises(InputError, match=r"liver_GT_004\.png: a mask of 4 x 4\. Expected: 8 x 8"):
        read_only(tmp_path)
    (ground / "liver_GT_002.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"liver_GT_002\.png: an image that cannot be read"):
        read_only(tmp_path)
    for path in ground.iterdir():
        path.unlink()
    with pytest.raises(InputError, match="1/Ground: no PNG files"):
        read_only(tmp_path)


def test_series_that_do_not_fit_the_layout(tmp_path):
    chaos_mr(tmp_path)
    folder = tmp_path / "MR" / "10" / "T1DUAL" / "DICOM_anon"
    shutil.rmtree(folder / "OutPhase")
    with pytest.raises(InputError, match=r"T1DUAL/DICOM_anon: 1 series\. Expected: two T1 phases"):
        read_chaos_case(chaos_cases(tmp_path)[0])
    write_series(tmp_path / "MR" / "10" / "T2SPIR" / "DICOM_anon" / "more", body()[0], modality="MR")
    with pytest.raises(InputError, match="T2SPIR/DICOM_anon: 2 series"):
        read_chaos_case(chaos_cases(tmp_path)[2])
    chaos_ct(tmp_path)
    for path in (tmp_path / "CT" / "1" / "DICOM_anon").iterdir():
        edit(path, lambda dataset: setattr(dataset, "Modality", "MR"))
    with pytest.raises(InputError, match=r"CT/1/DICOM_anon: a series of modality MR\. Expected: CT"):
        read_chaos_case(chaos_cases(tmp_path)[0])


def test_masks_on_slices_stored_another_way_are_refused(tmp_path):
    chaos_ct(tmp_path)
    for path in (tmp_path / "CT" / "1" / "DICOM_anon").iterdir():
        edit(path, lambda dataset: setattr(dataset, "ImageOrientationPatient", [1, 0, 0, 0, -1, 0]))
    with pytest.raises(InputError, match="slices stored along L-A-I"):
        read_only(tmp_path)


def a_liver(slices):
    """CT values and masks of a liver whose size changes along the body as a real one's does."""
    rng = np.random.default_rng(4)
    stored, rows = rng.integers(0, 900, (slices, 40, 40)).astype(np.uint16), np.arange(40)
    mask = np.zeros(stored.shape, dtype=bool)
    for index in range(2, slices - 2):
        along = (index - 1) / (slices - 3)
        middle, radius = 12 + 10 * along, 2 + 12 * np.sin(np.pi * along**0.7)
        mask[index] = (rows[:, None] - middle) ** 2 + (rows - 18) ** 2 < radius**2
    stored[mask] = rng.integers(1095, 1105, int(mask.sum()))
    return stored, mask


@pytest.mark.parametrize("slices", [20, 40])
@pytest.mark.parametrize("empty_too", [True, False])
def test_shuffled_masks_are_refused_by_what_they_show(tmp_path, slices, empty_too):
    stored, mask = a_liver(slices)
    write_series(tmp_path / "CT" / "1" / "DICOM_anon", stored)
    ground = tmp_path / "CT" / "1" / "Ground"
    write_masks(ground, mask * 255)
    np.testing.assert_array_equal(read_only(tmp_path).labels, mask)
    held = np.arange(slices) if empty_too else np.flatnonzero(mask.any(axis=(1, 2)))
    # The slices are shuffled alike, so that the spread under the liver is as in the right order.
    for seed in range(5):
        order = np.arange(slices)
        order[held] = np.random.default_rng(seed).permutation(held)
        write_series(tmp_path / "CT" / "1" / "DICOM_anon", stored[order])
        write_masks(ground, mask[order] * 255)
        words = r"1/Ground: liver masks (with \d+ empty|that leap|that overlap)"
        with pytest.raises(InputError, match=words):
            read_only(tmp_path)


def test_masks_that_do_not_touch_their_neighbours_are_refused(tmp_path):
    stored, mask = body()
    mask[:] = False
    for index in range(1, 6):
        mask[index, 3 * index - 3 : 3 * index, 2:14] = True
    stored[mask] = 1100
    write_series(tmp_path / "CT" / "1" / "DICOM_anon", stored)
    write_masks(tmp_path / "CT" / "1" / "Ground", mask * 255)
    with pytest.raises(
        InputError, match=r"1/Ground: liver masks that overlap their neighbours little \(mean Dice 0\.00"
    ):
        read_only(tmp_path)


def test_one_empty_mask_inside_the_liver_is_borne(tmp_path):
    stored, mask = a_liver(14)
    mask[6] = False
    write_series(tmp_path / "CT" / "1" / "DICOM_anon", stored)
    write_masks(tmp_path / "CT" / "1" / "Ground", mask * 255)
    np.testing.assert_array_equal(read_only(tmp_path).labels, mask)


def test_a_ct_case_without_liver_says_so(tmp_path, caplog):
    chaos_ct(tmp_path)
    write_masks(tmp_path / "CT" / "1" / "Ground", np.zeros((6, 16, 16)))
    volume = read_only(tmp_path)
    assert volume.notes == (NO_LIVER,)
    assert volume.labels is not None
    assert not volume.labels.any()
    assert f"1/Ground: {NO_LIVER}" in caplog.text


def test_a_training_case_without_masks_is_named(tmp_path, caplog):
    for part in ("Train_Sets", "Test_Sets"):
        chaos_ct(tmp_path / part)
        shutil.rmtree(tmp_path / part / "CT" / "1" / "Ground")
    test, train = (read_chaos_case(case) for case in reversed(chaos_cases(tmp_path)))
    assert train.labels is test.labels is None
    assert [record.getMessage().split("/")[-3:] for record in caplog.records] == [
        ["Train_Sets", "CT", "1: no folder Ground: chaos-ct-1 of the training set has no labels"]
    ]


def test_the_measure_of_the_order_is_not_logged(tmp_path, caplog):
    chaos_ct(tmp_path)
    with caplog.at_level("INFO"):
        read_only(tmp_path)
    assert caplog.text == ""


@pytest.mark.real_data
@pytest.mark.parametrize(("folder", "liver"), [("mr_chaos_t2spir", 1), ("ct_btcv", 6)])
def test_real_livers_follow_one_another_and_shuffled_ones_do_not(real_folder, folder, liver):
    rng = np.random.default_rng(0)
    paths = sorted(real_folder(folder).glob("*/label.nii.gz"))
    assert paths
    for path in paths:
        loaded = nibabel.load(path)
        assert isinstance(loaded, nibabel.Nifti1Image)
        masks = np.moveaxis(np.asarray(loaded.dataobj) == liver, 2, 0)
        _check_follow(path, masks)
        for _ in range(10):
            order, held = np.arange(len(masks)), np.flatnonzero(masks.any(axis=(1, 2)))
            order[held] = rng.permutation(held)
            with pytest.raises(InputError, match="that leap"):
                _check_follow(path, masks[order])


@pytest.mark.real_data
def test_a_real_ct_case(real_folder, tmp_path):
    """Patient 1 of CHAOS as it is published, whoever else is there."""
    case = real_folder("chaos_ct_dicom/CT/1")
    (tmp_path / "alone" / "CT").mkdir(parents=True)
    (tmp_path / "alone" / "CT" / "1").symlink_to(case)
    volume = read_only(tmp_path / "alone")
    assert volume.labels is not None
    assert volume.voxels.shape == (78, 512, 512)
    assert volume.spacing == pytest.approx((2.0, 0.727, 0.727), abs=1e-3)
    assert int(volume.labels.any(axis=(1, 2)).sum()) == 71
    assert volume.label_ml("liver") == pytest.approx(1417, abs=1)
    assert np.median(volume.voxels[volume.labels == 1]) == 143
    assert volume.notes == ("masks follow the file names",)
    # The same case with its masks turned round is set right again.
    turned = tmp_path / "turned" / "CT" / "1"
    turned.mkdir(parents=True)
    (turned / "DICOM_anon").symlink_to(case / "DICOM_anon")
    masks = sorted((case / "Ground").iterdir())
    (turned / "Ground").mkdir()
    for index, path in enumerate(reversed(masks)):
        (turned / "Ground" / f"{index:03d}.png").symlink_to(path)
    again = read_only(tmp_path / "turned")
    np.testing.assert_array_equal(again.labels, volume.labels)
    assert again.notes == ("masks follow the file names reversed",)
    assert pydicom.dcmread(next((turned / "DICOM_anon").iterdir())).Modality == "CT"
