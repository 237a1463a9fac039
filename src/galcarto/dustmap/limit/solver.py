"""Information limit: posterior of one diagram from its Poisson likelihood, under the prior of `dust.profiles`.

On average, no network can be better than the mean of the posterior given the diagram, which is sampled here. Profile,
clouds and nuisances are functions of latent normal variables. Particles drawn from the prior are brought to the
posterior by tempered sequential Monte Carlo (Del Moral, Doucet & Jasra 2006, J. R. Stat. Soc. B 68, 411), with
Hamiltonian moves on gradients from autograd (Neal 2011, arXiv:1206.1901) and births, deaths and redraws of clouds. The
posterior is multimodal, as few stars do not distinguish a near thin cloud from a far thick one; tempering weights the
modes correctly, which chains from single starts would not.

The expected diagram is that of `slices`. All nuisances are marginalised: numbers, R_V and differential extinction
exactly, zero points and the mix of the stars to second order about the mean diagram of the particles.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import poisson
from torch import Tensor

from galcarto.core.errors import UserError
from galcarto.dust.profiles import field_covariance
from galcarto.dustmap.limit.slices import NODES, QUANTILES, Slices
from galcarto.dustmap.limit.tables import Mix, Widths

CLOUDS = 6  # at most; a Poisson number of mean 1.5 exceeds it in one of a thousand profiles
SHAPE = 5  # latents of the smooth dust besides its field: contrast, scale, total, bubble, density inside it
EXACT = 5  # nuisances that are not linearised: numbers of stars and galaxies, differential extinction, covering, R_V
ZERO_POINTS = 3  # colour, its slope, magnitude
START = 16  # draws from the prior per particle
KEEP = 0.5  # effective fraction of the particles after a step in temperature
LEAPS = 6  # leapfrog steps of a Hamiltonian move
CYCLES, LAST = 2, 6  # rounds of moves at each temperature, and at the last one
TARGET = 0.75  # acceptance of Hamiltonian moves above which their step is lengthened
BACKGROUND = 1e-4  # stars per deg2 in every pixel, so that no single star excludes a profile
IMPOSSIBLE = -1e9  # ln likelihood of a profile beyond the maximum of the prior


@dataclass(frozen=True)
class Solution:
    """Posterior samples of a profile, with diagnostics of the sampler."""

    samples: np.ndarray  # shape (sample, distance), mag: cumulative A_V at the outer edge of each bin; equally weighted
    clouds: np.ndarray  # int, shape (sample,)
    log_evidence: float  # ln of the probability of the diagram under the prior, without the factorials of the counts
    acceptance: dict[str, float]  # fraction of accepted moves of each kind at the last temperature
    effective: float  # smallest effective number of particles after a step in temperature
    distinct: int  # particles of the first draw with descendants among the samples
    steps: int  # number of temperatures
    seconds: float  # CPU time

    @property
    def mean(self) -> np.ndarray:
        """Posterior mean, shape (distance,), mag."""
        return self.samples.mean(axis=0)

    @property
    def sd(self) -> np.ndarray:
        """Posterior standard deviation, shape (distance,), mag."""
        return self.samples.std(axis=0)


class Prior:
    """The prior of `dust.profiles.draw` as a function of normal variables.

    Parameters
    ----------
    edges : ndarray, shape (distance + 1,), kpc
    profiles : mapping
        The keyword arguments of `dust.profiles.draw`.
    variables : int
        Variables of the mix of the stars.
    """

    def __init__(self, edges: np.ndarray, profiles: Mapping[str, Any], variables: int = 0) -> None:
        self.profiles = dict(profiles)
        self.cells = len(edges) - 1
        self.edges = torch.tensor(edges, dtype=torch.float32)
        covariance = field_covariance(self.cells, self.profiles["slope"])
        value, vector = np.linalg.eigh(covariance)
        self.root = torch.tensor(vector * np.sqrt(np.clip(value, 0.0, None)), dtype=torch.float32)
        self.clouds = slice(self.cells + SHAPE, self.cells + SHAPE + 3 * CLOUDS)
        self.size = self.clouds.stop + EXACT + ZERO_POINTS + variables
        number = poisson.pmf(np.arange(CLOUDS + 1), self.profiles["clouds"]["mean"])
        self.number = torch.tensor(number / number.sum(), dtype=torch.float32)

    def profile(self, latent: Tensor, clouds: Tensor) -> Tensor:
        """Cumulative A_V at the bins' outer edges, shape (particle, distance), mag.

        Parameters
        ----------
        latent : Tensor, shape (particle, size)
        clouds : Tensor of int, shape (particle,)
            Number of clouds, which occupy the first slots.
        """
        p, edges = self.profiles, self.edges
        shape = torch.special.ndtr(latent[:, self.cells : self.cells + SHAPE])  # uniform
        contrast = p["contrast"][0] + shape[:, 0:1] * (p["contrast"][1] - p["contrast"][0])
        wall = p["bubble"][0] + shape[:, 3:4] * (p["bubble"][1] - p["bubble"][0])
        scale, total, inside = (
            _log_uniform(shape[:, at, None], p[name])
            for at, name in ((1, "envelope"), (2, "smooth"), (4, "bubble_density"))
        )
        width = edges.diff()
        inner = ((wall - edges[:-1]) / width).clamp(0.0, 1.0)
        log = contrast * (latent[:, : self.cells] @ self.root.T) - 0.5 * (edges[1:] + edges[:-1]) / scale
        density = torch.exp(log) * (1.0 - inner * (1.0 - inside)) * width
        smooth = total * density.cumsum(dim=1) / density.sum(dim=1, keepdim=True)
        # (particle, cloud)
        depth, place, thick = torch.special.ndtr(latent[:, self.clouds]).unflatten(1, (3, CLOUDS)).unbind(dim=1)
        depth = _log_uniform(depth, p["clouds"]["extinction"])
        near, far = p["clouds"]["distance"]
        near = wall.clamp(min=near)
        place = near + (far - near) * place
        thick = _log_uniform(thick, p["clouds"]["width"])
        on = torch.arange(CLOUDS) < clouds[:, None]
        steps = torch.special.ndtr((edges[1:] - place[..., None]) / thick[..., None])
        steps = steps - torch.special.ndtr(-place / thick)[..., None]
        return smooth + ((depth * on)[..., None] * steps).sum(dim=1)


def _log_uniform(unit: Tensor, ends: Sequence[float]) -> Tensor:
    return ends[0] * (ends[1] / ends[0]) ** unit


class Likelihood:
    """Poisson likelihood of one diagram.

    Pixels without stars enter only by their sum, so that only occupied pixels are evaluated one by one.

    Parameters
    ----------
    slices : Slices
    prior : Prior
    counts : ndarray of int, shape (magnitude, colour)
    area : float, deg2
    widths : Widths
    mix : Mix, optional
        With as many variables as the prior; None if the mix of the stars is known.
    """

    def __init__(
        self, slices: Slices, prior: Prior, counts: np.ndarray, area: float, widths: Widths, mix: Mix | None = None
    ) -> None:
        self.slices, self.prior, self.area, self.widths, self.mix = slices, prior, area, widths, mix
        flat = np.asarray(counts).ravel()
        if flat.shape != slices.images.shape[2:]:
            raise UserError(
                f"found a diagram of {flat.size} pixels; expected the {slices.images.shape[2]} of the slices"
            )
        if not (np.isfinite(area) and area > 0):
            raise UserError(f"found an area of {area} deg2; expected more than 0")
        self.occupied = np.flatnonzero(flat)
        self.counts = torch.tensor(flat[self.occupied], dtype=torch.float32)
        # stars, then galaxies; the last column is the sum over all pixels
        table = np.concatenate([slices.images[..., self.occupied], slices.images.sum(axis=2, keepdims=True)], axis=2)
        self.stars = torch.tensor(area * table[:-1].reshape(-1, table.shape[2]))
        self.galaxies = torch.tensor(area * table[-1])
        self.nodes = torch.tensor(NODES, dtype=torch.float32)
        position = torch.tensor(slices.position[:-1], dtype=torch.float32)
        self.edge = position.long().clamp(max=prior.cells - 1)
        self.part = position - self.edge
        # differential extinction is independent of the position within the slice
        rank = (torch.arange(QUANTILES) * 7 + 3) % QUANTILES
        self.normal = torch.special.ndtri((rank + 0.5) / QUANTILES)
        linear = prior.size - prior.clouds.stop - EXACT
        self.change = torch.zeros(linear, len(self.occupied))
        self.sums = torch.zeros(len(self.stars), linear)
        self.bend = torch.zeros(linear, linear)

    def _factors(self, nuisance: Tensor) -> tuple[Tensor, Tensor]:
        """Differential extinction where there is dust, shape (particle, QUANTILES), and covering fraction."""
        uniform = torch.special.ndtr(nuisance[:, 2:4])
        sigma, covered = (
            low + uniform[:, i] * (high - low)
            for i, (low, high) in enumerate((self.widths.differential_extinction, self.widths.covering))
        )
        excess = torch.exp(self.widths.r_v * nuisance[:, 4])
        factor = torch.exp(sigma[:, None] * self.normal)
        return factor / factor.mean(dim=1, keepdim=True) * (excess / covered)[:, None], covered

    def _weights(self, profile: Tensor, nuisance: Tensor) -> Tensor:
        """Fraction of the stars of each slice behind each A_V, shape (particle, slice * node); without galaxies."""
        factor, covered = self._factors(nuisance)
        padded = torch.nn.functional.pad(profile, (1, 0))
        a_v = padded[:, self.edge] + self.part * (padded[:, self.edge + 1] - padded[:, self.edge])
        a_v = (a_v * factor[:, None]).clamp(max=float(self.nodes[-1]) - 1e-3)  # (particle, slice, quantile)
        with torch.no_grad():
            at = torch.searchsorted(self.nodes, a_v.detach(), right=True) - 1
            at = at.clamp(0, len(NODES) - 2)
            index = at + torch.arange(len(self.edge))[:, None] * len(NODES)
        part = (a_v - self.nodes[at]) / (self.nodes[at + 1] - self.nodes[at])
        fraction = (covered / QUANTILES)[:, None, None]
        weights = torch.zeros(len(profile), len(self.stars))
        weights = weights.scatter_add(1, index.flatten(1), (fraction * (1.0 - part)).flatten(1))
        weights = weights.scatter_add(1, (index + 1).flatten(1), (fraction * part).flatten(1))
        bare = torch.arange(len(self.edge)) * len(NODES)
        return weights.index_add(1, bare, (1.0 - covered)[:, None].expand(-1, len(bare)))

    def log(self, latent: Tensor, clouds: Tensor) -> Tensor:
        """ln likelihood without the factorials of the counts, shape (particle,)."""
        profile = self.prior.profile(latent, clouds)
        nuisance = latent[:, self.prior.clouds.stop :]
        weights = self._weights(profile, nuisance)
        background = weights.unflatten(1, (-1, len(NODES)))[:, -1] @ self.galaxies
        expected = weights @ self.stars + torch.exp(self.widths.galaxies * nuisance[:, 1:2]) * background
        linear = nuisance[:, EXACT:]
        each = torch.log(expected[:, :-1] + self.area * BACKGROUND) + linear @ self.change
        # the change of the sum depends on the dust, as dust and zero points shift stars alike
        total = (
            expected[:, -1]
            + ((weights @ self.sums) * linear).sum(dim=1)
            + 0.5 * ((linear @ self.bend) * linear).sum(dim=1)
        )
        number = self.widths.normalisation * nuisance[:, 0]
        # the normalisation is that of the stars, but is applied to the few galaxies too
        value = (each @ self.counts) + number * self.counts.sum() - torch.exp(number) * total
        return torch.where(profile[:, -1] > self.prior.profiles["max_extinction"], IMPOSSIBLE, value)

    def linearise(self, latent: Tensor, clouds: Tensor) -> None:
        """Update the derivatives with zero points and mix, at the mean diagram of the particles."""
        if self.mix is None and not any(self.widths.zero_points):
            return
        with torch.no_grad():
            profile = self.prior.profile(latent, clouds)
            nuisance = latent[:, self.prior.clouds.stop :]
            weights = self._weights(profile, nuisance).mean(dim=0).unflatten(0, (-1, len(NODES)))
            factor, covered = self._factors(nuisance)
        weights = torch.cat([weights, weights[-1:]]).numpy().astype(float)
        image = np.tensordot(weights, self.slices.images, 2) + BACKGROUND
        relative = np.array(self.widths.zero_points)[:, None] * self.slices.derivatives(weights) / image
        if self.mix is not None:
            relative = np.concatenate([relative, self._tilted(profile.numpy(), factor.numpy(), covered.numpy())])
        self.change = torch.tensor(relative[:, self.occupied], dtype=torch.float32)
        table = self.slices.images
        self.sums = torch.tensor(self.area * (table[:-1].reshape(len(self.stars), -1) @ relative.T.astype(np.float32)))
        self.bend = torch.tensor(self.area * (relative * image) @ relative.T, dtype=torch.float32)

    def _tilted(self, profile: np.ndarray, factor: np.ndarray, covered: np.ndarray) -> np.ndarray:
        """Mean tilt of the stars in each pixel, shape (variable, magnitude * colour).

        Each mock star is placed behind the dust of a random particle.
        """
        assert self.mix is not None
        rng = np.random.default_rng(len(profile))
        number = len(self.mix.position)
        particle = rng.integers(len(profile), size=number)
        edge = np.minimum(self.mix.position.astype(int), profile.shape[1] - 1)
        padded = np.pad(profile, ((0, 0), (1, 0)))
        near, far = padded[particle, edge], padded[particle, edge + 1]
        a_v = near + (self.mix.position - edge) * (far - near)
        a_v = a_v * factor[particle, rng.integers(QUANTILES, size=number)] * (rng.random(number) < covered[particle])
        s = self.slices
        cell = np.rint((self.mix.place + a_v[:, None] * s.along - s.place[0]) / s.step).astype(int)
        inside = ((cell >= 0) & (cell < s.shape)).all(axis=1)
        cell = np.ravel_multi_index(cell[inside].T, s.shape)
        weights = [None, *self.mix.tilt[:, inside]]
        stars = np.stack([np.bincount(cell, weight, len(s.place)) for weight in weights], axis=1)
        seen = (s.response @ stars).T
        return np.divide(seen[1:], seen[0], out=np.zeros_like(seen[1:]), where=seen[0] > 0)


def solve(likelihood: Likelihood, particles: int, seed: int) -> Solution:
    """Sample the posterior of a diagram."""
    start = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    prior = likelihood.prior
    size = START * particles
    latent = torch.randn(size, prior.size, generator=generator)
    clouds = torch.multinomial(prior.number, size, replacement=True, generator=generator)
    likelihood.linearise(latent[:particles], clouds[:particles])
    with torch.no_grad():
        log = torch.cat([likelihood.log(*part) for part in zip(latent.split(512), clouds.split(512), strict=True)])
    # the prior excludes profiles beyond its maximum
    evidence = -float(torch.log((log > IMPOSSIBLE).float().mean()))
    family = torch.arange(size)
    beta, step, effective, steps = 0.0, 0.2, float(particles), 0
    while beta < 1.0:
        beta, weight, gain = _heat(log, beta, KEEP * particles)
        evidence += gain
        effective = min(effective, float(1.0 / (weight**2).sum()))
        chosen = _resample(weight, particles, generator)
        latent, clouds, log, family = latent[chosen], clouds[chosen], log[chosen], family[chosen]
        likelihood.linearise(latent, clouds)
        with torch.no_grad():
            log = likelihood.log(latent, clouds)
        scale = latent.std(dim=0).clamp(0.05, 1.0)
        tally: dict[str, list[float]] = {"hamiltonian": [], "number": [], "redraw": []}
        for _ in range(CYCLES if beta < 1.0 else LAST):
            latent, log, accepted = _hamiltonian(likelihood, latent, clouds, log, beta, step * scale, generator)
            tally["hamiltonian"].append(accepted)
            step = min(max(step * (1.2 if accepted > TARGET else 0.8), 1e-3), 1.0)
            latent, clouds, log, accepted = _number(likelihood, latent, clouds, log, beta, generator)
            tally["number"].append(accepted)
            latent, log, accepted = _redraw(likelihood, latent, clouds, log, beta, generator)
            tally["redraw"].append(accepted)
        steps += 1
    with torch.no_grad():
        samples = prior.profile(latent, clouds).numpy()
    return Solution(
        samples=samples,
        clouds=clouds.numpy(),
        log_evidence=evidence,
        acceptance={name: float(np.mean(values)) for name, values in tally.items()},
        effective=effective,
        distinct=len(family.unique()),
        steps=steps,
        seconds=time.process_time() - start,
    )


def _heat(log: Tensor, beta: float, effective: float) -> tuple[float, Tensor, float]:
    """Next inverse temperature, weights of the particles, and gain in ln evidence."""
    values = log.double()

    def weights(step: float) -> Tensor:
        return torch.softmax(step * values, dim=0)

    step = 1.0 - beta
    if 1.0 / (weights(step) ** 2).sum() < effective:
        low, high = 0.0, step
        for _ in range(40):
            step = 0.5 * (low + high)
            low, high = (step, high) if 1.0 / (weights(step) ** 2).sum() > effective else (low, step)
    gain = torch.logsumexp(step * values, dim=0) - np.log(len(values))
    return (1.0 if step == 1.0 - beta else beta + step), weights(step), float(gain)


def _resample(weight: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Systematic resampling."""
    levels = (torch.arange(number) + torch.rand(1, generator=generator)).double() / number
    return torch.searchsorted(weight.cumsum(dim=0), levels).clamp(max=len(weight) - 1)


