"""The axes of an experiment, and what each of its cells needs from a cluster."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from cotdistill.config.base import Settings
from cotdistill.config.shorthand import Shorthand

__all__ = ["Axis", "Resources"]


class Axis(Settings):
    """The values of an axis, with names for long ones, and the arms that it is for (None: all)."""

    values: list[Any] | dict[str, Any] = Field(
        min_length=1, description="the values, as a list or by names", examples=[[1, 3, 6]]
    )
    of: tuple[str, ...] | None = Field(
        default=None, description="the arms that the axis is for; default: all", examples=[["rationales"]]
    )

    @field_validator("values")
    @classmethod
    def short_and_different(cls, values: list[Any] | dict[str, Any]) -> list[Any] | dict[str, Any]:
        if isinstance(values, list):
            if any(isinstance(value, dict | list) for value in values):
                raise ValueError("has values that are lists or mappings; give each a name: {NAME: VALUE, ...}")
            if len(set(values)) < len(values):
                raise ValueError("lists a value twice")
        return values

    @property
    def by_name(self) -> dict[Any, Any]:
        """What each value stands for."""
        return self.values if isinstance(self.values, dict) else {value: value for value in self.values}


def _axis(value: Any) -> Any:
    if isinstance(value, dict) and "values" in value and value.keys() <= {"of", "values"}:
        of = value.get("of")
        return value | {"of": [of] if isinstance(of, str) else of}
    if not isinstance(value, list | dict):
        raise ValueError(f"needs a list of values, or a mapping of names to them, not {value!r}")
    return {"values": value}


class Resources(Settings):
    """What a cell needs from a Ray cluster, and how often it is tried again if its node goes down."""

    num_cpus: float = Field(default=1, ge=0, description="processors for each cell")
    num_gpus: float = Field(default=0, ge=0, description="GPUs for each cell", examples=[1])
    max_retries: int = Field(default=3, ge=0, description="how often a cell is begun again after its node went down")


GridAxis = Annotated[Axis, BeforeValidator(_axis), Shorthand(({"type": ["array", "object"]},))]
"""An axis as it is written: a list, names with their values, or ``{of: ARM, values: ...}``."""
