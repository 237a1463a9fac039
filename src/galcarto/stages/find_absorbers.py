"""Find damped Lyman-alpha absorbers in spectra of quasars.

Example:
  galcarto find-absorbers --network results/absorbers/network/ours/0.pt --spectra spec-*.fits --output absorbers.parquet
  galcarto find-absorbers --network results/absorbers/network/ours/0.pt --spectra spectra/ \\
      --redshifts quasars.fits --output absorbers.fits

Spectra are spec-PLATE-MJD-FIBER files of SDSS, BOSS and eBOSS, or tables of wavelength, flux and error (CSV, ECSV,
FITS), or mock sightlines (netCDF). Beside NAME.parquet, one row for each absorber, NAME_sightlines.parquet has one row
for each spectrum. A .fits file holds both, with the columns of DESI's catalogues.
"""

import argparse
import logging

import numpy as np
import pandas as pd

from galcarto.absorbers.catalogue import search, write
from galcarto.absorbers.drawn import drawn
from galcarto.absorbers.find import AbsorberTrained
from galcarto.absorbers.read import read_parts, redshift_table
from galcarto.absorbers.sightlines import joined
from galcarto.core import provenance
from galcarto.core.files import Output
from galcarto.core.options import options

MOST = 100  # inputs whose checksums are kept
SHOWN = 30  # spectra on a figure, those with absorbers first


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "network")
    parser.add_argument("--spectra", required=True, nargs="+", help="files and folders of spectra")
    parser.add_argument("--redshifts", help="table of name, or plate, mjd and fiber, and z; instead of the files' own")
    parser.add_argument("--unit", default="", help="of wavelengths, where a table states none; default Angstrom")
    parser.add_argument(
        "--threshold", type=float, help="least probability; default: as chosen on validation sightlines"
    )
    parser.add_argument("--output", required=True, type=Output, help="file to write (Parquet or FITS)")
    parser.add_argument("--drawn", type=Output, help="what a figure of the spectra shows, to write (netCDF)")


def run(args: argparse.Namespace) -> None:
    """Read, search, write."""
    trained = AbsorberTrained.load(args.network)
    redshifts = redshift_table(args.redshifts) if args.redshifts else {}
    absorbers, searched, shown = [], [], []
    for sightlines, table in read_parts(args.spectra, redshifts, args.unit):
        found, rows = search(trained, sightlines, table, args.threshold)
        absorbers.append(found)
        searched.append(rows)
        if args.drawn:
            first = list(dict.fromkeys([*found["name"], *rows.loc[rows["z_min"].notna(), "name"]]))[:SHOWN]
            shown.append((first, sightlines[[list(rows["name"]).index(name) for name in first]]))
    every, beside = pd.concat(absorbers, ignore_index=True), pd.concat(searched, ignore_index=True)
    logging.info("%d absorbers in %d of %d spectra", len(every), every["name"].nunique(), len(beside))
    attributes = provenance.attributes("find_absorbers", args, [args.network, *beside["file"].drop_duplicates()[:MOST]])
    if args.drawn:
        names = [name for first, _ in shown for name in first]
        order = np.argsort(~np.isin(names, every["name"]), kind="stable")[:SHOWN]
        named = [names[at] for at in order]
        own = every[every["name"].isin(named)]
        own = own.assign(sightline=[named.index(name) for name in own["name"]])
        picture = drawn(trained, joined([part for _, part in shown])[order], own, named)
        picture.assign_attrs(attributes).to_netcdf(args.drawn)
    write(args.output, every, beside, attributes)
