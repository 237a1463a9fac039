"""Map the mean metallicity of labelled stars against R and |Z|, and against x, y and z.

Example:
  galcarto map_metallicity --settings "$(galcarto settings config/metallicity.yaml map_metallicity)" \\
      --seed 1 \\
      --labels results/metallicity/labels.parquet --output results/metallicity/map.nc \\
      --metrics results/metallicity/metrics/map.json

Of mock stars the metrics hold the slope of [Fe/H] with |Z| beside the true one; the true map is in the file too.
"""

import argparse
import logging
from typing import Any, Literal

import numpy as np

from galcarto.core import provenance
from galcarto.core.files import write_json
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.galaxy.components import load
from galcarto.galaxy.settings import GalaxySettings
from galcarto.labels.file import open_labels
from galcarto.metallicity.map import Selection, compared, metallicity_map, slope, truth
from galcarto.metallicity.settings import MapSettings, Mock
from galcarto.metallicity.simulate import required_limits


class Settings(Section):
    galaxy: GalaxySettings
    source: Literal["mock", "table"]
    mock: Mock
    map: MapSettings


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", "output", "metrics", settings=Settings)
    parser.add_argument("--labels", required=True, help="label file of stars with positions and distances (Parquet)")


def run(args: argparse.Namespace) -> None:
    """Write the maps, and the slope of [Fe/H] with |Z|."""
    galaxy, source, mock, settings = dict(read(args.settings, Settings)).values()
    if source == "mock" and settings.limits is None:
        settings = settings.model_copy(update={"limits": required_limits(mock), "bright": mock.bright})
    selection = None
    if settings.limits is not None:
        selection = Selection.build(settings, settings.limits, settings.bright)
    found = metallicity_map(open_labels(args.labels), settings, load(galaxy.model), selection)
    own, error = slope(found, "feh_population", found["feh_population_error"])
    metrics: dict[str, Any] = {"stars": found.attrs["stars"], "slope": own, "slope_error": error}
    if source == "mock":
        real = truth(galaxy, mock, settings, args.seed)
        found["feh_true"] = real["feh"].assign_attrs(long_name="mean [Fe/H] of all stars of the mock, seen or not")
        del found["feh_true"].attrs["ancillary_variables"]
        metrics |= compared(found, real)
    metrics["cells"] = int(np.isfinite(found["feh"]).sum())
    found.attrs |= provenance.attributes("map_metallicity", args, [args.labels])
    encoding: dict[str, dict[str, Any]] = {str(name): {"_FillValue": None} for name in found.coords}
    encoding |= {str(name): {"zlib": True, "complevel": 4} for name in found.data_vars}
    found.to_netcdf(args.output, encoding=encoding)
    write_json(args.metrics, {"map": metrics})
    logging.info("%d stars; slope of [Fe/H] with |Z|: %.3f +- %.3f dex/kpc", found.attrs["stars"], own, error)
