"""From the outputs at pixels to absorbers: votes, peaks, column densities, probabilities."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.special import ndtri
from tqdm import tqdm

from galcarto.absorbers import networks
from galcarto.absorbers.lines import LIGHT, LYMAN_ALPHA, LYMAN_BETA
from galcarto.absorbers.networks import NEAR, read_outputs
from galcarto.absorbers.scores import BRIGHT
from galcarto.absorbers.sightlines import LATTICE, PIXELS, Sightlines, arrays
from galcarto.absorbers.sightlines import NEAR as NEAR_QUASAR
from galcarto.learning.calibration import Calibration
from galcarto.learning.trained import Trained

BATCH = 128  # sightlines that the network sees at once
PART = 1000  # sightlines whose outputs are in memory at once
SMOOTH = 3.0  # pixels: width of a vote
APART = 14.0  # pixels, 970 km/s, between two absorbers at least
LEAST_SCORE = 0.02  # share of the pixels within `NEAR` of a centre that vote for it
EDGE = 15.0  # pixels to the end of the data within which an absorber is flagged
ECHO = 600.0  # km/s between an absorber and the Lyman-beta line of another
ECHO_COLUMN = 0.7  # by which the lg N of an echo is lower at least
PIXEL = LIGHT * np.log(10) * LATTICE  # km/s
# quantiles of a normal distribution, which calibration moves
RANKS = (np.arange(199) + 1.0) / 200.0
QUANTILES = {"025": 0.025, "16": 0.16, "50": 0.5, "84": 0.84, "975": 0.975}
NEAR_EDGE, NEAR_THE_QUASAR, OVERLAPPING, ECHO_OF_ANOTHER = 1, 2, 4, 8
FLAGS = {
    NEAR_EDGE: "near_edge",
    NEAR_THE_QUASAR: "near_quasar",
    OVERLAPPING: "overlapping",
    ECHO_OF_ANOTHER: "lyman_beta",
}


def votes(found: Mapping[str, np.ndarray], positions: np.ndarray, searched: np.ndarray) -> np.ndarray:
    """Share of the pixels near a pixel that say an absorber's centre is there, shape (sightline, pixel).

    Parameters
    ----------
    found : mapping
        Of `read_outputs`.
    positions : ndarray, shape (position,)
    searched : ndarray of bool, shape (sightline, pixel)
    """
    weight = np.where(searched[:, positions], found["presence"], 0.0)
    target = np.rint(positions + found["offset"]).astype(int)
    weight = np.where((target >= 0) & (target < PIXELS) & (np.abs(found["offset"]) <= NEAR), weight, 0.0)
    counts = np.zeros(searched.shape)
    rows = np.broadcast_to(np.arange(len(counts))[:, None], target.shape)
    np.add.at(counts, (rows, target.clip(0, PIXELS - 1)), weight)
    # all votes of one centre give 1, whatever the spacing of the positions
    spacing = float(np.median(np.diff(positions)))
    norm = SMOOTH * np.sqrt(2 * np.pi) * spacing / (2 * NEAR + 1)
    # nothing is found outside the data
    return np.where(searched, gaussian_filter1d(counts, SMOOTH, axis=1, mode="constant") * norm, 0.0)


def peaks(curve: np.ndarray) -> np.ndarray:
    """Pixels of the peaks above `LEAST_SCORE`, the highest first, none within `APART` of a higher one."""
    higher = (curve[1:-1] >= curve[:-2]) & (curve[1:-1] > curve[2:]) & (curve[1:-1] > LEAST_SCORE)
    places = np.flatnonzero(higher) + 1
    places = places[np.argsort(-curve[places], kind="stable")]
    kept: list[int] = []
    for place in places:
        if all(abs(place - other) >= APART for other in kept):
            kept.append(int(place))
    return np.array(kept, int)


def candidates(found: Mapping[str, np.ndarray], positions: np.ndarray, sightlines: Sightlines) -> pd.DataFrame:
    """Absorbers before calibration, one row each: sightline, pixel, z, score, log_nhi, their errors, S/N and flags."""
    searched = sightlines.searched()
    curves = votes(found, positions, searched)
    rows = []
    for i, curve in enumerate(curves):
        places = peaks(curve)
        if not len(places):
            continue
        ends = np.flatnonzero(searched[i])[[0, -1]]
        target = positions + found["offset"][i]
        for place in places:
            own = (
                (np.abs(target - place) < 2 * SMOOTH + 2) & (np.abs(positions - place) <= NEAR) & searched[i, positions]
            )
            weight = found["presence"][i][own]
            if not weight.sum() > 0:
                continue
            total = weight / weight.sum()
            column = total @ found["log_nhi"][i][own]
            centre = total @ target[own]
            flag = NEAR_EDGE * (min(place - ends[0], ends[1] - place) < EDGE)
            flag |= OVERLAPPING * bool(np.any(np.abs(places[places != place] - place) < 2 * NEAR))
            sd = total @ found["offset_sd"][i][own], total @ found["log_nhi_sd"][i][own]
            rows.append((i, centre, curve[place], column, *sd, flag))
    names = ["sightline", "pixel", "score", "log_nhi", "pixel_sd", "log_nhi_sd", "flag"]
    table = pd.DataFrame(rows, columns=names).astype({"sightline": int, "flag": int})
    table["z"] = sightlines.redshift_of(table["pixel"].to_numpy(float), table["sightline"].to_numpy())
    table["snr"] = sightlines.snr()[table["sightline"]]
    quasar = sightlines.redshift[table["sightline"]]
    near = (1 + table["z"]) / (1 + quasar) > 1 - NEAR_QUASAR / LIGHT
    table["flag"] |= np.where(near, NEAR_THE_QUASAR, 0) | np.where(_echoes(table), ECHO_OF_ANOTHER, 0)
    return table


def _echoes(table: pd.DataFrame) -> np.ndarray:
    """Which candidates are the Lyman-beta lines of thicker absorbers of their sightline."""
    echo = np.zeros(len(table), bool)
    ratio = LYMAN_BETA.wavelength / LYMAN_ALPHA.wavelength
    for _, group in table.groupby("sightline"):
        z, column = 1 + group["z"].to_numpy(), group["log_nhi"].to_numpy()
        velocity = LIGHT * np.abs(z[:, None] / (z * ratio) - 1)
        thicker = column[:, None] < column - ECHO_COLUMN
        echo[group.index] = ((velocity < ECHO) & thicker).any(axis=1)
    return echo


@dataclass(frozen=True)
class AbsorberTrained(Trained):
    """A trained finder with its calibration, and the completeness that was measured with it."""

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a network of this task; raises `UserError` if it is none."""
        return cls.read(path, networks.build)

    @property
    def finder(self) -> networks.Finder:
        return self.estimator  # type: ignore[return-value]

    def number(self, name: str) -> np.ndarray:
        """What the file keeps under a name."""
        return self.extra[name].numpy()

    def look(self, sightlines: Sightlines) -> tuple[dict[str, np.ndarray], torch.Tensor]:
        """The network's outputs, as `read_outputs` has them, and features of the sightlines."""
        values = [torch.from_numpy(part) for part in arrays(sightlines)]

        def batch(at: int) -> Callable[[torch.device], torch.Tensor]:
            return lambda device: self.estimator.inputs([part[at : at + BATCH].to(device) for part in values])

        outputs, features = self.outputs(batch(at) for at in range(0, len(sightlines), BATCH))
        return read_outputs(self.finder, outputs.cpu()), features

    def candidates(self, sightlines: Sightlines) -> tuple[pd.DataFrame, torch.Tensor]:
        """Absorbers before calibration (see `candidates`), and features, in bounded memory."""
        positions = self.finder.positions.cpu().numpy()
        tables, features = [], []
        for start in tqdm(range(0, len(sightlines), PART), unit="part", mininterval=5, delay=10):
            part = sightlines[start : start + PART]
            found, seen = self.look(part)
            table = candidates(found, positions, part)
            tables.append(table.assign(sightline=table["sightline"] + start))
            features.append(seen)
        return pd.concat(tables, ignore_index=True), torch.cat(features)

    def find(self, sightlines: Sightlines) -> tuple[pd.DataFrame, np.ndarray]:
        """Absorbers with calibrated errors and probabilities, and how far each sightline is from those of the training.

        Returns
        -------
        absorbers : DataFrame
            See `candidates`; ``probability``, quantiles of log_nhi and ``z_sd`` beside them.
        score : ndarray, shape (sightline,)
            Share of validation sightlines that are more like the others.
        """
        table, features = self.candidates(sightlines)
        assert self.features is not None
        return self.calibrated(table, sightlines), self.features.score(features).numpy()

    def calibrated(self, table: pd.DataFrame, sightlines: Sightlines) -> pd.DataFrame:
        """Candidates with calibrated probability, redshift, lg N and their errors."""
        table = table.copy()
        table["probability"] = np.interp(table["score"], self.number("score"), self.number("probability"))
        # the thicker absorber explains an echo
        table.loc[(table["flag"] & ECHO_OF_ANOTHER) > 0, "probability"] = 0.0
        samples = normal_samples(table)
        bright = table["snr"].to_numpy() > BRIGHT
        dim = Calibration(self.extra["dim_shift"], self.extra["dim_stretch"])
        for rows, calibration in ((bright, self.calibration), (~bright, dim)):
            samples[rows] = calibration.apply(torch.from_numpy(samples[rows])).sort(dim=1).values.numpy()
        shift, column = samples[..., 0], samples[..., 1]
        for name, rank in QUANTILES.items():
            table[f"log_nhi_{name}"] = column[:, int(np.argmin(np.abs(RANKS - rank)))]
        table["log_nhi"], table["log_nhi_sd"] = column.mean(axis=1), column.std(axis=1)
        table["pixel"] += shift.mean(axis=1)
        table["z"] = sightlines.redshift_of(table["pixel"].to_numpy(float), table["sightline"].to_numpy())
        table["z_sd"] = shift.std(axis=1) * PIXEL / LIGHT * (1 + table["z"])
        return table.drop(columns="pixel_sd")


def normal_samples(table: pd.DataFrame) -> np.ndarray:
    """Quantiles of the pixel, relative to that found, and of lg N, shape (candidate, rank, 2), for calibration."""
    middle = np.stack([np.zeros(len(table)), table["log_nhi"]], axis=1)[:, None]
    spread = table[["pixel_sd", "log_nhi_sd"]].to_numpy(float)[:, None]
    return (middle + spread * ndtri(RANKS)[:, None]).astype("f4")
