"""What a model computes must be numbers: NaN or infinity is an error, not a wrong answer."""

from __future__ import annotations

from transformers import PreTrainedModel

from cotdistill.errors import ModelError


def not_finite(model: PreTrainedModel) -> ModelError:
    """The error for logits that are not finite, from which no token can be chosen."""
    return ModelError(
        "its logits are not finite numbers",
        where=model.name_or_path,
        remedy="check its weights, or compute in float32 (dtype: float32)",
    )
