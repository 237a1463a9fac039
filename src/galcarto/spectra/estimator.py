"""What a network is shown of a spectrum, and how its outputs become labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from galcarto.learning.heads.mixture import Mixture
from galcarto.learning.networks import Estimator
from galcarto.spectra.networks import Censored, Dense, build, outputs_of
from galcarto.spectra.settings import Network
from galcarto.spectra.spectra import Spectra

SOFT = 0.05  # of the median flux: the scale below which the inverse hyperbolic sine is linear
CLIP = 6.0  # standard deviations beyond which an input is cut: a red star's bright end, a bad pixel
LEAST_SNR = 0.1
LONGEST = 0.3  # of the pixels: hidden stretches of the training
COLOURS_HIDDEN = 0.1  # share of the training stars whose colours are hidden


@dataclass(frozen=True)
class Scale:
    """Zero points and units of inputs and labels, as lists of floats that a network's file can hold."""

    soft: float  # 0: flux as it is, for normalised spectra
    flux: list[float]
    flux_sd: list[float]
    colour: list[float]
    colour_sd: list[float]
    label: list[float]
    label_sd: list[float]

    @classmethod
    def learn(
        cls, flux: np.ndarray, colours: np.ndarray, labels: np.ndarray, soft: float = SOFT, noise: float = 0.0
    ) -> "Scale":
        """From training stars: flux (star, pixel), colours of `beside`, labels (star, label).

        Noise that training adds to each pixel of noiseless spectra widens the flux.
        """
        parts = []
        for values in (_soft(flux, soft), colours, labels):
            middle = np.nanmean(values, axis=0, dtype=float)
            spread = np.nanstd(values, axis=0, dtype=float)
            parts += [middle.tolist(), np.maximum(spread, 1e-6).tolist()]
        parts[1] = np.hypot(parts[1], noise).tolist()
        return cls(soft, *parts)

    def inputs(self, flux: np.ndarray, colours: np.ndarray) -> np.ndarray:
        """Scaled flux, its bits, scaled colours, their bits: shape (star, 2 * (pixel + colour)), float32."""
        parts = []
        scaled = (
            (_soft(flux, self.soft) - np.array(self.flux)) / self.flux_sd,
            (colours - np.array(self.colour)) / self.colour_sd,
        )
        for values in scaled:
            seen = np.isfinite(values)
            parts += [np.where(seen, np.clip(values, -CLIP, CLIP), 0.0), seen]
        return np.concatenate(parts, axis=1).astype("f4")


def _soft(flux: np.ndarray, soft: float) -> np.ndarray:
    """Inverse hyperbolic sine of the flux, which is a logarithm where there is light and linear about zero."""
    return np.arcsinh(flux / soft) if soft else flux


def beside(spectra: Spectra, magnitudes: np.ndarray) -> np.ndarray:
    """What a network sees beside the pixels: the logarithm of the S/N, and colours of neighbouring magnitudes, mag.

    Without the S/N a network could not tell how much a spectrum says. Shape (star, 1 + colour).
    """
    colours = magnitudes[:, :-1] - magnitudes[:, 1:]
    return np.column_stack([np.log10(np.maximum(spectra.snr(), LEAST_SNR)), colours])


def balance(labels: Tensor) -> Tensor:
    """Weights that scale each star's sum over labels by all over present, shape (batch, label)."""
    there = labels.isfinite().sum(dim=-1, keepdim=True)
    return (labels.shape[-1] / there.clamp(min=1)).expand_as(labels)


