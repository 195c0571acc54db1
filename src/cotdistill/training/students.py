"""A student during training, whole or with adapters, and how it becomes a folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.config import ModelConfig, TrainingConfig
from cotdistill.models.forward.heads import say_what_is_not_balanced
from cotdistill.models.load.adapters import add_adapter, check_adapter, save_adapter
from cotdistill.models.load.loading import load_model, pick_device, resolve_dtype
from cotdistill.models.load.saving import cast_weights, save_model, save_tokenizer
from cotdistill.training.distributed import Ranks, whole

if TYPE_CHECKING:
    from peft import PeftModel


@dataclass(frozen=True, slots=True)
class OpenStudent:
    """``model`` is what is trained; if only adapters are, they are in it, and ``adapted`` is peft's view of it."""

    model: PreTrainedModel
    adapted: PeftModel | None = None


def open_student(student: ModelConfig, config: TrainingConfig, *, seed: int, device: torch.device) -> OpenStudent:
    """The student with trained weights in float32; a model that is frozen beside adapters has the computing type.

    Raises ModelError if the model cannot be loaded or adapted.
    """
    if config.adapter is None:
        model = load_model(student, dtype=torch.float32, device=device)
        say_what_is_not_balanced(model)
        return OpenStudent(model)
    check_adapter(config.adapter, student)
    dtype = resolve_dtype(config.dtype, device)
    model = load_model(student, dtype=dtype, device=device, quantize=config.adapter.quantize)
    return OpenStudent(model, add_adapter(model, config.adapter, seed=seed))


def put_together(
    opened: OpenStudent, student: ModelConfig, config: TrainingConfig, *, seed: int, ranks: Ranks
) -> OpenStudent:
    """A student spread over ``ranks``, gathered on the CPU of the first one; all must call."""
    trained = {name: p for name, p in opened.model.named_parameters() if p.requires_grad}
    if not ranks.is_first:
        for parameter in trained.values():
            whole(parameter)
        return opened
    together = open_student(student, config, seed=seed, device=torch.device("cpu"))
    targets = dict(together.model.named_parameters())
    with torch.no_grad():
        for name, parameter in trained.items():
            targets[name].copy_(whole(parameter))
    return together


def write_student(
    opened: OpenStudent, student: ModelConfig, config: TrainingConfig, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """Write the trained student into ``folder``: a plain model, or adapters if the config keeps them separate.

    A plain model is saved in the type it computed in: half the size, and what its evaluation loads anyway.
    """
    model, adapted = opened.model, opened.adapted
    dtype = resolve_dtype(config.dtype, pick_device())  # not the model's: one that was spread is on the CPU by now
    if adapted is not None and config.adapter is not None:
        if not config.adapter.merge:
            save_adapter(adapted, student, folder)
            return save_tokenizer(model, tokenizer, folder)
        if config.adapter.quantize == "none":
            model = adapted.merge_and_unload()  # pyright: ignore[reportCallIssue]
        else:
            model = _merged_into_plain(adapted, student, dtype, folder.with_name("adapter.tmp"))
    cast_weights(model, dtype)  # pyright: ignore[reportArgumentType]
    return save_model(model, tokenizer, folder)  # pyright: ignore[reportArgumentType]


def _merged_into_plain(adapted: PeftModel, student: ModelConfig, dtype: torch.dtype, scratch: Path) -> PreTrainedModel:
    """Adapters that were trained beside quantised weights, merged into the weights that these were made from."""
    save_adapter(adapted, student, scratch)
    merged = load_model(ModelConfig(model=str(scratch)), dtype=dtype, device="cpu")
    shutil.rmtree(scratch)
    return merged
