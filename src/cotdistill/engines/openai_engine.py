"""A model behind a server that speaks OpenAI's API. The key never reaches a file or an error text."""

from __future__ import annotations

import email.utils
import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cotdistill.config import ServedModel
from cotdistill.engines.costs import Budget, estimated_tokens, price_of
from cotdistill.engines.engine import (
    MALFORMED,
    Begun,
    Completion,
    Failed,
    Kept,
    Request,
    Scored,
    TokenScores,
    conversation,
)
from cotdistill.engines.exchange import Exchange, Unanswered
from cotdistill.engines.replies import completion_of, scores_of, words_of
from cotdistill.errors import ConfigError, ModelError

if TYPE_CHECKING:
    import openai

_LONGEST_RETRY_AFTER = 300.0  # seconds
_NO_KEY = "none"
_OPENAI, _ITS_VARIABLE = "https://api.openai.com/v1", "OPENAI_BASE_URL"
_POINTLESS = {401: "the key is refused", 403: "access is refused", 404: "no such model or address"}

_MOST_BYTES, _MOST_BYTES_OF_SCORES = 2**26, 2**30
"""Of an answer: a bound on what a broken server makes us keep in memory."""

NEUTRAL: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0}
"""Sent when tokens are scored: the defaults may be the model's own, and some servers apply them to
log-probabilities."""


