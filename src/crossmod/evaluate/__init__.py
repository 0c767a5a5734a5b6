"""Scores, and what they prove."""
