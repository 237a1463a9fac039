"""What keeps the format of the cube and what does not: many cubes, each broken in one place."""

import json
import re
import zlib
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from galcarto import open_cube
from galcarto.__main__ import main
from galcarto.core import provenance
from galcarto.core.sky import Tiles
from galcarto.maps import cube, format_check, healpix, zarr
from galcarto.maps.cube import Strip
from galcarto.maps.format_check import Finding, check_dataset

TILES = Tiles.cover((359.0, 362.0), (-1.0, 1.0), 1.0)  # three columns of two
EDGES = np.array([0.0, 0.3, 0.7, 1.2, 2.0])  # kpc; unequal, so that widths matter
SAMPLES = 12
ABOUT = {
    "title": "a cube of six sightlines",
    "band": "V",
    "extinction_law": "G23",
    "r_v": 3.1,
    "survey": "2MASS",
    "survey_limits": "J < 16.3 mag, Ks < 14.8 mag",
    "frame": "galactic",
}
HIDDEN, SHORT = 1, 4  # sightlines, l-major: one that is not observed, one where stars run out
LEVEL = 3


def summary() -> dict[str, np.ndarray]:
    """The variables of six sightlines."""
    rng = np.random.default_rng(6)
    strip = Strip(
        samples=rng.gamma(1.0, 0.3, (6, SAMPLES, 4)).cumsum(axis=2),
        stars_beyond=np.tile([100.0, 80.0, 50.0, 30.0], (6, 1)),
        contraction=np.full((6, 4), 0.5),
        out_of_distribution=np.linspace(0.1, 0.9, 6),
        fit_p_value=np.linspace(0.2, 0.8, 6),
        fit_chi2=np.linspace(0.9, 1.1, 6),
        stars=np.full(6, 100),
        area=np.full(6, 1.0),
        full_area=np.full(6, 1.0),
    )
    strip.stars_beyond[SHORT] = [40.0, 25.0, 5.0, 1.0]
    strip.samples[HIDDEN] = strip.contraction[HIDDEN] = np.nan
    for values in (strip.out_of_distribution, strip.fit_p_value, strip.fit_chi2):
        values[HIDDEN] = np.nan
    return cube.summarise(strip, EDGES, 20.0)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good cube by the project's own writer."""
    path = tmp_path_factory.mktemp("check") / "cube.nc"
    attributes = provenance.attributes(
        "assemble_cube", Namespace(settings='{"distance": {"step": "500 pc"}}', seed=1), []
    )
    cube.write(path, TILES, EDGES, SAMPLES, [(0, summary())], ABOUT | attributes)
    return path


@pytest.fixture(scope="module")
def good(path: Path) -> xr.Dataset:
    """The same in memory."""
    with open_cube(path) as opened:
        return opened.load().drop_encoding()


@pytest.fixture(scope="module")
def cells(good: xr.Dataset) -> xr.Dataset:
    """Its observed sightlines in the HEALPix form, as if their tiles were cells."""
    index = np.array([3, 17, 90, 400, 767])
    l, b = hp.pix2ang(2**LEVEL, index, nest=True, lonlat=True)
    observed = [i for i in range(6) if i != HIDDEN]
    form = good.drop_vars(["l", "b", "l_bounds", "b_bounds"]).stack(cell=("l", "b"), create_index=False)
    form = form.isel(cell=observed).transpose("sample", "cell", "distance", "bounds")
    for name in cube.VARIABLES:
        form[name].attrs["grid_mapping"] = "crs"
    form["crs"] = ((), np.int32(0), {"grid_mapping_name": "healpix", "indexing_scheme": "nested"})
    form["crs"].attrs |= {"refinement_level": LEVEL, "frame": "galactic"}
    return form.assign_coords(
        healpix_index=("cell", index, {"standard_name": "healpix_index"}),
        l=("cell", l, {"units": "degree"}),
        b=("cell", b, {"units": "degree"}),
    )


