"""A model as a plain Hugging Face folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.errors import ModelError
from cotdistill.models.load.quiet import no_progress_bars
from cotdistill.models.tokens.template import pad_token_id, stop_token_ids


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights (safetensors, in the type they have), config, tokenizer and template into ``folder``.

    The generation config is :func:`save_tokenizer`'s. Raises ModelError where the folder cannot be written.
    """
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
    evaluated; sampling settings that its base model came with are left out. Raises ModelError where the folder cannot
    be written.
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
