"""Networks from a spectrum to the labels' distributions: ours, and two of the literature beside which they are tried.

All see the same numbers of a star: scaled flux of each pixel (0 where hidden), a bit each (1 where seen), colours and
their bits. Those of the literature know no bits and no colours: they are given the flux alone, as published.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from galcarto.learning.networks import Residual
from galcarto.spectra.settings import Network

FILTER = 8  # pixels: length of all convolutions
POOL = 4  # pixels
LARGEST_SCORE = 6.0  # standard deviations beyond which a principal component is cut
ASTRONN_DROPOUT = 0.3  # Leung & Bovy 2019 (arXiv:1808.04428), section 3


class Whitening(nn.Module):
    """Adds principal components of the pixels, each of unit variance, to the inputs.

    Pixels of a low-resolution spectrum are alike, and what tells abundances are their small differences, which a
    network would take long to find. `learn` sets the components from training spectra; they are no weights.

    Parameters
    ----------
    pixels, components : int
    """

    rows: Tensor

    def __init__(self, pixels: int, components: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(min(components, pixels), pixels))

    def learn(self, inputs: Tensor) -> None:
        """From inputs of shape (example, 2 * (pixel + colour)), whose pixels have a mean of 0."""
        seen = inputs[:, : self.rows.shape[1]].double()
        values, vectors = torch.linalg.eigh(seen.T @ seen / len(seen))
        keep = torch.arange(len(values) - 1, len(values) - 1 - len(self.rows), -1)
        self.rows.copy_((vectors[:, keep] / values[keep].clamp(min=1e-8).sqrt()).T)

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (batch, component + input)."""
        found = (inputs[:, : self.rows.shape[1]] @ self.rows.T).clamp(-LARGEST_SCORE, LARGEST_SCORE)
        return torch.cat([found, inputs], dim=1)


class Dense(nn.Module):
    """Ours for short spectra: residual dense blocks on pixels, their principal components, colours and bits."""

    def __init__(self, pixels: int, colours: int, outputs: int, options: Network) -> None:
        super().__init__()
        width = options.width
        blocks = [Residual(width, width, options.dropout) for _ in range(options.blocks)]
        self.whitening = Whitening(pixels, options.whiten)
        first = nn.Linear(2 * (pixels + colours) + len(self.whitening.rows), width)
        self.features = nn.Sequential(self.whitening, first, *blocks)
        self.dense = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs, shape (batch, outputs), of inputs of shape (batch, 2 * (pixel + colour))."""
        return self.dense(self.features(inputs))


class Pixels(nn.Module):
    """Convolutions over the pixels, and the rest of the inputs beside them.

    Parameters
    ----------
    pixels : int
    filters : sequence of int
    bits : bool
        Show the bits as a second channel, and the colours.
    dropout : float
        After each convolution.
    """

    def __init__(self, pixels: int, colours: int, filters: Sequence[int], bits: bool, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1 + bits
        for number in filters:
            layers += [nn.Conv1d(channels, number, FILTER), nn.ReLU(), nn.Dropout(dropout)]
            channels = number
        self.convolutions = nn.Sequential(*layers, nn.MaxPool1d(POOL), nn.Flatten())
        self.pixels, self.bits = pixels, bits
        self.outputs = channels * ((pixels - len(filters) * (FILTER - 1)) // POOL) + (2 * colours if bits else 0)

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (batch, outputs)."""
        spectrum = inputs[:, : 2 * self.pixels].unflatten(1, (2, self.pixels))
        found = self.convolutions(spectrum[:, : 1 + self.bits])
        return torch.cat([found, inputs[:, 2 * self.pixels :]], dim=1) if self.bits else found


class Convolutional(nn.Module):
    """Two convolutions and two dense layers, as all three convolutional networks have them."""

    def __init__(self, first: Pixels, widths: tuple[int, int], outputs: int, dropout: float) -> None:
        super().__init__()
        one, two = widths
        self.features = first
        self.dense = nn.Sequential(
            nn.Linear(first.outputs, one),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(one, two),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(two, outputs),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """As of `Dense`."""
        return self.dense(self.features(inputs))


class Censored(nn.Module):
    """A trunk for the stellar parameters, and a branch for each abundance that sees its own element's pixels alone.

    A branch is given the trunk's outputs too, without gradients through them: what it knows of the other elements is
    what the stellar parameters tell (Leung & Bovy 2019, arXiv:1808.04428, section 3.2).

    Parameters
    ----------
    trunk : Module
        With `features` and `dense`; gives the outputs of its labels.
    masks : Tensor of bool, shape (label, pixel)
        What each branch sees; a label that sees nothing is one of the trunk's.
    each : int
        Outputs for a label.
    """

    masks: Tensor

    def __init__(self, trunk: Convolutional, masks: Tensor, each: int, dropout: float) -> None:
        super().__init__()
        self.trunk, self.each = trunk, each
        branched = masks.any(dim=1)
        self.register_buffer("masks", masks[branched])
        # place of each label among the trunk's, then the branches'
        self.order = torch.argsort(torch.argsort(branched.int(), stable=True)).tolist()
        outputs = int((~branched).sum()) * each
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Linear(int(mask.sum()) + outputs, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, each))
            for mask in masks[branched]
        )
        self.features = trunk.features
        self.dense = nn.Sequential(*trunk.dense)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs of the labels in their order."""
        first = self.trunk(inputs)
        seen = first.detach()
        pixels = inputs[:, : self.masks.shape[1]]
        branches = (
            branch(torch.cat([pixels[:, mask], seen], dim=1))
            for branch, mask in zip(self.branches, self.masks, strict=True)
        )
        return torch.cat([first, *branches], dim=1).unflatten(1, (-1, self.each))[:, self.order].flatten(1)


def build(pixels: int, colours: int, labels: int, options: Network, masks: Tensor | None = None) -> nn.Module:
    """A network by name; its outputs are those of `galcarto.spectra.estimator.head`."""
    each = outputs_of(options)
    outputs = each * labels
    if options.name == "residual":
        return Dense(pixels, colours, outputs, options)
    if options.name == "convolutional":
        return Convolutional(Pixels(pixels, colours, (4, 16), True, 0.0), (256, 128), outputs, options.dropout)
    if options.name == "starnet":  # Fabbro et al. 2018, arXiv:1709.09182, section 3.1
        return Convolutional(Pixels(pixels, colours, (4, 16), False, 0.0), (256, 128), outputs, 0.0)
    first = Pixels(pixels, colours, (2, 4), False, ASTRONN_DROPOUT)
    if options.name == "astronn":
        return Convolutional(first, (196, 96), outputs, ASTRONN_DROPOUT)
    if masks is None:
        raise ValueError("found no masks; expected the pixels of each abundance")
    trunk = Convolutional(first, (196, 96), int((~masks.any(dim=1)).sum()) * each, ASTRONN_DROPOUT)
    return Censored(trunk, masks, each, ASTRONN_DROPOUT)


def outputs_of(options: Network) -> int:
    """Outputs for each label: a mean (StarNet), a mean and a width (astroNN), or those of a mixture."""
    return {"starnet": 1, "astronn": 3, "astronn_censored": 3}.get(options.name, 3 * options.components)
