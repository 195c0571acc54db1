"""A teacher behind OpenAI's chat completions, on whichever server. The key never reaches a file or an error text."""

from __future__ import annotations

import email.utils
import os
import time
from typing import TYPE_CHECKING, Any

from cotdistill.config import OpenAITeacher
from cotdistill.engines.asking import Answer, Request, Unanswered
from cotdistill.engines.costs import estimated_tokens
from cotdistill.engines.lost_server import LostRequests
from cotdistill.errors import ConfigError, ModelError

if TYPE_CHECKING:
    import openai

_LONGEST_RETRY_AFTER = 300.0  # seconds
_NO_KEY = "none"
_POINTLESS = {401: "the key is refused", 403: "access is refused", 404: "there is no such model or address"}


class OpenAIServer:
    """The transport of an :class:`OpenAITeacher`. Raises ConfigError where its key or the package is missing."""

    def __init__(self, teacher: OpenAITeacher):
        key = os.environ.get(teacher.api_key_variable)
        if not key and teacher.base_url is None:
            remedy = f"export {teacher.api_key_variable}=..., or set base_url to a server of your own"
            raise ConfigError(
                f"the environment variable {teacher.api_key_variable} is not set",
                where=f"teacher {teacher.model}",
                remedy=remedy,
            )
        try:
            import openai
        except ImportError:
            raise ConfigError(
                "asking a server needs the package openai",
                where=f"teacher {teacher.model}",
                remedy="pip install 'cotdistill[openai]'",
            ) from None
        self._teacher, self._openai = teacher, openai
        # Of all requests under way, each with all of its tries.
        self._lost = LostRequests(teacher.limits.concurrency * (teacher.limits.max_retries + 1), self._where)
        self._client = openai.AsyncOpenAI(
            api_key=key or _NO_KEY,
            base_url=teacher.base_url,
            timeout=teacher.limits.timeout_seconds,
            max_retries=0,  # ours are counted, paced and kept within the budget
        )

    async def complete(self, request: Request) -> Answer:
        try:
            response = await self._client.chat.completions.create(
                model=self._teacher.model,
                messages=[{"role": "user", "content": request.prompt}],
                **self._arguments(request),
            )
        except self._openai.APITimeoutError:
            raise Unanswered("timeout", retryable=True) from None
        except self._openai.APIStatusError as error:
            self._lost.reached()
            raise self._refusal(error) from None
        except self._openai.APIConnectionError:
            self._lost.lost()
            raise Unanswered("connection", retryable=True) from None
        except (self._openai.OpenAIError, ValueError):  # an answer that is no JSON, or not of the form agreed on
            raise Unanswered("malformed_answer", retryable=True) from None
        self._lost.reached()
        return _answer_of(response, request.prompt)

    async def close(self) -> None:
        await self._client.close()

    def _arguments(self, request: Request) -> dict[str, Any]:
        sampling = self._teacher.sampling
        # OpenAI's newer models refuse max_tokens, other servers know nothing else.
        limit = "max_completion_tokens" if self._teacher.base_url is None else "max_tokens"
        arguments: dict[str, Any] = {
            limit: sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.stop:
            arguments["stop"] = list(sampling.stop)
        if sampling.seed is not None:
            arguments["seed"] = sampling.seed + request.draw
        return arguments

    @property
    def _where(self) -> str:
        return f"teacher {self._teacher.model} at {self._teacher.base_url or 'api.openai.com'}"

    def _refusal(self, error: openai.APIStatusError) -> Exception:
        status = error.status_code
        if status in _POINTLESS or (status == 429 and error.code == "insufficient_quota"):
            problem = _POINTLESS.get(status, "the account has no credit left")
            return ModelError(f"{problem} (status {status})", where=self._where, remedy="mend that and run again")
        retryable = status in (408, 409, 429) or status >= 500
        wait = _seconds(error.response.headers.get("retry-after"))
        return Unanswered(f"status_{status}", retryable=retryable, retry_after=wait)


def _answer_of(response: Any, prompt: str) -> Answer:
    """The text of a completion; tokens are estimated where the server does not count them, so that budgets hold.

    Raises Unanswered where the server's answer does not have the form agreed on.
    """
    try:
        choice, usage = response.choices[0], response.usage
        text, finish = choice.message.content, choice.finish_reason
    except (AttributeError, IndexError, TypeError):
        raise Unanswered("malformed_answer", retryable=True) from None
    if not isinstance(text, str):
        raise Unanswered("refused" if finish == "content_filter" else "malformed_answer", retryable=text is None)
    counts = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
    tokens = (estimated_tokens(t) if n is None else n for n, t in zip(counts, (prompt, text), strict=True))
    return Answer(text, finish, *tokens)


def _seconds(retry_after: str | None) -> float | None:
    """A Retry-After header as seconds from now: it holds a number of seconds or a date."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)
