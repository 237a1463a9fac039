"""Statistics of the prior over profiles beside published ones of the nearby dust, and the contraction to the posterior.

Only published numbers that were read in their source (mostly its abstract) are listed here. The mean dA_V/ds of the
plane is not among them: it follows from the extinction at high latitudes and the scale height.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from galcarto.dust import profiles
from galcarto.dustmap.compare.structure import at_distance
from galcarto.maps.grid import distance_coordinate

QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)
DISTANCES = (0.1, 0.2, 0.3, 1.0)  # kpc
PROFILES = 20_000  # of each variant
SHOWN = 6  # profiles kept as examples
CLOUD = 0.1  # kpc: the steepest piece of this length holds a cloud and little else
INDEX_DROP = 2.0  # of an isotropic field's spectral index, from space to a line through it


class Published(NamedTuple):
    """A published statistic with its range and where it was read; low and high are the value where none is given."""

    quantity: str
    value: float
    low: float
    high: float
    unit: str
    source: str


PUBLISHED = (
    Published("bubble_wall", 0.17, 0.07, 0.6, "kpc", "O'Neill et al. 2024, arXiv:2403.04961"),
    # one disc of 103 pc; two discs of 73 and 225 pc
    Published(
        "scale_height", 0.103, 0.073, 0.225, "kpc", "Li et al. 2018, ApJ 858, 75; Guo et al. 2021, arXiv:2010.14092"
    ),
    Published("extinction_high_latitude", 0.12, 0.12, 0.12, "mag", "Gontcharov et al. 2022, arXiv:2302.03871"),
    Published("extinction_55pc", 0.125, 0.05, 0.2, "mag", "Knude 2013, arXiv:1306.5962"),
    Published("spectral_index", 3.1, 3.1, 3.1, "1", "Leike & Enßlin 2019, A&A 631, A32"),
)


def variants(prior: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The prior and what is left of it without each of its parts: ``full``, ``no_clouds`` and ``no_bubble``.

    Values are keywords of `dust.profiles.draw`, as is `prior`.
    """
    full = dict(prior)
    return {
        "full": full,
        "no_clouds": full | {"clouds": {**full["clouds"], "mean": 0.0}},
        "no_bubble": full | {"bubble": (0.0, 0.0), "bubble_density": (1.0, 1.0)},
    }


