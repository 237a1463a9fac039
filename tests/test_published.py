"""Published maps in three dimensions, in the formats that they come in, against a cube whose answer is known."""

import hashlib
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import h5py
import healpy as hp
import numpy as np
import pytest
import xarray as xr
from astropy.io import fits
from conftest import cube_of
from hypothesis import given
from hypothesis import strategies as st

from galcarto.__main__ import main
from galcarto.core.sky import Tiles, cartesian
from galcarto.dust.law import coefficients
from galcarto.dustmap.compare import agreement, published
from galcarto.dustmap.compare.differences import differences
from galcarto.dustmap.compare.planck import MapError
from galcarto.maps.cube import POOR_FIT, UNLIKE_TRAINING
from galcarto.maps.grid import tile_coordinates

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
    samples = truth(l[..., None], b[..., None], EDGES[1:]) * (1 + OURS_SD * DRAWS[:, None, None, None])
    ends = {"distance_min": np.full(TILES.shape, 0.3), "distance_max": np.full(TILES.shape, 1.9)}
    return cube_of(TILES, EDGES, samples, **ends)


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
    kinds = {"nside": "i4", "healpix_index": "i8", "converged": "u1", "DM_reliable_min": "f4", "DM_reliable_max": "f4"}
    info = np.zeros(len(pixels), dtype=list(kinds.items()))
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
    """Shells of HEALPix pixels with the dust within the first one apart; the real ones are half as thick."""
    bounds = np.geomspace(69.0, 1250.0, 250)  # pc
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


def write_lallement(path, factor=1.0, half=(100, 60, 10)):
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
    "lallement22": (write_lallement, "cube_ext.fits"),
}
# of A_V: their pixels
TOLERANCE = {"marshall06": 0.006, "bayestar19": 0.006, "edenhofer24": 0.015, "lallement22": 1e-4}


@pytest.fixture(params=WRITE)
def name(request) -> str:
    return request.param


def compared(cube, name, path):
    return agreement.compare(cube, name, published.read(name, path, "G23", 3.1))


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
        found["published"].to_numpy()[used], factor * found["extinction"].to_numpy()[used], rtol=TOLERANCE[name]
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


@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        ("bayestar19", {}, {"extinction": THEIRS_SD, "density": THEIRS_SD}),
        ("edenhofer24", {"samples": True}, {"extinction": THEIRS_SD, "density": THEIRS_SD}),
        ("edenhofer24", {}, {}),
        ("marshall06", {}, {"extinction": THEIRS_SD}),  # errors at distances, but not how they go together
        ("lallement22", {}, {}),
    ],
)
def test_chi2_counts_the_errors_that_are_known(cube, name, options, theirs, tmp_path):
    """Ours is 1, theirs 1.2, each with an error in proportion: the same chi2 everywhere."""
    write, file = WRITE[name]
    found = compared(cube, name, write(tmp_path / file, 1.2, **options))
    for kind in ("extinction", "density"):
        both = kind in theirs
        assert found.attrs[f"{kind}_errors"] == ("of both maps" if both else "of this work alone")
        expected = 0.2**2 / (OURS_SD**2 + (1.2 * theirs.get(kind, 0.0)) ** 2)
        full = found[f"{kind}_n"] == 24
        assert np.median(found[f"{kind}_chi2"][full]) == pytest.approx(expected, rel=0.1)


@given(st.lists(st.floats(0.02, 0.5), min_size=1, max_size=30), st.lists(st.floats(0.02, 0.5), min_size=1, max_size=30))
def test_each_common_bin_holds_an_edge_of_both_maps_and_no_map_is_asked_beyond_its_end(ours, theirs):
    grids = [np.append(0.0, np.cumsum(widths)) for widths in (ours, theirs)]
    edges = agreement.common_edges(*grids)
    assert edges[0] == 0
    assert edges[-1] <= min(grids[0][-1], grids[1][-1]) + published.TINY
    assert np.isin(edges, np.concatenate(grids)).all()
    for low, high in pairwise(edges):
        assert all(((grid > low) & (grid <= high)).any() for grid in grids)


