"""Scores of posteriors, HEALPix maps on tiles, straight lines."""

import gzip
import json

import healpy as hp
import numpy as np
import pytest
import xarray as xr
from astropy.coordinates import SkyCoord
from astropy.io import fits
from conftest import cube_of
from hypothesis import given
from hypothesis import strategies as st

from galcarto.__main__ import main
from galcarto.core.sky import Tiles
from galcarto.dust.synthetic import through_beam
from galcarto.dustmap.compare import planck
from galcarto.dustmap.compare.heldout import bins, trusted_scores
from galcarto.dustmap.compare.planck import MapError
from galcarto.dustmap.settings import PlanckMap, read_settings
from galcarto.learning import scores

EXAMPLES, SAMPLES, DISTANCES = 1500, 99, 6
DISTANCE = np.arange(DISTANCES) + 0.5


def toy(rng, width: float = 1.0, offset: float = 0.0):
    """Truths of unit scatter around a centre that is known; posteriors of scatter `width`, shifted by `offset`.

    The truth of one example is the same surprise at every distance, as a profile's is nearly.
    """
    centre = rng.uniform(3.0, 6.0, (EXAMPLES, 1)) + DISTANCE
    truth = centre + rng.standard_normal((EXAMPLES, 1))
    samples = centre[:, None] + offset + width * rng.standard_normal((EXAMPLES, SAMPLES, 1))
    return np.broadcast_to(samples, (EXAMPLES, SAMPLES, DISTANCES)), truth


def everywhere(truth):
    return np.ones(truth.shape, bool)


# --- scores


def score(samples, truth, valid, distance):
    return scores.score(samples, truth, valid, bins(distance), "mag")


def test_a_calibrated_posterior_covers_what_it_says(rng):
    samples, truth = toy(rng)
    found = score(samples, truth, everywhere(truth), DISTANCE)
    level = found["level"].to_numpy()
    error = np.sqrt(level * (1 - level) / EXAMPLES)
    assert (np.abs(found["coverage_all"] - level) < 5 * error).all()
    assert (np.abs(found["coverage"].to_numpy() - level[:, None]) < 5 * error[:, None]).all()
    assert found["coverage"].dims == ("level", "distance")
    assert found.attrs["coverage_68"] == pytest.approx(0.68, abs=0.06)
    assert found.attrs["coverage_95"] == pytest.approx(0.95, abs=0.04)
    assert (np.abs(found["pit_density"] - 1) < 5 * np.sqrt(scores.PIT_BINS / EXAMPLES)).all()
    assert found["pit_density"].mean() == pytest.approx(1.0)
    assert abs(found.attrs["bias_mag"]) < 5 / np.sqrt(EXAMPLES)
    assert found.attrs["rmse_mag"] == pytest.approx(1.0, abs=0.1)
    assert found.attrs["n"] == EXAMPLES


@pytest.mark.parametrize(("number", "level"), [(24, 0.68), (39, 0.95)])
def test_a_truth_may_lie_in_any_gap_between_samples(number, level):
    """24 samples leave 25 gaps, of which the central 17 are 68 %; 39 leave 40, of which 38 are 95 %."""
    samples = np.tile(np.arange(1.0, number + 1)[:, None], (number + 1, 1, 1))
    found = score(samples, np.arange(number + 1)[:, None] + 0.5, np.ones((number + 1, 1), bool), np.ones(1))
    assert found.attrs[f"coverage_{100 * level:.0f}"] == pytest.approx(level)


def test_an_overconfident_posterior_covers_less(rng):
    samples, truth = toy(rng, width=0.5)
    found = score(samples, truth, everywhere(truth), DISTANCE)
    # half the width: 68% of the posterior is within 0.4972 of the truth's sigma, which holds 38% of truths
    assert found.attrs["coverage_68"] == pytest.approx(0.381, abs=0.06)
    assert (found["coverage_all"] < found["level"]).all()
    pit = found["pit_density"].to_numpy()
    assert pit[0] > 2
    assert pit[-1] > 2
    assert pit[8:12].mean() < 0.8


def test_an_underconfident_posterior_covers_more(rng):
    samples, truth = toy(rng, width=2.0)
    found = score(samples, truth, everywhere(truth), DISTANCE)
    assert found.attrs["coverage_68"] == pytest.approx(0.953, abs=0.04)
    assert found["pit_density"].to_numpy()[0] < 0.3


