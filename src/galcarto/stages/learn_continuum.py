"""Learn what quasars look like without absorbers, from absorber-free spectra of your own.

Example:
  galcarto learn_continuum --spectra spectra/ --components 10 --output quasars.npz

Name the file as 'continuum.path' in config/absorbers.yaml.
"""

import argparse

import numpy as np

from galcarto.absorbers.mock import learn_continuum
from galcarto.absorbers.read import read_sightlines, redshift_table
from galcarto.core.files import Output


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--spectra", required=True, nargs="+", help="files and folders of spectra")
    parser.add_argument("--redshifts", help="table of name, or plate, mjd and fiber, and z")
    parser.add_argument("--components", type=int, default=10, help="principal components; default 10")
    parser.add_argument("--output", required=True, type=Output, help=".npz file to write")


def run(args: argparse.Namespace) -> None:
    """Read, learn, write."""
    sightlines, _ = read_sightlines(args.spectra, redshift_table(args.redshifts) if args.redshifts else {})
    chosen = sightlines[(sightlines.error > 0).any(axis=1)]
    model = learn_continuum(chosen, args.components)
    with open(args.output, "wb") as file:  # given a name, numpy would add a suffix
        np.savez(file, rest_wavelengths=model.rest, mu=model.mean, M=model.components)
