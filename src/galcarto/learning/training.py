"""Training: one loop over batches, with checkpoints from which it resumes exactly.

A task hands the loop an `Estimator`: what the network is shown of a batch, the head that reads its outputs, the loss.
"""

import logging
import math
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import start_processes
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from galcarto.core.errors import UserError
from galcarto.core.files import Output, whole
from galcarto.learning.data import Examples
from galcarto.learning.networks import Estimator
from galcarto.learning.settings import Training

WARM_UP = 0.05  # share of the steps over which the learning rate rises
CLIP = 1.0  # largest norm of a gradient
HEAD_RATE = 3.0  # learning rate of the head over that of the network
DEVICE_SEEDS = 1_000_003  # between the seeds of two devices: more than there are rounds
MEETING = "devices"  # file by which the processes of several devices find each other
AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass
class Progress:
    """Where a training is: all of a checkpoint but tensors of the network, the optimiser and the random state."""

    # rounds that are complete; a round is a part of a pass over the training set, with a validation at its end
    round: int = 0
    batch: int = 0  # batches of the present round that were learnt from
    steps: int = 0  # steps of the optimiser
    # sums over the present round's batches: of the loss times their size, and of their size
    losses: tuple[float, float] = (0.0, 0.0)
    best: float = math.inf  # lowest validation loss
    since_best: int = 0  # rounds since then
    history: list[dict[str, float]] = field(default_factory=list)  # one row per round


class Loss(nn.Module):
    """The estimator's loss of a batch as one module, so that gradients are averaged over devices."""

    def __init__(self, estimator: Estimator, autocast: torch.dtype | None) -> None:
        super().__init__()
        self.estimator, self.autocast = estimator, autocast

    def forward(self, batch: list[Tensor]) -> Tensor:
        """Mean loss of the batch."""
        kind = batch[0].device.type
        with torch.autocast(kind, self.autocast, enabled=self.autocast is not None):
            outputs = self.estimator(self.estimator.inputs(batch))
        # the head is small, and a density in half precision would be coarse
        return self.estimator.loss(outputs.float(), batch)


