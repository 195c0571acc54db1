"""Beam search: exact where it can be, and the same for a prompt whatever its batch."""

from __future__ import annotations

import random

import pytest
import torch
from tests.tiny import tiny_model
from transformers import PreTrainedModel

from cotdistill.models.generate.beams import beam_search

VOCAB = 16


@pytest.fixture
def model() -> PreTrainedModel:
    return tiny_model(VOCAB)


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    generator = random.Random(0)
    return [[generator.randrange(2, VOCAB) for _ in range(length)] for length in (9, 1, 5, 5)]


def search(model, prompts, stops, beams=4, new=6):
    return list(beam_search(model, prompts, num_beams=beams, max_new_tokens=new, stop_token_ids=stops))


def test_with_a_beam_for_every_token_the_likeliest_pair_is_found(model, prompts):
    for prompt, found in zip(prompts, search(model, prompts, {0}, beams=VOCAB, new=2), strict=True):
        with torch.inference_mode():
            first = model(torch.tensor([prompt])).logits[0, -1].log_softmax(dim=-1)
            pairs = torch.tensor([[*prompt, token] for token in range(VOCAB)])
            second = model(pairs).logits[:, -1].log_softmax(dim=-1)
        mean = (first[:, None] + second) / 2  # scores are divided by length
        mean[0] = first[0]  # the stop token ends a continuation of one token
        best = divmod(int(mean.argmax()), VOCAB)
        expected = [] if best[0] == 0 else [token for token in best if token != 0]
        assert found.token_ids == expected
        assert found.finished == (0 in best)


def test_the_batch_does_not_matter(model, prompts):
    together = search(model, prompts, {3, 7})
    assert [found.token_ids for found in together] == [search(model, [p], {3, 7})[0].token_ids for p in prompts]
    assert {found.finished for found in together} == {True, False}


def test_the_models_own_generation_settings_are_not_used_and_stay(model, prompts):
    expected = search(model, prompts, {3})
    model.generation_config.repetition_penalty = 9.0
    model.generation_config.num_return_sequences = 2
    assert search(model, prompts, {3}) == expected
    assert model.generation_config.repetition_penalty == 9.0