@pytest.fixture
def store(path: Path, tmp_path: Path) -> Path:
    """The good cube as a Zarr store."""
    with open_cube(path) as opened:
        zarr.write(tmp_path / "cube.zarr", opened)
    return tmp_path / "cube.zarr"


def written(dataset: xr.Dataset, path: Path) -> list[Finding]:
    """What is found in the file of a dataset."""
    dataset.to_netcdf(path)
    return format_check.check(path)


def test_bounds_may_be_coordinates_or_data(good: xr.Dataset, tmp_path: Path) -> None:
    assert not written(good, tmp_path / "new.nc")
    assert not written(good.reset_coords(["l_bounds", "b_bounds", "distance_bounds"]), tmp_path / "old.nc")
    assert not check_dataset(good.reset_coords(["l_bounds", "b_bounds", "distance_bounds"]))


def without(name: str) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda one: one.drop_vars(name)


def attribute(name: str, value: object = None, of: str | None = None) -> Callable[[xr.Dataset], None]:
    """Set an attribute of the file or of a variable, or delete it."""

    def mutate(one: xr.Dataset) -> None:
        attributes = one.attrs if of is None else one[of].attrs
        attributes.pop(name, None)
        if value is not None:
            attributes[name] = value

    return mutate


def value(name: str, place: tuple, change: Callable[[float], float]) -> Callable[[xr.Dataset], None]:
    """Change values of a variable."""

    def mutate(one: xr.Dataset) -> None:
        values = one[name].to_numpy().copy()
        values[place] = change(values[place])
        one[name] = one[name].copy(data=values)

    return mutate


def scaled(*names: str) -> Callable[[xr.Dataset], None]:
    def mutate(one: xr.Dataset) -> None:
        for name in names:
            one[name] = one[name] * 1.01

    return mutate


def order(name: str) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda one: one.isel({name: [1, 0, *range(2, one.sizes[name])]})


def typed(name: str, kind: str) -> Callable[[xr.Dataset], None]:
    def mutate(one: xr.Dataset) -> None:
        one[name] = one[name].astype(kind)

    return mutate


