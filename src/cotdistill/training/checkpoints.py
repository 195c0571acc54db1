"""Checkpoints that a killed run resumes from, bit for bit: safetensors and JSON only.

``checkpoint.json`` is replaced atomically and names its files, whose names contain their step. So at whatever moment a
kill comes, it names a complete set: the old one until the new one is written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cotdistill.errors import ArtifactError
from cotdistill.storage.atomic import write_json_atomically
from cotdistill.storage.hashes import file_sha256
from cotdistill.storage.texts import WRONG_SHAPE
from cotdistill.training.distributed import ALONE, Ranks, spread_like, whole

DESCRIPTION = "checkpoint.json"


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What changes while training: parameters and AdamW's moments; schedule, order and dropout follow from the step."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    names: dict[Tensor, str]

    @classmethod
    def of(cls, model: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
        return cls(model, optimizer, {parameter: name for name, parameter in model.named_parameters()})


def save_checkpoint(
    folder: Path, state: TrainingState, *, step: int, ranks: Ranks = ALONE, best: int | None = None
) -> None:
    """Write step, parameters and moments to ``folder``; a kill leaves either the old checkpoint or the new one.

    The parameters of the ``best`` step, which were written as a checkpoint, stay. The first of several ranks writes.
    All must call: what is spread over them is gathered first.
    """
    moments = {
        f"{state.names[parameter]}/{key}": _to_save(torch.as_tensor(value))
        for parameter, values in state.optimizer.state.items()
        for key, value in values.items()
    }
    tensors = {
        _parameters(step): {name: _to_save(p.detach()) for p, name in state.names.items()},
        f"moments-{step}.safetensors": moments,
    }
    if not ranks.is_first:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tensors.items():
        save_file(content, folder / name)
    kept = {*tensors, *([] if best is None else [_parameters(best)])}
    checksums = {name: file_sha256(folder / name) for name in sorted(kept)}
    write_json_atomically(folder / DESCRIPTION, {"step": step, "sha256": checksums})
    for file in folder.iterdir():
        if file.name not in (DESCRIPTION, *kept):
            file.unlink()


def load_checkpoint(folder: Path, state: TrainingState) -> int:
    """Restore what :func:`save_checkpoint` wrote; returns its step, or 0 without a checkpoint.

    Raises ArtifactError for a checkpoint whose files were changed.
    """
    if not (folder / DESCRIPTION).is_file():
        return 0
    step = _verified_step(folder)
    load_parameters(folder, state, step=step)
    moments = load_file(folder / f"moments-{step}.safetensors")
    with torch.no_grad():
        for parameter, name in state.names.items():
            keys = {key.rsplit("/", 1)[1]: key for key in moments if key.rsplit("/", 1)[0] == name}
            if keys:
                state.optimizer.state[parameter] = {
                    key: spread_like(moments[path], parameter) for key, path in keys.items()
                }
    return step


def load_parameters(folder: Path, state: TrainingState, *, step: int) -> None:
    """Restore the parameters of a step that a checkpoint holds."""
    values = load_file(folder / _parameters(step))
    with torch.no_grad():
        for parameter, name in state.names.items():
            parameter.copy_(spread_like(values[name], parameter))


def _parameters(step: int) -> str:
    return f"parameters-{step}.safetensors"


def _to_save(tensor: Tensor) -> Tensor:
    return whole(tensor).cpu().contiguous()


def _verified_step(folder: Path) -> int:
    """The step of the checkpoint, after checking its files."""
    remedy = f"delete {folder} to train from the start"
    try:
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        step, checksums = int(described["step"]), dict(described["sha256"])
    except WRONG_SHAPE:
        raise ArtifactError("the checkpoint is corrupted", where=folder / DESCRIPTION, remedy=remedy) from None
    for name in sorted({_parameters(step), f"moments-{step}.safetensors", *checksums}):
        if not (folder / name).is_file() or file_sha256(folder / name) != checksums.get(name):
            raise ArtifactError("the checkpoint is corrupted", where=folder / name, remedy=remedy)
    return step
