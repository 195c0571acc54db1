"""Servers' replies, which are not trusted: read as a completion or as scores, or refused with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cotdistill.engines.costs import estimated_tokens
from cotdistill.engines.engine import Completion, Request, Scored, TokenScore, TokenScores
from cotdistill.engines.exchange import Unanswered

MALFORMED = "malformed_answer"
REFUSED = "refusal"
_MOST_WORDS = 300  # characters


def completion_of(answer: Any, request: Request, stop: Sequence[str]) -> Completion:
    """A completion, which may be empty: it is paid for all the same, so it does not count as failed.

    If the server does not return token counts as numbers, they are estimated, so that budgets hold. Raises Unanswered
    for a reply that is not in the expected form.
    """
    usage = answer.get("usage") if isinstance(answer, dict) else None
    try:
        choice = answer["choices"][0]
        written = choice if request.raw else choice["message"]
        text, thought = _text_of(written["text" if request.raw else "content"])
        refused = written.get("refusal")
    except (AttributeError, KeyError, IndexError, TypeError):
        raise Unanswered(MALFORMED, retryable=True, said=words_of(answer)) from None
    reasoning = next((r for n in ("reasoning_content", "reasoning") if isinstance(r := written.get(n), str)), "")
    reasoning = reasoning or thought
    finish = choice.get("finish_reason")
    if not text and isinstance(refused, str):
        finish = REFUSED
    if not (text or reasoning or finish or usage):
        raise Unanswered(MALFORMED, retryable=True)
    return Completion.of(
        request,
        text,
        finish if isinstance(finish, str) else None,
        _count(usage, "prompt_tokens", estimated_tokens(request.prompt)),
        _count(usage, "completion_tokens", estimated_tokens(reasoning + text)),
        stop=stop,
        reasoning=reasoning or None,
    )


def _text_of(content: Any) -> tuple[str, str]:
    """Text and reasoning: some servers return a list of parts of both kinds, and no text if all is reasoning."""
    if content is None or isinstance(content, str):
        return content or "", ""
    texts = [part["text"] for part in content if part["type"] == "text"]
    thoughts = [_text_of(part[part["type"]])[0] for part in content if part["type"] in ("thinking", "reasoning")]
    return "".join(texts), "".join(thoughts)


def _count(usage: Any, name: str, estimate: int) -> int:
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else estimate


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
    counted = _count(usage, "prompt_tokens", len(tokens)), _count(usage, "completion_tokens", 1)
    return TokenScores(scored.key, read, *counted)


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
