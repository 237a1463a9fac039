"""The explorer page: what it packs, and what a person finds who opens it in a browser with no network."""

import base64
import hashlib
import json
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from conftest import Page, cube_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from plotly.offline import get_plotlyjs
from selenium import webdriver
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.support.ui import WebDriverWait

from galcarto import open_cube
from galcarto.__main__ import main
from galcarto.core.sky import Tiles
from galcarto.maps.faceon import project
from galcarto.pages import explorer
from galcarto.pages.explorer import STEP, Packed, contents, pack

TITLE = "Dust </script><script>document.title = 'taken'</script> & <b>more</b>"
MISSING = (2, 1)  # the tile of the region that is not observed


def unpack(packed: Packed) -> np.ndarray:
    """The values of a packed array, by its description; NaN where missing."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(packed.text)), np.uint8).reshape(packed.bytes, -1)
    numbers = sum(plane.astype(np.int64) << (8 * at) for at, plane in enumerate(planes)).reshape(packed.shape)
    if packed.differences:
        numbers = np.cumsum(numbers, axis=-1) % 256**packed.bytes
    return np.where(numbers == 256**packed.bytes - 1, np.nan, (numbers * packed.step) ** packed.power)


def make_cube(l: int, b: int, bins: int, samples: int) -> xr.Dataset:
    """A cube of random profiles, every tile half a degree wide; the names and attributes are the published ones."""
    rng = np.random.default_rng(3)
    density = rng.gamma(0.4, 1.5, (l, b, bins)) * rng.gamma(8.0, 1 / 8, (samples, l, b, bins))
    edges = np.linspace(0.0, 0.1 * bins, bins + 1)
    found = cube_of(
        Tiles(100 + 0.5 * np.arange(l + 1), -1 + 0.5 * np.arange(b + 1)),
        edges,
        np.cumsum(density * np.diff(edges), axis=-1),
        distance_min=np.full((l, b), 0.25 * edges[-1]),
        distance_max=np.full((l, b), 0.75 * edges[-1]),
        fit_p_value=rng.random((l, b)),
        fit_chi2=2 * rng.random((l, b)),
        out_of_distribution=rng.random((l, b)),
        stars=rng.integers(10, 99, (l, b)),
        area=np.full((l, b), 0.25),
    )
    return found.assign_attrs(
        title=TITLE,
        survey="2MASS, Gaia DR3",
        survey_limits="J < 16.3 mag",
        source="observed stars",
        references="Cornu et al. 2022",
        galcarto_version="0.1.0",
        galcarto_commit="0123abc",
        galcarto_seed=7,
        galcarto_config_sha256="f00d" * 16,
    )


def make_diagrams(tiles: int, pixels: int, channels: str) -> tuple[xr.Dataset, xr.DataArray]:
    """Observed diagrams and their predictions: a ridge of stars."""
    rng = np.random.default_rng(4)
    number = len(channels.split())
    row, column = np.mgrid[:pixels, :pixels] / pixels
    expected = 40 * row**2 * np.exp(-((column - 0.2 - 0.5 * row) ** 2) / 0.005)
    predicted = expected * rng.uniform(0.5, 1.5, (tiles, number, 1, 1))
    axes = {
        "magnitude_axis": (("channel", "magnitude"), np.tile(np.linspace(5, 15, pixels), (number, 1))),
        "colour_axis": (("channel", "colour"), np.tile(np.linspace(0, 6, pixels), (number, 1))),
    }
    dims = ("tile", "channel", "magnitude", "colour")
    sky = xr.Dataset({"counts": (dims, rng.poisson(predicted).astype("u2")), **axes}, attrs={"channels": channels})
    return sky, xr.DataArray(predicted.astype("f4"), dims=dims, name="predicted")


def write(folder: Path, l: int, b: int) -> Path:
    """The files that the page is made from, for a region with one tile that is not observed, and the page."""
    cube = make_cube(l, b, 12, 20)
    at = {"l": min(MISSING[0], l - 1), "b": min(MISSING[1], b - 1)}
    for name in (*explorer.TILES[:-3], *(name for name in cube.data_vars if "distance" in cube[name].dims)):
        if "bounds" not in cube[name].dims:
            cube[name][at] = np.nan
    cube["quality"][at] = 1
    cube["quality"][0, 0] = 4 + 8
    sky, predicted = make_diagrams(l * b, 16, "2mass:J-Ks,Ks gaia:BP-RP,parallax")
    predicted[np.ravel_multi_index((at["l"], at["b"]), (l, b))] = np.nan
    files = {"cube": cube, "faceon": project(cube, 0.05), "sky": sky, "truth": cube[["extinction"]] * 0.9}
    half = l * b // 2
    files |= {"0000_fit": predicted[:half].to_dataset(), "0001_fit": predicted[half:].to_dataset()}
    for name, dataset in files.items():
        dataset.to_netcdf(folder / f"{name}.nc")
    return make_page(folder, folder / "explorer.html")


def make_page(folder: Path, page: Path) -> Path:
    options = [f"--{name}={folder / name}.nc" for name in ("cube", "faceon", "sky", "truth")]
    fits = [str(folder / f"{strip}_fit.nc") for strip in ("0000", "0001")]
    assert main(["explorer", *options, "--fits", *fits, "--output", str(page)]) == 0
    return page


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of a region of 4 x 3 tiles and its page."""
    folder = tmp_path_factory.mktemp("region")
    write(folder, 4, 3)
    return folder


