"""Settings of the network and its training."""

from typing import Literal

from pydantic import Field, model_validator

from galcarto.core.settings import Section


class Network(Section):
    """Architecture of the network."""

    name: Literal["compact", "cornu2022"] = "compact"
    dropout: float = Field(0.1, ge=0, lt=1)


class Training(Section):
    """Training of the network."""

    epochs: int = Field(gt=0, description="passes over the training set")
    batch: int = Field(256, gt=0)
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    rounds: int = Field(8, gt=0, description="validations and checkpoints in a pass over the training set")
    patience: int = Field(16, gt=0, description="rounds without a lower validation loss before training stops")
    buffer: int = Field(16, gt=0, description="stored blocks mixed in one shuffle buffer")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = Field(1, gt=0, description="among which each batch is divided")
    compile: bool = Field(False, description="with torch.compile")

    @model_validator(mode="after")
    def _shared(self) -> "Training":
        if self.batch % self.devices:
            raise ValueError(f"batch: found {self.batch}; expected a multiple of the {self.devices} devices")
        return self


class TrainingJob(Section):
    """Cluster resources of the training job."""

    threads: int = Field(2, gt=0)
    gpus: int = Field(0, ge=0)
    mem_mb: int = Field(8000, gt=0)
    runtime: int = Field(720, ge=10, description="minutes; five before the end the training receives SIGTERM")
    workers: int = Field(1, ge=0, description="processes that read examples, for each device")


class InferenceJob(Section):
    """Cluster resources of a job that applies the network."""

    threads: int = Field(1, gt=0)
    gpus: int = Field(0, ge=0)
    mem_mb: int = Field(6000, gt=0)
    runtime: int = Field(60, gt=0, description="minutes")
