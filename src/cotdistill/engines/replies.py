"""Servers' replies, which are not trusted: read as a completion or as scores, or refused with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cotdistill.engines.costs import estimated_tokens
from cotdistill.engines.engine import MALFORMED, Completion, Request, Scored, TokenScore, TokenScores
from cotdistill.engines.exchange import Unanswered

REFUSAL = "refusal"
_MOST_WORDS = 300  # characters
_MOST_TOKENS = 10_000_000
_LONGEST_REASON = 40  # characters
_AT_LIMIT = ("max_tokens", "max_output_tokens", "model_length")
"""Other servers' words for "length"."""


def completion_of(answer: Any, request: Request, stop: Sequence[str]) -> Completion:
    """A completion, also where it is empty or not in the expected form: if it is charged for, it has not failed.

    Token counts are those of the server where they are plausible, else estimated, so that budgets hold. Raises
    Unanswered for a reply that holds neither a choice nor a charge.
    """
    usage = answer.get("usage") if isinstance(answer, dict) else None
    counts = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    try:
        choice = answer["choices"][0]
        finish = _finish(choice.get("finish_reason"))
        text, thought, refused = _written(choice if request.raw else choice["message"], raw=request.raw)
        token_ids = _token_ids(choice)
    except (AttributeError, KeyError, IndexError, TypeError, RecursionError):
        if counts == (None, None):
            raise Unanswered(MALFORMED, retryable=True, said=words_of(answer)) from None
        text, thought, refused, finish, token_ids = "", "", False, MALFORMED, ()
    if refused:
        finish = REFUSAL
    if not (text or thought or finish or usage):
        raise Unanswered(MALFORMED, retryable=True)
    return Completion.of(
        request,
        text,
        finish,
        estimated_tokens(request.prompt) if counts[0] is None else counts[0],
        estimated_tokens(thought + text) if counts[1] is None else counts[1],
        stop=stop,
        reasoning=thought or None,
        counted=None not in counts,
        token_ids=token_ids,
    )


def _written(message: dict[str, Any], *, raw: bool) -> tuple[str, str, bool]:
    """Text, reasoning, and whether there is a refusal in place of the text."""
    text, thought = _text_of(message.get("text" if raw else "content"))
    apart = next(
        (said for name in ("reasoning_content", "reasoning") if isinstance(said := message.get(name), str)), ""
    )
    return text, apart or thought, not text and isinstance(message.get("refusal"), str)


def _text_of(content: Any) -> tuple[str, str]:
    """Text and reasoning: some servers return a list of parts of both kinds, and no text if all is reasoning."""
    if content is None or isinstance(content, str):
        return content or "", ""
    texts = [part["text"] for part in content if part["type"] == "text"]
    thoughts = [_text_of(part[part["type"]])[0] for part in content if part["type"] in ("thinking", "reasoning")]
    return "".join(texts), "".join(thoughts)


def _token_ids(choice: dict[str, Any]) -> tuple[int, ...]:
    """What vLLM returns if it is asked for ``return_token_ids``."""
    ids = choice.get("token_ids")
    if not isinstance(ids, list) or not all(isinstance(one, int) and 0 <= one < 2**31 for one in ids):
        return ()
    return tuple(ids)


def _finish(reason: Any) -> str | None:
    if not isinstance(reason, str):
        return None
    return "length" if reason.lower() in _AT_LIMIT else reason[:_LONGEST_REASON]


def _count(usage: Any, name: str) -> int | None:
    """A number of tokens, or None for what cannot be one."""
    count = usage.get(name) if isinstance(usage, dict) else None
    if isinstance(count, float) and count.is_integer():
        count = int(count)
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= _MOST_TOKENS else None


def scores_of(answer: Any, scored: Scored) -> TokenScores:
    """Scores from vLLM's ``prompt_logprobs``. Raises Unanswered for scores that cannot belong to the tokens."""
    tokens = scored.token_ids
    try:
        places = answer["choices"][0]["prompt_logprobs"]
        assert isinstance(places, list)
    except (AssertionError, KeyError, IndexError, TypeError):
        raise _unfit("the answer holds no prompt_logprobs") from None
    if len(places) != len(tokens):
        raise _unfit(f"{len(tokens)} tokens were sent, but {len(places)} came back")
    read = [_place(place, token) for place, token in zip(places[1:], tokens[1:], strict=True)]
    usage = answer.get("usage")
    read_tokens, written_tokens = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    return TokenScores(scored.key, read, read_tokens or len(tokens), 1 if written_tokens is None else written_tokens)


def _place(place: Any, token: int) -> dict[int, TokenScore]:
    try:
        read = {int(name): _score(entry) for name, entry in place.items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _unfit("prompt_logprobs are not in vLLM's form") from None
    if token not in read:
        raise _unfit(f"token {token} was sent, but no log-probability of it came back")
    return read


def _score(entry: Any) -> TokenScore:
    word = entry.get("decoded_token")
    return float(entry["logprob"]), word if isinstance(word, str) else None


def _unfit(problem: str) -> Unanswered:
    return Unanswered(MALFORMED, retryable=False, said=problem)


def words_of(answer: Any, secret: str | None = None) -> str:
    """The server's own message about what is wrong, on one line and without the key; empty if it has none."""
    error = answer.get("error", answer) if isinstance(answer, dict) else None
    said = (
        next((error[n] for n in ("message", "detail") if error.get(n)), "") if isinstance(error, dict) else error or ""
    )
    line = " ".join(str(said).split())
    return (line.replace(secret, "...") if secret else line)[:_MOST_WORDS]
