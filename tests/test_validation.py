"""The checks of the mock Galaxy: numbers whose answers are known, tables that cannot be used, the rule."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from matplotlib.text import Text
from test_workflow import copy_project, planned, snakemake

from galcarto.__main__ import main
from galcarto.figures import galaxy as figures
from galcarto.figures import style
from galcarto.galaxy import components, integrals
from galcarto.galaxy.checks import BANDS, evolution, fields, neighbourhood, star_counts, white_dwarfs
from galcarto.galaxy.checks.star_counts import Counts, CountsError
from galcarto.galaxy.synthesis import StarModel

ROOT = Path(__file__).parents[1]
L = np.array([30.0, 120.0, 200.0, 90.0, 45.0, 5.0, 90.0])
B = np.array([0.0, 5.0, -8.0, 60.0, -80.0, 2.0, 20.0])
LIMIT = np.array([10.0, 12.0, 14.0, 16.0])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A Galaxy of three components: a disc, the thick disc, the halo."""
    table = yaml.safe_load(components.table_path("robin2003").read_text())
    table["components"] = [part for part in table["components"] if part["name"] in ("thin5", "thick", "halo")]
    path = tmp_path_factory.mktemp("galaxy") / "small.yaml"
    path.write_text(yaml.safe_dump(table))
    return path


@pytest.fixture(scope="module")
def model(small):
    return StarModel(components.load(str(small)), [integrals.ALL_STARS], BANDS)


@pytest.fixture(scope="module")
def single(small):
    return StarModel(components.load(str(small)), [integrals.ALL_STARS], BANDS, binaries=False)


@pytest.fixture(scope="module")
def own(model):
    """The model's own counts as the table to compare with."""
    return Counts(
        L,
        B,
        LIMIT,
        integrals.expected(model, L, B, [integrals.brighter_than(model, "Ks", LIMIT - star_counts.K_OVER_KS)])[0],
    )


def settings(model: str, counts: str | None = None) -> str:
    return json.dumps({"galaxy": {"model": model}, "validation": {"counts": counts}})


def measured(folder: Path, model: Path, *options: str) -> Path:
    folder.mkdir(exist_ok=True)
    files = ["--metrics", str(folder / "metrics.json"), "--output", str(folder / "validation.nc")]
    assert main(["measure_galaxy", "--settings", settings(str(model)), *options, *files]) == 0
    return folder


@pytest.fixture(scope="module")
def without_table(small, tmp_path_factory):
    return measured(tmp_path_factory.mktemp("measured"), small, "--counts")


# --- counts


def test_a_model_agrees_with_its_own_counts(model, single, own):
    metrics, dataset = star_counts.counts(model, single, own)
    assert list(metrics["median_ratio"].values()) == pytest.approx([1.0] * 4)
    assert (metrics["plane_within_15_percent"], metrics["pole_within_20_percent"]) == (1.0, 1.0)
    assert (metrics["directions"], metrics["plane_directions"], metrics["pole_directions"]) == (7, 3, 2)
    assert {name: zone["directions"] for name, zone in metrics["zones"].items()} == {
        "plane": 3,
        "centre": 1,
        "middle": 1,
        "pole": 2,
    }
    # a pair is seen as one star; K is fainter than Ks
    assert min(metrics["single_stars"]["median_ratio"].values()) > 1.05
    assert 1.0 < metrics["in_Ks"]["median_ratio"]["14"] < 1.05
    assert dataset["counts_mock"].dims == ("direction", "limit")


def test_scaled_counts_leave_the_tolerances(own):
    table = Counts(own.l, own.b, own.limit, 1.2 * own.number)
    metrics = star_counts.count_scores(table, own.number)
    assert list(metrics["median_ratio"].values()) == pytest.approx([1 / 1.2] * 4)
    assert metrics["plane_within_15_percent"] == 0.0
    assert metrics["pole_within_20_percent"] == 1.0
    assert star_counts.count_scores(Counts(own.l, own.b, own.limit, 1.3 * own.number), own.number)[
        "pole_within_20_percent"
    ] == pytest.approx(0.0)


def test_shares_and_noise_of_a_table_made_by_hand():
    l, b = np.array([20.0, 340.0, 19.0, 100.0, 100.0]), np.array([10.0, -10.0, 0.0, 31.0, -31.0])
    table = Counts(l, b, np.array([10.0, 11.0, 12.0, 14.0, 16.0]), np.full((5, 5), 400.0))
    table.number[4, 0] = 0.0  # no star, no ratio
    ours = np.full((5, 5), 400.0)
    ours[:, 3] = [340.0, 480.0, 100.0, 480.0, 500.0]
    metrics = star_counts.count_scores(table, ours)
    assert metrics["plane_within_15_percent"] == 0.5
    assert metrics["pole_within_20_percent"] == 0.5
    assert metrics["median_ratio"] == {"10": 1.0, "12": 1.0, "14": 1.2, "16": 1.0}
    assert metrics["median_ratio_other_limits"] == {"11": 1.0}
    assert metrics["poisson_noise"]["12"] == 0.05
    assert np.isnan(metrics["zones"]["middle"]["median_ratio"]["14"])


