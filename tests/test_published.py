"""Published maps in three dimensions, in the formats that they come in, against a cube whose answer is known."""

from pathlib import Path

import h5py
import healpy as hp
import numpy as np
import pytest
import xarray as xr
from astropy.io import fits

from galcarto.compare import published
from galcarto.dust.law import coefficients
from galcarto.maps.grid import distance_coordinate, tile_coordinates
from galcarto.sky import Tiles, cartesian

ROOT = Path(__file__).parents[1]
TILES = Tiles.cover((30.0, 33.0), (1.0, 3.0), 0.5)  # in every map's reach
EDGES = np.linspace(0.0, 2.0, 21)
DENSITY, GRADIENT = 1.0, 8.0  # mag/kpc at the Sun, and per kpc across the window
ACROSS = np.array([-np.sin(np.radians(31.5)), np.cos(np.radians(31.5)), 0.0])
OURS_SD, THEIRS_SD = 0.1, 0.05  # relative
# samples whose standard deviation is 1 and whose mean is 0
DRAWS = np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25)
# A_V per unit of each map, for the law of the cube
PER_UNIT = {
    "marshall06": 1.0 / coefficients("G23", 3.1, {"Ks": 2.159})["Ks"],
    "bayestar19": 2.7404,
    "edenhofer24": 2.8,
    "lallement22": 1.0 / coefficients("G23", 3.1, {"A_0": 0.55})["A_0"],
}


def truth(l, b, distance):
    """A_V of a density that grows evenly across the window: its integral is known, and voxels hold it exactly."""
    across = np.tensordot(ACROSS, cartesian(l, b, 1.0), axes=1)
    return DENSITY * distance + 0.5 * GRADIENT * across * distance**2


@pytest.fixture
def cube() -> xr.Dataset:
    l, b = np.meshgrid(TILES.l, TILES.b, indexing="ij")
    mean = truth(l[..., None], b[..., None], EDGES[1:])
    dims = ("l", "b", "distance")
    return xr.Dataset(
        {
            "extinction": (dims, mean),
            "extinction_density": (dims, np.diff(mean, axis=-1, prepend=0.0) / 0.1),
            "extinction_samples": (("sample", *dims), mean * (1 + OURS_SD * DRAWS[:, None, None, None])),
            "distance_min": (("l", "b"), np.full(TILES.shape, 0.3)),
            "distance_max": (("l", "b"), np.full(TILES.shape, 1.9)),
            "quality": (("l", "b"), np.zeros(TILES.shape, "u1")),
        },
        coords={**tile_coordinates(TILES), **distance_coordinate(EDGES)},
        attrs={"extinction_law": "G23", "r_v": 3.1},
    )


# --- the maps, as they are published


def write_marshall(path, factor=1.0, first=0.2, bins=12):
    """dustmaps' own HDF5 form of the table: 801 x 81 sightlines, each with up to 33 bins, else NaN."""
    l, b = np.meshgrid(-100 + 0.25 * np.arange(801), -10 + 0.25 * np.arange(81), indexing="ij")
    distance = np.full((801, 81, 33), np.nan, "f4")
    distance[..., :bins] = first * np.arange(1, bins + 1)
    # the class looks up the pixel whose lower corner this is
    extinction = factor * truth(l[..., None] + 0.125, b[..., None] + 0.125, distance) / PER_UNIT["marshall06"]
    with h5py.File(path, "w") as file:
        for name, values in {
            "l": l,
            "b": b,
            "A": extinction,
            "sigma_A": THEIRS_SD * extinction,
            "dist": distance,
            "sigma_dist": 0.1 * distance,
        }.items():
            file[name] = values.astype("f4")
    return path


def write_bayestar(path, factor=1.0, reliable=(6.0, 11.0), centre=(31.5, 2.0)):
    """Pixels around a direction; the real map's bins in distance modulus."""
    modulus = np.arange(4.0, 19.0, 0.125)
    pixels = hp.query_disc(512, hp.ang2vec(*centre, lonlat=True), np.radians(3.0), nest=True)
    l, b = hp.pix2ang(512, pixels, nest=True, lonlat=True)
    info = np.zeros(
        len(pixels),
        dtype=[
            ("nside", "i4"),
            ("healpix_index", "i8"),
            ("converged", "u1"),
            ("DM_reliable_min", "f4"),
            ("DM_reliable_max", "f4"),
        ],
    )
    info["nside"], info["healpix_index"], info["converged"] = 512, pixels, 1
    info["DM_reliable_min"], info["DM_reliable_max"] = reliable
    mean = factor * truth(l[:, None], b[:, None], 10 ** (0.2 * modulus - 2)) / PER_UNIT["bayestar19"]
    with h5py.File(path, "w") as file:
        file["pixel_info"] = info
        file["pixel_info"].attrs["DM_bin_edges"] = modulus
        file["samples"] = (mean[:, None] * (1 + THEIRS_SD * DRAWS[:, None])).astype("f4")
        file["best_fit"] = mean.astype("f4")
    return path


