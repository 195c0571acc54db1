"""Generation: what a prompt gets depends on the prompt alone, and is what Transformers' own loop gives."""

from __future__ import annotations

import random

import pytest
import torch
from tests.tiny import tiny_model
from transformers import (
    DynamicCache,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    NemotronConfig,
    NemotronForCausalLM,
    PreTrainedModel,
)

from cotdistill.errors import ModelError
from cotdistill.models.generate import abilities, generation, shared_prefix
from cotdistill.models.generate import batch as batches
from cotdistill.models.generate.generation import Generated, Sampling
from cotdistill.models.generate.kv_cache import ROOM, growing_cache

VOCAB = 50


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model(VOCAB)


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    generator = random.Random(0)
    return [[generator.randrange(2, VOCAB) for _ in range(generator.randrange(1, 40))] for _ in range(24)]


def generate(model: PreTrainedModel, prompts: list[list[int]], stops: set[int], new: int = 20, batch: int = 64):
    outputs = list(generation.generate(model, prompts, max_new_tokens=new, max_batch_size=batch, stop_token_ids=stops))
    assert sorted(output.index for output in outputs) == list(range(len(prompts)))
    return sorted(outputs, key=lambda output: output.index)


def reference(model: PreTrainedModel, prompts: list[list[int]], stops: set[int], new: int = 20) -> list[Generated]:
    """One whole forward pass a token, without cache, batch or padding."""
    outputs = []
    for index, prompt in enumerate(prompts):
        ids, finished = list(prompt), False
        while len(ids) < len(prompt) + new and not finished:
            token = int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            finished = token in stops
            ids += [] if finished else [token]
            if finished:
                break
        outputs.append(Generated(index, ids[len(prompt) :], finished))
    return outputs


@pytest.mark.parametrize("batch", [1, 3, 7, 64])
def test_batches_give_what_single_prompts_give(model, prompts, batch):
    stops = {3, 7, 11, 20, 21}
    expected = reference(model, prompts, stops)
    assert 3 < sum(output.finished for output in expected) < len(prompts)  # both endings, rows dropped at many steps
    assert generate(model, prompts, stops, batch=batch) == expected


def test_the_order_of_prompts_does_not_matter(model, prompts):
    shuffled = list(range(len(prompts)))
    random.Random(1).shuffle(shuffled)
    straight = generate(model, prompts, {3, 7}, batch=5)
    mixed = generate(model, [prompts[index] for index in shuffled], {3, 7}, batch=5)
    assert [output.token_ids for output in mixed] == [straight[index].token_ids for index in shuffled]


def test_equals_generate_of_transformers_with_several_stop_tokens(model, prompts):
    stops = {3, 7, 11, 20, 21}
    for prompt, output in zip(prompts, generate(model, prompts, stops), strict=True):
        ids = torch.tensor([prompt])
        theirs = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20, eos_token_id=sorted(stops)
        )[0, len(prompt) :].tolist()
        assert output.finished == (theirs[-1] in stops)
        assert output.token_ids == (theirs[:-1] if output.finished else theirs)


def test_the_limit_counts_the_stop_token(model, prompts):
    whole = next(output for output in reference(model, prompts, {3, 7, 11}) if output.finished and output.token_ids)
    prompt, num = [prompts[whole.index]], len(whole.token_ids)
    assert generate(model, prompt, {3, 7, 11}, new=num + 1)[0].finished
    cut = generate(model, prompt, {3, 7, 11}, new=num)[0]
    assert not cut.finished
    assert cut.token_ids == whole.token_ids


def test_generation_beyond_the_room_that_a_cache_layer_makes_at_a_time(model, prompts):
    new = 2 * ROOM + 5
    assert generate(model, prompts[:3], set(), new=new) == reference(model, prompts[:3], set(), new=new)


def test_sliding_windows_are_kept_by_their_own_cache_layers(prompts):
    config = Gemma3TextConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=6,
        layer_types=["sliding_attention", "full_attention"] * 2,
        initializer_range=0.3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Gemma3ForCausalLM(config).eval()
    expected = reference(model, prompts, {3, 7})
    assert generate(model, prompts, {3, 7}, batch=5) == expected


def test_rows_come_as_they_finish_and_the_callers_gradients_stay_on(model, prompts):
    finished = []
    for output in generation.generate(model, prompts, max_new_tokens=20, max_batch_size=64, stop_token_ids={3, 7, 11}):
        finished.append(output.finished)
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
    assert finished == sorted(finished, reverse=True)


