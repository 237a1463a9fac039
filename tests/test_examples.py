"""Rendered examples do not depend on the files into which they are divided."""

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import yaml

from galcarto.__main__ import main
from galcarto.dustmap.diagrams.integration import EXTINCTION_GRID
from galcarto.dustmap.instrument import Instrument
from galcarto.dustmap.settings import CHUNK, Settings, read_settings
from galcarto.stages import render_references

TINY = Path(__file__).parent / "tiny.yaml"
NUMBER = 2 * CHUNK + 300
VARIABLES = ("counts", "extinction", "area", "present")


def sharded(shards: int) -> Settings:
    """The tiny region with so many files of training examples."""
    found = yaml.safe_load(TINY.read_text())
    found["examples"] |= {"train": NUMBER, "shards": shards, "together": False}
    return read_settings(found)


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a star list, and profiles for two sightlines."""
    folder, settings = tmp_path_factory.mktemp("mock"), sharded(1)
    stage = ["synthesize_stars", "--settings", settings.for_stage("synthesize_stars"), "--seed", "7"]
    assert main([*stage, "--l=284.2", "--b=0.2", "--output", str(folder / "l284.200_b+00.200.parquet")]) == 0
    stage = ["draw_profiles", "--settings", settings.for_stage("draw_profiles"), "--seed", "7"]
    assert main([*stage, "--split=train", f"--number={2 * NUMBER}", "--output", str(folder / "profiles.nc")]) == 0
    return folder


def render(mock: Path, shards: int) -> list[dict[str, np.ndarray]]:
    """Contents of the files of the second sightline's examples."""
    settings, contents = sharded(shards), []
    for first, number in settings.examples.parts("train"):
        words = ["render_cmds", "--settings", settings.for_stage("render_cmds"), "--seed", "7", "--split=train"]
        words += ["--stars", str(mock / "l284.200_b+00.200.parquet"), "--profiles", str(mock / "profiles.nc")]
        words += [f"--first={NUMBER + first}", f"--number={number}", "--output", str(mock / "cmds.nc")]
        assert main(words) == 0
        with netCDF4.Dataset(mock / "cmds.nc") as file:
            contents.append({name: np.asarray(file[name][:]) for name in VARIABLES})
    return contents


def test_examples_do_not_depend_on_the_shards(mock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # integrated, not drawn, and slow
    monkeypatch.setattr(Instrument, "references", lambda *_: (np.zeros((1, 64, 64)), np.zeros((1, 10, 1))))
    (whole,), parts = render(mock, 1), render(mock, 3)
    assert [len(part["counts"]) for part in parts] == [CHUNK, CHUNK, 300]
    for name in VARIABLES:
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), whole[name])
    # and no two chunks had the same random numbers
    assert len(np.unique(whole["area"])) > 0.99 * NUMBER


