"""Surveys as functions of magnitude, and catalogues from files."""

import re

import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

from galcarto.core.sky import Tiles
from galcarto.core.tables import TableError
from galcarto.surveys import GAIA, SURVEYS, TWOMASS
from galcarto.surveys.catalogue import clean, gather, observed_fraction, read, usable
from galcarto.surveys.settings import CatalogueFile
from galcarto.surveys.survey import TABLES, Band, Errors, Survey, SurveyTableError, read_table

BANDS = sorted(TWOMASS.bands)


# --- what a survey sees


def test_errors_of_floor_and_background():
    band = Band(1.2, floor=0.02, ten_sigma=16.0, half=17.0, width=0.1)
    assert band.error(0.0) == pytest.approx(band.floor, rel=1e-6)
    # the background alone gives a signal-to-noise ratio of ten here
    background = np.sqrt(band.error(band.ten_sigma) ** 2 - band.floor**2)
    assert background == pytest.approx(1.0857 / 10, rel=1e-3)
    # and its share of the flux grows in proportion to 1 / flux
    fainter = np.sqrt(band.error(band.ten_sigma + 2.5) ** 2 - band.floor**2)
    assert fainter == pytest.approx(10 * background, rel=1e-9)


@pytest.mark.parametrize("survey", SURVEYS.values(), ids=SURVEYS)
def test_errors_grow_with_magnitude(survey):
    for band in survey.bands.values():
        error = band.error(np.arange(0.0, 25.0, 0.01))
        assert (np.diff(error) >= 0).all()
        assert 0.001 < error[0] < 0.03


def test_tabulated_errors():
    errors = Errors((10.0, 12.0), (0.01, 0.04))
    # linear in the logarithm; that of the brightest; 1/flux beyond the faintest
    np.testing.assert_allclose(errors.at([11.0, 3.0, 12.0, 14.5]), [0.02, 0.01, 0.04, 0.4])
    band = Band(1.2, 0.5, 10.0, 17.0, 0.1, errors)
    assert band.error(11.0) == pytest.approx(0.02)  # not floor and background


@pytest.mark.parametrize(("survey", "name"), [(s, band) for s in SURVEYS for band in SURVEYS[s].bands])
def test_completeness_declines_from_one_to_zero(survey, name):
    band = SURVEYS[survey].bands[name]
    assert band.completeness(band.half) == pytest.approx(0.5, abs=1e-12)
    share = band.completeness(np.arange(-200.0, 200.0, 0.1))  # no overflow anywhere
    assert (np.diff(share) <= 0).all()
    assert share[0] == pytest.approx(1.0)
    assert share[-1] == pytest.approx(0.0, abs=1e-12)
    assert band.completeness(band.half - band.width) == pytest.approx(1 / (1 + np.exp(-1)))


def test_surveys_are_kept_by_name():
    assert all(name == survey.name for name, survey in SURVEYS.items())


def test_parallaxes_of_gaia():
    parallax = GAIA.parallax
    assert TWOMASS.parallax is None
    assert parallax.band == "G"
    error = parallax.error(np.arange(0.0, 22.0, 0.01))
    assert (np.diff(error) >= 0).all()
    # of Gaia EDR3: 0.02 to 0.03 mas for G = 9 to 14, 0.07 at 17, 0.5 at 20 (Gaia Collaboration 2021, A&A 649, A1)
    np.testing.assert_allclose(parallax.error([17.0, 20.0]), [0.07, 0.5], rtol=0.25)
    assert parallax.zero_point == -0.017
    assert parallax.completeness(20.0) > 0.99 > 0.01 > parallax.completeness(21.1)


def test_errors_of_gaia_are_those_published():
    """Medians of EDR3 as fitted by DPAC (technical note GAIA-C5-TN-UB-JMC-031), 40 transits; without zero points."""
    published = {
        "BP": {16: 2.31, 17: 4.55, 18: 9.46, 19: 20.9, 20: 44.4},
        "RP": {16: 3.14, 17: 6.95, 18: 14.8, 19: 31.6},
    }
    floors = {"BP": 2.79, "RP": 3.78}  # mmag
    for band, errors in published.items():
        found = 1e3 * GAIA.bands[band].error(np.array(list(errors)))
        np.testing.assert_allclose(np.sqrt(found**2 - floors[band] ** 2), list(errors.values()), rtol=0.2)


