"""Density laws, warp and flare of the Galaxy, and the tables that hold their parameters."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from galcarto.galaxy.components import TABLES, GalaxyTableError, load, table_digest
from galcarto.galaxy.laws import (
    BoxyBar,
    DensityLaw,
    DoublePowerLaw,
    Einasto,
    Flare,
    ModifiedExponential,
    PowerLaw,
    Sech2,
    TriaxialBulge,
    Warp,
)

MODELS = sorted(TABLES.glob("*.yaml"))
SUN = 8.5  # kpc
YOUNG = Einasto(law="einasto", profile="gaussian", local=4e-3, axis_ratio=0.014, scale=5.0, hole=3.0, edge=14.0)
OLD = Einasto(law="einasto", profile="exponential", local=5.8e-3, axis_ratio=0.07, scale=2.53, hole=1.32, edge=14.0)
THICK = ModifiedExponential(law="modified_exponential", local=1.34e-3, scale=2.5, height=0.8, joint=0.4)
SECH2 = Sech2(law="sech2", local=3.6e-3, scale=2.04, height=0.4)
SPHEROID = PowerLaw(law="power_law", local=9.32e-6, slope=-2.44, axis_ratio=0.76, core=0.5)
HALO = DoublePowerLaw(law="double_power_law", local=4.1e-5, inner=-1.0, outer=-2.8, axis_ratio=0.77, core=2.2)
BULGE = TriaxialBulge(law="triaxial_bulge", central=13.7, scales=(1.59, 0.424, 0.424), angle=11.1, edge=2.54)
SHAPE = {"scales": (1.1, 0.5, 0.3), "angle": 29.0, "exponents": (3.3, 3.0), "peanut": 0.53, "wave": 0.87, "edge": 4.2}
BAR = BoxyBar(law="boxy_bar", central=45.0, **SHAPE)
DISCS = (YOUNG, OLD, THICK, SECH2)
SPHEROIDS = (SPHEROID, HALO)
BARS = (BULGE, BAR)
LAWS = (*DISCS, *SPHEROIDS, *BARS)
PARTS = st.sampled_from(LAWS)
LENGTH = st.floats(-20.0, 20.0)


def name(law: object) -> str:
    return f"{type(law).__name__}"


def at(law: DensityLaw, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> float:
    return float(law.density(np.array(x), np.array(y), np.array(z), SUN))


def slope(law: DensityLaw, radius: float) -> float:
    """d log(density) / d log(R) in the plane."""
    near, far = radius / 1.001, radius * 1.001
    return np.log(at(law, x=far) / at(law, x=near)) / np.log(far / near)


# --- all laws


@pytest.mark.parametrize("law", [*DISCS, *SPHEROIDS], ids=name)
@pytest.mark.parametrize("azimuth", [0.0, 1.0, 3.0])
def test_the_density_at_the_suns_radius_is_the_tables(law, azimuth):
    assert at(law, SUN * np.cos(azimuth), SUN * np.sin(azimuth)) == pytest.approx(law.local)


@pytest.mark.parametrize("law", BARS, ids=name)
def test_the_density_at_the_centre_is_the_tables(law):
    assert at(law) == pytest.approx(law.central)


@given(PARTS, LENGTH, LENGTH, LENGTH)
def test_laws_are_finite_positive_and_symmetric(law, x, y, z):
    value = at(law, x, y, z)
    assert 0.0 <= value < np.inf
    assert at(law, x, y, -z) == pytest.approx(value)
    assert at(law, -x, -y, z) == pytest.approx(value)
    if law not in BARS:
        assert at(law, np.hypot(x, y), 0.0, z) == pytest.approx(value)


@given(PARTS, LENGTH, LENGTH, st.floats(0.0, 10.0), st.floats(0.0, 5.0))
def test_density_falls_with_height(law, x, y, z, step):
    if isinstance(law, Einasto) and np.hypot(x, y) < 2 * law.hole:
        return  # above its hole a disc has more stars than in it
    assert at(law, x, y, z + step) <= at(law, x, y, z) * (1 + 1e-9)


@pytest.mark.parametrize("law", LAWS, ids=name)
def test_laws_take_arrays_of_any_shape(law):
    x, y, z = np.meshgrid(np.linspace(-9, 9, 4), np.linspace(-9, 9, 3), np.linspace(-2, 2, 5), indexing="ij")
    values = law.density(x, y, z, SUN)
    assert values.shape == (4, 3, 5)
    assert values[1, 2, 3] == pytest.approx(at(law, x[1, 2, 3], y[1, 2, 3], z[1, 2, 3]))


def test_laws_count_mass_or_stars():
    assert {law.quantity for law in (*DISCS, *SPHEROIDS)} == {"mass"}
    assert {law.quantity for law in BARS} == {"number"}


# --- discs


@pytest.mark.parametrize("law", [YOUNG, OLD], ids=lambda law: law.profile)
def test_einasto_disc(law):
    assert at(law, x=13.99) > 0
    assert at(law, x=14.01) == 0
    assert at(law) == pytest.approx(0.0, abs=1e-12)  # the hole
    # surfaces of equal density are ellipsoids
    assert at(law, x=10.0) == pytest.approx(at(law, x=8.0, z=6.0 * law.axis_ratio))


def test_an_old_disc_is_exponential_far_from_the_hole():
    assert slope(OLD, 13.0) == pytest.approx(-13.0 / OLD.scale, rel=0.02)


def test_modified_exponential_is_smooth_at_its_joint():
    joint, step = THICK.joint, 1e-5
    below, here, above = (at(THICK, x=SUN, z=joint + i * step) for i in (-1, 0, 1))
    assert (here - below) == pytest.approx(above - here, rel=1e-3)
    assert above - here == pytest.approx(-here * step / THICK.height, rel=1e-3)
    # one exponential above the joint
    assert at(THICK, x=SUN, z=3.8) / at(THICK, x=SUN, z=3.0) == pytest.approx(np.exp(-1.0))


@given(st.floats(0.1, 2.0), st.floats(1.0, 5.0))
def test_sech2_disc(height, scale):
    law = Sech2(law="sech2", local=1e-3, scale=scale, height=height)
    assert at(law, x=SUN, z=height) == pytest.approx(1e-3 / np.cosh(0.5) ** 2)
    assert at(law, x=SUN, z=20 * height) == pytest.approx(4e-3 * np.exp(-20.0), rel=1e-6)
    z = np.linspace(-40, 40, 4001) * height
    assert law.density(SUN + 0 * z, 0 * z, z, SUN).sum() * (z[1] - z[0]) == pytest.approx(4e-3 * height)
    assert at(law, x=SUN + scale) == pytest.approx(1e-3 * np.exp(-1.0))


# --- spheroids


@pytest.mark.parametrize("law", SPHEROIDS, ids=name)
def test_spheroids_are_flattened(law):
    assert at(law, z=10.0 * law.axis_ratio) == pytest.approx(at(law, x=10.0))


def test_power_law_has_a_slope_and_a_core():
    assert slope(SPHEROID, 10.0) == pytest.approx(SPHEROID.slope)
    assert at(SPHEROID) == at(SPHEROID, x=0.499) > at(SPHEROID, x=0.51)


def test_double_power_law_has_two_slopes():
    assert slope(HALO, 0.01) == pytest.approx(HALO.inner, abs=0.02)
    assert slope(HALO, HALO.core) == pytest.approx(HALO.inner + HALO.outer / 2)
    assert slope(HALO, 1e4) == pytest.approx(HALO.inner + HALO.outer, abs=0.01)
    assert np.isfinite(at(HALO))


@given(st.floats(0.5, 50.0))
def test_double_power_law_without_a_core_is_a_power_law(radius):
    double = DoublePowerLaw(law="double_power_law", local=1e-5, inner=-1.0, outer=-1.44, axis_ratio=0.76, core=1e-9)
    single = PowerLaw(law="power_law", local=1e-5, slope=-2.44, axis_ratio=0.76, core=0.1)
    assert at(double, x=radius) == pytest.approx(at(single, x=radius))


# --- bars


@pytest.mark.parametrize("law", BARS, ids=name)
def test_the_near_end_of_a_bar_is_at_positive_longitude(law):
    azimuth = np.radians(np.arange(-180.0, 180.0, 0.5))  # from the Sun's direction, (-1, 0), to l = 90 deg, (0, 1)
    ring = law.density(-1.5 * np.cos(azimuth), 1.5 * np.sin(azimuth), 0.0 * azimuth, SUN)
    # a box is longest towards its corners: the axis of the ring's second moment, not its maximum
    assert np.degrees(0.5 * np.angle((ring * np.exp(2j * azimuth)).sum())) == pytest.approx(law.angle, abs=0.1)


def test_the_ends_of_bars():
    assert at(BAR, x=-4.19) > 0
    assert at(BAR, x=-4.21) == 0
    beyond = BULGE.edge + 1.0
    endless = BULGE.model_copy(update={"edge": 100.0})
    assert at(BULGE, x=-beyond) == pytest.approx(at(endless, x=-beyond) * np.exp(-2.0))


@given(st.floats(-3.0, 3.0), st.floats(-2.0, 2.0), st.floats(-2.0, 2.0))
def test_a_bar_with_exponents_of_2_and_no_peanut_is_an_ellipsoid(x, y, z):
    law = BAR.model_copy(update={"exponents": (2.0, 2.0), "peanut": 0.0, "angle": 0.0, "edge": 10.0})
    x0, y0, z0 = law.scales
    radius = np.sqrt((x / x0) ** 2 + (y / y0) ** 2 + (z / z0) ** 2)
    assert at(law, x, y, z) == pytest.approx(law.central / np.cosh(radius) ** 2)


def test_larger_exponents_make_a_box():
    """The corners fill; the axes stay."""
    box = BAR.model_copy(update={"peanut": 0.0, "angle": 0.0})
    ellipsoid = box.model_copy(update={"exponents": (2.0, 2.0)})
    x0, y0, z0 = box.scales
    for corner in itertools.product((-1, 1), repeat=3):
        x, y, z = corner * np.array(box.scales)
        assert at(box, x, y, z) > 1.5 * at(ellipsoid, x, y, z)
    for axis in ((x0, 0, 0), (0, y0, 0), (0, 0, z0)):
        assert at(box, *axis) == pytest.approx(at(ellipsoid, *axis))
    p, c = box.exponents
    assert at(box, x0, y0, z0) == pytest.approx(box.central / np.cosh((2 ** (c / p) + 1) ** (1 / c)) ** 2)


def test_a_peanut_is_thickest_in_its_lobes():
    law = BAR.model_copy(update={"angle": 0.0})
    lobe = 0.5 * np.pi * law.wave

    def thickness(x: float) -> float:
        """Height of half the density in the plane."""
        z = np.linspace(0.0, 3.0, 3001)
        column = law.density(np.full_like(z, x), 0.0 * z, z, SUN)
        return float(z[np.argmax(column < 0.5 * column[0])])

    flat = law.model_copy(update={"peanut": 0.0})
    assert at(law, z=0.3) == pytest.approx(at(flat, z=0.3))
    assert at(law, x=lobe, z=0.6) > at(flat, x=lobe, z=0.6)
    assert thickness(lobe) > thickness(0.7 * lobe) > thickness(0.3 * lobe) > thickness(0.0)
    assert thickness(lobe) == pytest.approx(thickness(-lobe))


# --- warp and flare


def on_circle(radius: float, longitude: float) -> tuple[np.ndarray, np.ndarray]:
    """A point at an azimuth, deg, from the Sun's direction to l = 90 deg."""
    azimuth = np.radians(longitude)
    return np.array(-radius * np.cos(azimuth)), np.array(radius * np.sin(azimuth))


