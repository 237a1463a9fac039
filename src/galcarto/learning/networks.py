"""Networks from inputs to the parameters of a distribution. A new one is one class here and a name in NETWORKS."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn


class Estimator(nn.Module):
    """A network, the head that reads its outputs, and what a task makes of a batch.

    A task subclasses it with `inputs` and `loss`; that is all that training knows of the task.

    Parameters
    ----------
    network : Module
        With ``features`` and ``dense`` (a Sequential whose last layer gives the outputs) for `forward_features`.
    head : Module
        Parameters of the distribution that are the same for every example; see `galcarto.learning.heads`.
    """

    def __init__(self, network: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.network, self.head = network, head

    def inputs(self, batch: Sequence[Tensor]) -> Tensor:
        """What the network is shown of a batch of `data.Examples`."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, batch: Sequence[Tensor]) -> Tensor:
        """Mean loss of a batch, given the network's outputs in single precision."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs, shape (batch, output)."""
        return self.network(inputs)

    def forward_features(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs, and the last layer's input, shape (batch, feature)."""
        dense = cast(nn.Sequential, self.network.dense)
        features = dense[:-1](cast(nn.Module, self.network.features)(inputs))
        return dense[-1](features), features


class Compact(nn.Module):
    """A small network for CPUs: four convolutions, three of stride 2, and two dense layers; 1.6 million weights.

    Normalisations (Ioffe & Szegedy 2015, arXiv:1502.03167; Ba et al. 2016, arXiv:1607.06450) make it
    learn from a few hundred thousand examples what would take millions without.

    Parameters
    ----------
    channels : int
        Input channels; images are 64x64.
    outputs : int
    pixels : int
        Side of the image.
    dropout : float
        On the first dense layer.
    """

    def __init__(self, channels: int, outputs: int, pixels: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, side, stride in ((16, 5, 2), (24, 3, 2), (32, 3, 2), (32, 3, 1)):
            layers += [
                nn.Conv2d(channels, width, side, stride=stride, padding=side // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
        self.features = nn.Sequential(*layers, nn.Flatten())
        size = channels * (-(-pixels // 8)) ** 2
        self.dense = nn.Sequential(
            nn.Linear(size, 512),
            nn.LayerNorm(512),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(512, 512),
            nn.LayerNorm(512),
            nn.ReLU(inplace=True),
            nn.Linear(512, outputs),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Outputs of shape (batch, outputs) for images of shape (batch, channel, magnitude, colour)."""
        return self.dense(self.features(images))


class Cornu2022(nn.Module):
    """The network of Cornu et al. 2022 (arXiv:2201.05571): [C5x5.12-P2-{D3072}x2-D2048], then outputs.

    Parameters are those of `Compact`.
    """

    def __init__(self, channels: int, outputs: int, pixels: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 12, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        layers: list[nn.Module] = []
        size = 12 * (pixels // 2) ** 2
        for width in (3072, 3072, 2048):
            layers += [nn.Linear(size, width), nn.ReLU(inplace=True), nn.Dropout(dropout)]
            size = width
        self.dense = nn.Sequential(*layers, nn.Linear(size, outputs))

    def forward(self, images: Tensor) -> Tensor:
        """Outputs of shape (batch, outputs) for images of shape (batch, channel, magnitude, colour)."""
        return self.dense(self.features(images))


class Residual(nn.Module):
    """A residual dense block with pre-activation (He et al. 2016, arXiv:1603.05027).

    ``out = dense(relu(norm(dense(relu(norm(in)))))) + in``; where the width changes, a matrix takes `in` to it.

    Parameters
    ----------
    inputs, outputs : int
    dropout : float
    """

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Sequential(
            nn.LayerNorm(inputs),
            nn.ReLU(),
            nn.Linear(inputs, outputs),
            nn.LayerNorm(outputs),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(outputs, outputs),
        )
        self.skip = nn.Identity() if inputs == outputs else nn.Linear(inputs, outputs, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (batch, outputs) from (batch, inputs)."""
        return self.dense(inputs) + self.skip(inputs)


class Chain(nn.Module):
    """Heads one after another: each sees the features, and what the heads before it gave.

    Parameters
    ----------
    features : int
    sizes : sequence of int
        Outputs of each head.
    hidden : int
    """

    def __init__(self, features: int, sizes: Sequence[int], hidden: int) -> None:
        super().__init__()
        before = [features + sum(sizes[:place]) for place in range(len(sizes))]
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(seen, hidden), nn.ReLU(), nn.Linear(hidden, size))
            for seen, size in zip(before, sizes, strict=True)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Outputs of all heads, in their order."""
        seen = features
        for head in self.heads:
            seen = torch.cat([seen, head(seen)], dim=-1)
        return seen[:, features.shape[1] :]


class Attention(nn.Module):
    """Attention among the measurements of an example (Vaswani et al. 2017, arXiv:1706.03762).

    Parameters
    ----------
    tokens : int
        Measurements.
    inputs : int
        Numbers that describe each.
    width : int
        Of a token.
    heads : int
    """

    def __init__(self, tokens: int, inputs: int, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(tokens, width) / width**0.5)
        self.embed = nn.Linear(inputs, width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Shape (batch, token * width) from (batch, token, input)."""
        embedded = self.embed(tokens) + self.place
        return self.norm(embedded + self.attention(embedded, embedded, embedded, need_weights=False)[0]).flatten(1)


NETWORKS = {"compact": Compact, "cornu2022": Cornu2022}
