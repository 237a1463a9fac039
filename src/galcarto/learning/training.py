"""Training: a Lightning module around a network and its posterior, with checkpoints that resume exactly."""

import gc
import logging
import math
import os
import shutil
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import netCDF4
import numpy as np
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader

from galcarto.core.errors import UserError
from galcarto.core.files import Output, whole
from galcarto.core.seeds import generator
from galcarto.learning.calibration import Calibration, calibrate
from galcarto.learning.data import Examples, images
from galcarto.learning.heads.tree import Posterior
from galcarto.learning.networks import Estimator, planes, prepare
from galcarto.learning.trained import Trained
from galcarto.learning.trust import FeatureDistribution, log_density_spread
from galcarto.maps.cube import CONTRACTED

WARM_UP = 0.05  # share of the steps over which the learning rate rises
CLIP = 1.0  # largest norm of a gradient
FASTER = 3.0  # learning rate of the small tree over that of the network
APART = 1_000_003  # between the seeds of two devices: more than there are epochs
CALIBRATION = 10_000  # validation examples that calibrate the posterior
# Lightning's warnings that do not hold here
EXPECTED = (
    "Checkpoint directory .* exists and is not empty",  # it is what the training goes on from
    "Your `IterableDataset` has `__len__` defined",  # each process's own: it is right
    "The '.*_dataloader' does not have many workers",  # the examples have their own
    "This process .* is multi-threaded, use of fork",  # workers read files, and compute nothing
    "`isinstance.treespec, LeafSpec.`",  # Lightning 2.6 on torch 2.13
    "The `srun` command is available on your system but is not used",  # nor needed
    "You're resuming from a checkpoint that ended before the epoch ended",  # `Stoppable` skips what was learnt from
)


