"""The ablation: each variant leaves out one ingredient, and its scores become a table and a figure."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from test_workflow import copy_project, planned, snakemake

from galcarto.__main__ import main
from galcarto.core.errors import UserError
from galcarto.core.seeds import generator
from galcarto.core.sky import sightline_name
from galcarto.dustmap.ablation import FULL, Variant, variants
from galcarto.dustmap.compare import ablation as tables
from galcarto.dustmap.instrument import Corrections, Instrument
from galcarto.dustmap.settings import Settings, read_settings
from galcarto.figures import ablation as figures

ROOT = Path(__file__).parents[1]
# as measure_control writes it
MEASURED = {
    "2mass": {"colour": [-0.02, 0.002], "colour_sd": [0.01, 0.001]},
    "normalisation": 0.1,
    "galaxies": {"density": 5000.0},
    "metallicity": 0.2,
}
CONTROL = {
    "l": ["231 deg", "232 deg"],
    "b": ["-21 deg", "-20 deg"],
    "files": [{"path": "none.fits", "columns": {"longitude": "l", "latitude": "b", "J": "j", "Ks": "k"}}],
}


def tiny(**changes: Any) -> dict[str, Any]:
    """The tiny region with other sections."""
    return yaml.safe_load((ROOT / "tests/tiny.yaml").read_text()) | changes


@pytest.fixture
def settings() -> Settings:
    """A region with a control field and every nuisance on."""
    return read_settings(tiny(control=CONTROL, realism={"covering": [0.5, 1.0]}))


def changed(variant: Variant, settings: Settings) -> set[str]:
    """Sections and keys that a variant changes."""
    before, after = settings.model_dump(), variant.settings.model_dump()
    return {
        f"{section}.{key}" if isinstance(values, dict) else section
        for section, values in before.items()
        if values != after[section]
        for key in (values if isinstance(values, dict) else [section])
        if not isinstance(values, dict) or values[key] != after[section][key]
    }


def test_each_variant_leaves_out_one_thing(settings: Settings) -> None:
    found = variants(settings)
    assert next(iter(found)) == FULL
    assert {name: changed(variant, settings) for name, variant in found.items()} == {
        "full": set(),
        "spread": {"realism.spread"},
        "covering": {"realism.covering"},
        "zero_points": {"realism.colour", "realism.colour_slope", "realism.magnitude"},
        "numbers": {"realism.normalisation", "realism.components"},
        "metallicity": {"realism.metallicity"},
        "binaries": {"realism.binaries"},
        "r_v": {"realism.r_v"},
        "clouds": {"profiles.clouds"},
        "bubble": {"profiles.bubble"},
        "single_stars": {"galaxy.binaries", "realism.binaries"},
        "galaxies": {"galaxies.density", "realism.galaxies"},
        "control": set(),
        "naive": {"galaxies.density", *(f"realism.{name}" for name in type(settings.realism).model_fields)},
    }
    assert {name for name, variant in found.items() if not variant.control} == {"control", "naive"}
    assert {variant.mock for variant in found.values()} == {None, "single_stars", "uncorrected"}
    assert found["clouds"].settings.profiles.clouds.mean == 0
    assert found["bubble"].settings.profiles.bubble[1] < 1e-3 * settings.distance.step
    assert len({variant.title for variant in found.values()}) == len(found)


def test_the_settings_of_every_variant_are_valid(settings: Settings) -> None:
    for variant in variants(settings).values():
        assert read_settings(json.loads(variant.settings.model_dump_json())) == variant.settings


def test_what_a_region_does_not_use_is_not_left_out() -> None:
    plain = read_settings(
        tiny(galaxy={"stars": 4000, "binaries": False}, realism={"r_v": 0, "binaries": 0, "covering": [1, 1]})
    )
    found = variants(plain)
    assert not {"covering", "galaxies", "control", "single_stars", "r_v", "binaries"} & set(found)
    assert {variant.mock for variant in found.values()} == {None}


@pytest.fixture(scope="module")
def star_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bare stars of the tiny region's training sightline."""
    return synthesized(read_settings(tiny()), tmp_path_factory.mktemp("stars"), "train")[0]


def synthesized(settings: Settings, folder: Path, split: str) -> list[Path]:
    """Star lists of a split."""
    paths = []
    for place in getattr(settings.sightlines, split):
        paths.append(folder / f"{sightline_name(place.l, place.b)}.parquet")
        options = ["--seed", "7", f"--l={place.l}", f"--b={place.b}", "--output", str(paths[-1])]
        assert main(["synthesize_stars", "--settings", settings.for_stage("synthesize_stars"), *options]) == 0
    return paths


