"""The version; pyproject.toml reads it here, so that it is known where crossmod is on the path and not installed."""

__version__ = "0.1.0"
