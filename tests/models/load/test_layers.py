"""Students cut out of larger models: they run with a cache, and survive saving."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from tests.models import families
from tests.tiny import save_tiny, tiny_model
from transformers import (
    AutoModelForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

from cotdistill.config import ModelConfig
from cotdistill.errors import ModelError
from cotdistill.models.load.layers import decoder_layers, evenly_spaced, keep_layers
from cotdistill.models.load.loading import load_model

SIZES = {"vocab_size": 40, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 6}
LAYER_TYPES = ["sliding_attention"] * 5 + ["full_attention"]


def make(family: str) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if family == "llama":
            return LlamaForCausalLM(LlamaConfig(**SIZES, intermediate_size=64)).eval()
        if family == "gpt2":
            return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=32, n_head=4, n_layer=6, n_positions=64)).eval()
        if family == "opt":
            return OPTForCausalLM(OPTConfig(**SIZES, ffn_dim=64, word_embed_proj_dim=32)).eval()
        config = Gemma3TextConfig(
            **SIZES, intermediate_size=64, num_key_value_heads=2, head_dim=8, sliding_window=4, layer_types=LAYER_TYPES
        )
        return Gemma3ForCausalLM(config).eval()


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "gemma3"])
def test_a_cut_model_runs_with_a_cache_and_survives_saving(family, tmp_path):
    model = keep_layers(make(family), 3)
    ids = torch.arange(2, 14).view(1, -1)
    with torch.no_grad():
        whole = model(ids, use_cache=False).logits
        first = model(ids[:, :9], use_cache=True)
        rest = [model(ids[:, at : at + 1], past_key_values=first.past_key_values).logits for at in range(9, 12)]
        assert len(first.past_key_values.layers) == 3
        torch.testing.assert_close(torch.cat([first.logits, *rest], dim=1), whole, rtol=1e-4, atol=1e-5)
        model.save_pretrained(tmp_path)
        loaded, report = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
        torch.testing.assert_close(loaded.eval()(ids, use_cache=False).logits, whole, rtol=1e-4, atol=1e-5)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


CUTTABLE = ("deepseek_v2", "deepseek_v3", "qwen3_moe", "gemma3_with_eyes", "qwen3_5", "lfm2", "granite_hybrid", "bamba",
            "falcon_h1", "mamba", "nemotron_h", "gpt_oss", "llama4", "minimax")  # fmt: skip


@pytest.mark.parametrize("family", CUTTABLE)
@pytest.mark.parametrize("num_layers", [2, 3])
def test_a_cut_model_is_read_again_as_it_was_trained(family, num_layers, tmp_path):
    """Whatever else than their number depends on the layers: which are dense, which look back how far."""
    model = keep_layers(families.make(family), num_layers)
    ids = torch.arange(2, 26).view(1, -1)
    with torch.no_grad():
        expected = model(input_ids=ids, use_cache=False).logits
        model.save_pretrained(tmp_path)
        loaded, report = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
        found = loaded.eval()(input_ids=ids, use_cache=False).logits
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "num_layers", "remedy"),
    [("gemma4", 2, "omit keep_layers"), ("jamba", 3, "keep 2, or"), ("zamba2", 2, "keep 1, or")],
)
def test_layers_that_make_no_model_of_their_family_are_refused_and_the_model_stays(family, num_layers, remedy):
    """Gemma 4 has an embedding for all layers together, Jamba every second one of a kind, Zamba shares weights."""
    model, ids = families.make(family), torch.arange(2, 26).view(1, -1)
    expected, config = model(input_ids=ids, use_cache=False).logits, model.config.to_dict()
    line = rf"{num_layers} of its 4 layers do not make a model of its family \(.+\); {remedy}"
    with pytest.raises(ModelError, match=line):
        keep_layers(model, num_layers)
    assert model.config.to_dict() == config
    assert torch.equal(model(input_ids=ids, use_cache=False).logits, expected)


def test_the_eyes_of_a_model_with_as_many_layers_stay():
    model = keep_layers(families.make("gemma3_with_eyes"), 2)
    assert model.config.vision_config.num_hidden_layers == 4
    assert model.config.get_text_config().num_hidden_layers == 2
    assert len(decoder_layers(model)) == 2
    assert len(model.model.vision_tower.encoder.layers) == 4


def test_lists_by_layer_are_cut_with_the_layers():
    model = keep_layers(make("gemma3"), 2)
    assert model.config.layer_types == ["sliding_attention", "full_attention"]


def test_kept_layers_are_the_models_own_in_order():
    model = make("llama")
    originals = list(model.model.layers)
    assert all(
        kept is originals[index] for kept, index in zip(keep_layers(model, 3).model.layers, [0, 2, 5], strict=True)
    )


def test_keeping_all_changes_nothing():
    ids = torch.arange(12)[None]
    assert torch.equal(keep_layers(tiny_model(50, layers=4), 4)(ids).logits, tiny_model(50, layers=4)(ids).logits)


def test_layers_are_evenly_spaced_from_the_first_to_the_last():
    assert evenly_spaced(1, 9) == [0]
    for num_layers, total in itertools.combinations_with_replacement(range(2, 33), 2):
        kept = evenly_spaced(num_layers, total)
        gaps = [after - before for before, after in itertools.pairwise(kept)]
        assert (kept[0], kept[-1], len(kept)) == (0, total - 1, num_layers)
        assert min(gaps) >= 1
        assert max(gaps) - min(gaps) <= 1


def test_a_config_cuts_and_cannot_ask_for_more_than_there_is(tmp_path: Path):
    folder = str(save_tiny(tmp_path, layers=4))
    cut = load_model(ModelConfig(model=folder, keep_layers=2), dtype=torch.float32, device="cpu")
    assert cut.config.num_hidden_layers == len(cut.model.layers) == 2
    with pytest.raises(ModelError, match="cannot keep 5 of 4 layers; keep 1 to 4"):
        load_model(ModelConfig(model=folder, keep_layers=5), dtype=torch.float32, device="cpu")
