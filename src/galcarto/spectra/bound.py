"""The best that any unbiased estimate from a spectrum can do, and which pixels tell of an element."""

import numpy as np


def cramer_rao(derivatives: np.ndarray, error: np.ndarray, nuisance: np.ndarray | None = None) -> np.ndarray:
    """Cramér-Rao bound: the least standard deviation of each label, all being fitted at once, shape (label,).

    The Fisher matrix of independent normal errors is the sum over pixels of d_i d_j / error^2; the bound is the root of
    the diagonal of its inverse (Ting et al. 2017, arXiv:1708.01758, section 2).

    Parameters
    ----------
    derivatives : ndarray, shape (label, pixel)
        Of the flux by each label.
    error : ndarray, shape (pixel,)
        Standard errors of the flux; infinite where a pixel is masked.
    nuisance : ndarray, shape (number, pixel), optional
        Derivatives of the flux by what is fitted along, such as the continuum's polynomials times the flux.
    """
    rows = derivatives if nuisance is None else np.concatenate([derivatives, nuisance])
    weighted = np.asarray(rows, float) / error
    # each row to unit length: temperatures in K and abundances in dex differ by orders of magnitude
    length = np.linalg.norm(weighted, axis=1)
    unit = weighted / length[:, None]
    inverse = np.linalg.inv(unit @ unit.T)
    return np.sqrt(np.diag(inverse))[: len(derivatives)] / length[: len(derivatives)]


def element_mask(derivative: np.ndarray, share: float = 0.9) -> np.ndarray:
    """Fewest pixels that hold a share of what a spectrum tells of one label, bool, shape (pixel,).

    Parameters
    ----------
    derivative : ndarray, shape (star, pixel)
        Of the flux by the label, over the flux's error, at several stars.
    share : float
        Of the sum of squares, which is the information on the label if all others are known.
    """
    told = (derivative.astype(float) ** 2).sum(axis=0)
    order = np.argsort(-told)
    number = int(np.searchsorted(np.cumsum(told[order]), share * told.sum())) + 1
    mask = np.zeros(len(told), bool)
    mask[order[:number]] = True
    return mask