def test_errors_of_surveys_from_the_literature_are_floor_and_background():
    # depth of 5 sigma, published: 1 / 5 of the flux, on top of the floor
    depths = {
        "sdss": {"u": 22.15, "g": 23.13, "r": 22.70, "i": 22.20, "z": 20.71},
        "cfis": {"u_cfis": 23.6 + 2.5 * np.log10(2)},
        "ps1": {"gP1": 23.3, "rP1": 23.2, "iP1": 23.1, "zP1": 22.3},
    }
    for survey, bands in depths.items():
        assert set(bands) == set(SURVEYS[survey].bands)
        for name, depth in bands.items():
            band = SURVEYS[survey].bands[name]
            assert np.sqrt(band.error(depth) ** 2 - band.floor**2) == pytest.approx(0.2 * 1.0857, rel=0.02)
            assert band.error(14.0) == pytest.approx(band.floor, rel=0.01)
    # 95 % of point sources: SDSS (Abazajian et al. 2004)
    for name, limit in {"u": 22.0, "g": 22.2, "r": 22.2, "i": 21.3, "z": 20.5}.items():
        assert SURVEYS["sdss"].bands[name].completeness(limit) == pytest.approx(0.95, abs=0.002)


def test_bands_that_the_isochrones_lack_come_from_theirs():
    star = {"u": np.array([17.0]), "g": np.array([16.0]), "r": np.array([15.5]), "i": np.array([15.3]), "z": 15.2}
    found = {
        name: band.conversion.magnitude(star)
        for survey in ("cfis", "ps1")
        for name, band in SURVEYS[survey].bands.items()
    }
    # Tonry et al. 2012, table 6, at g-r = 0.5; u* of MegaCam at u-g = 1
    expected = {"u_cfis": 16.759, "gP1": 15.9185, "rP1": 15.4965, "iP1": 15.297, "zP1": 15.2065}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9)
    assert all(band.conversion is None for name in ("2mass", "gaia", "sdss") for band in SURVEYS[name].bands.values())


# --- tables


def survey_table() -> dict:
    errors = {"magnitude": [10.0, 12.0], "error": [0.01, 0.04], "scatter": 0.1}
    completeness = {"half": 15.0, "width": 0.1, "kind": "measured"}
    band = {"wavelength": 0.55, "floor": 0.01, "ten_sigma": 14.0, "errors": errors, "completeness": completeness}
    parallax = {"band": "V", "zero_point": 0.0, "errors": errors, "completeness": completeness}
    return {
        "version": 1,
        "name": "toy",
        "title": "Toy",
        "references": {},
        "bands": {"V": band},
        "parallax": parallax,
        "provenance": {},
    }


def write_table(path, table) -> str:
    path.write_text(yaml.safe_dump(table))
    return str(path)


def test_a_table_becomes_a_survey(tmp_path):
    survey = read_table(write_table(tmp_path / "toy.yaml", survey_table())).survey()
    assert survey.bands["V"] == Band(0.55, 0.01, 14.0, 15.0, 0.1, Errors((10.0, 12.0), (0.01, 0.04)))
    assert survey.parallax.completeness(15.0) == 0.5
    assert (survey.name, survey.title) == ("toy", "Toy")


@pytest.mark.parametrize("name", ["2mass", "gaia"])
def test_measured_tables_say_where_they_come_from(name):
    provenance = read_table(TABLES / f"{name}.yaml").provenance
    assert provenance["rule"] == "measure_survey"
    for catalogue in provenance["catalogues"].values():
        assert re.fullmatch("[0-9a-f]{64}", catalogue["sha256"])
        assert catalogue["stars"] > 1000


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("bands", "V", "errors", "error"), [0.04, 0.01], "bands.V.errors: .*found errors .*; expected none smaller"),
        (("bands", "V", "errors", "error"), [0.04], "bands.V.errors: .*2 magnitudes and 1 errors; expected as many"),
        (("bands", "V", "errors", "magnitude"), [12.0, 10.0], r"found magnitudes \(12.0, .*expected them to ascend"),
        (("bands", "V", "errors", "error"), [0.0, 0.1], "greater than 0"),
        (("bands", "V", "completeness", "width"), -1.0, "bands.V.completeness.width: .*greater than 0"),
        (("bands", "V", "depth"), 3.0, "bands.V.depth: Extra inputs"),
        (("bands",), {}, "bands: .*at least 1"),
        (("parallax", "band"), "G", "parallax.band: found G; expected one of V"),
        (("version",), 2, "version: "),
    ],
)  # fmt: skip
def test_bad_tables_are_refused(tmp_path, place, value, message):
    table = survey_table()
    part = table
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    with pytest.raises(SurveyTableError, match=message) as error:
        read_table(write_table(tmp_path / "toy.yaml", table))
    assert str(error.value).startswith(str(tmp_path / "toy.yaml"))


