"""Which weights get adapters with ``target_modules: auto``."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

logger = logging.getLogger(__name__)

_ROUTERS = ("router", "gate", "shared_expert_gate")
"""Names of the layers that choose experts."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Names of linear layers, and of the stacked weights of experts ``[experts, in, out]``, as peft takes them."""

    modules: list[str]
    experts: list[str]


def all_linear(model: PreTrainedModel) -> Targets:
    """The linear layers that text runs through, and the experts.

    Routers, the head, vision towers, weights that several layers share and those that are read past their layer stay as
    they are. Says how many share theirs.
    """
    head, uses = model.get_output_embeddings(), Counter(id(weight) for weight in _weights(model))
    linear = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    read = _read_as_layers(model, linear)
    shared = [name for name in read if uses[id(linear[name].weight)] > 1]
    if shared:
        logger.warning("%d linear layers share their weights with other layers and get no adapters", len(shared))
    modules = [
        name
        for name in linear
        if name in read and name not in shared and not (_is_router(name) or _read_by_kernel(model, name))
    ]
    experts = [
        name
        for name, weight in model.named_parameters()
        if weight.ndim == 3 and ".experts." in name and name.endswith("_proj")
    ]
    return Targets(modules if experts else _short(model, modules), experts)


def _weights(model: PreTrainedModel) -> list[nn.Parameter]:
    """The weight of each place in the model that has one, also where it is that of another place."""
    modules = (module for _, module in model.named_modules(remove_duplicate=False))
    return [weight for module in modules if isinstance(weight := getattr(module, "weight", None), nn.Parameter)]


def _is_router(name: str) -> bool:
    return any(part in _ROUTERS for part in name.split(".")[-2:])


def _read_by_kernel(model: PreTrainedModel, name: str) -> bool:
    """Whether the layer is a Mamba mixer's last one, whose weight its kernel reads past any adapter."""
    mixer, _, own = name.rpartition(".")
    return own == "out_proj" and all(hasattr(model.get_submodule(mixer), part) for part in ("conv1d", "A_log", "D"))


@torch.no_grad()
def _read_as_layers(model: PreTrainedModel, layers: Mapping[str, nn.Module]) -> set[str]:
    """The layers that are called for a text and give a tensor, and those of experts, which few texts reach.

    Routers of whatever name give more; Mamba multiplies by the weight of a layer that it never calls.
    """
    found = {name for name in layers if "experts" in name}

    def note(name: str, output: object) -> None:
        if isinstance(output, torch.Tensor):
            found.add(name)

    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: note(name, output))
        for name, module in layers.items()
    ]
    try:
        model(input_ids=torch.tensor([[5, 6, 7]], device=model.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _short(model: PreTrainedModel, modules: list[str]) -> list[str]:
    """The last parts of the names, if no other module has them."""
    last = sorted({name.rpartition(".")[2] for name in modules})
    named = [name for name, _ in model.named_modules() if name.rpartition(".")[2] in last]
    return last if len(named) == len(modules) else modules