@pytest.fixture(scope="module")
def cube(region: Path) -> Iterator[xr.Dataset]:
    with open_cube(region / "cube.nc") as opened:
        yield opened.load()


# ---- packing


@given(
    values=hnp.arrays(
        np.float64,
        hnp.array_shapes(max_dims=3, max_side=6),
        elements=st.one_of(st.floats(0, 1e4), st.floats(0, 1), st.just(np.nan)),
    ),
    step=st.sampled_from([1e-6, 0.001, 0.5]),
    size=st.sampled_from([1, 2]),
    power=st.sampled_from([1, 2]),
    differences=st.booleans(),
)
def test_packed_values_come_back_within_half_a_step(
    values: np.ndarray, step: float, size: int, power: int, differences: bool
) -> None:
    packed = pack(values, step=step, size=size, power=power, differences=differences)
    found = unpack(packed)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(values))
    assert packed.step >= step
    roots, expected = found ** (1 / power), values ** (1 / power)
    assert np.nanmax(np.abs(roots - expected), initial=0.0) <= 0.5 * packed.step * (1 + 1e-9) + 1e-12


def test_a_wanted_step_is_kept_where_the_values_allow_it() -> None:
    assert pack(np.array([0.0, 60.0])).step == STEP
    assert pack(np.array([0.0, 200.0])).step == pytest.approx(200.0 / 65534)


@pytest.mark.parametrize("value", [-0.1, np.inf])
def test_values_that_cannot_be_packed_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="expected finite ones of 0 or more"):
        pack(np.array([1.0, value]))


def test_profiles_are_the_mean_and_the_percentiles_of_the_samples(cube: xr.Dataset) -> None:
    packed = explorer.profiles(cube)
    for name in ("extinction", "extinction_density"):
        expected = {"": cube[name].to_numpy()}
        levels = {"_low95": 2.5, "_low68": 16, "_high68": 84, "_high95": 97.5}
        expected |= {end: np.percentile(cube[f"{name}_samples"], level, axis=0) for end, level in levels.items()}
        for end, values in expected.items():
            np.testing.assert_allclose(unpack(packed[name + end]), values, rtol=0, atol=0.51 * STEP)


def test_pixels_are_merged_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    sky, predicted = make_diagrams(6, 16, "2mass:J-Ks,Ks gaia:BP-RP,G")
    predicted[2] = np.nan
    strips = [predicted[:4], predicted[4:]]
    full, _ = explorer.diagrams(sky, strips)
    monkeypatch.setattr(explorer, "MOST_PIXELS", 6 * 2 * 64)
    channels, packed = explorer.diagrams(sky, strips)
    counts = sky["counts"].to_numpy().reshape(6, 2, 8, 2, 8, 2).sum(axis=(3, 5))
    np.testing.assert_array_equal(unpack(packed["observed"]), counts)
    expected = predicted.to_numpy().reshape(6, 2, 8, 2, 8, 2).sum(axis=(3, 5))
    step = packed["predicted"].step
    np.testing.assert_allclose(np.sqrt(unpack(packed["predicted"])), np.sqrt(expected), rtol=0, atol=0.51 * step)
    for merged, fine in zip(channels, full, strict=True):
        for axis in ("colour_edges", "row_edges"):
            np.testing.assert_allclose(merged[axis], fine[axis][::2], atol=1e-6)