def test_a_bias_has_its_sign(rng):
    samples, truth = toy(rng, offset=1.5)
    found = score(samples, truth, everywhere(truth), DISTANCE)
    assert found.attrs["bias_mag"] == pytest.approx(1.5, abs=5 / np.sqrt(EXAMPLES))
    np.testing.assert_allclose(found["bias"], 1.5, atol=5 / np.sqrt(EXAMPLES))
    # truths at the low end of what was thought
    assert found["pit_density"].to_numpy()[0] > 3
    assert found["pit_density"].to_numpy()[-1] < 0.3


def test_errors_of_a_posterior_without_width(rng):
    truth = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.1]])
    error = np.array([[0.5, -0.2], [0.5, 0.2], [0.5, 0.6]])
    samples = np.repeat((truth + error)[:, None], 5, axis=1)
    found = score(samples, truth, everywhere(truth), DISTANCE[:2])
    np.testing.assert_allclose(found["bias"], [0.5, 0.2])
    np.testing.assert_allclose(found["rmse"], [0.5, np.sqrt((0.04 + 0.04 + 0.36) / 3)])
    np.testing.assert_allclose(found["median_relative_error"], [0.5 / 1.1, 0.2 / 2.1])
    assert found.attrs["coverage_95"] == 0.0
    assert found["rmse"].attrs["units"] == "mag"


def test_a_sure_and_right_posterior_is_covered():
    truth = np.array([[1.0], [2.0]])
    found = score(np.repeat(truth[:, None], 4, axis=1), truth, everywhere(truth), DISTANCE[:1])
    assert (found["coverage_all"] == 1).all()
    assert found.attrs["rmse_mag"] == 0


