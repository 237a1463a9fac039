"""Settings of the network and its training."""

from typing import Literal

from pydantic import Field, model_validator

from galcarto.core.settings import Section


class Network(Section):
    """Architecture of the network."""

    name: Literal["compact", "cornu2022"] = Field(
        "compact", description="A small network for CPUs, or the layers of Cornu et al. 2022, for GPUs."
    )
    dropout: float = Field(
        0.1, ge=0, lt=1, description="Fraction of units dropped in the dense layers during training."
    )


class Training(Section):
    """Training of the network."""

    epochs: int = Field(gt=0, description="Maximum number of passes over the training set.")
    batch: int = Field(
        256,
        gt=0,
        description="Examples per step; at most all training examples (`examples.train` and `ablation.train` "
        "times the number of training sightlines). A round must hold at least one batch.",
    )
    learning_rate: float = Field(
        3e-3,
        gt=0,
        description="Largest rate of AdamW, after a warm-up and before a cosine. Write 0.003, not 3e-3, which "
        "YAML reads as text.",
    )
    weight_decay: float = Field(1e-4, ge=0, description="Weight decay of AdamW.")
    rounds: int = Field(8, gt=0, description="Validations and checkpoints in a pass over the training set.")
    patience: int = Field(16, gt=0, description="Rounds without a lower validation loss before training stops.")
    buffer: int = Field(
        16,
        gt=0,
        description="Stored blocks of 256 examples that are shuffled together, 2 MB each for a diagram of 64 x 64"
        " pixels.",
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true",
        description="Arithmetic of the training; the mixed ones are for GPUs and for CPUs with bf16 instructions,"
        " where they are 1.5 times as fast.",
    )
    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        "auto",
        description="Where to train; `auto` uses a GPU if there is one, and warns if a GPU was given but cannot "
        "be used; `gpu` fails without one.",
    )
    devices: int = Field(
        1,
        gt=0,
        description="GPUs, or on a CPU processes, among which each batch and the buffer are divided; the batch "
        "must be a multiple of it. More than one needs as many in `training_job.gpus`.",
    )
    compile: bool = Field(False, description="Compile the network with torch.compile; needs a C++ compiler.")

    @model_validator(mode="after")
    def _shared(self) -> "Training":
        if self.batch % self.devices:
            raise ValueError(f"batch: found {self.batch}; expected a multiple of the {self.devices} devices")
        return self


class TrainingJob(Section):
    """Cluster resources of the training job."""

    threads: int = Field(2, gt=0, description="Cores.")
    gpus: int = Field(0, ge=0, description="GPUs.")
    mem_mb: int = Field(
        8000, gt=0, description="Memory, MB. A second attempt requests twice as much, a third three times."
    )
    runtime: int = Field(
        720,
        ge=10,
        description="Time, minutes. Five minutes before its end the training writes a checkpoint and stops; the "
        "next attempt resumes from it.",
    )
    workers: int = Field(
        1,
        ge=0,
        description="Processes that read examples ahead, for each device. Each holds two buffers in shared memory"
        " (`/dev/shm`).",
    )


class InferenceJob(Section):
    """Cluster resources of a job that applies the network."""

    threads: int = Field(1, gt=0, description="Cores.")
    gpus: int = Field(0, ge=0, description="GPUs.")
    mem_mb: int = Field(
        6000, gt=0, description="Memory, MB. A second attempt requests twice as much, a third three times."
    )
    runtime: int = Field(60, gt=0, description="Time, minutes.")
