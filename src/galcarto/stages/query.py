"""Ask a cube for the extinction at points, one or a table of them.

Example:
  galcarto query results/demo/cube.nc --l 285 --b 0.5 --distance 2kpc
  galcarto query results/demo/cube.nc --l 285 --b 0.5 --distance 2kpc --band Ks --mode median
  galcarto query results/demo/cube.nc --ra 158.1 --dec -57.4 --distance "800 pc" --mode percentile --pct 16 84
  galcarto query results/demo/cube.nc --table stars.csv --output extinction.ecsv

A table (CSV or ECSV) has the columns distance and l, b (galactic) or ra, dec (ICRS), in kpc and degrees unless an ECSV
file says otherwise. It is written with columns such as A_V_mean, and reason: empty, or why there is no value, or
what speaks against it.
"""

import argparse
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from galcarto.core.errors import UserError
from galcarto.core.files import Output
from galcarto.core.units import parse
from galcarto.maps.query import COLOUR, INTERPOLATIONS, Reason
from galcarto.maps.reader import open_cube

MODES = ("mean", "sd", "median", "percentile")
FORMATS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cube", metavar="FILE", help="cube (netCDF or Zarr)")
    for name, meaning in (("l", "galactic longitude"), ("b", "galactic latitude"), ("ra", "ICRS"), ("dec", "ICRS")):
        parser.add_argument(f"--{name}", type=float, help=f"{meaning}, degree")
    parser.add_argument("--distance", help="with its unit, such as 2kpc")
    parser.add_argument("--table", help="points, in place of the options above (CSV or ECSV)")
    parser.add_argument("--output", type=Output, help="CSV or ECSV file to write for a table")
    parser.add_argument("--band", default="V", help="V, J, H, Ks, G, BP, RP or E(B-V); default V")
    parser.add_argument("--mode", nargs="+", choices=MODES, default=["mean", "sd"], help="default mean sd")
    parser.add_argument("--pct", nargs="+", type=float, help="percentiles of the mode percentile")
    parser.add_argument("--interpolation", choices=INTERPOLATIONS, default="nearest", help="default nearest")
    parser.add_argument("--colour", type=float, default=COLOUR, help="intrinsic BP-RP of the stars, for Gaia's bands")


def run(args: argparse.Namespace) -> None:
    """Print the extinction at a point, or write that of a table."""
    table = _point(args) if args.table is None else _read(args.table)
    if (args.table is None) != (args.output is None):
        raise UserError("expected --table and --output together")
    coords = _coordinates(table)
    symbol = args.band if args.band == "E(B-V)" else f"A_{args.band}"
    with open_cube(args.cube) as cube:
        for mode in args.mode:
            found = cube.dust.query(
                coords, mode, args.band, interpolation=args.interpolation, pct=args.pct, colour=args.colour
            )
            if mode == "percentile":
                for percent, values in zip(args.pct, np.moveaxis(found, -1, 0), strict=True):
                    table[f"{symbol}_p{percent:g}"] = values
            else:
                table[f"{symbol}_{mode}"] = found
        table["reason"] = [Reason(flags).text for flags in cube.dust.reason(coords).tolist()]
    if args.output is not None:
        table.write(args.output, format=_format(args.output.final))
        return
    for name in table.colnames:
        if name.startswith(symbol):
            print(f"{name} = {table[name][0]:.4g}")
    if table["reason"][0]:
        print(f"reason: {table['reason'][0]}")


def _point(args: argparse.Namespace) -> QTable:
    """The point given by the options, as a table of one row."""
    table = QTable()
    for name in ("l", "b", "ra", "dec"):
        if getattr(args, name) is not None:
            table[name] = [getattr(args, name)] * u.deg
    if args.distance is not None:
        table["distance"] = [_distance(args.distance)] * u.kpc
    return table


def _distance(text: str) -> float:
    try:
        return parse(text, "kpc")
    except ValueError as error:
        raise UserError(f"--distance: {error}") from None


def _format(path: str) -> str:
    suffix = Path(path).suffix
    if suffix not in FORMATS:
        raise UserError(f"{path}: found a name that ends in {suffix or 'nothing'}; expected .csv or .ecsv")
    return FORMATS[suffix]


def _read(path: str) -> QTable:
    if not Path(path).is_file():
        raise UserError(f"{path}: not found; expected a table of points")
    return QTable.read(path, format=_format(path))


def _coordinates(table: QTable) -> SkyCoord:
    """The points of a table; masked and empty values are NaN."""
    for frame, names in (("galactic", ("l", "b")), ("icrs", ("ra", "dec"))):
        if {*names, "distance"} <= set(table.colnames):
            lon, lat = (_column(table, name, u.deg) for name in names)
            distance = _column(table, "distance", u.kpc)
            distance[distance < 0.0] = np.nan  # a SkyCoord rejects negative distances; NaN gives the same reason
            try:
                return SkyCoord(lon, lat, distance=distance, frame=frame)
            except ValueError as error:
                raise UserError(f"{', '.join(names)}: found no position on the sky ({error})") from None
    found = ", ".join(table.colnames) or "none of them"
    raise UserError(f"found {found}; expected distance, and l and b or ra and dec")


def _column(table: QTable, name: str, unit: u.Unit) -> u.Quantity:
    column = table[name]
    try:
        values = u.Quantity(np.ma.filled(column, np.nan), unit)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: found values that are not numbers in {unit} ({error})") from None
    return values
