"""Networks that tell at many pixels of a sightline whether an absorber is there, where its centre is, and its lg N.

Each maps (batch, channel, pixel) to (batch, `OUTPUTS`, position) and says at which pixels its positions are.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from galcarto.absorbers.sightlines import PIXELS
from galcarto.learning.heads.normal import Normal
from galcarto.learning.networks import Estimator

CHANNELS = 5  # flux, error, whether there is data, wavelength at rest, redshift
OUTPUTS = 5  # logit of being in an absorber, offset and lg N, and the logarithms of their standard deviations
NEAR = 30.0  # pixels from its centre in which a pixel belongs to an absorber
FAR = 60.0  # pixels, at most, of an offset
CENTRE, WIDTH = 20.3, 0.7  # lg N is learnt relative to these
CYCLE = 7  # layers after which dilation begins anew at 1; the largest is 64
SOFT = 0.02  # of the weight of lg N, which is 0 where there is no absorber (Parks et al. 2018, arXiv:1709.04962, eq. 2)
FLUX, ERROR = (-2.0, 5.0), 3.0  # range of what the network is shown


class Dilated(nn.Module):
    """Convolutions along the whole spectrum, whose dilation doubles from layer to layer (Yu & Koltun 2016).

    The first layer sums up `stride` pixels; the last gives the outputs of each of them.

    Parameters
    ----------
    width, blocks, stride : int
        See `galcarto.absorbers.settings.Network`.
    """

    def __init__(self, width: int, blocks: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.first = nn.Sequential(
            nn.Conv1d(CHANNELS, width, 2 * stride + 1, stride=stride, padding=stride, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
        )
        dilations = [2 ** (at % CYCLE) for at in range(blocks)]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation, bias=False),
                nn.BatchNorm1d(width),
                nn.ReLU(inplace=True),
            )
            for dilation in dilations
        )
        # what the whole spectrum is like, broad absorption lines for one, is told to every pixel
        self.whole = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.last = nn.Conv1d(width, OUTPUTS * stride, 1)
        nn.init.zeros_(self.last.weight)  # losses of Gaussians are huge where first outputs are wild
        self.register_buffer("positions", torch.arange(PIXELS), persistent=False)

    def forward_pooled(self, spectra: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs, and the mean of the last layer's input over the pixels, shape (batch, width)."""
        seen = self.first(spectra)  # (batch, width, pixel / stride)
        for block, whole in zip(self.blocks, self.whole, strict=True):
            seen = seen + block(seen) + whole(seen.mean(dim=2))[..., None]
        outputs = self.last(seen).unflatten(1, (OUTPUTS, self.stride))
        return outputs.transpose(2, 3).flatten(2)[..., : spectra.shape[-1]], seen.mean(dim=2)

    def forward(self, spectra: Tensor) -> Tensor:
        """Shape (batch, output, pixel)."""
        return self.forward_pooled(spectra)[0]