class Squared(Mixture):
    """One normal distribution of unit width about each output: the squared loss of StarNet."""

    def __init__(self) -> None:
        super().__init__(1)

    def parameters_of(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As of `Mixture`, of outputs of shape (batch, label)."""
        mean = outputs[..., None]
        return torch.zeros_like(mean), mean, torch.ones_like(mean)


def head(options: Network) -> Mixture:
    """Distribution of the labels: of StarNet the squared loss, of astroNN one normal distribution, ours a mixture.

    With one component and `balance`, the mixture's loss is J = (y - y')^2 exp(-s) / 2 + s / 2, s = ln(known^2 +
    predicted^2), of Leung & Bovy 2019 (arXiv:1808.04428, eq. 2), but for a constant.
    """
    if options.name == "starnet":
        return Squared()
    return Mixture(outputs_of(options) // 3)


class Spectrum(Estimator):
    """A network from spectra to labels.

    Batches are inputs of `Scale.inputs`, scaled labels, NaN where missing, and their scaled known errors.

    Parameters
    ----------
    wavelength : sequence of float, nm
    magnitudes : sequence of str
    labels : mapping of str to str
        Names and units.
    scale : mapping
        Of `Scale`.
    network : mapping
        Of `settings.Network`.
    masks : list of list of int, optional
        Pixels that each label's branch sees, for ``astronn_censored``; none for a label of the trunk.
    noise : float
        Standard error of each pixel that training adds, afresh each time, to spectra that have none; in units of flux.
    """

    def __init__(
        self,
        wavelength: Sequence[float],
        magnitudes: Sequence[str],
        labels: Mapping[str, str],
        scale: Mapping[str, Any],
        network: Mapping[str, Any],
        masks: Sequence[Sequence[int]] | None = None,
        noise: float = 0.0,
    ) -> None:
        self.noise = noise
        self.options = Network(**network)
        self.scale = Scale(**scale)
        self.pixels, self.colours = len(wavelength), max(len(magnitudes), 1)  # the S/N is the first of the colours
        self.wavelength, self.magnitudes, self.labels = np.array(wavelength), list(magnitudes), list(labels)
        self.units = dict(labels)
        seen = None
        if masks is not None:
            seen = torch.zeros(len(masks), self.pixels, dtype=torch.bool)
            for row, places in zip(seen, masks, strict=True):
                row[torch.tensor(places, dtype=torch.long)] = True
        super().__init__(build(self.pixels, self.colours, len(labels), self.options, seen), head(self.options))

    def inputs(self, batch: Sequence[Tensor]) -> Tensor:
        """Of a batch; in training some stars lose a stretch of pixels, others their colours."""
        inputs = batch[0]
        if self.training and self.noise:
            spread = torch.tensor(self.scale.flux_sd, dtype=inputs.dtype, device=inputs.device)
            extra = self.noise / spread * torch.randn(len(inputs), self.pixels, device=inputs.device)
            inputs = torch.cat([inputs[:, : self.pixels] + extra, inputs[:, self.pixels :]], dim=1)
        if not self.training or not self.options.hide:
            return inputs
        stars, device = len(inputs), inputs.device
        chance = torch.rand(3, stars, 1, device=device)
        length = chance[1] * LONGEST * self.pixels * (chance[0] < self.options.hide)
        first = chance[2] * (self.pixels + length) - length
        place = torch.arange(self.pixels, device=device)
        keep = ~((place >= first) & (place < first + length))
        colour = (torch.rand(stars, 1, device=device) >= COLOURS_HIDDEN).expand(stars, 2 * self.colours)
        return inputs * torch.cat([keep, keep, colour], dim=1)

    def forward_features(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """As the base class's; the branches of a `Censored` network see pixels, beside the trunk's features."""
        outputs, features = super().forward_features(inputs)
        return (self.network(inputs) if isinstance(self.network, Censored) else outputs), features

    def loss(self, outputs: Tensor, batch: Sequence[Tensor]) -> Tensor:
        """Mean over stars and labels; see `balance`."""
        _, labels, errors = batch
        return self.head.negative_log_likelihood(outputs, labels, errors, balance(labels))  # type: ignore[operator]


class Members(Estimator):
    """An ensemble: members side by side, whose mixtures are one mixture, and whose features are joined.

    Parameters
    ----------
    number : int
    options
        Of `Spectrum`.
    """

    def __init__(self, number: int, **options: Any) -> None:
        members = [Spectrum(**options) for _ in range(number)]
        super().__init__(nn.ModuleList(members), members[0].head)

    @property
    def first(self) -> Spectrum:
        """Any member: all have the same inputs, labels and scales."""
        return self.network[0]  # type: ignore[index]

    def forward_features(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of shape (member, batch, output) as (batch, member * output), and joined features."""
        parts = [member.forward_features(inputs) for member in self.network]  # type: ignore[attr-defined]
        outputs, features = zip(*parts, strict=True)
        return torch.cat(outputs, dim=1), torch.cat(features, dim=1)