def test_rows_that_end_make_room_for_the_next_prompts(model, prompts, monkeypatch: pytest.MonkeyPatch):
    """Far fewer steps than batch by batch, each of which would run to its longest continuation."""
    read, steps = [], []
    advance = batches.Batch.next_tokens

    def counted(self, choose, rows):
        (read if self.unread else steps).append(len(rows))
        return advance(self, choose, rows)

    monkeypatch.setattr(batches.Batch, "next_tokens", counted)
    outputs = generate(model, prompts, {3, 7, 11, 20, 21, 30}, new=60, batch=4)
    lengths = [len(output.token_ids) + output.finished for output in outputs]
    longest_first = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    batch_by_batch = sum(max(lengths[i] for i in longest_first[start : start + 4]) - 1 for start in range(0, 24, 4))
    assert max(steps) == 4
    assert sum(steps) + sum(read) == sum(lengths)
    assert len(steps) < 0.8 * batch_by_batch


def test_a_growing_cache_holds_what_a_dynamic_one_does(model, prompts):
    ids = (
        torch.tensor([prompts[0][:5], prompts[1][:5]])
        if min(map(len, prompts[:2])) >= 5
        else torch.arange(10).view(2, 5)
    )
    grown, dynamic = growing_cache(model), DynamicCache(config=model.config)
    with torch.inference_mode():
        for cache in (grown, dynamic):
            model(ids, past_key_values=cache)
            model(ids[:, :1].repeat(1, ROOM), past_key_values=cache)
            cache.batch_select_indices(torch.tensor([1]))
            model(ids[1:, :1], past_key_values=cache)
    assert grown.get_seq_length() == dynamic.get_seq_length() == 5 + ROOM + 1
    for ours, theirs in zip(grown.layers, dynamic.layers, strict=True):
        torch.testing.assert_close(ours.keys, theirs.keys)
        torch.testing.assert_close(ours.values, theirs.values)


def test_rows_that_are_left_close_up_with_few_moves():
    assert generation._closed_up([True, False, True, False, True, True]) == [0, 5, 2, 4]
    assert generation._closed_up([False, True]) == [1]
    assert generation._closed_up([True, True, False]) == [0, 1]


def test_prompts_are_read_with_others_of_their_length():
    prompts = [[0] * length for length in (9, 5, 5, 4, 1, 1, 1)]
    pieces = [[len(prompt) for prompt in piece] for piece in batches._of_like_length(prompts, 10)]
    assert pieces == [[9], [5, 5], [4, 1], [1, 1]]


def test_prompts_that_cannot_be_continued_are_refused_by_number(model):
    with pytest.raises(ModelError, match="prompt 1: the prompt has no tokens"):
        generate(model, [[5], []], set())
    with pytest.raises(ModelError, match=r"prompt 0: 500 tokens and 20 new ones exceed the model's 512 positions"):
        generate(model, [[5] * 500], set())


@pytest.fixture(scope="module")
def few_shot_prompts() -> list[list[int]]:
    """Prompts with 100 tokens in common and up to 30 of their own."""
    generator = random.Random(5)
    common = [generator.randrange(2, VOCAB) for _ in range(100)]
    return [common + [generator.randrange(2, VOCAB) for _ in range(generator.randrange(1, 30))] for _ in range(12)]


@pytest.mark.parametrize(("batch", "read"), [(2, 512), (64, 512), (64, 40)])
def test_a_shared_prefix_changes_nothing(model, few_shot_prompts, batch, read, monkeypatch):
    """However many of the tokens behind it are read at a time."""
    monkeypatch.setitem(batches.READ_TOKENS, "cpu", read)
    assert shared_prefix.num_shared(few_shot_prompts) == 100
    assert abilities.can_share(model)
    stops = {3, 7, 11}
    expected = reference(model, few_shot_prompts, stops, new=ROOM + 5)
    before = model.config._attn_implementation
    assert generate(model, few_shot_prompts, stops, new=ROOM + 5, batch=batch) == expected
    assert model.config._attn_implementation == before


def test_a_family_that_hands_nothing_on_to_its_attention_reads_each_prompt_whole(few_shot_prompts):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
    config = NemotronConfig(vocab_size=VOCAB, num_attention_heads=4, num_key_value_heads=2, **sizes)
    torch.manual_seed(0)
    nemotron = NemotronForCausalLM(config).eval()
    assert generate(nemotron, few_shot_prompts, {3}) == reference(nemotron, few_shot_prompts, {3})


