"""How a student is tested."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from cotdistill.config.base import Settings, Temperature
from cotdistill.config.engine import EngineSettings, ServerSettings, TransformersSettings
from cotdistill.config.model import Dtype
from cotdistill.config.parts import Part, is_part
from cotdistill.config.task import BenchmarkTask, ProceduralTask, TestedTask

__all__ = [
    "EvaluationConfig",
    "Reader",
]

Reader = Literal["cotdistill", "lm_eval", "math_verify"]
"""Who finds the stated answer in a completion and compares it with the gold answer."""


def _part_or_name(value: Any) -> str:
    return "part" if is_part(value) else "name"


_ReaderOrPart = Annotated[Annotated[Reader, Tag("name")] | Annotated[Part, Tag("part")], Discriminator(_part_or_name)]


class EvaluationConfig(Settings):
    """What the student is tested on, and how: by default, greedy decoding of the prompt that it was trained with."""

    tasks: tuple[TestedTask, ...] | None = Field(
        default=None,
        description="default: the cell's own task; all of a file named here is for testing",
        examples=[["svamp", "hard.csv"]],
    )
    prompt: Literal["auto", "rationale", "answer", "answer_then_rationale", "predict"] = Field(
        default="auto", description="auto: as trained; a base student is asked for a rationale"
    )
    few_shot: Literal[0, 3, 5] = Field(
        default=0, description="3: the official raw prompts of bbh, 5: those of mmlu_pro, instead of prompt"
    )
    max_new_tokens: int = Field(default=320, ge=1, description="tokens of a completion at most")
    max_reasoning_tokens: int | None = Field(
        default=None,
        ge=0,
        description="of them, what may be spent on reasoning: then it is closed, and the answer goes on (transformers)",
        examples=[256],
    )
    stop: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        default=None,
        description="texts that end a completion; default with few_shot: an empty line or the next question",
        examples=[["\n\n"]],
    )
    temperature: Temperature | None = Field(
        default=0.0, ge=0, description="0: greedy; null: not sent, for a server that accepts none"
    )
    num_samples: int = Field(
        default=1,
        ge=1,
        description="completions per question, which vote on the answer; pass@k, avg@k and maj@k come from them",
    )
    num_beams: int = Field(
        default=1, ge=1, description="above 1: beam search by transformers, instead of greedy decoding"
    )
    seed: int = Field(default=0, description="the seed of what is drawn at a temperature")
    max_batch_size: int = Field(default=64, ge=1, description="for transformers; other engines form their own batches")
    dtype: Dtype = Field(
        default="auto",
        description="the type the student computes in; auto: bfloat16 where the machine computes it fast",
    )
    reader: _ReaderOrPart = Field(
        default="cotdistill",
        description="lm_eval or math_verify: those packages read completions; or your own function of "
        "(completion, question)",
    )
    engine: EngineSettings = Field(
        default=TransformersSettings(),
        description="what runs the student; for a server, student holds the model's name there",
        examples=["vllm"],
    )

    @model_validator(mode="after")
    def own_names(self) -> EvaluationConfig:
        own = [task for task in self.tasks or () if not isinstance(task, BenchmarkTask | ProceduralTask)]
        names = [task.side_name("test" if task.test else "train") for task in own]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two of the tasks are called {name!r}; give them names: {{name: NAME, test: FILE}}")
        return self

    @model_validator(mode="after")
    def samples_differ(self) -> EvaluationConfig:
        if self.num_samples > 1 and self.temperature == 0:
            raise ValueError("num_samples above 1 needs a temperature above 0: greedy samples are all the same")
        return self

    @model_validator(mode="after")
    def unset_for_servers(self) -> EvaluationConfig:
        if self.temperature is None and not self.served:
            raise ValueError("temperature: null is for a server (evaluation.engine); set 0 or a temperature")
        return self

    @model_validator(mode="after")
    def room_for_an_answer(self) -> EvaluationConfig:
        if self.max_reasoning_tokens is None:
            return self
        if self.max_reasoning_tokens >= self.max_new_tokens:
            raise ValueError("max_reasoning_tokens leaves no room for an answer; raise max_new_tokens above it")
        if self.num_beams > 1 or self.few_shot or not isinstance(self.engine, TransformersSettings):
            raise ValueError(
                "max_reasoning_tokens needs engine: transformers without num_beams and few_shot; a server has its own "
                "limit (engine.extra_body)"
            )
        return self

    @model_validator(mode="after")
    def beams_alone(self) -> EvaluationConfig:
        if self.num_beams > 1 and (self.temperature or not isinstance(self.engine, TransformersSettings)):
            raise ValueError("num_beams above 1 needs temperature: 0 and engine: transformers")
        return self

    @property
    def served(self) -> bool:
        """Whether the student is behind a server, and so not on this machine."""
        return isinstance(self.engine, ServerSettings)