def dropout_on(estimator: nn.Module) -> None:
    """Leave dropout on at prediction (Gal & Ghahramani 2016, arXiv:1506.02142)."""
    for module in estimator.modules():
        if isinstance(module, nn.Dropout):
            module.train()


@dataclass(frozen=True)
class Pooled:
    """A mixture over networks and components, of shape (star, label, component) each, in scaled labels."""

    weight: Tensor  # logarithms
    mean: Tensor
    sd: Tensor
    networks: int  # that were pooled, each with as many components, one after another

    @classmethod
    def of(cls, head: Mixture, outputs: Iterable[Tensor]) -> "Pooled":
        """Of the outputs of several networks, or passes, each of shape (star, output)."""
        weight, mean, sd = zip(*(head.parameters_of(one) for one in outputs), strict=True)
        share = torch.cat(weight, dim=-1) - float(np.log(len(weight)))
        return cls(share, torch.cat(mean, dim=-1), torch.cat(sd, dim=-1), len(weight))

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, and standard deviations from noise in the data and from ignorance of the model, (star, label) each.

        The mean variance of the networks, and the variance of their means: they add to the mixture's variance.
        """
        share = self.weight.exp()
        centre = (share * self.mean).sum(dim=-1)
        each = [part.unflatten(-1, (self.networks, -1)) for part in (share * self.networks, self.mean, self.sd)]
        own = (each[0] * each[1]).sum(dim=-1)
        noise = (each[0] * (each[2] ** 2 + (each[1] - own[..., None]) ** 2)).sum(dim=-1).mean(dim=-1)
        return centre, noise.sqrt(), ((own - centre[..., None]) ** 2).mean(dim=-1).sqrt()

    def stretched(self, factor: Tensor) -> "Pooled":
        """The same about the same means, wider by factors of shape (star, label)."""
        centre = (self.weight.exp() * self.mean).sum(dim=-1, keepdim=True)
        wider = factor[..., None].to(self.mean.dtype)
        return replace(self, mean=centre + wider * (self.mean - centre), sd=wider * self.sd)

    def cumulative(self, values: Tensor) -> Tensor:
        """Probability that a label is less than values of shape (star, label)."""
        below = torch.special.ndtr((values[..., None] - self.mean) / self.sd)
        return (self.weight.exp() * below).sum(dim=-1).clamp(0.0, 1.0)

    def quantile(self, level: Tensor, halvings: int = 24) -> Tensor:
        """Quantile of each label at a level of its own, shape (label,), by bisection; shape (star, label)."""
        own = self.mean + self.sd * torch.special.ndtri(level)[:, None]
        low, high = own.amin(dim=-1), own.amax(dim=-1)
        for _ in range(halvings):
            middle = 0.5 * (low + high)
            below = self.cumulative(middle) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return 0.5 * (low + high)


def shape_of(
    wavelength: np.ndarray,
    magnitudes: Sequence[str],
    labels: Mapping[str, str],
    scale: Scale,
    network: Network,
    masks: np.ndarray | None = None,
    noise: float = 0.0,
) -> dict[str, Any]:
    """Arguments of `Spectrum` in JSON's types."""
    return {
        "wavelength": [float(one) for one in wavelength],
        "magnitudes": list(magnitudes),
        "labels": dict(labels),
        "scale": asdict(scale),
        "network": network.model_dump(mode="json"),
        "masks": None if masks is None else [np.flatnonzero(row).tolist() for row in masks],
        "noise": noise,
    }


@dataclass(frozen=True)
class Build:
    """Makes an estimator; a class, as other processes get it too."""

    shape: Mapping[str, Any]
    inputs: np.ndarray  # of training stars, from which a `Whitening` learns

    def __call__(self) -> Spectrum:
        """A new estimator."""
        made = Spectrum(**self.shape)
        if isinstance(made.network, Dense):
            made.network.whitening.learn(torch.from_numpy(self.inputs))
        return made
