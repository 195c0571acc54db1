"""Where the next-token distributions come from that a student is matched to: the teachers of a training's signal."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from cotdistill.config.annotation import names_of_route
from cotdistill.config.base import PLACE, FolderPath, Settings
from cotdistill.config.engine import SignalServer
from cotdistill.config.model import Model
from cotdistill.config.prompt import PromptFile
from cotdistill.config.shorthand import Shorthand
from cotdistill.records import Question

__all__ = [
    "Alignment",
    "CachedPart",
    "CachedTeacher",
    "GoldContext",
    "LivePart",
    "LiveTeacher",
    "OneSignal",
    "OwnContext",
    "RoutedSignal",
    "Signal",
    "SignalConfig",
    "TeacherContext",
]

Alignment = Literal["none", "sorted_probability", "byte_offset"]
"""How a teacher's tokens are matched with a student's: as the same tokens; by rank; or where both end in the text."""


GoldContext = Literal["none", "rationale", "answer"]
"""What a teacher's prompt holds besides the student's: nothing, the gold rationale with its answer, the gold answer."""


class OwnContext(Settings):
    """A prompt of the teacher's own, in a file, for example one that asks it to be concise."""

    prompt: PromptFile = Field(description="a file with the prompt that the teacher reads", examples=["concise.yaml"])


TeacherContext = GoldContext | OwnContext
"""What a teacher reads in place of the student's prompt."""


_SERVER = {"base_url": "http://127.0.0.1:8000/v1", "model": "teacher"}


class LiveTeacher(Settings):
    """The teacher's distributions, computed while training.

    A teacher with another tokenizer needs an ``alignment``: ``byte_offset`` for any divergence, or
    ``sorted_probability`` (ULD) for total_variation (``training/signals/alignment.py`` says what they compare). With a
    ``context``, a model can be its own teacher: it reads the gold rationale or gold answer in its prompt, or a prompt
    of its own (``context: {prompt: FILE}``). With a ``server``, the teacher runs there, gives the ``k`` likeliest
    tokens of what it is sent, and only the tokenizer of ``model`` is read.
    """

    kind: Literal["live"] = "live"
    model: Model = Field(description="the teacher", examples=["Qwen/Qwen2.5-7B"])
    alignment: Alignment = Field(
        default="none", description="how tokens are matched where the teacher has another tokenizer"
    )
    context: TeacherContext = Field(default="none", description="what the teacher reads that the student does not")
    server: SignalServer | None = Field(
        default=None, description="a vLLM server that runs the teacher", examples=[_SERVER]
    )
    k: int = Field(default=64, ge=1, description="tokens per position, from a server")

    @property
    def all(self) -> tuple[LiveTeacher, ...]:
        return (self,)

    @property
    def captured(self) -> CachedTeacher:
        """The same teacher behind the same server, asked beforehand about examples that are known by then."""
        return CachedTeacher(model=self.model, store="topk", k=self.k, server=self.server, context=self.context)

    @model_validator(mode="after")
    def what_a_server_gives(self) -> LiveTeacher:
        if self.server is None and self.k != LiveTeacher.model_fields["k"].default:
            raise ValueError("k is what a server is asked for, and there is none; delete k, or name a server")
        if self.server is not None and self.alignment != "none":
            raise ValueError("a server gives only the likeliest tokens, which cannot be aligned; delete alignment")
        return self


