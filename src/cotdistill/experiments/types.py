"""What ``dtype: auto`` comes to in an experiment: decided once, by its first run, and kept in its resolved file.

So an experiment that is resumed on another machine goes on in the type that it began in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cotdistill.config import CellConfig, Experiment, TransformersSettings
from cotdistill.config.files import read_yaml
from cotdistill.errors import ConfigError

FILE = "experiment.yaml"
"""The resolved file, in an experiment's folder."""


def settle_types(experiment: Experiment, runs: Path) -> Experiment:
    """The experiment with ``auto_dtype`` as its folder says; where that says nothing, what is fastest here.

    Raises ConfigError where the experiment's own file says something else.
    """
    kept, asked = kept_type(experiment, runs), experiment.auto_dtype
    if kept and asked and kept != asked:
        raise ConfigError(
            f"auto_dtype is {asked}, but the experiment was begun in {kept}",
            where=str(runs / experiment.name / FILE),
            remedy="set training.dtype and evaluation.dtype, or give the experiment another name",
        )
    return experiment.model_copy(update={"auto_dtype": asked or kept or _fastest()})


def type_line(experiment: Experiment, runs: Path) -> str:
    """For a plan: the type that ``dtype: auto`` comes to, and why. Loads no torch."""
    from cotdistill.models.load.products import known

    if experiment.auto_dtype:
        return f"dtype: auto is {experiment.auto_dtype} (auto_dtype says so)"
    if kept := kept_type(experiment, runs):
        return f"dtype: auto is {kept} (the experiment was begun in it)"
    return f"dtype: auto is {known() or 'what the first run finds to be faster'}"


def kept_type(experiment: Experiment, runs: Path) -> Any:
    """What the resolved file says, if there is one."""
    file = runs / experiment.name / FILE
    kept = read_yaml(file).get("auto_dtype") if file.is_file() else None
    return kept if kept in ("float32", "bfloat16") else None


def with_types(config: CellConfig, dtype: str | None) -> CellConfig:
    """The cell with ``dtype`` wherever its student's is ``auto``; other engines have an ``auto`` of their own."""
    update: dict[str, Any] = {}
    if dtype and config.training is not None and config.training.dtype == "auto":
        update["training"] = config.training.model_copy(update={"dtype": dtype})
    if dtype and isinstance(config.evaluation.engine, TransformersSettings) and config.evaluation.dtype == "auto":
        update["evaluation"] = config.evaluation.model_copy(update={"dtype": dtype})
    return config.model_copy(update=update) if update else config


def _fastest() -> str:
    from cotdistill.models.load.loading import pick_device
    from cotdistill.models.load.products import choose

    return choose(pick_device()).dtype