def test_missing_and_garbled_tables_are_refused(tmp_path):
    with pytest.raises(SurveyTableError, match=r"none\.yaml: not found; expected .* 2mass, .*gaia"):
        read_table(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("{")
    with pytest.raises(SurveyTableError, match="not a YAML file"):
        read_table(tmp_path / "bad.yaml")


@pytest.mark.real
@pytest.mark.parametrize(("band", "faint"), [("J", 16.3), ("Ks", 14.8)])
def test_errors_are_those_of_two_mass(observations, band, faint):
    columns = {"longitude": "GLON", "latitude": "GLAT", band: f"{band[0]}mag", f"{band}_error": f"e_{band[0]}mag"}
    stars = read(observations / "twomass_orion" / "Orion_A_2mass.fits", columns, [band], "galactic")
    for magnitude in np.arange(faint - 4, faint, 0.5):
        near = stars[np.abs(stars[band] - magnitude) < 0.1]
        assert TWOMASS.bands[band].error(magnitude) == pytest.approx(near[f"{band}_error"].median(), rel=0.25)


def test_measurements_scatter_by_their_errors(rng):
    true = {"J": np.full(40_000, 15.5), "Ks": np.full(40_000, 13.5)}
    measured, errors, seen = TWOMASS.observe(true, {"J": 17.0, "Ks": 15.0}, 4.0, rng)
    for band, values in true.items():
        np.testing.assert_array_equal(errors[band], TWOMASS.bands[band].error(values))
        pull = (measured[band] - values) / errors[band]
        assert abs(pull.mean()) < 5 / np.sqrt(40_000)
        assert abs(pull.std() - 1) < 5 / np.sqrt(2 * 40_000)
    assert seen.mean() > 0.999
    pulls = [(measured[band] - true[band]) / errors[band] for band in true]
    assert abs(np.corrcoef(pulls)[0, 1]) < 5 / np.sqrt(40_000)  # each band has its own noise


def test_limits_hold_for_measured_magnitudes(rng):
    true = {"J": rng.uniform(3, 18, 50_000)}
    true["Ks"] = true["J"] - 0.8
    limits = {"J": 16.3, "Ks": 14.8}
    measured, _, seen = TWOMASS.observe(true, limits, 5.0, rng)
    for band, limit in limits.items():
        assert measured[band][seen].max() < limit
        assert measured[band][seen].min() >= 5.0
    inside = np.all([(true[b] > 5.2) & (true[b] < limit - 0.8) for b, limit in limits.items()], axis=0)
    assert seen[inside].mean() > 0.99
    # noise carries some over the limit in either direction
    assert (true["Ks"][seen] > 14.8).any()
    assert (~seen[true["Ks"] < 14.8]).any()


def test_half_of_the_stars_are_found_at_half(rng):
    survey = Survey("toy", "Toy", {"V": Band(0.55, 0.01, 30.0, 18.0, 0.3), "I": Band(0.8, 0.01, 30.0, 18.0, 0.3)})
    true = {"V": np.full(20_000, 18.0), "I": np.full(20_000, 18.0)}
    *_, seen = survey.observe(true, {"V": 25.0}, 0.0, rng)
    assert abs(seen.mean() - 0.5) < 5 * np.sqrt(0.25 / 20_000)
    *_, seen = survey.observe(true, {"V": 25.0, "I": 25.0}, 0.0, rng)
    assert abs(seen.mean() - 0.25) < 5 * np.sqrt(0.1875 / 20_000)


# --- catalogues

COLUMNS = {"longitude": "lon", "latitude": "lat", "J": "jmag", "J_error": "e_jmag", "Ks": "kmag"}


def table(frame: str = "galactic") -> Table:
    # the galactic centre and the north celestial pole
    positions = {
        "galactic": ([359.9, 10.0, 20.0], [0.0, -5.0, 5.0]),
        "icrs": ([266.40499, 0.0, 1.0], [-28.93617, 90, 0]),
    }
    longitude, latitude = positions[frame]
    return Table(
        {
            "id": ["a", "b", "c"],
            "lon": np.array(longitude, float),
            "lat": np.array(latitude, float),
            "jmag": MaskedColumn([12.5, 0.0, 14.25], mask=[False, True, False]),
            "e_jmag": np.array([0.02, 0.03, 0.04], np.float32),
            "kmag": MaskedColumn([11, 12, -1], mask=[False, False, True]),
        }
    )


def write(path, rows: Table):
    if path.name.endswith(".parquet"):
        rows.to_pandas().to_parquet(path)
    elif ".csv" in path.name:
        rows.write(path, format="ascii.csv")
    elif path.name.endswith(".vot"):
        rows.write(path, format="votable")
    else:
        rows.write(path)
    return path


SUFFIXES = [".fits", ".fits.gz", ".ecsv", ".csv", ".csv.gz", ".vot", ".parquet"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_catalogues_of_every_format(tmp_path, suffix):
    path = write(tmp_path / f"stars{suffix}", table())
    found = read(path, COLUMNS, ["J", "Ks"], "galactic")
    assert list(found.columns) == ["l", "b", "J", "J_error", "Ks", "detected", "good"]
    assert {str(kind) for kind in found.dtypes[:5]} == {"float64"}
    np.testing.assert_array_equal(found["detected"], [True, False, True])
    np.testing.assert_allclose(found["l"], [359.9, 10.0, 20.0])
    np.testing.assert_allclose(found["b"], [0.0, -5.0, 5.0])
    np.testing.assert_allclose(found["J"], [12.5, np.nan, 14.25])
    np.testing.assert_allclose(found["J_error"], [0.02, 0.03, 0.04], rtol=1e-6)
    np.testing.assert_allclose(found["Ks"], [11, 12, np.nan])


@pytest.mark.parametrize("suffix", [".fits", ".ecsv", ".parquet"])
def test_catalogues_in_equatorial_coordinates(tmp_path, suffix):
    found = read(write(tmp_path / f"stars{suffix}", table("icrs")), COLUMNS, ["J"], "icrs")
    assert "Ks" not in found
    np.testing.assert_allclose((found["l"][:2] + 180) % 360 - 180, [0.0, 122.932], atol=2e-3)
    np.testing.assert_allclose(found["b"][:2], [0.0, 27.128], atol=2e-3)


def test_the_first_table_of_a_file_is_read(tmp_path):
    path = tmp_path / "stars.fits"
    other = Table({"lon": [1.0]})
    fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(table()), fits.table_to_hdu(other)]).writeto(path)
    assert len(read(path, COLUMNS, ["J"], "galactic")) == 3


