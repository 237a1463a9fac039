"""The catalogue: absorbers found in real spectra, and the sightlines that were searched."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table

from galcarto.absorbers.find import FLAGS, AbsorberTrained
from galcarto.absorbers.lines import LIGHT
from galcarto.absorbers.read import NOT_SEARCHED, QUALITY, UNLIKE_TRAINING
from galcarto.absorbers.scores import MATCH, SNR_EDGES
from galcarto.absorbers.sightlines import Sightlines
from galcarto.core.errors import UserError
from galcarto.core.files import PARQUET, Output, whole
from galcarto.core.tables import read_table

UNLIKE = 0.99  # share of the validation sightlines that are more like the others, above which one is flagged
ABSORBERS = {  # columns and their meaning
    "name": "of the spectrum",
    "z": "redshift of the absorber",
    "z_sd": "standard error of z",
    "log_nhi": "lg of the column density of neutral hydrogen in cm-2",
    "log_nhi_sd": "standard error of log_nhi",
    "log_nhi_025": "2.5 % quantile of log_nhi",
    "log_nhi_16": "16 % quantile of log_nhi",
    "log_nhi_50": "median of log_nhi",
    "log_nhi_84": "84 % quantile of log_nhi",
    "log_nhi_975": "97.5 % quantile of log_nhi",
    "probability": "that it is an absorber of log_nhi above 19.5",
    "snr": "S/N of a pixel of the sightline, median between 1041 and 1205 Angstrom at rest",
    "flag": "; ".join(f"{bit} {name}" for bit, name in FLAGS.items()),
    "z_qso": "redshift of the quasar",
    "ra": "deg, ICRS",
    "dec": "deg, ICRS",
}
SIGHTLINES = {
    "name": "of the spectrum",
    "file": "that was read",
    "z_qso": "redshift of the quasar",
    "ra": "deg, ICRS",
    "dec": "deg, ICRS",
    "z_min": "redshift from which it was searched",
    "z_max": "redshift to which it was searched",
    "snr": "S/N of a pixel, median between 1041 and 1205 Angstrom at rest",
    "completeness": "share of damped absorbers that are found in mock sightlines of this S/N",
    "out_of_distribution": "share of the mock sightlines that are more like the others",
    "quality": "; ".join(f"{bit} {name}" for bit, name in QUALITY.items()),
}


def search(
    trained: AbsorberTrained, sightlines: Sightlines, table: pd.DataFrame, threshold: float | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Search sightlines.

    Parameters
    ----------
    trained : AbsorberTrained
    sightlines : Sightlines
    table : DataFrame
        Of `galcarto.absorbers.read.read_sightlines`.
    threshold : float, optional
        Least probability of what is reported.

    Returns
    -------
    absorbers, sightlines : DataFrame
        See `ABSORBERS` and `SIGHTLINES`.
    """
    found, strange = trained.find(sightlines)
    least = float(trained.number("threshold")) if threshold is None else threshold
    found = found[found["probability"] >= least]
    first, last, there = sightlines.ends()
    rows = np.arange(len(sightlines))
    snr = sightlines.snr()
    at = (np.searchsorted(SNR_EDGES, snr, side="right") - 1).clip(0, len(SNR_EDGES) - 2)
    table = table.assign(
        z_min=np.where(there, sightlines.redshift_of(first, rows), np.nan),
        z_max=np.where(there, sightlines.redshift_of(last, rows), np.nan),
        snr=np.where(there, snr, np.nan),
        completeness=np.where(there, trained.number("completeness")[at], np.nan),
        out_of_distribution=np.where(there, strange, np.nan),
    )
    table["quality"] |= np.where(there, np.where(strange > UNLIKE, UNLIKE_TRAINING, 0), NOT_SEARCHED)
    absorbers = found.join(table[["name", "z_qso", "ra", "dec"]], on="sightline")
    return absorbers[list(ABSORBERS)].reset_index(drop=True), table[list(SIGHTLINES)]


def write(path: Output, absorbers: pd.DataFrame, sightlines: pd.DataFrame, attributes: Mapping[str, Any]) -> None:
    """Write the catalogue: NAME.parquet and NAME_sightlines.parquet, or one FITS file with DESI's columns.

    Raises
    ------
    UserError
        If the name ends with neither .parquet nor .fits.
    """
    final = Path(path.final)
    if final.suffix == ".fits":
        write_fits(path, absorbers, sightlines, attributes)
    elif final.suffix == ".parquet":
        beside = Output(str(final.with_name(f"{final.stem}_sightlines.parquet")))
        with whole([beside]):
            write_table(beside, sightlines, SIGHTLINES, attributes)
        write_table(path, absorbers, ABSORBERS, attributes)
    else:
        raise UserError(f"--output: found {final}; expected a name ending with .parquet or .fits")