# by the name of the check: what breaks the cube, and what is said
GRID = {
    "variables_are_there": [
        (without("extinction_sd"), "error: extinction_sd: found no such variable"),
        (without("distance_bounds"), "error: distance_bounds: found no such variable"),
        (without("extinction_samples"), "error: extinction_samples: found no such variable"),
    ],
    "dimensions_are_those_of_the_format": [
        (lambda one: one.transpose("sample", "b", "l", "distance", "bounds"), r"found dimensions \(b, l, distance\)"),
        (lambda one: one.isel(bounds=[0]), "distance_bounds: found 1 bounds; expected 2"),
        (lambda one: one.isel(l=[]), "extinction: found no values"),
    ],
    "types_are_those_of_the_format": [
        (typed("quality", "f4"), "quality: found type float32; expected uint8"),
        (lambda one: one.assign(extinction=one.extinction.fillna(0).astype("i4")), "extinction: found type int32"),
    ],
    "units_are_those_of_the_format": [
        (attribute("units", "%", "extinction"), "extinction: found units '%'; expected 'mag'"),
        (attribute("units", None, "extinction"), "extinction: found units None"),
        (attribute("units", "magnitudes", "extinction_sd"), "found units 'magnitudes', which astropy cannot read"),
        (attribute("units", "mag pc-1", "extinction_density_samples"), "found units 'mag pc-1'; expected 'mag kpc-1'"),
        (attribute("units", "radian", "l"), "l: found units 'radian'; expected 'degree'"),
        (attribute("units", "parsec", "distance"), "distance: found units 'parsec'; expected 'kiloparsec'"),
    ],
    "conventions_name_cf": [
        (attribute("Conventions", "ACDD-1.3"), "Conventions: found 'ACDD-1.3'; expected a version of CF")
    ],
    "quantity_is_described": [
        (attribute("band"), "band: found no such attribute"),
        (attribute("extinction_law"), "extinction_law: found no such attribute"),
        (attribute("survey"), "survey: found no such attribute"),
        (attribute("r_v", 0.0), r"r_v: found 0\.0; expected the law's R_V"),
        (attribute("r_v"), "r_v: found None; expected the law's R_V"),
        (attribute("frame"), "frame: found 'None'; expected 'galactic'"),
        (attribute("frame", "icrs"), "frame: found 'icrs'; expected 'galactic'"),
        (attribute("survey_limits", "deep"), "survey_limits: found 'deep'; expected limits such as"),
        (attribute("survey_limits"), "survey_limits: found 'None'; expected limits such as"),
        (attribute("bands", "J"), "bands: found 'J'; expected JSON of each band's wavelength"),
    ],
    "provenance_is_stated": [
        (attribute("galcarto_version"), "galcarto_version: found no such attribute"),
        (attribute("galcarto_seed", "one"), "galcarto_seed: found 'one'; expected the seed"),
        (attribute("galcarto_config"), "galcarto_config: found no such attribute"),
        (attribute("galcarto_config", "{"), "galcarto_config: found no JSON"),
        (attribute("galcarto_config", "{}"), "galcarto_config_sha256: found '[0-9a-f]{64}'; expected"),
    ],
    "flags_are_explained": [
        (attribute("flag_masks", None, "quality"), "quality: found flag_masks None"),
        (attribute("flag_masks", np.array([1, 2, 3, 8, 16], "u1"), "quality"), "expected different powers of two"),
        (attribute("flag_masks", np.array([1, 2, 2, 8, 16], "u1"), "quality"), "expected different powers of two"),
        (attribute("flag_masks", np.arange(5.0), "quality"), "expected integers, one for each flag"),
        (attribute("flag_meanings", "not_observed a a b c", "quality"), "found 5 flag_meanings .*one for each of 5"),
        (attribute("flag_masks", np.array([1, 2, 4, 8, 256], "i4"), "quality"), "expected bits that fit into uint8"),
        (attribute("flag_meanings", "not_observed partly_observed", "quality"), "found 2 flag_meanings"),
        (attribute("flag_meanings", "a b c d e", "quality"), "expected not_observed among them"),
    ],
    "coordinates_are_in_range": [
        (value("b", (1,), lambda _: 95.0), r"b: found 95; expected -90 to 90; first at \[b=1\]"),
        (value("l", (0,), lambda _: np.nan), "l: found nan; expected -360 to 720"),
    ],
    "coordinates_increase": [
        (order("l"), r"l: found 359\.5 after 360\.5; expected increasing values; first at \[l=1\]"),
        (value("distance", (2,), lambda _: 0.15), r"distance: found 0\.15 after 0\.5"),
    ],
    "bounds_are_named": [(attribute("bounds", None, "distance"), "distance: found attribute bounds 'None'")],
    "bounds_make_cells": [
        (value("distance_bounds", (2, 0), lambda low: low + 0.01), r"0\.71, 1\.2 of 0\.95: not contiguous"),
        (lambda one: one.assign(b_bounds=one.b_bounds[:, ::-1]), "b_bounds: .* not increasing"),
        (value("l", (2,), lambda _: 363.0), "l_bounds: found .* of 363: not around the centre"),
    ],
    "distances_begin_at_the_sun": [
        (value("distance_bounds", (0, 0), lambda _: 0.1), r"found 0\.1 kpc as the first edge; expected 0")
    ],
    "longitudes_are_met_once": [
        (value("l_bounds", (0, 0), lambda _: -1.0), "l_bounds: found 363 degree from end to end; expected at most 360")
    ],
    "quality_has_known_bits": [
        (value("quality", (2, 1), lambda bits: bits | 64), r"quality: found 64; expected only bits of 31")
    ],
    "observed_sightlines_have_values": [
        (
            value("extinction", (1, 0, 2), lambda _: np.nan),
            r"extinction: found nan; .* at \[l=1, b=0, distance=2\] \(l = 360\.5, b = -0\.5, distance = 0\.95\); 1",
        ),
        (value("extinction_samples", (3, 1, 0, slice(None)), lambda _: np.inf), r"inf; .* \[l=1, b=0, sample=3, dist"),
        (value("quality", (0, 1), lambda _: 0), r"extinction_sd: found nan; expected a number"),
    ],
    "other_sightlines_have_none": [
        (value("quality", (1, 0), lambda _: 1), r"extinction_samples: found .*; expected NaN, .* \[l=1, b=0")
    ],
    "values_are_in_range": [
        (value("extinction_sd", (0, 0, 1), lambda sd: -sd), "extinction_sd: found -.*; expected 0 or more"),
        (value("extinction_density_samples", (0, 0, 0, 1), lambda density: -density), "found -.*; expected 0 or more"),
        (value("fit_p_value", (0, 0), lambda _: 1.5), r"fit_p_value: found 1\.5; expected 0 to 1"),
        (value("out_of_distribution", (0, 0), lambda _: -0.5), r"out_of_distribution: found -0\.5; expected 0 to 1"),
        (value("distance_max", (0, 0), lambda _: 2.1), r"distance_max: found 2\.1; expected 0 to 2"),
        (value("stars", (0, 0), lambda _: -1), "stars: found -1; expected 0 or more"),
    ],
    "cumulative_extinction_does_not_fall": [
        (value("extinction_samples", (5, 2, 1, 2), lambda _: 1e-3), r"found 0\.001; .* \[l=2, b=1, sample=5, dist")
    ],
    "extinction_is_the_sum_of_the_density": [
        (value("extinction", (2, 0, 1), lambda mean: mean * (1 + 1e-13)), r"found .*; expected .* \[l=2, b=0, dist"),
        (
            value("extinction_density_samples", (7, 2, 0, 0), lambda one: 1.000002 * one),
            "extinction_samples: .* sum of",
        ),
    ],
    "means_are_those_of_the_samples": [
        (scaled("extinction", "extinction_density"), "extinction_density: found .*the mean of .* 5 sight")
    ],
    "standard_deviations_are_those_of_the_samples": [
        (scaled("extinction_sd"), "extinction_sd: found .*, the standard deviation .* 5 sight")
    ],
    "footprint_is_that_of_the_observed_sightlines": [
        (attribute("footprint_moc", "4/0-5"), r"footprint_moc: found False; .* \[l=0, b=0\].* 5 sight"),
        (attribute("footprint_moc", "0/0-11"), r"footprint_moc: found True; .* \[l=0, b=1\].* 1 sightline \["),
    ],
    "the_flag_tells_where_stars_run_out": [
        (value("distance_max", (0, 0), lambda _: 1.2), r"quality: found 0; .* exactly where distance_max, 1\.2")
    ],
}
HEALPIX = {
    "variables_are_there": [
        (without("crs"), "crs: found no such variable"),
        (without("healpix_index"), "healpix_index: found no such variable"),
    ],
    "healpix_order_is_stated": [
        (attribute("indexing_scheme", None, "crs"), "crs: found indexing_scheme None, refinement_level 3"),
        (attribute("refinement_level", "high", "crs"), "refinement_level 'high'; expected"),
        (attribute("grid_mapping_name", "hpx", "crs"), "grid_mapping_name 'hpx'; expected 'healpix'"),
        (attribute("grid_mapping", None, "quality"), "quality: found grid_mapping None; expected 'crs'"),
    ],
    "healpix_indices_are_cells": [
        (attribute("standard_name", None, "healpix_index"), "healpix_index: found standard_name 'None'"),
        (value("healpix_index", (1,), lambda _: 768), "found 768; expected 0 to 767; first at .cell=1"),
        (value("healpix_index", (1,), lambda _: 3), "healpix_index: found 3 again; .* first at .cell=1"),
    ],
    "cells_are_where_their_index_says": [
        (value("l", (2,), lambda l: l + 0.01), r"l: found .*\(nested, nside 8\).* .cell=2"),
        (attribute("indexing_scheme", "ring", "crs"), r"b: found .*\(ring, nside 8\)"),
        (attribute("refinement_level", 4, "crs"), r"b: found .*\(nested, nside 16\)"),
    ],
    "coordinates_are_in_range": [(value("l", (0,), lambda l: l + 360), "l: found .*; expected 0 to 360")],
    "cumulative_extinction_does_not_fall": [
        (value("extinction_samples", (5, 3, 2), lambda _: 1e-3), r"first at \[cell=3, sample=5, distance=2\] \(l = ")
    ],
}
WARNINGS = {
    "variables_are_there": [(without("out_of_distribution"), "warning: out_of_distribution: found no such variable")],
    "types_are_those_of_the_format": [(typed("extinction_sd", "f4"), "warning: extinction_sd: found type float32")],
    "units_are_those_of_the_format": [
        (attribute("units", "kpc", "distance"), "warning: distance: found units 'kpc'; expected 'kilo")
    ],
    "footprint_can_be_read": [
        (attribute("footprint_moc", "the plane"), "warning: footprint_moc: found 'the plane'"),
        (attribute("footprint_moc"), "warning: footprint_moc: found 'None'"),
    ],
    "the_data_speak_somewhere": [
        (value("distance_min", (2, 0), lambda _: 1.5), r"warning: distance_min: found 1\.5; .*distance_max, 0\.7")
    ],
}


