"""The cube as a map of dustmaps and of mwdust, beside those packages' own classes; and the command line."""

import importlib
import sys
import warnings
from pathlib import Path

import astropy.units as u
import h5py
import healpy as hp
import numpy as np
import pytest
import xarray as xr
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from test_maps import write as write_cube
from test_query import ATTRIBUTES, at

import galcarto
from galcarto.__main__ import main
from galcarto.maps import cube as cubes
from galcarto.maps.query import Reason

NSIDE, SAMPLES = 4, 5
MODULI = np.linspace(4.0, 19.0, 7)  # mag: where Bayestar-type profiles are given
EDGES = np.append(0.0, 10.0 ** (0.2 * MODULI - 2.0))  # kpc
MODES = ("random_sample", "random_sample_per_pix", "samples", "median", "mean", "best", "percentile")
NORTH = -30.0  # deg, declination: Bayestar's maps end here


@pytest.fixture(scope="module", autouse=True)
def packages(tmp_path_factory):
    """Both packages look for folders when they are imported, and warn if there are none."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "dustmaps.json").write_text("{}")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("DUSTMAPS_CONFIG_FNAME", str(folder / "dustmaps.json"))
        patch.setenv("DUST_DIR", str(folder))
        names = ("dustmaps.bayestar", "mwdust", "galcarto.maps.dustmaps_query", "galcarto.maps.mwdust_query")
        yield [importlib.import_module(name) for name in names]


@pytest.fixture(scope="module")
def north() -> tuple[np.ndarray, np.ndarray]:
    """Pixels north of declination -30 deg, and samples of their profiles, shape (pixel, sample, distance)."""
    pixels = np.arange(12 * NSIDE**2)
    l, b = hp.pix2ang(NSIDE, pixels, nest=True, lonlat=True)
    pixels = pixels[at(l, b).icrs.dec.deg > NORTH]
    rng = np.random.default_rng(1)
    return pixels, rng.gamma(1.0, 0.3, (len(pixels), SAMPLES, len(MODULI))).cumsum(axis=2).astype("f4")


@pytest.fixture(scope="module")
def cube(north) -> xr.Dataset:
    """A cube of these."""
    pixels, samples = north
    grown = samples.astype(float)
    flags = np.zeros(len(pixels), np.uint8)
    flags[0] = Reason.POOR_FIT
    return xr.Dataset(
        {
            "extinction": (("cell", "distance"), grown.mean(axis=1)),
            "extinction_sd": (("cell", "distance"), grown.std(axis=1)),
            "extinction_samples": (("sample", "cell", "distance"), samples.transpose(1, 0, 2)),
            "distance_min": ("cell", np.full(len(pixels), 0.1)),
            "distance_max": ("cell", np.full(len(pixels), 5.0)),
            "quality": ("cell", flags),
            "crs": ((), 0, {"indexing_scheme": "nested", "refinement_level": 2}),
        },
        coords={"healpix_index": ("cell", pixels), **cubes.distance_coordinate(EDGES)},
        attrs={"r_v": 3.1, **ATTRIBUTES},
    )


@pytest.fixture(scope="module")
def ours(packages, cube):
    return packages[2].GalcartoQuery(cube)


@pytest.fixture(scope="module")
def bayestar(packages, north, tmp_path_factory):
    """dustmaps' own class on a file in its format with the same profiles."""
    pixels, samples = north
    reliable = [("DM_reliable_min", "f4"), ("DM_reliable_max", "f4")]
    info = np.zeros(len(pixels), [("nside", "i4"), ("healpix_index", "i8"), ("converged", "u1"), *reliable])
    info["nside"], info["healpix_index"], info["converged"] = NSIDE, pixels, 1
    info["converged"][0] = 0
    info["DM_reliable_min"], info["DM_reliable_max"] = (5 * np.log10(d) + 10 for d in (0.1, 5.0))
    path = tmp_path_factory.mktemp("bayestar") / "small.h5"
    with h5py.File(path, "w") as file:
        file["pixel_info"], file["samples"], file["best_fit"] = info, samples, samples.mean(axis=1)
        file["pixel_info"].attrs["DM_bin_edges"] = MODULI
    return packages[0].BayestarQuery(map_fname=str(path))


