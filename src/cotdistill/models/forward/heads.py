"""A causal language model seen as body and head: last hidden states, and logits from any rows of them.

Losses need logits only at response positions. Separating the two halves keeps the ``[rows, length, vocab]`` tensor,
by far the largest of a training step, from ever being formed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from cotdistill.errors import ModelError
from cotdistill.models.forward.positions import positions_by_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PackedTexts:
    """Texts in one row: ``num_shared`` tokens that all begin with, then the rest of each text, of these ``lengths``."""

    num_shared: int
    lengths: tuple[int, ...]


def body(model: PreTrainedModel) -> nn.Module:
    """The model without its head."""
    if model.base_model is not model:
        return model.base_model
    # Llama 4's text model does not have it where its class says.
    return next((part for part in model.children() if isinstance(part, PreTrainedModel)), model)


def last_hidden_states(
    model: PreTrainedModel,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    position_ids: Tensor | None = None,
    texts: PackedTexts | None = None,
) -> Tensor:
    """Final, normalised hidden states ``[rows, length, hidden]``: what the head turns into logits.

    Without a mask, ``position_ids`` that restart at 0 begin another text in the same row (see ``attention.py``), or
    ``texts`` says how they lie there (``packed_attention.py``).
    """
    inputs = _inputs(input_ids, attention_mask, position_ids, texts)
    with positions_by_text(model, attention_mask, position_ids):
        return _for_head(model, body(model)(**inputs, use_cache=False).last_hidden_state)


def all_hidden_states(
    model: PreTrainedModel,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    position_ids: Tensor | None = None,
    texts: PackedTexts | None = None,
) -> tuple[Tensor, ...]:
    """Hidden states ``[rows, length, hidden]`` by layer: embeddings first, :func:`last_hidden_states` last.

    Raises ModelError if the last ones, which the head reads, have another width than the others.
    """
    inputs = _inputs(input_ids, attention_mask, position_ids, texts)
    with positions_by_text(model, attention_mask, position_ids):
        *before, last = body(model)(**inputs, use_cache=False, output_hidden_states=True).hidden_states
    if before and before[-1].shape[-1] != last.shape[-1]:
        raise ModelError(
            f"its last hidden states have width {last.shape[-1]}, the others {before[-1].shape[-1]}",
            where=model.name_or_path,
            remedy="remove the loss on hidden states",
        )
    return *before, _for_head(model, last)


def _for_head(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """``hidden`` in the type of the head's weights, which some families keep in float32 in a model of another type."""
    dtype = output_head(model).weight.dtype
    half = dtype in (torch.bfloat16, torch.float16)
    return hidden.to(dtype) if half and hidden.dtype == torch.float32 else hidden  # pyright: ignore


def head_width(config: PreTrainedConfig) -> int:
    """How many numbers of a token a model's head reads; OPT-350m projects them to fewer first."""
    text = config.get_text_config()
    return getattr(text, "word_embed_proj_dim", None) or text.hidden_size


def _inputs(
    input_ids: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None, texts: PackedTexts | None
) -> dict[str, Any]:
    if texts is not None:  # transformers makes no mask where it is given one of four dimensions
        unread = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=input_ids.device)
        return {"input_ids": input_ids, "attention_mask": unread, "position_ids": position_ids, "texts": texts}
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
    return inputs if position_ids is None else inputs | {"position_ids": position_ids}  # some models have none


def enable_gradient_checkpointing(model: PreTrainedModel) -> None:
    """Keep only the inputs of the model's layers for backward, which computes the layers again: the same gradients.

    Only in training mode. Raises ModelError for a model without transformers' support for it.
    """
    if not model.supports_gradient_checkpointing:
        raise ModelError(
            f"{type(model).__name__} does not support gradient checkpointing",
            where="training.gradient_checkpointing",
            remedy="set it to false and lower training.max_batch_tokens",
        )
    # The re-entrant kind gives no gradients where the embeddings are frozen, as beside adapters.
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)  # its newer name
    enable({"use_reentrant": False})


def disable_gradient_checkpointing(model: PreTrainedModel) -> None:
    getattr(model, "activation_checkpointing_disable", model.gradient_checkpointing_disable)()


@dataclass(frozen=True, slots=True)
class Head:
    """What turns hidden states into logits: a linear map, then the factor and soft cap of some families.

    Cohere and Falcon-H1 multiply their logits, Granite divides them, Gemma 2 caps them.
    """

    linear: Callable[[Tensor], Tensor]
    factor: float = 1.0
    cap: float | None = None

    def logits(self, hidden: Tensor) -> Tensor:
        """``[num_tokens, vocab]`` of ``[num_tokens, hidden]``, as the model's own forward makes them."""
        logits = self.linear(hidden)
        if self.factor != 1.0:
            logits = logits * self.factor
        return logits if self.cap is None else (logits / self.cap).tanh() * self.cap


def head_of(model: PreTrainedModel) -> Head:
    config = model.config.get_text_config()
    factor = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
    factor *= getattr(config, "lm_head_multiplier", None) or 1.0
    return Head(output_head(model), factor, getattr(config, "final_logit_softcapping", None))


@torch.no_grad()
def check_head(model: PreTrainedModel) -> None:
    """Raise ModelError unless ``model``, in eval mode, gives its own logits when split into body and head.

    The model itself is tested: families scale their logits in different ways, some by a name that means the opposite in
    another, and a loss on logits other than those that the model is evaluated with would train another model.
    """
    ids = torch.tensor([[5, 6, 7, 8]], device=model.device)  # any vocabulary has them
    expected = model(input_ids=ids, use_cache=False).logits[0].float()
    found = head_of(model).logits(last_hidden_states(model, ids, None)[0]).float()
    if (found - expected).norm() > 0.05 * expected.norm():  # far above rounding, also in bfloat16
        raise ModelError(
            f"{type(model).__name__} computes its logits in an unknown way",
            where=model.name_or_path,
            remedy="choose a model of another family",
        )


def say_what_is_not_balanced(model: PreTrainedModel) -> None:
    """Warn where the model's config adds a loss that balances its experts: it is not trained here."""
    config = model.config.get_text_config()
    if getattr(config, "output_router_logits", False) and getattr(config, "router_aux_loss_coef", 0):
        logger.warning(
            "%s: the loss by which its config balances experts (router_aux_loss_coef) is not added",
            model.name_or_path or type(model).__name__,
        )


def head_parameters(model: PreTrainedModel) -> list[nn.Parameter]:
    """The head's trainable parameters."""
    return [parameter for parameter in output_head(model).parameters() if parameter.requires_grad]


def output_head(model: PreTrainedModel) -> nn.Module:
    """The layer that turns hidden states into logits; its ``weight`` is ``[vocab, hidden]``."""
    head = model.get_output_embeddings()
    if head is None:
        raise ModelError("it has no language-model head", where=model.name_or_path, remedy="give a causal LM")
    return head