class Learner(L.LightningModule):
    """Fits a network's posterior by maximum likelihood.

    Parameters
    ----------
    network : Estimator
        From (batch, channel, magnitude, colour) to the parameters of `Posterior`.
    support : (float, float)
        Floor and ceiling of the posterior.
    learning_rate, weight_decay : float
    steps : int
        Optimiser steps of the whole training; the learning rate falls as a cosine over them.
    seed : int
        Epoch e draws its dropout from seed + e, so that a resumed run is the undisturbed one; a further device from
        numbers of its own.
    references : (Tensor, Tensor)
        Of the training and of the validation examples.
    """

    def __init__(
        self,
        network: Estimator,
        support: tuple[float, float],
        learning_rate: float,
        weight_decay: float,
        steps: int,
        seed: int,
        references: tuple[Tensor, Tensor],
    ) -> None:
        super().__init__()
        self.network = network
        self.support = support
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.steps, self.seed = steps, seed
        self.references = references
        self.history: list[dict[str, float]] = []
        self._sums = torch.zeros(2)

    def on_fit_start(self) -> None:
        """Keep what is not the network's where the batches go."""
        train, valid = self.references
        self.references = train.to(self.device), valid.to(self.device)
        self._sums = self._sums.to(self.device)  # of the round that a stopped training was in
        self._started = time.perf_counter()

    def _loss(self, batch: Sequence[Tensor], references: Tensor) -> Tensor:
        planes = prepare(*images(batch, references)).contiguous(memory_format=torch.channels_last)
        posterior = Posterior.from_outputs(self.network(planes), self.network.tree, *self.support)
        # the tree is small, and a density in half precision would be a coarse one
        with torch.autocast(self.device.type, enabled=False):
            marginal, tree = posterior.negative_log_likelihood(batch[-1])
        return marginal + tree

    def _zero(self) -> Tensor:
        """Sums of loss and examples: on the device, which nothing has to wait for then."""
        return torch.zeros(2, device=self.device)

    def _mean(self, sums: Tensor) -> tuple[float, int]:
        """Mean loss, and examples, of all devices."""
        loss, number = self.trainer.strategy.reduce(sums, reduce_op="sum").tolist()
        return loss / number, int(number)

    def on_train_epoch_start(self) -> None:
        """Let the examples know the epoch."""
        self.trainer.train_dataloader.dataset.epoch = self.current_epoch  # type: ignore[union-attr]
        self._sums = self._zero()
        self._started = time.perf_counter()

    def on_train_batch_start(self, batch: Sequence[Tensor], index: int) -> None:
        """Seed the epoch: only now, as the loader draws a number before or, in a resumed run, after its start."""
        if index == 0:
            torch.manual_seed(self.seed + self.current_epoch + APART * self.global_rank)

    def training_step(self, batch: Sequence[Tensor], index: int) -> Tensor:
        """Loss of a batch."""
        loss = self._loss(batch, self.references[0])
        self._sums += torch.stack([loss.detach() * len(batch[0]), torch.full_like(loss, len(batch[0]))])
        return loss

    def on_validation_epoch_start(self) -> None:
        """The round's training is over: how long it took, and how long it waited for examples."""
        waited = self.trainer.train_dataloader.dataset.waited  # type: ignore[union-attr]
        self._waiting = waited / (time.perf_counter() - self._started)
        self._valid_sums = self._zero()

    def validation_step(self, batch: Sequence[Tensor], index: int) -> None:
        """Add up the validation loss, weighted by examples."""
        number = len(batch[0])
        loss = self._loss(batch, self.references[1])
        self._valid_sums += torch.stack([loss * number, torch.full_like(loss, number)])

    def on_validation_epoch_end(self) -> None:
        """Let the checkpoints and the patience know the validation loss."""
        self.log("valid_loss", self._mean(self._valid_sums)[0], prog_bar=True, sync_dist=True)

    def on_train_epoch_end(self) -> None:
        """Add a row to the history."""
        loss, number = self._mean(self._sums)
        row = {
            "epoch": self.current_epoch,
            "step": self.global_step,
            "examples": (self.history[-1]["examples"] if self.history else 0) + number,
            "train_loss": loss,
            "valid_loss": float(self.trainer.callback_metrics["valid_loss"]),
            "learning_rate": float(self.trainer.optimizers[0].param_groups[0]["lr"]),
        }
        self.history.append(row)
        if self.trainer.is_global_zero:
            text = "examples %(examples)d, train loss %(train_loss).4f, valid loss %(valid_loss).4f"
            logging.info(f"{text}, waited %(waiting).1f %% of the time", row | {"waiting": 100 * self._waiting})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the history with the weights."""
        checkpoint["history"], checkpoint["sums"] = self.history, self._sums

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the history back."""
        self.history, self._sums = checkpoint["history"], checkpoint["sums"]

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Clip; Lightning does not where the optimiser takes a scale off the gradients itself, as a fused one can."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        torch.nn.utils.clip_grad_norm_(self.parameters(), CLIP * (scaler.get_scale() if scaler else 1.0))

    def configure_optimizers(self) -> Any:
        """AdamW (Loshchilov & Hutter 2019) under a warm-up and a cosine."""
        weights = list(self.network.network.parameters())
        groups = [
            {"params": [each for each in weights if each.ndim > 1], "weight_decay": self.weight_decay},
            # biases and the scales of normalisations are not drawn to zero
            {"params": [each for each in weights if each.ndim <= 1], "weight_decay": 0.0},
            {"params": list(self.network.tree.parameters()), "weight_decay": 0.0, "lr": FASTER * self.learning_rate},
        ]
        optimiser = torch.optim.AdamW(groups, lr=self.learning_rate, fused=True)

        def rate(step: int) -> float:
            warm = max(WARM_UP * self.steps, 1.0)
            if step < warm:
                return (step + 1) / (warm + 1)
            return 0.5 + 0.5 * math.cos(math.pi * min((step - warm) / max(self.steps - warm, 1.0), 1.0))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Checkpoints(TorchCheckpointIO):
    """Checkpoints that are whole or not there.

    Lightning writes them into the temporary folder and moves them, which between two disks is a copy: what a kill or a
    full disk leaves of it would be gone on with.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint beside its name, then give it that."""
        part = Output(str(path))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with whole([part]):
            torch.save(checkpoint, part)


def check_accelerator(accelerator: str) -> None:
    """Say what is wrong where a GPU is expected and none can be used.

    Parameters
    ----------
    accelerator : {"auto", "cpu", "gpu"}
        With "auto" the training goes on without the GPU, and the log says so.

    Raises
    ------
    UserError
        If it is "gpu" and torch sees none.
    """
    if accelerator == "cpu" or torch.accelerator.is_available():
        return
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    found = f"torch {torch.__version__} finds no GPU on {socket.gethostname()}, CUDA_VISIBLE_DEVICES being {given!r}"
    if accelerator == "gpu":
        raise UserError(
            f"training.accelerator: {found}; expected one: set training_job.gpus to 1, choose a partition whose nodes "
            "have GPUs, install a torch built for them, or set training.accelerator to auto"
        )
    if given not in ("", "-1", "NoDevFiles"):
        logging.warning(
            "%s: THE GPU THAT THIS JOB WAS GIVEN STANDS IDLE and the training is slow; install a torch built for it, "
            "or set training_job.gpus to 0",
            found,
        )