def draw(rng: np.random.Generator, number: int, edges: np.ndarray, prior: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Profiles of each variant, shape (profile, distance), mag."""
    return {name: profiles.draw(rng, number, edges, **keywords) for name, keywords in variants(prior).items()}


def statistics(
    rng: np.random.Generator, edges: np.ndarray, prior: Mapping[str, Any], latitude: float
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Statistics of the prior with and without each of its parts, beside published ones.

    Parameters
    ----------
    rng : numpy Generator
    edges : ndarray, shape (distance + 1,), kpc
    prior : mapping
        Keywords of `dust.profiles.draw`.
    latitude : float, deg
        Of the region.

    Returns
    -------
    dataset : Dataset
        Quantiles of A_V and its density by variant, examples, A_V at `DISTANCES`, and published values.
    metrics : dict
        `measure` of each variant, settings and published values.
    """
    drawn = draw(rng, PROFILES, edges, prior)
    full = drawn["full"]
    at = [d for d in DISTANCES if d <= edges[-1]]
    values = np.stack([at_distance(full, edges, d) for d in at], axis=1)
    density = {name: np.diff(profile, axis=1, prepend=0.0) / np.diff(edges) for name, profile in drawn.items()}
    published = expected(latitude)
    metrics = {name: measure(profile, edges) for name, profile in drawn.items()}
    shown = ("steepest_100pc_median_mag", "steepest_100pc_share", "ln_density_sd_along")

    def quantiles(profiles: Mapping[str, np.ndarray], units: str) -> tuple[Any, ...]:
        values = np.stack([np.quantile(profile, QUANTILES, axis=0) for profile in profiles.values()])
        return ("variant", "quantile", "distance"), values, {"units": units}

    dataset = xr.Dataset(
        {
            "extinction": quantiles(drawn, "mag"),
            "density": quantiles(density, "mag kpc-1"),
            "examples": (("example", "distance"), full[:SHOWN], {"units": "mag"}),
            "extinction_at": (("profile", "at"), values, {"units": "mag"}),
            **{name: ("bound", value) for name, value in published.items()},
        },
        coords={
            "variant": list(drawn),
            "quantile": list(QUANTILES),
            "at": ("at", at, {"units": "kiloparsec"}),
            "bound": ["value", "low", "high"],
            **distance_coordinate(edges),
        },
        attrs={
            "clouds_mean": prior["clouds"]["mean"],
            "slope": prior["slope"],
            "bubble_kpc": list(prior["bubble"]),
            "envelope_kpc": list(prior["envelope"]),
            "latitude": latitude,
            **{name.replace("_100pc", "").replace("_median", ""): metrics["full"][name] for name in shown},
        },
    )
    settings = {
        "clouds_mean_number": prior["clouds"]["mean"],
        "clouds_median_depth_mag": float(np.sqrt(np.prod(prior["clouds"]["extinction"]))),
        "clouds_median_width_kpc": float(np.sqrt(np.prod(prior["clouds"]["width"]))),
        "bubble_wall_kpc": list(prior["bubble"]),
        "envelope_kpc": list(prior["envelope"]),
        "spectral_index": prior["slope"],
    }
    bounds = {name: dict(zip(("value", "low", "high"), value, strict=True)) for name, value in published.items()}
    return dataset, metrics | {"settings": settings, "published": bounds}


def measure(extinction: np.ndarray, edges: np.ndarray) -> dict[str, Any]:
    """Statistics of profiles.

    Parameters
    ----------
    extinction : ndarray, shape (profile, distance), mag
        At the outer edges of the bins.
    edges : ndarray, shape (distance + 1,), kpc

    Returns
    -------
    dict
        ``extinction_mag``: quantiles of A_V at `DISTANCES`, as far as the profiles go, and at the last edge; mean and
        median of dA_V/ds beyond the bubble, mag/kpc, and the width of its logarithm over bins and profiles and along
        a profile; and how much the steepest 100 pc hold, in mag and of the whole.
    """
    density = np.diff(extinction, axis=1, prepend=0.0) / np.diff(edges)
    outside = density[:, edges[1:] > DISTANCES[2]]
    logarithm = np.log(np.maximum(outside, 1e-6))
    distances = [d for d in DISTANCES if d <= edges[-1]]
    bins = min(max(1, round(CLOUD / (edges[1] - edges[0]))), extinction.shape[1])
    profile = np.pad(extinction, ((0, 0), (1, 0)))
    steepest = (profile[:, bins:] - profile[:, :-bins]).max(axis=1)
    total = extinction[:, -1]
    quantiles = {f"{d:g}": np.quantile(at_distance(extinction, edges, d), QUANTILES).tolist() for d in distances}
    return {
        "extinction_mag": quantiles | {f"{edges[-1]:g}": np.quantile(total, QUANTILES).tolist()},
        "density_mean_mag_per_kpc": float(outside.mean()),
        "density_median_mag_per_kpc": float(np.median(outside)),
        "ln_density_sd": float(logarithm.std()),
        "ln_density_sd_along": float(np.median(logarithm.std(axis=1))),
        "steepest_100pc_median_mag": float(np.median(steepest)),
        "steepest_100pc_share": float(np.median(steepest / np.maximum(total, 1e-6))),
    }


def expected(latitude: float) -> dict[str, list[float]]:
    """What published statistics say of the prior's own quantities.

    Parameters
    ----------
    latitude : float, deg
        Of the region: a disc is left sooner at a high one.

    Returns
    -------
    dict of [value, low, high]
        ``bubble_wall_kpc``, ``extinction_55pc_mag``, ``spectral_index`` along a line, ``plane_density_mag_per_kpc``
        (the extinction at high latitudes over the scale height), and outside the plane ``envelope_kpc`` and
        ``disc_extinction_mag``, a disc's scale and its whole extinction along the sightline.
    """
    known = {entry.quantity: np.array([entry.value, entry.low, entry.high]) for entry in PUBLISHED}
    slant = abs(np.sin(np.radians(latitude)))
    result = {
        "bubble_wall_kpc": known["bubble_wall"],
        "extinction_55pc_mag": known["extinction_55pc"],
        "spectral_index": known["spectral_index"] - INDEX_DROP,
        "plane_density_mag_per_kpc": np.sort(known["extinction_high_latitude"] / known["scale_height"])[[1, 0, 2]],
    }
    if slant > 0.05:  # nearer to the plane a disc's radial run counts
        result["envelope_kpc"] = known["scale_height"] / slant
        result["disc_extinction_mag"] = known["extinction_high_latitude"] / slant
    return {name: values.tolist() for name, values in result.items()}


def contraction(
    spread: np.ndarray, nearest: np.ndarray, farthest: np.ndarray, centres: np.ndarray
) -> dict[str, np.ndarray]:
    """Posterior contraction over the tiles, by distance.

    Parameters
    ----------
    spread : ndarray, shape (tile, distance)
        Standard deviation of ln(local density), posterior over prior.
    nearest, farthest : ndarray, shape (tile,), kpc
        distance_min and distance_max, between which the data constrain the density.
    centres : ndarray, shape (distance,), kpc

    Returns
    -------
    dict of ndarray
        ``quantiles`` (quantile, distance) of the spread over tiles at `QUANTILES`, and ``speaking`` (distance,), the
        fraction of the tiles for which a distance lies between the two.
    """
    there = np.isfinite(spread).all(axis=1)
    spread, nearest, farthest = spread[there], nearest[there], farthest[there]
    if len(spread) == 0:
        shape = (len(QUANTILES), len(centres))
        return {"quantiles": np.full(shape, np.nan), "speaking": np.zeros(len(centres))}
    inside = (centres >= nearest[:, None]) & (centres <= farthest[:, None])  # NaN: nowhere
    return {"quantiles": np.quantile(spread, QUANTILES, axis=0), "speaking": inside.mean(axis=0)}


def contraction_of_map(spread: np.ndarray, cube: xr.Dataset, prior: xr.Dataset) -> xr.Dataset:
    """Posterior contraction of a map, with the densities of prior and posterior.

    Parameters
    ----------
    spread : ndarray, shape (tile, distance)
        As of `contraction`.
    cube : Dataset
        The map.
    prior : Dataset
        density (variant, quantile, distance), mag/kpc, at `QUANTILES`.

    Returns
    -------
    Dataset
        As `contraction` and ``posterior`` and ``prior`` (quantile, distance), mag/kpc; ``nearest`` and ``farthest``
        (tile,), kpc.
    """
    nearest, farthest = (cube[name].to_numpy().ravel() for name in ("distance_min", "distance_max"))
    centres, dims = cube["distance"].to_numpy(), ("quantile", "distance")
    found = contraction(spread, nearest, farthest, centres)
    posterior = cube["extinction_density_samples"].quantile(list(QUANTILES), ("sample", "l", "b"))
    return xr.Dataset(
        {
            "quantiles": (dims, found["quantiles"]),
            "speaking": ("distance", found["speaking"]),
            "posterior": (dims, posterior.to_numpy()),
            "prior": (dims, prior["density"].sel(variant="full").to_numpy()),
            "nearest": ("tile", nearest),
            "farthest": ("tile", farthest),
        },
        coords={"quantile": list(QUANTILES), "distance": centres},
    )
