"""Reading a published cube."""

from pathlib import Path

import xarray as xr

from galcarto.errors import UserError
from galcarto.maps import query as query  # registers cube.dust


def open_cube(path: str | Path) -> xr.Dataset:
    """Open a cube of extinction; values are read when they are used.

    Parameters
    ----------
    path : path
        A ``cube.nc`` written by Galcarto.

    Returns
    -------
    Dataset
        ``extinction(l, b, distance)``: cumulative A_V in mag from the Sun to the outer edge of each
        distance bin; ``extinction_density`` in mag kpc-1; ``*_sd``; ``*_samples``; ``distance_min`` and
        ``distance_max`` in kpc; ``quality`` flags. Coordinates ``l``, ``b`` in degree (galactic) and ``distance``
        in kiloparsec (bin centres), with bounds.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a cube of Galcarto.

    Examples
    --------
    >>> cube = open_cube("results/demo/cube.nc")  # doctest: +SKIP
    >>> cube.extinction.sel(l=284.1, b=0.2, distance=2.0, method="nearest")  # doctest: +SKIP
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: not found; expected a cube.nc: 'snakemake --cores all' makes one")
    try:
        cube = xr.open_dataset(path, engine="netcdf4")
    except OSError as error:
        raise UserError(
            f"{path}: not a netCDF file ({error}); expected a cube of extinction: delete it and run again"
        ) from None
    expected = {"extinction", "extinction_density", "distance_max", "quality"}
    missing = expected - set(cube.variables)
    if missing:
        cube.close()
        raise UserError(f"{path}: found no {', '.join(sorted(missing))}; expected a cube of extinction by Galcarto")
    return cube