def write_table(path: Any, frame: pd.DataFrame, meanings: Mapping[str, str], attributes: Mapping[str, Any]) -> None:
    """Write a table to a Parquet file, each column with its meaning."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    fields = [field.with_metadata({"description": meanings[field.name]}) for field in table.schema]
    metadata = {key: value if isinstance(value, str) else json.dumps(value) for key, value in attributes.items()}
    pq.write_table(table.cast(pa.schema(fields, metadata=metadata)), path, **PARQUET)


def write_fits(path: Any, absorbers: pd.DataFrame, sightlines: pd.DataFrame, attributes: Mapping[str, Any]) -> None:
    """One part DLACAT with the columns of DESI's catalogues (Brodzeller et al. 2025), one of the sightlines."""
    number = absorbers.groupby("name").cumcount()
    columns = {
        "TARGETID": target_id(absorbers["name"]),
        "NAME": absorbers["name"].astype(str),
        "DLAID": absorbers["name"].astype(str) + "-" + number.astype(str),
        "RA": absorbers["ra"],
        "DEC": absorbers["dec"],
        "Z_QSO": absorbers["z_qso"],
        "Z_DLA": absorbers["z"],
        "Z_DLA_ERR": absorbers["z_sd"],
        "NHI": absorbers["log_nhi"],
        "NHI_ERR": absorbers["log_nhi_sd"],
        "DLA_CONFIDENCE": absorbers["probability"],
        "SNR_FOREST": absorbers["snr"],
        "DLAFLAG": absorbers["flag"],
    }
    parts = [fits.PrimaryHDU()]
    for title, frame in (("DLACAT", pd.DataFrame(columns)), ("SIGHTLINES", sightlines)):
        table = Table({name: _plain(frame[name]) for name in frame})
        parts.append(fits.table_to_hdu(table))
        parts[-1].name = title
    parts[0].header["SOFTWARE"] = f"galcarto {attributes['galcarto_version']}"
    fits.HDUList(parts).writeto(path, output_verify="exception")


def target_id(names: pd.Series) -> np.ndarray:
    """Numbers of the spectra: plate 10^9 + MJD 10^4 + fiber, as eBOSS makes them; else minus a number of their own."""
    parts = names.astype(str).str.extract(r"^(\d+)-(\d+)-(\d+)$").astype(float)
    sdss = parts[0] * 1e9 + parts[1] * 1e4 + parts[2]
    return np.where(sdss.notna(), sdss.fillna(0), -1.0 - pd.factorize(names)[0]).astype(np.int64)


def _plain(column: pd.Series) -> np.ndarray:
    """A column as FITS takes it."""
    return column.to_numpy().astype("U") if column.dtype.kind not in "fiu" else column.to_numpy()


def compare_known(absorbers: pd.DataFrame, sightlines: pd.DataFrame, catalogue: str | None) -> dict[str, Any]:
    """What real spectra hold, and the catalogued absorbers among it.

    Parameters
    ----------
    absorbers, sightlines : DataFrame
        Of `search`.
    catalogue : str, optional
        Table of plate, mjd, fiber, z_dla and log_nhi.

    Returns
    -------
    dict
        Numbers of spectra; ``absorbers``; ``known``: each catalogued absorber of these spectra, and the one that is
        nearest in redshift; NaN where none is within `MATCH`.
    """
    kept = ["name", "z", "z_sd", "log_nhi", "log_nhi_sd", "probability", "flag"]
    searched = (sightlines["quality"] & NOT_SEARCHED) == 0
    result: dict[str, Any] = {"spectra": len(sightlines), "searched": int(searched.sum())}
    result |= {"absorbers": absorbers[kept].to_dict("records"), "known": []}
    if catalogue is None or not Path(catalogue).is_file():
        return result
    wanted = ["plate", "mjd", "fiber", "z_dla", "log_nhi"]
    known = read_table(catalogue, wanted, "catalogue").to_pandas()
    known["name"] = known[["plate", "mjd", "fiber"]].astype(int).astype(str).agg("-".join, axis=1)
    for row in known[known["name"].isin(sightlines["name"])].itertuples():
        own = absorbers[absorbers["name"] == row.name]
        speed = LIGHT * (own["z"] - row.z_dla).abs() / (1 + row.z_dla)
        nearest = own.loc[speed.idxmin()] if (speed < MATCH).any() else None
        found = {name: np.nan if nearest is None else float(nearest[name]) for name in kept[1:]}
        result["known"].append({"name": row.name, "z_known": row.z_dla, "log_nhi_known": row.log_nhi, **found})
    return result
