"""How a model is asked: in this process, behind a server that speaks OpenAI's API, or from a script.

Teachers, evaluated models and signals all declare it by these settings.
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, field_validator

from cotdistill.config.base import MACHINE, PLACE, FolderPath, Settings, Temperature, kind_shorthand
from cotdistill.config.model import Dtype, Model

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
    """How a completion is drawn. The key under which a completion is kept holds all of it.

    What is not set is not sent to a server, which then does as it does by itself; some take no temperature at all. A
    model in this process writes greedily unless a temperature is set.
    """

    temperature: Temperature | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_new_tokens: int = Field(default=1024, ge=1)
    seed: int | None = None
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()


class Price(Settings):
    """Money for a million tokens, in one currency."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class Limits(Settings):
    """How a server is asked. Nothing here changes a completion.

    A budget is for all that is in one log: of a teacher everything that it completes in a folder of runs, of an
    evaluated model or a signal's everything in one stage.
    """

    concurrency: int = Field(default=16, ge=1, description="requests under way at once")
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    timeout_seconds: float = Field(default=120.0, gt=0)
    max_retries: int = Field(default=6, ge=0)
    max_cost: float | None = Field(default=None, gt=0, description="a budget in the price's currency")
    max_total_tokens: int | None = Field(default=None, ge=1, description="a budget of tokens, prompts included")
    price: Price | None = Field(default=None, description="default: of engines/costs.py, where the model is there")


def _without_secrets(base_url: str) -> str:
    address = urlsplit(base_url)
    if address.username or address.password or address.query:
        raise ValueError("would put a password or query into keys and files; use api_key_variable for the key")
    return base_url


ServerAddress = Annotated[str, AfterValidator(_without_secrets)]
"""Where a server is: it stands in files, keys and error lines, so a password or a query in it is refused."""


class _Connection(Settings):
    """The way to a server, OpenAI's own where there is no ``base_url``. The key comes from the environment; a server
    of one's own may need none."""

    base_url: ServerAddress | None = None
    api_key_variable: Annotated[str, MACHINE] = "OPENAI_API_KEY"
    limits: Annotated[Limits, MACHINE] = Limits()


class ServerSettings(_Connection):
    """A server that speaks OpenAI's API: vLLM's, llama.cpp's, OpenAI's own."""

    kind: Literal["openai"] = "openai"
    system: str | None = Field(default=None, description="a message that goes before every question")
    reasoning_effort: str | None = Field(default=None, description="low, medium, high, or what else the server knows")
    extra_body: dict[str, JsonValue] = Field(
        default={}, description="more fields of a request, as the server has them; null takes one of ours out"
    )


class TransformersSettings(Settings):
    """A model of transformers, in this process."""

    kind: Literal["transformers"] = "transformers"


class VLLMSettings(Settings):
    """A model of vllm, in this process; ``max_model_len`` is the most tokens of prompt and completion together
    (default: what the model has)."""

    kind: Literal["vllm"] = "vllm"
    max_model_len: int | None = Field(default=None, ge=1)
    tensor_parallel_size: Annotated[int, MACHINE] = Field(default=1, ge=1)
    gpu_memory_utilization: Annotated[float, MACHINE] = Field(default=0.9, gt=0, le=1)


EngineSettings = Annotated[
    Annotated[TransformersSettings | VLLMSettings | ServerSettings, Field(discriminator="kind")],
    BeforeValidator(kind_shorthand),
]


class ServedModel(ServerSettings):
    """A model behind a server, named as the server does."""

    model: str = Field(min_length=1)
    sampling: Sampling = Sampling()

    @property
    def at(self) -> str:
        """What stands for the model in keys and error lines: a server does not say which weights it runs."""
        return f"{self.model} at {self.base_url or 'api.openai.com'}"


class TransformersModel(TransformersSettings):
    """A model of transformers that is asked ``max_batch_size`` prompts at once."""

    model: Model
    sampling: Sampling = Sampling()
    dtype: Dtype = "auto"
    max_batch_size: Annotated[int, MACHINE] = Field(default=16, ge=1)


class VLLMModel(VLLMSettings):
    """A model of vllm; ``max_batch_size`` prompts are handed over, and their completions kept, at once."""

    model: Model
    sampling: Sampling = Sampling()
    dtype: Dtype = "auto"
    max_batch_size: Annotated[int, MACHINE] = Field(default=1024, ge=1)


class ScriptedModel(Settings):
    """Completions written elsewhere, for example by a batch job: JSON Lines with ``id`` (a question's) and
    ``completion``."""

    kind: Literal["scripted"] = "scripted"
    completions: Annotated[FolderPath, PLACE]


class SignalServer(_Connection):
    """A server that returns prompt log-probabilities (vLLM's ``prompt_logprobs``), and the teacher's name there."""

    base_url: ServerAddress  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    model: str = Field(min_length=1)

    @field_validator("base_url")
    @classmethod
    def of_ones_own(cls, base_url: str) -> str:
        """One address, one text: a slash at its end means nothing."""
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(
                f"is {base_url!r}; give the address of a vLLM server, for example http://localhost:8000/v1"
            )
        return address.geturl().rstrip("/")

    @property
    def served(self) -> ServedModel:
        connection = {name: getattr(self, name) for name in _Connection.model_fields}
        return ServedModel(model=self.model, **connection)