class Stoppable(L.Callback):
    """Lets a training be stopped, by SIGTERM or as its time is nearly up, without losing a batch.

    The batch in hand is finished, a checkpoint kept, and the training ended by `SIGTERMException`. A later training
    skips the round's batches that were learnt from and takes the random numbers back: on one device it is then the
    undisturbed one. From a round's last batch and its validation Lightning cannot go on: there it stops after the
    next round's first batch.

    Parameters
    ----------
    train : Examples
    path : Path
        Checkpoint to write.
    seconds : float
        After which to stop.
    """

    def __init__(self, train: Examples, path: Path, seconds: float) -> None:
        self.train, self.path = train, path
        self._end = time.monotonic() + seconds
        self._stopped = False
        self._random: list[Tensor] = []

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Take the signal, and do not go on with a training whose patience had run out."""
        # Lightning's own handler talks to the other processes, wherever they are then
        signal.signal(signal.SIGTERM, self._stop)
        for stopping in trainer.early_stopping_callbacks:
            trainer.should_stop |= stopping.wait_count >= stopping.patience

    def _stop(self, *_: Any) -> None:
        self._stopped = True

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Stop here where it is time, together with the other processes where there are any."""
        due = self._stopped or time.monotonic() > self._end
        stop = trainer.strategy.reduce_boolean_decision(due, all=False)
        if stop and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            trainer.save_checkpoint(self.path)
            raise SIGTERMException

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the place in the examples and the random numbers."""
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        whole = batches == trainer.num_training_batches
        checkpoint["place"] = (trainer.current_epoch + whole, 0 if whole else batches)
        checkpoint["random"] = [torch.get_rng_state()]
        if module.device.type == "cuda":
            checkpoint["random"].append(torch.cuda.get_rng_state(module.device))

    def on_load_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the place back: now, as Lightning soon asks for the first batch."""
        self.train.epoch, self.train.skip = checkpoint["place"]
        self._random = checkpoint["random"]

    def on_train_batch_start(self, *_: Any) -> None:
        """Take the random numbers back: only now, as Lightning may draw some before."""
        for state, restore in zip(self._random, (torch.set_rng_state, torch.cuda.set_rng_state), strict=False):
            restore(state)
        self._random = []


def fit(
    build: Callable[[], Estimator],
    train: Examples,
    valid: Examples,
    checkpoints: Path,
    *,
    support: tuple[float, float],
    seed: int,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    patience: int,
    precision: str,
    accelerator: str,
    devices: int = 1,
    compile: bool = False,
    seconds: float = math.inf,
    callbacks: Sequence[L.Callback] = (),
) -> tuple[Estimator, list[dict[str, float]]]:
    """Train a network, resuming from the last checkpoint in `checkpoints` where there is one.

    Parameters
    ----------
    build : callable
        Makes the network, drawing its first weights from torch's global generator.
    train, valid : Examples
        The training set's ``rounds`` say how often in a pass the validation runs and a checkpoint is kept.
    checkpoints : Path
        Folder of this training alone.
    epochs : int
        Passes over the training set.
    patience : int
        Rounds without a better validation loss before the training stops.
    precision, accelerator, devices
        As Lightning's Trainer takes them. Of several devices each has a process: this one, and others that run the
        same command and end here.
    compile : bool
        Whether torch compiles the network.
    seconds : float
        After which the training is to stop.

    Returns
    -------
    network : Estimator
        In evaluation mode, with the weights of the lowest validation loss.
    history : list of dict
        One row per round.

    Raises
    ------
    UserError
        If a GPU is asked for and there is none, or a compiler.
    SystemExit
        If SIGTERM came or the time is up; a checkpoint has then been kept. Also in the processes of further devices.
    """
    check_accelerator(accelerator)
    if compile and shutil.which(compiler := os.environ.get("CXX", "g++")) is None:
        raise UserError(
            f"training.compile: found no {compiler}; expected a C++ compiler: install one, name it in CXX, or set "
            "training.compile to false"
        )
    L.seed_everything(seed, verbose=False)
    steps = len(train) * train.order.rounds * epochs
    learner = Learner(build(), support, learning_rate, weight_decay, steps, seed, (train.references, valid.references))
    learner.network = learner.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile:
        learner.network.network.compile()
    best = ModelCheckpoint(
        checkpoints, filename="best", monitor="valid_loss", save_last=True, enable_version_counter=False
    )
    last = checkpoints / "last.ckpt"
    trainer = L.Trainer(
        max_epochs=epochs * train.order.rounds,
        accelerator=accelerator,
        devices=devices,
        # statistics of a normalisation are each device's own: they run over thousands of pixels even in a part of a
        # batch, and the first device's are kept. Sent around, they would be so in each batch of the validation, of
        # which devices may have different numbers
        strategy="auto" if devices == 1 else DDPStrategy(broadcast_buffers=False),
        precision=precision,  # type: ignore[arg-type]
        # one process that starts those of all devices, also in a Slurm job, which Lightning takes for one per GPU
        plugins=[LightningEnvironment(), Checkpoints()],
        deterministic="warn",  # what a device can do in no fixed order is said, not refused
        logger=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[
            best,
            EarlyStopping("valid_loss", patience=patience),
            Stoppable(train, last, seconds),
            TQDMProgressBar(50),
            *callbacks,
        ],
    )
    for examples in (train, valid):
        examples.order.rank, examples.pin = trainer.global_rank, trainer.strategy.root_device.type == "cuda"
    with warnings.catch_warnings():
        for message in EXPECTED:
            warnings.filterwarnings("ignore", message=message)
        try:
            trainer.fit(
                learner,
                DataLoader(train, batch_size=None),
                DataLoader(valid, batch_size=None),
                ckpt_path=str(last) if last.exists() else None,
                weights_only=True,
            )
        except SIGTERMException:
            raise SystemExit(
                f"stopped by SIGTERM or as its time is up; run again to go on from the last checkpoint in {checkpoints}"
            ) from None
    if not trainer.is_global_zero:
        sys.exit()  # the first process goes on alone
    # by its name: the callback keeps a whole path, which a folder that was moved since has no more
    state = torch.load(checkpoints / "best.ckpt", weights_only=True, map_location="cpu")["state_dict"]
    learner.load_state_dict(state)
    return learner.network.cpu().eval(), learner.history