@pytest.mark.parametrize("rubbish", [1e6, np.nan])
def test_only_valid_distances_are_scored(rng, rubbish):
    samples, truth = toy(rng)
    samples, truth, valid = samples.copy(), truth.copy(), everywhere(truth)
    valid[: EXAMPLES // 2, 4] = False
    valid[:, 5] = False
    expected = score(samples[:, :, :4], truth[:, :4], valid[:, :4], DISTANCE[:4])
    half = score(samples[EXAMPLES // 2 :], truth[EXAMPLES // 2 :], everywhere(truth)[EXAMPLES // 2 :], DISTANCE)
    truth[~valid] = rubbish
    found = score(samples, truth, valid, DISTANCE)
    for name in ("bias", "rmse", "median_relative_error", "coverage"):
        np.testing.assert_allclose(found[name][..., :4], expected[name])
        np.testing.assert_allclose(found[name][..., 4], half[name][..., 4])
        assert np.isnan(found[name][..., 5]).all()
    np.testing.assert_allclose(found["valid_share"], [1, 1, 1, 1, 0.5, 0])
    assert found.attrs["rmse_mag"] < 2
    assert np.isfinite(list(found.attrs.values())).all()


def test_the_trusted_range_is_scored_between_its_ends():
    edges = np.linspace(0.0, 4.0, 5)
    truth = np.tile([2.0, 2.0, 2.0, 2.0], (2, 1))
    # mean errors of 0, 0.5 (right: 0.1 + 0.25 x 2.5 is more), 1.0 and -0.8 mag; an interval of 0.1 mag holds the first
    drawn = (truth + np.array([0.0, 0.5, 1.0, -0.8]))[:, None] + np.linspace(-0.1, 0.1, 40)[:, None]
    found = trusted_scores(drawn, truth, np.array([[1.0, 3.0], [np.nan, 4.0]]), edges)  # the second is never trusted
    assert found == pytest.approx(
        {"trusted_right": 2 / 3, "trusted_bias_mag": 0.5, "trusted_coverage_68": 1 / 3, "trusted_coverage_95": 1 / 3}
    )
    none = trusted_scores(drawn, truth, np.full((2, 2), np.nan), edges)
    assert list(none) == list(found)
    assert set(none.values()) == {None}


# --- lines


@given(st.floats(-5, 5), st.floats(-3, 3), st.integers(3, 60), st.integers(0, 100))
def test_points_on_a_line_give_the_line(slope, offset, number, seed):
    theirs = np.random.default_rng(seed).permutation(np.linspace(0.1, 8.0, number))
    slope += 0.1 if abs(slope) < 0.05 else 0
    found = planck.straight_line(slope * theirs + offset, theirs)
    assert found["slope"] == pytest.approx(slope, abs=1e-9)
    assert found["offset_mag"] == pytest.approx(offset, abs=1e-8)
    assert found["scatter_mag"] == pytest.approx(0, abs=1e-9)
    assert found["spearman"] == pytest.approx(np.sign(slope))
    assert found["n"] == number


def test_the_line_is_robust(rng):
    theirs = rng.uniform(0, 10, 400)
    ours = 0.8 * theirs + 0.3 + 0.2 * rng.standard_normal(400)
    ours[:20] += 30.0
    ours[20:40] -= 30.0
    found = planck.straight_line(ours, theirs)
    assert found["slope"] == pytest.approx(0.8, abs=0.03)
    assert found["offset_mag"] == pytest.approx(0.3, abs=0.15)
    assert 0.4 < found["spearman"] < 0.95


def test_the_scatter_is_1_4826_times_the_median_deviation():
    theirs, off = np.repeat([0.0, 1.0], 3), np.tile([-0.3, 0.0, 0.3], 2)
    found = planck.straight_line(theirs + off, theirs)
    assert (found["slope"], found["offset_mag"]) == pytest.approx((1.0, 0.0))
    assert found["scatter_mag"] == pytest.approx(1.4826 * 0.3)


def test_the_scatter_is_that_of_a_normal(rng):
    theirs = rng.uniform(0, 10, 1200)
    found = planck.straight_line(theirs - 1 + 0.2 * rng.standard_normal(1200), theirs)
    assert found["scatter_mag"] == pytest.approx(0.2, rel=5 * 1.17 / np.sqrt(1200))


def test_unrelated_maps_do_not_correlate(rng):
    found = planck.straight_line(rng.random(400), rng.random(400))
    assert abs(found["spearman"]) < 5 / np.sqrt(400)
    assert abs(found["slope"]) < 5 / np.sqrt(400)


def test_two_tiles_are_no_line():
    found = planck.straight_line(np.ones(2), np.ones(2))
    assert found.pop("n") == 2
    assert np.isnan(list(found.values())).all()


def described(path, **changes) -> np.ndarray:
    """A map read as settings describe it."""
    settings = {"name": "m", "path": str(path), "quantity": "tau353", "ordering": "ring", "frame": "galactic"}
    return planck.read(path, PlanckMap(**(settings | {"column": "TAU"} | changes)))


def test_a_masked_patch_in_single_precision_is_no_value(tmp_path):
    sphere = np.ones(PIXELS, np.float32)
    longitude, _ = hp.pix2ang(NSIDE, np.arange(PIXELS), lonlat=True)
    sphere[longitude < 90] = hp.UNSEEN
    hp.write_map(tmp_path / "map.fits", sphere, dtype=np.float32, column_names=["A"])
    read = described(tmp_path / "map.fits", column="A")
    means = planck.tile_means(read, Tiles.cover((40.0, 44.0), (0.0, 2.0), 2.0), "galactic")
    assert np.isnan(means).all()
    means = planck.tile_means(read, Tiles.cover((140.0, 144.0), (0.0, 2.0), 2.0), "galactic")
    np.testing.assert_allclose(means, 1.0)


# --- HEALPix maps

NSIDE = 16
PIXELS = hp.nside2npix(NSIDE)


@pytest.fixture(scope="module")
def sphere() -> np.ndarray:
    """A map in RING order whose every pixel is another number."""
    return np.random.default_rng(1).permutation(PIXELS).astype(float)


def write_map(path, values, nested=False, **options):
    order = hp.reorder(values, r2n=True) if nested else values
    hp.write_map(path, order, nest=nested, column_names=["TAU"], dtype=np.float64, **options)
    return path


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("bits", [np.float32, np.float64])
def test_tables_in_either_order(tmp_path, sphere, nested, bits):
    path = tmp_path / "map.fits"
    order = hp.reorder(sphere, r2n=True) if nested else sphere
    hp.write_map(path, order, nest=nested, column_names=["TAU"], dtype=bits)
    found = described(path, ordering="nested" if nested else "ring")
    np.testing.assert_array_equal(found, sphere)


@pytest.mark.parametrize("nested", [False, True])
def test_partial_tables(tmp_path, sphere, nested):
    partial = np.where(np.arange(PIXELS) % 7 == 0, sphere, hp.UNSEEN)
    path = write_map(tmp_path / "map.fits", partial, nested, partial=True)
    found = described(path, ordering="nested" if nested else "ring")
    np.testing.assert_array_equal(found, partial)


@pytest.mark.parametrize("nested", [False, True])
def test_images(tmp_path, sphere, nested):
    path = tmp_path / "map.fits"
    order = hp.reorder(sphere, r2n=True) if nested else sphere
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(order.astype(np.float32))]).writeto(path)
    found = described(path, ordering="nested" if nested else "ring", column=None)
    np.testing.assert_array_equal(found, sphere)


def test_values_that_are_not_numbers_are_unseen(tmp_path, sphere):
    path = tmp_path / "map.fits"
    values = sphere.copy()
    values[[3, 4]] = np.nan, np.inf
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(values)]).writeto(path)
    found = described(path, column=None)
    np.testing.assert_array_equal(np.flatnonzero(found == hp.UNSEEN), [3, 4])


