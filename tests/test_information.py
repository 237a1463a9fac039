"""Information limit: known answers, and derivatives along the nuisances that training draws."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import cube_of
from hypothesis import given
from hypothesis import strategies as st

from galcarto.__main__ import main
from galcarto.core.seeds import generator
from galcarto.dustmap.diagrams.nuisances import Nuisances
from galcarto.dustmap.instrument import Corrections, Instrument
from galcarto.dustmap.limit.information import extinction_sd, perturbed, slopes
from galcarto.dustmap.settings import Settings, read_settings

GAIA = {
    "name": "gaia",
    "limits": {"G": "16 mag", "BP": "30 mag", "RP": "30 mag"},
    "magnitude": {"bands": ["G"], "range": ["6 mag", "17 mag"]},
    "colour": {"bands": ["BP", "RP"], "range": ["-0.5 mag", "5 mag"]},
    "parallax": ["-0.5 mas", "5 mas"],
}


def image(value: float) -> np.ndarray:
    """One channel of one pixel."""
    return np.full((1, 1, 1), value)


def test_one_pixel_has_the_information_of_its_counts():
    expected, slope = np.array([[[100.0]]]), np.array([[[[20.0]]]])
    # sqrt(100) counts over 20 per mag
    assert extinction_sd(expected, slope, np.array([1e6]), 1, [0]) == pytest.approx([0.5])
    assert extinction_sd(expected, slope, np.array([0.5]), 1, [0]) == pytest.approx([np.sqrt(0.125)])
    assert extinction_sd(expected, slope, np.array([0.3]), 1, []) == pytest.approx([0.3])


def test_equal_surveys_gain_a_root_of_two_unless_they_share_what_is_unknown():
    expected = np.full((2, 1, 1), 100.0)
    dust = np.full((2, 1, 1), 20.0)
    own = np.zeros((2, 2, 1, 1))
    own[0, 0], own[1, 1] = 20.0, 20.0  # each survey's own zero point looks like dust

    def ratio(nuisances: np.ndarray) -> float:
        slopes, prior = np.stack([dust, *nuisances]), np.array([1e6, *[10.0] * len(nuisances)])
        return (extinction_sd(expected, slopes, prior, 1, [0, 1]) / extinction_sd(expected, slopes, prior, 1, [0]))[0]

    assert ratio(own) == pytest.approx(np.sqrt(0.5), rel=1e-3)
    assert ratio(dust[None]) == pytest.approx(1.0, abs=2e-3)


def test_sums_of_steps_take_their_correlation_along():
    # two pixels that see the sum of two steps: each is unknown, the sum is known
    expected, slope = np.full((1, 2, 1), 100.0), np.full((2, 1, 2, 1), 20.0)
    near, both = extinction_sd(expected, slope, np.array([10.0, 10.0]), 2, [0])
    assert near == pytest.approx(10.0 / np.sqrt(2), rel=1e-3)
    assert both == pytest.approx(0.5 / np.sqrt(2), rel=1e-3)


def test_slopes_of_a_linear_image_are_its_coefficients():
    """Also where a step has less than what the derivative is taken over: it stays positive."""

    def shifted(value: float) -> Nuisances:
        one = Nuisances.none(1, 1, 1)
        return replace(one, offsets=one.offsets + value)

    def image_of(depth: np.ndarray, one: Nuisances) -> np.ndarray:
        assert (depth >= 0).all()
        return image(50.0 + 3.0 * depth[0] - 2.0 * depth[1] + 5.0 * one.offsets[0, 0, 0])

    nuisances = {"middle": (shifted(0.0), shifted(0.0)), "colour": (shifted(-0.2), shifted(0.2))}  # 0.4 mag for one
    expected, found = slopes(image_of, np.array([0.02, 1.0]), nuisances, 0.5)
    np.testing.assert_allclose(expected, image(50.0 + 0.06 - 2.0))
    np.testing.assert_allclose(found[:, 0, 0, 0], [3.0, -2.0, 2.0])


@given(st.integers(0, 2**32 - 1))
def test_another_survey_never_hurts(seed):
    rng = np.random.default_rng(seed)
    expected, slopes = rng.uniform(0, 30, (3, 4, 4)), rng.normal(0, 20, (6, 3, 4, 4))
    prior = rng.uniform(0.1, 3.0, 6)
    sds = [extinction_sd(expected, slopes, prior, 2, seen) for seen in ([0], [0, 1], [0, 1, 2])]
    assert (np.diff(sds, axis=0) <= 1e-9).all()


@pytest.fixture(scope="module")
def two_surveys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """Settings of the tiny region with Gaia beside 2MASS, and a star list."""
    raw: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "tiny.yaml").read_text())
    raw["surveys"].append(GAIA)
    raw["galaxies"] = {"density": 30}
    settings = read_settings(raw)
    path = tmp_path_factory.mktemp("stars") / "l284.200_b+00.200.parquet"
    options = ["--seed", "7", "--l=284.2", "--b=0.2", "--output", str(path)]
    assert main(["synthesize_stars", "--settings", settings.for_stage("synthesize_stars"), *options]) == 0
    return settings, path


def test_the_nuisances_are_those_that_training_draws(two_surveys):
    settings, path = two_surveys
    small = settings.realism.model_copy(
        update={"components": 0.01, "metallicity": 0.002, "binaries": 0.01, "normalisation": 0.01, "galaxies": 0.01}
        | {"spread": (0.2, 0.8)}
    )
    instrument = replace(Instrument.of(settings), realism=small)
    populations = instrument.read_stars(path, generator(1, "test")).populations
    drawn = instrument.draw_nuisances(generator(2, "test"), 4000, populations)
    found = perturbed(instrument, populations)
    middle, _ = found.pop("middle")
    for name, logarithm in (("offsets", False), ("weights", True), ("scales", True)):
        values = getattr(drawn, name)
        ends = [(getattr(down, name)[0], getattr(up, name)[0]) for down, up in found.values()]
        if logarithm:
            values, ends = np.log(values), [(np.log(down), np.log(up)) for down, up in ends]
        # one standard deviation lies between the two, and independent ones add in squares
        total = np.sqrt(sum((up - down) ** 2 for down, up in ends))
        np.testing.assert_allclose(values.std(axis=0), total, rtol=0.06, atol=1e-6)
    assert (middle.differential_extinction > 0).mean() == pytest.approx(np.mean(small.covering), abs=0.02)
    covered = middle.differential_extinction[middle.differential_extinction > 0]
    assert np.log(covered).std() == pytest.approx(0.5, rel=0.05)  # the middle of the range
    assert np.ptp(found["spread"][1].differential_extinction) > np.ptp(found["spread"][0].differential_extinction)


def test_what_has_no_width_is_left_out(two_surveys):
    settings, path = two_surveys
    off = dict.fromkeys(("colour", "colour_slope", "magnitude", "normalisation", "components", "metallicity"), 0.0)
    off |= {"binaries": 0.0, "r_v": 0.0, "galaxies": 0.0, "spread": (0.0, 0.0)}
    instrument = replace(
        Instrument.of(settings, Corrections(colour_sd={"2mass": (0.02, 0.002)})),
        realism=settings.realism.model_copy(update=off),
    )
    stars = instrument.read_stars(path, generator(1, "test"))
    assert set(perturbed(instrument, stars.populations)) == {"middle"}


def test_two_surveys_are_better_than_each(two_surveys, tmp_path):
    settings, path = two_surveys
    tiles, edges = settings.sky.grid(settings.tile.size), settings.distance.edges()
    profile = np.broadcast_to(0.2 * edges[1:], (*tiles.shape, len(edges) - 1)).copy()
    area = np.full(tiles.shape, 0.25)
    profile[0, 0], area[0, 0] = np.nan, 0.0  # not observed
    cube_of(tiles, edges, profile[None], area=area).to_netcdf(tmp_path / "cube.nc")
    sections = settings.for_stage("measure_information")
    words = ["--settings", sections, "--seed", "7", "--stars", str(path), "--cube", str(tmp_path / "cube.nc")]
    assert main(["measure_information", *words, "--metrics", str(tmp_path / "information.json")]) == 0
    found = json.loads((tmp_path / "information.json").read_text())["surveys"]["information"]
    assert found["distances_kpc"] == [0.25, 0.5, 0.75, 1.0, 1.5, 2.0]
    for kind in (found, found["zero_points_known"], found["2mass_zero_points_known"], found["stars_known"]):
        sd = {name: np.array(values) for name, values in kind["sd_mag_by_distance"].items()}
        assert set(sd) == {"2mass", "gaia", "both"}
        assert (sd["both"] <= np.minimum(sd["2mass"], sd["gaia"])).all()
        assert (sd["both"] > 0).all()
        assert kind["sd_ratio_by_distance"] == pytest.approx(sd["both"] / np.minimum(sd["2mass"], sd["gaia"]))
    without, known = (kind["sd_mag_by_distance"] for kind in (found, found["2mass_zero_points_known"]))
    assert np.array(known["2mass"])[-1] < 0.95 * np.array(without["2mass"])[-1]
    assert known["gaia"] == pytest.approx(without["gaia"])
