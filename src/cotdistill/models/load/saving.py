"""A model as a plain Hugging Face folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.errors import ModelError
from cotdistill.models.load.quiet import no_progress_bars
from cotdistill.models.tokens.template import pad_token_id, stop_token_ids


def cast_weights(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Cast the weights of ``model``, in place, to the types that it has when loaded as ``dtype``.

    Some families then keep a few in float32: with biases in bfloat16, DeepSeek-V3 would choose other experts.
    """
    types = _types_when_loaded(model, dtype)
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(types.get(name, dtype))


def _types_when_loaded(model: PreTrainedModel, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """The type of each weight that is not ``dtype``, by name: what the model's own class says, asked without memory."""
    with torch.device("meta"):
        built = type(model)._from_config(deepcopy(model.config), dtype=dtype)
    kept = [f".{name}." for name, type_ in built._get_dtype_plan(dtype).items() if type_ == torch.float32]
    return {
        name: torch.float32
        for name, tensor in built.state_dict().items()
        if tensor.dtype == torch.float32 != dtype or any(part in f".{name}." for part in kept)
    }


def check_finite(model: nn.Module, folder: Path) -> None:
    """Raise ModelError if a weight is not finite: such a model is not a result."""
    if name := weight_not_finite(model):
        raise ModelError(
            f"weight {name} is not finite after the last step",
            where=folder,
            remedy="lower training.learning_rate, or set training.dtype: float32",
        )


def weight_not_finite(model: nn.Module) -> str | None:
    """The name of the first weight that holds NaN or infinity."""
    weights = (item for item in model.state_dict().items() if item[1].is_floating_point())
    return next((name for name, weight in weights if not weight.isfinite().all()), None)


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights (safetensors, in the type they have), config, tokenizer and template into ``folder``.

    The generation config is :func:`save_tokenizer`'s. Raises ModelError if a weight is not finite or the folder
    cannot be written.
    """
    check_finite(model, folder)
    before, model.generation_config = model.generation_config, _greedy(model, tokenizer)
    try:
        with no_progress_bars(), write_errors(folder):
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    finally:
        model.generation_config = before


def save_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write tokenizer, template and generation config of ``model`` into ``folder``.

    The generation config says greedy decoding up to any token that ends a response, which is how the model is
    evaluated; the base model's sampling settings are left out. Raises ModelError if the folder cannot be written.
    """
    with write_errors(folder):
        _greedy(model, tokenizer).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _greedy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=sorted(stop_token_ids(model, tokenizer)),
        pad_token_id=pad_token_id(tokenizer),
    )


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot be written ({error})", where=folder, remedy="check space and permissions") from None
