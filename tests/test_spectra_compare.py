"""A_K of stars beside a cube."""

import astropy.units as u
import healpy as hp
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from astropy.coordinates import SkyCoord
from test_query import uniform

from galcarto.core.errors import UserError
from galcarto.core.sky import Tiles
from galcarto.spectra.compare import compare, places


@pytest.fixture(scope="module")
def globe() -> xr.Dataset:
    return uniform(Tiles.cover((0, 360), (-90, 90), 30), np.array([0.0, 0.5, 1.0, 3.0]))


def test_the_digits_of_a_source_id_are_its_place() -> None:
    """Of Gaia DR3 4472832130942575872, Barnard's Star: 269.45, 4.74 deg, less its proper motion of some years."""
    ra, dec = places(np.array(["4472832130942575872"]))
    assert ra[0] == pytest.approx(269.45, abs=0.02)
    assert dec[0] == pytest.approx(4.74, abs=0.06)
    with pytest.raises(UserError, match="found 2M00 "):
        places(np.array(["2M00 "]))


def test_slope_offset_and_scatter_are_found(globe: xr.Dataset, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, hp.nside2npix(4096), 1500)
    ids = [str(pixel << 35) for pixel in pixels]
    ra, dec = places(np.array(ids))
    distance = rng.uniform(0.1, 2.9, 1500)
    where = SkyCoord(ra * u.deg, dec * u.deg, distance=distance * u.kpc).galactic
    a_k = 0.05 + 1.2 * globe.dust.query(where, band="Ks").to_value(u.mag) + 0.02 * rng.standard_normal(1500)
    labels = pd.DataFrame({"id": ids, "a_k": a_k, "quality": np.zeros(1500, "u1")})
    labels.loc[:99, "a_k"], labels.loc[:99, "quality"] = 5.0, 2  # unlike the training stars: left out
    distance[100:150] = np.nan
    found = compare(labels, distance, globe, 1)
    assert found["stars"] == 1350
    assert found["slope"] == pytest.approx(1.2, abs=0.03)
    assert found["offset"] == pytest.approx(0.05, abs=0.005)
    assert found["scatter"] == pytest.approx(0.02, rel=0.1)
    with pytest.raises(UserError, match="found 0 of 1500 stars"):
        compare(labels, np.full(1500, np.nan), globe, 1)