@pytest.mark.parametrize(
    ("ordering", "column", "hdu", "message"),
    [
        ("nested", "TAU", 1, "the file says ORDERING = RING; the settings say nested"),
        ("ring", "EBV", 1, r"no column EBV; found TAU \(compare\.planck\.column\)"),
        ("ring", None, 1, r"HDU 1 is a table of TAU; set compare\.planck\.column"),
        ("ring", "TAU", 2, r"found no data in HDU 2 of 2; set compare\.planck\.hdu"),
        ("ring", "TAU", 0, r"found no data in HDU 0 of 2; set compare\.planck\.hdu"),
    ],
)
def test_maps_other_than_described_are_refused(tmp_path, sphere, ordering, column, hdu, message):
    path = write_map(tmp_path / "map.fits", sphere)
    with pytest.raises(MapError, match=message) as error:
        described(path, ordering=ordering, column=column, hdu=hdu)
    assert str(error.value).startswith(f"{path}: ")


def test_an_image_has_no_columns(tmp_path, sphere):
    path = tmp_path / "map.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(sphere)]).writeto(path)
    with pytest.raises(MapError, match="no column TAU; found an image"):
        described(path)


def test_images_of_other_sizes_are_refused(tmp_path):
    path = tmp_path / "map.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones(1000))]).writeto(path)
    with pytest.raises(MapError, match=r"found 1000 pixels; expected 12 nside\^2"):
        described(path, column=None)


def test_a_missing_map_is_named(tmp_path):
    with pytest.raises(MapError, match=r"none\.fits: not found; expected a HEALPix map"):
        described(tmp_path / "none.fits")


# --- a map's own header


def with_header(path, values, nested=False, **header):
    """A full map, and keys of its header; the unit is TUNIT1, and None removes a key."""
    write_map(path, values, nested, coord="G")
    with fits.open(path, mode="update") as file:
        for key, value in header.items():
            if value is None:
                del file[1].header[key]
            else:
                file[1].header[key] = value
    return path


def explicit(path, order=("PIXEL", "TAU"), pixels=None, name="PIXEL", **header):
    """A partial map of three pixels whose values are ten times their numbers."""
    pixels = np.array([5, 9, 2]) if pixels is None else np.array(pixels)
    columns = {"PIXEL": fits.Column(name, "J", array=pixels), "TAU": fits.Column("TAU", "E", array=pixels * 10.0)}
    hdu = fits.BinTableHDU.from_columns([columns[one] for one in order])
    header = {"ORDERING": "RING", "NSIDE": NSIDE, "INDXSCHM": "EXPLICIT"} | header
    hdu.header.update({key: value for key, value in header.items() if value is not None})
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


