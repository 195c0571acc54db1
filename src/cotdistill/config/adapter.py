"""A student's adapter: few trained weights beside a frozen model."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Len
from pydantic import Field

from cotdistill.config.base import Settings

__all__ = [
    "LoRA",
    "Quantize",
]

Quantize = Literal["none", "4bit"]
"""How a frozen model's weights are kept in memory."""


class LoRA(Settings):
    """Low-rank adaptation: only matrices of ``rank`` beside the model's linear layers are trained.

    ``auto`` adapts the linear layers that text runs through, and the experts, but not the head, routers, vision towers
    or weights that layers share. ``merge: false`` keeps the student as a peft adapter folder, which can be used
    wherever a model can; its base must stay where it is. ``quantize: 4bit`` (QLoRA) needs CUDA and the package
    bitsandbytes.
    """

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=16, ge=1, description="the inner size of an adapter's two matrices")
    alpha: float = Field(default=32.0, gt=0, description="an adapter's output is multiplied by alpha / rank")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="the share of an adapter's inputs that is dropped", examples=[0.05]
    )
    target_modules: Literal["auto"] | Annotated[tuple[str, ...], Len(1)] = Field(
        default="auto",
        description="the names of the layers that get an adapter; auto: all linear layers that text runs through",
    )
    merge: bool = Field(
        default=True, description="add the adapters to the weights in the end, so that the student is a plain model"
    )
    quantize: Quantize = Field(default="none", description="how the frozen weights are kept in memory")
