"""A language model by name, and the type it computes in."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo, WithJsonSchema, field_validator

from cotdistill.config.base import Settings, from_folder
from cotdistill.config.shorthand import Shorthand

__all__ = [
    "Argument",
    "Dtype",
    "Model",
    "ModelConfig",
]

Dtype = Literal["auto", "float32", "bfloat16"]


Argument = bool | int | float | str
"""A value of an argument of a chat template."""


def _pairs(value: Any) -> Any:
    return tuple(sorted(value.items())) if isinstance(value, dict) else value


Arguments = Annotated[
    tuple[tuple[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], Argument], ...],
    BeforeValidator(_pairs),
    PlainSerializer(dict),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["boolean", "number", "string"]}}),
]
"""Arguments of a chat template by name."""


ARM = "arm:"
"""The prefix of a model name that stands for the student of another arm of the same experiment."""


class ModelConfig(Settings):
    """A causal language model: a folder, a hub name or ``builtin:smollm2-135m | nano-teacher | nano-student``.

    In an experiment file ``arm:NAME`` is the student of an arm above, for example a teacher that was fine-tuned first.
    """

    model: str = Field(
        description="a folder (./mine), a hub name, builtin:NAME, or arm:NAME", examples=["Qwen/Qwen2.5-0.5B"]
    )
    revision: str | None = Field(
        default=None, description="a commit, branch or tag of the hub; default: the latest", examples=["main"]
    )
    keep_layers: int | None = Field(
        default=None, ge=1, description="keep only this many layers, evenly spaced", examples=[6]
    )
    trust_remote_code: bool = Field(
        default=False, description="run Python that comes with the model; only if you have read it"
    )
    system: str | None = Field(
        default=None,
        description="a system message of its own, in training and evaluation alike; saved with a student",
        examples=["You are a careful student."],
    )
    date: dt.date = Field(
        default=dt.date(2025, 1, 1),
        description="the date that its chat template writes as today's",
        examples=["2025-01-01"],
    )
    template: Arguments = Field(
        default=(),
        description="arguments of its chat template, such as {enable_thinking: false}",
        examples=[{"enable_thinking": False}],
    )
    allow_pickle: bool = Field(default=False, description="also load weights that are neither safetensors nor GGUF")

    @field_validator("model")
    @classmethod
    def folder_of_its_own(cls, model: str, info: ValidationInfo) -> str:
        """A name written as a path is relative to the experiment file; others are hub or built-in names."""
        return str(from_folder(Path(model), info)) if model.startswith((".", "/", "~")) else model


def _model_shorthand(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


Model = Annotated[ModelConfig, BeforeValidator(_model_shorthand), Shorthand(({"type": "string"},))]
