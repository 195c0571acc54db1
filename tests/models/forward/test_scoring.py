"""Scores of texts against a plain float64 computation, text by text."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.tiny import tiny_model, tiny_tokenizer

from cotdistill.models.forward.scoring import ScoredText, TextScore, score_texts
from cotdistill.models.tokens.template import encode_prompt

TEXTS = [
    ScoredText("How many apples are left?", "The answer is", " 7."),
    ScoredText("Ann has 12 apples and gives 5 of them to Ben.", "", "12 - 5 = 7.\nThe answer is 7."),
    ScoredText("Is it so?", "", "The answer is Yes."),
]


def scores(*arguments: Any, **settings: Any) -> dict[int, TextScore]:
    return {place: score for batch in score_texts(*arguments, **settings) for place, score in batch.items()}


@pytest.mark.parametrize("max_batch_tokens", [1, 64, 4096])
@pytest.mark.parametrize("max_rank", [3, 1000])
def test_scores_are_those_of_a_plain_computation(max_batch_tokens: int, max_rank: int) -> None:
    tokenizer = tiny_tokenizer()
    model = tiny_model(len(tokenizer))
    found = scores(model, tokenizer, TEXTS, max_batch_tokens=max_batch_tokens, max_rank=max_rank)
    reference = tiny_model(len(tokenizer)).double()
    for place, text in enumerate(TEXTS):
        prompt = encode_prompt(tokenizer, text.prompt)
        response = tokenizer(text.opening + text.continuation, add_special_tokens=False)["input_ids"]
        start = len(tokenizer(text.opening, add_special_tokens=False)["input_ids"])
        ids = [*prompt, *response]
        with torch.no_grad():
            probabilities = reference(torch.tensor([ids])).logits[0].softmax(dim=-1)
        surprisal, ranks = 0.0, []
        for position in range(len(prompt) + start, len(ids)):
            likely = probabilities[position - 1]
            surprisal -= float(likely[ids[position]].log())
            ranks.append(1 + int((likely > likely[ids[position]]).sum()))
        assert found[place].num_tokens == len(ranks)
        assert found[place].surprisal == pytest.approx(surprisal, rel=1e-4)
        assert found[place].rank == sum(min(rank, max_rank) for rank in ranks)


def test_only_the_continuation_counts() -> None:
    tokenizer = tiny_tokenizer()
    model = tiny_model(len(tokenizer))
    short, long = TEXTS[0], ScoredText(TEXTS[0].prompt, "", TEXTS[0].opening + TEXTS[0].continuation)
    found = scores(model, tokenizer, [short, long], max_batch_tokens=64, max_rank=100)
    assert found[0].num_tokens < found[1].num_tokens
    assert found[0].surprisal < found[1].surprisal
