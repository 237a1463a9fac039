"""Settings: units, error messages, and what rules pass to stages."""

import importlib
import json
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from conftest import CONFIG
from hypothesis import given
from hypothesis import strategies as st

from galcarto.__main__ import STAGES
from galcarto.absorbers import settings as absorbers
from galcarto.core import units
from galcarto.core.settings import Config, Section, SettingsError, load, load_yaml, read, stage_sections
from galcarto.core.sky import to_galactic
from galcarto.core.units import FRAMES
from galcarto.dustmap.instrument import survey_of
from galcarto.dustmap.settings import Position, Settings, Sky, check_merge, read_settings
from galcarto.maps.settings import Distance, Tile
from galcarto.metallicity import settings as metallicity
from galcarto.spectra import settings as spectra

ROOT = Path(__file__).parents[1]
FILE = {"path": "a.fits", "columns": {"longitude": "l"}}
CONTROL = {"l": ["1 deg", "3 deg"], "b": ["-20 deg", "-18 deg"], "files": [FILE]}
PLANCK = {"name": "p", "path": "p.fits", "quantity": "ebv", "ordering": "ring", "frame": "icrs"}
SKY = CONFIG["sky"] | {"source": "archive"}
GAIA, TWOMASS = {"survey": "gaia", "archive": "gaia-dr3"}, {"survey": "2mass", "archive": "vizier-2mass"}


def changed(config, path, value):
    """`config` with the key at a dotted path set, or removed where `value` is None."""
    *parents, last = path.split(".")
    place = config
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    last = int(last) if isinstance(place, list) else last
    if value is None:
        del place[last]
    else:
        place[last] = value
    return config


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("100 pc", "kpc", 0.1),
        ("0.1kpc", "kpc", 0.1),
        ("30 arcmin", "deg", 0.5),
        ("-2 deg", "deg", -2.0),
        ("14.8 mag", "mag", 14.8),
        ("1e3 mmag", "mag", 1.0),
    ],
)
def test_units_are_converted(text, unit, value):
    assert units.parse(text, unit) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("name", sorted(units.COMMON))
def test_common_units_are_those_of_astropy(name: str) -> None:
    unit, _ = units.COMMON[name]
    for number in (1.0, 0.35, 46.0):
        assert units.parse(f"{number} {name}", unit) == pytest.approx(
            u.Quantity(number, name).to_value(unit), rel=1e-15
        )


@pytest.mark.parametrize("value", ["100", 100, 100.0, True, None, "", "pc", "100 mag", "100 parsecs", ["100 pc"]])
def test_values_that_are_not_lengths_are_refused(value):
    with pytest.raises(ValueError, match=r"parsecs|found .*expected a number with a unit, such as '1 kpc'"):
        units.parse(value, "kpc")


@given(st.floats(0, 360, exclude_max=True), st.floats(-90, 90))
def test_numbers_survive_the_trip_through_text(l, b):
    section = Position(l=f"{l!r} deg", b=f"{b!r} deg")
    assert (section.l, section.b) == (l, b)
    assert Position.model_validate_json(section.model_dump_json()) == section


