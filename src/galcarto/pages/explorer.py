"""The explorer page of a map: its arrays are quantised, compressed and embedded as text."""

import base64
import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from plotly.offline import get_plotlyjs
from tqdm import tqdm

from galcarto.core.errors import UserError
from galcarto.maps.cube import COMPLETE, POOR
from galcarto.maps.grid import edges_of
from galcarto.pages import fill
from galcarto.surveys import SURVEYS

STEP = 0.001  # mag, or mag kpc-1: quantisation step
PERCENTILES = {"low95": 2.5, "low68": 16.0, "high68": 84.0, "high95": 97.5}
MOST_PIXELS = 9_000_000  # in all diagrams of one kind: some 2200 tiles of 64 x 64, a few MB in the page
DIGITS = 6  # significant digits of single numbers
# flag meanings in the cube and their texts in the page
FLAGS = {
    "not_observed": "Not observed: no survey covers enough of this tile, so there are no values",
    "partly_observed": f"Partly observed: less than {100 * COMPLETE:.0f} % of the tile's area was observed",
    "stars_run_out_before_the_last_bin": "Stars run out: beyond the trusted distances the prior dominates",
    "poor_fit": "Poor fit: the posterior does not predict the observed diagram",
    "unlike_training": "Unlike the training set: the diagram differs from those of nearly all mocks",
}
TILES = ("distance_min", "distance_max", "fit_p_value", "fit_chi2", "out_of_distribution", "stars", "area", "quality")


@dataclass(frozen=True)
class Packed:
    """An array as text: value = (number * step) ** power; the largest number of the type marks missing values.

    Attributes
    ----------
    text : str
        Base64 of the zlib-compressed numbers: all low bytes first, then all high bytes.
    shape : tuple of int
    bytes : int
        Bytes of an unsigned number, 1 or 2.
    step : float
    power : int
    differences : bool
        Numbers along the last axis are stored as differences from the previous one, modulo the type.
    """

    text: str
    shape: tuple[int, ...]
    bytes: int
    step: float
    power: int
    differences: bool

    def description(self) -> dict[str, Any]:
        """What the page needs to decode the text."""
        return {name: value for name, value in vars(self).items() if name != "text"}


def pack(values: np.ndarray, *, step: float = STEP, size: int = 2, power: int = 1, differences: bool = False) -> Packed:
    """Quantise and compress an array.

    Parameters
    ----------
    values : ndarray
        Zero or more, or NaN.
    step : float
        Quantisation step, above 0; it is increased if the largest value requires it.
    size : int
        Bytes of a number: 1 or 2.
    power : int
        2 quantises square roots, which suits Poisson noise.
    differences : bool
        Store differences along the last axis, for smooth arrays.

    Raises
    ------
    ValueError
        If a value is negative or infinite.
    """
    missing = np.isnan(values)
    known = np.where(missing, 0.0, values)
    if known.size and not (known.min() >= 0.0 and np.isfinite(known.max())):
        raise ValueError(f"found values from {known.min()} to {known.max()}; expected finite ones of 0 or more")
    kind = np.dtype(f"<u{size}")
    most = np.iinfo(kind).max - 1
    roots = known.astype(float) ** (1.0 / power)
    step = max(step, float(roots.max(initial=0.0)) / most)
    numbers = np.where(missing, most + 1, np.minimum(np.rint(roots / step), most)).astype(kind)
    if differences:
        numbers = np.diff(numbers, axis=-1, prepend=kind.type(0))  # wraps around
    planes = np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, size).T
    text = base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode("ascii")
    return Packed(text, values.shape, size, step, power, differences)


def profiles(cube: xr.Dataset) -> dict[str, Packed]:
    """Pack the mean and percentiles of the samples of both quantities, shape (l, b, distance).

    Parameters
    ----------
    cube : Dataset
        From `open_cube`; samples are read one column of longitude at a time.

    Returns
    -------
    dict of Packed
        ``extinction``, mag, and ``extinction_density``, mag kpc-1, and the ends of their central intervals: ``_low95``,
        ``_low68``, ``_high68``, ``_high95``.
    """
    packed = {}
    for quantity in ("extinction", "extinction_density"):
        mean = cube[quantity].transpose("l", "b", "distance").to_numpy()
        ends = np.empty((len(PERCENTILES), *mean.shape), np.float32)
        samples = cube[f"{quantity}_samples"].transpose("sample", "l", "b", "distance")
        for column in tqdm(range(mean.shape[0]), desc=quantity, unit="column", mininterval=5):
            ends[:, column] = np.percentile(samples[:, column].to_numpy(), list(PERCENTILES.values()), axis=0)
        packed[quantity] = pack(mean, differences=True)
        for name, values in zip(PERCENTILES, ends, strict=True):
            packed[f"{quantity}_{name}"] = pack(values, differences=True)
    return packed