def test_expected_counts_are_those_of_drawn_stars(small, rng):
    model = StarModel(components.load(str(small)), [{"Ks": 14.0}], ("Ks",))
    for l, b, area in ((60.0, 3.0, 1.0), (0.0, 90.0, 150.0)):
        stars = model.draw(l, b, area, rng)
        limits = np.array([12.0, 14.0])
        numbers = integrals.brighter_than(model, "Ks", limits)
        expected = integrals.expected(model, np.array([l]), np.array([b]), [numbers])[0, 0] * area
        drawn = np.array([(stars["Ks"] < limit).sum() for limit in limits])
        assert (np.abs(drawn - expected) < 5 * np.sqrt(expected)).all()


HEADER = "longitude latitude Avtot N8 N9 N* N11 N12 N13 N14 N15 N16\n"


def test_columns_that_touch_are_told_apart(tmp_path):
    path = tmp_path / "counts.txt"
    path.write_text(
        HEADER + "10.00 -80.00 0.00 1. 2. 14. 37. 85. 165. 315. 571. 934.\n"
        "-30.00 0.00 0.00 1. 2. 30. 40. 50. 60. 741983.12933716.32479268.\n\n"
    )
    counts = star_counts.read_counts(path)
    np.testing.assert_array_equal(counts.limit, [8, 9, 10, 11, 12, 13, 14, 15, 16])
    np.testing.assert_array_equal(counts.l, [10.0, 330.0])
    np.testing.assert_array_equal(counts.number[0], [1, 2, 14, 37, 85, 165, 315, 571, 934])
    np.testing.assert_array_equal(counts.number[1, -3:], [741983, 12933716, 32479268])


GOOD = "0 0 0 1. 2. 3. 4. 5. 6. 7. 8. 9.\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found the header ''"),
        ("l b Av N10\n", "expected 'longitude latitude Avtot N4 ... N21'"),
        ("longitude latitude Avtot N* N12 N14\n0 0 0 1. 2. 3.\n", "found no column N16"),
        (HEADER, "found no direction"),
        (HEADER + "0 0 0 1. 2. 3.\n", "line 2: found 6 numbers; expected 12"),
        (HEADER + GOOD + GOOD.replace("5.", "five"), "line 3: found .* expected numbers"),
        (HEADER + GOOD.replace("5.", "2."), "expected cumulative counts"),
        (HEADER + GOOD.replace("0 0 0", "0 0 1.5"), "found A_V up to 1.5 mag"),
        (HEADER + GOOD.replace("0 0 0", "0 95 0"), "latitudes beyond 90 deg"),
        (HEADER + GOOD.replace("9.", "nan"), "expected cumulative counts"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path, text, message):
    path = tmp_path / "counts.txt"
    path.write_text(text)
    with pytest.raises(CountsError, match=re.compile(message, re.DOTALL)) as caught:
        star_counts.read_counts(path)
    assert str(path) in str(caught.value)
    assert "validation.counts" in str(caught.value)


def test_a_malformed_table_ends_the_stage_with_one_message(tmp_path, small, capsys):
    (tmp_path / "counts.txt").write_bytes(b"\xff\xfe\x00\x81")
    options = ["--counts", str(tmp_path / "counts.txt"), "--metrics", "metrics.json", "--output", "validation.nc"]
    assert main(["measure_galaxy", "--settings", settings(str(small)), *options]) == 1
    assert "found no text; expected the table of K counts" in capsys.readouterr().err


# --- the clump, the Sun, densities, white dwarfs


def test_the_fit_finds_the_clump_of_a_histogram():
    magnitude = np.arange(-2.575, -0.6, 0.05)
    truth = np.array([40.0, -1.58, 0.17, 20.0, 3.0, -2.0])
    found = neighbourhood.fit_clump(magnitude, 7.0 * neighbourhood.clump_model(magnitude, *truth))
    np.testing.assert_allclose(found[[1, 2]], truth[[1, 2]], atol=1e-6)
    np.testing.assert_allclose(found[[0, 3, 4, 5]], 7.0 * truth[[0, 3, 4, 5]], rtol=1e-5)


