"""Stages that draw a figure from files."""

import argparse
import inspect
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from galcarto.core.files import Output
from galcarto.figures import style


def plot(
    figure: Callable[..., Figure], **inputs: str | tuple[str, Callable[[str], Any]]
) -> tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], None]]:
    """Define a stage that draws a figure.

    Parameters
    ----------
    figure : callable
        Draws the figure from the opened files, which it takes in the order of `inputs`. A file may be left out if its
        parameter has a default.
    inputs : str or (str, callable)
        Help of each file's option, and a function that opens the file (default: `xarray.open_dataset`).

    Returns
    -------
    configure, run : callable
        The stage's two functions.
    """
    parameters = dict(zip(inputs, inspect.signature(figure).parameters.values(), strict=False))
    files = {name: (one, xr.open_dataset) if isinstance(one, str) else one for name, one in inputs.items()}

    def configure(parser: argparse.ArgumentParser) -> None:
        for name, (text, _) in files.items():
            parser.add_argument(f"--{name}", required=parameters[name].default is inspect.Parameter.empty, help=text)
        parser.add_argument("--output", required=True, nargs="+", type=Output, help="PNG and PDF files to write")

    def run(args: argparse.Namespace) -> None:
        with ExitStack() as stack:
            given = {}
            for name, (_, opener) in files.items():
                if getattr(args, name) is not None:
                    opened = opener(getattr(args, name))
                    given[parameters[name].name] = (
                        stack.enter_context(opened) if isinstance(opened, xr.Dataset) else opened
                    )
            style.save(figure(**given), *args.output)

    return configure, run
