"""Peers that do the same work with common tools: a plain loop, numpy, boost-histogram, torch, dustmaps.

Images are made as by `ForwardModel.render`: a Poisson number of stars of the list is thinned by the weights of the
populations, reddened by the profile, its differential extinction and the law of the image, measured with zero points,
errors and completeness, cut and binned. As in the kernel, numbers have single precision, errors and completeness are
tabulated, and stars too faint to be detected are left out before they are measured.
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boost_histogram as bh
import h5py
import numpy as np
import torch

from galcarto.dustmap.diagrams.forward import LAW_GRID, LAW_STEP, TABLE_START, TABLE_STEP, ForwardModel, Stars, View
from galcarto.dustmap.diagrams.kernel import HOPELESS, LEVELS
from galcarto.dustmap.diagrams.nuisances import Nuisances
from galcarto.galaxy.synthesis import StarModel

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # dustmaps warns about a missing configuration, which these maps do not need
    from dustmaps.bayestar import BayestarQuery

Histogram = Callable[[View, np.ndarray, np.ndarray], np.ndarray]


def loop_stars(model: StarModel, l: float, b: float, area: float, rng: np.random.Generator) -> list[tuple]:
    """Mock stars by a plain loop over metallicities, distance bins and stars.

    Densities, isochrone segments, limits and columns are those of `StarModel.draw`.
    """
    stars = []
    near, far = model.edges[:-1], model.edges[1:]
    for expected, population, reach in zip(model.expected(l, b), model.populations, model._reach, strict=True):
        for node, bins in np.ndindex(expected.shape):
            for _ in range(rng.poisson(expected[node, bins] * area)):
                at = population.number[population.first[node]] + rng.random() * reach[node, bins]
                segment = np.searchsorted(population.number, at, side="right") - 1
                start, stop = population.number[segment], population.number[segment + 1]
                values = population.low[segment] + (at - start) / (stop - start) * (
                    population.high[segment] - population.low[segment]
                )
                distance = np.cbrt(near[bins] ** 3 + rng.random() * (far[bins] ** 3 - near[bins] ** 3))
                values[: len(model.bands)] += 5.0 * np.log10(distance) + 10.0
                if model._faintness(values[None])[0] <= 0.0:
                    stars.append((distance, *values, population.age[segment], population.ratio[segment]))
    return stars


def numpy_histogram(view: View, magnitude: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Diagram by np.histogram2d."""
    return np.histogram2d(magnitude, colour, bins=view.axis_edges())[0]


