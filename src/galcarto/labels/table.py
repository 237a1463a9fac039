"""Tables of stars with bands or colours, and labels where they are known: reading and cleaning, part by part."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from galcarto.core.seeds import generator
from galcarto.core.sky import to_galactic
from galcarto.core.tables import TableError, column_names, floats, read_parts
from galcarto.core.units import factor
from galcarto.labels.settings import LABELS, Split, StarTable, is_colour
from galcarto.surveys.catalogue import SENTINEL

# values outside are refused: cooler or hotter, poorer or richer than any star of the isochrones or of spectroscopy
RANGES = {"teff": (1500.0, 60_000.0), "feh": (-5.0, 1.0), "logg": (-1.5, 6.5), "giant": (0.0, 1.0)}
COLOUR = 5.0  # mag: beyond it, in absolute value, a colour of a star is a sentinel
USUAL = (-3.0, 5.0)  # mag: a median colour outside is that of a magnitude
BRIGHT = -5.0  # mag: apparent magnitudes below it are sentinels
HASH_BITS = np.uint64(0x9E3779B97F4A7C15)  # golden ratio: spreads the rows' digests over the splits
OFF, FAR_OFF = 1.5, 5.0  # half-widths of the training stars' central 68 %
# bits of the quality of a star's labels
NO_ULTRAVIOLET, UNLIKE_TRAINING, OUTSIDE_RANGE, REFUSED, REPEATED = 1, 2, 4, 8, 16
ULTRAVIOLET = {"u", "u_cfis", "NUV", "v"}  # bands that tell the metallicity most


@dataclass
class Reader:
    """Reads a star table; it counts what it refuses, and knows the stars that it has read."""

    settings: StarTable
    features: list[str]  # bands or colours to read; one without a column is missing for every star
    counts: Counter[str] = field(default_factory=Counter)
    _seen: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))

    def parts(self, rows: int = 500_000) -> Iterator[pd.DataFrame]:
        """Cleaned parts of the table.

        Yields
        ------
        DataFrame
            ``l``, ``b`` (deg), each feature and label with ``_error``, NaN where missing; ``refused`` and ``repeated``,
            bool; ``key``, a digest of the star's photometry; ``id`` and ``distance`` (kpc), if named.

        Raises
        ------
        TableError
            If the file cannot be read, is empty, or a column holds something else than its name says.
        """
        path, columns = self.settings.path, self.settings.columns
        empty = True
        there = set(column_names(path, "columns"))
        wanted = {ours: theirs for ours, theirs in columns.items() if ours not in self.features or theirs in there}
        if not any(name in wanted for name in self.features):
            expected = ", ".join(columns.get(name, name) for name in self.features)
            raise TableError(
                f"{path}: found the columns {', '.join(sorted(there))}; expected at least one of {expected}; name them "
                "in columns"
            )
        lacking = [name for name in self.features if name not in wanted]
        if lacking:
            logging.warning("%s: found no column of %s; every star lacks it", path, ", ".join(lacking))
        for table in read_parts(path, wanted.values(), "columns", rows):
            if len(table) == 0:
                continue
            values = {ours: self._numbers(table[theirs], ours) for ours, theirs in wanted.items() if ours != "id"}
            if empty:
                self._check_colours(values)
            empty = False
            frame = self._clean(values, len(table))
            if "id" in wanted:
                frame["id"] = np.asarray(table[wanted["id"]])
            yield frame
        if empty:
            raise TableError(f"{path}: found no row; expected stars; get the file again")
        for reason, number in self.counts.items():
            if number:
                logging.info("%s: %s", reason, f"{number:,}".replace(",", " "))

    def _numbers(self, column: object, ours: str) -> np.ndarray:
        unit = {"longitude": "deg", "latitude": "deg", "distance": "kpc"} | {
            name: unit if unit != "1" else "" for name, unit in LABELS.items()
        }
        kind = unit.get(ours.removesuffix("_error"), "mag")
        stated = str(getattr(column, "unit", None) or "")
        try:
            # surface gravities and metallicities come with units such as log(cm.s**-2), or dex: all are dex
            scale = 1.0 if kind in ("dex", "") else factor(stated, kind, hours=ours == "longitude")
            return floats(column) * scale
        except (TypeError, ValueError) as error:
            raise TableError(f"{self.settings.path}: column {ours}: {error}; convert it (columns)") from None

    def _check_colours(self, values: Mapping[str, np.ndarray]) -> None:
        """Refuse magnitudes in place of colours, and colours in place of magnitudes."""
        for name in self.features:
            known = values.get(name, np.empty(0))
            known = known[np.isfinite(known) & (np.abs(known) < SENTINEL)]
            if not len(known):
                continue
            middle = float(np.median(known))
            if is_colour(name) and not USUAL[0] < middle < USUAL[1]:
                raise TableError(
                    f"{self.settings.path}: found a median of {middle:.2f} mag in the column of {name}; expected a "
                    f"colour of {USUAL[0]:g} to {USUAL[1]:g} mag, of two bands; name bands, or subtract them"
                )
            if not is_colour(name) and abs(middle) < 3.0 and float(np.percentile(known, 99)) < COLOUR:
                raise TableError(
                    f"{self.settings.path}: found a median of {middle:.2f} mag in the column of {name}; expected "
                    "apparent magnitudes; name colours as such, for example u-g"
                )

    def _clean(self, values: dict[str, np.ndarray], number: int) -> pd.DataFrame:
        """Columns of one part, with what cannot be used set to NaN and counted."""
        frame = pd.DataFrame(index=range(number))
        self.counts["rows"] += number
        frame["l"], frame["b"] = self._positions(values, number)
        refused = np.zeros(number, bool)
        nothing = np.full(number, np.nan)
        for name in self.features:
            value, error = values.get(name, nothing), values.get(f"{name}_error", nothing)
            with np.errstate(invalid="ignore"):
                sentinel = np.isfinite(value) & (np.abs(value) >= (COLOUR if is_colour(name) else SENTINEL))
                if not is_colour(name):
                    sentinel |= value < BRIGHT
                unmeasured = np.isfinite(value) & ~sentinel & (f"{name}_error" in values)
                unmeasured &= ~((error > 0) & (error < SENTINEL))
            self.counts[f"{name}: a sentinel"] += int(sentinel.sum())
            self.counts[f"{name}: no error above zero, so an upper limit"] += int(unmeasured.sum())
            refused |= sentinel | unmeasured
            good = np.isfinite(value) & ~sentinel & ~unmeasured
            frame[name] = np.where(good, value, np.nan).astype("f4")
            frame[f"{name}_error"] = np.where(good, error, np.nan).astype("f4")
        for label in LABELS:
            value, error = values.get(label, nothing), values.get(f"{label}_error", nothing)
            with np.errstate(invalid="ignore"):
                outside = np.isfinite(value) & ~((value >= RANGES[label][0]) & (value <= RANGES[label][1]))
                error = np.where((error > 0) & (error < 1e4), error, np.nan)
            low, high = RANGES[label]
            self.counts[f"{label}: outside {low:g} to {high:g}, so missing"] += int(outside.sum())
            frame[label] = np.where(outside, np.nan, value).astype("f4")
            frame[f"{label}_error"] = np.where(np.isfinite(frame[label]), error, np.nan).astype("f4")
        if "distance" in values:
            frame["distance"] = np.where(values["distance"] > 0, values["distance"], np.nan)
        bare = ~np.isfinite(frame[self.features].to_numpy()).any(axis=1)
        self.counts["stars without any band"] += int(bare.sum())
        frame["refused"] = refused | bare
        frame["key"] = keys_of(frame, self.features)
        frame["repeated"] = self._repeated(frame["key"].to_numpy()) & ~bare
        self.counts["repeated stars"] += int(frame["repeated"].sum())
        return frame

    def _positions(self, values: Mapping[str, np.ndarray], number: int) -> tuple[np.ndarray, np.ndarray]:
        l, b = np.full(number, np.nan), np.full(number, np.nan)
        if {"longitude", "latitude"} <= set(values):
            longitude, latitude = values["longitude"], values["latitude"]
            known = np.isfinite(longitude) & np.isfinite(latitude) & (np.abs(latitude) <= 90)
            l[known], b[known] = to_galactic(longitude[known], latitude[known], self.settings.frame)
            self.counts["position missing"] += int((~known).sum())
        return l, b

    def _repeated(self, keys: np.ndarray) -> np.ndarray:
        """Flag stars whose photometry is, to the last digit, that of an earlier one."""
        place = np.minimum(np.searchsorted(self._seen, keys), max(len(self._seen) - 1, 0))
        before = self._seen[place] == keys if len(self._seen) else np.zeros(len(keys), bool)
        again = before | pd.Series(keys).duplicated().to_numpy()
        # two sorted runs, which a stable sort merges
        self._seen = np.sort(np.concatenate([self._seen, np.sort(keys[~again])]), kind="stable")
        return again


def split_of(keys: np.ndarray, split: Split, seed: int) -> np.ndarray:
    """0 for training, 1 for validation, 2 for test, of shape (star,): the same for all rows of one star."""
    salt = np.uint64(generator(seed, "split").integers(1 << 62))
    mixed = (keys ^ salt) * HASH_BITS
    mixed ^= mixed >> np.uint64(29)
    share = (mixed * HASH_BITS >> np.uint64(11)) / float(1 << 53)
    return np.select([share < split.test, share < split.test + split.valid], [2, 1], 0).astype("i1")


def keys_of(frame: pd.DataFrame, features: Sequence[str]) -> np.ndarray:
    """Digest of each star's photometry, for `split_of`."""
    return pd.util.hash_pandas_object(frame[list(features)].astype("f4"), index=False).to_numpy()


