"""The worker process that an experiment starts for a cell on the same machine."""

from __future__ import annotations

import json
import os
import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from cotdistill.errors import CotDistillError, line_of
from cotdistill.experiments.cells import failed, run_handed
from cotdistill.experiments.work import Until


def work(
    cell: str, runs: str, until: Until, connection: Connection, log: str, num_threads: int, device: str | None
) -> None:
    """Make a cell, as ``handing`` writes it, and send its state, as JSON, over ``connection``.

    The other end belongs to the process that started this one: it closes when that process ends, however it ends, and
    then this one ends too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the experiment's process is interrupted, and ends this one
    threading.Thread(target=_end_with_the_experiment, args=(connection,), daemon=True).start()
    _write_to(Path(log))
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    os.environ["OMP_NUM_THREADS"] = str(num_threads)  # for what else this process may start
    import torch

    torch.set_num_threads(num_threads)
    try:
        state = run_handed(cell, runs, until)
    except (CotDistillError, OSError) as error:
        state = failed(line_of(error) or "")
    connection.send_bytes(json.dumps(state).encode())


def _end_with_the_experiment(connection: Connection) -> None:
    try:
        connection.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


def _write_to(log: Path) -> None:
    """Send what this process, or a library in it, prints to the log."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    except OSError:  # a full disk must not keep the cell from saying so
        file = os.open(os.devnull, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