def test_equal_prompts_keep_a_token_of_their_own(model):
    prompt = list(range(2, 48))
    assert shared_prefix.num_shared([prompt, prompt]) == len(prompt) - 1
    assert shared_prefix.num_shared([[1, 2, 3], [1, 2, 4, 5], [1, 9]]) == 1
    one, other = generate(model, [prompt, prompt], set())
    assert one.token_ids == other.token_ids == reference(model, [prompt], set())[0].token_ids


def test_attention_to_a_shared_prefix_is_attention_to_the_whole(model, few_shot_prompts):
    """Logits behind a prefix that is held apart, against a whole forward pass."""
    prompts = [prompt[:110] for prompt in few_shot_prompts if len(prompt) >= 110]
    ids = torch.tensor(prompts)
    with torch.inference_mode():
        whole = model(ids).logits
        prefix = shared_prefix.compute_prefix(model, prompts[0][:100])
        cache = growing_cache(model)
        logits = []
        with shared_prefix.attending_to_prefix(model):
            for start, end in ((100, 107), (107, 108), (108, 109), (109, 110)):
                positions = torch.arange(start, end).expand(len(prompts), -1)
                mask = torch.ones(len(prompts), end - 100, dtype=torch.long)
                output = model(ids[:, start:end], attention_mask=mask, position_ids=positions, past_key_values=cache,
                               shared_prefix=prefix)  # fmt: skip
                logits.append(output.logits)
    torch.testing.assert_close(torch.cat(logits, dim=1), whole[:, 100:], atol=1e-4, rtol=1e-4)


def test_a_continuation_ends_where_it_is_said_to_be_complete(model, prompts):
    whole = generate(model, prompts, set())
    ends = {tuple(output.token_ids[:5]) for output in whole[::2]}
    cut = list(
        generation.generate(
            model, prompts, max_new_tokens=20, max_batch_size=7, stop_token_ids=(),
            is_complete=lambda written: tuple(written) in ends,
        )
    )  # fmt: skip
    for output in cut:
        full = whole[output.index].token_ids
        is_end = tuple(full[:5]) in ends
        assert (output.token_ids, output.finished) == (full[:5] if is_end else full, is_end)


def test_a_sample_depends_on_its_seed_and_not_on_its_batch(model, prompts):
    def sample(batch: int, seeds: list[str], temperature: float = 1.0):
        outputs = generation.generate(
            model, prompts, max_new_tokens=12, max_batch_size=batch, stop_token_ids={3},
            sampling=Sampling(temperature, seeds),
        )  # fmt: skip
        return sorted(outputs, key=lambda output: output.index)

    seeds = [f"7/{number}" for number in range(len(prompts))]
    assert sample(5, seeds) == sample(64, seeds)
    assert sample(64, seeds) != sample(64, seeds[::-1])
    assert sample(64, seeds, temperature=1e-4) == generate(model, prompts, {3}, new=12)


def test_sampled_tokens_follow_the_models_distribution(model):
    prompt, num = [5, 9, 14], 4000
    with torch.inference_mode():
        expected = (model(torch.tensor([prompt])).logits[0, -1] / 2.0).softmax(dim=-1)
    outputs = generation.generate(
        model, [prompt] * num, max_new_tokens=1, max_batch_size=num, stop_token_ids=(),
        sampling=Sampling(2.0, [str(i) for i in range(num)]),
    )  # fmt: skip
    drawn = torch.tensor([output.token_ids[0] for output in outputs])
    share = torch.bincount(drawn, minlength=VOCAB) / num
    assert float((share - expected).abs().max()) < 4 * 0.5 / num**0.5


def test_a_nucleus_is_the_fewest_tokens_that_reach_the_share(model):
    prompt, num, temperature, top_p = [5, 9, 14], 2000, 4.0, 0.6
    with torch.inference_mode():
        expected = (model(torch.tensor([prompt])).logits[0, -1] / temperature).softmax(dim=-1)
    outputs = generation.generate(
        model, [prompt] * num, max_new_tokens=1, max_batch_size=num, stop_token_ids=(),
        sampling=Sampling(temperature, [str(i) for i in range(num)], top_p),
    )  # fmt: skip
    nucleus: list[int] = []
    for token in expected.argsort(descending=True).tolist():
        nucleus.append(token)
        if float(expected[nucleus].sum()) >= top_p:
            break
    drawn = torch.bincount(torch.tensor([output.token_ids[0] for output in outputs]), minlength=VOCAB) / num
    assert 1 < len(nucleus) < VOCAB / 2
    assert float(drawn[nucleus].sum()) == pytest.approx(1.0)
    renormalised = expected[nucleus] / expected[nucleus].sum()
    assert float((drawn[nucleus] - renormalised).abs().max()) < 4 * 0.5 / num**0.5
