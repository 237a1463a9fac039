"""Surveys measured from catalogues: known answers, and the tables of the package from the real ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from test_workflow import copy_project, planned, snakemake

from galcarto.__main__ import main
from galcarto.dustmap.settings import read_settings
from galcarto.figures import surveys as figures
from galcarto.galaxy.components import load
from galcarto.galaxy.synthesis import StarModel
from galcarto.surveys.measure import completeness as counts
from galcarto.surveys.measure import errors, gaia
from galcarto.surveys.settings import Catalogues
from galcarto.surveys.survey import TABLES, Band, read_table

ROOT = Path(__file__).parent.parent
EDGES = np.arange(10.0, 18.01, 0.25)
TRUE = Band(1.2, floor=0.02, ten_sigma=16.0, half=17.0, width=0.12)

# --- errors


def catalogue(rng, number: int, factor: float = 1.0, scatter: float = 0.1) -> errors.Medians:
    magnitude = rng.uniform(10.0, 18.0, number)
    stated = factor * TRUE.error(magnitude) * np.exp(scatter * rng.standard_normal(number))
    stated[rng.random(number) < 0.1] = np.nan  # stars without an error do not count
    return errors.Medians.of(magnitude, stated, EDGES)


def test_medians_have_the_range_of_the_stars(rng):
    found = catalogue(rng, 50_000)
    np.testing.assert_allclose(found.error, TRUE.error(found.magnitude), rtol=0.05)
    np.testing.assert_allclose(np.log(found.high / found.low) / 2, 0.1, atol=0.03)
    assert found.number.sum() == pytest.approx(45_000, rel=0.02)


def test_bins_of_few_stars_have_no_median():
    found = errors.Medians.of(np.full(errors.LEAST - 1, 12.1), np.full(errors.LEAST - 1, 0.1), EDGES)
    assert np.isnan(found.error).all()
    assert found.number.max() == errors.LEAST - 1


def test_catalogues_that_differ_by_a_factor_share_a_curve(rng):
    found = errors.Joint.of({"one": catalogue(rng, 40_000, 1.1), "two": catalogue(rng, 20_000, 0.9)})
    assert found.offsets["one"] - found.offsets["two"] == pytest.approx(np.log(1.1 / 0.9), abs=0.01)
    assert sum(found.offsets.values()) == pytest.approx(0.0, abs=1e-9)
    assert found.scatter == pytest.approx(0.1, abs=0.01)
    middle = np.arange(11.0, 17.5, 0.1)
    np.testing.assert_allclose(found.errors.at(middle), np.sqrt(1.1 * 0.9) * TRUE.error(middle), rtol=0.04)


def test_a_shallow_catalogue_does_not_bend_the_curve(rng):
    """One that ends early and has larger errors leaves no step where it ends."""
    magnitude = rng.uniform(10.0, 14.0, 20_000)
    short = errors.Medians.of(magnitude, 1.3 * TRUE.error(magnitude), EDGES)
    found = errors.Joint.of({"short": short, "long": catalogue(rng, 40_000)})
    ratio = found.errors.at(np.array([13.0, 15.0])) / TRUE.error(np.array([13.0, 15.0]))
    assert ratio[0] == pytest.approx(ratio[1], rel=0.02)


@given(st.integers(0, 1000))
def test_joint_errors_never_fall(seed):
    rng = np.random.default_rng(seed)
    rows = rng.uniform(0.01, 0.1, (2, len(EDGES) - 1))
    rows[rng.random(rows.shape) < 0.3] = np.nan
    rows[0, 0] = rows[1, 0] = 0.05
    middle = 0.5 * (EDGES[1:] + EDGES[:-1])
    number = np.full(len(middle), 50)
    found = errors.Joint.of({str(i): errors.Medians(middle, row, row, row, number) for i, row in enumerate(rows)})
    assert (np.diff(found.errors.error) >= 0).all()


def test_floor_and_background_are_found_again(rng):
    floor, ten_sigma = errors.floor_and_background({"one": catalogue(rng, 50_000, scatter=0.01)})
    assert floor == pytest.approx(0.02, rel=0.02)
    assert ten_sigma == pytest.approx(16.0, abs=0.02)


def test_the_form_with_smaller_residuals_is_told(rng):
    """Two catalogues whose errors have a bump: a table knows it, floor and background do not."""
    magnitude = rng.uniform(10.0, 18.0, (2, 20_000))
    bumpy = TRUE.error(magnitude) * (1.0 + 0.5 * np.exp(-((magnitude - 14.0) ** 2)))
    found = errors.forms(
        {str(i): errors.Medians.of(m, e, EDGES) for i, (m, e) in enumerate(zip(magnitude, bumpy, strict=True))}
    )
    assert max(found["table"].values()) < 0.05 < min(found["floor_and_background"].values())


def test_errors_of_bp_and_rp_are_told_apart(rng):
    """Known errors of the two bands, of which the fit sees only their sum in BP-RP."""
    number = 60_000
    g = 20.5 - rng.exponential(2.0, number)
    colour = np.clip(rng.normal(1.3, 0.5, number), 0.3, 2.9)
    polynomial = np.array([0.0, -0.06, 0.62, 0.02])
    rp = g - np.polyval(polynomial, colour)
    truth = {
        "BP": Band(0.51, errors.FLOORS["BP"], 20.8, 99.0, 0.1),
        "RP": Band(0.78, errors.FLOORS["RP"], 20.2, 99.0, 0.1),
    }
    stated = np.hypot(truth["BP"].error(rp + colour), truth["RP"].error(rp)) * np.exp(0.1 * rng.standard_normal(number))
    found, cells = errors.split(g, colour, stated, polynomial)
    assert np.abs(np.log(cells["fitted"] / cells["found"])).max() < 0.15
    for band, magnitudes in (("BP", [17.0, 18.0, 19.0, 20.0]), ("RP", [16.0, 17.0, 18.0, 19.0])):
        np.testing.assert_allclose(found[band].at(magnitudes), truth[band].error(magnitudes), rtol=0.15)
        assert (np.diff(found[band].error) > 0).all()


def test_the_colour_relation_passes_by_outliers(rng):
    colour = rng.uniform(0.3, 2.5, 3000)
    rest = 0.02 + 0.6 * colour - 0.06 * colour**2 + 0.005 * rng.standard_normal(3000)
    rest[:200] -= 0.2
    g = rng.uniform(12.0, 17.0, 3000)
    polynomial, scatter = errors.colour_relation(g, g - rest + colour, g - rest)
    np.testing.assert_allclose(np.polyval(polynomial, [0.5, 1.0, 2.0]), [0.305, 0.56, 0.98], atol=0.005)
    assert scatter == pytest.approx(0.005, rel=0.3)


# --- completeness


def density(edges: np.ndarray) -> np.ndarray:
    """Stars that double each magnitude."""
    return np.diff(2.0**edges)


def observed(rng, number: int, half: float, width: float, tilt: float = 0.0) -> np.ndarray:
    """Magnitudes of a survey that finds what it measures as bright enough."""
    slope = np.log(2.0) + tilt
    true = 20.0 - rng.exponential(1 / slope, number)
    flux = 1.0 + TRUE.error(true) / 1.0857 * rng.standard_normal(number)
    measured = true[flux > 0] - 2.5 * np.log10(flux[flux > 0])
    return measured[rng.random(len(measured)) < 1 / (1 + np.exp(np.clip((measured - half) / width, -50, 50)))]


@pytest.mark.parametrize(("half", "width", "tilt"), [(17.0, 0.1, 0.0), (16.8, 0.2, 0.1), (17.2, 0.05, -0.1)])
@pytest.mark.parametrize("mock", [density, None])
def test_completeness_is_found_again(rng, half, width, tilt, mock):
    found = counts.decline(observed(rng, 1_000_000, half, width, tilt), mock, TRUE.error, 17.0)
    assert abs(found.half - half) < max(5 * found.half_error, 0.01)
    assert found.half_error < 0.02
    assert found.width == pytest.approx(width, abs=max(5 * found.width_error, 0.01))
    assert found.quality < 3.0
    if mock is not None:
        assert found.tilt == pytest.approx(tilt, abs=0.02)


def test_small_errors_of_the_flux_are_those_of_the_magnitude():
    limit, error = np.array([14.99, 15.0, 15.01]), np.array(0.01)
    np.testing.assert_allclose(counts.measured_below(limit, 15.0, error), [0.1587, 0.5, 0.8413], atol=2e-3)
    # a star at a tenth of the limit's flux, whose noise is a third of that flux, is three sigma away
    noise = 1.0857 * 10 / 3
    assert counts.measured_below(np.array(15.0), np.array(17.5), np.array(noise)) == pytest.approx(0.0035, rel=0.02)


def test_the_mocks_number_of_stars_does_not_matter(rng):
    magnitude = observed(rng, 300_000, 17.0, 0.1)
    one, ten = (counts.decline(magnitude, lambda e, f=f: f * density(e), TRUE.error, 17.0) for f in (1.0, 10.0))
    assert one.half == pytest.approx(ten.half, abs=1e-3)
    assert one.complete[0] == pytest.approx(ten.complete[0], rel=1e-3)


def test_a_cut_before_the_decline_gives_a_limit(rng):
    magnitude = observed(rng, 60_000, 17.5, 0.1)
    magnitude = magnitude[magnitude < 16.5]

    def fit(fixed):
        return counts.decline(magnitude, density, TRUE.error, 16.5, 16.5, fixed=fixed)

    found = counts.lowest_half(fit, np.arange(15.0, 18.0, 0.05), 0.1)
    assert 16.3 < found < 17.5


def test_shares_are_found_again(rng):
    magnitude = rng.uniform(17.0, 21.0, 20_000)
    has = rng.random(20_000) < 0.98 / (1 + np.exp((magnitude - 20.5) / 0.1))
    found, bins = counts.fit_fraction(magnitude, has, np.arange(17.0, 21.01, 0.1), plateau=True)
    assert found["half"] == pytest.approx(20.5, abs=5 * found["half_error"])
    assert found["width"] == pytest.approx(0.1, abs=5 * found["width_error"])
    assert found["plateau"] == pytest.approx(0.98, abs=0.01)
    assert bins["number"].sum() == 20_000


def test_the_error_of_a_share_is_never_zero_and_the_same_for_its_complement():
    number, having = np.array([100.0, 10.0, 10.0]), np.array([50.0, 10.0, 0.0])
    bins = {"number": number, "with": having, "fitted": having / number, "magnitude": np.arange(3.0)}
    shown = gaia._fraction_variables("colour", bins)
    np.testing.assert_allclose(shown["colour_share"][1], [0.5, 1.0, 0.0])
    # of 51 in 102, and of 11 in 12: sqrt(0.25 / 100), sqrt(11 / 144 / 10)
    np.testing.assert_allclose(shown["colour_share_error"][1], [0.05, 0.0874, 0.0874], atol=1e-4)


@pytest.mark.parametrize("longitude", [10.0, 359.9])
def test_areas_of_fields(rng, longitude):
    l = (longitude + rng.uniform(0, 1, 20_000)) % 360
    b = rng.uniform(59.5, 60.5, 20_000)
    assert counts.solid_angle(l, b) == pytest.approx(0.5, rel=0.03)


def test_a_layer_of_dust_adds_up_to_its_extinction():
    dust = counts.layer(2.0, 5.0)(np.array([0.0, 1.0, 100.0]))
    assert dust[0] == 0.0
    assert 0.5 < dust[1] < 1.5
    assert dust[2] == pytest.approx(2.0)


def test_expected_counts_behind_a_screen_are_those_of_brighter_limits():
    model = StarModel(load("robin2003"), [{"Ks": 30.0}], ("Ks",))
    edges = np.arange(10.0, 14.01, 0.05)
    bare = counts.expected(model, "Ks", 233.0, -19.4, edges, lambda d: np.zeros_like(d))
    behind = counts.expected(model, "Ks", 233.0, -19.4, edges + 0.5, lambda d: np.full_like(d, 0.5))
    np.testing.assert_allclose(behind, bare, rtol=1e-6)
    assert 1000 < bare.sum() < 4000  # per deg2


# --- the rule


def numbers(value, path=""):
    """Every number of a nested table, by its path."""
    if isinstance(value, dict):
        return {k: v for key, part in value.items() for k, v in numbers(part, f"{path}.{key}").items()}
    if isinstance(value, list):
        return {k: v for key, part in enumerate(value) for k, v in numbers(part, f"{path}[{key}]").items()}
    return {path: value} if isinstance(value, int | float) else {}


@pytest.mark.parametrize("there", [False, True])
def test_a_survey_is_left_out_where_a_catalogue_is_missing(tmp_path, there):
    """A copy of the workflow, beside which there are no catalogues, or those of 2MASS."""
    copy_project(tmp_path)
    files = [tmp_path / f"{name}.fits" for name in "abc"]
    for path in files if there else []:
        path.touch()
    catalogues = "catalogues={twomass: [a.fits, b.fits, c.fits], gaia: [d.csv, e.dat, f.fits]}"
    ran = snakemake(tmp_path, "-n", "measure_surveys", "--config", catalogues, tiny=False)
    assert ran.returncode == 0, ran.stdout
    assert set(planned(ran.stdout)) == {"measure_surveys"} | ({"measure_survey", "plot_survey"} if there else set())
    left_out = "d.csv, e.dat, f.fits" if there else "a.fits, b.fits, c.fits, d.csv, e.dat, f.fits"
    assert f"left out: {left_out}." in ran.stdout
    assert f"Surveys measured: {'2mass' if there else 'none'};" in ran.stdout


@pytest.mark.real
@pytest.mark.parametrize(("survey", "field"), [("2mass", "twomass"), ("gaia", "gaia")])
def test_the_rule_makes_the_tables_of_the_package(observations, tmp_path, survey, field):
    paths = [str(ROOT / path) for path in getattr(Catalogues(), field)]
    settings = read_settings(ROOT / "config/config.yaml").for_stage("measure_survey")
    table, metrics, output = (tmp_path / f"{survey}.{suffix}" for suffix in ("yaml", "json", "nc"))
    words = ["--survey", survey, "--settings", settings, "--catalogues", *paths, "--table", str(table)]
    assert main(["measure_survey", *words, "--metrics", str(metrics), "--output", str(output)]) == 0
    read_table(table)
    ours, kept = (yaml.safe_load(path.read_text()) for path in (table, TABLES / f"{survey}.yaml"))
    assert ours["provenance"] == kept["provenance"]
    # fits end within their tolerance on another machine
    assert numbers(ours) == pytest.approx(numbers(kept), rel=0.01, abs=0.005)
    json.loads(metrics.read_text())
    drawn = [str(tmp_path / f"{name}.png") for name in figures.FIGURES[survey]]
    assert main(["plot_survey", "--survey", survey, "--measured", str(output), "--errors", drawn[0],
                 "--completeness", drawn[1]]) == 0  # fmt: skip
    assert all(Path(path).stat().st_size > 20_000 for path in drawn)