class CachedTeacher(Settings):
    """The teacher's distributions, captured once and then read from disk: no teacher in memory while training.

    ``hidden`` is exact (last hidden states); ``topk`` keeps the ``k`` likeliest tokens and the mass of all others;
    ``sampled`` keeps ``num_samples`` draws, an unbiased estimate of forward KL. With a ``server``, the teacher runs
    there, and only the tokenizer of ``model`` is read.
    """

    kind: Literal["cache"] = "cache"
    model: Model = Field(description="the teacher", examples=["Qwen/Qwen2.5-7B"])
    store: Literal["hidden", "topk", "sampled"] = Field(
        default="hidden", description="what is kept of each distribution"
    )
    k: int = Field(default=64, ge=1, description="tokens per position, for topk")
    num_samples: int = Field(default=16, ge=1, description="draws per position, for sampled")
    path: Annotated[FolderPath | None, PLACE] = Field(
        default=None, description="a captured folder; default: found or made in runs", examples=["signal"]
    )
    context: TeacherContext = Field(default="none", description="what the teacher reads that the student does not")
    server: SignalServer | None = Field(
        default=None, description="a vLLM server that runs the teacher, for topk", examples=[_SERVER]
    )

    @property
    def all(self) -> tuple[CachedTeacher, ...]:
        return (self,)

    @model_validator(mode="after")
    def likeliest_tokens_of_a_server(self) -> CachedTeacher:
        if self.server is not None and self.store != "topk":
            raise ValueError(f"a server gives only the likeliest tokens; set store: topk, not {self.store}")
        return self


OneSignal = LiveTeacher | CachedTeacher
"""One teacher's distributions."""


class _Part(Settings):
    """How much one of several teachers counts, and for which questions."""

    weight: float = Field(default=1.0, gt=0, description="against the other teachers of the same question")
    values: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="the values of by whose questions it is for; default: all",
        examples=[["gsm8k"]],
    )


class LivePart(LiveTeacher, _Part):
    """One of several teachers, computed while training."""


class CachedPart(CachedTeacher, _Part):
    """One of several teachers, captured by itself."""


def _live_by_default(value: Any) -> Any:
    return {"kind": "live"} | value if isinstance(value, dict) else value


class RoutedSignal(Settings):
    """Several teachers: a question has those whose ``values`` hold its value of ``by``, and those without any.

    ``by`` is ``task`` or a column that ``task.keep_columns`` keeps, as for a routed teacher of rationales. Where
    several teach a question, a divergence is the mean of those from each, by ``weight``. A question that nobody teaches
    is dropped and counted.
    """

    kind: Literal["routed"] = "routed"
    by: str = Field(default="task", min_length=1, description="task, or a column that task.keep_columns keeps")
    teachers: tuple[
        Annotated[
            Annotated[LivePart | CachedPart, Field(discriminator="kind"), Shorthand(kindless=("live",))],
            BeforeValidator(_live_by_default),
        ],
        ...,
    ] = Field(
        min_length=1,
        description="the teachers",
        examples=[[{"model": "Qwen/Qwen2.5-7B"}, {"model": "Qwen/Qwen2.5-Math-7B", "values": ["gsm8k"]}]],
    )

    @property
    def all(self) -> tuple[LivePart | CachedPart, ...]:
        return self.teachers

    @property
    def context(self) -> TeacherContext:
        return self.teachers[0].context

    def of(self, question: Question) -> tuple[int, ...]:
        """The places of the question's teachers."""
        names = {*names_of_route(self.by, question)}
        own = (teacher.values for teacher in self.teachers)
        return tuple(place for place, values in enumerate(own) if values is None or not names.isdisjoint(values))

    @model_validator(mode="after")
    def one_context(self) -> RoutedSignal:
        if any(teacher.context != self.context for teacher in self.teachers):
            raise ValueError("its teachers read different contexts; give all of them the same context")
        return self


Signal = OneSignal | RoutedSignal


def _shorthand(value: Any) -> Any:
    if isinstance(value, dict) and "teachers" in value:
        return {"kind": "routed"} | value
    return _live_by_default(value)


def _plain(signal: Signal) -> Signal:
    """One teacher of all questions is no other thing for standing in a list."""
    if not isinstance(signal, RoutedSignal):
        return signal
    part, *others = signal.teachers
    if others or part.values is not None:
        return signal
    alone = LiveTeacher if isinstance(part, LiveTeacher) else CachedTeacher
    return alone.model_construct(**{name: getattr(part, name) for name in alone.model_fields})


SignalConfig = Annotated[
    Annotated[Signal, Field(discriminator="kind"), Shorthand(kindless=("live", "routed"))],
    BeforeValidator(_shorthand),
    AfterValidator(_plain),
]