def test_rows_without_position_keep_their_place(tmp_path):
    rows = table()
    rows["lat"] = [0.0, np.nan, 95.0]
    found = read(write(tmp_path / "stars.fits", rows), COLUMNS, ["J"], "icrs")
    assert len(found) == 3
    np.testing.assert_array_equal(np.isfinite(found["l"]), [True, False, False])
    np.testing.assert_array_equal(np.isfinite(found["b"]), [True, False, False])


@pytest.mark.parametrize("suffix", [".fits", ".ecsv", ".csv", ".parquet"])
def test_a_missing_column_is_named_with_those_found_and_expected(tmp_path, suffix):
    path = write(tmp_path / f"stars{suffix}", table())
    with pytest.raises(TableError) as error:
        read(path, COLUMNS | {"J": "Jmag"}, ["J", "Ks"], "galactic")
    assert str(error.value) == (
        f"{path}: found the columns id, lon, lat, jmag, e_jmag, kmag; expected also Jmag (sky.files.columns)"
    )


def test_a_missing_mapping_is_named(tmp_path):
    path = write(tmp_path / "stars.csv", table())
    with pytest.raises(TableError, match=r"maps longitude, latitude, J, J_error, Ks; expected also H$"):
        read(path, COLUMNS, ["J", "H"], "galactic")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TableError, match=r"none\.fits: not found"):
        read(tmp_path / "none.fits", COLUMNS, ["J"], "galactic")


def test_an_unknown_format_is_refused(tmp_path):
    path = tmp_path / "stars.txt"
    path.write_text("1 2 3")
    with pytest.raises(TableError, match=r"found suffix '\.txt'; expected one of \.fits"):
        read(path, COLUMNS, ["J"], "galactic")