@pytest.mark.parametrize(
    ("header", "frame", "agrees"),
    [
        *(({"COORDSYS": text}, "galactic", True) for text in ("G", "g ", "GALACTIC", "Gal")),
        *(({"COORDSYS": text}, "icrs", True) for text in ("C", "EQ", "Equatorial", "ICRS", "FK5", "celestial")),
        ({"COORDSYS": "C"}, "fk5", True),
        ({"COORDSYS": "E"}, "barycentrictrueecliptic", True),
        ({"COORDSYS": "here"}, "galactic", True),  # says nothing
        *(({"COORDSYS": "G"}, frame, False) for frame in ("icrs", "supergalactic", "barycentrictrueecliptic")),
        *(({"COORDSYS": text}, "galactic", False) for text in ("C", "E", "ECL", "icrs")),
        ({"COORDSYS": None, "FRAME": "icrs"}, "galactic", False),
    ],
)
def test_the_header_s_frame_is_heard(tmp_path, sphere, header, frame, agrees):
    path = with_header(tmp_path / "map.fits", sphere, **header)
    if agrees:
        np.testing.assert_array_equal(described(path, frame=frame), sphere)
    else:
        with pytest.raises(MapError, match=rf"^{path}: the file says \w+ = .*; the settings say {frame}; set"):
            described(path, frame=frame)


@pytest.mark.parametrize("text", ["RING", "ring", "Ring    ", "NEST", "nested", "Nested"])
def test_the_order_in_any_writing(tmp_path, sphere, text):
    nested = text.lower().startswith("nest")
    path = with_header(tmp_path / "map.fits", sphere, nested, ORDERING=text)
    np.testing.assert_array_equal(described(path, ordering="nested" if nested else "ring"), sphere)
    with pytest.raises(MapError, match="the settings say"):
        described(path, ordering="ring" if nested else "nested")


@pytest.mark.parametrize("value", [0, 1.5, True, "NUNIQ", ""])
def test_an_order_that_is_none_is_refused(tmp_path, sphere, value):
    path = with_header(tmp_path / "map.fits", sphere, ORDERING=value)
    with pytest.raises(MapError, match=rf"^{path}: the file says ORDERING = .*; expected RING or NESTED"):
        described(path)


def test_an_order_and_a_frame_of_the_first_header(tmp_path, sphere):
    path = tmp_path / "map.fits"
    hdu = fits.PrimaryHDU(sphere)
    hdu.header.update({"NSIDE": NSIDE, "NESTED": False, "FRAME": "icrs"})
    hdu.writeto(path)
    np.testing.assert_array_equal(described(path, column=None, hdu=0, frame="icrs"), sphere)
    with pytest.raises(MapError, match="NESTED = False; the settings say nested"):
        described(path, column=None, hdu=0, frame="icrs", ordering="nested")


@pytest.mark.parametrize("bad", [-32768.0, -999, -1e20, 0.0, 3.5e7, "-1.6375E+30"])
@pytest.mark.parametrize("bits", [np.float32, np.float64])
def test_pixels_with_the_header_s_sentinel_have_no_value(tmp_path, bad, bits):
    values = np.full(PIXELS, 2.5)
    values[[3, 7]] = float(bad)
    hp.write_map(tmp_path / "map.fits", values, column_names=["TAU"], dtype=bits, extra_header=[("BAD_DATA", bad)])
    found = described(tmp_path / "map.fits")
    np.testing.assert_array_equal(np.flatnonzero(found == hp.UNSEEN), [3, 7])
    assert set(np.delete(found, [3, 7])) == {2.5}


def test_sentinels_that_nobody_states_have_no_value(tmp_path):
    values = np.ones(PIXELS)
    values[:3] = -32768.0, -999.0, -99.9
    path = write_map(tmp_path / "map.fits", values)
    np.testing.assert_array_equal(np.flatnonzero(described(path) == hp.UNSEEN), [0, 1, 2])


def test_null_of_whole_numbers_has_no_value(tmp_path):
    numbers = np.full(PIXELS, 7, np.int16)
    numbers[4] = 99
    fits.BinTableHDU.from_columns([fits.Column("TAU", "I", null=99, array=numbers)]).writeto(tmp_path / "map.fits")
    found = described(tmp_path / "map.fits")
    assert found[4] == hp.UNSEEN
    assert set(np.delete(found, 4)) == {7.0}


