"""A trained estimator with all that is needed to use it, as one file without code."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from galcarto.core.errors import UserError
from galcarto.core.files import check_zip, made_here
from galcarto.learning.calibration import Calibration
from galcarto.learning.networks import Estimator
from galcarto.learning.trust import FeatureDistribution

FORMAT = 5


@dataclass(frozen=True)
class Trained:
    """An estimator, its calibration and its shape, which a task may subclass with predictions of its own."""

    estimator: Estimator  # in evaluation mode
    shape: Mapping[str, Any]  # arguments that build the estimator, in JSON's types
    calibration: Calibration
    features: FeatureDistribution | None  # of validation examples; None until the estimator is trained
    extra: Mapping[str, Tensor]  # what else the task keeps

    def on_gpu(self, gpus: int) -> Self:
        """The same with its estimator on a GPU, where the job was given one and torch can use it."""
        if gpus and torch.cuda.is_available():
            return replace(self, estimator=deepcopy(self.estimator).cuda())
        if gpus:
            logging.warning(
                "inference_job.gpus: torch %s finds no GPU: THE ONE THAT THIS JOB WAS GIVEN STANDS IDLE; install a "
                "torch built for it, or set inference_job.gpus to 0",
                torch.__version__,
            )
        return self

    def outputs(self, inputs: Iterable[Callable[[torch.device], Tensor]]) -> tuple[Tensor, Tensor]:
        """Outputs of the network, shape (example, output), and its features, shape (example, feature), on the CPU.

        Parameters
        ----------
        inputs : iterable of callable
            One for each batch: what the network is shown, on a device.
        """
        device = next(self.estimator.parameters()).device
        with torch.inference_mode():
            parts = [self.estimator.forward_features(make(device)) for make in inputs]
        outputs, features = zip(*parts, strict=True)
        return torch.cat(outputs), torch.cat([part.cpu() for part in features])

    def save(self, path: str | Path, provenance: Mapping[str, Any]) -> None:
        """Write tensors and JSON only: readable with ``weights_only=True``."""
        assert self.features is not None
        content = {
            "format": FORMAT,
            "shape": json.dumps(dict(self.shape)),
            "stretch": self.calibration.stretch,
            "shift": self.calibration.shift,
            "features": [self.features.mean, self.features.whitening, self.features.distances],
            "extra": dict(self.extra),
            "weights": self.estimator.state_dict(),
            "provenance": json.dumps(dict(provenance)),
        }
        with open(path, "wb") as file:  # given a name, torch would write it into the file
            torch.save(content, file)

    @classmethod
    def read(cls, path: str | Path, build: Callable[..., Estimator]) -> Self:
        """Read a file written by `save`.

        Parameters
        ----------
        path : path
        build : callable
            Makes the estimator from its shape.

        Raises
        ------
        UserError
            If it is not such a file.
        """
        hint = "delete it and train again" if made_here(path) else "expected a network.pt of Galcarto"
        try:
            check_zip(path)
            content = torch.load(path, weights_only=True, map_location="cpu")
            found = content["format"]
        except Exception as error:
            raise UserError(f"{path}: not a network of Galcarto ({error}); {hint}") from error
        if found != FORMAT:
            raise UserError(f"{path}: found format {found}; expected {FORMAT}: {hint}")
        shape = json.loads(content["shape"])
        try:
            estimator = build(**shape)
            estimator.load_state_dict(content["weights"])
        except (TypeError, KeyError, RuntimeError) as error:
            raise UserError(f"{path}: found the network of another task ({error}); expected one of this") from error
        calibration = Calibration(content["shift"], content["stretch"])
        return cls(estimator.eval(), shape, calibration, FeatureDistribution(*content["features"]), content["extra"])