# --- cleaning

TILES = Tiles.cover((358, 362), (-1, 1), 1)
LIMITS = {"J": 16.0, "Ks": 14.0}
REASONS = {
    "position missing": (np.nan, 0.0, 15.0, 13.0),
    "outside the window": (5.0, 0.0, 15.0, 13.0),
    "magnitude missing": (359.0, 0.0, np.nan, 13.0),
    "magnitude a sentinel": (359.0, 0.1, 15.0, 99.999),
    "no error, so an upper limit": (359.0, 0.4, 15.0, 13.0),
    "refused by its flags": (359.0, -0.4, 15.0, 13.0),
    "duplicate": (1.0, 0.5, 15.0, 13.0),  # of the one good row
    "brighter than the limit": (359.0, 0.2, 3.0, 2.5),
    "fainter than the limit": (359.0, 0.3, 15.0, 14.0),
}
GOOD = (1.0, 0.5, 15.0, 13.0)


def catalogue(rows) -> pd.DataFrame:
    return pd.DataFrame(np.array(rows, float).reshape(-1, 4), columns=["l", "b", "J", "Ks"])


def flagged(rows) -> pd.DataFrame:
    """A catalogue whose limits and flags are those of two of the reasons."""
    stars = catalogue(rows)
    return stars.assign(detected=stars["b"] != 0.4, good=stars["b"] != -0.4)


def test_every_reason_is_counted_once():
    stars, dropped = clean(flagged([GOOD, *REASONS.values()]), TILES, LIMITS, bright=4.0)
    assert dropped == dict.fromkeys(REASONS, 1)
    assert list(dropped) == list(REASONS)
    pd.testing.assert_frame_equal(stars, catalogue([GOOD]))


@given(st.lists(st.sampled_from([GOOD, *REASONS.values()]), min_size=1, max_size=30))
def test_rows_are_kept_or_counted(rows):
    stars, dropped = clean(flagged(rows), TILES, LIMITS, bright=4.0)
    assert len(stars) + sum(dropped.values()) == len(rows)
    assert len(stars) == (GOOD in rows)  # its copies are duplicates


def test_a_row_with_many_faults_counts_under_the_first():
    rows = [
        (np.nan, 0.0, np.nan, 99.0),
        (5.0, 0.0, np.nan, 99.0),
        (359.0, 0.0, np.nan, 99.0),
        (359.0, 0.0, 2.0, -999.0),
    ]
    stars, dropped = clean(catalogue(rows), TILES, LIMITS, bright=4.0)
    assert stars.empty
    assert list(dropped.values()) == [1, 1, 1, 1, 0, 0, 0, 0, 0]


def test_stars_on_a_limit():
    rows = [(1.0, 0.1, 4.0, 4.0), (1.0, 0.2, 15.999, 13.999), (1.0, 0.3, 16.0, 13.0)]
    stars, dropped = clean(catalogue(rows), TILES, LIMITS, bright=4.0)
    np.testing.assert_array_equal(stars["b"], [0.1, 0.2])
    assert dropped["fainter than the limit"] == 1


def test_errors_do_not_make_two_stars_of_one():
    stars = catalogue([GOOD, GOOD]).assign(J_error=[0.1, 0.2])
    kept, dropped = clean(stars, TILES, LIMITS, bright=4.0)
    assert len(kept) == dropped["duplicate"] == 1


# --- upper limits and flags

# rows as of VizieR II/246: stars at l = 0.05, 0.15, ... deg; what is wrong with each
LIMIT_ROWS = {
    "": ("15.0", "0.05", "13.0", "0.03", "AAA", "000"),
    "no error of J": ("15.1", "", "13.0", "0.03", "UAA", "000"),
    "no error of Ks": ("15.2", "0.05", "13.0", "", "AAU", "000"),
    "a sentinel for an error": ("15.3", "99.999", "13.0", "0.03", "AAA", "000"),
    "an error of 0": ("15.4", "0", "13.0", "0.03", "AAA", "000"),
    "a negative error": ("15.5", "-99", "13.0", "0.03", "AAA", "000"),
    "poor quality": ("15.6", "0.05", "13.0", "0.03", "EAA", "000"),
    "contaminated": ("15.7", "0.05", "13.0", "0.03", "AAA", "c00"),
    "no flag": ("15.8", "0.05", "13.0", "0.03", "", "000"),
}
LIMIT_COLUMNS = {"longitude": "lon", "latitude": "lat", "J": "Jmag", "J_error": "e_Jmag"}
LIMIT_COLUMNS |= {"Ks": "Kmag", "Ks_error": "e_Kmag"}
FLAGS = {"Qflg": "[ABC]..", "Cflg": "0.0"}