@given(st.floats(0.0, 20.0), st.floats(-180.0, 180.0))
def test_warp_height(radius, azimuth):
    warp = Warp(slope=0.09, start=8.4)
    height = float(warp.height(*on_circle(radius, azimuth)))
    assert height == pytest.approx(0.09 * max(radius - 8.4, 0.0) * np.sin(np.radians(azimuth)), abs=1e-12)


def test_an_uneven_warp():
    warp = Warp(slope=0.45, down=0.3, start=9.0, node=15.0)
    assert float(warp.height(*on_circle(11.0, 105.0))) == pytest.approx(0.45 * 2.0)
    assert float(warp.height(*on_circle(11.0, -75.0))) == pytest.approx(-0.3 * 2.0)
    for node in (15.0, 195.0):
        assert float(warp.height(*on_circle(15.0, node))) == pytest.approx(0.0, abs=1e-9)
    assert float(warp.height(np.array(0.0), np.array(0.0))) == 0.0


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
@pytest.mark.parametrize("slope", [0.0, 0.1])
@pytest.mark.parametrize("radius", [7.0, 11.5])
def test_warp_and_flare_keep_the_column(path, slope, radius):
    galaxy = load(path.stem).model_copy(update={"flare": Flare(slope=slope, start=9.5)})
    component = next(part for part in galaxy.components if part.warped)
    z = np.linspace(-20.0, 20.0, 40001)
    x, y = (np.full_like(z, float(value)) for value in on_circle(radius, 80.0))
    warped = galaxy.density(component, x, y, z)
    flat = component.density.density(x, y, z, galaxy.sun.radius)
    assert warped.sum() == pytest.approx(flat.sum(), rel=1e-3)
    if radius > galaxy.warp.start:
        assert z[warped.argmax()] > 0.1  # the plane is up near l = 90 deg
        assert flat.max() / warped.max() == pytest.approx(1.0 + slope * (radius - 9.5), rel=1e-3)


