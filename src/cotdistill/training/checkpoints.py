"""Checkpoints that a killed run resumes from, bit for bit: safetensors and JSON only, replaced atomically."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cotdistill.artifacts import file_sha256, replace_folder, write_json_atomically
from cotdistill.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What changes while training: parameters and AdamW's moments; schedule, order and dropout follow from the step."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    names: dict[Tensor, str]

    @classmethod
    def of(cls, model: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
        return cls(model, optimizer, {parameter: name for name, parameter in model.named_parameters()})


def save_checkpoint(folder: Path, state: TrainingState, *, step: int) -> None:
    """Write step, parameters and moments to ``folder``; a kill leaves either the old checkpoint or the new one."""
    temporary = folder.with_name(folder.name + ".partial.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(
        {name: p.detach().contiguous() for p, name in state.names.items()},
        temporary / "parameters.safetensors",
    )
    moments = {
        f"{state.names[parameter]}/{key}": torch.as_tensor(value).contiguous()
        for parameter, values in state.optimizer.state.items()
        for key, value in values.items()
    }
    save_file(moments, temporary / "moments.safetensors")
    checksums = {file.name: file_sha256(file) for file in sorted(temporary.iterdir())}
    write_json_atomically(temporary / "checkpoint.json", {"step": step, "sha256": checksums})
    replace_folder(temporary, folder)


def load_checkpoint(folder: Path, state: TrainingState) -> int:
    """Restore what :func:`save_checkpoint` wrote; returns its step, or 0 where there is no checkpoint.

    Raises ArtifactError for a checkpoint whose files are not what was written.
    """
    described = folder / "checkpoint.json"
    if not described.is_file():
        return 0
    saved = json.loads(described.read_text(encoding="utf-8"))
    for name, checksum in saved["sha256"].items():
        if not (folder / name).is_file() or file_sha256(folder / name) != checksum:
            raise ArtifactError(
                "the checkpoint is corrupted",
                where=folder / name,
                remedy=f"delete {folder} to train from the start",
            )
    values = load_file(folder / "parameters.safetensors")
    moments = load_file(folder / "moments.safetensors")
    with torch.no_grad():
        for parameter, name in state.names.items():
            parameter.copy_(values[name])
            keys = {key.rsplit("/", 1)[1]: key for key in moments if key.rsplit("/", 1)[0] == name}
            if keys:
                state.optimizer.state[parameter] = {key: moments[path] for key, path in keys.items()}
    return saved["step"]
