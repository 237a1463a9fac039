"""The report of a region: one HTML file with every number and figure, readable offline."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from galcarto.core.errors import UserError
from galcarto.pages import fill


class Caption(NamedTuple):
    """Heading, alternative text and caption of a figure."""

    heading: str
    alt: str
    text: str


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested JSON with dotted names; a list of plain values is a leaf."""
    nested = isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value)
    items = value.items() if isinstance(value, dict) else enumerate(value) if nested else None
    if items is None:
        yield name, value
        return
    for key, inner in items:
        yield from _flat(inner, f"{name}.{key}" if name else str(key))


def _rounded(value: Any) -> str:
    """A metric as text: floats to four significant digits, integers in full."""
    if isinstance(value, list):
        return ", ".join(map(_rounded, value))
    if value is None or value != value:
        return "not defined"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _captions(paths: Sequence[str]) -> dict[str, Caption]:
    """Captions by file stem. A file holds a heading, a comment with the alternative text, and the caption."""
    captions = {}
    for path in map(Path, paths):
        title, alt, text = (" ".join(part.split()) for part in path.read_text(encoding="utf-8").split("\n\n", 2))
        captions[path.stem] = Caption(title.rstrip("= "), alt.removeprefix(".. "), text)
    return captions


def _figure(path: Path, captions: dict[str, Caption]) -> dict[str, str]:
    """A figure with the caption of its name, or of the part before "_": planck.rst for planck_gnilc.png."""
    name, _, variant = path.stem.partition("_")
    caption = captions.get(path.stem) or captions.get(name)
    if caption is None:
        raise UserError(
            f"--figures: found {path.name}; expected a name that begins with one of {', '.join(captions)}; "
            "rename it, or add a caption to rules/captions"
        )
    return {
        **caption._asdict(),
        "heading": f"{caption.heading}: {variant}" if variant else caption.heading,
        "data": base64.b64encode(path.read_bytes()).decode(),
    }


def _pretty(text: str) -> str:
    return json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False)


def render(cube: xr.Dataset, metrics: Mapping[str, Any], figures: Sequence[str], captions: Sequence[str]) -> str:
    """Render the report.

    Parameters
    ----------
    cube : Dataset
        The cube; its attributes give the provenance.
    metrics : mapping
        Every number of the report, nested.
    figures : sequence of str
        PNG files, in the report's order.
    captions : sequence of str
        reStructuredText files, as `_captions` reads them.
    """
    described = _captions(captions)
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
    return fill(
        "report.html.j2",
        title=attributes["title"],
        extent=extent,
        metrics=[(name, value, _rounded(value)) for name, value in _flat(metrics)],
        figures=[_figure(Path(path), described) for path in figures],
        about={
            name: value for name, value in attributes.items() if name != "title" and not name.startswith("galcarto_")
        },
        provenance={name: attributes[f"galcarto_{name}"] for name in ("version", "commit", "seed")},
        software=json.loads(attributes["galcarto_software"]),
        inputs=json.loads(attributes["galcarto_inputs_sha256"]),
        config=_pretty(attributes["galcarto_config"]),
    )