def check_accelerator(accelerator: str) -> None:
    """Report a GPU that is expected and cannot be used.

    Parameters
    ----------
    accelerator : {"auto", "cpu", "gpu"}
        With "auto" the training runs without the GPU, and the log says so.

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


def fit(
    build: Callable[[], Estimator],
    train: Examples,
    valid: Examples,
    checkpoints: Path,
    options: Training,
    seed: int,
    seconds: float = math.inf,
) -> tuple[Estimator, list[dict[str, float]]]:
    """Train an estimator, resuming from the last checkpoint in `checkpoints` where there is one.

    AdamW (Loshchilov & Hutter 2019) under a warm-up and a cosine. On one device a training that was stopped and resumed
    gives the same bits as one that was not.

    Parameters
    ----------
    build : callable
        Makes the estimator, with first weights from torch's global generator.
    train, valid : Examples
        The training set's ``rounds`` say how often in a pass the validation runs and a checkpoint is written.
    checkpoints : Path
        Folder of this training alone.
    options : Training
        Biases, scales of normalisations and the head do not decay. Each device has a process of its own; the first
        device has this one.
    seed : int
        Round r draws its dropout from seed + r.
    seconds : float
        Time after which to stop.

    Returns
    -------
    estimator : Estimator
        In evaluation mode, on the CPU, with the weights of the lowest validation loss.
    history : list of dict
        One row per round.

    Raises
    ------
    UserError
        If a GPU is asked for and there is none, or a compiler; if the loss was never finite.
    SystemExit
        If SIGTERM came or the time is up; a checkpoint was then written after the batch in hand.
    """
    check_accelerator(options.accelerator)
    if options.compile and shutil.which(compiler := os.environ.get("CXX", "g++")) is None:
        raise UserError(
            f"training.compile: found no {compiler}; expected a C++ compiler: install one, name it in CXX, or set "
            "training.compile to false"
        )
    checkpoints.mkdir(parents=True, exist_ok=True)
    (checkpoints / MEETING).unlink(missing_ok=True)
    shared = (build, train, valid, checkpoints, options, seed, time.time() + seconds)
    others = start_processes(_further_device, shared, options.devices - 1, join=False, start_method="spawn")
    estimator, progress = _train(0, *shared)
    while not others.join():
        pass
    if not math.isfinite(progress.best):
        raise UserError(
            f"training: found a validation loss of {progress.history[-1]['valid_loss']}; expected a finite one: lower "
            "training.learning_rate, or look for examples that are not finite"
        )
    estimator = estimator.cpu()
    estimator.load_state_dict(torch.load(checkpoints / "best.ckpt", weights_only=True, map_location="cpu"))
    return estimator.eval(), progress.history


def _further_device(number: int, *shared: Any) -> None:
    """Train on a device beyond the first, in a process of its own."""
    with suppress(SystemExit):  # the first process reports it
        _train(number + 1, *shared)


def _train(
    rank: int,
    build: Callable[[], Estimator],
    train: Examples,
    valid: Examples,
    checkpoints: Path,
    options: Training,
    seed: int,
    end: float,
) -> tuple[Estimator, Progress]:
    """The loop of one device; see `fit`."""
    gpu = options.accelerator != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda", rank) if gpu else torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS has no fixed order
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(seed)
    estimator = build().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if options.compile:
        estimator.network.compile()
    groups = _groups(estimator, options)
    rates = [group["lr"] for group in groups]
    optimiser = torch.optim.AdamW(groups, fused=True)
    autocast = AUTOCAST.get(options.precision)
    scaler = torch.amp.GradScaler(device.type, enabled=autocast == torch.float16)
    loss_of: nn.Module = Loss(estimator, autocast)
    if options.devices > 1:
        distributed.init_process_group(
            "nccl" if gpu else "gloo",
            f"file://{checkpoints.resolve()}/{MEETING}",
            rank=rank,
            world_size=options.devices,
        )
        # statistics of a normalisation are each device's own: the first device's are kept
        loss_of = DistributedDataParallel(loss_of, [rank] if gpu else None, broadcast_buffers=False)

    def total(values: Tensor) -> Tensor:
        """Sum over devices."""
        if options.devices > 1:
            distributed.all_reduce(values)
        return values

    for examples in (train, valid):
        examples.order.rank, examples.pin = rank, gpu
    rounds = options.epochs * train.order.rounds
    steps = rounds * len(train)
    progress, random = Progress(), []
    last, best = checkpoints / "last.ckpt", checkpoints / "best.ckpt"
    if last.exists():
        state = torch.load(last, weights_only=True, map_location="cpu")
        progress, random = Progress(**state["progress"]), state["random"]
        estimator.load_state_dict(state["weights"])
        optimiser.load_state_dict(state["optimiser"])
        scaler.load_state_dict(state["scaler"])

    def save() -> None:
        if rank == 0:
            states = [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if gpu else [])]
            state = {"progress": asdict(progress), "random": states, "weights": estimator.state_dict()}
            _write(last, state | {"optimiser": optimiser.state_dict(), "scaler": scaler.state_dict()})

    stopped = False

    def stop(*_: Any) -> None:
        nonlocal stopped
        stopped = True

    def stop_if_due(sums: Tensor) -> None:
        """Stop all devices if one of them got the signal, or its time is up."""
        if total(torch.tensor(float(stopped or time.time() > end), device=device)):
            progress.losses = tuple(total(sums).tolist())
            save()
            raise SystemExit(
                f"stopped by SIGTERM or as its time is up; run again to go on from the last checkpoint in {checkpoints}"
            )

    before = signal.signal(signal.SIGTERM, stop)
    try:
        while progress.round < rounds and progress.since_best < options.patience:
            start = time.perf_counter()
            train.epoch, train.skip = progress.round, progress.batch
            sums = torch.tensor(progress.losses if rank == 0 else (0.0, 0.0), device=device)
            estimator.train()
            title = f"round {progress.round + 1} of {rounds}"
            with tqdm(
                desc=title, total=len(train), initial=progress.batch, unit="batch", mininterval=5, disable=rank > 0
            ) as bar:
                for batch in train if progress.batch < len(train) else ():
                    for state, restore in zip(random, (torch.set_rng_state, torch.cuda.set_rng_state), strict=False):
                        restore(state)
                    random = []
                    if progress.batch == 0:
                        torch.manual_seed(seed + progress.round + DEVICE_SEEDS * rank)
                    for group, rate in zip(optimiser.param_groups, rates, strict=True):
                        group["lr"] = rate * _schedule(progress.steps, steps)
                    batch = [part.to(device, non_blocking=True) for part in batch]
                    loss = loss_of(batch)
                    optimiser.zero_grad()
                    scaler.scale(loss).backward()
                    scaler.unscale_(optimiser)
                    nn.utils.clip_grad_norm_(estimator.parameters(), CLIP)
                    scaler.step(optimiser)
                    scaler.update()
                    sums += torch.stack([loss.detach() * len(batch[0]), torch.full_like(loss, len(batch[0]))])
                    progress.batch += 1
                    progress.steps += 1
                    bar.update()
                    if options.devices > 1 or stopped or time.time() > end:
                        stop_if_due(sums)
            waiting = train.waited / (time.perf_counter() - start)
            mean, number = _mean(total(sums))
            valid_loss, _ = _mean(total(_validate(loss_of, estimator, valid, device)))
            row = {
                "epoch": progress.round,
                "step": progress.steps,
                "examples": (progress.history[-1]["examples"] if progress.history else 0) + number,
                "train_loss": mean,
                "valid_loss": valid_loss,
                "learning_rate": rates[0] * _schedule(progress.steps, steps),
            }
            progress.history.append(row)
            progress.round, progress.batch, progress.losses = progress.round + 1, 0, (0.0, 0.0)
            progress.since_best += 1
            if valid_loss < progress.best:
                progress.best, progress.since_best = valid_loss, 0
                if rank == 0:
                    _write(best, estimator.state_dict())
            save()
            if rank == 0:
                text = "examples %(examples)d, train loss %(train_loss).4f, valid loss %(valid_loss).4f"
                logging.info(
                    f"round {progress.round} of {rounds}: {text}, waited %(waiting).1f %% of the time",
                    row | {"waiting": 100 * waiting},
                )
            if not math.isfinite(valid_loss):
                break
            if progress.round < rounds and progress.since_best < options.patience:
                stop_if_due(torch.zeros_like(sums))
    finally:
        signal.signal(signal.SIGTERM, before)
        if options.devices > 1:
            distributed.destroy_process_group()
    return estimator, progress


def _groups(estimator: Estimator, options: Training) -> list[dict[str, Any]]:
    """Parameters that are learnt alike."""
    weights, head, rate = list(estimator.network.parameters()), list(estimator.head.parameters()), options.learning_rate
    groups: list[dict[str, Any]] = [
        {"params": [each for each in weights if each.ndim > 1], "weight_decay": options.weight_decay, "lr": rate},
        {"params": [each for each in weights if each.ndim <= 1], "weight_decay": 0.0, "lr": rate},
        {"params": head, "weight_decay": 0.0, "lr": HEAD_RATE * rate},
    ]
    return [group for group in groups if group["params"]]


def _schedule(step: int, steps: int) -> float:
    """Factor on the learning rate: a linear rise, then half a cosine."""
    warm = max(WARM_UP * steps, 1.0)
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 + 0.5 * math.cos(math.pi * min((step - warm) / max(steps - warm, 1.0), 1.0))


def _validate(loss_of: nn.Module, estimator: Estimator, valid: Examples, device: torch.device) -> Tensor:
    """Sums over the validation set: of the loss times the size of each batch, and of the sizes."""
    # not through the wrapper of several devices, which may have different numbers of batches
    bare = loss_of.module if isinstance(loss_of, DistributedDataParallel) else loss_of
    estimator.eval()
    sums = torch.zeros(2, device=device)
    with torch.no_grad():
        for batch in valid:
            batch = [part.to(device, non_blocking=True) for part in batch]
            loss = bare(batch)
            sums += torch.stack([loss * len(batch[0]), torch.full_like(loss, len(batch[0]))])
    return sums


def _mean(sums: Tensor) -> tuple[float, int]:
    """Mean loss and number of examples."""
    loss, number = sums.tolist()
    return loss / number, int(number)


def _write(path: Path, content: Any) -> None:
    """Write a checkpoint that is whole or not there, whatever kill or full disk comes in between."""
    part = Output(str(path))
    with whole([part]):
        torch.save(content, part)