def some(rng, shape, distance: bool, frame="icrs") -> SkyCoord:
    """Points all over the sky, away from pixels' borders and the map's end; distances at the profiles' nodes."""
    l, b = hp.pix2ang(NSIDE, rng.integers(0, 12 * NSIDE**2, shape), nest=True, lonlat=True)
    d = 10.0 ** (0.2 * rng.choice(MODULI, shape) - 2.0) * u.kpc if distance else None
    return SkyCoord(l * u.deg, b * u.deg, distance=d, frame="galactic").transform_to(frame)


# --- dustmaps


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")  # in dustmaps
@pytest.mark.parametrize("distance", [True, False])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(), (4,), (1, 3), (2, 3, 2)])
def test_shapes_and_values_are_those_of_dustmaps_own_class(ours, bayestar, rng, mode, shape, distance):
    for pct in (50, [16, 50, 84]) if mode == "percentile" else (None,):
        where = some(rng, shape, distance)
        a, a_flags = ours(where, mode=mode, pct=pct, return_flags=True)
        b, b_flags = bayestar(where, mode=mode, pct=pct, return_flags=True)
        assert np.shape(a) == np.shape(b)
        assert np.shape(a_flags) == np.shape(b_flags)
        assert a_flags.dtype.names == (*b_flags.dtype.names, "reason")
        for name in b_flags.dtype.names:
            np.testing.assert_allclose(a_flags[name], b_flags[name], rtol=1e-5, err_msg=name)
        if mode.startswith("random"):
            np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        else:
            np.testing.assert_allclose(a, b, rtol=2e-5)
        assert isinstance(a, np.ndarray | np.floating)
        assert not isinstance(a, u.Quantity)


def test_nearer_than_the_first_and_farther_than_the_last_node(ours, bayestar, rng):
    where = some(rng, (50,), False)
    for d in (0.01 * EDGES[1], 0.5 * EDGES[1], EDGES[-1], 1000.0):
        there = SkyCoord(where.ra, where.dec, distance=np.full(50, d) * u.kpc)
        for mode in ("median", "samples", "best"):
            np.testing.assert_allclose(ours(there, mode=mode), bayestar(there, mode=mode), rtol=2e-5)
    assert not ours(there, return_flags=True)[1]["reliable_dist"].any()


def test_random_samples_are_among_the_samples(ours, rng):
    for distance in (True, False):
        where = some(rng, (60,), distance)
        samples = ours(where, mode="samples")
        for mode in ("random_sample", "random_sample_per_pix"):
            found = ours(where, mode=mode)
            same = samples == found[:, None]
            same = same if distance else same.all(axis=2)  # a whole profile is one sample
            assert (same.any(axis=1) | np.isnan(samples.reshape(60, -1)[:, 0])).all()
    twice = some(rng, (30,), True)[[0, 0, 0, 0, 0, 0]]
    assert len(np.unique(ours(twice, mode="random_sample_per_pix"))) == 1


def test_the_seed_makes_the_random_samples(packages, cube, rng):
    where = some(rng, (60,), True)
    make = packages[2].GalcartoQuery
    first, again, other = make(cube, seed=1), make(cube, seed=1), make(cube, seed=2)
    a = [first(where, mode="random_sample") for _ in range(2)]
    b = [again(where, mode="random_sample") for _ in range(2)]
    np.testing.assert_array_equal(a, b)
    assert (a[0] != a[1]).any()
    assert (a[0] != other(where, mode="random_sample")).any()


def test_equatorial_and_galactic_calls_give_the_same(ours, rng):
    where = some(rng, (40,), True)
    expected = ours(where)
    gal = where.galactic
    np.testing.assert_allclose(ours.query_gal(gal.l.deg, gal.b.deg, gal.distance.kpc), expected, rtol=1e-6)
    np.testing.assert_allclose(ours.query_equ(where.ra.deg, where.dec.deg, where.distance), expected, rtol=1e-6)
    profile = ours.query_gal(gal.l, gal.b, mode="median")
    np.testing.assert_allclose(ours.query_equ(where.ra, where.dec, mode="median"), profile)
    assert profile.shape == (40, len(ours.distances))
    np.testing.assert_allclose(ours.query_gal(120.0, 20.0, ours.distances), ours.query_gal(120.0, 20.0))


