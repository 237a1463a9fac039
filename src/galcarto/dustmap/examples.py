"""The examples of one sightline: its mock stars behind profiles, each with nuisances of its own."""

from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from galcarto.core.seeds import generator
from galcarto.core.sky import sightline_position
from galcarto.dust.settings import Dust
from galcarto.dustmap.diagrams.files import references, write_examples
from galcarto.dustmap.instrument import draw_nuisances, forward_model, integrators, read_stars
from galcarto.dustmap.settings import CHUNK, Realism
from galcarto.galaxy.settings import BackgroundGalaxies, GalaxySettings
from galcarto.maps.settings import Distance, Tile
from galcarto.surveys.settings import SurveySettings

SECTIONS = ("galaxy", "surveys", "pixels", "dust", "distance", "tile", "realism", "galaxies")  # what a set depends on
TOGETHER = 0.5  # share of the examples of several surveys that all of them see; the others lack one or more


def render(
    path: str | Path,
    stars: str | Path,
    profiles: Iterable[np.ndarray],
    found: Mapping[str, Any],
    attributes: Mapping[str, Any],
    *,
    split: str,
    seed: int,
    first: int = 0,
    galaxy: GalaxySettings,
    surveys: list[SurveySettings],
    pixels: int,
    dust: Dust,
    distance: Distance,
    tile: Tile,
    realism: Realism,
    galaxies: BackgroundGalaxies,
) -> None:
    """Write counts and profiles of the examples, the bare reference and the table of detectable stars.

    Parameters
    ----------
    path : path
        File to write.
    stars : path
        From `synthesize_stars`; its name is the sightline's.
    profiles : iterable of ndarray, shape (profile, distance), mag
        `CHUNK` of them at a time; only the last may be fewer.
    found : mapping
        From the control field.
    attributes : mapping
        Global attributes.
    split : {'train', 'valid', 'test'}
    seed : int
    first : int
        Number of the first profile: each chunk has random numbers of its own, by the number of its first, so that
        examples do not depend on the files that they are cut into.
    galaxy, surveys, pixels, dust, distance, tile, realism, galaxies
        Settings.
    """
    model = forward_model(surveys, pixels, dust, distance.edges(), found)
    name = Path(stars).stem
    # Validation takes the other half of the list: it stops and calibrates the training on stars that were not learnt
    # by heart.
    halves = generator(seed, "render_cmds", name), split == "valid"
    own = generator(seed, "render_cmds", split, name)
    packed = read_stars(stars, model, surveys, galaxies, found, own, halves)
    l, b = sightline_position(name)
    reference, detectable = references(model, integrators(model, galaxy, surveys, found), l, b)
    full = tile.size**2 * np.cos(np.radians(b))
    owners = np.array(model.surveys)

    def blocks():
        for start, extinction in zip(count(first, CHUNK), profiles, strict=False):
            rng = generator(seed, "render_cmds", split, name, str(start))
            # tiles at the footprint's edge see part of the area: the network learns that too
            area = full * rng.uniform(tile.min_area_fraction, 1.0, len(extinction))
            nuisances = draw_nuisances(rng, len(extinction), packed.populations, model, dust, realism, found)
            counts = model.render(packed, extinction, area, rng, nuisances)
            present = _present(rng, len(extinction), len(model.views))
            yield counts * present[:, owners, None, None], extinction, area, present

    write_examples(path, blocks(), reference, detectable, model, attributes)


def _present(rng: np.random.Generator, number: int, surveys: int) -> np.ndarray:
    """Which surveys see a tile, shape (number, survey): all of them, or any but not all; never none."""
    subset = rng.integers(1, 2**surveys - 1, size=number) if surveys > 1 else np.ones(number, np.int64)
    subset = np.where(rng.random(number) < TOGETHER, 2**surveys - 1, subset)
    return (subset[:, None] >> np.arange(surveys) & 1).astype(np.uint16)