def test_the_coarser_of_two_grids_is_the_common_one():
    fine, coarse = np.linspace(0, 2, 41), np.linspace(0, 1.5, 4)
    np.testing.assert_allclose(agreement.common_edges(fine, coarse), coarse)
    np.testing.assert_allclose(agreement.common_edges(coarse, fine), coarse)


# --- coverage


def test_only_distances_within_both_maps_reach_are_used(cube, tmp_path):
    # 500 to 1260 pc
    found = compared(cube, "bayestar19", write_bayestar(tmp_path / "b.h5", reliable=(8.49, 10.505)))
    used = found["used"].any(("l", "b")).to_numpy()
    assert outer(found)[used].min() == pytest.approx(0.5)
    assert outer(found)[used].max() <= 1.26
    # a bin counts where both its ends do
    first = np.flatnonzero(used)[0]
    assert found["density_n"][first] == 0
    assert found["density_n"][first + 1] == 24
    cube["distance_min"][:] = 0.8
    cube["distance_max"][2] = 1.0
    found = compared(cube, "bayestar19", tmp_path / "b.h5")
    used = found["used"].to_numpy()
    assert outer(found)[used.any(axis=(0, 1))].min() == pytest.approx(0.8)
    assert outer(found)[used[2].any(axis=0)].max() <= 1.0
    assert outer(found)[used[3].any(axis=0)].max() > 1.0


def test_the_first_bin_begins_at_the_sun(cube, tmp_path):
    cube["distance_min"][:] = 0.1
    found = compared(cube, "lallement22", write_lallement(tmp_path / "cube.fits"))
    assert found["density_n"][0] == 24
    assert found["density_ratio"][0] == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("flag", [POOR_FIT, UNLIKE_TRAINING, 1, 2])
def test_tiles_that_the_cube_warns_of_are_left_out(cube, flag, tmp_path):
    cube["quality"][1, 2] = flag
    found = compared(cube, "lallement22", write_lallement(tmp_path / "cube.fits"))
    assert not found["used"][1, 2].any()
    assert found.attrs["tiles"] == 23


def test_a_tile_that_the_other_map_covers_in_part_is_left_out(cube, tmp_path):
    # pixels within 3 deg of here end in the middle of the window
    found = compared(cube, "bayestar19", write_bayestar(tmp_path / "b.h5", centre=(34.3, 2.0)))
    used = found["used"].any("distance").to_numpy()
    assert used[3:].all()
    assert not used[:2].any()


class Holed:
    """A map that lacks, or does not trust, one point in ten of the window's last tiles."""

    def __init__(self, value: float) -> None:
        self.value = value

    def edges(self, l, b):
        return EDGES

    def query(self, l, b, distance):
        hole = (l > 32.96)[:, None] & np.ones(len(distance), bool)
        extinction = np.where(hole, self.value, truth(l[:, None], b[:, None], distance))
        return published.MapExtinction(extinction[None], None, ~hole)


def test_a_tile_may_hold_a_tenth_of_distrust_but_no_hole(cube):
    assert agreement.compare(cube, "lallement22", Holed(1.0))["used"][5].any()
    found = agreement.compare(cube, "lallement22", Holed(np.nan))
    assert not found["used"][5].any()
    assert np.isfinite(found["extinction_bias"][found["extinction_n"] > 0]).all()


def test_a_map_elsewhere_has_nothing_in_common(cube, tmp_path):
    found = compared(cube, "bayestar19", write_bayestar(tmp_path / "b.h5", centre=(100.0, 2.0)))
    assert found.attrs["status"].startswith("not available: at no distance are 3 tiles trustworthy in both maps")
    assert agreement.metrics(found) == {"status": found.attrs["status"]}