@pytest.mark.parametrize(
    ("quantity", "unit", "factor"),
    [
        *(("tau353", unit, 1.0) for unit in ("", "none", "unitless", "1")),
        *(("ebv", unit, 1.0) for unit in ("mag", "MAG", "magnitudes", " mag ")),
        ("ebv", "mmag", 1e-3),
        ("av", "mag", 1.0),
        ("av", "mmag", 1e-3),
        *((quantity, "MJy/sr", None) for quantity in ("tau353", "ebv", "av")),
        *(("ebv", unit, None) for unit in ("K_CMB", "W/m2/sr", "K", "uK_RJ", "H/cm2", "10^20 cm-2")),
        ("tau353", "mag", None),
    ],
)
def test_the_header_s_unit_is_heard(tmp_path, sphere, quantity, unit, factor):
    path = with_header(tmp_path / "map.fits", sphere, TUNIT1=unit)
    if factor is None:
        with pytest.raises(MapError, match=rf"^{path}: found the unit .*; expected .*, for {quantity}; set"):
            described(path, quantity=quantity)
    else:
        np.testing.assert_allclose(described(path, quantity=quantity), sphere * factor)


def test_a_column_of_another_quantity_is_told(tmp_path, sphere, caplog):
    path = write_map(tmp_path / "map.fits", sphere)
    described(path, quantity="tau353")
    assert not caplog.records
    described(path, quantity="av")
    assert "column TAU sounds like tau353; compare.planck.quantity says av" in caplog.text


def test_the_unit_of_an_image_is_heard(tmp_path, sphere):
    path = tmp_path / "map.fits"
    hdu = fits.PrimaryHDU(sphere)
    hdu.header["BUNIT"] = "K"
    hdu.writeto(path)
    with pytest.raises(MapError, match="found the unit 'K'; expected mag, or one that converts to it, for ebv"):
        described(path, column=None, hdu=0, quantity="ebv")


@pytest.mark.parametrize("order", [("PIXEL", "TAU"), ("TAU", "PIXEL")])
@pytest.mark.parametrize(
    "header", [{}, {"INDXSCHM": None}, {"INDXSCHM": None, "OBJECT": "PARTIAL"}, {"OBJECT": "PARTIAL", "COORDSYS": "G"}]
)
@pytest.mark.parametrize("name", ["PIXEL", "pixel", "IPIX", "pix"])
def test_pixel_numbers_in_any_column(tmp_path, order, header, name):
    found = described(explicit(tmp_path / "map.fits", order, name=name, **header))
    np.testing.assert_array_equal(np.flatnonzero(found != hp.UNSEEN), [2, 5, 9])
    np.testing.assert_array_equal(found[[2, 5, 9]], [20.0, 50.0, 90.0])


def test_all_pixels_by_number_need_no_nside(tmp_path):
    """A table whose rows are in any order."""
    pixels = np.random.default_rng(1).permutation(PIXELS)
    found = described(explicit(tmp_path / "map.fits", pixels=pixels, NSIDE=None, INDXSCHM=None))
    np.testing.assert_array_equal(found, 10.0 * np.arange(PIXELS))


def test_part_of_the_pixels_in_order(tmp_path, sphere):
    hdu = fits.BinTableHDU.from_columns([fits.Column("TAU", "D", array=sphere[100:350])])
    hdu.header.update({"NSIDE": NSIDE, "INDXSCHM": "IMPLICIT", "FIRSTPIX": 100, "LASTPIX": 349})
    hdu.writeto(tmp_path / "map.fits")
    found = described(tmp_path / "map.fits")
    np.testing.assert_array_equal(found[100:350], sphere[100:350])
    assert (np.delete(found, np.s_[100:350]) == hp.UNSEEN).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"NSIDE": None}, "found pixel numbers and NSIDE = None; expected the map's NSIDE"),
        ({"NSIDE": 0}, "found pixel numbers and NSIDE = 0"),
        ({"NSIDE": "many"}, "found pixel numbers and NSIDE = many"),
        ({"pixels": [5, PIXELS, 2]}, f"found pixel {PIXELS}; expected 0 to {PIXELS - 1}"),
        ({"pixels": [5, -1, 2]}, "found pixel -1; expected 0 to"),
        ({"pixels": [5, 2, 2]}, "found a pixel twice"),
        ({"order": ("TAU",), "OBJECT": "PARTIAL"}, "found a pixel|found pixel|holds no pixel numbers"),
    ],
)
def test_pixel_numbers_that_do_not_fit_are_refused(tmp_path, changes, message):
    path = explicit(tmp_path / "map.fits", **({"pixels": [1, 2, 500]} | changes))
    with pytest.raises(MapError, match=rf"^{path}: ({message})"):
        described(path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.3, 0.7, 0.98])
