"""Mock observations of the synthetic sky: stars behind known dust, its true extinction, and a Planck-like map."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import healpy as hp
import numpy as np
import pandas as pd
from tqdm import tqdm

from galcarto.core.seeds import generator
from galcarto.core.sky import Tiles
from galcarto.dust.law import band_extinction
from galcarto.dust.synthetic import SyntheticDust, through_beam
from galcarto.dustmap.instrument import TYPICAL_COLOUR, star_model, survey_of, wavelengths
from galcarto.dustmap.settings import Dust, GalaxySettings, Sky, SurveySettings, SyntheticSky
from galcarto.galaxy import field
from galcarto.galaxy.synthesis import BANDS

EDGE = 20.0  # kpc: distance beyond which the synthetic disc has negligible dust
STEP = 0.25  # kpc: distance bins between the last edge of the map and EDGE
BORDER = 2.0  # pixels around the window in the Planck-like map
MAP = {"pixels_per_tile", "planck_nside", "planck_beam", "planck_noise"}  # settings that are not of the dust


@dataclass(frozen=True)
class DustGrid:
    """Dust in front of the window, tabulated on pixels finer than the tiles."""

    dust: SyntheticDust
    pixels: Tiles
    per_tile: int  # pixels along the side of a tile
    edges: np.ndarray  # shape (distance + 1,), kpc
    # float32, shape (l, b, distance), mag: cumulative A_V of each pixel at the outer edge of each bin
    extinction: np.ndarray

    @classmethod
    def draw(cls, sky: Sky, synthetic: SyntheticSky, tile: float, edges: np.ndarray, seed: int) -> "DustGrid":
        """Draw the dust and integrate it along every pixel.

        Parameters
        ----------
        sky, synthetic
            Settings.
        tile : float, deg
            Side of a tile.
        edges : ndarray, shape (distance + 1,), kpc
            Of the map; the bins go on to `EDGE`.
        seed : int
        """
        rng = generator(seed, "observe_synthetic", "dust")
        dust = SyntheticDust.draw(rng, (sky.l, sky.b), **synthetic.model_dump(exclude=MAP))
        full = np.append(edges, np.arange(edges[-1] + STEP, max(EDGE, edges[-1]) + STEP, STEP))
        pixels = Tiles.cover(sky.l, sky.b, tile / synthetic.pixels_per_tile)
        extinction = np.zeros((*pixels.shape, len(full) - 1), np.float32)
        for i in tqdm(range(pixels.shape[0]), desc="dust", unit="column", mininterval=5):
            extinction[i] = dust.extinction(np.full(pixels.shape[1], pixels.l[i]), pixels.b, full)
        return cls(dust, pixels, synthetic.pixels_per_tile, full, extinction)

    def truth(self, bins: int) -> np.ndarray:
        """Mean extinction of the tiles in the first distance bins, shape (l, b, distance), mag."""
        values = self.extinction[..., :bins].astype(float)
        columns, rows = (size // self.per_tile for size in self.pixels.shape)
        return values.reshape(columns, self.per_tile, rows, self.per_tile, -1).mean(axis=(1, 3))

    def in_front(self, stars: pd.DataFrame) -> np.ndarray:
        """A_V in front of stars, linear between the edges; NaN outside the window. Shape (star,), mag."""
        pixels, edges = self.pixels, self.edges
        i = np.floor((stars["l"].to_numpy() - pixels.l_edges[0]) % 360.0 / np.diff(pixels.l_edges[:2])[0]).astype(int)
        j = np.floor((stars["b"].to_numpy() - pixels.b_edges[0]) / np.diff(pixels.b_edges[:2])[0]).astype(int)
        inside = (i < pixels.shape[0]) & (j >= 0) & (j < pixels.shape[1])
        i, j = i[inside], j[inside]
        distance = np.minimum(stars["distance"].to_numpy()[inside], edges[-1])
        far = np.clip(np.searchsorted(edges, distance), 1, len(edges) - 1)
        before = np.where(far > 1, self.extinction[i, j, far - 2], 0.0)
        part = (distance - edges[far - 1]) / (edges[far] - edges[far - 1])
        result = np.full(len(stars), np.nan)
        result[inside] = before + part * (self.extinction[i, j, far - 1] - before)
        return result

    def planck(self, sky: Sky, synthetic: SyntheticSky, r_v: float, seed: int) -> np.ndarray:
        """E(B-V) of the whole line of sight through a beam and with noise, on a HEALPix sphere, mag."""
        nside = synthetic.planck_nside
        l, b = hp.pix2ang(nside, np.arange(hp.nside2npix(nside)), lonlat=True)
        border = BORDER * np.degrees(hp.nside2resol(nside))
        along = border / np.cos(np.radians(max(map(abs, sky.b))))
        turn = (l - sky.l[0] + along) % 360.0
        near = (turn < sky.l[1] - sky.l[0] + 2 * along) & (b > sky.b[0] - border) & (b < sky.b[1] + border)
        pixels = np.flatnonzero(near)
        total = self.dust.extinction(l[pixels], b[pixels], np.array([0.0, EDGE]))[:, 0]
        rng = generator(seed, "observe_synthetic", "planck")
        seen = through_beam(nside, pixels, total, synthetic.planck_beam)
        seen += synthetic.planck_noise * rng.standard_normal(len(pixels))
        sphere = np.full(hp.nside2npix(nside), hp.UNSEEN)
        sphere[pixels] = seen / r_v
        return sphere


def observe(
    dust: DustGrid,
    sky: Sky,
    galaxy: GalaxySettings,
    law: Dust,
    surveys: Sequence[SurveySettings],
    seed: int,
) -> Iterator[pd.DataFrame]:
    """Draw the stars of the window and observe them, chunk by chunk.

    Parameters
    ----------
    dust : DustGrid
    sky, galaxy, law, surveys
        Settings.
    seed : int

    Yields
    ------
    DataFrame
        Position (deg), survey, magnitudes and parallaxes (mas) with errors; one row per star and survey.
    """
    model = star_model(galaxy, surveys)
    for cell in tqdm(field.cells(sky.l, sky.b), desc="stars", unit="cell", mininterval=5):
        rng = generator(seed, "observe_synthetic", str(cell))
        for stars in field.stars(model, cell, seed):
            extinction = dust.in_front(stars)
            yield pd.concat([_observe(stars, extinction, survey, law, rng) for survey in surveys])


def _observe(
    stars: pd.DataFrame,
    extinction: np.ndarray,
    survey: SurveySettings,
    law: Dust,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Stars of the window that one survey detects."""
    stars, extinction = stars[np.isfinite(extinction)], extinction[np.isfinite(extinction)]
    instrument = survey_of(survey)
    bare = {name: stars[name].to_numpy() for name in stars if name in BANDS}
    reddening = star_extinction(survey, law, bare, extinction)
    true = {band: bare[band] + reddening[band] for band in survey.limits}
    measured, errors, seen = instrument.observe(true, survey.limits, survey.bright, rng)
    frame = pd.DataFrame({"l": stars["l"].to_numpy(), "b": stars["b"].to_numpy(), "survey": survey.name})
    for band in survey.limits:
        frame[band] = measured[band].astype("f4")
        frame[f"{band}_error"] = errors[band].astype("f4")
    if survey.parallax is not None:
        assert instrument.parallax is not None
        error = instrument.parallax.error(true[survey.magnitude.bands[0]])
        noise = error * rng.standard_normal(len(frame))
        frame["parallax"] = (1.0 / stars["distance"].to_numpy() + noise).astype("f4")
        frame["parallax_error"] = error.astype("f4")
    return frame[seen]


def star_extinction(
    survey: SurveySettings, dust: Dust, stars: Mapping[str, np.ndarray], extinction: np.ndarray
) -> dict[str, np.ndarray]:
    """Extinction of stars in the bands of a survey that have limits, shape (star,), mag.

    Parameters
    ----------
    survey, dust
        Settings.
    stars : mapping of str to ndarray, shape (star,), mag
        With BP and RP if the survey is Gaia.
    extinction : ndarray, shape (star,), mag
        A_V.
    """
    waves = {band: wave for band, wave in wavelengths(survey).items() if band in survey.limits}
    colour = stars["BP"] - stars["RP"] if "BP" in stars else np.array(TYPICAL_COLOUR)
    found = band_extinction(dust.law, dust.r_v, waves, colour, extinction)
    return {band: found[..., i] for i, band in enumerate(waves)}
