"""Rendered examples of one sightline: mock stars behind profiles, each with its own nuisances."""

from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from galcarto.core.seeds import generator
from galcarto.core.sky import sightline_position
from galcarto.dustmap.diagrams.files import write_examples
from galcarto.dustmap.instrument import Instrument
from galcarto.dustmap.settings import CHUNK, Tile

TOGETHER = 0.5  # fraction of the examples of several surveys that all of them see; the others lack one or more


def render(
    path: str | Path,
    stars: str | Path,
    profiles: Iterable[np.ndarray],
    instrument: Instrument,
    tile: Tile,
    attributes: Mapping[str, Any],
    *,
    split: str,
    seed: int,
    first: int = 0,
    references: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Write counts and profiles of the examples, the dust-free reference and the table of detectable stars.

    Parameters
    ----------
    path : path
        File to write.
    stars : path
        From `synthesize_stars`; its name is that of the sightline.
    profiles : iterable of ndarray, shape (profile, distance), mag
        Chunks of `CHUNK` profiles; only the last may have fewer.
    instrument : Instrument
    tile : Tile
    attributes : mapping
        Global attributes.
    split : {'train', 'valid', 'test'}
    seed : int
    first : int
        Number of the first profile. It seeds the random numbers of its chunk, so that examples do not depend on how
        they are divided into files.
    references : (ndarray, ndarray), optional
        `Instrument.references` of the sightline, where they are known.
    """
    model = instrument.forward_model
    name = Path(stars).stem
    # Validation takes the other half of the star list, so that stopping and calibration see stars not trained on.
    halves = generator(seed, "render_cmds", name), split == "valid"
    packed = instrument.read_stars(stars, generator(seed, "render_cmds", split, name), halves)
    l, b = sightline_position(name)
    reference, detectable = references or instrument.references(l, b)
    full = tile.size**2 * np.cos(np.radians(b))
    owners = np.array(model.surveys)

    def blocks():
        for start, extinction in zip(count(first, CHUNK), profiles, strict=False):
            rng = generator(seed, "render_cmds", split, name, str(start))
            # tiles at the edge of the footprint are partly observed
            area = full * rng.uniform(tile.min_area_fraction, 1.0, len(extinction))
            nuisances = instrument.draw_nuisances(rng, len(extinction), packed.populations)
            counts = model.render(packed, extinction, area, rng, nuisances)
            present = _present(rng, len(extinction), len(model.views))
            yield counts * present[:, owners, None, None], extinction, area, present

    write_examples(path, blocks(), reference, detectable, model, attributes)


def _present(rng: np.random.Generator, number: int, surveys: int) -> np.ndarray:
    """Draw which surveys see a tile, shape (number, survey): all of them, or a proper subset that is not empty."""
    subset = rng.integers(1, 2**surveys - 1, size=number) if surveys > 1 else np.ones(number, np.int64)
    subset = np.where(rng.random(number) < TOGETHER, 2**surveys - 1, subset)
    return (subset[:, None] >> np.arange(surveys) & 1).astype(np.uint16)