def diagrams(sky: xr.Dataset, predicted: Iterable[xr.DataArray]) -> tuple[list[dict[str, Any]], dict[str, Packed]]:
    """Pack observed and predicted diagrams, and describe their axes.

    If there are too many tiles for a page, pixels are repeatedly merged two by two.

    Parameters
    ----------
    sky : Dataset
        Diagrams of the tiles from `render_sky`, read strip by strip.
    predicted : iterable of DataArray, shape (tile, channel, magnitude, colour)
        Predictions of the strips, in order; NaN where there is none.

    Returns
    -------
    channels : list of dict
    packed : dict of Packed
        ``observed`` and ``predicted``, stars per pixel, shape (tile, channel, magnitude, colour).

    Raises
    ------
    UserError
        If the strips do not cover the tiles of the sky.
    """
    tiles, _, rows, columns = sky["counts"].shape
    times = 1
    while tiles * sky.sizes["channel"] * (rows // times) * (columns // times) > MOST_PIXELS:
        times *= 2
    pairs = {"magnitude": times, "colour": times}
    counts: list[np.ndarray] = []
    means: list[np.ndarray] = []
    start = 0
    for strip in predicted:
        part = slice(start, start + strip.sizes["tile"])
        for image, merged in ((sky["counts"].isel(tile=part), counts), (strip, means)):
            merged.append(image.coarsen(pairs, boundary="trim").reduce(np.sum).to_numpy())
        start = part.stop
    if start != tiles:
        raise UserError(f"found {start} tiles with predicted diagrams; expected the {tiles} of the observed ones")
    channels = []
    for number, name in enumerate(sky.attrs["channels"].split(" ")):
        survey, _, bands = name.partition(":")
        colour, row = bands.split(",")
        parallax = row == "parallax"
        channels.append(
            {
                "name": f"{SURVEYS[survey].title}: {row} against {colour.replace('-', ' − ')}",
                "colour": f"{colour.replace('-', ' − ')} (mag)",
                "row": "Parallax (mas)" if parallax else f"{row} (mag)",
                "reversed": not parallax,
                "colour_edges": _edges(sky["colour_axis"][number].to_numpy())[::times],
                "row_edges": _edges(sky["magnitude_axis"][number].to_numpy())[::times],
            }
        )
    observed = np.concatenate(counts)
    return channels, {
        "observed": pack(observed, step=1.0, size=1 if observed.max(initial=0) < 255 else 2),
        "predicted": pack(np.concatenate(means), size=1, power=2),
    }


def contents(
    cube: xr.Dataset,
    view: xr.Dataset,
    sky: xr.Dataset,
    predicted: Iterable[xr.DataArray],
    truth: xr.Dataset | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Everything that the page shows.

    Parameters
    ----------
    cube : Dataset
        From `open_cube`.
    view : Dataset
        Face-on view of the cube, from `project`.
    sky, predicted
        As for `diagrams`.
    truth : Dataset, optional
        True extinction of a synthetic sky on the cube's grid.

    Returns
    -------
    about : dict
        Axes, flags, values per tile (l-major) and the encoding of each array, ready for JSON.
    texts : dict of str
        The packed arrays.

    Raises
    ------
    UserError
        If the diagrams do not match the tiles of the cube.
    """
    if sky.sizes["tile"] != cube["quality"].size:
        raise UserError(f"found diagrams of {sky.sizes['tile']} tiles; expected the cube's {cube['quality'].size}")
    channels, packed = diagrams(sky, predicted)
    packed |= profiles(cube)
    if truth is not None:
        packed["truth"] = pack(truth["extinction"].transpose("l", "b", "distance").to_numpy(), differences=True)
    within = view["extinction_density"].where(view["within"].astype(bool)).transpose("y", "x")
    packed["faceon"] = pack(within.to_numpy())
    quality = cube["quality"].attrs
    about = {
        "l": edges_of(cube, "l").tolist(),
        "b": edges_of(cube, "b").tolist(),
        "distance": edges_of(cube, "distance").tolist(),
        "flags": [
            {"mask": int(mask), "meaning": meaning, "text": FLAGS.get(meaning, meaning.replace("_", " ").capitalize())}
            for mask, meaning in zip(quality["flag_masks"], quality["flag_meanings"].split(), strict=True)
        ],
        "poor": POOR,
        "tiles": {name: _numbers(cube[name].transpose("l", "b").to_numpy().ravel()) for name in TILES},
        "channels": channels,
        "x": _edges(view["x"].to_numpy()),
        "y": _edges(view["y"].to_numpy()),
        "arrays": {name: array.description() for name, array in packed.items()},
    }
    return about, {name: array.text for name, array in packed.items()}


def _edges(centres: np.ndarray) -> list[float]:
    """Edges of evenly spaced bins; a single bin gets a width of 1."""
    half = 0.5 * (centres[1] - centres[0]) if len(centres) > 1 else 0.5
    return np.append(centres - half, centres[-1] + half).round(9).tolist()


def _numbers(values: Sequence[float] | np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.{DIGITS}g}") for value in values]


def _policy(script: str) -> str:
    """Hash of a script for the content security policy, which allows only the page's own two scripts."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def render(
    cube: xr.Dataset,
    view: xr.Dataset,
    sky: xr.Dataset,
    predictions: Iterable[xr.DataArray],
    truth: xr.Dataset | None,
    inputs: Mapping[str, str],
) -> str:
    """Render the page, with style, script and plotly.js embedded.

    Parameters
    ----------
    cube, view, sky, predictions, truth
        As in `contents`.
    inputs : mapping of str to str
        sha256 of each input file.
    """
    about, texts = contents(cube, view, sky, predictions, truth)
    attributes = cube.attrs
    step = 1000.0 * float(cube.distance_bounds[0, 1] - cube.distance_bounds[0, 0])
    folder = Path(__file__).parent
    style, script = ((folder / f"explorer.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    library = get_plotlyjs()
    return fill(
        "explorer.html.j2",
        title=attributes["title"],
        about=about,
        texts=texts,
        facts={"observed": int(cube.extinction.isel(distance=0).notnull().sum()), "step": step},
        latitudes=[float(value) for value in view.attrs["b_range_degree"]],
        percentiles=PERCENTILES,
        attributes={key: value for key, value in attributes.items() if not key.startswith("galcarto_")},
        provenance={key: attributes[f"galcarto_{key}"] for key in ("version", "commit", "seed", "config_sha256")},
        inputs=inputs,
        style=style,
        script=script,
        library=base64.b64encode(zlib.compress(library.encode(), 9)).decode("ascii"),
        policy=f"{_policy(script)} {_policy(library)}",
    )
