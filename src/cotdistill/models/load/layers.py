"""A smaller student cut out of a larger model: some of its layers, evenly spaced."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from cotdistill.errors import ModelError


def keep_layers(model: PreTrainedModel, num_layers: int, *, name: str = "model") -> PreTrainedModel:
    """Cut ``model``, in place, to ``num_layers`` of its decoder layers; returns it.

    Layers are evenly spaced, the first and the last always among them (one layer alone is the first). The config is
    cut with them, so that the model can be saved, loaded and run with a key-value cache. Raises ModelError where the
    model has fewer layers or none that can be found.
    """
    config = model.config.get_text_config()
    total = config.num_hidden_layers
    if not 1 <= num_layers <= total:
        raise ModelError(f"cannot keep {num_layers} of {total} layers", where=name, remedy=f"keep 1 to {total}")
    parent, attribute = _layer_list(model, total, name)
    kept = evenly_spaced(num_layers, total)
    layers = nn.ModuleList(getattr(parent, attribute)[index] for index in kept)
    setattr(parent, attribute, layers)
    for index, layer in enumerate(layers):
        module: Any
        for module in layer.modules():
            if hasattr(module, "layer_idx"):  # the layer's place in the key-value cache
                module.layer_idx = index
    config.num_hidden_layers = num_layers
    for key, value in list(vars(config).items()):
        if "layer" in key and isinstance(value, list | tuple) and len(value) == total:
            setattr(config, key, [value[index] for index in kept])
    return model


def evenly_spaced(num_layers: int, total: int) -> list[int]:
    """``num_layers`` indices out of ``total``, rounded from even spacing: ``evenly_spaced(3, 6) == [0, 2, 5]``."""
    if num_layers == 1:
        return [0]
    return [round(index * (total - 1) / (num_layers - 1)) for index in range(num_layers)]


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The model's decoder layers. Raises ModelError where there is none or they cannot be found."""
    total = model.config.get_text_config().num_hidden_layers
    parent, attribute = _layer_list(model, total, model.name_or_path or "model")
    return getattr(parent, attribute)


def _layer_list(model: PreTrainedModel, total: int, name: str) -> tuple[nn.Module, str]:
    """The module that holds the decoder's layers, and the attribute that it holds them by."""
    for parent in model.base_model.modules():
        for attribute, child in parent.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == total:
                return parent, attribute
    raise ModelError(
        "its decoder layers are in no list that could be cut or sharded",
        where=name,
        remedy="leave out keep_layers and FSDP for this model",
    )