def splits(frame: pd.DataFrame, features: Sequence[str], split: Split, seed: int, number: int) -> np.ndarray:
    """The split of each star, as of `split_of`: each of the trainings has another."""
    return split_of(keys_of(frame, features), split, seed + number)


def check_system(deviations: np.ndarray, features: Sequence[str], path: str) -> None:
    """Warn of a catalogue whose usual star has another colour than the training stars, and refuse one far from them.

    Parameters
    ----------
    deviations : ndarray, shape (star, feature)
        Of `network.LabelEstimator.deviations`.
    features : sequence of str
    path : str

    Raises
    ------
    TableError
        If the median star lies more than `FAR_OFF` widths away in a band or colour.
    """
    for name, column in zip(features, deviations.T, strict=True):
        middle = float(np.median(column[np.isfinite(column)])) if np.isfinite(column).any() else 0.0
        if abs(middle) < OFF:
            continue
        text = (
            f"{path}: found a median {name} that lies {middle:+.1f} times the half-width of the training stars from "
            f"theirs; expected less than {FAR_OFF:g}: is it in the other system (AB, Vega), another band, or not "
            "corrected for dust? Convert it, or name the right column with --columns"
        )
        if abs(middle) > FAR_OFF:
            raise TableError(text)
        logging.warning(text)


def arrays(frame: pd.DataFrame, features: Sequence[str], labels: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Values and errors of features, labels and their errors, each of shape (star, column), Teff in log10 K."""
    values, errors = (frame[[f"{name}{end}" for name in features]].to_numpy("f4") for end in ("", "_error"))
    found, known = (frame[[f"{name}{end}" for name in labels]].to_numpy("f8", copy=True) for end in ("", "_error"))
    if "teff" in labels:
        at = list(labels).index("teff")
        known[:, at] /= found[:, at] * np.log(10.0)
        found[:, at] = np.log10(found[:, at])
    return values, errors, found.astype("f4"), known.astype("f4")
