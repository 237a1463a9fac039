"""Runs ``python -m galcarto`` and ``python -m snakemake`` in forks of one process that has loaded both.

A tiny project has dozens of jobs, each of which would load libraries for seconds and then work for a moment. The script
`python` that `start` writes comes first on the path of Snakemake and calls this file with a socket and the arguments;
without arguments this file is the process that waits at the socket.
"""

import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

SCRIPT = """#!/bin/sh
case "$1 $2" in
"-m galcarto" | "-m snakemake") exec {python} -S -E {file} {socket} "$@" ;;
*) exec {python} "$@" ;;
esac
"""


@cache
def start() -> Path:
    """Start the process that waits, once, and return the folder of `python`."""
    folder = tempfile.TemporaryDirectory(prefix="galcarto-", ignore_cleanup_errors=True)
    script, at = Path(folder.name, "python"), Path(folder.name, "socket")
    script.write_text(SCRIPT.format(python=sys.executable, file=__file__, socket=at))
    script.chmod(0o755)
    # one thread of OpenBLAS, as Snakemake gives jobs
    variables = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src"), "OPENBLAS_NUM_THREADS": "1"}
    waiting = subprocess.Popen([sys.executable, __file__, at], env=variables, start_new_session=True)

    def end() -> None:
        waiting.kill()
        waiting.wait()
        folder.cleanup()

    atexit.register(end)
    return Path(folder.name)


def ask(path: str, arguments: list[str]) -> int:
    """Run a command with this process' folder, environment and streams, and return its exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        for _ in range(6000):  # until everything is loaded
            try:
                connection.connect(path)
                break
            except OSError:
                time.sleep(0.02)
        text = json.dumps([os.getcwd(), dict(os.environ), arguments]).encode()
        socket.send_fds(connection, [len(text).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(text)
        return int.from_bytes(connection.recv(1) or b"\1", "big")


def serve(path: str) -> None:
    """Run the commands that are asked for, each in a fork."""
    import importlib
    import io
    import signal
    import traceback

    import numba
    import snakemake.cli
    import torch
    import torch._dynamo  # which an optimiser loads
    from matplotlib.figure import Figure

    from galcarto.__main__ import STAGES, main

    for stage in STAGES:
        importlib.import_module(f"galcarto.stages.{stage}")
    for kind in ("png", "pdf"):  # loads fonts
        Figure().subplots().figure.savefig(io.BytesIO(), format=kind)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(100)
    listener.settimeout(5.0)
    parent = os.getppid()
    while os.getppid() == parent:  # pytest may be killed
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        if os.fork():
            connection.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.close()
        size, streams, *_ = socket.recv_fds(connection, 8, 3)
        with connection.makefile("rb") as file:
            folder, variables, (_, module, *words) = json.loads(file.read(int.from_bytes(size, "big")))
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        code = 1
        try:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(variables)
            torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
            numba.core.config.reload_config()
            sys.argv = [module, *words]
            code = snakemake.cli.main(words) if module == "snakemake" else main(words)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1 if error.code else 0
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(bytes([int(code or 0)]))
        os._exit(0)


if __name__ == "__main__":
    sys.exit(ask(sys.argv[1], sys.argv[2:]) if len(sys.argv) > 2 else serve(sys.argv[1]))
