"""Cells on a Ray cluster: each is one task, started again elsewhere if its node goes down."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from cotdistill.config import Resources
from cotdistill.errors import ConfigError
from cotdistill.experiments.cells import failed, run_handed
from cotdistill.experiments.handing import hand
from cotdistill.experiments.plan import Cell, Plan
from cotdistill.experiments.view import View
from cotdistill.experiments.work import Until

_FORWARDED = ("COTDISTILL_DATA", "COTDISTILL_CACHE", "HF_HOME", "HF_HUB_OFFLINE")
"""Variables of this process that tasks see too. Secrets are not among them: each node has its own."""


def run_on_ray(cells: Sequence[Cell], planned: Plan, runs: Path, *, until: Until, view: View) -> None:
    """Make ``cells`` on the cluster that RAY_ADDRESS names, or on the one that this machine is part of.

    The folder of ``runs`` must be at the same path on all nodes. Raises ConfigError if there is no ray or no
    cluster.
    """
    resources = planned.experiment.resources
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError:
        raise ConfigError(
            "ray is not installed", where="--executor ray", remedy="pip install 'cotdistill[ray]'"
        ) from None
    try:
        ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError:
        remedy = "start one (ray start --head) or name it in RAY_ADDRESS"
        raise ConfigError("no Ray cluster found", where="--executor ray", remedy=remedy) from None
    try:
        # A process a task: what one leaves in memory is gone before the next.
        task = ray.remote(
            num_cpus=resources.num_cpus,
            num_gpus=resources.num_gpus,
            max_retries=resources.max_retries,
            max_calls=1,
            runtime_env={"env_vars": _environment(resources)},
        )(run_handed)
        waiting = {task.remote(hand(cell, planned), str(runs), until): cell for cell in cells}
        while waiting:
            ended, _ = ray.wait(list(waiting), timeout=0.5)
            for reference in ended:
                cell = waiting.pop(reference)
                try:
                    state = ray.get(reference)
                except RayError as error:
                    state = failed(f"{type(error).__name__}: {str(error).splitlines()[0]}")
                view.ended(cell, state)
    finally:
        ray.shutdown()


def _environment(resources: Resources) -> dict[str, str]:
    threads = {"OMP_NUM_THREADS": str(max(1, int(resources.num_cpus)))}
    return threads | {name: os.environ[name] for name in _FORWARDED if name in os.environ}