def test_diagrams_of_parallaxes_have_their_own_axis() -> None:
    sky, predicted = make_diagrams(2, 8, "2mass:J-Ks,Ks gaia:BP-RP,parallax")
    channels, _ = explorer.diagrams(sky, [predicted])
    assert [channel["row"] for channel in channels] == ["Ks (mag)", "Parallax (mas)"]
    assert [channel["reversed"] for channel in channels] == [True, False]
    assert channels[1]["name"] == "Gaia DR3: parallax against BP − RP"


def test_a_flag_of_a_later_version_is_named_by_its_meaning(region: Path, cube: xr.Dataset) -> None:
    later = cube.copy()
    flags = {"flag_masks": np.array([1, 32], "u1"), "flag_meanings": "not_observed on_a_tile_edge"}
    later["quality"].attrs |= flags
    with xr.open_dataset(region / "faceon.nc") as view, xr.open_dataset(region / "sky.nc") as sky:
        about, _ = contents(later, view, sky, [sky["counts"].astype(float)])
    assert [flag["mask"] for flag in about["flags"]] == [1, 32]
    assert about["flags"][1]["text"] == "On a tile edge"


def test_two_thousand_sightlines_take_less_than_15_mb() -> None:
    cube = make_cube(93, 21, 100, 8)
    sky, predicted = make_diagrams(cube["quality"].size, 64, "2mass:J-Ks,Ks")
    about, texts = contents(cube, project(cube, 0.1), sky, [predicted])
    library = base64.b64encode(zlib.compress(get_plotlyjs().encode(), 9))
    size = sum(map(len, texts.values())) + len(json.dumps(about)) + len(library)
    print(f"{cube['quality'].size} sightlines of 100 bins: {size / 1e6:.1f} MB")
    assert size < 15e6


# ---- the page as a file