class OpenAIEngine:
    """The model of a :class:`ServedModel`. Raises ConfigError if its key or the package is missing."""

    def __init__(self, served: ServedModel):
        key = os.environ.get(served.api_key_variable)
        self._served, self._where = served, f"model {served.at}"
        self.price = price_of(served)
        if served.base_url is None and (elsewhere := os.environ.get(_ITS_VARIABLE, _OPENAI)).rstrip("/") != _OPENAI:
            host = urlsplit(elsewhere).hostname or "another host"
            raise ConfigError(
                f"the environment variable {_ITS_VARIABLE} names {host}, which no key or file would show",
                where=self._where,
                remedy=f"set base_url to it, or unset {_ITS_VARIABLE}",
            )
        if not key and served.base_url is None:
            raise ConfigError(
                f"the environment variable {served.api_key_variable} is not set",
                where=self._where,
                remedy=f"export {served.api_key_variable}=..., or set base_url to your own server",
            )
        try:
            import openai
        except ImportError:
            remedy = "pip install 'cotdistill[openai]'"
            raise ConfigError("asking a server needs the package openai", where=self._where, remedy=remedy) from None
        self._openai, self._key = openai, key or _NO_KEY

    def generate(
        self, requests: Iterable[Request], kept: Kept | None = None, begun: Begun | None = None
    ) -> Iterator[list[Completion | Failed]]:
        """Raises ModelError for a key or a model that the server refuses, and if the server can no longer be
        reached."""
        sampling, client = self._served.sampling, self._client(_MOST_BYTES)

        async def complete(request: Request) -> Completion:
            path = "/completions" if request.raw else "/chat/completions"
            return completion_of(await self._answer(client, path, self._body(request)), request, sampling.stop)

        exchange = Exchange(
            complete,
            client.close,
            self._served.limits,
            Budget(self._served.limits, self.price, kept.num_tokens() if kept else (0, 0)),
            num_tokens=lambda request: estimated_tokens(request.prompt),
            most_output=max(sampling.max_new_tokens, kept.longest() if kept else 0),
            where=self._where,
        )
        return exchange.outcomes(request for request in requests if kept is None or request.key not in kept)

    def score(
        self, sequences: Iterable[Scored], k: int, spent: tuple[int, int] = (0, 0)
    ) -> Iterator[list[TokenScores | Failed]]:
        """From ``prompt_logprobs``, as in vLLM's completions; raises like :meth:`generate`."""
        client, neutral = self._client(_MOST_BYTES_OF_SCORES), {"max_tokens": 1, "prompt_logprobs": k, **NEUTRAL}

        async def score(scored: Scored) -> TokenScores:
            body = {"model": self._served.model, "prompt": list(scored.token_ids), **neutral}
            return scores_of(await self._answer(client, "/completions", body), scored)

        exchange = Exchange(
            score,
            client.close,
            self._served.limits,
            Budget(self._served.limits, self.price, spent),
            num_tokens=lambda scored: len(scored.token_ids),
            most_output=1,
            where=self._where,
        )
        return exchange.outcomes(sequences)

    def _client(self, most_bytes: int) -> openai.AsyncOpenAI:
        """It never sends a question or the key on to another address than the one that is set."""
        timeout = self._served.limits.timeout_seconds
        return self._openai.AsyncOpenAI(
            api_key=self._key,
            base_url=self._served.base_url or _OPENAI,
            timeout=timeout,
            max_retries=0,  # ours are counted, paced and kept within the budget
            http_client=bounded_client(self._openai, most_bytes, timeout=timeout, follow_redirects=False),
        )

    def _body(self, request: Request) -> dict[str, Any]:
        sampling = self._served.sampling
        # OpenAI's newer models refuse max_tokens in a chat, most other servers know nothing else.
        usual = "max_completion_tokens" if self._served.base_url is None and not request.raw else "max_tokens"
        said = {
            self._served.limit_field or usual: sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stop": list(sampling.stop) or None,
            "seed": None if sampling.seed is None else sampling.seed + request.draw,
            "reasoning_effort": self._served.reasoning_effort,
            **self._served.extra_body,
        }
        body = {name: value for name, value in said.items() if value is not None}
        return {"model": self._served.model, **self._prompt(request), **body}

    def _prompt(self, request: Request) -> dict[str, Any]:
        if request.raw:
            return {"prompt": request.prompt}
        system = [] if self._served.system is None else [{"role": "system", "content": self._served.system}]
        return {"messages": [*system, *(conversation(request.prompt) or ())]}

    async def _answer(self, client: openai.AsyncOpenAI, path: str, body: dict[str, Any]) -> Any:
        """The server's answer as plain values. Raises Unanswered, or ModelError if further requests are pointless."""
        try:
            return json.loads(await client.post(path, body=body, cast_to=str))
        except self._openai.APITimeoutError:
            raise Unanswered("timeout", retryable=True) from None
        except self._openai.APIStatusError as error:
            raise self._refusal(error) from None
        except self._openai.APIConnectionError:
            raise Unanswered("connection", retryable=True, lost=True) from None
        except (self._openai.OpenAIError, ValueError, RecursionError):  # no JSON, or cut
            raise Unanswered(MALFORMED, retryable=True) from None

    def _refusal(self, error: openai.APIStatusError) -> Exception:
        status, said = error.status_code, words_of(error.body, self._key)
        if 300 <= status < 400:
            host = urlsplit(error.response.headers.get("location", "")).hostname
            problem = f"the server sends what it is asked on to {host or 'another address'} (status {status})"
            return ModelError(problem, where=self._where, remedy="set base_url to the address that answers")
        if status in _POINTLESS or (status == 429 and error.code == "insufficient_quota"):
            problem = f"{_POINTLESS.get(status, 'the account has no credit left')} (status {status})"
            return ModelError(
                f"{problem}: {said}" if said else problem, where=self._where, remedy="fix that and run again"
            )
        retryable = status in (408, 409, 429) or status >= 500
        wait = _seconds(error.response.headers.get("retry-after"))
        return Unanswered(f"status_{status}", retryable=retryable, said=said, retry_after=wait)


def bounded_client(package: Any, most_bytes: int, **settings: Any) -> Any:
    """An HTTP client of the package openai that reads no more than ``most_bytes`` of an answer, unpacked."""

    class Bounded(package.DefaultAsyncHttpxClient):
        async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            response = await super().send(request, stream=True, **options)
            parts, size = list[bytes](), 0
            async for part in response.aiter_bytes():
                parts.append(part)
                if (size := size + len(part)) > most_bytes:
                    parts = []  # no JSON: a malformed answer
                    await response.aclose()
                    break
            response._content = b"".join(parts)
            return response

    return Bounded(**settings)


def _seconds(retry_after: str | None) -> float | None:
    """A Retry-After header, which holds a number of seconds or a date, as seconds from now."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)