def _hamiltonian(likelihood, latent, clouds, log, beta, step, generator):
    """Move every particle by a Hamiltonian step; unconstrained latents follow their normal prior."""

    def slope(place: Tensor) -> tuple[Tensor, Tensor]:
        place = place.detach().requires_grad_()
        value = likelihood.log(place, clouds)
        (gradient,) = torch.autograd.grad(value.sum(), place)
        return value.detach(), beta * gradient - place.detach()

    # random step lengths avoid periodic orbits
    step = step * (0.6 + 0.8 * torch.rand(len(latent), 1, generator=generator))
    momentum = torch.randn(latent.shape, generator=generator)
    _, force = slope(latent)
    energy = 0.5 * (momentum**2).sum(dim=1) + 0.5 * (latent**2).sum(dim=1) - beta * log
    place, value = latent, log
    for _ in range(LEAPS):
        momentum = momentum + 0.5 * step * force
        place = place + step * momentum
        value, force = slope(place)
        momentum = momentum + 0.5 * step * force
    new = 0.5 * (momentum**2).sum(dim=1) + 0.5 * (place**2).sum(dim=1) - beta * value
    # NaN is rejected
    accept = torch.log(torch.rand(len(latent), generator=generator)) < energy - new
    latent = torch.where(accept[:, None], place, latent)
    return latent, torch.where(accept, value, log), float(accept.float().mean())