def test_the_page_is_self_contained_and_runs_no_script_but_its_own(region: Path) -> None:
    text = (region / "explorer.html").read_text()
    page = Page(text)
    links = [attrs[key] for _, attrs in page.tags for key in ("src", "href") if key in attrs]
    links.remove("report.html")  # beside the explorer
    assert not [link for link in links if link is None or not link.startswith(("#", "data:,"))]
    (policy,) = (attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    allowed = re.search("script-src (.*)$", policy)
    assert allowed is not None
    own = [hashlib.sha256(script.encode()).digest() for script in (*page.scripts, get_plotlyjs())]
    assert len(own) == 2
    assert allowed[1].split() == [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in own]
    assert "default-src 'none'" in policy
    # what files say is text
    assert "<script>document.title" not in text
    assert "<b>more" not in text


def test_two_runs_give_the_same_bytes(region: Path, tmp_path: Path) -> None:
    again = make_page(region, tmp_path / "again.html")
    assert again.read_bytes() == (region / "explorer.html").read_bytes()


def test_strips_that_do_not_make_the_map_are_refused(
    region: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"--{name}={region / name}.nc" for name in ("cube", "faceon", "sky")]
    options += ["--output", str(tmp_path / "page.html"), "--fits"]
    assert main(["explorer", *options, str(region / "0000_fit.nc")]) == 1
    assert "found 6 tiles with predicted diagrams; expected the 12" in capsys.readouterr().err
    assert main(["explorer", *options, str(region / "sky.nc")]) == 1
    assert f"{region / 'sky.nc'}: found no predicted diagrams" in capsys.readouterr().err
    small = tmp_path / "small"
    small.mkdir()
    write(small, 2, 2)
    options[2] = f"--sky={small / 'sky.nc'}"
    assert main(["explorer", *options, str(small / "0000_fit.nc"), str(small / "0001_fit.nc")]) == 1
    assert "found diagrams of 4 tiles; expected the cube's 12" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_text_stands_out_from_its_ground_in_both_themes() -> None:
    css = (Path(explorer.__file__).parent / "explorer.css").read_text()

    def luminance(colour: str) -> float:
        digits = colour.lstrip("#")
        parts = [c * 2 for c in digits] if len(digits) == 3 else [digits[i : i + 2] for i in (0, 2, 4)]
        linear = [
            (v / 12.92) if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (int(p, 16) / 255 for p in parts)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    themes = [dict(re.findall(r"--(\w+): (#\w+);", block)) for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)]
    assert len(themes) == 2
    for theme in themes:
        for ground in ("page", "shade"):
            for name, least in (("text", 4.5), ("quiet", 4.5), ("link", 4.5), ("line", 3.0), ("mean", 3.0)):
                dark, light = sorted((luminance(theme[name]), luminance(theme[ground])))
                assert (light + 0.05) / (dark + 0.05) >= least, (name, ground, theme)


# ---- the page in a browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    """Debian's Chromium without a window."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no chromium and chromedriver on PATH: 'apt-get install chromium chromium-driver' brings them")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    started.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    yield started
    started.quit()


class Reader:
    """A person at the page."""

    def __init__(self, driver: webdriver.Chrome, path: Path) -> None:
        self.driver, self.url = driver, path.as_uri()

    def open(self, fragment: str = "") -> None:
        self.driver.get("about:blank")
        self.driver.get(self.url + fragment)
        self.wait(lambda: self.run("return document.documentElement.dataset.drawn"))

    def run(self, script: str, *arguments: object) -> object:
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition) -> None:
        WebDriverWait(self.driver, 60, poll_frequency=0.05).until(lambda _: condition())

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector))

    def shown(self, cube: xr.Dataset, l: int, b: int, bin: int) -> None:
        """Wait until a sightline is drawn and check that each of its numbers is the cube's."""
        self.wait(
            lambda: self.run("return document.documentElement.dataset.drawn") == f"{l * cube.sizes['b'] + b} {bin}"
        )
        one = cube.isel(l=l, b=b)
        assert self.text("#facts-title") == f"l = {float(one.l):.2f}°, b = {float(one.b):.2f}°".replace("-", "−")
        outer = float(one.distance_bounds[bin, 1])
        assert self.text("#at caption") == f"At {outer:.1f} kpc"
        for name in ("extinction", "extinction_density"):
            mean = self.run("return document.querySelector(arguments[0]).value", f"#at-{name} data")
            assert float(str(mean)) == pytest.approx(float(one[name][bin]), abs=0.51 * STEP)
        cells = "[...row.cells].map((cell) => cell.textContent)"
        table = self.run(f"return [...document.querySelectorAll('#table tbody tr')].map((row) => {cells})")
        found = np.array(table, float)
        np.testing.assert_allclose(found[:, 0], one.distance_bounds[:, 1], atol=0.051)
        for first, name in ((1, "extinction"), (6, "extinction_density")):
            ends = np.percentile(one[f"{name}_samples"], [2.5, 16, 84, 97.5], axis=0)
            expected = np.column_stack([one[name].to_numpy(), *ends])
            np.testing.assert_allclose(found[:, first : first + 5], expected, rtol=0, atol=1.01 * STEP)

    def click(self, plot: str, x: float, y: float) -> None:
        """Click on a point of a plot, in its own units."""
        at = self.run(
            "const [gd, x, y] = [document.getElementById(arguments[0]), arguments[1], arguments[2]];"
            "gd.scrollIntoView({block: 'center'});"
            "const [box, {xaxis, yaxis}] = [gd.getBoundingClientRect(), gd._fullLayout];"
            "return [box.left + xaxis._offset + xaxis.l2p(x), box.top + yaxis._offset + yaxis.l2p(y)];",
            *(plot, x, y),
        )
        assert isinstance(at, list)
        pointer = ActionBuilder(self.driver)
        pointer.pointer_action.move_to_location(round(at[0]), round(at[1])).click()
        pointer.perform()

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def focus(self, name: str) -> None:
        self.run("document.getElementById(arguments[0]).focus()", name)


@pytest.fixture
def reader(chromium: webdriver.Chrome, region: Path) -> Iterator[Reader]:
    """The region's page, open; afterwards nothing may have been fetched or complained of."""
    chromium.get_log("performance")
    chromium.get_log("browser")
    page = Reader(chromium, region / "explorer.html")
    page.open()
    yield page
    assert chromium.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    fetched = {url.partition("#")[0] for url in asked if not url.startswith(("data:", "blob:", "about:"))}
    assert fetched == {page.url}