def write_edenhofer(path, factor=1.0, samples=False):
    """Shells of HEALPix pixels with the dust within the first one apart; here thinner than the real ones' 2 %."""
    bounds = np.geomspace(69.0, 1250.0, 400)  # pc
    l, b = hp.pix2ang(32, np.arange(12 * 32**2), nest=True, lonlat=True)
    within = factor * truth(l, b, bounds[:, None] / 1000.0) / PER_UNIT["edenhofer24"]
    within = np.maximum(within, 1e-5 * bounds[:, None])  # far from the window the gradient would make it negative
    within = np.maximum.accumulate(within, axis=0) + 1e-6 * bounds[:, None]
    density = np.diff(within, axis=0) / np.diff(bounds)[:, None]
    inner = within[0]
    if samples:
        scale = 1 + THEIRS_SD * DRAWS
        density, inner = scale[:, None, None] * density, scale[:, None] * inner

    def image(data, name, **cards):
        hdu = fits.ImageHDU(data.astype("f4"), name=name)
        hdu.header.update({"NSIDE": 32, "ORDERING": "NESTED", **cards})
        return hdu

    def table(values, column):
        return fits.BinTableHDU.from_columns([fits.Column(name=column, format="D", array=values)])

    kind = "samples" if samples else "mean"
    prefix = "" if samples else "mean of "
    fits.HDUList(
        [
            fits.PrimaryHDU(),
            image(density, kind),
            table(0.5 * (bounds[1:] + bounds[:-1]), "radial pixel centers"),
            table(bounds, "radial pixel boundaries"),
            image(inner, f"{prefix}integrated inner", CTYPE="inner density integrated within 69pc"),
        ]
    ).writeto(path)
    return path


def write_lallement(path, factor=1.0, half=(150, 150, 20)):
    """The published cube's header and order of axes: x is the fastest; the Sun stands in the middle of a voxel."""
    x, y, z = (0.02 * np.arange(-n, n + 1) for n in half)
    along = ACROSS[0] * x + ACROSS[1] * y[:, None] + ACROSS[2] * z[:, None, None]
    density = factor * (DENSITY + GRADIENT * along) / PER_UNIT["lallement22"] / 1000.0  # mag/pc
    header = {"STEP": 20.0, **{f"SUN_POS{a}": n + 0.5 for a, n in zip("XYZ", half, strict=True)}}
    fits.PrimaryHDU(density.astype("f4"), fits.Header(header)).writeto(path)
    return path


WRITE = {
    "marshall06": (write_marshall, "marshall.h5"),
    "bayestar19": (write_bayestar, "bayestar2019.h5"),
    "edenhofer24": (write_edenhofer, "mean_and_std_healpix.fits"),
    "lallement22": (write_lallement, "cube_ext.fits.gz"),
}
TOLERANCE = {"marshall06": 0.006, "bayestar19": 0.006, "edenhofer24": 0.01, "lallement22": 1e-4}  # of A_V: their pixels


@pytest.fixture(params=WRITE)
def name(request) -> str:
    return request.param


def compared(cube, name, path):
    return published.compare(cube, name, published.read(name, path, "G23", 3.1))


def outer(found):
    return found["distance_bounds"].to_numpy()[:, 1]


# --- known answers


@pytest.mark.parametrize("factor", [1.0, 1.2])
def test_a_map_that_is_ours_times_a_factor_differs_by_it(cube, name, tmp_path, factor):
    write, file = WRITE[name]
    found = compared(cube, name, write(tmp_path / file, factor))
    assert found.attrs["status"] == "compared"
    assert found.attrs["tiles"] == 24
    used = found["used"].to_numpy()
    np.testing.assert_allclose(
        found["published"].to_numpy()[used],
        factor * found["extinction"].to_numpy()[used],
        rtol=TOLERANCE[name],
    )
    known = found["extinction_n"] == 24
    assert known.sum() >= 4
    median = np.median(found["extinction"].to_numpy().reshape(24, -1), axis=0)
    np.testing.assert_allclose(found["extinction_ratio"][known], 1 / factor, rtol=TOLERANCE[name])
    difference = (1 - factor) * median[known]
    np.testing.assert_allclose(found["extinction_bias"][known], difference, atol=TOLERANCE[name] * median[known].max())
    # where the window's own spread is large, the order of the tiles is the same
    assert found["extinction_spearman"][known][-1] > 0.95
    np.testing.assert_allclose(found["density_ratio"][found["density_n"] == 24], 1 / factor, rtol=0.05)