def said(findings: list[Finding], name: str, pattern: str) -> None:
    """One of the findings is by this check and says this."""
    of_check = "\n".join(str(one) for one in findings if one.check == name)
    assert of_check, [str(one) for one in findings]
    assert re.search(pattern, of_check), of_check


def test_good_cubes_pass_in_every_form(path: Path, store: Path, good, cells, tmp_path: Path) -> None:
    with open_cube(path) as opened:
        healpix.write(tmp_path / "healpix.nc", opened, 2**LEVEL, {})
    assert format_check.check(path) == format_check.check(store) == format_check.check(tmp_path / "healpix.nc") == []
    # the samples beside the other variables, as in files of old
    assert written(good, tmp_path / "cube.nc") == written(cells, tmp_path / "cells.nc") == []


def cases(form: str, table: Mapping[str, list[tuple[Any, str]]]) -> list[Any]:
    """Parameters of a test from a table."""
    flat = [(form, name, *case) for name, of_check in table.items() for case in of_check]
    return [pytest.param(*one, id=f"{i}-{form}-{one[1]}") for i, one in enumerate(flat)]


def found(good: xr.Dataset, mutate: Callable[[xr.Dataset], xr.Dataset | None], path: Path) -> list[Finding]:
    """What is found in a changed cube."""
    broken = good.copy(deep=True)
    return written(broken if (other := mutate(broken)) is None else other, path)