def test_examples_and_stars_do_not_depend_on_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sightlines in one command, and each in one of its own."""
    bare = {284.2: 1.0, 285.0: 2.0}  # as if integrated
    monkeypatch.setattr(Instrument, "references", lambda _, l, b: (np.full((1, 64, 64), bare[l]), np.zeros((1, 10, 1))))
    settings = sharded(1)
    profiles = str(tmp_path / "profiles.nc")
    words = ["--settings", settings.for_stage("draw_profiles"), "--seed=7", "--split=train", "--number=2000"]
    assert main(["draw_profiles", *words, "--output", profiles]) == 0
    names, positions = ["l284.200_b+00.200", "l285.000_b-00.400"], [("284.2", "0.2"), ("285.0", "-0.4")]

    def made(folder: Path, together: list[int]) -> None:
        stars = [str(folder / f"{names[i]}.parquet") for i in together]
        longitudes, latitudes = ([positions[i][axis] for i in together] for axis in (0, 1))
        words = [
            "--settings",
            settings.for_stage("synthesize_stars"),
            "--seed=7",
            "--l",
            *longitudes,
            "--b",
            *latitudes,
        ]
        assert main(["synthesize_stars", *words, "--output", *stars]) == 0
        several = {
            "split": [("train", "valid")[i] for i in together],
            "stars": stars,
            "profiles": [profiles for _ in together],
            "first": [str(1024 * i) for i in together],
            "number": [str(700 + i) for i in together],
            "output": [str(folder / f"{i}.nc") for i in together],
        }
        words = ["--settings", settings.for_stage("render_cmds"), "--seed=7"]
        assert main(["render_cmds", *words, *(word for k, v in several.items() for word in (f"--{k}", *v))]) == 0

    for folder, jobs in (("one", [[0, 1]]), ("two", [[0], [1]])):
        (tmp_path / folder).mkdir()
        for job in jobs:
            made(tmp_path / folder, job)
    for i, number in enumerate((700, 701)):
        with netCDF4.Dataset(tmp_path / f"one/{i}.nc") as one, netCDF4.Dataset(tmp_path / f"two/{i}.nc") as two:
            assert len(one.dimensions["example"]) == number
            assert (one["reference"][:] == i + 1.0).all()
            for name in (*VARIABLES, "reference"):
                np.testing.assert_array_equal(one[name][:], two[name][:])


@pytest.mark.parametrize("together", [1, 3, 4, 5, 512])
def test_references_of_sightlines_are_kept_and_used(
    mock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """In blocks of any size, of which one may hold tiles and sightlines."""

    def of_longitude(_: Instrument, l: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ones = np.ones((1, 10, len(EXTINCTION_GRID)))
        return np.multiply.outer(l, np.ones((1, 64, 64))), np.multiply.outer(b, ones)

    monkeypatch.setattr(Instrument, "many_references", of_longitude)
    monkeypatch.setattr(render_references, "TOGETHER", together)
    settings, path = sharded(1), str(tmp_path / "references.nc")
    names = ["l285.000_b-00.400", "l284.200_b+00.200", "l100.000_b+05.000"]
    words = ["--settings", settings.for_stage("render_references"), "--sightlines", *names, "--output", path]
    assert main(["render_references", *words]) == 0
    with netCDF4.Dataset(path) as file:
        np.testing.assert_allclose(file["reference"][:, 0, 5, 5], [284.25, 284.25, 284.75, 284.75])
        np.testing.assert_allclose(file["detectable"][:, 0, 5, 5], [0.25, 0.75, 0.25, 0.75])
        np.testing.assert_allclose(file["sightline_reference"][:, 0, 5, 5], [285.0, 284.2, 100.0])
        np.testing.assert_allclose(file["sightline_detectable"][:, 0, 5, 5], [-0.4, 0.2, 5.0])
    words = ["--settings", settings.for_stage("render_cmds"), "--seed=7", "--split=train", "--references", path]
    words += ["--stars", str(mock / f"{names[1]}.parquet"), "--profiles", str(mock / "profiles.nc")]
    assert main(["render_cmds", *words, "--first=0", "--number=5", "--output", str(tmp_path / "cmds.nc")]) == 0
    with netCDF4.Dataset(tmp_path / "cmds.nc") as file:
        assert (file["reference"][:] == np.float32(284.2)).all()
        assert (file["detectable"][:] == np.float32(0.2)).all()
    words[words.index("--stars") + 1] = str(mock / "l100.000_b+04.000.parquet")
    assert main(["render_cmds", *words, "--first=0", "--number=5", "--output", str(tmp_path / "cmds.nc")]) == 1


@pytest.mark.parametrize(("number", "shards"), [(1, 1), (5000, 3), (188_000, 7), (188_000, 184)])
def test_shards_are_all_of_the_examples(number: int, shards: int) -> None:
    found = yaml.safe_load(TINY.read_text())
    found["examples"] |= {"train": number, "shards": shards, "together": False}
    found["training"]["batch"] = 1
    chosen = read_settings(found).examples
    parts = chosen.parts("train")
    assert len(parts) == shards
    assert [first for first, _ in parts] == np.cumsum([0, *(size for _, size in parts[:-1])]).tolist()
    assert sum(size for _, size in parts) == number
    assert all(first % CHUNK == 0 and size > 0 for first, size in parts)
    assert chosen.parts("valid") == [(0, 256)]
