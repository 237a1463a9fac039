"""Command-line options that several stages share."""

import argparse
from typing import Any

from galcarto.core.files import Output
from galcarto.core.settings import Section

# every stage depends on this file: an option of one stage stays with its stage
SHARED: dict[str, dict[str, Any]] = {
    "seed": {"type": int, "required": True, "help": "the region's seed"},
    "cube": {"required": True, "help": "cube (netCDF)"},
    "network": {"required": True, "help": "trained network"},
    "control": {"help": "corrections of the mock from the control field (JSON)"},
    "strip": {"required": True, "help": "number of the strip of longitude columns, e.g. 0000"},
    "gpus": {"type": int, "default": 0, "help": "GPUs of the job; default 0"},
    "offline": {"action": "store_true", "help": "send no request; use what was fetched before"},
    "metrics": {"required": True, "type": Output, "help": "JSON file to write"},
    "output": {"required": True, "type": Output, "help": "netCDF file to write"},
}


def options(parser: argparse.ArgumentParser, *names: str, settings: type[Section] | None = None) -> None:
    """Add shared options to a stage's parser.

    Parameters
    ----------
    parser : ArgumentParser
    names : str
        Keys of `SHARED`.
    settings : type, optional
        The stage's class ``Settings``: adds ``--settings``, which takes its sections as JSON.
    """
    if settings is not None:
        parser.add_argument("--settings", required=True, help=f"JSON of {', '.join(settings.model_fields)}")
    for name in names:
        parser.add_argument(f"--{name}", **SHARED[name])