# --- tables


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def numbers(node: yaml.Node) -> list[int]:
    """Lines of a table, from 0, that hold a number; those of `references` and of texts are not looked at."""
    if isinstance(node, yaml.MappingNode):
        return [
            line for key, value in node.value if key.value not in ("title", "references") for line in numbers(value)
        ]
    if isinstance(node, yaml.SequenceNode):
        return [line for value in node.value for line in numbers(value)]
    return [node.start_mark.line] if is_number(node.value) else []


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_number_of_a_table_has_its_reference(path):
    galaxy, lines, cited = load(path.stem), path.read_text().splitlines(), set()
    for number in sorted(set(numbers(yaml.compose(path.read_text())))):
        comment = lines[number].partition("  # ")[2]
        keys = [part.partition("]")[0] for part in comment.split("[")[1:]]
        assert keys, f"{path.name}, line {number + 1}: no reference"
        assert set(keys) <= set(galaxy.references), f"{path.name}, line {number + 1}: {keys}"
        cited.update(keys)
    assert cited == set(galaxy.references)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_tables_make_sense(path):
    galaxy = load(path.stem)
    names = [component.name for component in galaxy.components]
    assert len(set(names)) == len(names)
    local = {
        component.name: float(component.density.density(-galaxy.sun.radius, 0.0, 0.0, galaxy.sun.radius))
        for component in galaxy.components
        if component.density.quantity == "mass"
    }
    thin = sum(value for key, value in local.items() if key.startswith("thin"))
    thick = sum(value for key, value in local.items() if key.startswith("thick"))
    # limits that any model of our Galaxy meets and a slip of a decimal point does not
    assert 0.03 < thin < 0.05
    assert 0.02 < thick / thin < 0.12
    assert 1e-4 < local["halo"] / thin < 2e-3
    for component in galaxy.components:
        assert component.age[0] <= component.age[1] < 14.5


