"""Whatever way a family keeps its state of the text before, it writes what it writes without one."""

from __future__ import annotations

import random

import pytest
import torch
from tests.models.families import VOCAB, make
from tests.sweep import reference
from transformers import PreTrainedModel

from cotdistill.errors import ModelError
from cotdistill.models.generate import generation
from cotdistill.models.generate.abilities import can_move_rows, can_share, way_of
from cotdistill.models.generate.beams import beam_search
from cotdistill.models.generate.generation import Sampling

RECURRENT = ("qwen3_5", "qwen3_next", "lfm2", "granite_hybrid", "bamba", "jamba", "falcon_h1", "zamba2", "nemotron_h")
LATENT = ("deepseek_v2", "deepseek_v3", "minicpm3")
NEW = 8


def whole(model: PreTrainedModel, prompt: list[int]) -> list[int]:
    """A whole forward pass a token."""
    ids = list(prompt)
    for _ in range(NEW):
        ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def cut(tokens: list[int], stops: set[int]) -> list[int]:
    return tokens[: next((place for place, token in enumerate(tokens) if token in stops), None)]


def prompts_of(num_shared: int) -> list[list[int]]:
    generator = random.Random(1)
    shared = [generator.randrange(5, VOCAB) for _ in range(num_shared)]
    return [shared + [generator.randrange(5, VOCAB) for _ in range(length)] for length in (2, 19, 11, 5, 7)]


@torch.no_grad()
def check(model: PreTrainedModel, num_shared: int = 0) -> None:
    prompts = prompts_of(num_shared)
    uncut = [whole(model, prompt) for prompt in prompts]
    stops = {uncut[0][2], uncut[3][5]}  # so that rows end at different steps
    found = generation.generate(model, prompts, max_new_tokens=NEW, max_batch_size=4, stop_token_ids=stops)
    assert {output.index: output.token_ids for output in found} == {
        i: cut(uncut[i], stops) for i in range(len(prompts))
    }


@pytest.mark.parametrize(
    "family", [*RECURRENT, "mamba", "mamba2", "falcon_mamba", "minimax", "gpt_oss", "gemma4", "llama4"]
)
def test_rows_side_by_side_end_when_they_end(family):
    model = make(family)
    assert way_of(model).side_by_side
    check(model)


@pytest.mark.parametrize("family", ["rwkv", "recurrent_gemma"])
def test_a_family_that_padding_runs_through_writes_its_texts_one_by_one(family, caplog):
    model = make(family)
    check(model)
    assert not way_of(model).side_by_side
    assert way_of(model).argument, "it keeps a state of one text"
    assert caplog.text.count("its texts are written one by one") == 1


def test_a_family_without_a_state_that_can_be_used_reads_the_whole_text_for_each_token(caplog):
    model = make("llama")
    forward = model.forward

    def forgetful(input_ids, past_key_values=None, **others):
        return forward(input_ids=input_ids, use_cache=False, logits_to_keep=others.get("logits_to_keep", 0))

    model.forward = forgetful  # pyright: ignore[reportAttributeAccessIssue]
    check(model)
    assert way_of(model).argument is None
    assert "reread for every token" in caplog.text


@pytest.mark.parametrize("family", ["llama", *LATENT, "diffllama", "doge", "qwen3_5", "mamba", "gpt_oss"])
def test_what_prompts_begin_with_is_held_once_only_where_the_model_then_writes_the_same(family):
    model = make(family)
    assert can_share(model) is (family == "llama")
    check(model, num_shared=40)


@pytest.mark.parametrize("num_shared", [0, 8, 30])
def test_positions_that_depend_on_the_longest_text_beside_do_not(num_shared):
    """Prompts of 2 to 49 tokens, of a model whose positions change at 24."""
    check(make("phi3_long"), num_shared)


@pytest.mark.parametrize("family", ["minimax", "llama", "qwen3_5"])
def test_beams_are_those_of_whole_texts_also_where_a_state_stays_when_rows_change_places(family):
    model, prompts = make(family), prompts_of(0)[:3]
    found = beam_search(model, prompts, num_beams=3, max_new_tokens=8, stop_token_ids={0, 7})
    assert [output.token_ids for output in found] == [reference.beams(model, p, 8, {0, 7}) for p in prompts]
    assert can_move_rows(model) is (family != "minimax")


@pytest.mark.parametrize("family", ["rwkv", "recurrent_gemma", "mamba", "qwen3_5"])
def test_one_beam_of_two_is_that_of_each_prompt_alone(family):
    model, prompts = make(family), prompts_of(0)[:3]

    def beams(prompts: list[list[int]]) -> list[list[int]]:
        found = beam_search(model, prompts, num_beams=2, max_new_tokens=5, stop_token_ids={0})
        return [output.token_ids for output in found]

    assert beams(prompts) == [beams([prompt])[0] for prompt in prompts]


@pytest.mark.parametrize("sampling", [None, Sampling(1.0, ["a"])])
def test_logits_that_are_not_finite_are_an_error_from_the_start_and_on_the_way(sampling):
    def write(model: PreTrainedModel):
        return list(
            generation.generate(
                model, [[5, 6, 7]], max_new_tokens=4, max_batch_size=1, stop_token_ids=(), sampling=sampling
            )
        )

    broken = make("llama")
    with torch.no_grad():
        broken.model.layers[1].mlp.up_proj.weight[0] = torch.nan
    with pytest.raises(ModelError, match="its logits are not finite numbers"):
        write(broken)
    later = make("llama")
    assert way_of(later)
    with torch.no_grad():
        later.get_input_embeddings().weight[7] = torch.nan
    with pytest.raises(ModelError, match="its logits are not finite numbers"):
        write(later)


def test_a_model_that_chooses_what_it_attends_to_has_as_many_positions_as_it_chooses():
    model = make("deepseek_v32")
    model.config.index_topk = 16
    with pytest.raises(ModelError, match="12 tokens and 5 new ones exceed the model's 16 positions"):
        list(generation.generate(model, [[5] * 12], max_new_tokens=5, max_batch_size=1, stop_token_ids=()))