def test_the_page_opens_on_an_observed_sightline(reader: Reader, cube: xr.Dataset) -> None:
    assert reader.text("h1") == TITLE
    assert reader.driver.title == f"{TITLE} – explorer"
    assert reader.run("return document.getElementById('notice').hidden")
    reader.shown(cube, 1, 1, 5)
    drawn = reader.run("return [...document.querySelectorAll('.js-plotly-plot')].map((one) => one.id)")
    plots = ["sky-plot", "faceon-plot", "profile-plot", "observed-plot", "predicted-plot", "residual-plot"]
    assert drawn == plots


def test_a_click_on_a_sightline_shows_its_numbers(reader: Reader, cube: xr.Dataset) -> None:
    reader.click("sky-plot", float(cube.l[0]), float(cube.b[0]))
    reader.shown(cube, 0, 0, 5)
    flags = reader.run("return [...document.querySelectorAll('#flags li')].map((one) => one.textContent)")
    assert flags == [explorer.FLAGS["stars_run_out_before_the_last_bin"], explorer.FLAGS["poor_fit"]]
    facts = reader.text("#facts")
    for number in (f"chi2 {float(cube.fit_chi2[0, 0]):.3g}", f"p = {float(cube.fit_p_value[0, 0]):.3f}"):
        assert number in facts
    assert f"above {100 * float(cube.out_of_distribution[0, 0]):.1f} % of mocks" in facts
    assert "from 0.3 to 0.9 kpc" in facts
    # another tile, without a flag
    reader.click("sky-plot", float(cube.l[3]), float(cube.b[2]))
    reader.shown(cube, 3, 2, 5)
    assert reader.text("#flags") == "No flag is raised"


def test_residuals_do_not_saturate_and_the_largest_is_said(reader: Reader, cube: xr.Dataset) -> None:
    """A dark red pixel at the end of the scale looked like a bad fit beside "No flag is raised"."""
    reader.click("sky-plot", float(cube.l[3]), float(cube.b[2]))
    reader.shown(cube, 3, 2, 5)
    values, end = reader.run(
        "const one = document.getElementById('residual-plot').data[0]; return [one.z.map((row) => [...row]), one.zmax]"
    )
    greatest = np.nanmax(np.abs(np.array(values, float)))
    assert end == pytest.approx(max(4.0, greatest))
    assert reader.text("#residual-most") == f", up to {greatest:.1f} Poisson errors in a pixel"
    assert "of the whole diagram (poor below 0.02)" in reader.text("#facts")


def test_the_plots_hold_the_cubes_numbers(reader: Reader, region: Path, cube: xr.Dataset) -> None:
    reader.click("sky-plot", float(cube.l[3]), float(cube.b[2]))
    reader.shown(cube, 3, 2, 5)
    sky = np.array(reader.run("return document.getElementById('sky-plot').data[0].z"), float)
    np.testing.assert_allclose(sky, cube.extinction[:, :, 5].T, rtol=0, atol=0.51 * STEP)
    assert np.isnan(sky[MISSING[1], MISSING[0]])
    curves = reader.run(
        "return document.getElementById('profile-plot').data.map((one) => [one.name ?? '', [...one.x], [...one.y]])"
    )
    assert isinstance(curves, list)
    named = {name: (x, y) for name, x, y in curves}
    one = cube.isel(l=3, b=2)
    for name, values in (("mean", one.extinction), ("truth", 0.9 * one.extinction)):
        np.testing.assert_allclose(named[name][0], np.append(0, one.distance_bounds[:, 1]))
        np.testing.assert_allclose(named[name][1], np.append(0, values), rtol=0, atol=0.51 * STEP)
    high = np.percentile(one.extinction_samples, 97.5, axis=0)
    np.testing.assert_allclose(named["95 %"][1], np.append(0, high), rtol=0, atol=0.51 * STEP)
    ends = reader.run("return document.getElementById('profile-plot').layout.shapes.map((one) => [one.x0, one.x1])")
    assert isinstance(ends, list)
    np.testing.assert_allclose(ends, [[0, 0.3], [0.9, 1.2], [0.3, 0.3], [0.9, 0.9], [0.6, 0.6]])
    # the diagrams, pixels merged two by two as the page opens them
    with xr.open_dataset(region / "sky.nc") as file:
        counts = file["counts"][11, 0].to_numpy().reshape(8, 2, 8, 2).sum(axis=(1, 3))
    seen = reader.run("return document.getElementById('observed-plot').data[0].customdata")
    np.testing.assert_array_equal(np.array(seen), counts)
    with xr.open_dataset(region / "0001_fit.nc") as file:
        mean = file["predicted"][5, 0].to_numpy().reshape(8, 2, 8, 2).sum(axis=(1, 3))
    told = reader.run("return document.getElementById('predicted-plot').data[0].customdata")
    np.testing.assert_allclose(np.array(told), mean, rtol=0.02, atol=0.3)


