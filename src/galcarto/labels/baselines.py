"""What a network is compared with: boosted trees and a polynomial, from the same bands or colours."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

DEGREE = 3  # of the polynomial in all colours, after Ivezić et al. 2008 (ApJ 684, 287), whose [Fe/H] is a cubic of two
RIDGE = 1e-6  # of a standard deviation: keeps collinear terms solvable
CLIP = 4.0  # half-widths of the central 68 % beyond which the polynomial does not extrapolate


def colours_of(values: np.ndarray, relative: np.ndarray) -> np.ndarray:
    """Colours of neighbouring bands and the brightness, as trees and polynomials need them, shape (star, feature)."""
    if not relative.any():
        return values
    bands = values[:, relative]
    brightness = bands[:, -1:]
    return np.concatenate([bands[:, :-1] - bands[:, 1:], brightness, values[:, ~relative]], axis=1)


def trees(train: np.ndarray, truth: np.ndarray, test: np.ndarray, seed: int, iterations: int = 300) -> np.ndarray:
    """Predictions of histogram-based boosted trees (Ke et al. 2017), stopped on a tenth of the training stars.

    Parameters
    ----------
    train, test : ndarray, shape (star, feature)
        NaN where missing.
    truth : ndarray, shape (star,)
    seed : int
    iterations : int
        At most.

    Returns
    -------
    ndarray, shape (star,)
    """
    model = HistGradientBoostingRegressor(
        max_iter=iterations,
        learning_rate=0.05,
        max_leaf_nodes=15,
        min_samples_leaf=30,
        l2_regularization=1.0,
        early_stopping=True,
        random_state=seed,
    )
    return model.fit(train, truth).predict(test)


def cubic(train: np.ndarray, truth: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predictions of a least-squares cubic polynomial of all features; a missing one takes the median."""
    middle = np.nanmedian(train, axis=0)
    width = 0.5 * np.subtract(*np.nanpercentile(train, (84, 16), axis=0))

    def terms(values: np.ndarray) -> np.ndarray:
        scaled = np.clip((np.where(np.isfinite(values), values, middle) - middle) / width, -CLIP, CLIP)
        columns = [np.ones(len(scaled))]
        places: list[tuple[int, ...]] = [()]
        for _ in range(DEGREE):
            places = [(*place, at) for place in places for at in range(place[-1] if place else 0, scaled.shape[1])]
            columns += [scaled[:, list(place)].prod(axis=1) for place in places]
        return np.stack(columns, axis=1)

    matrix = terms(train)
    normal = matrix.T @ matrix + RIDGE * len(matrix) * np.eye(matrix.shape[1])
    return terms(test) @ np.linalg.solve(normal, matrix.T @ truth)
