"""LoRA: small trained matrices beside a frozen model (Hu et al. 2021, arXiv 2106.09685), through peft.

The adapters are put into the model in place, so that whatever works on a model works on an adapted one. At the end
they are merged into the weights, or kept as a folder that peft and transformers can read. Its ``base_model.json``
says which model they belong to, so that they are never used with another one.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from cotdistill.config import LoRA, ModelConfig
from cotdistill.errors import ModelError
from cotdistill.models.load.saving import check_finite
from cotdistill.models.load.source import BASE_MODEL, is_adapter, is_read_by_name, locate, model_identity
from cotdistill.models.load.targets import Targets, all_linear
from cotdistill.storage.atomic import write_json_atomically

if TYPE_CHECKING:
    from peft import PeftModel

ADAPTER_WEIGHTS = "adapter_model.safetensors"


def add_adapter(model: PreTrainedModel, lora: LoRA, *, seed: int) -> PeftModel:
    """Freeze ``model`` and put trainable matrices (float32) beside its linear layers, in place.

    At first they have no effect. Raises ModelError if the model has no such modules, or if another layer shares the
    weights to adapt.
    """
    from peft import LoraConfig, get_peft_model

    auto = lora.target_modules == "auto"
    targets = all_linear(model) if auto else Targets(list(lora.target_modules), [])
    if targets.experts and lora.dropout:
        raise ModelError(
            "adapters of experts cannot have dropout",
            where="training.adapter.dropout",
            remedy="set it to 0, or name layers of the student in target_modules, for example [q_proj, v_proj]",
        )
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]: peft multiplies by it, whatever number it is
        lora_dropout=lora.dropout,
        target_modules=targets.modules,
        target_parameters=targets.experts or None,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft asks transformers by a deprecated name
        torch.manual_seed(seed)
        try:
            adapted = get_peft_model(model, config)
        except ValueError as error:
            raise ModelError(
                str(error).partition("\n")[0],
                where="training.adapter.target_modules",
                remedy="name linear layers of the student, for example [q_proj, v_proj], or set auto",
            ) from None
    _refuse_shared(model)
    return adapted  # pyright: ignore[reportReturnType]


def _refuse_shared(model: PreTrainedModel) -> None:
    """An adapter of weights that another layer shares could not be merged without changing both."""
    uses = Counter(
        id(weight)
        for _, module in model.named_modules(remove_duplicate=False)
        if isinstance(weight := getattr(module, "weight", None), torch.nn.Parameter)
        and not hasattr(module, "base_layer")
    )
    for name, module in model.named_modules():
        base = getattr(module, "base_layer", None)
        if base is not None and uses[id(getattr(base, "weight", None))] > 1:
            raise ModelError(
                f"the student's {name} shares its weights with another layer and cannot be adapted",
                where="training.adapter.target_modules",
                remedy="remove it, or set auto",
            )


def save_adapter(adapted: PeftModel, base: ModelConfig, folder: Path) -> None:
    """Write adapters into ``folder``, with the model that they belong to.

    Raises ModelError if one of their weights is not finite.
    """
    check_finite(adapted, folder)
    for config in adapted.peft_config.values():
        config.base_model_name_or_path = base.model if is_read_by_name(base) else str(locate(base).absolute())
        config.revision = base.revision
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty form; the student gets a card of its own
    if Path(base.model).exists():  # to be found from any working folder
        base = base.model_copy(update={"model": str(Path(base.model).absolute())})
    described = {"model": base.model_dump(mode="json"), "identity": model_identity(base)}
    write_json_atomically(folder / BASE_MODEL, described)


def merge_saved(base: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """``base`` with the adapters of ``folder`` merged into its weights: a plain model again.

    Raises ModelError for adapters of another kind than LoRA, without safetensors, or that do not fit ``base``.
    """
    from peft import PeftConfig, get_peft_model
    from peft.utils import set_peft_model_state_dict

    config = PeftConfig.from_pretrained(str(folder))
    if str(config.peft_type).rpartition(".")[2] != "LORA" or not (folder / ADAPTER_WEIGHTS).is_file():
        raise ModelError(
            f"there are no LoRA adapters in {ADAPTER_WEIGHTS}", where=folder, remedy="merge them into their model"
        )
    # Without memory until their weights are read: the config may name any rank.
    adapted: Any = get_peft_model(base, config, low_cpu_mem_usage=True)
    report = set_peft_model_state_dict(adapted, load_file(folder / ADAPTER_WEIGHTS), low_cpu_mem_usage=True)
    missing = [name for name in report.missing_keys if "lora_" in name] + list(report.unexpected_keys)
    if missing:
        raise ModelError(f"its adapters do not fit the model ({missing[0]})", where=folder)
    return adapted.merge_and_unload().requires_grad_(True)


def four_bit(dtype: torch.dtype) -> Any:
    """QLoRA's storage of a frozen model: 4-bit NormalFloat with quantised constants (arXiv 2305.14314)."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def check_adapter(lora: LoRA, student: ModelConfig) -> None:
    """Raise ModelError if adapters of ``student`` cannot be trained on this machine, or kept apart from it so that
    other tools can load them."""
    _check_quantization(lora)
    if lora.merge:
        return
    path = Path(student.model)
    reason = (
        "is cut by keep_layers" if student.keep_layers
        else "has adapters of its own" if is_adapter(path)
        else "is a GGUF file" if path.is_file()
        else ""
    )  # fmt: skip
    if reason:
        raise ModelError(
            f"the student {reason}, and other tools could not put its adapters beside it",
            where="training.adapter.merge",
            remedy="set it to true",
        )


def _check_quantization(lora: LoRA) -> None:
    """Raise ModelError if 4-bit weights are asked for on a machine that cannot compute with them."""
    if lora.quantize == "none":
        return
    missing = []
    if not torch.cuda.is_available():
        missing.append("a CUDA device")
    if importlib.util.find_spec("bitsandbytes") is None:
        missing.append("the package bitsandbytes (pip install bitsandbytes)")
    if missing:
        raise ModelError(
            f"4-bit weights need {' and '.join(missing)}",
            where="training.adapter.quantize",
            remedy="set it to none to train adapters on unquantised weights",
        )
