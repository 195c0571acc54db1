"""A teacher's most likely tokens from a server that returns prompt log-probabilities, as vLLM's completions do.

An example's tokens are the prompt of one request (``prompt_logprobs: k``): for each of them except the first the answer
holds the k most likely tokens at its place and the token itself. What is stored is the same as for a capture in this
process, except for outputs of a padded head, which the server includes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from cotdistill.config import CachedTeacher
from cotdistill.engines.asking import OUT_OF_BUDGET
from cotdistill.engines.engine import MALFORMED, Failed, Scored, ScoringEngine, TokenScore, TokenScores
from cotdistill.engines.openai_engine import OpenAIEngine
from cotdistill.errors import ModelError
from cotdistill.storage.atomic import write_json_atomically
from cotdistill.training.data.examples import Example
from cotdistill.training.signals.stored import Rows, SignalWriter

REPEATED = "repeated.json"
"""In a signal's folder: the example that was asked about twice, and by how much the answers differ."""

MOST_DIFFERENCE = 0.1
"""Nats. Below it lies what rounding does; a server that samples, mixes up requests or changes its model is above."""

_TOLERANCE = 0.01
"""How far a log-probability may be above 0, or a sum of probabilities above 1: a server computes in bfloat16."""


class ServerScores:
    """A server's scores of examples in a signal's folder, each paid for once; ``writer`` is the folder's.

    The first example of a folder is asked about twice. A server whose scores of the same tokens differ by more than
    rounding is refused: nothing is learnt from such a teacher but its noise. vLLM has been seen to return stale values
    where its prefix cache is on (vllm#42019), while another order of the same sums moves a score by about 0.06
    (vllm#5543).
    """

    def __init__(self, config: CachedTeacher, tokenizer: PreTrainedTokenizerBase, folder: Path, writer: SignalWriter):
        assert config.server is not None
        self._config, self._tokenizer, self._writer, self._repeated = config, tokenizer, writer, folder / REPEATED
        self._engine: ScoringEngine = OpenAIEngine(config.server.served)

    def fetch(self, examples: Sequence[Example]) -> Iterator[Example]:
        """Ask about those of ``examples`` that are not there yet, and yield each once its rows are on the disk.

        Raises ModelError if the server cannot be asked, does not answer in ``max_retries`` further tries, answers for
        other tokens, or with other scores when it is asked again; ConfigError if the package openai is missing.
        """
        left = list({one.key: one for one in examples if one.key not in self._writer.places}.values())
        if left and not self._repeated.exists():
            first = next((one for one in examples if one.key in self._writer.places), left[0])
            yield from self._keep([first] if first is left[0] else [])
            self._ask_again(first)
            left = left[1:] if first is left[0] else left
        yield from self._keep(left)

    def _keep(self, examples: Sequence[Example]) -> Iterator[Example]:
        for example, rows, num_tokens in self._answers(examples):
            self._writer.keep(example.key, rows, num_tokens)
            yield example

    def _ask_again(self, example: Example) -> None:
        ((_, rows, _),) = self._answers([example])
        difference = mean_difference(self._writer.read(example.key), rows)
        if difference > MOST_DIFFERENCE:
            assert self._config.server is not None
            raise ModelError(
                f"asked twice about the same tokens (example {example.id}), the server gives log-probabilities that "
                f"differ by {difference:.2g} on average, more than {MOST_DIFFERENCE:g}",
                where=f"training.signal.server, {self._config.server.served.at}",
                remedy="serve the teacher with --no-enable-prefix-caching, without sampling settings of its own",
            )
        write_json_atomically(self._repeated, {"example": example.key, "difference": difference})

    def _answers(self, examples: Sequence[Example]) -> Iterator[tuple[Example, dict[str, Tensor], int]]:
        """Each example with its rows ``[num_loss_tokens, k]`` and its tokens, in the order in which they come."""
        by_key = {example.key: example for example in examples}
        sequences = (Scored(example.key, teacher_tokens(example)) for example in examples)
        k, paid = self._config.k, self._writer.paid
        with closing(self._engine.score(sequences, k, paid)) as outcomes:  # pyright: ignore[reportArgumentType]
            # What failed is last among those that come together: the others are paid for, and kept.
            for outcome in (one for some in outcomes for one in sorted(some, key=lambda one: isinstance(one, Failed))):
                example = by_key[outcome.key]
                if isinstance(outcome, Failed):
                    raise _problem(self._config, outcome, example, self._tokenizer)
                try:
                    yield example, rows_of(outcome, example, k, self._tokenizer), outcome.input_tokens
                except _Unfit as unfit:
                    failed = Failed(outcome.key, MALFORMED, str(unfit))
                    raise _problem(self._config, failed, example, self._tokenizer) from None