class Parks2018(nn.Module):
    """Windows of 400 pixels that slide along the spectrum: the network of Parks et al. 2018 (arXiv:1709.04962).

    Three convolutions with pooling, a dense layer of 350, and a branch for each label. It sees the flux alone.

    Parameters
    ----------
    dropout : float
        Of the dense layer.
    """

    window, step = 400, 16  # pixels
    learnt_step = 64  # pixels between the windows of which a training step learns: neighbours tell nearly the same

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, 100, 32, stride=3, padding=15),
            nn.ReLU(inplace=True),
            nn.MaxPool1d(7, stride=4, padding=3),
            nn.Conv1d(100, 96, 16, padding=8),
            nn.ReLU(inplace=True),
            nn.MaxPool1d(6, stride=4, padding=2),
            nn.Conv1d(96, 96, 16, padding=8),
            nn.ReLU(inplace=True),
            nn.MaxPool1d(6, stride=4, padding=2),
            nn.Flatten(),
            nn.LazyLinear(350),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.branches = nn.ModuleList(nn.Linear(350, size) for size in (1, 2, 2))
        self.features(torch.zeros(1, 1, self.window))
        self.register_buffer("every", torch.arange(self.step // 2, PIXELS, self.step), persistent=False)

    @property
    def positions(self) -> Tensor:
        """Pixels in the middle of the windows."""
        every = cast(Tensor, self.every)
        return every[:: self.learnt_step // self.step] if self.training else every

    def forward_pooled(self, spectra: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs, and the mean of the dense layer over the windows, shape (batch, 350)."""
        half = self.window // 2
        flux = pad(spectra[:, 0], (half - self.step // 2, half + self.step // 2))
        step = self.learnt_step if self.training else self.step
        windows = flux.unfold(1, self.window, step)[:, : len(self.positions)]  # (batch, position, window)
        features = self.features(windows.reshape(-1, 1, self.window))
        presence, offset, column = (branch(features) for branch in self.branches)
        outputs = torch.cat([presence, offset[:, :1], column[:, :1], offset[:, 1:], column[:, 1:]], dim=1)
        shape = windows.shape[:2]
        return outputs.unflatten(0, shape).transpose(1, 2), features.unflatten(0, shape).mean(dim=1)

    def forward(self, spectra: Tensor) -> Tensor:
        """Shape (batch, output, position)."""
        return self.forward_pooled(spectra)[0]


def build(name: str, width: int, blocks: int, stride: int, dropout: float, offset_loss: str) -> "Finder":
    """The estimator of a network by name; see `galcarto.absorbers.settings.Network`."""
    network: nn.Module = Parks2018(dropout) if name == "parks2018" else Dilated(width, blocks, stride)
    return Finder(network, offset_loss)


class Finder(Estimator):
    """What a network is shown of a sightline, and its loss.

    Parameters
    ----------
    network : Module
    offset_loss : {"gaussian", "squared"}
    """

    def __init__(self, network: nn.Module, offset_loss: str) -> None:
        super().__init__(network, Normal())
        self.offset_loss = offset_loss

    @property
    def positions(self) -> Tensor:
        """Pixels of the network's positions."""
        return self.network.positions  # type: ignore[return-value]

    def inputs(self, batch: Sequence[Tensor]) -> Tensor:
        """Channels of shape (batch, `CHANNELS`, pixel) from flux, error and redshift."""
        flux, error, redshift = batch[:3]
        there = (error > 0).float()
        place = torch.linspace(-1.0, 1.0, flux.shape[1], device=flux.device).expand_as(flux)
        distance = (redshift[:, None] - 3.0).expand_as(flux)
        return torch.stack([flux.clamp(*FLUX) * there, error.clamp(max=ERROR), there, place, distance], dim=1)

    def forward_features(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs, and features of the whole sightline, shape (batch, feature)."""
        return self.network.forward_pooled(inputs)  # type: ignore[operator]

    def labels(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Labels at the network's positions, each of shape (batch, position).

        Returns
        -------
        presence : Tensor
            1 where an absorber is within `NEAR` pixels.
        offset : Tensor
            Pixels to its centre, over `FAR`; of the nearest.
        column : Tensor
            Its lg N, relative to `CENTRE`, over `WIDTH`.
        searched : Tensor of bool
            Where there is data and an absorber may be.
        """
        pixel, log_n, searched = batch[3:6]
        positions = self.positions
        distance = torch.nan_to_num(pixel[:, None] - positions[None, :, None], nan=torch.inf)
        nearest = distance.abs().argmin(dim=-1, keepdim=True)
        offset = distance.gather(-1, nearest)[..., 0].clamp(-FAR, FAR)
        column = torch.nan_to_num(log_n, nan=CENTRE)[:, None].expand_as(distance).gather(-1, nearest)[..., 0]
        presence = (offset.abs() <= NEAR).float()
        return presence, offset / FAR, (column - CENTRE) / WIDTH, searched[:, positions]

    def loss(self, outputs: Tensor, batch: Sequence[Tensor]) -> Tensor:
        """Cross-entropy of presence, and where there is an absorber the losses of offset and lg N."""
        presence, offset, column, searched = self.labels(batch)
        entropy = nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], presence, reduction="none")
        weight = presence / (presence + SOFT)
        mean, sd = self.values(outputs)
        errors = ((mean - torch.stack([offset, column], dim=1)) ** 2) / (2 * sd**2) + sd.log()
        there, column_error = (offset.abs() < 1.0).float() * weight, errors[:, 1]
        offset_error = errors[:, 0] if self.offset_loss == "gaussian" else (mean[:, 0] - offset) ** 2
        each = entropy + weight * column_error * 0.2 + there * offset_error * 0.2
        return (each * searched).sum() / searched.sum().clamp(min=1)

    def values(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of offset and lg N, each (batch, 2, position), as they are learnt."""
        mean, sd = self.head.distribution(outputs[:, 1:].transpose(1, 2))  # type: ignore[operator]
        return mean.transpose(1, 2), sd.transpose(1, 2)


def read_outputs(finder: Finder, outputs: Tensor) -> dict[str, np.ndarray]:
    """Outputs in their own units, each of shape (sightline, position).

    Returns
    -------
    dict
        ``presence``, a probability; ``offset`` and ``offset_sd``, pixels; ``log_nhi`` and ``log_nhi_sd``.
    """
    mean, sd = finder.values(outputs)
    found = {"presence": outputs[:, 0].sigmoid(), "offset": mean[:, 0] * FAR, "offset_sd": sd[:, 0] * FAR}
    found |= {"log_nhi": CENTRE + WIDTH * mean[:, 1], "log_nhi_sd": WIDTH * sd[:, 1]}
    return {name: value.numpy() for name, value in found.items()}