@pytest.mark.parametrize(("form", "name", "mutate", "pattern"), [*cases("good", GRID), *cases("cells", HEALPIX)])
def test_a_broken_cube_is_refused(form, name, mutate, pattern, request, tmp_path: Path) -> None:
    findings = found(request.getfixturevalue(form), mutate, tmp_path / "cube.nc")
    assert findings[0].severity == "error"
    said(findings, name, pattern)


@pytest.mark.parametrize(("form", "name", "mutate", "pattern"), cases("good", WARNINGS))
def test_a_warning_does_not_refuse(form, name, mutate, pattern, request, tmp_path: Path) -> None:
    findings = found(request.getfixturevalue(form), mutate, tmp_path / "cube.nc")
    assert {one.severity for one in findings} == {"warning"}
    said(findings, name, pattern)
    assert main(["check_cube", str(tmp_path / "cube.nc")]) == 0


def test_flags_of_others_are_left_alone(good: xr.Dataset) -> None:
    """A cube with flags of its own, and one that raises a second flag where nothing was observed."""
    other = good.copy(deep=True)
    attribute("flag_meanings", "not_observed a b c d", "quality")(other)
    value("distance_max", (0, 0), lambda _: 1.2)(other)
    assert check_dataset(other) == []
    both = good.copy(deep=True)
    value("quality", (0, 1), lambda bits: bits | cube.STARS_RUN_OUT)(both)
    assert check_dataset(both) == []


