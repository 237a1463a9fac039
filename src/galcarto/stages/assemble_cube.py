"""Assemble the published cube from the posteriors of the strips.

Example:
  galcarto assemble_cube --settings "$(galcarto settings config/config.yaml assemble_cube)" --seed 1 --region demo \\
      --strips results/demo/sightlines/????.nc --fits results/demo/sightlines/????_fit.nc --output cube.nc
"""

import argparse

import netCDF4
import numpy as np

from galcarto.core import provenance
from galcarto.core.options import options
from galcarto.core.settings import read
from galcarto.dust.law import WIDE
from galcarto.dustmap.settings import (
    Control,
    Credits,
    Examples,
    Inference,
    InstrumentSettings,
    Network,
    ProfileSettings,
    Sightlines,
    Sky,
    SyntheticSky,
    Tile,
    Training,
)
from galcarto.maps import bands, cube
from galcarto.maps.grid import window_attributes
from galcarto.surveys import SURVEYS


class Settings(InstrumentSettings):
    """Sections that the stage uses or records: those of every stage before it."""

    sky: Sky
    synthetic: SyntheticSky
    tile: Tile
    control: Control | None
    profiles: ProfileSettings
    examples: Examples
    sightlines: Sightlines
    network: Network
    training: Training
    inference: Inference
    credits: Credits


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "output", settings=Settings)
    parser.add_argument("--region", required=True, help="the region's name, for the title")
    parser.add_argument("--strips", required=True, nargs="+", help="posteriors of the strips, in order (netCDF)")
    parser.add_argument("--fits", required=True, nargs="+", help="checks of the strips, in order (netCDF)")


def run(args: argparse.Namespace) -> None:
    """Write the cube, with the settings of all stages before it in its attributes."""
    settings = read(args.settings, Settings)
    sky, dust, surveys = settings.sky, settings.dust, settings.surveys
    edges, tiles = settings.distance.edges(), sky.grid(settings.tile.size)

    def strips():
        for number, (path, fit) in enumerate(zip(args.strips, args.fits, strict=True)):
            with netCDF4.Dataset(path) as file, netCDF4.Dataset(fit) as checked:
                strip = cube.Strip(
                    samples=np.ma.filled(file["extinction_samples"][:], np.nan),
                    stars_beyond=np.asarray(file["stars_beyond"][:]),
                    contraction=np.ma.filled(file["contraction"][:], np.nan),
                    out_of_distribution=np.ma.filled(file["out_of_distribution"][:], np.nan),
                    fit_p_value=np.ma.filled(checked["fit_p_value"][:], np.nan),
                    fit_chi2=np.ma.filled(checked["fit_chi2"][:], np.nan),
                    stars=np.asarray(file["stars"][:]).sum(axis=1),
                    area=np.asarray(file["area"][:]).max(axis=1),
                    full_area=np.asarray(file["full_area"][:]),
                )
            yield number * sky.strip_columns, cube.summarise(strip, edges, settings.inference.min_stars)

    attributes = provenance.attributes("assemble_cube", args, [*args.strips, *args.fits])
    own = [SURVEYS[survey.name] for survey in surveys]
    # all bands known today, as stars of other surveys are asked for too; of the same name, the region's own
    wavelengths: dict[str, float] = {}
    for survey in (*own, *SURVEYS.values()):
        for name, band in survey.bands.items():
            wavelengths.setdefault(name, band.wavelength)
    attributes |= {
        "title": f"Interstellar extinction in three dimensions: {args.region}",
        "summary": "A_V against distance along sightlines, from colour-magnitude diagrams of star counts: posterior "
        "mean, standard deviation and samples of the extinction to each distance and of its density",
        "keywords": "Interstellar dust, Interstellar dust extinction, Milky Way Galaxy, Star counts",
        "keywords_vocabulary": "Unified Astronomy Thesaurus",
        "id": f"{args.region}-{attributes['galcarto_config_sha256'][:12]}",
        "source": "synthetic sky" if sky.source == "synthetic" else "observed stars",
        "processing_level": "posterior of each sightline by itself; nothing is smoothed across sightlines",
        "history": f"assembled by galcarto {attributes['galcarto_version']}, commit {attributes['galcarto_commit']}",
        "comment": "extinction is cumulative from the Sun to the outer bound of each distance bin, not to its centre, "
        "and is the sum of extinction_density times the bins' widths",
        "references": "Cornu et al. 2022, https://arxiv.org/abs/2201.05571",
        "standard_name_vocabulary": "CF Standard Name Table v93",
        "cdm_data_type": "Grid",
        **window_attributes(tiles),
        "band": "V",
        "extinction_law": dust.law,
        "r_v": dust.r_v,
        **bands.described(wavelengths, WIDE),
        "survey": ", ".join(survey.title for survey in own),
        "survey_limits": ", ".join(
            f"{band} < {limit:g} mag" for survey in surveys for band, limit in survey.limits.items()
        ),
        "frame": "galactic",
    }
    attributes |= {key: text for key, text in settings.credits if text is not None}
    cube.write(args.output, tiles, edges, settings.inference.samples, strips(), attributes)