def limits_file(tmp_path, columns=LIMIT_COLUMNS, **changes) -> CatalogueFile:
    path = tmp_path / "stars.csv"
    lines = [f"{0.05 + 0.1 * i:.2f},0.5,{','.join(row)}" for i, row in enumerate(LIMIT_ROWS.values())]
    path.write_text("\n".join(["lon,lat,Jmag,e_Jmag,Kmag,e_Kmag,Qflg,Cflg", *lines]))
    return CatalogueFile(path=str(path), columns=columns, **changes)


@pytest.mark.parametrize(
    ("changes", "limits", "refused"),
    [
        ({}, 5, 0),
        ({"flags": FLAGS}, 5, 3),
        ({"flags": {"Qflg": "[ABC].."}}, 5, 2),
        ({"flags": {"Qflg": "E|AAA|"}}, 5, 1),  # the whole value
        ({"flags": {"Qflg": ".*"}}, 5, 0),
        ({"columns": {key: LIMIT_COLUMNS[key] for key in LIMIT_COLUMNS if key != "Ks_error"}}, 4, 0),
        ({"columns": {key: LIMIT_COLUMNS[key] for key in LIMIT_COLUMNS if "error" not in key}}, 0, 0),
    ],
)
def test_upper_limits_and_flagged_stars_are_dropped_and_counted(tmp_path, caplog, changes, limits, refused):
    caplog.set_level("INFO")
    everything, _, dropped = gather([limits_file(tmp_path, **changes)], list(LIMITS))
    assert len(everything) == len(LIMIT_ROWS)  # all were observed
    stars, rows = usable(everything, dropped, LIMITS, 4.0, TILES)
    assert len(stars) == rows["kept"] == len(LIMIT_ROWS) - limits - refused
    assert rows["dropped"]["no error, so an upper limit"] == limits
    assert rows["dropped"]["refused by its flags"] == refused
    assert ("no error, so an upper limit" in caplog.text) == (limits > 0)
    assert "detected" not in stars
    if changes == {"flags": FLAGS}:
        np.testing.assert_array_equal(stars["J"], [15.0])


def test_a_catalogue_without_errors_beside_one_with_them(tmp_path):
    """Nothing is known of its limits, so none is dropped; a limit does not hide a star of another catalogue."""
    one = limits_file(tmp_path)
    path = tmp_path / "plain.csv"
    path.write_text("l,b,J,Ks\n1.0,0.5,15.0,13.0\n0.15,0.5,15.1,13.0\n0.05,0.5,15.0,13.0\n")
    other = CatalogueFile(path=str(path), columns={"longitude": "l", "latitude": "b", "J": "J", "Ks": "Ks"})
    everything, _, dropped = gather([one, other], list(LIMITS))
    assert dropped == {"in an earlier catalogue": 1}
    stars, _ = usable(everything, dropped, LIMITS, 4.0, TILES)
    assert {(1.0, 15.0), (0.15, 15.1)} < set(zip(stars["l"], stars["J"], strict=True))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_flags_of_every_format(tmp_path, suffix):
    rows = table()
    rows["q"], rows["n"] = ["AAA", "U", "BBB"], [0, 1, 0]
    path = write(tmp_path / f"stars{suffix}", rows)
    found = read(path, COLUMNS, ["J"], "galactic", {"q": "[AB]+", "n": "0"})
    np.testing.assert_array_equal(found["good"], [True, False, True])
    with pytest.raises(TableError, match=r"expected also Q .*sky\.files\.columns and flags"):
        read(path, COLUMNS, ["J"], "galactic", {"Q": "A"})


# --- footprint