def test_out_of_bounds_is_not_a_number(ours, rng):
    ra, dec = rng.uniform(-180, 180, 1000), rng.uniform(-75, 15, 1000)
    where = SkyCoord(ra * u.deg, dec * u.deg)
    margin = np.degrees(hp.max_pixrad(NSIDE))
    for mode in MODES:
        nan = np.isnan(ours(where, mode=mode, pct=[5, 95]))
        assert nan[dec < NORTH - margin].all()
        assert not nan[dec > NORTH + margin].any()


def test_other_coordinates_and_modes_are_refused(ours):
    with pytest.raises(TypeError, match="SkyCoord"):
        ours((1.0, 2.0))
    with pytest.raises(ValueError, match="mode: found 'mode'"):
        ours(at(120.0, 20.0, 1.0), mode="mode")
    with pytest.raises(ValueError, match="pct"):
        ours(at(120.0, 20.0, 1.0), mode="percentile")


def test_a_file_can_be_asked_in_any_band(packages, tmp_path):
    path = write_cube(tmp_path / "cube.nc", ATTRIBUTES)
    where = at(0.4, 0.6, 1.1)
    with galcarto.open_cube(path) as cube:
        found = packages[2].GalcartoQuery(path, band="G", colour=2.0, interpolation="linear")(where, mode="sd")
        assert found == cube.dust.query(where, "sd", "G", colour=2.0, interpolation="linear").value


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mwdust.DustMap3D", None)
    monkeypatch.delitem(sys.modules, "galcarto.maps.mwdust_query")
    with pytest.raises(ImportError, match=r"found no package mwdust; expected it: pip install 'galcarto\[mwdust\]'"):
        importlib.import_module("galcarto.maps.mwdust_query")


# --- mwdust


def test_shapes_are_those_of_mwdusts_own_class(packages, cube):
    _, mwdust, _, ours = packages
    found, zero = ours.GalcartoMWDust(cube, filter="2MASS Ks"), mwdust.Zero(filter="2MASS Ks")
    assert isinstance(found, mwdust.DustMap3D.DustMap3D)
    for d in (1.0, np.float32(1.0), np.array([1.0]), np.array([0.5, 1.0, 2.0])):
        assert found(120.0, 20.0, d).shape == zero(120.0, 20.0, d).shape
    l, b, d = np.array([120.0, 130.0]), np.array([20.0, 30.0]), np.array([1.0, 2.0])
    assert found(l, b, d).shape == zero(l, b, d).shape == (2,)
    assert found(l, b, 1.0).shape == (2,)
    assert np.isnan(found(300.0, -30.0, 1.0)).all()


def test_filters_are_those_of_mwdust_or_bands_of_ours(packages, cube):
    make = packages[3].GalcartoMWDust
    where = at(120.0, 20.0, 1.0)
    for filter_, band in (("2MASS Ks", "Ks"), ("2MASS J", "J"), ("G", "G"), (None, "E(B-V)"), (0.8 * u.um, 0.8 * u.um)):
        assert make(cube, filter=filter_)(120.0, 20.0, 1.0) == [cube.dust.query(where, band=band).value]
    assert make(cube, filter="V", mode="median")(120.0, 20.0, 1.0) == [cube.dust.query(where, "median").value]
    far = make(cube)(120.0, 20.0, np.array([EDGES[-1], 1000.0]))
    assert far[0] == far[1] > 0
    with pytest.raises(ValueError, match="band: found SDSS r; expected V"):
        make(cube, filter="SDSS r")(120.0, 20.0, 1.0)


# --- the command line


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return write_cube(tmp_path_factory.mktemp("command") / "cube.nc", ATTRIBUTES)


def values(text: str) -> dict[str, str]:
    return dict(line.split(" = ") for line in text.splitlines() if " = " in line)


