"""The report of a region: one HTML file that reads from the map to its details, offline.

It opens with what was mapped, one picture and about ten numbers; figures follow by question; every other number, the
settings and the provenance are folded away.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from galcarto.core.errors import UserError
from galcarto.maps.cube import POOR, UNLIKE
from galcarto.pages import fill

# the figures that answer each question, by the beginnings of their names
QUESTIONS = {
    "What does the map look like?": ("faceon", "profiles"),
    "Can it be trusted?": ("trust", "errors", "calibration", "contraction", "artefacts"),
    "How does it compare?": ("planck", "map", "structure", "surveys", "limit", "arms"),
    "How was it trained?": ("cmds", "control", "prior", "training"),
}
REST = "How does it compare?"  # for figures with a caption that answer none of them
PICTURES = ("planck", "faceon")  # the page opens with the first of these


class Number(NamedTuple):
    """A number that the page opens with: where it is in the metrics, its format, ideal value and meaning."""

    name: str  # a regular expression of the dotted name
    label: str
    form: str
    ideal: str
    meaning: str


# {0}, {1} in labels stand for the groups of the name
NUMBERS = (
    Number(
        r"cube\.median_extinction_(.+)kpc_mag",
        "Extinction A(V) to {0} kpc, median of the tiles",
        "{:.2f} mag",
        "",
        "Half of the tiles have more dust in front of this distance. At 1 mag, 40 % of the visible light arrives.",
    ),
    Number(
        r"trust\.median_distance_min",
        "Trusted from, median of the tiles",
        "{:.2f} kpc",
        "near 0",
        "Nearer than this (distance_min) A(V) is uncertain; behind, it is right to 0.1 mag + 25 %, its place to 20 %.",
    ),
    Number(
        r"cube\.median_distance_max_kpc",
        "Trusted to, median of the tiles",
        "{:.2f} kpc",
        "the map's depth",
        "Beyond this (distance_max) too few stars are seen through the dust, and the map shows the prior.",
    ),
    Number(
        r"heldout\.median_relative_error",
        "Error of A(V), simulated sightlines",
        "{:.1%}",
        "0 %",
        "Median of |estimate - truth| / (truth + 0.1 mag), on sightlines and dust that the network was not trained on.",
    ),
    Number(
        r"heldout\.coverage_68",
        "A(V) within the 68 % interval, simulated",
        "{:.1%}",
        "68 %",
        "Share of the true extinctions inside the stated intervals. Less than ideal: the stated errors are too small.",
    ),
    Number(
        r"heldout\.coverage_95",
        "A(V) within the 95 % interval, simulated",
        "{:.1%}",
        "95 %",
        "The same of the wider intervals.",
    ),
    Number(
        r"heldout\.density_coverage_68",
        "Density within the 68 % interval, simulated",
        "{:.1%}",
        "68 %",
        "The same of the dust's density in single bins of distance, which is harder than its sum.",
    ),
    Number(
        r"sky\.median_relative_error",
        "Error of A(V), this sky",
        "{:.1%}",
        "0 %",
        "As above, of the map itself: the sky is synthetic, so that its dust is known.",
    ),
    Number(
        r"planck\.(.+)\.spearman",
        "Rank correlation with the emission map {0}",
        "{:.2f}",
        "1",
        "Whether the same tiles have much and little dust as in a map of the dust's emission (Spearman).",
    ),
    Number(
        r"planck\.(.+)\.slope",
        "Slope against the emission map {0}",
        "{:.2f}",
        "1",
        "This map's A(V) over that of the emission map. Less than 1: dust is missing, or lies behind the stars.",
    ),
    Number(
        r"trust\.poor_fit_share",
        "Tiles with a poor fit",
        "{:.1%}",
        f"{POOR:.0%} or less".replace("%", " %"),
        f"Tiles whose observed stars the map does not predict; about {100 * POOR:g} % by chance.",
    ),
    Number(
        r"trust\.unlike_training_share",
        "Tiles unlike the training",
        "{:.1%}",
        "0 %",
        f"Tiles whose stars differ more from the simulations than {100 * UNLIKE:g} % of these do among themselves.",
    ),
)


class Caption(NamedTuple):
    """Heading, alternative text and caption of a figure."""

    heading: str
    alt: str
    text: str


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested JSON with dotted names; a list of plain values is a leaf."""
    nested = isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value)
    items = value.items() if isinstance(value, dict) else enumerate(value) if nested else None
    if items is None:
        yield name, value
        return
    for key, inner in items:
        yield from flat(inner, f"{name}.{key}" if name else str(key))


