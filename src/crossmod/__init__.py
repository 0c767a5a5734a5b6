"""Unpaired cross-modality image synthesis between CT and MR."""

from importlib import metadata

__version__ = metadata.version("crossmod")