def test_defaults_are_in_the_units_of_the_package(config):
    found = read_settings(config)
    assert found.profiles.envelope == (1.0, 20.0)
    assert found.profiles.smooth == (0.05, 30.0)
    assert found.profiles.max_extinction == 40.0
    assert found.profiles.clouds.width == (0.005, 0.05)
    assert found.realism.colour == 0.02
    assert found.synthetic.scale_height == 0.125
    assert found.synthetic.planck_beam == pytest.approx(15 / 60)
    assert found.surveys[0].bright == 4.0
    assert found.faceon.pixel == 0.05


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        # units
        ("distance.step", "100", "distance.step: found '100' without a unit"),
        ("distance.step", 100, "distance.step: found 100; expected a number with a unit"),
        ("sky.l", ["281", "287 deg"], "sky.l.0: found '281' without a unit"),
        ("surveys.0.limits.J", 16.3, "surveys.0.limits.J: found 16.3"),
        ("sightlines.train.1.b", "1 pc", "sightlines.train.1.b: found '1 pc'"),
        # wrong kinds
        ("training.epochs", 2.5, "training.epochs: found 2.5"),
        ("training.epochs", 0, "training.epochs: found 0"),
        ("seed", -1, "seed: found -1"),
        ("region", "a/b", "region: found 'a/b'"),
        ("region", "galaxy", "region: found 'galaxy', whose folder holds"),
        ("region", "surveys", "region: found 'surveys', whose folder holds"),
        ("dust.law", "G24", "dust.law: found 'G24'"),
        ("dust.r_v", 7, "dust.r_v: found 7"),
        ("sky.l", "281 deg", "sky.l: found '281 deg'"),
        ("inference.samples", 3, "inference.samples: found 3"),
        # unknown keys
        ("distnace", {}, "distnace: unknown key"),
        ("sightlines.test.0.d", "1 kpc", "sightlines.test.0.d: unknown key"),
        # required keys
        ("region", None, "region: missing"),
        ("surveys.0.limits", None, "surveys.0.limits: missing"),
        ("surveys", [], "surveys: found []"),
        ("sightlines.train.0.l", None, "sightlines.train.0.l: missing"),
        # cross checks
        ("sky.l", ["287 deg", "281 deg"], "sky.l: found 287 to 281; expected the lower end first"),
        ("profiles.contrast", [1.5, 0.2], "profiles.contrast: found 1.5 to 0.2"),
        ("sky.b", ["-2 deg", "2.1 deg"], "sky.b: found -2.0 to 2.1 deg, which is 8.200 tiles of 0.5 deg"),
        ("sky.l", ["281 deg", "281.2 deg"], "sky.l: found 281.0 to 281.2 deg"),
        ("sky.b", ["-91 deg", "0 deg"], "sky: expected b within -90 to 90 deg"),
        ("sky.l", ["0 deg", "361 deg"], "sky: expected b within -90 to 90 deg and l spanning at most 360 deg"),
        ("sky.source", "files", "sky: found source 'files' and no entry in sky.files"),
        ("distance.step", "300 pc", "distance: found 33.333 bins of 0.3 kpc"),
        ("distance.step", "10 kpc", "distance: found 1.000 bins of 10 kpc"),
        ("distance.step", "-100 pc", "distance.step: found -0.1"),
        ("tile.size", "0 deg", "tile.size: found 0.0"),
        ("distance.max", "inf kpc", "distance.max: found 'inf kpc'; expected a finite number"),
        ("surveys.0.bright", "17 mag", "surveys.0: bright: found 17 mag"),
        ("compare", {"planck": [PLANCK | {"frame": "galctic"}]}, "compare.planck.0.frame: found 'galctic'; expected"),
        ("compare", {"maps": 2 * [{"name": "bayestar19"}]}, "compare: maps: found the names bayestar19, bayestar19;"),
        ("compare", {"maps": [{"name": "bayestar17"}]}, "compare.maps.0.name: found 'bayestar17'; Input should be"),
        ("publish", {"nside": 3}, "publish.nside: found 3; expected a power of 2"),
        ("publish", {"nside": 65536}, "publish.nside: found 65536; expected a power of 2"),
        ("sky", SKY | {"archives": []}, "sky: found source 'archive' and no entry in sky.archives"),
        ("sky", SKY | {"archives": [GAIA]}, "sky.archives: found the surveys gaia; expected each of surveys once"),
        ("sky", SKY | {"archives": [TWOMASS, TWOMASS]}, "sky.archives: found the surveys 2mass, 2mass"),
        ("sky", SKY | {"archives": [TWOMASS | {"archive": "2mass"}]}, "sky.archives.0.archive: found '2mass'"),
        ("synthetic", {"planck_nside": 100}, "synthetic: planck_nside: found 100; expected a power of 2"),
        ("synthetic", {"planck_beam": "1 arcmin"}, "synthetic: planck_beam: found 1 arcmin, less than the map's"),
        ("synthetic", {"inner_scale": "1 kpc"}, "synthetic: found inner_scale 1 kpc"),
        ("profiles.smooth", ["0 mag", "2 mag"], "profiles: smooth: found a lower end of 0"),
        ("profiles.smooth", ["1 mag", "41 mag"], "profiles: max_extinction: found 40 mag; expected at least the 41"),
        ("profiles.max_extinction", "20 mag", "profiles: max_extinction: found 20 mag; expected at least the 30 mag"),
        ("profiles.bubble_density", [0.0, 0.5], "profiles: bubble_density: found a lower end of 0"),
        ("profiles.bubble", ["-0.1 kpc", "0.2 kpc"], "profiles: bubble: found a lower end of -0.1"),
        ("profiles.clouds.width", ["0 kpc", "1 pc"], "profiles.clouds: width: found a lower end of 0"),
        ("profiles.clouds.mean", -1, "profiles.clouds.mean: found -1"),
        ("profiles.clouds.distance", ["0.1 kpc", "0.2 kpc"], "profiles: clouds.distance: found an end of 0.2 kpc"),
        ("realism.spread", [1.0, 0.5], "realism: spread: found 1 to 0.5; expected 0 to 3, the lower end first"),
        ("realism.covering", [0.5, 1.5], "realism: covering: found 0.5 to 1.5; expected 0 to 1"),
        ("realism.covering", [0.0, 1.0], "realism: covering: found a lower end of 0"),
        ("galaxies.slope", 0, "galaxies.slope: found 0"),
        ("pixels", 8, "pixels: found 8"),
        ("surveys.0.parallax", ["2 mas", "1 mas"], "surveys.0: found 2 to 1; expected the lower end first"),
        ("surveys.0.parallax", ["2 kpc", "1 mas"], "surveys.0.parallax.0: found '2 kpc', which is not convertible"),
        ("surveys.0.name", "sdss", "surveys.0.name: found 'sdss'"),
        ("surveys", 2 * CONFIG["surveys"], "surveys: found 2mass, 2mass; expected each once"),
        ("sky.files", [FILE | {"survey": "gaia"}], "sky.files.0.survey: found 'gaia'; expected one of surveys: 2mass"),
        ("sky.files", [FILE | {"flags": {"Q": "[A"}}], "sky.files.0.flags: Q: found '[A' (unterminated character set"),
        ("control", CONTROL | {"files": [FILE | {"survey": "gaia"}]}, "control.files.0.survey: found 'gaia';"),
        ("sky.files", [FILE | {"frame": "altaz"}], "sky.files.0.frame: found 'altaz'; expected one of galactic, icrs"),
        ("sky.files", [FILE | {"frame": "G"}], "sky.files.0.frame: found 'G'; expected one of galactic, icrs, fk5"),
        ("control", {**CONTROL, "files": []}, "control.files: found []"),
        ("control", {**CONTROL, "l": ["3 deg", "1 deg"]}, "control.l: found 3 to 1; expected the lower end first"),
        ("compare.structure", {"map": "none"}, "compare: structure.map: found 'none'; expected one of compare.planck"),
        ("sightlines.test.0.b", "100 deg", "sightlines.test.0: found l = 284, b = 100 deg"),
        ("surveys.0.magnitude.bands", ["H"], "surveys.0: limits: found limits for J, Ks; expected also H, which the"),
        ("surveys.0.colour.bands", ["J"], "surveys.0: expected one band in magnitude.bands and two in colour.bands"),
        ("surveys.0.colour.bands", [], "surveys.0.colour.bands: found []"),
        ("sightlines.test.0", {"l": "286 deg", "b": "60 arcmin"}, "sightlines: found a sightline twice"),
        ("sightlines.test", [], "sightlines.test: found []"),
    ],
)
def test_a_fault_is_refused_and_its_key_comes_first(config, path, value, message):
    with pytest.raises(SettingsError) as error:
        read_settings(changed(config, path, value))
    lines = str(error.value).splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tile: {size: 1 deg}\nseed: 1\ntile: {size: 2 deg}\n", "tile: found twice, in lines 1 and 3 of {path};"),
        ("tile:\n  size: 1 deg\n  size: 1 deg\n", "tile.size: found twice, in lines 2 and 3 of {path};"),
        ("a: [{b: 1},\n {b: 1, c: 2,\n b: 1}]\n", "a.1.b: found twice, in lines 2 and 3 of {path};"),
        ("a: {1: 2, 1: 2}\n", "a.1: found twice, in lines 1 and 1 of {path};"),
        ("a: {b\n", "{path}: not a YAML file: "),
        ("a: {[1]: 2}\n", "{path}: not a YAML file: "),
    ],
)
def test_a_key_given_twice_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        read_settings(path)
    assert str(error.value).startswith(message.format(path=path))


