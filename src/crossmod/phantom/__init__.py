"""Invented patients: an abdomen with labelled organs, rendered as CT and as MR."""