def test_the_slider_moves_the_distance(reader: Reader, cube: xr.Dataset) -> None:
    reader.focus("distance")
    reader.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    reader.shown(cube, 1, 1, 7)
    assert reader.text("#sky-caption").startswith("Extinction from the Sun to 0.8 kpc")
    sky = np.array(reader.run("return document.getElementById('sky-plot').data[0].z"), float)
    np.testing.assert_allclose(sky, cube.extinction[:, :, 7].T, rtol=0, atol=0.51 * STEP)
    reader.run(
        "const one = document.getElementById('quantity'); one.value = 'density'; one.dispatchEvent(new Event('change'))"
    )
    reader.wait(lambda: reader.text("#sky-caption").startswith("Mean density between 0.7 and 0.8 kpc"))
    sky = np.array(reader.run("return document.getElementById('sky-plot').data[0].z"), float)
    np.testing.assert_allclose(sky, cube.extinction_density[:, :, 7].T, rtol=0, atol=0.51 * STEP)
    assert reader.run("return document.getElementById('distance').getAttribute('aria-valuetext')") == "0.8 kpc"


def test_every_choice_draws_every_map(reader: Reader) -> None:
    for name in ("quantity", "palette", "channel", "binning"):
        values = reader.run("return [...document.getElementById(arguments[0]).options].map((one) => one.value)", name)
        assert isinstance(values, list)
        for value in values:
            reader.driver.execute_async_script(
                "const [name, value, done] = arguments; const one = document.getElementById(name); one.value = value;"
                "one.dispatchEvent(new Event('change')); requestAnimationFrame(() => setTimeout(done, 0));",
                *(name, value),
            )
    reader.run(
        "document.querySelector('input[value=extinction_density]').click(); document.getElementById('crosses').click()"
    )
    reader.wait(lambda: len(reader.run("return document.getElementById('sky-plot').data[2].x")) == 1)  # type: ignore[arg-type]


