"""Galcarto maps interstellar dust in three dimensions from star counts alone."""

from typing import Any

__all__ = ["__version__", "open_cube", "open_labels"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # imported on demand: the pipeline's stages need not wait for xarray
    if name == "open_cube":
        from galcarto.maps.reader import open_cube

        return open_cube
    if name == "open_labels":
        from galcarto.labels.file import open_labels

        return open_labels
    raise AttributeError(f"module 'galcarto' has no attribute {name!r}")