def test_every_check_has_a_cube_that_it_refuses() -> None:
    checks = {one.__name__ for one in (*format_check.STRUCTURE, *format_check.DESCRIPTION, *format_check.VALUES)}
    assert {*GRID, *HEALPIX, *WARNINGS} == checks


@given(
    st.sampled_from(["extinction_samples", "extinction_density_samples"]),
    st.tuples(st.integers(0, SAMPLES - 1), st.integers(1, 2), st.integers(0, 1), st.integers(0, 3)),
    st.floats(2.5, 1e6),
    st.sampled_from([-1, 1]),
)
def test_any_sample_that_is_moved_beyond_the_tolerance_is_found(good, name, place, tolerances, sign):
    broken = good.copy()
    samples = good[name].to_numpy().copy()
    here = {"sample": place[0], "l": place[1], "b": place[2], "distance": place[3]}
    share = format_check.rounding(good["extinction_samples"])
    step = sign * tolerances * share * float(good["extinction_samples"][here])
    # a density moves the sum by the width times as much
    width = np.diff(EDGES)[place[3]] if "density" in name else 1.0
    samples[place] += step / width
    broken[name] = good[name].copy(data=samples)
    findings = [one for one in check_dataset(broken) if one.check == "extinction_is_the_sum_of_the_density"]
    assert [(one.variable, one.index, one.sightlines) for one in findings] == [("extinction_samples", here, 1)]


@given(st.floats(0, 0.4), st.integers(0, 10_000))
def test_samples_rounded_to_their_type_in_any_way_pass(spread, seed):
    """The tolerance is wide enough: sums in single precision, densities as differences of rounded sums."""
    rng = np.random.default_rng(seed)
    width = np.diff(EDGES).astype("f4")
    density = rng.lognormal(-1, spread * 10, (SAMPLES, 1, 1, 4)).astype("f4")
    for total in (
        np.cumsum(density * width, axis=-1, dtype="f4"),
        np.cumsum(density.astype(float) * np.diff(EDGES), axis=-1).astype("f4"),
    ):
        dims = ("sample", "l", "b", "distance")
        strip = xr.Dataset(
            {
                "extinction_samples": (dims, total),
                "extinction_density_samples": (dims, density),
                "distance_bounds": (("distance", "bounds"), np.stack([EDGES[:-1], EDGES[1:]], axis=1)),
            }
        )
        assert not any(one.bad.any() for one in format_check.extinction_is_the_sum_of_the_density(strip))


# --- files that cannot be read


