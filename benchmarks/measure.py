"""Timing, the machine's limits, profiles, and the table of results."""

import cProfile
import json
import platform
import pstats
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity

COPIED = 2**26  # bytes of the copied array: more than the caches hold
PROFILED = 3  # calls under torch's profiler
SHOWN = 8  # entries of a profile that are kept
KEYS = ("group", "name", "value", "unit", "spread", "repeats", "wall", "peer", "ratio", "limit", "share")

Call = Callable[[], object]


def rounds(calls: Mapping[str, Call], repeats: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """CPU time (s) of each call in each round, and its median wall time (s), after one call that is not timed.

    The calls alternate, so that other load on the machine affects all of them alike, and ratios compare calls close in
    time. One thread computes: on an idle machine its CPU time is its wall time.
    """
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    wall: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            call()
            cpu[name].append(time.process_time() - start_cpu)
            wall[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in cpu.items()}, {k: float(np.median(v)) for k, v in wall.items()}


class Results:
    """The items of the table, and the profiles.

    Parameters
    ----------
    memory : float, bytes/s
        Bandwidth of the memory.
    """

    def __init__(self, memory: float) -> None:
        self.memory = memory
        self.items: list[dict[str, Any]] = []
        self.profiles: dict[str, dict[str, float]] = {}

    def add(
        self,
        group: str,
        name: str,
        work: float,
        unit: str,
        seconds: np.ndarray,
        wall: float,
        peer: tuple[str, float, np.ndarray] | None = None,
        limit: tuple[str, np.ndarray | float] | None = None,
    ) -> None:
        """Store and print one measurement.

        Parameters
        ----------
        group, name : str
        work : float
            Work of one call, in `unit`.
        unit : str
        seconds : ndarray, shape (round,), s
            CPU time of a call.
        wall : float, s
        peer : (str, float, ndarray), optional
            Name of the peer, its work and its CPU time (s) in the same rounds.
        limit : (str, ndarray or float), optional
            Name of the limit, and the time (s) of a call at that limit.
        """
        item = {
            "group": group,
            "name": name,
            "value": float(work / np.median(seconds)),
            "unit": f"{unit}/s",
            "spread": float(np.ptp(seconds) / np.median(seconds)),
            "repeats": len(seconds),
            "wall": wall,
            "peer": peer[0] if peer else None,
            "ratio": float(np.median(work / seconds / (peer[1] / peer[2]))) if peer else None,
            "limit": limit[0] if limit else None,
            "share": float(np.median(limit[1] / seconds)) if limit else None,
        }
        assert tuple(item) == KEYS
        self.items.append(item)
        notes = [f"+-{item['spread'] / 2:.0%} of {item['repeats']}"]
        if peer:
            notes.append(f"{item['ratio']:.2g} x {peer[0]}")
        if limit:
            notes.append(f"{item['share']:.0%} of {limit[0]}")
        print(f"{name:<42} {item['value']:>10,.4g} {item['unit']:<16} {', '.join(notes)}", flush=True)

    def copied(self, size: float) -> tuple[str, float]:
        """Name of the bandwidth limit, and the time (s) that it takes to move `size` bytes once."""
        return "the memory's bandwidth", size / self.memory

    def profile(self, name: str, shares: Mapping[str, float]) -> None:
        """Store and print the largest shares of the time of a measurement."""
        found = dict(sorted(shares.items(), key=lambda pair: -pair[1])[:SHOWN])
        self.profiles[name] = found
        print("    " + ", ".join(f"{part} {share:.0%}" for part, share in found.items()), flush=True)

    def update(self, stored: dict[str, Any], groups: Sequence[str]) -> None:
        """Fill in groups that were not measured from a stored table, in the order of `groups`."""
        measured = {item["group"] for item in self.items}
        items = self.items + [item for item in stored["items"] if item["group"] not in measured]
        self.items = sorted(items, key=lambda item: groups.index(item["group"]))
        self.profiles = stored["profiles"] | self.profiles
        self.memory = stored["memory"]

    def write(self, path: Path) -> None:
        """Write the table."""
        content = {"machine": machine(), "memory": self.memory, "items": self.items, "profiles": self.profiles}
        path.write_text(json.dumps(content, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """Processor and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": len(names) or None,
        "threads": 1,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "torch": torch.__version__,
    }


def bandwidth(repeats: int) -> float:
    """Bytes per second that one thread reads and writes when it copies an array larger than the caches."""
    source, target = np.ones(COPIED // 8), np.zeros(COPIED // 8)
    cpu, _ = rounds({"copy": lambda: np.copyto(target, source)}, repeats)
    return float(2 * COPIED / np.median(cpu["copy"]))


def bare_layers(network: nn.Module, run: Call, backward: bool, autocast: torch.autocast) -> list[Call]:
    """The dense and convolution layers of a network alone, on inputs of the shapes that they have in `run`.

    Their time is that of torch's matrix products on this machine; the rest of a step is overhead.
    """
    met: list[tuple[nn.Module, torch.Tensor, torch.Tensor]] = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output: met.append((layer, inputs[0], output)))
        for layer in network.modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d))
    ]
    run()
    for hook in hooks:
        hook.remove()
    calls: list[Call] = []
    for number, (layer, inputs, output) in enumerate(met):
        # the images themselves have no gradient
        given = inputs.detach().clone().requires_grad_(backward and number > 0)
        gradient = torch.randn_like(output)

        def call(layer: nn.Module = layer, given: torch.Tensor = given, gradient: torch.Tensor = gradient) -> None:
            with torch.set_grad_enabled(backward):
                with autocast:
                    found = layer(given)
                if backward:
                    layer.zero_grad()
                    given.grad = None
                    found.backward(gradient)

        calls.append(call)
    return calls


def torch_shares(run: Call) -> dict[str, float]:
    """Shares of the time of a call by torch's operators."""
    with torch.profiler.profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(PROFILED):
            run()
    times = {event.key.removeprefix("aten::"): event.self_cpu_time_total for event in found.key_averages()}
    return {name: value / sum(times.values()) for name, value in times.items()}


def function_shares(run: Call, parts: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Shares of the time of a call by functions.

    Parameters
    ----------
    run : callable
    parts : mapping of str to sequence of str
        Name of a part, and its functions, none of which calls another: ``file.py:function``, or the name of a
        built-in.
    """
    profiler = cProfile.Profile()
    profiler.runcall(run)
    stats = pstats.Stats(profiler)
    total = stats.total_tt  # type: ignore[attr-defined]
    found = dict.fromkeys(parts, 0.0)
    for (file, _, function), (_, _, _, cumulative, _) in stats.stats.items():  # type: ignore[attr-defined]
        for part, names in parts.items():
            if f"{Path(file).name}:{function}" in names or function in names:
                found[part] += cumulative / total
    return found | {"rest": 1.0 - sum(found.values())}