def nuisances(variant: Variant, star_list: Path) -> tuple[Any, Any]:
    """Populations and nuisances of a variant, with the corrections of a control field if it uses them."""
    control = star_list.with_name("control.json")
    control.write_text(json.dumps(MEASURED))
    instrument = Instrument.of(variant.settings, Corrections.read(control if variant.control else None))
    stars = instrument.read_stars(star_list, generator(1, "test"))
    return stars.populations, instrument.draw_nuisances(generator(1, "test"), 50, stars.populations)


def test_what_is_off_is_off_whatever_the_control_field_says(settings: Settings, star_list: Path) -> None:
    found = variants(settings)
    full = nuisances(found[FULL], star_list)
    assert full[0].number[full[0].component == -1].sum() > 0
    assert np.ptp(full[1].offsets[..., 0]) > 0
    galaxies = nuisances(found["galaxies"], star_list)[0]
    assert galaxies.number[galaxies.component == -1].sum() == 0
    assert np.all(nuisances(found["zero_points"], star_list)[1].offsets == 0)
    assert np.all(nuisances(found["r_v"], star_list)[1].scales == 1)
    populations, naive = nuisances(found["naive"], star_list)
    assert populations.number[populations.component == -1].sum() == 0
    np.testing.assert_allclose(naive.weights, 1)
    np.testing.assert_allclose(naive.differential_extinction, 1)
    np.testing.assert_allclose(naive.scales, 1)
    assert np.all(naive.offsets == 0)


def test_the_density_of_galaxies_is_measured_unless_it_is_stated(star_list: Path) -> None:
    numbers = {}
    for density in (None, 0, 20000):
        chosen = read_settings(tiny(control=CONTROL, galaxies={"density": density}))
        populations, _ = nuisances(Variant("", chosen, True), star_list)
        numbers[density] = populations.number[populations.component == -1].sum()
    assert 0 == numbers[0] < numbers[None] < numbers[20000]


def scores(name: str, **changes: Any) -> dict[str, Any]:
    """Scores as `ablate` writes them."""
    held_out = dict.fromkeys(tables.HELD_OUT, 0.5)
    planck = {"tau353": {"spearman": 0.9, "slope": None, "offset_mag": 0.1, "scatter_mag": 0.2, "n": 2}}
    return {"variant": name, "title": f"{name} dust", "heldout": held_out, "planck": planck} | changes


