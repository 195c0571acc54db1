"""Generation on the device writes, in float32, the tokens that it writes on the CPU."""

from __future__ import annotations

import random

import pytest
import torch
from tests.tiny import tiny_model

from cotdistill.models.generate.beams import beam_search
from cotdistill.models.generate.generation import Sampling, generate

VOCABULARY, NEW_TOKENS = 200, 24


def prompts(num_shared: int) -> list[list[int]]:
    """Of many lengths, behind a beginning in common."""
    draw = random.Random(num_shared)
    shared = [draw.randrange(2, VOCABULARY) for _ in range(num_shared)]
    return [shared + [draw.randrange(2, VOCABULARY) for _ in range(3 + 5 * n % 29)] for n in range(11)]


def written(device: torch.device, num_shared: int, sampling: Sampling | None) -> dict[int, tuple[list[int], bool]]:
    outputs = generate(
        tiny_model(VOCABULARY, hidden=64).to(device),
        prompts(num_shared),
        max_new_tokens=NEW_TOKENS,
        max_batch_size=4,
        stop_token_ids=range(12),  # some rows stop early and make room
        sampling=sampling,
    )
    return {output.index: (output.token_ids, output.finished) for output in outputs}


@pytest.mark.parametrize("num_shared", [0, 70])
@pytest.mark.parametrize("top_p", [None, 1.0, 0.8])
def test_tokens_are_those_of_the_cpu(top_p: float | None, num_shared: int, device: torch.device) -> None:
    seeds = [str(number) for number in range(11)]
    sampling = None if top_p is None else Sampling(0.9, seeds, top_p=top_p)
    expected = written(torch.device("cpu"), num_shared, sampling)
    assert written(device, num_shared, sampling) == expected
    assert {finished for _, finished in expected.values()} == {True, False}


def test_beams_are_those_of_the_cpu(device: torch.device) -> None:
    found = []
    for where in (torch.device("cpu"), device):
        model = tiny_model(VOCABULARY, hidden=64).to(where)
        found.append(list(beam_search(model, prompts(0), num_beams=3, max_new_tokens=8, stop_token_ids=[0])))
    assert found[0] == found[1]


def test_a_batch_changes_no_tokens(device: torch.device) -> None:
    """Padding is masked: alone or beside others, a prompt is continued alike."""
    model = tiny_model(VOCABULARY, hidden=64).to(device)
    found = [
        {
            output.index: output.token_ids
            for output in generate(
                model, prompts(40), max_new_tokens=NEW_TOKENS, max_batch_size=size, stop_token_ids=[0]
            )
        }
        for size in (1, 11)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("num_shared", [0, 70])
@torch.no_grad()
def test_in_bfloat16_every_token_is_a_likeliest_one(num_shared: int, device: torch.device) -> None:
    """But for rounding: the model in float32, which reads each text alone, has hardly a likelier one."""
    model = tiny_model(VOCABULARY, hidden=64).to(device, torch.bfloat16)
    exact = tiny_model(VOCABULARY, hidden=64).to(device)
    given = prompts(num_shared)
    for output in generate(model, given, max_new_tokens=NEW_TOKENS, max_batch_size=11, stop_token_ids=[0]):
        prompt, tokens = given[output.index], output.token_ids
        ids = torch.tensor([prompt + tokens], device=device)
        logits = exact(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        chosen = logits.gather(1, torch.tensor(tokens, device=device)[:, None])[:, 0]
        assert (logits.amax(-1) - chosen).max() <= 0.6 * logits.std()  # any other token is 2 to 3 below
