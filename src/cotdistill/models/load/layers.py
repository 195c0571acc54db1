"""A smaller student cut from a larger model: some of its layers, evenly spaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from cotdistill.errors import ModelError
from cotdistill.models.forward.attention import differ
from cotdistill.models.forward.heads import body

_FIRST = ("first_k_dense_replace", "max_window_layers", "moe_layer_start_index")
"""Settings that count layers from the first one on."""
_LAST = "moe_layer_end_index"
"""A setting that names the last layer of its kind."""


def keep_layers(model: PreTrainedModel, num_layers: int, *, name: str = "model") -> PreTrainedModel:
    """Cut ``model``, in place and in eval mode, to ``num_layers`` of its decoder layers; returns it.

    Layers are evenly spaced, the first and the last always among them (one layer alone is the first). The config is
    cut with them. Raises ModelError if the model has fewer layers or none that can be found, and if the cut model or
    what its config builds does not compute the kept layers one after another; it then names the nearest numbers that
    can be kept.
    """
    total = model.config.get_text_config().num_hidden_layers
    if not 1 <= num_layers <= total:
        raise ModelError(f"cannot keep {num_layers} of {total} layers", where=name, remedy=f"keep 1 to {total}")
    place = _layer_list(model, total, name)
    if num_layers == total:
        return model
    if reason := _unfit(model, place, num_layers):
        others = sorted(set(range(1, total)) - {num_layers}, key=lambda number: abs(number - num_layers))
        fits = next((number for number in others if not _unfit(model, place, number)), None)
        raise ModelError(
            f"{num_layers} of its {total} layers do not make a model of its family ({reason})",
            where=name,
            remedy="omit keep_layers" if fits is None else f"keep {fits}, or omit keep_layers",
        )
    _cut(model, place, evenly_spaced(num_layers, total))
    return model


def evenly_spaced(num_layers: int, total: int) -> list[int]:
    """``num_layers`` indices out of ``total``, rounded from even spacing: ``evenly_spaced(3, 6) == [0, 2, 5]``."""
    if num_layers == 1:
        return [0]
    return [round(index * (total - 1) / (num_layers - 1)) for index in range(num_layers)]


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The model's decoder layers. Raises ModelError if there are none or they cannot be found."""
    total = model.config.get_text_config().num_hidden_layers
    parent, attribute = _layer_list(model, total, model.name_or_path or "model")
    return getattr(parent, attribute)


def _layer_list(model: PreTrainedModel, total: int, name: str) -> tuple[nn.Module, str]:
    """The module that holds the decoder's layers, and the name of the attribute."""
    decoder = model.get_decoder()  # a vision tower may have as many layers
    for parent in (body(model) if decoder is model else decoder).modules():
        for attribute, child in parent.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == total:
                return parent, attribute
    raise ModelError(
        "its decoder layers are not in a list that could be cut or sharded",
        where=name,
        remedy="do not use keep_layers or FSDP with this model",
    )


def _unfit(model: PreTrainedModel, place: tuple[nn.Module, str], num_layers: int) -> str:
    """Why the layers at ``place`` cannot be cut to so many; empty if they can. The model stays as it is."""
    layers, config = getattr(*place), model.config.get_text_config()
    settings, kept = deepcopy(vars(config)), evenly_spaced(num_layers, len(layers))
    try:
        expected = _logits_without(model, [layer for index, layer in enumerate(layers) if index not in kept])
        _cut(model, place, kept)
        return _difference(model, expected)
    except Exception as error:  # in whatever way a family of models cannot be cut, and there are hundreds
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    finally:
        setattr(*place, layers)
        _number(layers)
        vars(config).clear()
        vars(config).update(settings)


def _cut(model: PreTrainedModel, place: tuple[nn.Module, str], kept: Sequence[int]) -> None:
    layers = getattr(*place)
    _cut_config(model.config.get_text_config(), kept, len(layers))
    setattr(*place, nn.ModuleList(layers[index] for index in kept))
    _number(getattr(*place))


def _number(layers: nn.ModuleList) -> None:
    """Tell the layers and their parts which places they have in the list, and so in the state of the text before."""
    for index, layer in enumerate(layers):
        module: Any
        for module in layer.modules():
            for place in ("layer_idx", "layer_id"):
                if hasattr(module, place):
                    setattr(module, place, index)


def _cut_config(config: PreTrainedConfig, kept: Sequence[int], total: int) -> None:
    """Let ``config`` describe the kept layers: their number, what it lists by layer, and layers that it lists."""
    for key, value in list(vars(config).items()):
        if isinstance(value, list | tuple) and _names_layers(key, value, total):
            setattr(config, key, [kept.index(index) for index in value if index in kept])
        elif isinstance(value, list | tuple) and len(value) == total and ("layer" in key or "block" in key):
            setattr(config, key, [value[index] for index in kept])
        elif key in _FIRST and isinstance(value, int):
            setattr(config, key, sum(index < value for index in kept))
        elif key == _LAST and isinstance(value, int) and value >= 0:
            setattr(config, key, sum(index <= value for index in kept) - 1)
    if config.num_hidden_layers != len(kept):
        config.num_hidden_layers = len(kept)


def _names_layers(key: str, value: Sequence[Any], total: int) -> bool:
    if not any(part in key for part in ("layer", "idx", "indices")):
        return False
    indices = all(type(index) is int and 0 <= index < total for index in value)
    return indices and list(value) == sorted(set(value))


def _difference(model: PreTrainedModel, expected: Tensor) -> str:
    """Why ``model``, or the model that its config builds with its weights, does not give the ``expected`` logits."""
    dtype = torch.float32 if model.dtype == torch.float32 else torch.bfloat16
    if differ(_logits(model), expected, dtype):
        return "together they compute something else"
    if getattr(model, "is_quantized", False):  # what its config builds would have plain weights
        return ""
    described = type(model.config).from_dict(deepcopy(model.config.to_dict()))
    described._attn_implementation = model.config._attn_implementation
    with no_init_weights():
        built = type(model)(described)
    report = built.load_state_dict(model.state_dict(), strict=False, assign=True)
    if other := [*report.missing_keys, *report.unexpected_keys]:
        return f"the cut config is of another model, which differs in {other[0]}"
    torch.nn.Module.to(built, device=model.device)
    if differ(_logits(built.eval()), expected, dtype):
        return "what the cut config builds computes something else"
    return ""


@torch.no_grad()
def _logits(model: PreTrainedModel) -> Tensor:
    """Logits ``[tokens, vocabulary]`` of a few tokens that any vocabulary has."""
    ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12, 9]], device=model.device)
    return model(input_ids=ids, use_cache=False).logits[0].float()


def _logits_without(model: PreTrainedModel, dropped: Sequence[nn.Module]) -> Tensor:
    """The logits without the ``dropped`` layers."""
    own = [layer.forward for layer in dropped]
    try:
        for layer in dropped:
            layer.forward = _passing_by(layer.forward)
        return _logits(model)
    finally:
        for layer, forward in zip(dropped, own, strict=True):
            layer.forward = forward


def _passing_by(forward: Callable[..., Any]) -> Callable[..., Any]:
    def passed(hidden_states: Tensor, *arguments: Any, **settings: Any) -> Any:
        found = forward(hidden_states, *arguments, **settings)
        return (hidden_states, *found[1:]) if isinstance(found, tuple) else hidden_states

    return passed