def test_a_truncated_file_is_a_finding(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    for share in (0.0, 0.3, 0.999):
        cut = tmp_path / f"cut{share}.nc"
        cut.write_bytes(whole[: int(share * len(whole))])
        (finding,) = format_check.check(cut)
        assert (finding.severity, finding.check) == ("error", "file_opens")
        assert "NetCDF" in str(finding)


def test_no_file_and_another_kind_of_file_are_findings(tmp_path: Path) -> None:
    (finding,) = format_check.check(tmp_path / "cube.nc")
    assert "not found" in str(finding)
    xr.Dataset({"x": 1}).to_netcdf(tmp_path / "other.nc")
    (finding,) = format_check.check(tmp_path / "other.nc")
    assert re.search("found no .*extinction.*; expected a cube", str(finding))


def test_a_damaged_chunk_is_found_and_the_rest_is_still_checked(good, tmp_path, monkeypatch) -> None:
    """Bytes of one sightline's samples are lost, another one's samples fall."""
    broken, path = good.copy(deep=True), tmp_path / "cube.nc"
    value("distance_max", (2, 1), lambda _: 2.1)(broken)
    chunks = {"zlib": True, "shuffle": False, "chunksizes": (SAMPLES, 1, 1, 4)}
    broken.to_netcdf(path, encoding={name: chunks for name in ("extinction_samples", "extinction_density_samples")})
    part = zlib.compress(broken["extinction_samples"][:, 1, 1].to_numpy().tobytes(), 4)
    data = bytearray(path.read_bytes())
    assert data.count(part) == 1
    start = data.find(part)
    data[start + 2 : start + 40] = bytes(38)
    path.write_bytes(data)
    monkeypatch.setattr(format_check, "STRIP", 1)
    findings = format_check.check(path)
    said(
        findings,
        "values_can_be_read",
        r"extinction_samples: found .*; expected values that can be read; .*\[l=1, b=1\]",
    )
    said(findings, "values_are_in_range", r"distance_max: found 2\.1; .*\[l=2, b=1\]")
    assert len(findings) == 2


def test_a_store_that_says_nothing_is_a_finding(store: Path) -> None:
    (store / "zarr.json").write_bytes((store / "zarr.json").read_bytes()[:-20])
    assert [one.check for one in format_check.check(store)] == ["file_opens"]


def test_a_damaged_part_of_a_store_is_a_finding(store: Path) -> None:
    part = store / "extinction_samples/c/0/1/0/0"
    part.write_bytes(part.read_bytes()[:-20])
    (finding,) = format_check.check(store)
    assert (finding.check, finding.variable) == ("values_can_be_read", "extinction_samples")


def test_a_part_of_a_store_that_is_missing_is_found(store: Path) -> None:
    """Zarr gives the fill value for it, and says nothing."""
    (store / "extinction_samples/c/0/1/0/0").unlink()
    (finding,) = format_check.check(store)
    assert (finding.check, finding.variable) == ("observed_sightlines_have_values", "extinction_samples")
    assert (finding.index["l"], finding.sightlines) == (1, 2)


ODD = st.one_of(
    st.none(),
    st.text(max_size=8),
    st.integers(-5, 300),
    st.floats(),
    st.lists(st.integers(-3, 300), max_size=6).map(np.array),
    st.lists(st.text(max_size=3), min_size=2, max_size=3),
)


@given(st.data())
def test_nothing_in_a_file_makes_the_check_stumble(good, cells, data):
    """Attributes of any kind, types of any kind, dimensions lost: findings, never a traceback."""
    cube_ = data.draw(st.sampled_from([good, cells])).copy()
    name = data.draw(st.sampled_from(sorted(map(str, cube_.variables))))
    where = data.draw(st.sampled_from(["file", "variable", "type", "dimension", "values"]))
    if where in ("file", "variable"):
        attributes = cube_.attrs if where == "file" else cube_[name].attrs
        attributes = dict(attributes)
        attributes[data.draw(st.sampled_from([*attributes, "units", "bounds"]))] = data.draw(ODD)
        if where == "file":
            cube_.attrs = attributes
        else:
            cube_ = cube_.drop_indexes([name] if name in cube_.indexes else [])
            cube_[name] = (cube_[name].dims, cube_[name].to_numpy(), attributes)
    elif where == "type":
        kind = data.draw(st.sampled_from(["S3", "U5", "?", "c16", "M8[s]", "m8[s]", "f2", "i1", "u8", "O"]))
        cube_ = cube_.drop_indexes([name] if name in cube_.indexes else [])
        cube_[name] = (cube_[name].dims, np.zeros(cube_[name].shape, kind), cube_[name].attrs)
    elif where == "dimension":
        cube_ = cube_.isel(
            {data.draw(st.sampled_from(sorted(map(str, cube_.dims)))): data.draw(st.sampled_from([0, []]))}
        )
    else:
        cube_ = cube_.drop_indexes([name] if name in cube_.indexes else [])
        fill = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 1e300, 127.0]))
        values = np.full(cube_[name].shape, fill if cube_[name].dtype.kind == "f" else -1 if fill < 0 else 127)
        with np.errstate(over="ignore"):
            cube_[name] = (cube_[name].dims, values.astype(cube_[name].dtype), cube_[name].attrs)
    assert all(str(one) for one in check_dataset(cube_))