def test_marshall_ends_at_ten_degrees_of_latitude(cube, tmp_path):
    path = write_marshall(tmp_path / "marshall.h5")
    moved = Tiles(TILES.l_edges, TILES.b_edges + 20)
    found = compared(cube.assign_coords(tile_coordinates(moved)), "marshall06", path)
    assert found.attrs["status"].startswith("not available")
    # across l = 0, where longitudes may pass 360
    moved = Tiles(TILES.l_edges + 328, TILES.b_edges)
    found = compared(cube.assign_coords(tile_coordinates(moved)), "marshall06", path)
    assert found.attrs["tiles"] == 24


def test_marshall_is_reliable_from_a_sightline_s_first_bin_to_its_last(cube, tmp_path):
    path = write_marshall(tmp_path / "marshall.h5", first=0.25, bins=5)
    found = compared(cube, "marshall06", path)
    used = found["used"].any(("l", "b")).to_numpy()
    np.testing.assert_allclose(outer(found)[used], [0.5, 0.75, 1.0, 1.25], atol=0.06)
    source = published.read("marshall06", path, "G23", 3.1)
    reliable = source.query(np.array([31.0, 200.0]), np.array([2.0, 2.0]), np.array([0.1, 0.25, 1.25, 1.5])).reliable
    np.testing.assert_array_equal(reliable, [[0, 1, 1, 0], [0, 0, 0, 0]])


def test_lallement_ends_at_its_cube(tmp_path):
    source = published.read("lallement22", write_lallement(tmp_path / "cube.fits", half=(60, 60, 20)), "G23", 3.1)
    distance = np.array([0.1, 1.1, 1.3, 2.0])
    found = source.query(np.array([0.0, 90.0, 0.0]), np.array([0.0, 0.0, 60.0]), distance)
    np.testing.assert_array_equal(found.reliable, [[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]])
    known = found.extinction[0][found.reliable]
    l, b = np.array([0.0, 90.0, 0.0])[:, None], np.array([0.0, 0.0, 60.0])[:, None]
    np.testing.assert_allclose(known, truth(l, b, distance)[found.reliable], rtol=1e-4)


# --- units


@pytest.mark.parametrize(("law", "per_ks", "per_a_0"), [("G23", 9.385, 1.0015), ("CCM89", 8.546, 1.0012)])
def test_conversions_follow_the_law_of_the_cube(law, per_ks, per_a_0, tmp_path):
    at = np.array([31.625]), np.array([2.125]), np.array([1.0])  # a pixel's centre
    expected = truth(31.625, 2.125, 1.0)
    marshall = published.read("marshall06", write_marshall(tmp_path / "marshall.h5"), law, 3.1)
    lallement = published.read("lallement22", write_lallement(tmp_path / "cube.fits"), law, 3.1)
    assert marshall.query(*at).extinction.item() == pytest.approx(expected * per_ks / PER_UNIT["marshall06"], rel=1e-3)
    assert lallement.query(*at).extinction.item() == pytest.approx(
        expected * per_a_0 / PER_UNIT["lallement22"], rel=1e-3
    )


# --- scores


def test_scores_of_known_differences():
    theirs = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    ours = theirs + np.array([0.1, 0.2, 0.3, 0.4, 9.0])
    found = differences(ours, theirs, np.full(5, 0.01))
    assert found["bias"] == pytest.approx(0.3)
    assert found["scatter"] == pytest.approx(1.4826 * 0.1)
    assert found["ratio"] == pytest.approx(25 / 15)
    assert found["spearman"] == pytest.approx(1.0)
    assert found["chi2"] == pytest.approx((0.01 + 0.04 + 0.09 + 0.16 + 81) / 0.05)
    assert found["n"] == 5


def test_chi2_of_errors_that_are_right_is_one(rng):
    theirs, sd = rng.uniform(1, 5, 4000), rng.uniform(0.1, 0.5, 4000)
    assert differences(theirs + sd * rng.standard_normal(4000), theirs, sd**2)["chi2"] == pytest.approx(1, abs=0.1)