def rounded(value: Any) -> str:
    """A metric as text: floats to four significant digits, integers in full."""
    if isinstance(value, list):
        return ", ".join(map(rounded, value))
    if value is None or value != value:
        return "not defined"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def captions_of(paths: Sequence[str]) -> dict[str, Caption]:
    """Captions by file stem. A file holds a heading, a comment with the alternative text, and the caption."""
    captions = {}
    for path in map(Path, paths):
        title, alt, text = (" ".join(part.split()) for part in path.read_text(encoding="utf-8").split("\n\n", 2))
        captions[path.stem] = Caption(title.rstrip("= "), alt.removeprefix(".. "), text)
    return captions


def figure_of(path: Path, captions: dict[str, Caption]) -> dict[str, str]:
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
        "id": path.stem,
        "kind": name,
        "heading": f"{caption.heading}: {variant}" if variant else caption.heading,
        "data": base64.b64encode(path.read_bytes()).decode(),
    }


def _answers(figures: Sequence[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    """Figures by the question that they answer, each in the order of `QUESTIONS`; without empty questions."""
    known = {kind for kinds in QUESTIONS.values() for kind in kinds}
    found = {}
    for question, kinds in QUESTIONS.items():
        answers = [figure for kind in kinds for figure in figures if figure["kind"] == kind]
        if question == REST:
            answers += [figure for figure in figures if figure["kind"] not in known]
        if answers:
            found[question] = answers
    return found


def _opening(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """The numbers of `NUMBERS` that a region has; of several maps, the first."""
    leaves = dict(flat(metrics))
    found = []
    for number in NUMBERS:
        for name, value in leaves.items():
            match = re.fullmatch(number.name, name)
            if match and isinstance(value, int | float) and value == value:
                text = number.form.format(value).replace("%", " %").replace("-", "−")
                words = {"label": number.label.format(*match.groups()), "value": text}
                words["meaning"] = number.meaning.replace(" %", "\N{NO-BREAK SPACE}%")
                found.append(number._asdict() | words)
                break
    return found


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
        reStructuredText files, as `captions_of` reads them.
    """
    described = captions_of(captions)
    attributes = cube.attrs
    mapped = cube.extinction.isel(distance=0).notnull()
    extent = {
        "l": (float(cube.l_bounds.min()), float(cube.l_bounds.max())),
        "b": (float(cube.b_bounds.min()), float(cube.b_bounds.max())),
        "tile": float(abs(cube.b_bounds[0, 1] - cube.b_bounds[0, 0])),
        "distance": float(cube.distance_bounds.max()),
        "step": 1000.0 * float(cube.distance_bounds[0, 1] - cube.distance_bounds[0, 0]),
        "mapped": int(mapped.sum()),
        "sightlines": mapped.size,
    }
    drawn = [figure_of(Path(path), described) for path in figures]
    picture = next((figure for kind in PICTURES for figure in drawn if figure["kind"] == kind), None)
    return fill(
        "report.html.j2",
        title=attributes["title"],
        extent=extent,
        stars=metrics.get("cube", {}).get("stars"),
        picture=picture,
        numbers=_opening(metrics),
        answers=_answers([figure for figure in drawn if figure is not picture]),
        metrics=[(name, value, rounded(value)) for name, value in flat(metrics)],
        attributes=attributes,
        about={
            name: value for name, value in attributes.items() if name != "title" and not name.startswith("galcarto_")
        },
        provenance={name: attributes[f"galcarto_{name}"] for name in ("version", "commit", "seed")},
        software=json.loads(attributes["galcarto_software"]),
        inputs=json.loads(attributes["galcarto_inputs_sha256"]),
        config=_pretty(attributes["galcarto_config"]),
    )
