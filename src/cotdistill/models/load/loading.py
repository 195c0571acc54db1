"""Tokenizers and models in memory, ready to run: from a built-in name, a folder, a GGUF file or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from cotdistill.config import Dtype, ModelConfig, Quantize
from cotdistill.errors import ModelError
from cotdistill.models.load.adapters import four_bit, merge_saved
from cotdistill.models.load.bounds import no_larger_than
from cotdistill.models.load.conversion import load_gguf
from cotdistill.models.load.layers import keep_layers
from cotdistill.models.load.own_tokens import as_in_file
from cotdistill.models.load.products import choose
from cotdistill.models.load.quiet import no_progress_bars
from cotdistill.models.load.saving import weight_not_finite
from cotdistill.models.load.source import base_of, is_adapter, locate, model_identity, no_weights
from cotdistill.models.load.untrusted import PICKLES, SAFE
from cotdistill.models.tokens.dates import fix_date
from cotdistill.models.tokens.system import set_system
from cotdistill.models.tokens.thinking import set_arguments

__all__ = ["load_model", "load_tokenizer", "model_identity", "pick_device", "resolve_dtype"]


def load_tokenizer(config: ModelConfig) -> PreTrainedTokenizerFast:
    """The model's tokenizer, which gives the tokens of its ``tokenizer.json``; its chat template has a fixed date.

    Raises ModelError if there is none, or none that knows its tokens' places in a text.
    """
    path = locate(config)
    folder, gguf = (path, _only_gguf(config, path)) if path.is_dir() else (path.parent, path)
    if (folder / "tokenizer.json").exists():
        gguf = None
    arguments: dict[str, Any] = {"gguf_file": gguf.name} if gguf else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=config.trust_remote_code, local_files_only=True, **arguments
        )
    except Exception as error:  # the many readers of the many formats fail in as many ways on a bad file
        raise _unreadable(config, "tokenizer", error) from error
    if not tokenizer.is_fast:
        raise ModelError(
            "its tokenizer cannot be loaded as a fast one", where=config.model, remedy="add tokenizer.json"
        )
    if (folder / "tokenizer.json").exists():
        tokenizer = as_in_file(tokenizer, folder, name=config.model)
    tokenizer.name_or_path = config.model
    fix_date(tokenizer, config.date)
    set_system(tokenizer, config.system)
    set_arguments(tokenizer, dict(config.template))
    return tokenizer


def load_model(
    config: ModelConfig, *, dtype: torch.dtype, device: str | torch.device, quantize: Quantize = "none"
) -> PreTrainedModel:
    """The model in eval mode with weights of ``dtype`` on ``device``, cut to ``keep_layers`` if the config says so.

    A folder of LoRA adapters gives their model with the adapters merged in. Only safetensors and GGUF weights are read,
    and code by the model's authors is not run, unless the config allows it. ``quantize`` needs CUDA and a
    folder of safetensors. Raises ModelError for weights that are missing, incomplete or unreadable.
    """
    path = locate(config)
    gguf = path if path.is_file() else _only_gguf(config, path)
    model: Any
    with no_progress_bars():
        try:
            if is_adapter(path):
                model = merge_saved(load_model(base_of(config, path), dtype=dtype, device=device), path)
            elif gguf:
                with no_larger_than([gguf], config.model):
                    model = load_gguf(gguf, dtype=dtype)
            else:
                model = _from_folder(config, path, dtype, torch.device(device), quantize)
        except (ModelError, torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # as above
            raise _unreadable(config, "model", error) from error
    if name := weight_not_finite(model):
        raise ModelError(f"its weight {name} is not finite", where=config.model, remedy="get the model again")
    if config.keep_layers:
        keep_layers(model, config.keep_layers, name=config.model)
    return (model if quantize == "4bit" else model.to(device=torch.device(device))).eval()


def resolve_dtype(dtype: Dtype, device: str | torch.device) -> torch.dtype:
    """The type to compute in; ``auto`` is the faster one on ``device`` (``products.py``)."""
    named = choose(torch.device(device)).dtype if dtype == "auto" else dtype
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[named]


def pick_device() -> torch.device:
    """The current CUDA device if there is one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def _from_folder(
    config: ModelConfig, folder: Path, dtype: torch.dtype, device: torch.device, quantize: Quantize
) -> PreTrainedModel:
    if not (folder / "config.json").is_file():
        raise ModelError(
            "there is no config.json in the folder", where=config.model, remedy="give a Hugging Face model folder"
        )
    if not config.allow_pickle and not any(folder.glob("*.safetensors")):
        raise no_weights(config, folder)
    packing = {"quantization_config": four_bit(dtype), "device_map": {"": device}} if quantize == "4bit" else {}
    with no_larger_than([file for file in folder.iterdir() if file.name.endswith((SAFE, *PICKLES))], config.model):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=None if config.allow_pickle else True,
            trust_remote_code=config.trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
            **packing,
        )
    model, report = loaded
    # Transformers would fill what is missing with random numbers and warn.
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"{len(missing)} weights are missing, the first is {missing[0]}",
            where=config.model,
            remedy="check that the folder is complete and holds a causal language model",
        )
    return model


def _only_gguf(config: ModelConfig, folder: Path) -> Path | None:
    """The folder's GGUF file if it has no other weights."""
    files = sorted(folder.glob("*.gguf"))
    if not files or any(folder.glob("*.safetensors")):
        return None
    if len(files) > 1:
        raise ModelError(
            f"there are {len(files)} GGUF files in the folder",
            where=config.model,
            remedy=f"name one, for example {files[0]}",
        )
    return files[0]


def _unreadable(config: ModelConfig, what: str, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, SafetensorError):
        reason = f"damaged safetensors file: {reason}"
    if "trust_remote_code" in str(error) and not config.trust_remote_code:
        return ModelError(
            f"its {what} needs code by its authors",
            where=config.model,
            remedy="set trust_remote_code: true if you trust them",
        )
    return ModelError(f"its {what} cannot be read ({reason})", where=config.model, remedy="check that it is complete")
