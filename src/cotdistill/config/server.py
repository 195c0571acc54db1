"""Servers that speak OpenAI's API: of a model to evaluate, and of a teacher whose log-probabilities are stored."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from cotdistill.config.base import MACHINE, Settings

__all__ = [
    "ModelServer",
    "SignalServer",
]


def _without_secrets(base_url: str) -> str:
    address = urlsplit(base_url)
    if address.username or address.password or address.query:
        raise ValueError("would put a password or query into keys and files; use api_key_variable for the key")
    return base_url


ServerAddress = Annotated[str, AfterValidator(_without_secrets)]
"""Where a server is: it stands in files, keys and error lines, so a password or a query in it is refused."""


class _Connection(Settings):
    """How a server is asked. The key comes from the environment; a server of one's own may need none."""

    api_key_variable: Annotated[str, MACHINE] = "OPENAI_API_KEY"
    concurrency: Annotated[int, MACHINE] = Field(default=16, ge=1, description="requests under way at once")
    timeout_seconds: Annotated[float, MACHINE] = Field(default=120.0, gt=0)
    max_retries: Annotated[int, MACHINE] = Field(default=6, ge=0)


class ModelServer(_Connection):
    """An OpenAI-compatible server that runs the evaluated model; without ``base_url`` it is OpenAI's own."""

    base_url: ServerAddress | None = None


class SignalServer(_Connection):
    """A server that returns prompt log-probabilities (vLLM's ``prompt_logprobs``), and the teacher's name there."""

    base_url: ServerAddress
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
    def identity(self) -> str:
        """What stands for the teacher in keys: a server does not say which weights it runs."""
        return f"{self.model} at {self.base_url}"
