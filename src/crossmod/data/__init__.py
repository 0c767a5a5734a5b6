"""Volumes, stores, and all that turns files into slices."""
