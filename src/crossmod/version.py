"""The version of what is installed."""

from importlib import metadata

__version__ = metadata.version("crossmod")
