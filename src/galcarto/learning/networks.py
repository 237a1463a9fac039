"""Networks from images to the parameters of a posterior. A new one is one class here and a name in NETWORKS."""

from typing import cast

import torch
from torch import Tensor, nn

from galcarto.learning.heads.tree import PARAMETERS, Tree


class Compact(nn.Module):
    """A net for CPUs: four convolutions, of which three halve the image, and two dense layers. About 1.6 M weights.

    Normalisations (Ioffe & Szegedy 2015, arXiv:1502.03167; Ba et al. 2016, arXiv:1607.06450) let it learn from a few
    hundred thousand examples what it would need millions for without.

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
    """The net of Cornu et al. 2022 (arXiv:2201.05571): [C5x5.12-P2-{D3072}x2-D2048], then our outputs.

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


NETWORKS = {"compact": Compact, "cornu2022": Cornu2022}


class Estimator(nn.Module):
    """A network and the tree that reads its outputs.

    Parameters
    ----------
    name : str
        Of the network in the settings.
    channels, pixels : int
        Planes of the input, and the side of an image.
    bins : int
        Of the profile.
    dropout : float
    """

    def __init__(self, name: str, channels: int, pixels: int, bins: int, dropout: float) -> None:
        super().__init__()
        self.network = NETWORKS[name](channels, PARAMETERS * bins, pixels, dropout)
        self.tree = Tree()

    def forward(self, images: Tensor) -> Tensor:
        """Parameters of the posterior, shape (batch, PARAMETERS * bins), for images (batch, channel, row, column)."""
        return self.network(images)

    def forward_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What `forward` gives, and the last layer's input, shape (batch, feature)."""
        dense = cast(nn.Sequential, self.network.dense)
        features = dense[:-1](cast(nn.Module, self.network.features)(images))
        return dense[-1](features), features


def prepare(counts: Tensor, reference: Tensor, present: Tensor) -> Tensor:
    """Network input from counts.

    The square root gives every pixel's Poisson noise the same size. A diagram that was not observed is empty and its
    plane of `present` is 0: an empty sky looks different.

    Parameters
    ----------
    counts : Tensor, shape (batch, channel, magnitude, colour)
    reference : Tensor, shape (batch, channel, magnitude, colour)
        Expected bare counts in the same solid angle.
    present : Tensor, shape (batch, channel)
        1 where the channel was observed, else 0.

    Returns
    -------
    Tensor of float32, shape (batch, planes, magnitude, colour)
        `planes` of them.
    """
    plane = present.float()[:, :, None, None]
    images = [torch.sqrt(counts.float()) * plane, torch.sqrt(reference.float()) * plane]
    if counts.shape[1] > 1:
        images.append(plane.expand(-1, -1, *counts.shape[2:]))
    return torch.cat(images, dim=1)


def planes(channels: int) -> int:
    """Planes of the input that `prepare` makes of so many channels."""
    return 2 if channels == 1 else 3 * channels
