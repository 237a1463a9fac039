"""Check cubes against the file format: netCDF, Zarr or HEALPix form, of Galcarto or of other programs.

Prints for each finding its place, what was found and what was expected. The exit code is 1 if a file has an error; a
warning does not affect numbers. Sums, means and standard deviations may differ by four rounding errors of their type.
A file is read in strips of sightlines, so that its size does not matter.

Example:
  galcarto check-cube results/demo/cube.nc
  galcarto check-cube --json results/demo/cube.nc results/demo/cube.zarr results/demo/cube_healpix.nc
"""

import argparse
import json
from dataclasses import asdict

from galcarto.core.errors import UserError
from galcarto.maps.format_check import check


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="cube: netCDF file, Zarr folder or URL")
    parser.add_argument("--json", action="store_true", help="print one JSON object, {file: [finding, ...]}")


def run(args: argparse.Namespace) -> None:
    """Print the findings of each file."""
    found = {path: check(path) for path in args.files}
    refused = [path for path, findings in found.items() if any(one.severity == "error" for one in findings)]
    if args.json:
        print(json.dumps({path: [asdict(one) for one in findings] for path, findings in found.items()}, indent=2))
    else:
        for path, findings in found.items():
            print(f"{path}: {'refused' if path in refused else 'keeps the format'}")
            for one in findings:
                print(f"  {one}")
    if refused:
        raise UserError(f"{len(refused)} of {len(found)} files refused: {', '.join(refused)}")
