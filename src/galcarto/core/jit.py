"""Whether numba can keep what it compiles."""

import logging

import numba


def _cachable() -> bool:
    """Whether numba finds a folder that it can write: beside the code, in the user's cache, or ``NUMBA_CACHE_DIR``."""
    try:
        numba.njit(lambda: None, cache=True)
    except RuntimeError:  # at once, not at the first call; without a cache it compiles in each process
        logging.warning("numba cannot write its cache and compiles anew; set NUMBA_CACHE_DIR to a folder of yours")
        return False
    return True


CACHE = _cachable()