def test_the_table_has_a_row_for_each_variant() -> None:
    distance = dict.fromkeys(tables.DISTANCE, 0.25)
    table = tables.table([scores("full", distance=distance), scores("spread", distance=distance)])
    assert table["variant"].tolist() == ["full", "spread"]
    assert table["tau353_spearman"].tolist() == [0.9, 0.9]
    assert table["tau353_slope"].isna().all()
    head, line, *rows = tables.markdown(table).splitlines()
    assert head.startswith("| left out | error |")
    assert "| tau353 slope |" in head
    assert len(rows) == 2
    assert {text.count("|") for text in (head, line, *rows)} == {head.count("|")}
    assert rows[1].startswith("| spread dust | 0.500 |")
    assert "| - |" in rows[1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "found the variants none"),
        ([scores("full"), scores("full")], "each once"),
        ([scores("full"), scores("spread", planck={})], "spread: found comparisons with no map"),
        ([scores("full"), scores("spread", distance={})], "delete its file"),
    ],
)
def test_scores_that_do_not_belong_together_are_refused(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tables.table(rows)


def test_the_figure_has_a_panel_for_each_score() -> None:
    table = tables.table([scores("full"), scores("spread"), scores("naive")])
    table["tau353_slope"] = [1.0, 0.8, 0.5]
    figure = figures.against_full(table)
    assert [ax.get_xlabel().replace("\n", " ") for ax in figure.axes][-1] == "Sky: slope to tau353"
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["full", "without spread dust", "without naive dust"]


def test_the_workflow_plans_every_variant(tmp_path: Path) -> None:
    ran = snakemake(copy_project(tmp_path), "-n", "ablation")
    assert ran.returncode == 0, ran.stdout
    jobs = planned(ran.stdout)
    found = variants(read_settings(tiny()))
    assert jobs["ablate"] == len(found)
    # without binaries the bare stars and references are others; without a control field there is no other mock
    assert jobs["synthesize_mock_stars"] == 1
    assert jobs["render_mock_references"] == 1
    assert "train_network" not in jobs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Files of a finished run of the tiny region that the ablation reads."""
    folder = tmp_path_factory.mktemp("region")
    (folder / "test").mkdir()
    config = tiny(ablation={"train": 768, "valid": 256}, distance={"step": "1 kpc", "max": "5 kpc"})
    # so little training constrains nothing: the map is compared to a stated distance
    config["compare"] |= {"structure": {"map": "synthetic", "above": "0.1 mag"}, "distance": "5 kpc"}
    settings = read_settings(config)
    train, test = (synthesized(settings, folder, split) for split in ("train", "test"))

    def stage(name: str, *options: str | Path) -> None:
        words = [name, "--settings", settings.for_stage(name), *map(str, options)]
        assert main(words) == 0

    seed = ("--seed", "7")
    profiles, examples = folder / "test.nc", folder / "test" / test[0].with_suffix(".nc").name
    stage("draw_profiles", *seed, "--split", "test", "--number", "64", "--output", profiles)
    stage(
        "render_cmds",
        *(*seed, "--split", "test", "--stars", test[0], "--profiles", profiles),
        *("--first", "0", "--number", "64", "--output", examples),
    )
    names = {name: folder / f"{name}{end}" for name, end in (("stars", ".parquet"), ("footprint", ".nc"))}
    observed = [word for name, path in names.items() for word in (f"--{name}", path)]
    stage("observe_synthetic", *seed, *observed, "--truth", folder / "truth.nc", "--planck", folder / "planck.fits")
    references = folder / "references.nc"
    stage("render_references", "--output", references)
    stage("render_sky", *seed, *observed, "--references", references, "--output", folder / "cmds.nc")
    return {
        "settings": settings,
        "folder": folder,
        "stars": train,
        "test": examples,
        "references": references,
        "map": folder / "planck.fits",
    }


def ablated(inputs: dict[str, Any], name: str, output: Path, maps: int = 1, references: Path | None = None) -> int:
    """Run the stage; its exit code."""
    variant = variants(inputs["settings"])[name]
    options = ["--seed", "7", "--variant", name, "--title", variant.title, "--stars", *inputs["stars"]]
    options += ["--test", inputs["test"], "--sky", inputs["folder"] / "cmds.nc", "--maps", *[inputs["map"]] * maps]
    options += ["--output", output, *(["--references", references] if references else [])]
    return main(["ablate", "--settings", variant.settings.for_stage("ablate"), *map(str, options)])


def test_a_variant_is_trained_and_scored(inputs: dict[str, Any], tmp_path: Path) -> None:
    paths = []
    for name, references in (("full", None), ("naive", inputs["references"])):
        paths.append(tmp_path / f"{name}.json")
        assert ablated(inputs, name, paths[-1], references=references) == 0
    full, naive = (json.loads(path.read_text()) for path in paths)
    assert full["training"]["examples"] == 768
    assert full["heldout"]["n"] == 64
    assert 0 < full["heldout"]["valid_share"] <= 1
    assert full["planck"]["synthetic"]["n"] == 4
    assert full["distance"]["n"] == 4
    assert full["heldout"] != naive["heldout"]
    csv, markdown, png = (tmp_path / f"ablation.{end}" for end in ("csv", "md", "png"))
    words = ["--scores", *map(str, paths), "--csv", str(csv), "--markdown", str(markdown)]
    assert main(["collect_ablation", *words]) == 0
    assert pd.read_csv(csv)["variant"].tolist() == ["full", "naive"]
    assert len(markdown.read_text().splitlines()) == 4
    assert main(["plot_ablation", "--table", str(csv), "--output", str(png)]) == 0
    assert png.read_bytes().startswith(b"\x89PNG")


def test_inputs_that_do_not_fit_are_refused(
    inputs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "full.json"
    assert ablated(inputs, "full", output, maps=0) == 1
    assert "--maps: found 0 maps; expected the 1 of compare.planck" in capsys.readouterr().err
    with xr.open_dataset(inputs["references"]) as references:
        references.isel(tile=slice(3)).to_netcdf(tmp_path / "few.nc")
    assert ablated(inputs, "full", output, references=tmp_path / "few.nc") == 1
    assert "--references: found diagrams of shape (3, 1, 64, 64)" in capsys.readouterr().err
    other = inputs | {"settings": inputs["settings"].model_copy(update={"pixels": 32})}
    assert ablated(other, "full", output) == 1
    assert "render it again" in capsys.readouterr().err
    assert not output.exists()
