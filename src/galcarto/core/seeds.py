"""Random generators, one independent stream per job."""

from zlib import crc32

import numpy as np


def generator(seed: int, *names: str) -> np.random.Generator:
    """Generator of one job from the region's seed and the job's names.

    Example: ``generator(seed, "render_cmds", split, sightline)``.
    """
    key = tuple(crc32(name.encode()) for name in names)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
