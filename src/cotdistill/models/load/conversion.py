"""GGUF files as plain models: weights dequantised, and SmolLM2's tokenizer as its authors made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from cotdistill.models.load.quiet import no_progress_bars

GgufConfig: Any = getattr(transformers, "GgufConfig", None)


def load_gguf(file: Path, *, dtype: torch.dtype) -> PreTrainedModel:
    """The model of a GGUF file with plain weights of ``dtype`` that can be trained and saved."""
    # Transformers may keep weights packed where it has a kernel for them; older versions never do and cannot be told.
    packing = {"quantization_config": GgufConfig(dequantize=True)} if GgufConfig else {}
    model: Any = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=dtype, local_files_only=True, **packing
    )
    # The weights are plain now, but model and config still say otherwise, and would refuse to be cast and saved.
    model.is_quantized, model.hf_quantizer = False, None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model


def convert_smollm2(gguf: Path, folder: Path) -> None:
    """Write SmolLM2's GGUF file as a Hugging Face folder in bfloat16.

    The tokenizer differs from the GGUF file's in two ways. Digits are split one by one before byte-level
    splitting, as its authors trained it: the file says so only by a name (``pre: smollm``) that transformers does not
    know, and "  12" would be split differently. And it pads with ``<|endoftext|>``, not with the token that ends a
    turn.
    """
    with no_progress_bars():
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        tokenizer.pad_token = "<|endoftext|>"
        model = load_gguf(gguf, dtype=torch.bfloat16)
        tokenizer.model_max_length = model.config.max_position_embeddings
        assert model.generation_config is not None
        model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