# --- strips


@pytest.mark.parametrize("values", [1, 2 * SAMPLES * 4, 4 * SAMPLES * 4, 1 << 20])
def test_findings_do_not_depend_on_the_size_of_the_strips(values, good, cells, monkeypatch) -> None:
    grid, form = good.copy(deep=True), cells.copy(deep=True)
    for one in (grid, form):
        scaled("extinction_sd")(one)
        value("extinction_samples", (5, *((2, 0) if one is grid else (3,)), 2), lambda _: 1e-3)(one)
    whole = [check_dataset(one) for one in (grid, form)]
    monkeypatch.setattr(format_check, "STRIP", values)
    assert [check_dataset(one) for one in (grid, form)] == whole
    assert {one.sightlines for one in whole[0]} == {1, 5}


def test_strips_cover_all_sightlines_once_within_the_memory(monkeypatch) -> None:
    shape = {"sample": 10, "l": 7, "b": 5, "distance": 4}
    samples = xr.DataArray(np.zeros(tuple(shape.values()), "f4"), dims=tuple(shape))
    for values, chunk in ((1, 1), (400, 1), (400, 3), (400, 100), (1400, 2), (10**6, 4)):
        samples.encoding["preferred_chunks"] = {"l": chunk, "b": chunk}
        monkeypatch.setattr(format_check, "STRIP", values)
        seen = np.zeros((7, 5), int)
        for block in format_check._strips(xr.Dataset({"extinction_samples": samples})):
            seen[block["l"], block["b"]] += 1
            assert samples.isel(block).size <= max(values, 40)
            if values >= 40 * chunk * 5:
                assert block["l"].start % chunk == 0
        assert (seen == 1).all()


# --- the command


def test_the_command_prints_findings_and_fails_on_errors(path, good, tmp_path, capsys) -> None:
    assert main(["check-cube", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: keeps the format\n"
    broken, bad = good.copy(), tmp_path / "bad.nc"
    attribute("units", "K", "extinction")(broken)
    broken.to_netcdf(bad)
    assert main(["check-cube", str(path), str(bad)]) == 1
    shown = capsys.readouterr()
    assert f"{path}: keeps the format" in shown.out
    assert f"{bad}: refused\n  error: extinction: found units 'K'; expected 'mag' [units_are" in shown.out
    assert f"galcarto check-cube: 1 of 2 files refused: {bad}" in shown.err


def test_the_command_gives_machines_json(path, good, tmp_path, capsys) -> None:
    broken, bad = good.copy(), tmp_path / "bad.nc"
    value("extinction_samples", (5, 2, 1, 2), lambda _: np.inf)(broken)
    broken.to_netcdf(bad)
    assert main(["check-cube", "--json", str(path), str(bad)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found[str(path)] == []
    one = next(one for one in found[str(bad)] if one["check"] == "observed_sightlines_have_values")
    assert one["index"] == {"l": 2, "b": 1, "sample": 5, "distance": 2}
    assert one["position"] == {"l": 361.5, "b": 0.5, "distance": 0.95}
    assert (one["severity"], one["variable"], one["found"], one["sightlines"]) == (
        "error",
        "extinction_samples",
        "inf",
        1,
    )
