"""A trained network with all that is needed to use it, as one file without code."""

import json
import logging
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from galcarto.core.errors import UserError
from galcarto.core.files import check_zip
from galcarto.learning.calibration import Calibration
from galcarto.learning.heads.tree import Posterior
from galcarto.learning.networks import Estimator, prepare
from galcarto.learning.trust import FeatureDistribution

FORMAT = 3
BATCH = 256


@dataclass(frozen=True)
class Trained:
    """A network, its calibration and its shape.

    Attributes
    ----------
    network : Estimator
        In evaluation mode.
    shape : dict
        ``name``, ``channels``, ``pixels``, ``bins``, ``dropout``: arguments of `networks.Estimator`.
    edges : ndarray, shape (bin + 1,)
        Bin edges of the profile.
    support : (float, float)
        Floor of the posterior's increments and ceiling of the cumulative profile.
    calibration : Calibration
    feature_distribution : FeatureDistribution or None
        None until the network is trained.
    prior_spread : ndarray, shape (bin,)
        Standard deviation of the log-density over the prior; see `trust.log_density_spread`.
    """

    network: Estimator
    shape: Mapping[str, Any]
    edges: np.ndarray
    support: tuple[float, float]
    calibration: Calibration
    feature_distribution: FeatureDistribution | None
    prior_spread: np.ndarray

    def on_gpu(self, gpus: int) -> "Trained":
        """The same with its network on a GPU, where the job was given any and torch can use it."""
        if gpus and torch.cuda.is_available():
            return replace(self, network=deepcopy(self.network).cuda())
        if gpus:
            logging.warning(
                "inference_job.gpus: torch %s finds no GPU: THE ONE THAT THIS JOB WAS GIVEN STANDS IDLE; install a "
                "torch built for it, or set inference_job.gpus to 0",
                torch.__version__,
            )
        return self

    def posterior(self, counts: np.ndarray, reference: np.ndarray, present: np.ndarray) -> tuple[Posterior, Tensor]:
        """Posterior of images and the network's features, shape (image, feature), in batches.

        Parameters
        ----------
        counts, reference : ndarray, shape (image, channel, magnitude, colour)
            Observed counts, and bare counts expected in the same solid angle.
        present : ndarray, shape (image, channel)
            1 where the channel was observed, else 0.
        """
        device = next(self.network.parameters()).device
        outputs: list[Tensor] = []
        features: list[Tensor] = []
        with torch.inference_mode():
            for start in range(0, len(counts), BATCH):
                part = slice(start, start + BATCH)
                arrays = (np.ascontiguousarray(array[part], np.float32) for array in (counts, reference, present))
                parameters, seen = self.network.forward_features(
                    prepare(*(torch.from_numpy(a).to(device) for a in arrays))
                )
                outputs.append(parameters)
                features.append(seen.cpu())
        return Posterior.from_outputs(torch.cat(outputs), self.network.tree, *self.support), torch.cat(features)

    def save(self, path: str | Path, provenance: Mapping[str, Any]) -> None:
        """Write tensors and JSON only: readable with ``weights_only=True``."""
        assert self.feature_distribution is not None
        content = {
            "format": FORMAT,
            "shape": json.dumps(dict(self.shape)),
            "edges": torch.from_numpy(self.edges),
            "support": list(self.support),
            "stretch": self.calibration.stretch,
            "shift": self.calibration.shift,
            "feature_distribution": [
                self.feature_distribution.mean,
                self.feature_distribution.whitening,
                self.feature_distribution.distances,
            ],
            "prior_spread": torch.from_numpy(self.prior_spread),
            "weights": self.network.state_dict(),
            "provenance": json.dumps(dict(provenance)),
        }
        with open(path, "wb") as file:  # given a name, torch would write it into the file
            torch.save(content, file)

    @classmethod
    def load(cls, path: str | Path) -> "Trained":
        """Read a file written by `save`.

        Raises
        ------
        ValueError
            If it is not such a file.
        """
        try:
            check_zip(path)
            content = torch.load(path, weights_only=True, map_location="cpu")
            found = content["format"]
        except Exception as error:
            raise UserError(f"{path}: not a network of Galcarto ({error}); delete it and train again") from error
        if found != FORMAT:
            raise UserError(f"{path}: found format {found}; expected {FORMAT}: delete it and train again")
        shape = json.loads(content["shape"])
        edges = content["edges"].numpy()
        network = Estimator(**shape)
        network.load_state_dict(content["weights"])
        calibration = Calibration(content["shift"], content["stretch"])
        return cls(
            network.eval(),
            shape,
            edges,
            tuple(content["support"]),
            calibration,
            FeatureDistribution(*content["feature_distribution"]),
            content["prior_spread"].numpy(),
        )
