"""The published forms of the cube: netCDF on a server, Zarr, HEALPix, Cartesian, footprint; and what checkers say."""

import http.server
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import astropy.units as u
import healpy as hp
import netCDF4
import numpy as np
import pytest
import xarray as xr
from astropy.coordinates import SkyCoord
from astropy.io import fits as astropy_fits
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from mocpy import MOC
from test_maps import EDGES, SAMPLES, TILES, strip, uniform
from test_maps import write as write_cube

from galcarto import open_cube
from galcarto.__main__ import main
from galcarto.core.errors import UserError
from galcarto.core.sky import Tiles, to_icrs
from galcarto.core.sky import cartesian as position
from galcarto.maps import cartesian, cube, faceon, fits, healpix, zarr
from galcarto.maps.cube import NOT_OBSERVED, PARTLY_OBSERVED, STARS_RUN_OUT, VARIABLES
from galcarto.maps.footprint import footprint, tile_points
from galcarto.maps.grid import tiles_of, window_attributes

PUBLISH = '{"publish": {}}'
DOCUMENTED = {
    name: "tests" for name in ("title", "summary", "keywords", "id", "source", "processing_level", "history", "comment")
} | {
    "license": "None",
    "standard_name_vocabulary": "CF Standard Name Table v93",
    "cdm_data_type": "Grid",
    **window_attributes(TILES),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every form of the small cube of the maps' tests, by the stages."""
    folder = tmp_path_factory.mktemp("forms")
    source = str(write_cube(folder / "cube.nc", DOCUMENTED))
    words = ["--cube", source, "--output"]
    assert main(["publish_zarr", *words, str(folder / "cube.zarr")]) == 0
    assert main(["publish_footprint", *words, str(folder / "footprint.moc.fits")]) == 0
    words = ["--seed", "1", *words]
    assert main(["publish_healpix", "--settings", PUBLISH, *words, str(folder / "cube_healpix.nc")]) == 0
    assert main(["publish_cartesian", "--settings", PUBLISH, *words, str(folder / "cartesian.nc")]) == 0
    forms = ["--cube", source, "--healpix", str(folder / "cube_healpix.nc"), "--image", str(folder / "cube.fits")]
    forms += ["--pixels", str(folder / "cube_healpix.fits"), "--sightlines", str(folder / "cube_sightlines.fits")]
    assert main(["publish_fits", *forms]) == 0
    assert main(["project_faceon", "--settings", '{"faceon": {}}', *words, str(folder / "faceon.nc")]) == 0
    return folder


@pytest.fixture
def opened(folder: Path) -> Iterator[xr.Dataset]:
    with open_cube(folder / "cube.nc") as found:
        yield found


def same(one: xr.Dataset, other: xr.Dataset) -> None:
    """Equal in values, types, dimensions and attributes."""
    xr.testing.assert_identical(one, other)
    for name in one.variables:
        assert one[name].dtype == other[name].dtype, name
        assert one[name].dims == other[name].dims, name


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- Zarr


def test_the_zarr_store_is_the_same_dataset(folder, opened):
    with open_cube(folder / "cube.zarr") as stored:
        assert not stored["extinction_samples"].variable._in_memory
        same(stored, opened)
        assert stored["extinction_samples"].encoding["chunks"] == (SAMPLES, 1, 1, 4)  # a sightline's
        assert np.isnan(stored["extinction"].encoding["_FillValue"])
        assert "_FillValue" not in stored["l"].encoding


def test_the_zarr_store_is_the_same_in_one_piece_and_column_by_column(folder, opened, tmp_path, monkeypatch):
    monkeypatch.setattr(zarr, "MEMORY", 1)
    zarr.write(tmp_path / "cube.zarr", opened)
    assert content(tmp_path / "cube.zarr") == content(folder / "cube.zarr")


def test_a_zarr_store_takes_the_place_of_an_older_one(folder, tmp_path):
    old = tmp_path / "cube.zarr"
    (old / "extinction").mkdir(parents=True)
    (old / "extinction/left").write_text("")
    assert main(["publish_zarr", "--cube", str(folder / "cube.nc"), "--output", str(old)]) == 0
    assert content(old) == content(folder / "cube.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["cube.zarr"]


def test_a_zarr_store_that_fails_leaves_nothing(folder, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise OSError("no more")

    monkeypatch.setattr(zarr.zarr, "consolidate_metadata", fails)
    (tmp_path / "cube.zarr.0.part/left").mkdir(parents=True)  # by a run that was killed
    assert main(["publish_zarr", "--cube", str(folder / "cube.nc"), "--output", str(tmp_path / "cube.zarr")]) == 1
    assert not list(tmp_path.iterdir())


def test_a_zarr_store_needs_its_ending(folder, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    assert main(["publish_zarr", "--cube", str(folder / "cube.nc"), "--output", str(tmp_path / "mine")]) == 1
    assert "expected a name that ends in .zarr" in capsys.readouterr().err
    assert (tmp_path / "mine").is_dir()


# --- from a server


class Parts(http.server.SimpleHTTPRequestHandler):
    """Answers requests for parts of a file, as servers do, and counts what it sends."""

    protocol_version = "HTTP/1.1"
    sent = 0

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        whole = path.read_bytes() if path.is_file() else b""
        asked = re.match(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        first, last = 0, len(whole) - 1
        if asked:
            first = int(asked[1]) if asked[1] else len(whole) - int(asked[2])
            last = min(int(asked[2]), last) if asked[1] and asked[2] else last
            self.send_response(206 if whole else 404)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(whole)}")
        else:
            self.send_response(200 if whole else 404)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(whole[first : last + 1])
            type(self).sent += last + 1 - first


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serves a folder on this machine; its address."""
    servers = []

    def start(folder: Path) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Parts, directory=folder))
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", ["cube.nc", "cube_healpix.nc", "cube.zarr", "cube.zarr/"])
def test_a_cube_on_a_server_is_the_same(name, folder, serve):
    with open_cube(f"{serve(folder)}/{name}") as far, open_cube(folder / name) as near:
        same(far, near)


@pytest.mark.parametrize("name", ["cube.nc", "cube.zarr"])
def test_a_file_s_address_is_its_path(name, folder, opened):
    with open_cube((folder / name).as_uri()) as found:
        same(found, opened)


@pytest.mark.parametrize("name", ["a#b.nc", "a?b=1.nc", "~a.nc", "a%20b c.nc", "http.nc", "a#b.zarr", "~a?.zarr"])
def test_a_path_may_hold_what_an_address_may_not(name, folder, opened, tmp_path, monkeypatch):
    (tmp_path / name).symlink_to(folder / f"cube{Path(name).suffix}")
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / name, name, (tmp_path / name).as_uri()):
        with open_cube(path) as found:
            same(found, opened)
    monkeypatch.setenv("HOME", str(tmp_path))
    with open_cube(f"~/{name}") as found:
        same(found, opened)


@pytest.mark.parametrize("name", ["cube.nc", "cube_healpix.nc", "cube.zarr"])
def test_bounds_are_coordinates_in_new_files_and_old_ones(name, folder, tmp_path):
    opening = partial(xr.open_zarr, chunks=None) if name.endswith("zarr") else xr.open_dataset
    with open_cube(folder / name) as found, opening(folder / name) as plain:
        bounds = {f"{one}_bounds" for one in ("l", "b", "distance") if one in found.dims}
        assert bounds <= set(found.coords) & set(plain.coords)
    if name.endswith("nc"):
        old = tmp_path / name
        old.write_bytes((folder / name).read_bytes())
        with netCDF4.Dataset(old, "a") as file:
            file.delncattr("coordinates")
        with open_cube(old) as before, open_cube(folder / name) as now:
            same(before, now)


def test_a_sightline_is_all_that_is_fetched(tmp_path, serve):
    tiles, edges = Tiles.cover((0, 16), (-8, 8), 1), np.linspace(0, 2, 41)
    columns = (
        strip(16, seed=i, samples=noise(i), stars_beyond=beyond(), contraction=0.5 * beyond()) for i in range(16)
    )
    strips = ((i, cube.summarise(column, edges, 20.0)) for i, column in enumerate(columns))
    cube.write(tmp_path / "cube.nc", tiles, edges, 50, strips, {})
    with open_cube(tmp_path / "cube.nc") as near:
        expected = near["extinction_samples"].isel(l=3, b=4).to_numpy()
        zarr.write(tmp_path / "cube.zarr", near)
    address, size = serve(tmp_path), (tmp_path / "cube.nc").stat().st_size
    for name in ("cube.nc", "cube.zarr"):
        Parts.sent = 0
        with open_cube(f"{address}/{name}") as far:
            np.testing.assert_array_equal(far["extinction_samples"].isel(l=3, b=4), expected)
        assert 0 < Parts.sent < size / 10, name


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(1.0, 0.3, (16, 50, 40)).cumsum(axis=2)


def beyond() -> np.ndarray:
    return np.full((16, 40), 1.0)


@pytest.mark.parametrize("name", ["none.nc", "none.zarr", "footprint.moc.fits"])
def test_what_a_server_does_not_have_is_named(name, folder, serve, capfd):
    address = f"{serve(folder)}/{name}"
    with pytest.raises(UserError, match=re.escape(address) + ": cannot be read as a cube .*address in a browser"):
        open_cube(address)


def test_a_file_that_is_no_cube_is_named_and_only_ours_is_to_be_deleted(folder, tmp_path):
    (tmp_path / "mine.nc").write_text("my notes")
    (tmp_path / "folder").mkdir()
    (tmp_path / "mine.zarr").mkdir()
    for path in (folder / "footprint.moc.fits", tmp_path / "mine.nc", tmp_path / "folder", tmp_path / "mine.zarr"):
        with pytest.raises(UserError, match=f"{path.name}: cannot be read as a cube .*; expected a cube.nc") as caught:
            open_cube(path)
        assert "delete" not in str(caught.value)
    cut = tmp_path / "cut.nc"
    write_cube(cut, {"galcarto_version": "0.1.0"})
    cut.write_bytes(cut.read_bytes()[:-9000])
    with pytest.raises(UserError, match=r"cut.nc: cannot be read as a cube .*delete it and run again"):
        open_cube(cut)
    with pytest.raises(UserError, match="found no distance_max, extinction, quality; expected a cube"):
        open_cube(folder / "cartesian.nc")


# --- HEALPix


@pytest.fixture
def pixels(folder: Path) -> Iterator[xr.Dataset]:
    with open_cube(folder / "cube_healpix.nc") as found:
        yield found


def test_the_healpix_form_keeps_its_contract(pixels):
    level = int(pixels["crs"].attrs["refinement_level"])
    assert {key: pixels["crs"].attrs[key] for key in ("grid_mapping_name", "indexing_scheme", "frame")} == {
        "grid_mapping_name": "healpix",
        "indexing_scheme": "nested",
        "frame": "galactic",
    }
    assert set(pixels.sizes) == {"cell", "distance", "sample", "bounds"}
    index = pixels["healpix_index"]
    assert index.dtype == np.int64
    assert index.attrs["standard_name"] == "healpix_index"
    assert (np.diff(index) > 0).all()
    l, b = hp.pix2ang(2**level, index.to_numpy(), nest=True, lonlat=True)
    np.testing.assert_array_equal(pixels["l"], l)
    np.testing.assert_array_equal(pixels["b"], b)
    assert {"l", "b", "healpix_index", "crs", "distance", "distance_bounds", "sample"} == set(pixels.coords)
    for name, (dimensions, _, attributes) in VARIABLES.items():
        expected = tuple("cell" if d == "l" else d for d in dimensions if d != "b")
        assert pixels[name].dims == expected, name
        assert pixels[name].attrs["grid_mapping"] == "crs"
        assert pixels[name].attrs.get("units") == attributes.get("units")


def test_pixels_keep_the_identity_and_rising_samples(pixels):
    width = np.diff(pixels["distance_bounds"].to_numpy(), axis=1)[:, 0]
    density = pixels["extinction_density"].to_numpy()
    np.testing.assert_array_equal(pixels["extinction"], np.cumsum(density * width, axis=1))
    samples = pixels["extinction_samples"].to_numpy()
    assert (np.diff(samples, axis=2, prepend=0) >= 0).all()
    np.testing.assert_allclose(pixels["extinction"], samples.mean(axis=0, dtype=float), rtol=1e-5)
    np.testing.assert_allclose(pixels["extinction_sd"], samples.std(axis=0, dtype=float), rtol=1e-4)
    np.testing.assert_array_equal(
        pixels["extinction_samples"][:, :, 0], pixels["extinction_density_samples"][:, :, 0] * np.float32(width[0])
    )


def test_pixels_keep_extinction_stars_and_area(pixels, opened):
    tiles, seen = tiles_of(opened), (opened["quality"] & NOT_OBSERVED).to_numpy() == 0
    pixel, _, area = healpix.overlaps(tiles, seen, int(pixels["crs"].attrs["refinement_level"]))
    covered = np.bincount(np.unique(pixel, return_inverse=True)[1], area)
    np.testing.assert_allclose(
        covered @ pixels["extinction"].to_numpy(), tiles.area()[seen] @ opened["extinction"].to_numpy()[seen], rtol=1e-6
    )
    for name in ("stars", "area"):
        assert float(pixels[name].sum()) == pytest.approx(float(opened[name].to_numpy()[seen].sum()), rel=1e-6)


@given(
    st.floats(0, 360),
    st.sampled_from([-90, -60, -1, 0, 45, 88]),
    st.sampled_from([0.25, 0.5, 1.0]),
    st.integers(0, 9),
    st.integers(0, 2**6 - 1),
)
def test_overlaps_share_out_the_tiles_area(l, b, size, level, chosen):
    tiles = Tiles.cover((l, l + 3 * size), (b, b + 2 * size), size)
    seen = np.array([chosen >> i & 1 for i in range(6)], bool).reshape(3, 2)
    if not seen.any():
        seen[0, 0] = True
    pixel, tile, area = healpix.overlaps(tiles, seen, level)
    np.testing.assert_allclose(np.bincount(tile, area, 6), (tiles.area() * seen).ravel(), rtol=1e-9)
    assert (np.diff(pixel) >= 0).all()
    assert len(set(zip(pixel, tile, strict=True))) == len(pixel)
    # no pixel holds more of the tiles than itself, but for the points' coarseness
    most = np.bincount(np.unique(pixel, return_inverse=True)[1], area).max()
    assert most <= 1.05 * hp.nside2pixarea(2**level, degrees=True)


def test_a_pixel_inside_a_tile_is_the_tile(opened, tmp_path):
    healpix.write(tmp_path / "fine.nc", opened, 512, {})
    with open_cube(tmp_path / "fine.nc") as fine:
        tiles = tiles_of(opened)
        at = tiles.index(fine["l"].to_numpy(), fine["b"].to_numpy())
        i, j = np.unravel_index(np.maximum(at, 0), tiles.shape)
        l, b = tiles.unwrap(fine["l"].to_numpy()), fine["b"].to_numpy()
        inside = (at >= 0) & (np.abs(l - tiles.l[i]) < 0.4) & (np.abs(b - tiles.b[j]) < 0.4)
        assert inside.sum() > 100
        for name in ("extinction", "extinction_sd", "extinction_density", "extinction_density_sd", "distance_max"):
            np.testing.assert_allclose(
                fine[name][inside], opened[name].to_numpy()[i, j][inside], rtol=1e-6, err_msg=name
            )
        np.testing.assert_array_equal(fine["quality"][inside], opened["quality"].to_numpy()[i, j][inside])
        assert not ((fine["quality"] & NOT_OBSERVED) > 0).any()
        # the samples are the tile's, by the rank of their total
        one = np.flatnonzero(inside)[0]
        whole = opened["extinction_samples"][:, i[one], j[one]].to_numpy()
        expected = whole[np.argsort(whole[:, -1])]
        np.testing.assert_allclose(fine["extinction_samples"][:, one], expected, rtol=1e-6)


def test_averaging_does_not_shrink_the_error(opened, tmp_path):
    tiles = Tiles.cover((0, 4), (-2, 2), 1)
    rng = np.random.default_rng(3)
    columns = (strip(4, samples=1.0 + rng.gamma(9.0, 0.1, (4, SAMPLES, 4)).cumsum(axis=2)) for _ in range(4))
    blocks = ((i, cube.summarise(column, EDGES, 20.0)) for i, column in enumerate(columns))
    cube.write(tmp_path / "cube.nc", tiles, EDGES, SAMPLES, blocks, {})
    with open_cube(tmp_path / "cube.nc") as fine:
        healpix.write(tmp_path / "coarse.nc", fine, 16, {})
        with open_cube(tmp_path / "coarse.nc") as coarse:
            assert coarse.sizes["cell"] < 8
            spread = coarse["extinction_sd"][:, -1]
            assert float(spread.min()) > 0.9 * float(fine["extinction_sd"][..., -1].mean())


def test_a_pixel_has_the_worst_of_its_tiles(pixels, opened):
    level = int(pixels["crs"].attrs["refinement_level"])
    tiles, quality = tiles_of(opened), opened["quality"].to_numpy()
    pixel, tile, area = healpix.overlaps(tiles, quality & NOT_OBSERVED == 0, level)
    for k, number in enumerate(pixels["healpix_index"].to_numpy()):
        at = np.unravel_index(tile[pixel == number], tiles.shape)
        expected = np.bitwise_or.reduce(quality[at])
        if area[pixel == number].sum() < 0.95 * hp.nside2pixarea(2**level, degrees=True):
            expected |= PARTLY_OBSERVED
        assert int(pixels["quality"][k]) == expected
        for name, worst in {
            "distance_max": np.min,
            "distance_min": np.max,
            "fit_p_value": np.min,
            "out_of_distribution": np.max,
        }.items():
            assert float(pixels[name][k]) == worst(opened[name].to_numpy()[at]), name
    assert ((pixels["quality"] & STARS_RUN_OUT) > 0).any()
    assert ((pixels["quality"] & STARS_RUN_OUT) == 0).any()


@given(st.floats(0.01, 20))
def test_the_default_pixels_are_as_small_as_the_tiles(size):
    tiles = Tiles(np.array([0.0, size]), np.array([0.0, size]))
    side = hp.nside2resol(2 ** healpix.refinement_level(tiles)) * 180 / np.pi
    assert side <= size
    assert size < 2 * side


def test_the_setting_chooses_the_pixels(folder, tmp_path):
    words = ["publish_healpix", "--settings", '{"publish": {"nside": 16}}', "--seed", "1"]
    assert main([*words, "--cube", str(folder / "cube.nc"), "--output", str(tmp_path / "a.nc")]) == 0
    with open_cube(tmp_path / "a.nc") as coarse:
        assert coarse["crs"].attrs["refinement_level"] == 4


# --- Cartesian


def integrals(view: xr.Dataset, tiles: Tiles, along: int, end: float) -> np.ndarray:
    """Means of the tiles' line integrals: the voxels of many points on each line."""
    density = view["extinction_density"].transpose("x", "y", "z").fillna(0).to_numpy()
    corner = [float(view[f"{axis}_bounds"][0, 0]) for axis in "xyz"]
    distance = (np.arange(4000) + 0.5) * end / 4000
    found = []
    for l, b in zip(*tile_points(tiles, along), strict=True):
        axes = position(l[:, None], b[:, None], distance)
        places = tuple(
            ((axis - low) // view.attrs["step_kpc"]).astype(int) for axis, low in zip(axes, corner, strict=True)
        )
        found.append(density[places].sum(axis=1).mean() * end / len(distance))
    return np.array(found)


def lines(size: float, end: float, view: xr.Dataset) -> int:
    """Lines along a tile's side: two for each voxel at the far end."""
    return 2 * int(np.ceil(np.radians(size) * end / view.attrs["step_kpc"]))


@settings(max_examples=6)
@given(
    st.floats(0, 360),
    st.sampled_from([-60.0, -20.0, -1.0, 0.0, 35.0]),
    st.sampled_from([2.0, 6.0]),
    st.integers(0, 2**32),
)
def test_every_sightline_keeps_its_extinction(l, b, size, seed):
    edges, rng = np.linspace(0, 3, 7), np.random.default_rng(seed)
    grid = uniform((l, l + 3 * size), (b, b + 2 * size), size, edges)
    shape = grid["extinction_density"].shape
    grid["extinction_density"][:] = rng.lognormal(0, 1, shape) * (rng.random(shape) < 0.7)
    grid["extinction"] = (grid["extinction_density"] * 0.5).cumsum("distance")
    total = grid["extinction"][..., -1].to_numpy().ravel()
    view = cartesian.resample(grid, None)
    assert view.attrs["conservation_error"] <= 0.005
    assert float(view["extinction_density"].min()) >= 0
    found = integrals(view, tiles_of(grid), lines(size, 3.0, view), 3.0)
    np.testing.assert_allclose(found, total, rtol=0.01, atol=1e-4)


def test_a_uniform_cube_is_uniform_in_voxels():
    grid = uniform((100, 104), (10, 14), 1, np.linspace(0, 2, 5), density=0.7, reach=1.2)
    grid["extinction"] = (grid["extinction_density"] * 0.5).cumsum("distance")
    view = cartesian.resample(grid, 0.01)
    known = view["extinction_density"].notnull()
    np.testing.assert_allclose(view["extinction_density"].to_numpy()[known], 0.7, rtol=1e-5)
    np.testing.assert_allclose(view["scaling"].to_numpy()[known], 1.0, rtol=1e-5)
    # where it is: towards the tiles, to the last bin; and within reach to 1.2 kpc
    x, y, z = xr.broadcast(view["x"], view["y"], view["z"])
    distance = np.sqrt(x**2 + y**2 + z**2)
    l, b = np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(z / distance))
    margin = np.degrees(0.02 / distance)
    inside = (abs(l - 102) * np.cos(np.radians(12)) < 1.9 - margin) & (abs(b - 12) < 2 - margin) & (distance < 1.98)
    outside = (abs(l - 102) * np.cos(np.radians(14)) > 2 + margin) | (abs(b - 12) > 2 + margin) | (distance > 2.02)
    assert inside.sum() > 1000
    assert bool(known.where(inside, True).all())
    assert not bool(known.where(outside & (distance > 0.05), False).any())
    np.testing.assert_array_equal(view["within"].where(inside & (distance < 1.18), 1), 1)
    np.testing.assert_array_equal(view["within"].where(distance > 1.22, 0), 0)


def test_a_cloud_stays_at_its_place():
    grid = uniform((30, 34), (-2, 2), 1, np.linspace(0, 2, 21), density=0.0)
    grid["extinction_density"].loc[{"l": 32.5, "b": -0.5, "distance": slice(1.4, 1.6)}] = 3.0
    grid["extinction"] = (grid["extinction_density"] * 0.1).cumsum("distance")
    view = cartesian.resample(grid, 0.02)
    density = view["extinction_density"].fillna(0)
    centre = [float((density * view[axis]).sum() / density.sum()) for axis in "xyz"]
    np.testing.assert_allclose(centre, position(32.5, -0.5, np.array(1.5)), atol=0.01)


def test_tiles_that_are_not_observed_leave_no_voxels(folder, opened):
    with xr.open_dataset(folder / "cartesian.nc") as view:
        l, b = 359.5, 0.5  # not observed
        far = [float(axis) for axis in position(l, b, np.array(1.9))]
        assert np.isnan(view["extinction_density"].sel(dict(zip("xyz", far, strict=True)), method="nearest"))
        assert view.attrs["band"] == "V"
        assert view.attrs["galcarto_rule"] == "publish_cartesian"
        seen = np.flatnonzero((opened["quality"].to_numpy() & NOT_OBSERVED).ravel() == 0)
        found = integrals(view.load(), tiles_of(opened), lines(1.0, 2.0, view), 2.0)[seen]
        np.testing.assert_allclose(found, opened["extinction"][..., -1].to_numpy().ravel()[seen], rtol=0.01)
        for axis in "xyz":
            np.testing.assert_allclose(view[f"{axis}_bounds"].mean("bounds"), view[axis])


def test_voxels_too_many_or_too_coarse_are_refused(opened):
    with pytest.raises(UserError, match=r"publish.step: found 0.0001 kpc, .* voxels; expected at most 3e\+08"):
        cartesian.resample(opened, 1e-4)
    with pytest.raises(UserError, match=r"publish.step: found 1 kpc, with which .* off by .* %; expected at most 1 %"):
        cartesian.resample(opened, 1.0)
    with pytest.raises(UserError, match="found no observed tile"):
        cartesian.resample(opened.assign(extinction=opened["extinction"] * np.nan), None)


def test_the_default_voxels_are_bounded():
    tiles = Tiles.cover((0, 360), (-90, 90), 1)
    step = cartesian.default_step(tiles, 10.0)
    assert step == pytest.approx((20**3 / cartesian.VOXELS) ** (1 / 3), rel=0.05)  # tiles at the poles are narrow
    plane = cartesian.default_step(Tiles.cover((0, 30), (-5, 5), 1), 10.0)
    assert plane == pytest.approx(np.radians(1) * 2.5, rel=0.05)


# --- from above


def test_the_view_from_above_keeps_the_extinction():
    l, b, size = (40, 80), (-20, 20), 10
    edges = np.linspace(0, 3, 13)
    grid = uniform(l, b, size, edges)
    rng = np.random.default_rng(5)
    grid["extinction_density"][:] = rng.gamma(1, 1, (1, 4, 12))  # the same at all longitudes
    view = faceon.project(grid, 0.02)
    radius = (np.arange(4000) + 0.5) * 3 / 4000
    places = [xr.DataArray(axis, dims="point") for axis in position(61.0, 0.0, radius)[:2]]
    along = view["extinction_density"].sel(x=places[0], y=places[1], method="nearest")
    cosine = np.cos(np.radians(grid["b"].to_numpy()))
    for end in (0.8, 1.5, 2.5):  # where all latitudes are there
        within = radius < end
        weights, expected = cosine, 0.0
        for j, c in enumerate(cosine):
            cumulative = np.append(0.0, np.cumsum(grid["extinction_density"][0, j].to_numpy() * 0.25))
            expected += weights[j] * c * np.interp(end / c, edges, cumulative) / weights.sum()
        assert float(along[within].sum()) * 3 / 4000 == pytest.approx(expected, rel=0.01)


# --- footprint


def test_the_footprint_is_that_of_the_observed_tiles(folder, opened):
    moc = MOC.load(folder / "footprint.moc.fits", format="fits")
    assert moc == MOC.from_string(opened.attrs["footprint_moc"])
    tiles, seen = tiles_of(opened), (opened["quality"] & NOT_OBSERVED).to_numpy() == 0
    l, b = np.broadcast_arrays(tiles.l[:, None], tiles.b)
    centres = SkyCoord(l * u.deg, b * u.deg, frame="galactic").icrs
    np.testing.assert_array_equal(moc.contains_skycoords(centres), seen)
    outside = SkyCoord([358.8, 362.2, 360] * u.deg, [0.5, 0.5, 1.2] * u.deg, frame="galactic").icrs
    assert not moc.contains_skycoords(outside).any()
    area = moc.sky_fraction * 4 * np.degrees(1) * np.degrees(np.pi)
    assert tiles.area()[seen].sum() < area < 1.12 * tiles.area()[seen].sum()


@settings(max_examples=6)
@given(st.floats(0, 360), st.sampled_from([-90, -50, 0, 84, 86]), st.sampled_from([1.0, 2.0]))
def test_the_footprint_holds_its_tiles_everywhere(l, b, size):
    tiles = Tiles.cover((l, l + 3 * size), (b, b + 2 * size), size)
    moc = footprint(tiles, np.ones(tiles.shape, bool))
    at = tile_points(tiles, 11)
    longitude, latitude = to_icrs(*(axis.ravel() for axis in at))
    assert moc.contains_lonlat(longitude * u.deg, latitude * u.deg).mean() > 0.999


# --- FITS


def test_images_are_where_their_axes_say(folder, opened):
    with astropy_fits.open(folder / "cube.fits") as file:
        file.verify("exception")
        assert file[0].name == "EXTINCTION"
        assert file[0].header["BUNIT"] == "mag"
        assert file["EXTINCTION_DENSITY"].header["BUNIT"] == "mag kpc-1"
        assert file["EXTINCTION"].header["UCD"] == "phys.absorption.gal"
        assert file[0].header["TITLE"] == "tests"
        names = {hdu.name.lower() for hdu in file}
        assert names == {name for name, (dims, *_) in VARIABLES.items() if "sample" not in dims} | {"distance_bins"}
        for hdu in file:
            if hdu.name == "DISTANCE_BINS":
                np.testing.assert_array_equal(np.stack([hdu.data["near"], hdu.data["far"]], 1), opened.distance_bounds)
                continue
            variable = opened[hdu.name.lower()]
            assert hdu.data.dtype.newbyteorder("=") == variable.dtype
            axes = WCS(hdu.header)
            assert list(axes.wcs.ctype)[:2] == ["GLON-CAR", "GLAT-CAR"]
            assert hdu.header["CDELT1"] < 0  # as the sky is drawn
            indices = np.indices(hdu.data.shape).reshape(hdu.data.ndim, -1)
            l, b, *depth = axes.wcs_pix2world(indices[::-1].T, 0).T
            place = {"l": np.round((l - 359.5) % 360).astype(int), "b": np.round(b + 0.5).astype(int)}
            np.testing.assert_allclose((opened.l.to_numpy()[place["l"]] - l) % 360, 0, atol=1e-9)
            np.testing.assert_allclose(opened.b.to_numpy()[place["b"]], b, atol=1e-9)
            if depth:
                outer = hdu.name in ("EXTINCTION", "EXTINCTION_SD")
                assert axes.wcs.cunit[2] == u.kpc
                at = opened.distance_bounds[:, 1].to_numpy() if outer else opened.distance.to_numpy()
                place["distance"] = np.argmin(abs(depth[0][:, None] - at), axis=1)
                np.testing.assert_allclose(at[place["distance"]], depth[0], atol=1e-9)
            expected = variable.isel({name: xr.DataArray(one, dims="point") for name, one in place.items()})
            np.testing.assert_array_equal(hdu.data.ravel(), expected)


def test_an_image_answers_as_the_cube_does(folder, opened):
    values, header = astropy_fits.getdata(folder / "cube.fits", header=True)
    sky, distance = WCS(header).pixel_to_world(*np.indices(values.shape)[::-1])
    points = SkyCoord(sky.galactic.l, sky.galactic.b, distance=distance, frame="galactic")
    np.testing.assert_allclose(values, opened.dust.query(points).value, rtol=1e-12)


def test_uneven_bins_are_counted_and_uneven_tiles_refused(tmp_path, opened):
    uneven = opened.load().isel(distance=[0, 1, 2]).copy()
    uneven["distance_bounds"] = ("distance", "bounds"), [[0, 0.1], [0.1, 0.5], [0.5, 1.5]]
    fits.write_image(tmp_path / "a.fits", uneven)
    with astropy_fits.open(tmp_path / "a.fits") as file:
        assert WCS(file[0].header).wcs_pix2world([[0, 0, 2]], 0)[0, 2] == 3
        assert file["DISTANCE_BINS"].data["far"].tolist() == [0.1, 0.5, 1.5]
    uneven["l_bounds"] = ("l", "bounds"), [[359, 360], [360, 360.5], [360.5, 362]]
    with pytest.raises(UserError, match=r"l: found tiles of 0.5 to 1.5 deg; expected equal ones"):
        fits.write_image(tmp_path / "b.fits", uneven)


@pytest.mark.parametrize(("l", "b"), [((281, 285), (-2, 1)), ((0, 360), (-90, 90)), ((100, 103), (40, 43))])
def test_axes_hold_in_any_window(tmp_path, opened, l, b):
    tiles = Tiles.cover(l, b, 1)
    shape = {"l": tiles.shape[0], "b": tiles.shape[1]}
    plain = opened.drop_vars(["l", "b", "l_bounds", "b_bounds"]).isel(l=0, b=0, distance=[0])
    wide = plain.expand_dims(shape).assign_coords(cube.tile_coordinates(tiles))
    fits.write_image(tmp_path / "a.fits", wide)
    with astropy_fits.open(tmp_path / "a.fits") as file:
        corner = WCS(file["QUALITY"].header).wcs_pix2world([[0, 0], [shape["l"] - 1, shape["b"] - 1]], 0)
    np.testing.assert_allclose((corner[:, 0] - tiles.l[[-1, 0]] + 180) % 360, 180, atol=1e-9)
    np.testing.assert_allclose(corner[:, 1], tiles.b[[0, -1]], atol=1e-9)


def test_the_healpix_map_is_read_by_healpy(folder, pixels):
    path, index = folder / "cube_healpix.fits", pixels["healpix_index"].to_numpy()
    for hdu, name in enumerate(("extinction", "extinction_sd", "extinction_density", "extinction_density_sd"), start=1):
        for bin in range(4):
            found, cards = hp.read_map(path, field=bin, hdu=hdu, nest=True, h=True, dtype=None)
            cards = dict(cards)
            assert (cards["ORDERING"], cards["COORDSYS"], cards["PIXTYPE"]) == ("NESTED", "G", "HEALPIX")
            assert len(found) == hp.nside2npix(cards["NSIDE"])
            np.testing.assert_array_equal(found[index], pixels[name][:, bin])
            assert (np.delete(found, index) == hp.UNSEEN).all()
    table = Table.read(path, hdu=1)
    assert table.colnames == ["PIXEL", *(f"extinction_{far}kpc" for far in ("0.5", "1", "1.5", "2"))]
    assert table["extinction_2kpc"].unit == u.mag
    table = Table.read(path, hdu=5)
    assert set(table.colnames) == {"PIXEL"} | {name for name, (dims, *_) in VARIABLES.items() if dims == ("l", "b")}
    for name in table.colnames[1:]:
        np.testing.assert_array_equal(table[name], pixels[name])
    wide = pixels.isel(distance=np.zeros(999, int)).assign_coords(cube.distance_coordinate(np.arange(1000.0)))
    with pytest.raises(UserError, match="distance: found 999 bins; expected at most 998"):
        fits.write_pixels(folder / "none.fits", wide)


def test_the_table_has_a_row_for_each_tile(folder, opened):
    table = Table.read(folder / "cube_sightlines.fits", hdu=1)
    with astropy_fits.open(folder / "cube_sightlines.fits") as file:
        cards = file["SIGHTLINES"].header
    tiles = opened.stack(tile=("l", "b"), create_index=False)
    assert len(table) == TILES.l.size * TILES.b.size
    np.testing.assert_array_equal(table["l"], tiles.l % 360)
    np.testing.assert_array_equal(table["b"], tiles.b)
    for i, name in enumerate(table.colnames, start=1):
        assert cards.get(f"TUCD{i}") == opened[name].attrs.get("ucd")
        assert cards[f"TCOMM{i}"].startswith(opened[name].attrs["long_name"])
        unit = opened[name].attrs.get("units", "1")
        assert (table[name].unit or u.dimensionless_unscaled) == u.Unit(unit)
        if name not in ("l", "b"):
            np.testing.assert_array_equal(table[name], tiles[name].transpose("tile", ...))
    assert "16: unlike_training" in cards[f"TCOMM{table.colnames.index('quality') + 1}"]
    assert table["extinction"].shape == (6, 4)


# --- all of them


def test_two_runs_give_the_same_forms(folder, tmp_path):
    words = ["--seed", "1", "--cube", str(folder / "cube.nc"), "--output"]
    for stage, section, name in (
        ("publish_healpix", PUBLISH, "cube_healpix.nc"),
        ("publish_cartesian", PUBLISH, "cartesian.nc"),
        ("project_faceon", '{"faceon": {}}', "faceon.nc"),
    ):
        assert main([stage, "--settings", section, *words, str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    forms = ["--cube", str(folder / "cube.nc"), "--healpix", str(folder / "cube_healpix.nc")]
    names = ("cube.fits", "cube_healpix.fits", "cube_sightlines.fits")
    for option, name in zip(("--image", "--pixels", "--sightlines"), names, strict=True):
        forms += [option, str(tmp_path / name)]
    assert main(["publish_fits", *forms]) == 0
    assert all((tmp_path / name).read_bytes() == (folder / name).read_bytes() for name in names)
    assert main(["publish_footprint", *words[2:], str(tmp_path / "a.fits")]) == 0
    assert (tmp_path / "a.fits").read_bytes() == (folder / "footprint.moc.fits").read_bytes()


def test_memory_is_bounded_by_the_block(opened, tmp_path, monkeypatch):
    asked = []
    original = cube.statistics
    monkeypatch.setattr(healpix, "statistics", lambda mean, width: asked.append(len(mean)) or original(mean, width))
    healpix.write(tmp_path / "fine.nc", opened, 512, {})
    assert max(asked) <= 64
    assert sum(asked) > 200


# what a checker finds that we keep; docs/format.md says why
DEVIATIONS = {
    "cf": [
        r'units for \w+, "mag( kpc-1)?" are not recognized by UDUNITS',
        r'§2.6.1 Conventions global attribute does not contain "CF-1.11"',  # the newest that the checker knows
        r"\w+'s cell_methods name component realization does not match a dimension",  # a standard name, as 7.3 allows
        r"standard_name healpix_index is not defined",  # newer than the checker's table
        r"healpix is not a valid grid_mapping_name",  # newer than the checker
    ],
    "acdd": [
        r"standard_name",  # of a variable for which CF has none
        r"(Attr )?(geospatial_(lat|lon|vertical)|geospatial_bounds_vertical|time_coverage|date)_\w+ (is )?not present",
        r"geospatial_(lat|lon)_min/max attribute not found",
        r"(acknowledgment/acknowledgement|creator_\w+|institution|naming_authority|project|publisher_\w+) not present",
    ],
}


@pytest.mark.parametrize("name", ["cube.nc", "cube_healpix.nc", "cartesian.nc", "faceon.nc"])
def test_checkers_find_nothing_but_what_is_documented(name, checked):
    for suite, found in checked(name).items():
        unknown = [text for text in found if not any(re.search(known, text) for known in DEVIATIONS[suite])]
        assert not unknown, f"{suite}: {unknown}"


@pytest.fixture
def checked(folder: Path) -> Callable[[str | Path], dict[str, list[str]]]:
    """What compliance-checker says of a file: messages by suite."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own libraries
        from compliance_checker.suite import CheckSuite

        CheckSuite.load_all_available_checkers()

    def check(name: str | Path) -> dict[str, list[str]]:
        found = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            suite = CheckSuite()
            dataset = suite.load_dataset(str(folder / name))
            for checker in ("cf:1.11", "acdd:1.3"):
                results = suite.run_all(dataset, [checker])[checker][0]
                found[checker.split(":")[0]] = [
                    text
                    for result in results
                    if result.weight >= 2
                    for text in messages(result)
                    if "found in" not in text
                ]
            dataset.close()
        return found

    return check


def messages(result) -> list[str]:
    own = [text for text in result.msgs or [] if "found in" not in text]  # where it looked is no complaint
    return own + [text for child in result.children or [] for text in messages(child)]
