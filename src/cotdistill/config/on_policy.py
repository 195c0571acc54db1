"""Training on the student's own samples: how many, by whom they are written, and when."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from cotdistill.config.base import Settings, Temperature, kind_shorthand
from cotdistill.config.engine import SignalServer, TransformersSettings, VLLMSettings
from cotdistill.config.shorthand import Shorthand

__all__ = [
    "LengthSchedule",
    "OnPolicy",
    "RolloutServer",
]


class LengthSchedule(Settings):
    """Tokens of a sample: evenly from ``start`` at the first step to ``end`` at the last (arXiv 2602.15260)."""

    start: int = Field(ge=1, description="tokens of a sample at the first step", examples=[32])
    end: int = Field(ge=1, description="tokens of a sample at the last step", examples=[256])


class RolloutServer(SignalServer):
    """A server that runs the student as it is before training, and its name there; asked with token ids, as vLLM is."""

    kind: Literal["openai"] = "openai"


def _schedule_or_number(value: Any) -> str:
    return "schedule" if isinstance(value, dict | LengthSchedule) else "number"


_Length = Annotated[
    Annotated[Annotated[int, Field(ge=1)], Tag("number")] | Annotated[LengthSchedule, Tag("schedule")],
    Discriminator(_schedule_or_number),
]


class OnPolicy(Settings):
    """Steps on the student's own samples, scored by the teacher (GKD, arXiv 2306.13649).

    Live, they are drawn from the student as it is at that step. ``offline``, each prompt's sample is drawn once from
    the student before training, scored once, and read by all arms, seeds and epochs that start from the same student
    (Lightning OPD, arXiv 2604.13010). Cross-entropy applies to the other steps alone.
    """

    share: float = Field(default=0.5, ge=0, le=1, description="share of steps on the student's own samples")
    max_new_tokens: _Length = Field(
        default=256,
        description="a sample that is cut here is trained on without its end; {start: 32, end: 256} changes evenly "
        "while training",
    )
    temperature: Temperature = Field(default=1.0, gt=0, description="the temperature at which samples are drawn")
    offline: bool | None = Field(
        default=None,
        description="draw samples once, from the student before training. Default: true if the signal is stored",
        examples=[True],
    )
    buffer: int = Field(
        default=1,
        ge=1,
        description="steps on samples whose samples are drawn together: larger batches, from a student some steps old",
    )
    engine: Annotated[
        Annotated[TransformersSettings | VLLMSettings | RolloutServer, Field(discriminator="kind")],
        BeforeValidator(kind_shorthand),
        Shorthand(bare=True),
    ] = Field(default=TransformersSettings(), description="what draws offline samples")

    @property
    def longest(self) -> int:
        """The most tokens of a sample."""
        length = self.max_new_tokens
        return max(length.start, length.end) if isinstance(length, LengthSchedule) else length

    def length_at(self, step: int, num_steps: int) -> int:
        """The most tokens of a sample that is drawn for this step, counted from 0."""
        length = self.max_new_tokens
        if not isinstance(length, LengthSchedule):
            return length
        return round(length.start + (length.end - length.start) * step / max(1, num_steps - 1))

    def unsuited(self, *, offline: bool) -> str | None:
        """Which of these settings do not go with samples that are drawn once, or live; None if all do."""
        if not offline and not isinstance(self.engine, TransformersSettings):
            return (
                f"engine {self.engine.kind} has the student as it was before training, and live samples need it as it "
                "is at their step; set on_policy.offline: true, or delete on_policy.engine"
            )
        if offline and self.buffer > 1:
            return "offline samples are all drawn before training; delete on_policy.buffer"
        if offline and isinstance(self.max_new_tokens, LengthSchedule):
            return "offline samples are drawn and scored once, at one length; give on_policy.max_new_tokens one number"
        return None