def test_a_hole_is_not_observed(rng):
    tiles = Tiles.cover((358, 362), (-1, 1), 1)
    l, b = rng.uniform(358, 362, 40_000), rng.uniform(-1, 1, 40_000)
    # tile (0, 0): nothing at all; tile (2, 1): a quarter missing, whose borders run through the middle of cells
    hole = ((l < 359) & (b < 0)) | ((l > 360.15) & (l < 360.65) & (b > 0.15) & (b < 0.65))
    share = observed_fraction(l[~hole] % 360, b[~hole], tiles, cell=0.1)
    assert share[0, 0] == 0.0
    assert share[2, 1] == pytest.approx(0.75, abs=0.02)
    # half of the cells beside the empty tile are not counted: its border is taken to run anywhere in them
    np.testing.assert_allclose([share[0, 1], share[1, 0]], 0.95, atol=1e-9)
    np.testing.assert_allclose(share[[1, 2, 3, 3], [1, 0, 0, 1]], 1.0, atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 10.0, 20.0, 30.0, 45.0])
def test_the_area_of_a_square_does_not_depend_on_how_it_lies(angle, rng):
    """A square field in the middle of the window, in any position against the cells: its area within 3 %."""
    tiles = Tiles.cover((30, 36), (-3, 3), 1)
    found = []
    for _ in range(8):
        x, y = rng.uniform(-1.5, 1.5, (2, 30_000))
        turn = np.radians(angle)
        l = 33 + x * np.cos(turn) - y * np.sin(turn) + rng.uniform(-0.1, 0.1)
        b = x * np.sin(turn) + y * np.cos(turn) + rng.uniform(-0.1, 0.1)
        found.append(observed_fraction(l, b, tiles, cell=0.1).sum())
    assert np.mean(found) == pytest.approx(9.0, rel=0.03)


def gathered(tmp_path, *frames):
    """`gather` on CSV files of the given rows, and what is `usable` of it."""
    files = []
    for number, frame in enumerate(frames):
        path = tmp_path / f"{number}.csv"
        frame.to_csv(path, index=False)
        columns = {"longitude": "l", "latitude": "b", "J": "J", "Ks": "Ks"}
        if "parallax" in frame:
            columns["parallax"] = "parallax"
        files.append(CatalogueFile(path=str(path), columns=columns, footprint_cell=f"{6 + number} arcmin"))
    everything, cell, dropped = gather(files, list(LIMITS))
    return *usable(everything, dropped, LIMITS, 4.0, TILES), everything, cell


def test_catalogues_of_a_survey_are_joined_with_each_star_once(tmp_path):
    first = catalogue([GOOD, REASONS["magnitude missing"]])
    second = catalogue([GOOD, (1.0, -0.5, 15.0, 13.0), REASONS["position missing"]])
    stars, rows, everything, cell = gathered(tmp_path, first, second)
    np.testing.assert_array_equal(stars["b"], [0.5, -0.5])
    # a star without magnitudes was observed all the same
    assert np.isfinite(everything["l"]).sum() == 3
    assert cell == pytest.approx(7 / 60)
    assert (rows["read"], rows["kept"]) == (5, 2)
    assert rows["dropped"]["in an earlier catalogue"] == 1
    assert rows["dropped"]["magnitude missing"] == rows["dropped"]["position missing"] == 1
    assert rows["read"] == rows["kept"] + sum(rows["dropped"].values())


def test_parallaxes_are_read_where_they_are(tmp_path):
    stars, *_ = gathered(tmp_path, catalogue([GOOD, (1.0, -0.5, 15.0, 13.0)]).assign(parallax=[1.5, np.nan]))
    np.testing.assert_array_equal(stars["parallax"], [1.5, np.nan])


@pytest.mark.parametrize("rows", [[], [REASONS["fainter than the limit"]]])
def test_catalogues_without_a_star_are_refused(tmp_path, rows):
    said = rf"sky: found {len(rows)} rows and none that can be used .*; expected stars inside sky\.l"
    with pytest.raises(TableError, match=said):
        gathered(tmp_path, catalogue(rows))


def test_a_cell_as_large_as_the_tile_is_all_half_or_nothing():
    tiles = Tiles.cover((10, 13), (0, 1), 1)
    l, b = np.array([11.2, 12.5]), np.array([0.5, 0.5])
    np.testing.assert_array_equal(observed_fraction(l, b, tiles, 5.0), [[0.0], [0.5], [1.0]])


def test_stars_beside_the_window_observe_nothing():
    tiles = Tiles.cover((10, 12), (0, 1), 1)
    share = observed_fraction(np.array([9.9, 12.1, 190.0, 10.5]), np.array([0.5, 0.5, 0.5, 1.5]), tiles, 0.5)
    np.testing.assert_array_equal(share, np.zeros((2, 1)))