def learn(
    train_files: Sequence[str | Path],
    valid_files: Sequence[str | Path],
    checkpoints: Path,
    *,
    name: str,
    dropout: float,
    edges: np.ndarray,
    support: tuple[float, float],
    seed: int,
    batch: int,
    buffer: int,
    rounds: int,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    patience: int,
    precision: str,
    accelerator: str,
    devices: int,
    compile: bool,
    workers: int,
    seconds: float = math.inf,
) -> tuple[Trained, list[dict[str, float]]]:
    """Train a network on files of examples and calibrate it.

    Parameters
    ----------
    train_files, valid_files : sequence of path
        Of `cmd.files.write_examples`.
    checkpoints : Path
    name, dropout
        As `networks.Estimator` takes them.
    edges : ndarray, shape (bin + 1,)
    support : (float, float)
        Floor of the posterior's increments and ceiling of the cumulative profile.
    seed : int
    batch, buffer, rounds, devices, workers
        As `data.Examples` takes them.
    epochs, learning_rate, weight_decay, patience, precision, accelerator, devices, compile, seconds
        As `fit` takes them.

    Returns
    -------
    trained : Trained
    history : list of dict
    """
    train = Examples(train_files, batch, buffer, seed, rounds, devices, workers)
    valid = Examples(valid_files, batch, devices=devices, workers=workers)
    with netCDF4.Dataset(train_files[0]) as file:
        channels, pixels = len(file.channels.split(" ")), len(file.dimensions["magnitude"])
    bins = len(edges) - 1
    shape: dict[str, Any] = {
        "name": name,
        "channels": planes(channels),
        "pixels": pixels,
        "bins": bins,
        "dropout": dropout,
    }
    module, history = fit(
        partial(Estimator, **shape),
        train,
        valid,
        checkpoints,
        support=support,
        seed=seed,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        patience=patience,
        precision=precision,
        accelerator=accelerator,
        devices=devices,
        compile=compile,
        seconds=seconds,
    )
    gc.collect()  # the trainer refers to itself, and holds the optimiser's state
    whole = Examples(valid_files, batch, workers=workers)
    *shown, truth = _some(whole, CALIBRATION, generator(seed, "train_network", "calibration"))
    spread = log_density_spread(truth.numpy().astype(float), support[0])
    trained = Trained(module, shape, edges, support, Calibration.none(bins), None, spread)
    posterior, features = trained.posterior(*(tensor.numpy() for tensor in shown))
    told = partial(_told, floor=support[0], prior_spread=spread)
    calibration = calibrate(posterior, truth, told, seed)
    return replace(trained, calibration=calibration, feature_distribution=FeatureDistribution.learn(features)), history


def _told(samples: Tensor, floor: float, prior_spread: np.ndarray) -> Tensor:
    """Where the posterior of the profile or of what lies behind it is narrower than the prior."""
    narrower = log_density_spread(samples.numpy().astype(float), floor) < CONTRACTED * prior_spread
    return torch.from_numpy(np.logical_or.accumulate(narrower[:, ::-1], axis=1)[:, ::-1].copy())


def _some(examples: Examples, number: int, rng: np.random.Generator) -> list[Tensor]:
    """About `number` of the examples, picked while they stream by: what `images` gives, and the profile."""
    share = number / (len(examples) * examples.order.batch)
    picked = []
    for part in examples:
        keep = torch.from_numpy(rng.random(len(part[0])) < share)
        chosen = [tensor[keep] for tensor in part]
        picked.append([*images(chosen, examples.references), chosen[-1]])
    return [torch.cat(parts) for parts in zip(*picked, strict=True)]