def test_keys_move_the_sightline_and_the_choice_is_read_out(reader: Reader, cube: xr.Dataset) -> None:
    reader.focus("sky-plot")
    reader.press(Keys.ARROW_RIGHT)  # longitude grows to the left
    reader.shown(cube, 0, 1, 5)
    reader.press(Keys.ARROW_UP, Keys.PAGE_UP)
    reader.shown(cube, 0, 2, 6)
    reader.wait(lambda: reader.text("#live").startswith("l = 100.25°, b = 0.25°: extinction to 0.7 kpc"))
    assert f"{float(cube.extinction[0, 2, 6]):.2f} mag" in reader.text("#live")
    assert "No quality flag" in reader.text("#live")
    reader.press(Keys.HOME)
    reader.shown(cube, 3, 2, 6)
    reader.press(Keys.ARROW_LEFT)  # the rim
    reader.shown(cube, 3, 2, 6)
    reader.press(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    reader.wait(lambda: reader.text("#live") == "l = 101.25°, b = −0.25°: not observed.")
    assert reader.text("#at caption") == "Not observed: no values"
    assert reader.text("#flags") == explorer.FLAGS["not_observed"]
    assert reader.run("return document.getElementById('at').tBodies[0].hidden")


def test_an_address_leads_to_its_sightline(reader: Reader, cube: xr.Dataset) -> None:
    reader.open("#l=461.3&b=0.2&d=0.33")
    reader.shown(cube, 2, 2, 3)
    assert str(reader.run("return location.hash")) == "#l=101.25&b=0.25&d=0.4"
    reader.run("location.hash = 'l=100.1&b=-0.9'")
    reader.shown(cube, 0, 0, 3)
    reader.run("document.getElementById('goto-l').select()")
    reader.press("101.9", Keys.ENTER)
    reader.shown(cube, 3, 0, 3)
    assert reader.run("return document.getElementById('link').hash") == "#l=101.75&b=-0.75&d=0.4"
    reader.run("document.getElementById('goto-l').select()")
    reader.press("12", Keys.ENTER)
    reader.wait(
        lambda: "Not in this map" in str(reader.run("return document.getElementById('goto-l').validationMessage"))
    )
    reader.shown(cube, 3, 0, 3)


def test_a_click_on_the_other_plots_chooses_too(reader: Reader, cube: xr.Dataset) -> None:
    angle, radius = np.radians(101.75), 0.85
    reader.click("faceon-plot", radius * np.cos(angle), radius * np.sin(angle))
    reader.shown(cube, 3, 1, 8)
    reader.click("profile-plot", 0.2, float(cube.extinction[3, 1, 1]))
    reader.shown(cube, 3, 1, 1)


def test_a_profile_is_kept_as_csv(reader: Reader, cube: xr.Dataset, tmp_path: Path) -> None:
    reader.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    reader.open("#l=101.75&b=-0.75")
    reader.focus("csv")
    reader.press(Keys.ENTER)
    path = tmp_path / "profile_l101.750_b-0.750.csv"
    reader.wait(path.exists)
    lines = path.read_text().splitlines()
    assert lines[0] == f"# {TITLE}: l = 101.7500 deg, b = -0.7500 deg (galactic)"
    names = lines[2].split(",")
    values = np.array([line.split(",") for line in lines[3:]], float)
    one = cube.isel(l=3, b=0)
    np.testing.assert_allclose(values[:, names.index("distance")], one.distance_bounds[:, 1])
    for name in ("extinction", "extinction_density"):
        np.testing.assert_allclose(values[:, names.index(name)], one[name], rtol=0, atol=0.51 * STEP)
        low = np.percentile(one[f"{name}_samples"], 16, axis=0)
        np.testing.assert_allclose(values[:, names.index(f"{name}_low68")], low, rtol=0, atol=0.51 * STEP)


def test_everything_that_takes_the_focus_has_a_name_and_its_turn(reader: Reader) -> None:
    tree = reader.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    nameless = []
    for node in tree:
        can = any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", []))
        named = node.get("name", {}).get("value", "").strip()
        if can and not named and node["role"]["value"] not in ("RootWebArea", "generic"):
            nameless.append(node)
    assert nameless == []
    figures = [node["name"]["value"] for node in tree if node.get("role", {}).get("value") == "figure"]
    assert any(name.startswith("Profile of l = 100.75°") for name in figures)
    reader.run("document.activeElement.blur()")
    turns = []
    while len(turns) < 60 and turns[-2:] != ["SUMMARY", "SUMMARY"]:
        reader.press(Keys.TAB)
        turns.append(reader.run("const e = document.activeElement; return e.id || e.name || e.className || e.tagName"))
    order = ["skip", "A", "SUMMARY", "quantity", "distance", "palette", "fixed", "crosses", "sky-plot"]
    order += ["goto-l", "goto-b", "BUTTON", "link", "csv", "profile", "channel", "binning", "SUMMARY", "SUMMARY"]
    assert [turn for turn in turns if not turn.startswith("modebar-btn")] == order


def test_the_narrow_page_does_not_run_over(reader: Reader) -> None:
    size = {"deviceScaleFactor": 1, "mobile": False}
    try:
        reader.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 420, "height": 900, **size})
        reader.open()
        wide = "const {scrollWidth, clientWidth} = document.documentElement; return scrollWidth - clientWidth"
        assert reader.run(wide) == 0
    finally:
        reader.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 1400, "height": 900, **size})


@pytest.mark.parametrize("shape", [(5, 1), (1, 4)])
def test_a_region_of_one_row_or_column_works(
    chromium: webdriver.Chrome, tmp_path: Path, shape: tuple[int, int]
) -> None:
    path = write(tmp_path, *shape)
    chromium.get_log("browser")
    page = Reader(chromium, path)
    page.open()
    with open_cube(tmp_path / "cube.nc") as cube:
        page.click("sky-plot", float(cube.l[0]), float(cube.b[0]))
        page.shown(cube, 0, 0, 5)
    assert chromium.get_log("browser") == []
