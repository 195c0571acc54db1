"""How large models and data are, from their settings and file headers; nothing is loaded. None: unknown."""

from __future__ import annotations

import json
import math
import re
import struct
from collections import Counter
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from cotdistill.config import AnyTask, BenchmarkTask, ModelConfig, ProceduralTask
from cotdistill.models.load.builtin import NANO, PREFIX, SMOLLM2, WEIGHTS
from cotdistill.storage.texts import WRONG_SHAPE
from cotdistill.tasks import load_task
from cotdistill.tasks.benchmarks import benchmark
from cotdistill.tasks.load_benchmark import find_data_file

_SMOLLM2_PARAMETERS = (28_312_128, *[3_540_096] * 30)
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
"""A decoder layer's number in the name of a weight, in the families that transformers has."""
_OUTSIDE = -1
_IN_A_NAME = re.compile(r"(\d+(?:[._]\d+)?)([bm])(?![a-z])", re.IGNORECASE)


def num_parameters(model: ModelConfig) -> int | None:
    """Of a folder, from the headers of its weights; of a built-in model; or what a hub name says: ``Qwen2.5-0.5B``.

    ``keep_layers`` is taken into account except for a hub name, which does not say how large a layer is.
    """
    if model.model == SMOLLM2:
        return _kept(_SMOLLM2_PARAMETERS, model.keep_layers)
    folder = WEIGHTS / model.model.removeprefix(PREFIX) if model.model in NANO else Path(model.model)
    if folder.is_dir():
        return _kept(_in_folder(folder), model.keep_layers)
    found = _IN_A_NAME.search(model.model.rpartition("/")[2])
    return int(float(found[1].replace("_", ".")) * (1e9 if found[2].lower() == "b" else 1e6)) if found else None


def _kept(sizes: tuple[int, ...], keep_layers: int | None) -> int | None:
    """The parameters outside the layers and of this many layers; layers are practically equal in size."""
    outside, *layers = sizes
    if not layers:
        return outside or None
    return outside + sum(layers) * min(keep_layers or len(layers), len(layers)) // len(layers)


@cache
def _in_folder(folder: Path) -> tuple[int, ...]:
    """Parameters outside the layers, then of each layer."""
    sizes: Counter[int] = Counter()
    try:
        for file in folder.glob("*.safetensors"):
            sizes.update(_in_file(file))
    except (OSError, struct.error, *WRONG_SHAPE):
        return (0,)
    return tuple(sizes[layer] for layer in sorted({_OUTSIDE, *sizes}))


def _in_file(file: Path) -> Counter[int]:
    with file.open("rb") as content:
        (length,) = struct.unpack("<Q", content.read(8))
        header = json.loads(content.read(min(length, file.stat().st_size)))
    sizes: Counter[int] = Counter()
    for name, tensor in header.items():
        if name != "__metadata__":
            layer = _LAYER.search(name)
            sizes[int(layer[1]) if layer else _OUTSIDE] += math.prod(tensor["shape"])
    return sizes


def num_questions(task: AnyTask) -> tuple[int | None, int | None]:
    """For training and for the test: the user's own questions as read, a benchmark's as declared."""
    if isinstance(task, ProceduralTask):
        return task.num_train, task.num_test
    if not isinstance(task, BenchmarkTask):
        files = [path for path in (task.train, task.test) if isinstance(path, Path) and path.is_file()]
        return _of_own(task.model_dump_json(), tuple(file.stat().st_mtime_ns for file in files))
    declared = benchmark(task.name)
    train, test = declared.sizes.get("train", 0), declared.sizes["test"]
    subtasks = declared.num_subtasks
    chosen = len(task.subtasks) if task.subtasks else subtasks
    test = round(test * min(1, chosen / subtasks))
    return min(train, task.num_train or train), min(test, (task.num_test or test) * chosen)


def are_here(task: AnyTask) -> bool:
    """Whether the task's questions are on this machine, not only on the hub."""
    if not isinstance(task, BenchmarkTask):
        return True
    return all(find_data_file(file, task.data_dir) for file in benchmark(task.name).files.values())


@cache
def _of_own(task: str, written: tuple[int, ...]) -> tuple[int | None, int | None]:
    """``written``: when the task's files were, since a file may change while a process lives."""
    loaded = load_task(TypeAdapter[AnyTask](AnyTask).validate_json(task))
    return len(loaded.train), len(loaded.test)