def test_the_isochrones_hold_the_sun():
    sun = evolution.sun()
    for name, tolerance in (("M_Ks", 0.05), ("M_G", 0.05), ("BP_RP", 0.03), ("teff", 30.0), ("logg", 0.02)):
        assert sun[name] == pytest.approx(sun["literature"][name]["value"], abs=tolerance), name


def test_the_mean_density_near_the_sun_is_the_galaxy_s(model):
    galaxy = model.galaxy
    density = integrals.density_within(model, integrals.SUN)
    place = (np.array([-galaxy.sun.radius]), np.array([0.0]), np.array([galaxy.sun.height]))
    for number, component in enumerate(galaxy.components):
        of = integrals.component_numbers(model) == number
        assert density[of].sum() == pytest.approx(galaxy.density(component, *place)[0], rel=2e-3)
    assert integrals.density_within(model, 0.4).sum() < density.sum()


def test_stretches_and_luminosity_function_hold_the_same_stars(model, single):
    for one in (model, single):
        stars = integrals.Segments.near(one)
        _, by_component = neighbourhood.luminosity_function(one)
        assert by_component.sum() * neighbourhood.LUMINOSITY_BIN == pytest.approx(stars.number.sum())
        assert (stars.ratio > 0).any() == (one is model)


def test_dwarfs_are_off_by_the_median_over_their_types(monkeypatch):
    """One dwarf of each type, redder than its table by `off`: one wild type does not move the median."""
    types = [(name, 4.0 + i, 0.5, 2.0, 1.2) for i, name in enumerate(("G5V", "K0V", "K5V", "M0V", "M2V", "M4V"))]
    monkeypatch.setattr(neighbourhood, "DWARFS", types)
    ks, off = 4.0 + np.arange(6), np.array([0.0, 0.01, 0.1, 0.02, 0.03, 0.5])
    values = {"Ks": ks, "J": ks + 0.5 + off, "G": ks + 2.0 + off, "BP": 1.2 + off, "RP": np.zeros(6)}
    stars = integrals.Segments(np.ones(6), np.zeros(6, int), np.zeros(6), values | {"logg": np.full(6, 4.5)})
    found, _ = neighbourhood.dwarfs(stars)
    for colour in ("J_Ks", "G_Ks", "BP_RP"):
        assert found["median_offset"][colour] == pytest.approx(0.025)
        assert found["median_offset_G_K"][colour] == pytest.approx(0.01)
        assert found["median_offset_M"][colour] == pytest.approx(0.03)
        assert found["largest_offset"][colour] == pytest.approx(0.5)


def test_components_of_a_kind_are_told_by_their_names(model):
    names, kind = integrals.kinds(model.galaxy)
    assert names == ["thin", "thick", "halo"]
    np.testing.assert_array_equal(kind, [0, 1, 2])


def test_the_mass_function_is_integrated():
    # the integral of 0.016 M^-4.7 from 1 to 2 Msun
    assert neighbourhood.bovy(np.array([1.0, 2.0]))[0] == pytest.approx(0.016 / 3.7 * (1 - 2**-3.7))


def test_a_diagram_holds_the_counted_stars(model):
    hess = model.hess([("Ks",), ("J", "Ks")], [0.05, 0.05])
    edges = np.arange(0.0, 14.05, 0.1), np.arange(-5.0, 20.0, 0.05)
    for at in fields.FIELDS.values():
        found = fields.diagram(model, *at, hess, *edges)
        limits = np.array([edges[0][0], edges[0][-1]])
        bright, faint = (
            np.concatenate(model.content(*at))[..., None] * integrals.brighter_than(model, "Ks", limits)
        ).sum((0, 1))
        assert found.sum() == pytest.approx(faint - bright, rel=2e-3)


def test_white_dwarfs_grow_with_the_volume_and_their_density():
    modulus = np.arange(-30.0, 40.0, 0.05)
    one = white_dwarfs.white_dwarf_counts("G", 20.0, modulus, np.full(len(modulus), 4.9e-3))
    assert 8.0 < one < 10.0
    twice = white_dwarfs.white_dwarf_counts("G", 20.0, modulus, np.full(len(modulus), 9.8e-3))
    fainter = white_dwarfs.white_dwarf_counts("G", 21.0, modulus, np.full(len(modulus), 4.9e-3))
    assert twice == pytest.approx(2 * one)
    assert fainter == pytest.approx(10**0.6 * one)
    # brighter than the youngest there is none; every one is brighter than the faintest
    np.testing.assert_array_equal(white_dwarfs._cooling("Ks", np.array([5.0, 40.0])), [0.0, 1.0])


