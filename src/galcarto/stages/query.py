"""Ask a cube for the extinction at points, one or a table of them.

Example:
  galcarto query results/demo/cube.nc --l 285 --b 0.5 --distance 2kpc
  galcarto query results/demo/cube.nc --l 285 --b 0.5 --distance 2kpc --band Ks --mode median
  galcarto query results/demo/cube.nc --ra 158.1 --dec -57.4 --distance "800 pc" --mode percentile --pct 16 84
  galcarto query results/demo/cube.nc --table stars.csv --output extinction.ecsv
  galcarto query results/demo/cube.nc --table stars.fits --output extinction.vot --band G --colour bp_rp_0

A table (CSV, ECSV, FITS or VOTable) has the columns distance and l, b (galactic) or ra, dec (ICRS), in kpc and degrees
unless its units say otherwise; l and b count where all four are there. It is written as any of these, with columns such
as A_V_mean, and reason: empty, or why there is no value, or what speaks against it. In Gaia's bands --colour may name
the column of the stars' own colours.
"""

import argparse
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

from galcarto.core.errors import UserError
from galcarto.core.files import Output
from galcarto.core.tables import floats, read_table
from galcarto.core.units import parse
from galcarto.maps.query import COLOUR, INTERPOLATIONS, Reason
from galcarto.maps.reader import open_cube

MODES = ("mean", "sd", "median", "percentile")
FORMATS = {
    ".csv": {"format": "ascii.csv"},
    ".ecsv": {"format": "ascii.ecsv"},
    ".fits": {"format": "fits"},
    # not as text: astropy 8.0.2 then writes beyond the end of a buffer
    ".vot": {"format": "votable", "tabledata_format": "binary2"},
}
POSITIONS = {"galactic": ("l", "b"), "icrs": ("ra", "dec")}
POINT = ("l", "b", "ra", "dec", "distance")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cube", metavar="FILE", help="cube (netCDF or Zarr)")
    for name, meaning in (("l", "galactic longitude"), ("b", "galactic latitude"), ("ra", "ICRS"), ("dec", "ICRS")):
        parser.add_argument(f"--{name}", type=float, help=f"{meaning}, degree")
    parser.add_argument("--distance", help="with its unit, such as 2kpc")
    parser.add_argument("--table", help="points, in place of the options above (CSV, ECSV, FITS or VOTable)")
    parser.add_argument("--output", type=Output, help="file to write for a table, .csv, .ecsv, .fits or .vot")
    parser.add_argument(
        "--band", default="V", help="V, J, H, Ks, G, BP, RP, E(B-V) or a wavelength such as 0.75um; default V"
    )
    parser.add_argument("--mode", nargs="+", choices=MODES, default=["mean", "sd"], help="default mean sd")
    parser.add_argument("--pct", nargs="+", type=float, help="percentiles of the mode percentile")
    parser.add_argument("--interpolation", choices=INTERPOLATIONS, default="nearest", help="default nearest")
    parser.add_argument(
        "--colour", default=str(COLOUR), help="intrinsic BP-RP of the stars, or its column, for Gaia's bands; default 1"
    )


def run(args: argparse.Namespace) -> None:
    """Print the extinction at a point, or write that of a table."""
    if (args.table is None) != (args.output is None):
        raise UserError("expected --table and --output together")
    if args.pct is not None and "percentile" not in args.mode:
        raise UserError("--pct: found no --mode percentile; expected it beside --pct")
    form = None if args.output is None else _form(args.output.final)
    table = _point(args) if args.table is None else _read(args)
    coords, colour = _coordinates(table), _colour(args.colour, table)
    band = args.band.replace(" ", "")
    symbol = band if band == "E(B-V)" else f"A_{band}"
    answers = {}
    with open_cube(args.cube) as cube:
        for mode in args.mode:
            found = cube.dust.query(coords, mode, band, interpolation=args.interpolation, pct=args.pct, colour=colour)
            if mode == "percentile":
                for percent, values in zip(args.pct, np.moveaxis(found, -1, 0), strict=True):
                    answers[f"{symbol}_p{percent:g}"] = values
            else:
                answers[f"{symbol}_{mode}"] = found
        reasons = [Reason(flags).text for flags in cube.dust.reason(coords, band, colour).tolist()]
    if form is None:
        for name, values in answers.items():
            print(f"{name} = {values[0]:.4g}")
        if reasons[0]:
            print(f"reason: {reasons[0]}")
        return
    answers["reason"] = reasons
    # FITS and other programs do not tell names by their case
    names = {name.lower(): name for name in table.colnames}
    taken = [names[name.lower()] for name in answers if name.lower() in names]
    if taken:
        raise UserError(f"{args.table}: found the columns {', '.join(taken)}, which are to be written; rename them")
    for name, values in answers.items():
        table[name] = values
    table.write(args.output, **form)


def _point(args: argparse.Namespace) -> Table:
    """The point given by the options, as a table of one row."""
    table = Table()
    for name in POINT[:-1]:
        if getattr(args, name) is not None:
            table[name] = [getattr(args, name)] * u.deg
    if not any(set(table.colnames) <= set(names) for names in POSITIONS.values()):
        found = ", ".join(f"--{name}" for name in table.colnames)
        raise UserError(f"found {found}; expected one position: --l and --b, or --ra and --dec")
    if args.distance is not None:
        table["distance"] = [_distance(args.distance)] * u.kpc
    return table


def _distance(text: str) -> float:
    try:
        return parse(text, "kpc")
    except ValueError as error:
        raise UserError(f"--distance: {error}") from None


def _colour(text: str, table: Table) -> float | np.ndarray:
    """The colour of all stars, mag, or that of each from a column."""
    if text in table.colnames:
        return _column(table, text, u.mag).value
    try:
        return float(text)
    except ValueError:
        found = ", ".join(table.colnames)
        raise UserError(f"--colour: found {text}; expected a number or a column of {found}") from None


def _form(path: str) -> dict[str, str]:
    """Options of `Table.write` for a file's suffix."""
    suffix = Path(path).suffix
    if suffix not in FORMATS:
        raise UserError(f"{path}: found a name that ends in {suffix or 'nothing'}; expected {', '.join(FORMATS)}")
    return FORMATS[suffix]


def _read(args: argparse.Namespace) -> Table:
    beside = ", ".join(f"--{name}" for name in POINT if getattr(args, name) is not None)
    if beside:
        raise UserError(f"found {beside} beside --table; expected a point or a table")
    return read_table(args.table, ["distance"], "and l and b, or ra and dec", everything=True)


def _coordinates(table: Table) -> SkyCoord:
    """The points of a table; masked and empty values are NaN."""
    for frame, names in POSITIONS.items():
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


def _column(table: Table, name: str, unit: u.Unit) -> u.Quantity:
    column = table[name]
    try:
        return u.Quantity(floats(column), column.unit or unit).to(unit)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: found values that are not numbers in {unit} ({error})") from None
