"""Write the report of a region: one HTML file with every number and figure, readable offline.

Example:
  galcarto report --metrics results/demo/metrics.json --cube results/demo/cube.nc \\
      --figures results/demo/figures/*.png --output results/demo/report.html
"""

import argparse
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from galcarto.errors import UserError
from galcarto.files import Output
from galcarto.maps.reader import open_cube


class Caption(NamedTuple):
    """What is said of a figure: its heading, what it shows to those who cannot see it, and how to read it."""

    heading: str
    alt: str
    text: str


# by the figure's stem, or by its part before the first "_": planck_gnilc.png is captioned as planck
CAPTIONS = {
    "cmds": Caption(
        "Colour-magnitude diagrams",
        "For each channel two rows of four diagrams: mock ones above, observed ones below.",
        "Above: mock stars without dust, then behind a growing total extinction. Below: observed tiles, from the most "
        "to the fewest stars per area. The diagrams of a channel share one colour scale; the area differs from panel "
        "to panel.",
    ),
    "control": Caption(
        "The control field",
        "Observed, mock and fitted diagrams of a field with hardly any dust, the residual, and the mean colour.",
        "Observed stars of a nearly dust-free field, the mock before and after its fit, and the residual over the "
        "fitted Poisson error; below, the mean colour of all stars in slices of magnitude. The fitted corrections are "
        "given with their errors, scaled by the root of the reduced chi2: the natural logarithm of the number of "
        "stars over the mock's, the zero point of the colour at magnitude 13 and its slope with magnitude, stray "
        "galaxies at Ks = 14 and the shift of the metallicity. They are the centres of the nuisances in training. No "
        "target field and no map of dust has a part in the fit.",
    ),
    "prior": Caption(
        "The prior over profiles",
        "Profiles drawn from the prior, distributions of A(V) at four distances, density against distance, and a "
        "table.",
        "What the network is told before it sees a star: quantiles of 20 000 profiles with six of them, and the "
        "medians without clouds and without the Local Bubble; A(V) to four distances; dA(V)/ds (grey: where the "
        "bubble's wall may lie). Published, orange: median A(V) of stars within 55 pc, by direction (Knude 2013, "
        "arXiv:1306.5962); a plane disc's whole extinction at this latitude and the mean density in the plane, both "
        "worked out from 0.12 mag at high latitudes (Gontcharov et al. 2022, arXiv:2302.03871) and scale heights of "
        "103 pc (Li et al. 2018, ApJ 858, 75) or 73 and 225 pc (Guo et al. 2021, arXiv:2010.14092); the bubble's wall "
        "(O'Neill et al. 2024, arXiv:2403.04961); the slope of the power spectrum of ln(density), 3.1 in space (Leike "
        "& Enßlin 2019, A&A 631, A32), hence 1.1 along a line. Where the two differ, the prior is ours and wide on "
        "purpose; it is no fit to these numbers.",
    ),
    "narrowing": Caption(
        "What the data add to the prior",
        "Spread of the local density over that of the prior, share of the tiles where the data speak, and both "
        "densities.",
        "Above: standard deviation of the logarithm of the local density in a tile's posterior over that in the "
        "prior, over all tiles: near 1 the map shows the prior. Middle: share of the tiles for which a distance lies "
        "between distance_min and distance_max. Below: density of the prior and of the posterior samples of all "
        "tiles; densities below the axis are drawn at its end.",
    ),
    "trust": Caption(
        "Where to trust the map",
        "Maps over the tiles of the fit's p-value and chi2, strangeness, the reach of the data, and quality flags.",
        "p-value and chi2 of the observed diagrams against replicates of the posterior; strangeness, the share of "
        "training-like examples that look less strange to the network; distances between which the data speak (grey: "
        "nowhere, or not observed); and the quality flags with the number of tiles that carry each.",
    ),
    "structure": Caption(
        "The distance of the clouds",
        "Distance of the half-rise of each dusty tile against longitude, and median profiles by class of extinction.",
        "Left: distance at which a tile's extinction reaches half of its value behind the cloud, median and standard "
        "deviation of its samples, with the robust trend; distances from elsewhere are those of "
        "compare.structure.known, drawn for comparison and used for nothing. Right: median over tiles of the mean "
        "profiles, by the extinction that the emission map gives the tile. Grey: window in which the half-rise is "
        "expected.",
    ),
    "surveys": Caption(
        "Each survey alone, and both",
        "Extinction against distance of five tiles from each survey and from both, and the ratio of the errors.",
        "Posterior mean and standard deviation of A(V) to a few distances, from the channels of each survey alone and "
        "of all together, for five tiles from the least to the most extinction (marks of one distance are set side by "
        "side). Last panel: standard deviation of both together over that of the better survey alone, median over "
        "tiles.",
    ),
    "training": Caption(
        "Training",
        "Training and validation loss against the number of examples seen, with the learning rate below.",
        "Loss on the training and on the validation examples, and the learning rate.",
    ),
    "profiles": Caption(
        "Extinction along sightlines",
        "Cumulative extinction against distance in up to nine panels laid out as on the sky.",
        "Posterior mean of the cumulative extinction from the Sun, with the central 68 % and 95 % of the posterior "
        "samples. Beyond distance_max (grey) too few stars are left for the data to speak. The truth is drawn "
        "where it is known.",
    ),
    "calibration": Caption(
        "Calibration on held-out mocks",
        "Three panels: observed against nominal coverage, coverage against distance, and the PIT histogram.",
        "Share of the true profiles inside central posterior intervals, against the interval's nominal level and "
        "against distance (dotted: nominal); and the probability integral transform, flat where calibrated.",
    ),
    "errors": Caption(
        "Error against distance",
        "Median relative error, share of sightlines with data, bias and RMS error against distance.",
        "Error of the posterior mean of the cumulative extinction, within distance_max, for the held-out mocks and, "
        "where its truth is known, for the sky.",
    ),
    "limit": Caption(
        "The information limit",
        "Root-mean-square and median absolute error against distance for three methods, on few and on many diagrams.",
        "Error of the cumulative extinction on the same held-out diagrams, where stars remain behind the dust: of the "
        "network, of the posterior by the diagram's likelihood under the same prior, and of colour excesses of giants "
        "against the mock (in the manner of Marshall et al. 2006, A&A 453, 635). Right: of the two that cost little, "
        "on many more diagrams. Bands: 68 % of resampled sets of examples.",
    ),
    "planck": Caption(
        "The plane of the sky",
        "Two maps of extinction side by side, a map of their difference, and a scatter plot of one against the other.",
        "Extinction as far as stars reach, or to the distance named, beside that of the whole sightline from dust "
        "emission, on one colour scale, and ours less theirs. Crossed tiles are left out of the numbers; chi2 is the "
        "mean squared difference over our variance, as the other map's error is not known. Emission also sees the dust "
        "behind the map, so points below the 1:1 line are expected. Open circles, where there is a control field: A(V) "
        "of the plain mean colour excess of the same stars, which needs no model of them.",
    ),
    "map": Caption(
        "A published map in three dimensions",
        "Maps of the difference of two maps of extinction at three distances, and six panels of scores by distance.",
        "Both maps on the tiles and on common distances, where both can be trusted: above, A(V) of this work less that "
        "of the other map, to three distances. Below, by distance: the median difference (bias) and 1.4826 times the "
        "median absolute deviation from it (scatter) of A(V) and of its density in each bin, the ratio of the means, "
        "the rank correlation, the mean squared difference over its variance (chi2), and the number of tiles. "
        "metrics.json says whose errors count; docs/comparing.md how the other map's quantity became A(V).",
    ),
    "faceon": Caption(
        "The face-on view",
        "Map of extinction density around the Sun seen from the north Galactic pole.",
        "Extinction density where the data speak; grey elsewhere. Thin outline: all that was mapped. Dotted circles: "
        "distance from the Sun. Black: ridges of the Milky Way's spiral arms (Reid et al. 2019, ApJ 885, 131), whole "
        "where masers place them and dashed where extrapolated; they mean nothing on a synthetic sky, unless "
        "tracers.arms asks for its own. Triangles: masers of all latitudes, with the errors of their distances (Reid "
        "et al. 2019; Xu et al. 2023, ApJ 947, 54); circles: HII regions (Hou & Han 2014, A&A 569, A125).",
    ),
    "arms": Caption(
        "Dust and spiral arms",
        "Density against the distance to the nearest arm, and ratios on the arms and at tracers against nulls.",
        "Left: density over an exponential disc fitted to the map, near the plane and where the data speak, by "
        "distance in the plane to the nearest arm's ridge. Right: density on the arms over that between them (line), "
        "and the same of the map with the arms moved to other radii (grey); p is their share with at least as much. "
        "Below, where there are any: density at masers (Reid et al. 2019, ApJ 885, 131; Xu et al. 2023, ApJ 947, 54) "
        "and HII regions (Hou & Han 2014, A&A 569, A125) over that at the same distances in random directions of the "
        "map. Errors: patches of tiles, or tracers, drawn with replacement. A synthetic sky knows nothing of the Milky "
        "Way's arms.",
    ),
    "artefacts": Caption(
        "What no sky has",
        "Contrasts of density along and across the line of sight, differences between tiles, stripes, largest steps.",
        "Nothing is smoothed. a: mean squared contrast ((p - q) / (p + q))^2 of the densities of two cells, along the "
        "line of sight and across it at one latitude, at the same separations and distances. b: across over along; "
        "above the truth, or above isotropic skies in the same cells (grey), the map is elongated along the line of "
        "sight. c: differences of ln A(V) between tiles. d, e: correlation of tiles of one latitude or longitude that "
        "are far apart, of what sets them off from the next rows, against maps whose parts were moved at random. f: "
        "distance of each sightline's largest step (orange: the grid's first and last bin). Errors: jackknife over "
        "patches of tiles. What a perfect map has: docs/artefacts.md.",
    ),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--metrics", required=True, help="every number of the report (JSON)")
    parser.add_argument("--figures", required=True, nargs="+", help="figures, in the report's order (PNG)")
    parser.add_argument("--cube", required=True, help="the cube, whose attributes are the provenance (netCDF)")
    parser.add_argument("--output", required=True, type=Output, help="HTML file to write")


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested JSON with dotted names; a list of plain values, such as one for each distance, is a leaf."""
    nested = isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value)
    items = value.items() if isinstance(value, dict) else enumerate(value) if nested else None
    if items is None:
        yield name, value
        return
    for key, inner in items:
        yield from _flat(inner, f"{name}.{key}" if name else str(key))


def _rounded(value: Any) -> str:
    """A metric as text: four significant digits, whole numbers in full."""
    if isinstance(value, list):
        return ", ".join(map(_rounded, value))
    if value is None or value != value:
        return "not defined"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _caption(path: Path) -> Caption:
    for stem in (path.stem, path.stem.partition("_")[0]):
        if stem in CAPTIONS:
            return CAPTIONS[stem]
    raise UserError(
        f"--figures: found {path.name}; expected a name that begins with one of {', '.join(CAPTIONS)}; "
        "rename it, or add a caption in galcarto/stages/report.py"
    )


def _figure(path: Path) -> dict[str, str]:
    caption = _caption(path)
    variant = path.stem.partition("_")[2]
    return {
        **caption._asdict(),
        "heading": f"{caption.heading}: {variant}" if variant else caption.heading,
        "data": base64.b64encode(path.read_bytes()).decode(),
    }


def _pretty(text: str) -> str:
    return json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False)


def run(args: argparse.Namespace) -> None:
    """Write the report."""
    metrics = json.loads(Path(args.metrics).read_text())
    with open_cube(args.cube) as cube:
        attributes = cube.attrs
        mapped = cube.extinction.isel(distance=0).notnull()
        extent = {
            "l": (float(cube.l_bounds.min()), float(cube.l_bounds.max())),
            "b": (float(cube.b_bounds.min()), float(cube.b_bounds.max())),
            "distance": float(cube.distance_bounds.max()),
            "step": 1000.0 * float(cube.distance_bounds[0, 1] - cube.distance_bounds[0, 0]),
            "mapped": int(mapped.sum()),
            "sightlines": mapped.size,
        }
    environment = Environment(
        loader=PackageLoader("galcarto", "stages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    html = environment.get_template("report.html.j2").render(
        title=attributes["title"],
        extent=extent,
        metrics=[(name, value, _rounded(value)) for name, value in _flat(metrics)],
        figures=[_figure(Path(path)) for path in args.figures],
        about={
            name: value for name, value in attributes.items() if name != "title" and not name.startswith("galcarto_")
        },
        provenance={name: attributes[f"galcarto_{name}"] for name in ("version", "commit", "seed")},
        software=json.loads(attributes["galcarto_software"]),
        inputs=json.loads(attributes["galcarto_inputs_sha256"]),
        config=_pretty(attributes["galcarto_config"]),
    )
    Path(args.output).write_text(html, encoding="utf-8")