def test_keys_of_two_mappings_are_not_the_same(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: &x {b: 1}\nc: {b: 1}\nd: *x\ne: {<<: *x, b: 2}\n")
    assert load_yaml(path) == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1}, "e": {"b": 2}}


@pytest.mark.parametrize("source", ["files", "archive"])
@pytest.mark.parametrize("region", ["mine", "demo"])
def test_real_stars_merged_into_the_demo_are_refused(source, region):
    default = load_yaml(ROOT / "config/config.yaml")
    given = {"region": region, "sky": default["sky"] | {"source": source}, "tile": {"size": "1 deg"}}
    given |= {"realism": {"colour": "0.02 mag"}}
    with pytest.raises(SettingsError) as error:
        check_merge(default, given)
    left = ", ".join(key for key in default if key not in ("region", "sky", "tile"))
    assert {"seed", "distance", "surveys", "realism", "examples", "sightlines"} < set(left.split(", "))
    assert str(error.value).startswith(f"sky.source: found {source!r}, real stars, with sections of the demo")
    assert f": {left}; " in str(error.value)
    assert str(error.value).endswith("add --replace-workflow-config, or write them")


def test_a_variation_of_the_demo_is_told_what_it_keeps():
    default = load_yaml(ROOT / "config/config.yaml")
    training = default["training"] | {"epochs": 3}
    assert check_merge(default, {"training": training}) == ""
    assert check_merge(default, default | {"region": "mine", "sky": default["sky"] | {"source": "files"}}) == ""
    said = check_merge(default, {"region": "mine", "training": training})
    assert said.startswith("region mine: these sections are the demo's, whole or in part: seed, sky, synthetic, ")
    assert "training," not in said
    assert "--replace-workflow-config" in said


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("l", "b", "away"), [(281.1, 0.0, 0), (291.0, 0.0, 4), (284.0, 11.5, 10), (284.0, 12.5, 11), (100.0, 0.0, 173)]
)
def test_sightlines_stay_near_the_window(config, split, l, b, away):
    changes = changed(config, f"sightlines.{split}", [{"l": f"{l} deg", "b": f"{b} deg"}])
    if away > 10:
        said = f"sightlines.{split}.0: found l = {l:g}, b = {b:g} deg, {away} deg from the nearest tile; expected at"
        with pytest.raises(SettingsError, match=said):
            read_settings(changes)
    else:
        read_settings(changes)


