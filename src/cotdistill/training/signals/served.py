"""A teacher's likeliest tokens from a server that returns prompt log-probabilities, as vLLM's completions do.

An example's tokens are the prompt of one request (``prompt_logprobs: k``): the answer holds for each of them, the first
apart, the k likeliest tokens in its place and the token itself. What is stored is what a capture in this process
stores, but for outputs of a padded head, which the server counts in.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from cotdistill.config import CachedTeacher, SignalServer
from cotdistill.errors import ConfigError, ModelError
from cotdistill.training.data.examples import Example

NEUTRAL: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0}
"""Said to the server because its defaults may be the model's own, and some servers apply them to log-probabilities."""

_TOLERANCE = 0.01
"""By which a log-probability may be above 0, or probabilities add up to more than 1: a server computes in bfloat16."""

_POINTLESS = {401: "the key is refused", 403: "access is refused", 404: "there is no such model or address"}


def served_rows(
    config: CachedTeacher, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[Example, dict[str, Tensor]]]:
    """Each example with its rows ``[num_loss_tokens, k]``, in the order in which the answers come.

    Raises ModelError where the server cannot be asked, does not answer in ``max_retries`` further tries, or answers
    what does not belong to the tokens. ConfigError where the package openai is missing.
    """
    assert config.server is not None
    ask = _Asker(config.server, config.k)
    left = iter(examples)
    under_way: dict[Future[Any], Example] = {}
    pool = ThreadPoolExecutor(config.server.concurrency)
    try:
        while True:
            while len(under_way) < config.server.concurrency and (example := next(left, None)) is not None:
                under_way[pool.submit(ask, teacher_tokens(example))] = example
            if not under_way:
                return
            for answered in wait(under_way, return_when=FIRST_COMPLETED).done:
                example = under_way.pop(answered)
                try:
                    yield example, rows_of(answered.result(), example, config.k, tokenizer)
                except _Unfit as problem:
                    raise ModelError(
                        f"{problem} (example {example.id})",
                        where=ask.where,
                        remedy=f"serve the teacher whose tokenizer is {tokenizer.name_or_path}'s, with vLLM",
                    ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def teacher_tokens(example: Example) -> list[int]:
    """All that the teacher reads, the last target included: its place is scored as all others are."""
    read = example.of_teacher()
    return [*read.input_ids, read.targets[-1]]


def rows_of(answer: Any, example: Example, k: int, tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    """The rows of an example's loss tokens, likeliest first, from a server's answer, which is not trusted."""
    tokens = teacher_tokens(example)
    try:
        places = answer["choices"][0]["prompt_logprobs"]
        assert isinstance(places, list)
    except (AssertionError, KeyError, IndexError, TypeError):
        raise _Unfit("the answer holds no prompt_logprobs") from None
    if len(places) != len(tokens):
        raise _Unfit(f"{len(tokens)} tokens were sent, and {len(places)} came back")
    first = len(tokens) - example.num_loss_tokens
    read = [_place(place, token) for place, token in zip(places[1:], tokens[1:], strict=True)]
    _refuse_other_words(places[1:], tokens[1:], tokenizer)
    best = [_likeliest(place, k, len(tokenizer)) for place in read[first - 1 :]]
    return {
        "tokens": torch.tensor([[token for token, _ in row] for row in best], dtype=torch.int32),
        "log_probabilities": torch.tensor([[value for _, value in row] for row in best], dtype=torch.float32),
    }


class _Unfit(Exception):
    """An answer that cannot belong to the tokens that were sent."""


def _place(place: Any, token: int) -> dict[int, float]:
    """Log-probabilities by token in the place of ``token``."""
    try:
        read = {int(name): float(entry["logprob"]) for name, entry in place.items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _Unfit("prompt_logprobs are not in vLLM's form") from None
    if token not in read:
        raise _Unfit(f"token {token} was sent, and its place holds no log-probability of it")
    return read


def _likeliest(place: dict[int, float], k: int, num_tokens: int) -> list[tuple[int, float]]:
    best = sorted(place.items(), key=lambda entry: (-entry[1], entry[0]))[:k]
    if len(best) < k:
        raise _Unfit(f"{len(best)} tokens came back in a place, not {k}")
    unknown = next((token for token, _ in best if not 0 <= token < num_tokens), None)
    if unknown is not None:
        raise _Unfit(f"token {unknown} came back, and the tokenizer has {num_tokens}: the vocabulary is another")
    if not all(-math.inf < value <= _TOLERANCE for _, value in best):
        raise _Unfit("what came back is no log-probability")
    mass = sum(math.exp(value) for _, value in best)
    if mass > 1 + _TOLERANCE:
        raise _Unfit(f"the probabilities of a place add up to {mass:.3g}: they are no log-probabilities")
    return best


def _refuse_other_words(places: Sequence[Any], tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> None:
    """Ids fit any vocabulary that is large enough, so the words that the server reads in them are compared.

    Servers write a token as its text or as its name in the vocabulary, with or without the space before it, and parts
    of a character in ways of their own. Therefore most, not all, have to be the same.
    """
    compared = different = 0
    for place, token in zip(places, tokens, strict=True):
        word = place.get(str(token), {}).get("decoded_token")
        if isinstance(word, str) and word.strip() and "\ufffd" not in word:
            ours = {str(tokenizer.decode([token])).strip(), str(tokenizer.convert_ids_to_tokens(token)).strip()}
            compared += 1
            different += word.strip() not in ours
    if different * 2 > compared:
        raise _Unfit(f"the server reads {different} of {compared} tokens as other words: the vocabulary is another")


class _Asker:
    """Sends one example's tokens and gives the server's answer. The client retries what may pass."""

    def __init__(self, server: SignalServer, k: int):
        self.k, self.server = k, server
        self.where = f"training.signal.server, {server.identity}"
        try:
            import openai
        except ImportError:
            remedy = "pip install 'cotdistill[openai]'"
            raise ConfigError("this needs the package openai", where="training.signal.server", remedy=remedy) from None
        self._openai = openai
        self._key = os.environ.get(server.api_key_variable) or "none"
        self._client = openai.OpenAI(
            api_key=self._key,
            base_url=server.base_url,
            timeout=server.timeout_seconds,
            max_retries=server.max_retries,
        )

    def __call__(self, tokens: list[int]) -> Any:
        request = {"model": self.server.model, "prompt": tokens, "max_tokens": 1, "prompt_logprobs": self.k, **NEUTRAL}
        try:
            return self._client.post("/completions", body=request, cast_to=object)
        except self._openai.APIStatusError as error:
            raise self._refusal(error) from None
        except (self._openai.OpenAIError, ValueError) as error:
            raise ModelError(
                f"does not answer ({type(error).__name__})",
                where=self.where,
                remedy="see that it runs, and run again: what was answered is kept",
            ) from None

    def _refusal(self, error: Any) -> ModelError:
        status = error.status_code
        if status in _POINTLESS:
            return ModelError(f"{_POINTLESS[status]} (status {status})", where=self.where, remedy="mend that")
        if status in (400, 422):
            said = " ".join(str(error.message).replace(self._key, "...").split())[:300]
            remedy = f"start it with --max-logprobs {self.k} and room for the examples, or lower training.signal.k"
            return ModelError(f"refuses the request ({said})", where=self.where, remedy=remedy)
        return ModelError(
            f"does not answer (status {status})", where=self.where, remedy="run again: what was answered is kept"
        )
