"""A truth whose body fills its slices is said so."""

from crossmod.inference.paired import AgainstTruth


def test_a_body_that_fills_the_truth_is_said() -> None:
    usual = AgainstTruth("HU", 1.0, None, 30.0, 0.9, 1000, 1.0, body_share=0.5)
    filled = AgainstTruth("HU", 1.0, None, 30.0, 0.9, 1000, 1.0, body_share=0.97)
    assert "body" not in usual.words
    assert "97% of its slices are taken for body" in filled.words