def test_a_point_is_printed(path, capsys):
    with galcarto.open_cube(path) as cube:
        mean, sd = (cube.dust.query(at(0.5, 0.5, 1.2), mode).value for mode in ("mean", "sd"))
        shares = cube.dust.query(at(0.5, 0.5, 1.2), "percentile", "Ks", pct=[16, 84]).value
        wave = cube.dust.query(at(0.5, 0.5, 1.2), band=0.75 * u.um).value
    point = ["query", str(path), "--l", "0.5", "--b=0.5", "--distance"]
    assert main([*point, "1200pc"]) == 0
    shown = capsys.readouterr().out
    assert values(shown) == {"A_V_mean": f"{mean:.4g} mag", "A_V_sd": f"{sd:.4g} mag"}
    assert "reason" not in shown
    assert main([*point, "1.2 kpc", "--band", "Ks", "--mode", "percentile", "--pct", "16", "84"]) == 0
    expected = {f"A_Ks_p{pct}": f"{share:.4g} mag" for pct, share in zip((16, 84), shares, strict=True)}
    assert values(capsys.readouterr().out) == expected
    assert main([*point, "1.2kpc", "--band", "0.75 um"]) == 0
    assert values(capsys.readouterr().out)["A_0.75um_mean"] == f"{wave:.4g} mag"
    assert main([*point, "3kpc", "--band", "E(B-V)"]) == 0
    shown = capsys.readouterr().out
    assert values(shown)["E(B-V)_mean"] == "nan mag"
    assert "reason: beyond grid, beyond data" in shown
    where = at(0.5, 0.5, 1.2).icrs
    assert main(["query", str(path), f"--ra={where.ra.deg}", f"--dec={where.dec.deg}", "--distance", "1.2kpc"]) == 0
    assert values(capsys.readouterr().out)["A_V_mean"] == f"{mean:.4g} mag"


@pytest.mark.parametrize("suffix", ["csv", "ecsv"])
def test_a_table_is_answered_row_by_row(path, tmp_path, suffix):
    (tmp_path / "stars.csv").write_text("name,l,b,distance\na,0.5,0.5,1.2\nb,359.5,0.5,1\nc,0.5,,1\nd,1.5,0.5,-1\n")
    out = tmp_path / f"out.{suffix}"
    words = ["--mode", "mean", "percentile", "--pct", "50", "--output", str(out), "--interpolation", "linear"]
    assert main(["query", str(path), "--table", str(tmp_path / "stars.csv"), *words]) == 0
    found = QTable.read(out, format=f"ascii.{suffix}")
    assert found.colnames == ["name", "l", "b", "distance", "A_V_mean", "A_V_p50", "reason"]
    with galcarto.open_cube(path) as cube:
        expected = cube.dust.query(at(0.5, 0.5, 1.2), interpolation="linear")
    assert u.Quantity(found["A_V_mean"], u.mag)[0].value == expected.value
    assert np.isnan(np.ma.filled(found["A_V_mean"], np.nan)).tolist() == [False, True, True, True]
    reasons = [str(one) if one is not np.ma.masked else "" for one in found["reason"]]
    assert reasons == ["", "not observed", "outside", "no distance"]


def test_a_table_with_units_and_equatorial_positions(path, tmp_path):
    where = at(np.array([0.5, 1.5]), np.array([0.5, 0.5]), np.array([1.2, 0.7])).icrs
    table = QTable({"ra": where.ra.to(u.hourangle), "dec": where.dec, "distance": where.distance.to(u.pc)})
    table.write(tmp_path / "stars.ecsv", format="ascii.ecsv")
    out = tmp_path / "out.ecsv"
    assert main(["query", str(path), "--table", str(tmp_path / "stars.ecsv"), "--output", str(out)]) == 0
    with galcarto.open_cube(path) as cube:
        np.testing.assert_allclose(QTable.read(out)["A_V_mean"], cube.dust.query(where), rtol=1e-12)


@pytest.mark.parametrize("given", ["csv", "ecsv", "fits", "vot"])
@pytest.mark.parametrize("wanted", ["csv", "ecsv", "fits", "vot"])
def test_tables_of_all_formats_keep_their_columns_and_units(path, tmp_path, given, wanted):
    formats = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "fits": "fits", "vot": "votable"}
    table = QTable({"name": ["a", "bb"], "number": [1, 2], "colour": [0.5, np.nan]})
    where = at(np.array([0.5, 1.5]), np.array([0.5, 0.5]), np.array([1.2, 0.7])).icrs
    table["ra"], table["dec"], table["distance"] = where.ra.deg * u.deg, where.dec.deg * u.deg, where.distance.to(u.kpc)
    if given != "csv":
        table["distance"] = where.distance.to(u.pc)
    start, out = tmp_path / f"stars.{given}", tmp_path / f"out.{wanted}"
    binary = {"tabledata_format": "binary2"} if given == "vot" else {}
    table.write(start, format=formats[given], **binary)
    words = ["--table", str(start), "--output", str(out), "--band", "G", "--colour", "colour", "--mode", "mean", "sd"]
    assert main(["query", str(path), *words]) == 0
    found = QTable.read(out, format=formats[wanted])
    assert found.colnames == [*table.colnames, "A_G_mean", "A_G_sd", "reason"]
    assert list(map(str, found["name"])) == ["a", "bb"]
    assert list(found["number"]) == [1, 2]
    if wanted != "csv":
        assert found["A_G_sd"].unit == u.mag
        assert found["distance"].unit == (None if given == "csv" else u.pc)
    with galcarto.open_cube(path) as cube:
        for mode in ("mean", "sd"):
            expected = cube.dust.query(where, mode, "G", colour=[0.5, np.nan]).value
            column = u.Quantity(np.ma.filled(found[f"A_G_{mode}"], np.nan), u.mag).value
            np.testing.assert_allclose(column, expected, rtol=1e-12)
    assert [str(one) if one is not np.ma.masked else "" for one in found["reason"]] == ["", "no colour"]