@pytest.mark.parametrize("key", ["examples", "ablation"])
def test_a_batch_is_not_larger_than_the_training_set(config, key):
    config = changed(config, "training.batch", 512)
    number = 512 // len(config["sightlines"]["train"])
    if key == "ablation":
        config["ablation"] = {}
    config[key]["train"] = number + 1
    read_settings(config)
    config[key]["train"] = number - 1
    with pytest.raises(SettingsError, match=f"training.batch: found 512; expected at most .* examples of {key}.train"):
        read_settings(config)


def test_every_fault_has_its_line(config):
    del config["region"]
    config["tile"] = {"size": "5", "sise": "1 deg"}
    with pytest.raises(SettingsError) as error:
        read_settings(config)
    paths = {line.split(":")[0] for line in str(error.value).splitlines()}
    assert paths == {"region", "tile.size", "tile.sise"}


@given(st.integers(2, 400), st.floats(1.0, 1000.0))
def test_a_grid_of_n_steps_has_n_equal_bins(n, step):
    edges = Distance(step=f"{step!r} pc", max=f"{n * step!r} pc").edges()
    assert len(edges) == n + 1
    assert edges[0] == 0.0
    np.testing.assert_allclose(np.diff(edges), step / 1000, rtol=1e-9)


@given(st.integers(2, 400), st.floats(1.0, 1000.0), st.floats(0.01, 0.99))
def test_a_grid_that_is_not_whole_is_refused(n, step, rest):
    with pytest.raises(ValueError, match="expected a whole number"):
        Distance(step=f"{step!r} pc", max=f"{(n + rest) * step!r} pc")