def test_what_has_no_value_is_not_a_number():
    two = differences(np.ones(2), np.ones(2), np.ones(2))
    assert two.pop("n") == 2
    assert np.isnan(list(two.values())).all()
    flat = differences(np.array([1.0, 2.0, 3.0]), np.zeros(3), np.zeros(3))
    assert np.isnan([flat["spearman"], flat["ratio"], flat["chi2"]]).all()
    assert flat["bias"] == 2.0


# --- files


@pytest.mark.parametrize("content", [b"not a map", b""])
def test_files_that_are_not_the_map_are_refused(name, content, tmp_path):
    path = tmp_path / WRITE[name][1]
    with pytest.raises(MapError, match=f"{path}: not found; expected the file of"):
        published.read(name, path, "G23", 3.1)
    path.write_bytes(content)
    with pytest.raises(MapError, match=f"{path}: cannot be read as .*expected the file that dustmaps fetches to"):
        published.read(name, path, "G23", 3.1)


def test_a_cube_of_another_kind_is_refused(tmp_path):
    fits.PrimaryHDU(np.ones((3, 3, 3), "f4")).writeto(tmp_path / "cube.fits")
    with pytest.raises(MapError, match=r"KeyError.*STEP"):
        published.read("lallement22", tmp_path / "cube.fits", "G23", 3.1)


def dataverse(server, content):
    """What Harvard's Dataverse says of the map, and the map."""
    file = {"id": 7, "filename": "bayestar2019.h5", "md5": hashlib.md5(content).hexdigest()}
    known = {"data": {"latestVersion": {"files": [{"dataFile": file}]}}}
    server.answers["/api/datasets/:persistentId"] = 200, json.dumps(known).encode()
    server.answers["/api/access/datafile/7"] = 200, content


def run_fetch(folder, name, *more):
    folder.mkdir(exist_ok=True)  # as the workflow does
    note = folder / f"{name}.json"
    assert main(["fetch_map", "--name", name, "--output", str(note), *more]) == 0
    return json.loads(note.read_text())


def test_a_map_is_fetched_by_dustmaps_once_and_compared(cube, server, tmp_path, monkeypatch):
    theirs = tmp_path / "home/dustmapsrc"
    monkeypatch.setattr(published.config, "fname", str(theirs))
    monkeypatch.setattr(published.fetch_utils, "dataverse", server.address)
    dataverse(server, write_bayestar(tmp_path / "b.h5").read_bytes())
    first = run_fetch(tmp_path / "maps", "bayestar19")
    assert first["file"] == str(tmp_path / "maps/bayestar/bayestar2019.h5")
    assert first["sha256"] == hashlib.sha256((tmp_path / "b.h5").read_bytes()).hexdigest()
    asked = len(server.asked)
    assert run_fetch(tmp_path / "maps", "bayestar19") == first
    assert run_fetch(tmp_path / "maps", "bayestar19", "--offline") == first
    assert len(server.asked) == asked
    # what was cut is fetched again
    Path(first["file"]).write_bytes(b"half a map")
    assert run_fetch(tmp_path / "maps", "bayestar19") == first
    assert not theirs.exists()  # dustmaps' settings in the user's home are left alone
    found = run_compare(cube, tmp_path, "bayestar19", tmp_path / "maps/bayestar19.json")
    assert found["status"] == "compared"


def test_lallement_is_fetched_with_its_digest(server, tmp_path, monkeypatch):
    server.answers["/cube_ext.fits.gz"] = 200, b"a cube"
    monkeypatch.setattr(published, "LALLEMENT", f"{server.address}/cube_ext.fits.gz")
    found = run_fetch(tmp_path / "maps", "lallement22")
    assert "DownloadError: The MD5 sum of the downloaded file is incorrect" in found["reason"]
    monkeypatch.setattr(published, "LALLEMENT_MD5", hashlib.md5(b"a cube").hexdigest())
    found = run_fetch(tmp_path / "maps", "lallement22")
    assert Path(found["file"]).read_bytes() == b"a cube"