def test_a_star_without_a_colour_has_a_reason(path, capsys):
    point = ["query", str(path), "--l", "0.5", "--b", "0.5", "--distance", "1.2kpc", "--band", "G", "--colour"]
    for colour, reason in (("nan", "no colour"), ("50", "colour out of range"), ("-20", "colour out of range")):
        assert main([*point, colour]) == 0
        shown = capsys.readouterr().out
        assert values(shown)["A_G_mean"] == "nan mag"
        assert f"reason: {reason}" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--l", "0.5", "--b", "0.5"], "found l, b; expected distance, and l and b or ra and dec"),
        (["--distance", "1kpc"], "found distance; expected distance, and l and b"),
        (["--l", "0.5", "--b", "0.5", "--distance", "2"], "--distance: found '2' without a unit"),
        (["--l", "0.5", "--b", "95", "--distance", "2kpc"], "l, b: found no position on the sky"),
        (["--l", "0.5", "--b", "0.5", "--distance", "1kpc", "--mode", "percentile"], "pct: found None"),
        (["--l", "0.5", "--b", "0.5", "--distance", "1kpc", "--output", "{0}/o.csv"], "expected --table and --output"),
        (["--table", "{0}/none.csv", "--output", "{0}/o.csv"], "none.csv: not found; expected a table"),
        (["--table", "{0}/bad.csv", "--output", "{0}/o.csv"], "l: found values that are not numbers in deg"),
        (["--table", "{0}/stars.txt", "--output", "{0}/o.csv"], "found suffix '.txt'; expected one of .fits"),
        (["--table", "{0}/good.csv", "--output", "{0}/o.txt"], "ends in .txt; expected .csv, .ecsv, .fits, .vot"),
        (["--table", "{0}/good.csv", "--output", "{0}/o.csv", "--l", "3"], "found --l beside --table; expected a"),
        (["--l", "1", "--b", "1", "--ra", "158", "--dec", "-57", "--distance", "1kpc"], "found --l, --b, --ra, --dec;"),
        (["--l", "1", "--dec", "-57", "--distance", "1kpc"], "found --l, --dec; expected one position"),
        (["--l", "1", "--b", "1", "--distance", "1kpc", "--pct", "5"], "--pct: found no --mode percentile"),
        (["--l", "1", "--b", "1", "--distance", "1kpc", "--band", "99mm"], "band: found 99mm; expected a wavelength"),
        (["--table", "{0}/twice.csv", "--output", "{0}/o.csv"], "twice.csv: found the columns a_v_mean, reason, which"),
        (["--table", "{0}/good.csv", "--output", "{0}/o.csv", "--band", "G", "--colour", "bp_rp"], "found bp_rp; exp"),
    ],
)
def test_a_user_is_told_what_was_expected(path, tmp_path, capsys, words, message):
    (tmp_path / "bad.csv").write_text("l,b,distance\nhere,0.5,1\n")
    (tmp_path / "good.csv").write_text("l,b,distance\n0.5,0.5,1\n")
    (tmp_path / "stars.txt").write_text("")
    (tmp_path / "twice.csv").write_text("l,b,distance,a_v_mean,reason\n0.5,0.5,1,7,none\n")
    assert main(["query", str(path), *(word.format(tmp_path) for word in words)]) == 1
    assert message in capsys.readouterr().err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bad.csv", "good.csv", "stars.txt", "twice.csv"]