def boost_histogram(view: View, magnitude: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Diagram by boost-histogram."""
    axes = [bh.axis.Regular(view.pixels, *ends) for ends in (view.magnitude_range, view.colour_range)]
    histogram = bh.Histogram(*axes, storage=bh.storage.Int64())
    histogram.fill(magnitude, colour)
    return histogram.view()


def numpy_images(
    model: ForwardModel,
    stars: Stars,
    extinction: np.ndarray,
    area: np.ndarray,
    nuisances: Nuisances,
    rng: np.random.Generator,
    histogram: Histogram = numpy_histogram,
) -> np.ndarray:
    """Diagrams of one survey without classes of colour, image by image, by np.interp and a histogram."""
    (view,) = model.views
    (law,) = model.law
    nodes = np.arange(len(model.edges))
    errors, shares = zip(*([table.astype("f4") for table in view.tables(name)] for name in view.bands), strict=True)
    images = []
    for profile, solid, population, spread, scale, offset in zip(
        extinction,
        area,
        nuisances.weights,
        nuisances.differential_extinction,
        nuisances.scales,
        nuisances.offsets,
        strict=True,
    ):
        largest = population.max()
        number = rng.poisson(len(stars.packed) * solid * largest / stars.area)
        chosen = rng.integers(len(stars.packed), size=number)
        if population.min() < largest:
            share = (population / largest).astype("f4")[stars.packed[chosen, 1].astype(np.intp)]
            chosen = chosen[rng.random(number, dtype=np.float32) < share]
        star = stars.packed[chosen]
        a_v = np.interp(star[:, 0], nodes, np.append(0.0, profile)).astype("f4")
        a_v *= spread.astype("f4")[rng.integers(LEVELS, size=len(a_v))]
        true = []
        for at in range(len(view.bands)):
            dimmed = star[:, 3 + at] + np.interp(a_v, LAW_GRID, scale[at] * law[at]).astype("f4")
            true.append(dimmed + np.float32(offset[at, 0]) + np.float32(offset[at, 1]) * (dimmed - np.float32(13.0)))
        hopeful = np.all([true[at] < view.limits[name] + HOPELESS for at, name in enumerate(view.bands)], axis=0)
        seen = np.ones(int(hopeful.sum()), bool)
        measured = {}
        for at, name in enumerate(view.bands):
            kept = true[at][hopeful]
            place = ((kept - np.float32(TABLE_START)) / np.float32(TABLE_STEP)).astype(np.int32)
            place = np.clip(place, 0, len(errors[at]) - 1)
            seen &= rng.random(len(kept), dtype=np.float32) < shares[at][place]
            measured[name] = kept + errors[at][place] * rng.standard_normal(len(kept), dtype=np.float32)
            seen &= (measured[name] < view.limits[name]) & (measured[name] >= view.bright)
        colour = measured[view.colour_bands[0]] - measured[view.colour_bands[1]]
        images.append(histogram(view, measured[view.magnitude_band][seen], colour[seen]))
    return np.stack(images)


def torch_images(
    model: ForwardModel,
    stars: Stars,
    extinction: np.ndarray,
    area: np.ndarray,
    nuisances: Nuisances,
    generator: torch.Generator,
) -> np.ndarray:
    """Diagrams of one survey without classes of colour by torch: gathers, and one bincount for all images of a block.

    The stars of all images are in one tensor, as one would do on a GPU.
    """
    (view,) = model.views
    law = torch.from_numpy(model.law[0]).float()
    packed = torch.from_numpy(stars.packed)
    tables = [[torch.from_numpy(table).float() for table in view.tables(name)] for name in view.bands]
    profiles = torch.from_numpy(np.pad(extinction, ((0, 0), (1, 1)), mode="edge")).float()
    profiles[:, 0] = 0.0
    weights, factors, scales, offsets = (
        torch.from_numpy(values).float()
        for values in (nuisances.weights, nuisances.differential_extinction, nuisances.scales, nuisances.offsets)
    )
    largest = weights.amax(dim=1)
    expected = len(packed) / stars.area * torch.from_numpy(area).float() * largest
    owner = torch.repeat_interleave(torch.arange(len(area)), torch.poisson(expected, generator).long())
    chosen = torch.randint(len(packed), owner.shape, generator=generator)
    share = (weights / largest[:, None])[owner, packed[chosen, 1].long()]
    kept = torch.rand(owner.shape, generator=generator) < share
    owner, chosen = owner[kept], chosen[kept]
    star = packed[chosen]
    edge = star[:, 0].long()
    low = profiles[owner, edge]
    a_v = low + (star[:, 0] - edge) * (profiles[owner, edge + 1] - low)
    a_v *= factors[owner, torch.randint(LEVELS, owner.shape, generator=generator)]
    grid = (a_v / LAW_STEP).clamp(max=law.shape[1] - 1)
    step = grid.long().clamp(max=law.shape[1] - 2)
    true = []
    for at in range(len(view.bands)):
        low = law[at][step]
        dimmed = star[:, 3 + at] + scales[owner, at] * (low + (grid - step) * (law[at][step + 1] - low))
        true.append(dimmed + offsets[owner, at, 0] + offsets[owner, at, 1] * (dimmed - 13.0))
    limits = torch.tensor([view.limits[name] for name in view.bands])
    kept = (torch.stack(true, dim=1) < limits + float(HOPELESS)).all(dim=1)
    owner = owner[kept]
    seen = torch.ones(owner.shape, dtype=torch.bool)
    measured = {}
    for at, name in enumerate(view.bands):
        error, found = tables[at]
        value = true[at][kept]
        place = ((value - TABLE_START) / TABLE_STEP).long().clamp(0, len(error) - 1)
        seen &= torch.rand(value.shape, generator=generator) < found[place]
        measured[name] = value + error[place] * torch.randn(value.shape, generator=generator)
        seen &= (measured[name] < view.limits[name]) & (measured[name] >= view.bright)
    colour = measured[view.colour_bands[0]] - measured[view.colour_bands[1]]
    pixel = owner
    for values, (first, last) in (
        (measured[view.magnitude_band], view.magnitude_range),
        (colour, view.colour_range),
    ):
        at = torch.floor((values - first) * (view.pixels / (last - first)))
        seen &= (at >= 0) & (at < view.pixels)
        pixel = pixel * view.pixels + at.long()
    counts = torch.bincount(pixel[seen], minlength=len(area) * view.pixels**2)
    return counts.reshape(len(area), view.pixels, view.pixels).numpy()


def bayestar(path: Path, samples: np.ndarray, moduli: np.ndarray) -> Any:
    """A BayestarQuery of dustmaps, on whole-sky profiles written in Bayestar's format.

    Parameters
    ----------
    path : path
        HDF5 file to write.
    samples : ndarray, shape (pixel, sample, distance), mag
        Of the HEALPix pixels, nested.
    moduli : ndarray, shape (distance,), mag
    """
    columns = [("nside", "i4"), ("healpix_index", "i8"), ("converged", "u1")]
    columns += [("DM_reliable_min", "f4"), ("DM_reliable_max", "f4")]
    info = np.zeros(len(samples), columns)
    info["nside"], info["healpix_index"] = np.sqrt(len(samples) / 12), np.arange(len(samples))
    with h5py.File(path, "w") as file:
        file["pixel_info"], file["samples"], file["best_fit"] = info, samples, samples.mean(axis=1)
        file["pixel_info"].attrs["DM_bin_edges"] = moduli
    with contextlib.redirect_stdout(io.StringIO()):
        return BayestarQuery(map_fname=str(path))
