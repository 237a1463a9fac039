"""What any survey is to the forward model: bands, errors and detection as functions of magnitude."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Band:
    """One band of a survey.

    Attributes
    ----------
    wavelength : float, micrometre
        Effective wavelength.
    floor : float, mag
        Photometric error of bright stars.
    ten_sigma : float, mag
        Magnitude at which the background alone gives a signal-to-noise ratio of ten.
    half : float, mag
        Magnitude at which half of the stars are found.
    width : float, mag
        Scale of the logistic decline of the share that is found.
    """

    wavelength: float
    floor: float
    ten_sigma: float
    half: float
    width: float

    def error(self, magnitude: np.ndarray) -> np.ndarray:
        """Standard deviation of the measured magnitude, mag.

        The background's error grows as 1/flux and adds in quadrature to the floor.
        """
        background = 0.1 * 2.5 / np.log(10) * 10.0 ** (0.4 * (np.asarray(magnitude) - self.ten_sigma))
        return np.hypot(self.floor, background)

    def completeness(self, magnitude: np.ndarray) -> np.ndarray:
        """Share of the stars of true `magnitude` that the survey finds in this band."""
        argument = np.clip((np.asarray(magnitude) - self.half) / self.width, -50.0, 50.0)
        return 1.0 / (1.0 + np.exp(argument))


@dataclass(frozen=True)
class Survey:
    """A photometric survey.

    Attributes
    ----------
    name : str
    title : str
        For people.
    bands : dict of str to Band
    parallax : Band, optional
        The error of parallaxes, mas, against the magnitude; none where the survey has no parallaxes.
    """

    name: str
    title: str
    bands: dict[str, Band]
    parallax: Band | None = None

    def observe(
        self,
        magnitudes: dict[str, np.ndarray],
        limits: dict[str, float],
        bright: float,
        rng: np.random.Generator,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
        """Measure stars.

        Parameters
        ----------
        magnitudes : dict of ndarray, shape (star,), mag
            True apparent magnitudes of the bands in `limits`.
        limits : dict of float, mag
            Faint limit of the measured magnitude in each band.
        bright : float, mag
            Bright (saturation) limit in every band.
        rng : numpy Generator

        Returns
        -------
        measured, errors : dict of ndarray, shape (star,), mag
        seen : ndarray of bool, shape (star,)
            Found in all bands and within the limits.
        """
        measured, errors = {}, {}
        seen = np.ones(len(next(iter(magnitudes.values()))), bool)
        for band, limit in limits.items():
            true = magnitudes[band]
            errors[band] = self.bands[band].error(true)
            measured[band] = true + errors[band] * rng.standard_normal(len(true))
            seen &= rng.random(len(true)) < self.bands[band].completeness(true)
            seen &= (measured[band] < limit) & (measured[band] >= bright)
        return measured, errors, seen
