"""Write the cube, its HEALPix form and its sightlines as FITS.

Example:
  galcarto publish_fits --cube results/demo/cube.nc --healpix results/demo/cube_healpix.nc \\
      --image cube.fits --pixels cube_healpix.fits --sightlines cube_sightlines.fits
"""

import argparse

from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.maps import fits
from galcarto.maps.reader import open_cube


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "cube")
    parser.add_argument("--healpix", required=True, help="the cube in HEALPix pixels (netCDF)")
    parser.add_argument("--image", required=True, type=Output, help="FITS file of images to write")
    parser.add_argument("--pixels", required=True, type=Output, help="FITS file of HEALPix maps to write")
    parser.add_argument("--sightlines", required=True, type=Output, help="FITS file of a table to write")


def run(args: argparse.Namespace) -> None:
    """Write the three files."""
    with open_cube(args.cube) as cube:
        fits.write_image(args.image, cube)
        fits.write_sightlines(args.sightlines, cube)
    with open_cube(args.healpix) as cube:
        fits.write_pixels(args.pixels, cube)
