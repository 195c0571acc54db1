"""A causal language model seen as body and head: last hidden states, and logits from any rows of them.

Losses need logits at response positions only. Taking the two halves apart keeps the ``[rows, length, vocab]`` tensor,
by far the largest of a training step, from ever being formed.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedModel

from cotdistill.errors import ModelError


def last_hidden_states(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Final, normalised hidden states ``[rows, length, hidden]``: what the head turns into logits."""
    return model.base_model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state


def head_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Logits ``[num_tokens, vocab]`` of hidden states ``[num_tokens, hidden]``, as the model's own forward makes them.

    Covers the factors and the soft cap that Cohere, Granite and Gemma 2 apply behind their head.
    """
    logits = output_head(model)(hidden)
    config = model.config.get_text_config()
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if scaling := getattr(config, "logits_scaling", None):
        logits = logits / scaling
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = (logits / cap).tanh() * cap
    return logits


def head_parameters(model: PreTrainedModel) -> list[nn.Parameter]:
    """The head's parameters that are trained."""
    return [parameter for parameter in output_head(model).parameters() if parameter.requires_grad]


def output_head(model: PreTrainedModel) -> nn.Module:
    """The layer that turns hidden states into logits; its ``weight`` is ``[vocab, hidden]``."""
    head = model.get_output_embeddings()
    if head is None:
        raise ModelError("it has no language-model head", where=model.name_or_path, remedy="give a causal LM")
    return head
