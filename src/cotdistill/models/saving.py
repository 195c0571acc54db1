"""A model as a plain Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.errors import ModelError
from cotdistill.models.quiet import no_progress_bars
from cotdistill.models.template import pad_token_id, stop_token_ids


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights (safetensors, in the type they have), config, tokenizer and template into ``folder``.

    The generation config written says greedy decoding up to any token that ends a response, which is how the model is
    evaluated; sampling settings that its base model came with are left out. Raises ModelError where the folder cannot
    be written.
    """
    generation = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=sorted(stop_token_ids(model, tokenizer)),
        pad_token_id=pad_token_id(tokenizer),
    )
    before, model.generation_config = model.generation_config, generation
    try:
        with no_progress_bars():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot be written ({error})", where=folder, remedy="check space and permissions") from None
    finally:
        model.generation_config = before
