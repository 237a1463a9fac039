"""The surveys of a region, their diagrams and their nuisances, built from its settings and its control field."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from galcarto.core.settings import Section, SettingsError
from galcarto.dust.law import band_extinction, coefficients
from galcarto.dustmap.diagrams import nuisances
from galcarto.dustmap.diagrams.forward import LAW_GRID, PARALLAX, ForwardModel, Stars, View
from galcarto.dustmap.diagrams.integration import Integrator
from galcarto.dustmap.diagrams.nuisances import Nuisances, Populations
from galcarto.dustmap.settings import (
    BackgroundGalaxies,
    Distance,
    Dust,
    GalaxySettings,
    Realism,
    SurveySettings,
)
from galcarto.galaxy import background_galaxies
from galcarto.galaxy.components import load
from galcarto.galaxy.synthesis import BANDS, StarModel
from galcarto.surveys import SURVEYS
from galcarto.surveys.survey import Survey

MARGIN = 0.75  # mag: depth of star lists below the limits, as errors scatter fainter stars across them
TYPICAL_COLOUR = 1.0  # mag, BP-RP: a K dwarf
COLOUR_BORDERS = np.linspace(0.0, 2.4, 17)  # mag, BP-RP: borders of the colour classes of the extinction law
R_V_GRID = np.linspace(2.3, 5.6, 34)  # the range of G23
UNSEEN = 99.0  # mag in bands that do not detect a source


@dataclass(frozen=True)
class Corrections:
    """Corrections of the mock Galaxy, measured in the control field; none by default."""

    normalisation: float = 0.0  # ln of the observed over the mock number of stars
    metallicity: float = 0.0  # dex: shift of the metallicities of the stars
    galaxies: float = 0.0  # background galaxies per deg2 and mag at Ks = 14
    # by survey, mag and mag/mag: zero point of the colour at magnitude 13 and its slope with magnitude, and their
    # standard deviations
    colour: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    colour_sd: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path | None) -> "Corrections":
        """Read a file of `measure_control`; no corrections where the region has none."""
        if path is None:
            return cls()
        measured = json.loads(Path(path).read_text())
        surveys = {name: measured[name] for name in SURVEYS if name in measured}
        return cls(
            normalisation=measured["normalisation"],
            metallicity=measured["metallicity"],
            galaxies=measured.get("galaxies", {}).get("density", 0.0),
            colour={name: tuple(part["colour"]) for name, part in surveys.items()},
            colour_sd={name: tuple(part["colour_sd"]) for name, part in surveys.items()},
        )


def survey_of(survey: SurveySettings) -> Survey:
    """Look up the survey that the settings name.

    Raises
    ------
    SettingsError
        If surveys.limits has bands that the survey lacks, or surveys.parallax is set for a survey without parallaxes.
    """
    found = SURVEYS[survey.name]
    unknown = [band for band in survey.limits if band not in found.bands]
    if unknown:
        raise SettingsError(
            f"surveys.limits: found {', '.join(unknown)}; expected bands of {found.title}: {', '.join(found.bands)}"
        )
    if survey.parallax is not None and found.parallax is None:
        raise SettingsError(f"surveys.parallax: {found.title} has none; remove this key")
    return found


def wavelengths(survey: SurveySettings) -> dict[str, float]:
    """Effective wavelength of each band of the survey, micron."""
    return {name: band.wavelength for name, band in survey_of(survey).bands.items()}


def band_coefficients(survey: SurveySettings, dust: Dust) -> dict[str, float]:
    """A_band / A_V in each band of the survey, for a typical star behind 1 mag of A_V."""
    waves = wavelengths(survey)
    found = band_extinction(dust.law, dust.r_v, waves, np.array(TYPICAL_COLOUR), np.array(1.0))
    return dict(zip(waves, found.tolist(), strict=True))


def star_model(galaxy: GalaxySettings, surveys: Sequence[SurveySettings], metallicity: float = 0.0) -> StarModel:
    """The mock Galaxy down to `MARGIN` below the limits, with its metallicities shifted by `metallicity` dex."""
    limits = [{band: limit + MARGIN for band, limit in survey.limits.items()} for survey in surveys]
    bands = [band for survey in surveys for band in survey_of(survey).bands]
    return StarModel(load(galaxy.model).enriched(metallicity), limits, bands=tuple(bands), binaries=galaxy.binaries)


@cache
def _law_by_r_v(law: str, wavelength: float) -> np.ndarray:
    """A_band / A_V at the values of R_V_GRID."""
    return np.array([coefficients(law, r_v, {"band": wavelength})["band"] for r_v in R_V_GRID])


@dataclass(frozen=True)
class Instrument:
    """Forward model of a region: mock Galaxy, surveys, diagrams, nuisances."""

    # settings; the last three may be left out where they are not used
    surveys: Sequence[SurveySettings]
    pixels: int
    dust: Dust
    distance: Distance
    galaxy: GalaxySettings = field(default_factory=GalaxySettings)
    realism: Realism = field(default_factory=Realism)
    galaxies: BackgroundGalaxies = field(default_factory=BackgroundGalaxies)
    corrections: Corrections = field(default_factory=Corrections)  # of the mock Galaxy

    @classmethod
    def of(cls, region: Section, corrections: Corrections | None = None) -> "Instrument":
        """Build from the settings of a region, or from those of a stage."""
        names = {one.name for one in fields(cls)} & set(dict(region))
        return cls(**{name: getattr(region, name) for name in names}, corrections=corrections or Corrections())

    @cached_property
    def edges(self) -> np.ndarray:
        """Edges of the distance bins, shape (distance + 1,), kpc."""
        return self.distance.edges()

    @cached_property
    def views(self) -> list[View]:
        """Limits, diagrams and corrections of each survey."""
        return [
            View(
                survey=survey_of(survey),
                limits=survey.limits,
                bright=survey.bright,
                coefficients=band_coefficients(survey, self.dust),
                magnitude_band=survey.magnitude.bands[0],
                colour_bands=(survey.colour.bands[0], survey.colour.bands[1]),
                magnitude_range=survey.magnitude.range,
                colour_range=survey.colour.range,
                parallax_range=survey.parallax,
                pixels=self.pixels,
                offsets={survey.colour.bands[0]: self.corrections.colour.get(survey.name, (0.0, 0.0))},
                normalisation=float(np.exp(self.corrections.normalisation)),
            )
            for survey in self.surveys
        ]

    @cached_property
    def forward_model(self) -> ForwardModel:
        """From bare stars and profiles to diagrams."""
        borders = COLOUR_BORDERS if any("BP" in survey.limits for survey in self.surveys) else np.empty(0)
        middles = 0.5 * (np.append(COLOUR_BORDERS[0], borders) + np.append(borders, COLOUR_BORDERS[-1]))
        law = []
        for survey in self.surveys:
            waves = wavelengths(survey)
            used = {band: waves[band] for band in survey.limits}
            law.append(band_extinction(self.dust.law, self.dust.r_v, used, middles[:, None], LAW_GRID))
        law_by_class = np.moveaxis(np.concatenate(law, axis=-1), -1, 1)
        return ForwardModel(views=self.views, edges=self.edges, law=law_by_class, colours=borders)

    @cached_property
    def star_model(self) -> StarModel:
        """The corrected mock Galaxy."""
        return star_model(self.galaxy, self.surveys, self.corrections.metallicity)

    @cached_property
    def integrators(self) -> list[Integrator]:
        """Integrals over the mock Galaxy, one for each survey."""
        return [Integrator(self.star_model, view.diagram(), self.edges) for view in self.views]

    @property
    def galaxy_density(self) -> float:
        """Background galaxies per deg2 and mag at Ks = 14: of the settings if stated there, else as measured."""
        return self.corrections.galaxies if self.galaxies.density is None else self.galaxies.density

    def references(self, l: float, b: float) -> tuple[np.ndarray, np.ndarray]:
        """Expected diagrams without dust, and expected detectable stars behind dust.

        Parameters
        ----------
        l, b : float, deg

        Returns
        -------
        reference : ndarray of float32, shape (channel, magnitude, colour), per deg2
            Zero for diagrams of parallaxes.
        detectable : ndarray of float32, shape (survey, distance, grid), per deg2
        """
        model = self.forward_model
        reference = np.zeros((len(model.channels), model.pixels, model.pixels), np.float32)
        for number, integrator in enumerate(self.integrators):
            reference[model.surveys.index(number)] = integrator.image(l, b)
        return reference, np.stack([one.detectable(l, b) for one in self.integrators]).astype(np.float32)

    def many_references(self, l: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected diagrams and detectable stars, as of `references`, in many directions at once.

        Parameters
        ----------
        l, b : ndarray, shape (direction,), deg

        Returns
        -------
        reference : ndarray of float32, shape (direction, channel, magnitude, colour), per deg2
        detectable : ndarray of float32, shape (direction, survey, distance, grid), per deg2
        """
        model = self.forward_model
        contents = np.stack([np.concatenate(self.star_model.content(*at)) for at in zip(l, b, strict=True)])
        reference = np.zeros((len(l), len(model.channels), model.pixels, model.pixels), np.float32)
        for number, integrator in enumerate(self.integrators):
            reference[:, model.surveys.index(number)] = integrator.images(contents)
        detectable = np.stack([one.detectables(contents) for one in self.integrators], axis=1)
        return reference, detectable.astype(np.float32)

    def read_stars(
        self, path: str | Path, rng: np.random.Generator, halves: tuple[np.random.Generator, bool] | None = None
    ) -> Stars:
        """Read the bare stars of a sightline, add background galaxies and pack them for the kernel.

        Parameters
        ----------
        path : path
            From `synthesize_stars`.
        rng : numpy Generator
            Draws the galaxies.
        halves : (numpy Generator, bool), optional
            Splits the list into two random halves; True takes the second. None for the whole list.
        """
        table = pq.read_table(path, page_checksum_verification=True)
        frame, area = table.to_pandas(), float(table.schema.metadata[b"area_deg2"])
        if halves is not None:
            generator, second = halves
            frame, area = frame[(generator.random(len(frame)) < 0.5) != second], area / 2
        populations = Populations.sort(
            frame["component"].cat.codes.to_numpy(), frame["metallicity"].to_numpy(), frame["mass_ratio"].to_numpy() > 0
        )
        stars = {name: frame[name].to_numpy() for name in ("distance", *BANDS) if name in frame}
        if "Ks" in stars:
            stars, populations = self._with_galaxies(stars, populations, area, rng)
        return self.forward_model.pack(stars["distance"], stars, area, populations)

    def _with_galaxies(
        self,
        stars: Mapping[str, np.ndarray],
        populations: tuple[Populations, np.ndarray],
        area: float,
        rng: np.random.Generator,
    ) -> tuple[dict[str, np.ndarray], tuple[Populations, np.ndarray]]:
        """Add background galaxies as a population of their own, infinitely far and detected in J, H, Ks only."""
        drawn = background_galaxies.draw(
            rng,
            area,
            # images multiply the whole list by the normalisation of the stars, which the galaxies do not follow
            density=self.galaxy_density * np.exp(-self.corrections.normalisation),
            slope=self.galaxies.slope,
            colour=self.galaxies.colour,
            faintest=max(survey.limits.get("Ks", 0.0) for survey in self.surveys) + MARGIN,
        )
        number = len(drawn["Ks"])
        drawn["distance"] = np.full(number, np.inf)
        unseen = np.full(number, UNSEEN)
        together = {name: np.concatenate([values, drawn.get(name, unseen)]) for name, values in stars.items()}
        groups, group = populations
        last = np.full(number, len(groups.number), np.int32)
        return together, (groups.with_galaxies(number), np.concatenate([group, last]))

    def zero_point_sd(self, survey: int) -> tuple[float, float]:
        """Standard deviations of the colour's zero point (mag) and slope (mag/mag) of a survey.

        The errors of the control field add to the widths of the settings, except to a width of 0, which switches the
        nuisance off.
        """
        errors = self.corrections.colour_sd.get(self.surveys[survey].name, (0.0, 0.0))
        widths = (self.realism.colour, self.realism.colour_slope)
        zero, slope = (float(np.hypot(w, e)) if w else 0.0 for w, e in zip(widths, errors, strict=True))
        return zero, slope

    def draw_nuisances(self, rng: np.random.Generator, number: int, populations: Populations) -> Nuisances:
        """Draw the nuisances of `number` images of a star list with these populations."""
        model, realism = self.forward_model, self.realism
        offsets = np.zeros((number, len(model.bands), 2))
        for survey in range(len(self.surveys)):
            zero, slope = self.zero_point_sd(survey)
            blue = model.blue_band(survey)
            offsets[:, model.photometry(survey), 0] = realism.magnitude * rng.standard_normal((number, 1))
            offsets[:, blue, 0] += zero * rng.standard_normal(number)
            offsets[:, blue, 1] = slope * rng.standard_normal(number)
        r_v = np.clip(self.dust.r_v + realism.r_v * rng.standard_normal(number), R_V_GRID[0], R_V_GRID[-1])
        return Nuisances(
            weights=nuisances.population_weights(
                rng,
                number,
                populations,
                normalisation=realism.normalisation,
                components=realism.components,
                metallicity=realism.metallicity,
                binaries=realism.binaries,
                galaxies=realism.galaxies,
            ),
            differential_extinction=nuisances.differential_extinction(rng, number, realism.spread, realism.covering),
            scales=self.extinction_scales(r_v),
            offsets=offsets,
        )

    def extinction_scales(self, r_v: np.ndarray) -> np.ndarray:
        """Factors on the extinction of each band for values of R_V, shape (number, band)."""
        model = self.forward_model
        scales = np.ones((len(r_v), len(model.bands)))
        if (r_v == self.dust.r_v).all():
            return scales  # without the second that the curves take
        for at, (survey, name) in enumerate(model.bands):
            if name != PARALLAX:
                curve = _law_by_r_v(self.dust.law, model.views[survey].survey.bands[name].wavelength)
                scales[:, at] = np.interp(r_v, R_V_GRID, curve) / np.interp(self.dust.r_v, R_V_GRID, curve)
        return scales
