"""Write the report of a region: one HTML file with every number and figure.

Example:
  galcarto report --metrics results/demo/metrics.json --cube results/demo/cube.nc \\
      --figures results/demo/figures/*.png --captions rules/captions/*.rst \\
      --output results/demo/report.html
"""

import argparse
import json
from pathlib import Path

from galcarto.core.files import Output
from galcarto.maps.reader import open_cube
from galcarto.pages import report


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--metrics", required=True, help="every number of the report (JSON)")
    parser.add_argument("--figures", required=True, nargs="+", help="figures, in the report's order (PNG)")
    parser.add_argument("--captions", required=True, nargs="+", help="captions of the figures (reStructuredText)")
    parser.add_argument("--cube", required=True, help="the cube, whose attributes are the provenance (netCDF)")
    parser.add_argument("--output", required=True, type=Output, help="HTML file to write")


def run(args: argparse.Namespace) -> None:
    """Write the report."""
    metrics = json.loads(Path(args.metrics).read_text())
    with open_cube(args.cube) as cube:
        html = report.render(cube, metrics, args.figures, args.captions)
    Path(args.output).write_text(html, encoding="utf-8")
