"""Models of the Galaxy: its stellar populations and their densities.

A model is a YAML file, one of `tables/` or the user's own, with densities, ages, metallicities, initial mass functions,
the Sun's position, warp and flare, and the reference of each number.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveFloat, ValidationError, model_validator

from galcarto.core.errors import UserError
from galcarto.core.settings import SettingsError, load_yaml
from galcarto.core.sky import cartesian
from galcarto.galaxy.laws import Flare, Law, Table, Warp

TABLES = Path(__file__).parent / "tables"


class GalaxyTableError(UserError):
    """A model of the Galaxy that does not exist or cannot be used."""


class MassFunction(Table):
    """Broken power law dN/dm ~ m^-slope as initial mass function, with one slope more than breaks."""

    slopes: Annotated[tuple[float, ...], Field(min_length=1)]
    breaks: tuple[PositiveFloat, ...] = Field((), description="Msun")
    range: tuple[PositiveFloat, PositiveFloat] = Field(description="Msun")

    @model_validator(mode="after")
    def _consistent(self) -> "MassFunction":
        borders = (self.range[0], *self.breaks, self.range[1])
        if len(self.slopes) != len(self.breaks) + 1 or list(borders) != sorted(set(borders)):
            raise ValueError(
                f"found slopes {self.slopes}, breaks {self.breaks} and range {self.range}; "
                "expected one slope more than breaks, which increase within the range"
            )
        return self

    def integral(self, low: np.ndarray, high: np.ndarray, power: float) -> np.ndarray:
        """Integral of m^power dN/dm from `low` to `high` (Msun) within the range; the first segment is m^-slope."""
        borders = (self.range[0], *self.breaks, self.range[1])
        total, scale = np.zeros(np.broadcast(low, high).shape), 1.0
        for i, slope in enumerate(self.slopes):
            if i:
                scale *= borders[i] ** (slope - self.slopes[i - 1])
            a, b = (np.clip(mass, borders[i], borders[i + 1]) for mass in (low, high))
            exponent = power - slope + 1.0
            area = np.log(b / a) if abs(exponent) < 1e-9 else (b**exponent - a**exponent) / exponent
            total += scale * area
        return total


class Component(Table):
    """One stellar population."""

    name: str
    # Gyr: range of ages; the star formation rate decreases with time as exp(-t / star_formation_time)
    age: tuple[PositiveFloat, PositiveFloat]
    metallicity: tuple[float, PositiveFloat]  # dex: mean [Fe/H] at the Sun and standard deviation
    gradient: float = 0.0  # dex/kpc: d[Fe/H]/dR
    alpha: float = 0.0  # dex: [alpha/Fe], which raises [M/H] above [Fe/H] (Salaris et al. 1993, ApJ 414, 580)
    star_formation_time: PositiveFloat | None = None  # Gyr: none for a constant rate
    warped: bool  # whether the component follows the model's warp and flare
    warp: Warp | None = None  # warp of its own instead of the model's
    imf: MassFunction
    density: Law  # density of living stars

    @property
    def overall_metallicity(self) -> float:
        """Mean [M/H] at the Sun, dex."""
        return self.metallicity[0] + float(np.log10(0.638 * 10**self.alpha + 0.362))

    @property
    def normalisation(self) -> Literal["mass", "number"]:
        """Quantity of the density: mass (Msun) or number of stars."""
        return self.density.quantity


class Sun(Table):
    """Position of the Sun."""

    radius: PositiveFloat = Field(description="distance from the Galactic centre, kpc")
    height: float = Field(description="over the plane, kpc")


class GalaxyModel(Table):
    """A model of the Galaxy."""

    title: str
    references: dict[str, str]
    sun: Sun
    warp: Warp
    flare: Flare
    components: Annotated[tuple[Component, ...], Field(min_length=1)]

    def enriched(self, shift: float) -> "GalaxyModel":
        """Copy of the model with the mean metallicity of every component shifted by `shift` dex."""
        components = tuple(
            component.model_copy(update={"metallicity": (component.metallicity[0] + shift, component.metallicity[1])})
            for component in self.components
        )
        return self.model_copy(update={"components": components})

    def position(self, l: float, b: float, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Galactocentric (x, y, z) in kpc along a sightline; the Sun lies at (-radius, 0, height)."""
        x, y, z = cartesian(l, b, distance)
        return x - self.sun.radius, y, z + self.sun.height

    def density(self, component: Component, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Density of a component's living stars at galactocentric positions in kpc: Msun/pc3 or stars/pc3."""
        if not component.warped:
            return component.density.density(x, y, z, self.sun.radius)
        stretch = self.flare.factor(x, y)
        flat = (z - (component.warp or self.warp).height(x, y)) / stretch
        return component.density.density(x, y, flat, self.sun.radius) / stretch


def table_path(model: str) -> Path:
    """File of a model from its name in the package or a path that ends in .yaml.

    Raises
    ------
    GalaxyTableError
        If the file does not exist.
    """
    path = Path(model) if model.endswith(".yaml") else TABLES / f"{model}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in TABLES.glob("*.yaml")))
        raise GalaxyTableError(f"galaxy.model: found {model!r}; expected one of {known}, or the path of a .yaml file")
    return path


def table_digest(model: str) -> str:
    """Hash of a model's file, so that rules rerun when a number in it changes."""
    return hashlib.sha256(table_path(model).read_bytes()).hexdigest()[:16]


@cache
def load(model: str) -> GalaxyModel:
    """Read a model of the Galaxy.

    Raises
    ------
    GalaxyTableError
        If there is no such model, or its table is invalid, with one line for each fault.
    """
    path = table_path(model)
    try:
        return GalaxyModel.model_validate(load_yaml(path))
    except SettingsError as error:
        raise GalaxyTableError(str(error)) from None
    except ValidationError as error:
        faults = "\n".join(f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise GalaxyTableError(faults) from None