def test_a_cut_map_is_one_message(tmp_path, sphere, part, packed):
    whole = write_map(tmp_path / "whole.fits", sphere).read_bytes()
    body = gzip.compress(whole) if packed else whole
    path = tmp_path / ("map.fits.gz" if packed else "map.fits")
    path.write_bytes(body[: int(part * len(body))])
    with pytest.raises(MapError, match=rf"^{path}: found no (map that can be read|data in HDU)"):
        described(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("garbage", ["head", "data", "page", "nothing"])
def test_a_garbled_map_is_one_message(tmp_path, sphere, garbage):
    path = write_map(tmp_path / "map.fits", sphere)
    with fits.open(path, mode="update") as file:
        file[1].add_checksum()
    body = bytearray(path.read_bytes())
    at = 2880 if garbage == "head" else len(body) // 2
    body[at : at + 400] = np.random.default_rng(1).bytes(400)
    path.write_bytes({"page": b"<html>Not found</html>", "nothing": b""}.get(garbage, bytes(body)))
    with pytest.raises(
        MapError, match=rf"^{path}: found (no map that can be read|no data in HDU|data that do not fit)"
    ):
        described(path)


# --- tiles

TILES = Tiles.cover((350, 370), (-10, 10), 5)


def test_the_mean_of_a_constant_is_the_constant():
    found = planck.tile_means(np.full(hp.nside2npix(64), 3.7), TILES, "galactic")
    assert found.shape == TILES.shape
    np.testing.assert_allclose(found, 3.7, rtol=1e-12)


def unit_vector_means(tiles: Tiles) -> np.ndarray:
    """Means over l and b of the components of the unit vector, shape (3, l, b)."""
    l, b = np.radians(tiles.l_edges), np.radians(tiles.b_edges)
    sin_l, cos_l = np.diff(-np.cos(l)) / np.diff(l), np.diff(np.sin(l)) / np.diff(l)
    sin_b, cos_b = np.diff(-np.cos(b)) / np.diff(b), np.diff(np.sin(b)) / np.diff(b)
    ones = np.ones_like(sin_l)
    return np.stack([np.outer(cos_l, cos_b), np.outer(sin_l, cos_b), np.outer(ones, sin_b)])


@pytest.mark.parametrize("component", [0, 1, 2])
def test_the_mean_of_a_linear_map(component):
    values = hp.pix2vec(64, np.arange(hp.nside2npix(64)))[component]
    found = planck.tile_means(values, TILES, "galactic")
    np.testing.assert_allclose(found, unit_vector_means(TILES)[component], atol=3e-4)


@pytest.mark.parametrize("component", [0, 1, 2])
@pytest.mark.parametrize("frame", ["icrs", "fk5"])
def test_maps_in_other_frames(component, frame):
    l, b = [(0, 0), (90, 0), (0, 90)][component]
    axis = SkyCoord(l, b, unit="deg", frame="galactic").transform_to(frame).cartesian.xyz.value
    values = axis @ np.stack(hp.pix2vec(64, np.arange(hp.nside2npix(64))))
    found = planck.tile_means(values, TILES, frame)
    np.testing.assert_allclose(found, unit_vector_means(TILES)[component], atol=3e-4)
    assert np.abs(planck.tile_means(values, TILES, "galactic") - found).max() > 0.1


def test_tiles_with_a_gap_have_no_mean():
    values = np.full(hp.nside2npix(64), 2.0)
    values[hp.query_disc(64, hp.ang2vec(352.5, -7.5, lonlat=True), np.radians(1.0))] = hp.UNSEEN
    found = planck.tile_means(values, TILES, "galactic")
    expected = np.full(TILES.shape, 2.0)
    expected[0, 0] = np.nan
    np.testing.assert_allclose(found, expected)


def test_maps_in_units_of_extinction():
    # E(B-V) = 1.49e4 tau353: Planck 2013 results XI
    np.testing.assert_allclose(planck.to_extinction(np.array([1e-5, np.nan]), "tau353", 3.1), [0.4619, np.nan])
    np.testing.assert_allclose(planck.to_extinction(np.array([1.0]), "ebv", 3.1), [3.1])
    np.testing.assert_allclose(planck.to_extinction(np.array([1.0]), "av", 3.1), [1.0])


def test_extinction_and_its_error_are_taken_where_stars_end_or_at_a_distance():
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    extinction = np.array([[1.0, 2.0, 4.0]] * 3)
    error = np.array([[0.3, 0.2, 0.5]] * 3)
    far = np.array([2.0, 0.0, np.nan])
    np.testing.assert_array_equal(planck.total(extinction, far, edges), [2.0, np.nan, np.nan])
    np.testing.assert_array_equal(planck.total(error, far, edges), [0.2, np.nan, np.nan])
    np.testing.assert_array_equal(planck.total(extinction, far, edges, 3.0), [4.0, 4.0, np.nan])


def test_the_difference_from_a_healpix_map_has_its_scores(tmp_path, config):
    """Tiles of 0.5 mag more than a map, all with an error of 0.25 mag, and one that was not observed."""
    tiles = Tiles.cover((281, 287), (-2, 2), 1)
    sphere = np.random.default_rng(5).uniform(0.3, 2.0, PIXELS)
    mean = np.stack([np.ones(tiles.shape), 3.1 * planck.tile_means(sphere, tiles, "galactic") + 0.5], axis=-1)
    mean[0, 0] = np.nan
    more = {"distance_max": np.where(np.isnan(mean[..., 0]), np.nan, 2.0)}
    more |= {"extinction_sd": np.full(mean.shape, 0.25), "quality": np.isnan(mean[..., 0]).astype("u1")}
    cube = cube_of(tiles, np.array([0.0, 1.0, 2.0]), mean[None], **more)
    cube.to_netcdf(tmp_path / "cube.nc")
    hp.write_map(tmp_path / "map.fits", sphere, column_names=["EBV"], dtype=np.float64)
    known = {"name": "flat", "path": "map.fits", "quantity": "ebv", "ordering": "ring", "frame": "galactic"}
    config["compare"] = {"planck": [known | {"column": "EBV"}]}
    names = {"cube": "cube.nc", "map": "map.fits", "comparison": "flat.nc", "metrics": "flat.json"}
    words = ["--settings", read_settings(config).for_stage("compare_planck"), "--seed=1", "--name=flat"]
    assert main(["compare_planck", *words, *(f"--{name}={tmp_path / file}" for name, file in names.items())]) == 0
    found = json.loads((tmp_path / "flat.json").read_text())["planck"]["flat"]
    assert found["n"] == 23
    assert found["bias_mag"] == pytest.approx(0.5)
    assert found["difference_scatter_mag"] == pytest.approx(0.0, abs=1e-9)
    assert found["chi2"] == pytest.approx(0.5**2 / 0.25**2)
    with xr.open_dataset(tmp_path / "flat.nc") as maps:
        difference = maps["difference"].to_numpy()
        np.testing.assert_allclose(difference[np.isfinite(mean[..., 0])], 0.5)
        assert np.isnan(difference[0, 0])


# --- beams


def test_a_beam_spreads_a_point_to_its_width():
    nside, fwhm = 512, 1.0
    pixels = hp.query_disc(nside, hp.ang2vec(10, 5, lonlat=True), np.radians(2.0))
    vectors = np.stack(hp.pix2vec(nside, pixels), axis=1)
    middle = int(np.argmax(vectors @ hp.ang2vec(10, 5, lonlat=True)))
    point = np.zeros(len(pixels))
    point[middle] = 1.0
    spread = through_beam(nside, pixels, point, fwhm)
    separation = np.degrees(2 * np.arcsin(0.5 * np.linalg.norm(vectors - vectors[middle], axis=1)))
    near = np.abs(separation - fwhm / 2) < 0.02
    assert near.any()
    np.testing.assert_allclose(spread[near] / spread.max(), 0.5, atol=0.05)


def test_a_beam_keeps_a_constant():
    pixels = hp.query_disc(128, hp.ang2vec(200, -60, lonlat=True), np.radians(3.0))
    np.testing.assert_allclose(through_beam(128, pixels, np.full(len(pixels), 4.0), 2.0), 4.0)