def mean_difference(first: Rows, again: Rows) -> float:
    """The mean over places of the expected difference of a log-probability, in nats: sum of p |log p - log p'| over the
    tokens of the first answer, by their probabilities p there, where p' of a token that the second lacks is that of
    its least likely one."""
    total = 0.0
    for tokens, values, others, theirs in zip(
        *(rows[name].tolist() for rows in (first, again) for name in ("tokens", "log_probabilities")), strict=True
    ):
        known, least = dict(zip(others, theirs, strict=True)), min(theirs)
        pairs = [(value, known.get(token, least)) for token, value in zip(tokens, values, strict=True)]
        total += sum(math.exp(a) * abs(a - b) for a, b in pairs) / sum(math.exp(a) for a, _ in pairs)
    return total / len(first["tokens"])


def _problem(config: CachedTeacher, failed: Failed, example: Example, tokenizer: PreTrainedTokenizerBase) -> ModelError:
    reason = failed.reason.replace("_", " ")
    remedy = "raise the budget and run again" if failed.reason == OUT_OF_BUDGET else "run again"
    problem, remedy = f"the server does not answer ({reason})", f"{remedy}: its answers are kept"
    if failed.reason == MALFORMED and failed.said:
        problem = f"{failed.said} (example {example.id})"
        remedy = f"serve the teacher whose tokenizer is {tokenizer.name_or_path}'s, with vLLM"
    elif failed.reason in ("status_400", "status_422"):
        problem = f"the server refuses the request ({failed.said})"
        remedy = f"start it with --max-logprobs {config.k} and room for the examples, or lower training.signal.k"
    assert config.server is not None
    return ModelError(problem, where=f"training.signal.server, {config.server.served.at}", remedy=remedy)


def teacher_tokens(example: Example) -> list[int]:
    """All that the teacher reads, the last target included: its place is scored as all others are."""
    read = example.of_teacher()
    return [*read.input_ids, read.targets[-1]]


def rows_of(scores: TokenScores, example: Example, k: int, tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    """The rows of an example's loss tokens, most likely first, from a server's scores, which are not trusted."""
    _refuse_other_words(scores.places, teacher_tokens(example)[1:], tokenizer)
    regions = example.of_teacher().regions
    best = [
        _likeliest(place, k, len(tokenizer)) for place, region in zip(scores.places, regions, strict=True) if region
    ]
    return {
        "tokens": torch.tensor([[token for token, _ in row] for row in best], dtype=torch.int32),
        "log_probabilities": torch.tensor([[value for _, value in row] for row in best], dtype=torch.float32),
    }


class _Unfit(Exception):
    """An answer that cannot belong to the tokens that were sent."""


def _likeliest(place: dict[int, TokenScore], k: int, num_tokens: int) -> list[tuple[int, float]]:
    scored = ((token, value) for token, (value, _) in place.items())
    best = sorted(scored, key=lambda entry: (-entry[1], entry[0]))[:k]
    if len(best) < k:
        raise _Unfit(f"{len(best)} tokens came back at one place, not {k}")
    unknown = next((token for token, _ in best if not 0 <= token < num_tokens), None)
    if unknown is not None:
        raise _Unfit(f"token {unknown} came back, but the tokenizer has {num_tokens}: the vocabularies differ")
    if not all(-math.inf < value <= _TOLERANCE for _, value in best):
        raise _Unfit("what came back is not a log-probability")
    mass = sum(math.exp(value) for _, value in best)
    if mass > 1 + _TOLERANCE:
        raise _Unfit(f"the probabilities at one place add up to {mass:.3g}: these are not log-probabilities")
    return best


def _refuse_other_words(
    places: Sequence[dict[int, TokenScore]], tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> None:
    """Ids fit any vocabulary that is large enough, so the words that the server reads in them are compared.

    Servers write a token as its text or as its name in the vocabulary, with or without the space before it, and parts
    of a character in ways of their own. Therefore most, not all, have to be the same.
    """
    compared = different = 0
    for place, token in zip(places, tokens, strict=True):
        _, word = place[token]
        if word and word.strip() and "\ufffd" not in word:
            ours = {str(tokenizer.decode([token])).strip(), str(tokenizer.convert_ids_to_tokens(token)).strip()}
            compared += 1
            different += word.strip() not in ours
    if different * 2 > compared:
        raise _Unfit(f"the server reads {different} of {compared} tokens as other words: the vocabularies differ")
