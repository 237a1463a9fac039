"""Networks from images to the parameters of a posterior. A new one is one class here and a name in NETWORKS."""

import torch
from torch import Tensor, nn


class Compact(nn.Module):
    """A net for CPUs: four convolutions that halve the image, two dense layers. About 1 M weights.

    Parameters
    ----------
    channels : int
        Input channels; images are 64x64.
    outputs : int
    pixels : int
        Side of the image.
    dropout : float
        On the dense layers.
    """

    def __init__(self, channels: int, outputs: int, pixels: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 16, 5, stride=2, padding=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 24, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(24, 32, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
        )
        with torch.no_grad():
            size = self.features(torch.zeros(1, channels, pixels, pixels)).shape[1]
        self.dense = nn.Sequential(
            nn.Linear(size, 512),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(512, 512),
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


def build(name: str, channels: int, outputs: int, pixels: int, dropout: float) -> nn.Module:
    """A network by the name in the settings, with fresh weights from torch's global generator."""
    return NETWORKS[name](channels, outputs, pixels, dropout)


def prepare(counts: Tensor, reference: Tensor) -> Tensor:
    """Network input from counts.

    The square root gives every pixel's Poisson noise the same size.

    Parameters
    ----------
    counts : Tensor, shape (batch, magnitude, colour)
    reference : Tensor, shape (batch, magnitude, colour)
        Expected bare counts in the same solid angle.

    Returns
    -------
    Tensor of float32, shape (batch, channel, magnitude, colour)
    """
    return torch.sqrt(torch.stack([counts.float(), reference.float()], dim=1))