def test_strips_cover_the_window_once(config):
    config["sky"]["strip_columns"] = 5
    found = read_settings(config)
    size = found.tile.size
    names = found.sky.strips(size)
    assert names == ["0000", "0001", "0002"]  # 12 columns
    strips = [found.sky.strip(size, name) for name in names]
    assert [strip.shape for strip in strips] == [(5, 8), (5, 8), (2, 8)]
    np.testing.assert_array_equal(np.concatenate([s.l for s in strips]), found.sky.grid(size).l)


def test_validation_examples_come_from_the_training_sightlines(config):
    sightlines = read_settings(config).sightlines
    assert sightlines.names("valid") == sightlines.names("train") == ["l282.000_b+00.000", "l286.000_b+01.000"]
    assert sightlines.names("test") == ["l284.000_b-01.000"]


def test_bands_of_the_diagram_are_named_once(config):
    assert read_settings(config).surveys[0].bands() == ["J", "Ks"]


def test_a_survey_without_parallaxes_has_no_diagram_of_them(config):
    (survey,) = read_settings(changed(config, "surveys.0.parallax", ["0 mas", "5 mas"])).surveys
    assert survey.parallax == (0.0, 5.0)
    with pytest.raises(SettingsError, match=r"^surveys\.parallax: 2MASS has none"):
        survey_of(survey)


@pytest.mark.parametrize("frame", FRAMES)
def test_every_frame_allowed_gives_galactic_coordinates(frame):
    l, b = to_galactic(np.array([10.0]), np.array([20.0]), frame)
    assert np.isfinite([l, b]).all()


class Window(Section):
    """Sections of a stage."""

    tile: Tile
    sky: Sky


def test_sections_survive_the_trip_to_a_stage(config):
    config["sky"]["files"] = [{"path": "x.fits", "columns": {"longitude": "RA"}, "frame": "icrs"}]
    config["control"] = CONTROL
    config["compare"] = {"distance": "1 kpc", "structure": {"map": "p"}, "planck": [PLANCK]}
    found = read_settings(config)
    text = found.section_json(*Settings.model_fields)
    assert read(text, Settings) == found
    assert "\n" not in text
    assert list(json.loads(found.section_json("tile", "surveys"))) == ["tile", "surveys"]
    with pytest.raises(SettingsError, match=r"^found tyle; expected a stage or sections of region, seed, sky"):
        found.section_json("tyle")


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage_sections(stage)])
def test_a_stage_declares_sections_of_the_region_as_they_are(stage):
    declared = importlib.import_module(f"galcarto.stages.{stage}").Settings
    assert list(declared.model_fields) == stage_sections(stage)

    def same(owner: type[Config]) -> bool:
        """Whether the sections are the owner's; a stage may need one that another file lacks."""
        whole = {name: field.annotation for name, field in owner.model_fields.items()}
        return all(
            field.annotation in (whole.get(name), *getattr(whole.get(name), "__args__", ()))
            for name, field in declared.model_fields.items()
        )

    assert sum(map(same, (Settings, metallicity.Settings, spectra.Settings, absorbers.Settings))) >= 1


@pytest.mark.parametrize("passed", [["sky"], ["sky", "tile", "dust"], []])
def test_a_stage_takes_exactly_the_sections_it_uses(config, passed):
    found = read_settings(config)
    assert dict(read(found.section_json("sky", "tile"), Window)) == {"sky": found.sky, "tile": found.tile}
    with pytest.raises(SettingsError, match=r"^--settings: found .*; expected sky, tile"):
        read(found.section_json(*passed), Window)


def test_a_fault_in_a_section_names_its_key(config):
    text = read_settings(config).section_json("sky", "tile").replace('"0.5 deg"', '"1"')
    with pytest.raises(SettingsError, match=r"^tile\.size: found '1' without a unit"):
        read(text, Window)


def test_settings_come_from_yaml_too(tmp_path, config):
    path = tmp_path / "toy.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    assert read_settings(path) == read_settings(str(path)) == read_settings(config)


def test_the_configurations_shipped_are_valid():
    paths = sorted((ROOT / "config").glob("*.yaml"))
    assert ROOT / "config" / "config.yaml" in paths
    names = []
    for path in paths:
        given = load_yaml(path)
        sister = spectra.Settings if "table" in given else metallicity.Settings
        sister = absorbers.Settings if "examples" in given and "region" not in given else sister
        names.append(read_settings(path).region if "region" in given else load(path, sister).name)
    assert len(set(names)) == len(names)
