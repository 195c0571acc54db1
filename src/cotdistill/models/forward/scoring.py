"""How a model sees given texts: how surprising each token is, and how many tokens it would rather have written.
One forward pass per text, and logits only at the scored positions."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.models.forward.finite import not_finite
from cotdistill.models.forward.heads import Head, check_head, head_of, last_hidden_states
from cotdistill.models.tokens.template import Prompt, encode_prompt, encode_response
from cotdistill.tasks.segments import Region, Segment

_MAX_LOGITS = 2**24
"""How many logits are in memory at a time."""


class ScoredText(NamedTuple):
    """A prompt, how the response begins, and how it continues; only the tokens of ``continuation`` are scored."""

    prompt: Prompt
    opening: str
    continuation: str


@dataclass(frozen=True, slots=True)
class TextScore:
    """Sums over the ``num_tokens`` of a continuation: surprisal in nats, and ranks (1: the most likely), each cut at
    the highest rank that is distinguished."""

    num_tokens: int
    surprisal: float
    rank: int


def score_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[ScoredText],
    *,
    max_batch_tokens: int,
    max_rank: int,
    done: Container[int] = (),
) -> Iterator[dict[int, TextScore]]:
    """The scores of ``texts``, a batch at a time, by place.

    A batch holds texts of similar length with at most ``max_batch_tokens`` (but at least one text). The other texts in
    a batch can change a score by rounding, so batches are always those of all texts, and one whose places are all
    ``done`` is skipped. ``model`` is in eval mode. Raises ModelError for logits that are not finite.
    """
    assert not model.training, "dropout would make scores random"
    encoded = [_encode(tokenizer, text) for text in texts]
    check_head(model)
    head = head_of(model)
    for batch in _batches([len(ids) for ids, _ in encoded], max_batch_tokens):
        if all(place in done for place in batch):
            continue
        scores = _score_batch(model, head, [encoded[place] for place in batch], max_rank)
        yield dict(zip(batch, scores, strict=True))


def _encode(tokenizer: PreTrainedTokenizerBase, text: ScoredText) -> tuple[list[int], int]:
    """Token ids, and the place of the first one that is scored."""
    prompt = encode_prompt(tokenizer, text.prompt)
    opening, continuation = Segment(text.opening, Region.PROMPT), Segment(text.continuation, Region.ANSWER)
    response, regions = encode_response(tokenizer, (opening, continuation))
    return [*prompt, *response], len(prompt) + regions.count(Region.PROMPT)


def _batches(lengths: Sequence[int], max_batch_tokens: int) -> Iterator[list[int]]:
    """Places, longest first."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > max_batch_tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


@torch.inference_mode()
def _score_batch(
    model: PreTrainedModel, head: Head, encoded: Sequence[tuple[list[int], int]], max_rank: int
) -> list[TextScore]:
    length = max(len(ids) for ids, _ in encoded)
    input_ids = torch.zeros(len(encoded), length, dtype=torch.long)
    mask = torch.zeros_like(input_ids)
    for row, (ids, _) in enumerate(encoded):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        mask[row, : len(ids)] = 1
    hidden = last_hidden_states(model, input_ids.to(model.device), mask.to(model.device))
    scores = []
    for row, (ids, start) in enumerate(encoded):
        targets = torch.tensor(ids[start:], device=model.device)
        surprisal, rank = _score_tokens(head, hidden[row, start - 1 : len(ids) - 1], targets, max_rank)
        if not math.isfinite(surprisal):
            raise not_finite(model)
        scores.append(TextScore(len(targets), surprisal, rank))
    return scores


def _score_tokens(head: Head, hidden: torch.Tensor, targets: torch.Tensor, max_rank: int) -> tuple[float, int]:
    """Sums of surprisal and of cut ranks of ``targets [tokens]`` under ``hidden [tokens, width]``."""
    surprisal, rank = 0.0, 0
    vocabulary = head.logits(hidden[:1]).shape[-1]
    for start in range(0, len(targets), max(1, _MAX_LOGITS // vocabulary)):
        rows = slice(start, start + max(1, _MAX_LOGITS // vocabulary))
        logits = head.logits(hidden[rows]).float()
        chosen = logits.gather(1, targets[rows, None])
        surprisal += float((logits.logsumexp(dim=-1) - chosen[:, 0]).sum())
        rank += int(((logits > chosen).sum(dim=-1) + 1).clamp(max=max_rank).sum())
    return surprisal, rank