def run_compare(cube, folder, name, path):
    """The numbers that the stage writes; its file is left as map.nc."""
    cube.to_netcdf(folder / "cube.nc")
    outputs = ["--comparison", str(folder / "map.nc"), "--metrics", str(folder / "map.json")]
    assert main(["compare_maps", "--name", name, "--cube", str(folder / "cube.nc"), "--map", str(path), *outputs]) == 0
    return json.loads((folder / "map.json").read_text())["maps"][name]


@pytest.mark.parametrize("fault", ["refused", "missing", "offline", "gone"])
def test_a_map_that_cannot_be_had_is_said_so_and_the_rest_goes_on(cube, server, fault, tmp_path, monkeypatch):
    address = "http://127.0.0.1:9" if fault == "refused" else server.address
    monkeypatch.setattr(published.fetch_utils, "dataverse", address)
    if fault == "gone":
        dataverse(server, b"a map")
    note = run_fetch(tmp_path / "maps", "bayestar19", *(["--offline"] if fault == "offline" else []))
    if fault == "gone":
        Path(note["file"]).unlink()
    else:
        expected = {"refused": "ConnectionError", "missing": "HTTPError: 404", "offline": "sky.offline is set"}[fault]
        assert expected in note["reason"]
    found = run_compare(cube, tmp_path, "bayestar19", tmp_path / "maps/bayestar19.json")
    assert list(found) == ["status"]
    assert found["status"].startswith("not available: ")
    assert ("is there no more" if fault == "gone" else expected) in found["status"]
    picture = tmp_path / "map_bayestar19.png"
    assert main(["plot_map", "--comparison", str(tmp_path / "map.nc"), "--output", str(picture)]) == 0
    assert picture.stat().st_size > 1000


def test_the_stage_writes_every_score_by_distance(cube, tmp_path):
    path = write_lallement(tmp_path / "cube.fits", 1.2)
    found = run_compare(cube, tmp_path, "lallement22", path)
    assert found["status"] == "compared"
    assert found["tiles"] == 24
    for kind in ("extinction", "density"):
        assert found[kind]["errors"] == "of this work alone"
        for score in ("bias", "scatter", "ratio", "spearman", "chi2", "n"):
            assert len(found[kind][score]) == len(found["distance_kpc"])
    assert found["extinction"]["bias"][0] is None  # below distance_min
    assert found["farthest"]["distance_kpc"] == 1.9
    assert found["farthest"]["ratio"] == pytest.approx(1 / 1.2, rel=1e-3)
    with xr.open_dataset(tmp_path / "map.nc") as comparison:
        assert comparison["difference"].attrs["units"] == "mag"
        assert comparison["density_bias"].attrs["units"] == "mag kpc-1"
        assert comparison.attrs["reference"] == "A&A 661, A147"
        assert "galcarto_inputs_sha256" in comparison.attrs


def test_two_comparisons_have_the_same_bytes(cube, tmp_path):
    path = write_lallement(tmp_path / "cube.fits")
    run_compare(cube, tmp_path, "lallement22", path)
    first = (tmp_path / "map.nc").read_bytes()
    run_compare(cube, tmp_path, "lallement22", path)
    assert (tmp_path / "map.nc").read_bytes() == first


# --- layers


def test_asking_a_published_map_needs_no_stage_no_figure_and_no_torch():
    """Of all modules behind the comparison, directly or not."""
    code = "import sys; from galcarto.dustmap.compare import agreement, published; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    above = ("torch", "galcarto.stages", "galcarto.figures")
    assert "galcarto.dustmap.compare.published" in loaded
    assert not [module for module in loaded if module.startswith(above)]
