"""How a model is asked: in this process, behind a server that speaks OpenAI's API, or from a script.

Teachers, evaluated models and signals all use these settings.
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator

from cotdistill.config.base import MACHINE, PLACE, FolderPath, Settings, Temperature, kind_shorthand
from cotdistill.config.model import Dtype, Model
from cotdistill.config.secrets import RequestFields, ServerAddress, VariableName
from cotdistill.config.shorthand import Shorthand

__all__ = [
    "EngineSettings",
    "Limits",
    "Price",
    "Sampling",
    "ScriptedModel",
    "ServedModel",
    "ServerSettings",
    "SignalServer",
    "TransformersModel",
    "TransformersSettings",
    "VLLMModel",
    "VLLMSettings",
]


class Sampling(Settings):
    """How a completion is drawn. All of it is part of the key under which a completion is kept.

    What is not set is not sent to a server, which then uses its own default; some accept no temperature at all. A model
    in this process decodes greedily unless a temperature is set.
    """

    temperature: Temperature | None = Field(
        default=None, ge=0, description="what logits are divided by before a token is drawn", examples=[0.7]
    )
    top_p: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="draw from the likeliest tokens that have this probability together",
        examples=[0.95],
    )
    max_new_tokens: int = Field(default=1024, ge=1, description="tokens of a completion at most")
    seed: int | None = Field(default=None, description="the seed of what is drawn", examples=[0])
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="texts that end a completion", examples=[["\n\n"]]
    )


class Price(Settings):
    """The price of a million tokens of input and of output, in one currency."""

    input: float = Field(ge=0, description="of a million tokens that are read", examples=[0.15])
    output: float = Field(ge=0, description="of a million tokens that are written", examples=[0.6])


class Limits(Settings):
    """How a server is asked. Nothing here changes a completion.

    A budget covers everything in one log: for a teacher, all its completions in a folder of runs; for an evaluated
    model or a signal, one stage.
    """

    concurrency: int = Field(default=16, ge=1, description="requests in flight at once")
    requests_per_minute: float | None = Field(
        default=None, gt=0, description="requests that are begun in a minute at most", examples=[500]
    )
    tokens_per_minute: float | None = Field(
        default=None, gt=0, description="tokens that are sent and allowed in a minute at most", examples=[200000]
    )
    timeout_seconds: float = Field(
        default=120.0, gt=0, description="how long an answer may take before it is asked for again"
    )
    max_retries: int = Field(default=6, ge=0, description="how often a failed request is sent again")
    max_cost: float | None = Field(default=None, gt=0, description="a budget in the price's currency", examples=[5.0])
    max_total_tokens: int | None = Field(
        default=None, ge=1, description="a budget of tokens, prompts included", examples=[1000000]
    )
    price: Price | None = Field(
        default=None,
        description="default: the model's in engines/costs.py, if listed",
        examples=[{"input": 0.15, "output": 0.6}],
    )


class _Connection(Settings):
    """How to reach a server: OpenAI's own if ``base_url`` is not set. The key comes from the environment; your own
    server may not need one."""

    base_url: ServerAddress | None = Field(
        default=None, description="the server's address; default: OpenAI's own", examples=["http://127.0.0.1:8000/v1"]
    )
    api_key_variable: Annotated[VariableName, MACHINE] = Field(
        default="OPENAI_API_KEY", description="the environment variable that holds the key"
    )
    limits: Annotated[Limits, MACHINE] = Field(
        default=Limits(),
        description="how fast and for how much the server is asked",
        examples=[{"concurrency": 8, "max_cost": 5.0}],
    )


class ServerSettings(_Connection):
    """A server that speaks OpenAI's API: vLLM's, llama.cpp's, OpenAI's own."""

    kind: Literal["openai"] = "openai"
    system: str | None = Field(
        default=None, description="a message before every question", examples=["Answer briefly."]
    )
    limit_field: Annotated[Literal["max_tokens", "max_completion_tokens"] | None, MACHINE] = Field(
        default=None,
        description="what the server calls the token limit; default: max_tokens, at OpenAI's own max_completion_tokens",
        examples=["max_tokens"],
    )
    reasoning_effort: str | None = Field(
        default=None, description="low, medium, high, or whatever the server accepts", examples=["low"]
    )
    extra_body: RequestFields = Field(
        default={},
        description="more request fields, by the server's names; null removes one of ours",
        examples=[{"top_k": 20}],
    )


class TransformersSettings(Settings):
    """A transformers model in this process."""

    kind: Literal["transformers"] = "transformers"


class VLLMSettings(Settings):
    """A vllm model in this process; ``max_model_len`` limits the tokens of prompt and completion together (default:
    the model's own limit)."""

    kind: Literal["vllm"] = "vllm"
    max_model_len: int | None = Field(
        default=None,
        ge=1,
        description="tokens of prompt and completion together; default: the model's own limit",
        examples=[8192],
    )
    tensor_parallel_size: Annotated[int, MACHINE] = Field(
        default=1, ge=1, description="over how many GPUs the model is divided"
    )
    gpu_memory_utilization: Annotated[float, MACHINE] = Field(
        default=0.9, gt=0, le=1, description="the share of a GPU's memory that vllm takes"
    )


EngineSettings = Annotated[
    Annotated[TransformersSettings | VLLMSettings | ServerSettings, Field(discriminator="kind")],
    BeforeValidator(kind_shorthand),
    Shorthand(bare=True),
]


class ServedModel(ServerSettings):
    """A model behind a server, by the server's name for it."""

    model: str = Field(min_length=1, description="the model's name at the server", examples=["gpt-4o-mini"])
    sampling: Sampling = Field(
        default=Sampling(),
        description="how its completions are drawn",
        examples=[{"temperature": 0.7, "max_new_tokens": 512}],
    )

    @property
    def at(self) -> str:
        """What stands for the model in keys and error lines: a server does not say which weights it runs."""
        return f"{self.model} at {self.base_url or 'api.openai.com'}"


class TransformersModel(TransformersSettings):
    """A transformers model, asked ``max_batch_size`` prompts at a time."""

    model: Model = Field(description="the model that is asked", examples=["Qwen/Qwen2.5-7B-Instruct"])
    sampling: Sampling = Field(
        default=Sampling(), description="how its completions are drawn", examples=[{"max_new_tokens": 512}]
    )
    dtype: Dtype = Field(
        default="auto", description="the type it computes in; auto: bfloat16 where the machine computes it fast"
    )
    max_batch_size: Annotated[int, MACHINE] = Field(default=16, ge=1, description="prompts at a time")


class VLLMModel(VLLMSettings):
    """A vllm model, given ``max_batch_size`` prompts at a time, whose completions are then kept together."""

    model: Model = Field(description="the model that is asked", examples=["Qwen/Qwen2.5-7B-Instruct"])
    sampling: Sampling = Field(
        default=Sampling(), description="how its completions are drawn", examples=[{"max_new_tokens": 512}]
    )
    dtype: Dtype = Field(
        default="auto", description="the type it computes in; auto: bfloat16 where the machine computes it fast"
    )
    max_batch_size: Annotated[int, MACHINE] = Field(default=1024, ge=1, description="prompts at a time")


class ScriptedModel(Settings):
    """Completions written elsewhere, for example by a batch job: JSON Lines with ``id`` (the question's) and
    ``completion``."""

    kind: Literal["scripted"] = "scripted"
    completions: Annotated[FolderPath, PLACE] = Field(
        description="the file of completions", examples=["completions.jsonl"]
    )


class SignalServer(_Connection):
    """A server that returns prompt log-probabilities (vLLM's ``prompt_logprobs``), and its name for the teacher."""

    base_url: ServerAddress = Field(description="the server's address", examples=["http://127.0.0.1:8000/v1"])  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    model: str = Field(min_length=1, description="the teacher's name at the server", examples=["teacher"])

    @field_validator("base_url")
    @classmethod
    def of_ones_own(cls, base_url: str) -> str:
        """One text for one address: a slash at its end means nothing."""
        return urlsplit(base_url).geturl().rstrip("/")

    @property
    def served(self) -> ServedModel:
        connection = {name: getattr(self, name) for name in _Connection.model_fields}
        return ServedModel(model=self.model, **connection)
