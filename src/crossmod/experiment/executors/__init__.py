"""Executors: where the jobs of an experiment run."""