def _slots(prior: Prior, latent: Tensor, clouds: Tensor, generator: torch.Generator) -> Tensor:
    """Latents of the clouds, shape (particle, 3, cloud), with the occupied slots first and in random order."""
    own = latent[:, prior.clouds].unflatten(1, (3, CLOUDS))
    key = torch.rand(len(latent), CLOUDS, generator=generator) + 2.0 * (torch.arange(CLOUDS) >= clouds[:, None])
    return own.gather(2, key.argsort(dim=1)[:, None].expand(-1, 3, -1))


def _number(likelihood, latent, clouds, log, beta, generator):
    """Propose the birth of a cloud, drawn from the prior, or the death of one."""
    prior = likelihood.prior
    own = _slots(prior, latent, clouds, generator)
    # free slots hold draws from the prior
    fresh = torch.randn(own.shape, generator=generator)
    own = torch.where((torch.arange(CLOUDS) >= clouds[:, None])[:, None], fresh, own)
    change = 2 * torch.randint(0, 2, (len(latent),), generator=generator) - 1
    number = (clouds + change).clamp(0, CLOUDS)
    latent = latent.clone()
    latent[:, prior.clouds] = own.flatten(1)
    with torch.no_grad():
        value = likelihood.log(latent, number)
    ratio = beta * (value - log) + torch.log(prior.number[number]) - torch.log(prior.number[clouds])
    accept = (torch.log(torch.rand(len(latent), generator=generator)) < ratio) & (number != clouds)
    return latent, torch.where(accept, number, clouds), torch.where(accept, value, log), float(accept.float().mean())


def _redraw(likelihood, latent, clouds, log, beta, generator):
    """Propose to redraw a cloud: entirely, at another distance with the same depth, or shifted slightly."""
    prior = likelihood.prior
    own = _slots(prior, latent, clouds, generator)
    latent = latent.clone()
    latent[:, prior.clouds] = own.flatten(1)
    moved = own.clone()
    fresh = torch.randn(len(latent), 3, generator=generator)
    # rotations preserve the normal prior
    angle = torch.tensor([[1.57, 1.57, 1.57], [0.0, 1.57, 0.3], [0.2, 0.5, 0.5]])
    angle = angle[torch.randint(0, 3, (len(latent),), generator=generator)]
    moved[:, :, 0] = torch.cos(angle) * own[:, :, 0] + torch.sin(angle) * fresh
    proposal = latent.clone()
    proposal[:, prior.clouds] = moved.flatten(1)
    with torch.no_grad():
        value = likelihood.log(proposal, clouds)
    accept = (torch.log(torch.rand(len(latent), generator=generator)) < beta * (value - log)) & (clouds > 0)
    latent = torch.where(accept[:, None], proposal, latent)
    return latent, torch.where(accept, value, log), float(accept.float().mean())