# --- the stages


def test_without_the_table_all_but_the_counts_is_measured(without_table, small, tmp_path):
    metrics = json.loads((without_table / "metrics.json").read_text())
    blocks = {"clump", "sun", "turn_off", "dwarfs", "densities", "fields", "lifetimes", "ends", "white_dwarfs"}
    assert set(metrics) == blocks
    for block, names in {
        "clump": ("M_Ks", "J_Ks", "M_Ks_solar"),
        "sun": ("M_Ks", "M_G", "BP_RP", "teff", "logg"),
        "densities": ("giants", "binaries"),
    }.items():
        assert all(isinstance(metrics[block][name], float) for name in names)
    for block in ("clump", "sun", "turn_off", "dwarfs", "densities"):
        assert all(entry["source"] for entry in metrics[block]["literature"].values())
    # companions that have outlived their primaries are single: fewer than the 0.44 of living primaries
    assert 0.3 < metrics["densities"]["binaries_0.7_to_1.3_Msun"] < 0.44
    assert 0 <= metrics["ends"]["share_J_Ks_over_4"] <= metrics["ends"]["share_J_Ks_over_2"] < 1e-2
    with xr.open_dataset(without_table / "validation.nc") as validation:
        assert validation.attrs["galcarto_rule"] == "measure_galaxy"
        assert "counts_mock" not in validation
        assert all("units" in variable.attrs for variable in validation.data_vars.values())


def test_two_runs_give_the_same_bytes(without_table, small, tmp_path):
    again = measured(tmp_path / "again", small)
    for name in ("metrics.json", "validation.nc"):
        assert (again / name).read_bytes() == (without_table / name).read_bytes()


@pytest.fixture(scope="module")
def validation(without_table, model, single, own):
    with xr.open_dataset(without_table / "validation.nc") as found:
        return xr.merge([found.load(), star_counts.counts(model, single, own)[1]])


@pytest.mark.parametrize("name", list(figures.FIGURES))
def test_a_figure_has_units_and_legible_letters(validation, name, tmp_path):
    figure = figures.FIGURES[name](validation)
    labels = {text for ax in figure.axes for text in (ax.get_xlabel(), ax.get_ylabel()) if text}
    for label in labels - {"Type (dwarfs)"}:
        assert re.search(r"\((mag|kpc|deg|dimensionless|yr|Myr|.*(M\$_\\odot|pc|deg|mag|dex).*)\)$", label), label
    sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text()]
    assert min(sizes) >= 8
    assert figure.get_figwidth() <= style.PAGE
    style.save(figure, tmp_path / "figure.png")


# --- the workflow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the workflow whose default table is not there."""
    return copy_project(tmp_path_factory.mktemp("outer") / "project")


def plan(project: Path, *config: str) -> str:
    ran = snakemake(project, "-n", "validate_galaxy", *(["--config", *config] if config else []), tiny=False)
    assert ran.returncode == 0, ran.stdout
    assert planned(ran.stdout) == dict.fromkeys(("measure_galaxy", "plot_galaxy", "validate_galaxy"), 1)
    return ran.stdout


def test_the_rule_goes_without_the_table(project):
    assert "figures/counts.png" not in plan(project)
    assert "figures/counts.png" not in plan(project, "validation={counts: null}")


def test_the_rule_takes_the_table_that_is_there(project):
    (project / "counts.txt").write_text(HEADER + GOOD)
    said = plan(project, "validation={counts: counts.txt}")
    assert "input: counts.txt" in said
    assert "results/galaxy/figures/counts.png" in said


# --- the real model


@pytest.mark.real
def test_the_mock_agrees_with_the_besancon_model_and_the_sky(observations):
    galaxy = components.load("robin2003")
    model, single = (StarModel(galaxy, [integrals.ALL_STARS], BANDS, binaries) for binaries in (True, False))
    counts, _ = star_counts.counts(
        model, single, star_counts.read_counts(observations / "besancon_k_counts" / "counts.txt")
    )
    clump, _ = neighbourhood.clump(model)
    sun = evolution.sun()
    assert counts["directions"] == 430
    assert counts["plane_within_15_percent"] >= 0.85
    assert counts["pole_within_20_percent"] >= 0.80
    assert clump["M_Ks"] == pytest.approx(-1.61, abs=0.05)
    assert 0.60 <= clump["J_Ks"] <= 0.68
    assert sun["M_Ks"] == pytest.approx(3.27, abs=0.05)
    assert sun["M_G"] == pytest.approx(4.67, abs=0.05)
    assert list(counts["median_ratio"].values()) == pytest.approx([1.0] * 4, abs=0.05)