def changed(model: str, path: Path, old: str, new: str) -> str:
    """A table at `path`, with one change."""
    text = (TABLES / f"{model}.yaml").read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return str(path)


def test_a_table_of_ones_own(tmp_path):
    path = changed("gaia_dr3", tmp_path / "mine.yaml", "title: Gaia DR3 universe model", "title: mine")
    galaxy = load(path)
    assert galaxy.title == "mine"
    assert galaxy.components == load("gaia_dr3").components


def test_the_digest_follows_the_numbers(tmp_path):
    same = changed("robin2003", tmp_path / "same.yaml", "radius: 8.5", "radius: 8.5")
    other = changed("robin2003", tmp_path / "other.yaml", "radius: 8.5", "radius: 8.4")
    assert table_digest(same) == table_digest("robin2003")
    assert table_digest(other) != table_digest("robin2003") != table_digest("gaia_dr3")


FAULTS = {
    "unknown key": ("warp: {slope:", "warp: {angle: 3, slope:", ["warp.angle", "Extra inputs"]),
    "unknown law": ("law: sech2", "law: sech3", ["components.7.density", "'sech3'", "'sech2'"]),
    "negative density": ("local: 3.6e-3", "local: -3.6e-3", ["components.7.density.sech2.local", "greater than 0"]),
    "parameter of another law": ("height: 0.400", "joint: 0.400", ["components.7.density.sech2.joint"]),
    "missing parameter": (", height: 0.400", "", ["components.7.density.sech2.height", "required"]),
    "not a number": ("axis_ratio: 0.774", "axis_ratio: flat", ["components.9.density.double_power_law.axis_ratio"]),
    "infinite": ("axis_ratio: 0.774", "axis_ratio: .inf", ["components.9.density.double_power_law.axis_ratio"]),
    "peanut": ("peanut: 0.534", "peanut: 1.2", ["components.10.density.boxy_bar.peanut", "less than 1"]),
    "breaks": ("breaks: [0.5, 1.53]", "breaks: [1.53, 0.5]", ["components.0.imf", "(1.53, 0.5)", "increase"]),
    "slopes": ("slopes: [0.5, 2.1, 2.9]", "slopes: [0.5, 2.1]", ["components.0.imf", "one slope more than breaks"]),
    "no radius of the Sun": ("radius: 8.0, ", "", ["sun.radius", "required"]),
    "not YAML": ("sun: {radius", "sun: {{radius", ["not a YAML file", "line"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_table_is_named_with_its_key(tmp_path, fault):
    old, new, told = FAULTS[fault]
    path = changed("gaia_dr3", tmp_path / "faulty.yaml", old, new)
    with pytest.raises(GalaxyTableError) as error:
        load(path)
    for text in (path, *told):
        assert text in str(error.value)


def test_every_fault_has_its_line(tmp_path):
    path = changed("gaia_dr3", tmp_path / "faulty.yaml", "sun: {radius: 8.0", "sun: {radius: -8.0, tilt: 1")
    with pytest.raises(GalaxyTableError) as error:
        load(path)
    lines = [line.split(": ")[:2] for line in str(error.value).splitlines()]
    assert lines == [[path, "sun.radius"], [path, "sun.tilt"]]


@pytest.mark.parametrize("model", ["robin2004", "missing/mine.yaml"])
def test_a_missing_table_is_named(model):
    with pytest.raises(GalaxyTableError) as error:
        load(model)
    for text in ("galaxy.model", repr(model), "gaia_dr3, robin2003"):
        assert text in str(error.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", "a model"])
def test_a_file_that_is_no_table_is_named(tmp_path, text):
    path = tmp_path / "text.yaml"
    path.write_text(text)
    with pytest.raises(GalaxyTableError, match=str(path)):
        load(str(path))
