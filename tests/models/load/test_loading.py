"""Models out of folders: what is read, what is refused, and what names it in a run key."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny import ROLE_END, save_tiny, tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from cotdistill.config import ModelConfig
from cotdistill.errors import ModelError
from cotdistill.models.load.loading import load_model, load_tokenizer, model_identity, resolve_dtype
from cotdistill.models.load.saving import save_model

CPU = torch.device("cpu")
IDS = torch.arange(12)[None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "tiny", chat=True)


def load(folder: Path, **settings):
    return load_model(ModelConfig(model=str(folder), **settings), dtype=torch.float32, device=CPU)


def test_a_saved_model_loads_as_it_was_with_the_type_asked_for(folder):
    tokenizer = load_tokenizer(ModelConfig(model=str(folder)))
    original, loaded = tiny_model(len(tokenizer)), load(folder)
    assert not loaded.training
    assert torch.equal(loaded(IDS).logits, original(IDS).logits)
    half = load_model(ModelConfig(model=str(folder)), dtype=torch.bfloat16, device=CPU)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    assert tokenizer.get_vocab() == tiny_tokenizer(chat=True).get_vocab()
    assert tokenizer.chat_template


def test_what_we_save_transformers_loads_and_stops_where_we_do(tmp_path):
    tokenizer, model = tiny_tokenizer(chat=True), tiny_model(367)
    tokenizer.eos_token = "<|endoftext|>"
    model.generation_config.temperature = 0.3  # without do_sample: a setting that Transformers refuses to save
    save_model(model, tokenizer, tmp_path / "student")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    assert torch.equal(theirs(IDS).logits, model(IDS).logits)
    assert theirs.generation_config.eos_token_id == sorted(tokenizer.convert_tokens_to_ids(["<|endoftext|>", ROLE_END]))
    assert AutoTokenizer.from_pretrained(tmp_path / "student")("12 apples") == tokenizer("12 apples")
    assert model.generation_config.temperature == 0.3
    assert not list((tmp_path / "student").glob("*.bin"))


def test_identity_is_the_content_and_not_the_place(folder, tmp_path):
    identity = model_identity(ModelConfig(model=str(folder)))
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert model_identity(ModelConfig(model=str(copy))) == identity
    (copy / "README.md").write_text("scores")
    assert model_identity(ModelConfig(model=str(copy))) == identity
    assert model_identity(ModelConfig(model=str(copy), keep_layers=1)) != identity
    weights = load_file(copy / "model.safetensors")
    weights["model.norm.weight"][3] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert model_identity(ModelConfig(model=str(copy))) != identity
    other_tokenizer = shutil.copytree(folder, tmp_path / "other")
    tiny_tokenizer(chat=False).save_pretrained(other_tokenizer)
    assert model_identity(ModelConfig(model=str(other_tokenizer))) != identity


def test_missing_weights_are_never_made_up(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights are missing, the first is model.layers.1.mlp.up_proj.weight"):
        load(folder)


def test_damaged_weights_are_one_clear_error(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="damaged safetensors file"):
        load(folder)


def test_weights_of_another_shape_are_one_clear_error(folder):
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["lm_head.weight"][:-1].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="cannot be read"):
        load(folder)


def test_pickle_weights_are_read_only_where_the_config_says_so(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"pickle files.*allow_pickle: true"):
        load(folder)
    with pytest.raises(ModelError, match="allow_pickle"):
        model_identity(ModelConfig(model=str(folder)))
    expected = tiny_model(367)(IDS).logits
    assert torch.equal(load(folder, allow_pickle=True)(IDS).logits, expected)
    assert model_identity(ModelConfig(model=str(folder), allow_pickle=True)).startswith("sha256:")


def test_code_of_the_models_authors_is_run_only_where_the_config_says_so(folder, tmp_path):
    settings = json.loads((folder / "config.json").read_text())
    settings |= {"model_type": "their_own", "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ModelError, match="trust_remote_code: true"):
        load(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [None, "{", "[]", '{"model_type": "unheard_of"}'])
def test_a_folder_that_is_no_model_is_one_clear_error(folder, content):
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_text(content)
    with pytest.raises(ModelError, match=str(folder)):
        load(folder)


def test_a_folder_without_a_tokenizer_is_one_clear_error(tmp_path):
    tiny_model(50).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="its tokenizer cannot be"):
        load_tokenizer(ModelConfig(model=str(tmp_path)))


@pytest.mark.parametrize("name", ["./no/such/folder", "/no/such/folder", "~/no-such-folder", "missing.gguf"])
def test_a_path_that_is_missing_is_named_with_the_remedy(name):
    with pytest.raises(ModelError, match=r"no such model folder; give a folder with config.json .* or builtin:"):
        load_tokenizer(ModelConfig(model=name))


def test_a_hub_name_without_a_network_fails_fast_naming_it(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", "http://127.0.0.1:9", raising=False)
    started = time.monotonic()
    for use in (model_identity, load_tokenizer, lambda config: load_model(config, dtype=torch.float32, device=CPU)):
        with pytest.raises(ModelError, match=r"Someone/tiny-1B: .* hub .*; give a folder .* builtin:smollm2-135m"):
            use(ModelConfig(model="Someone/tiny-1B"))
    assert time.monotonic() - started < 30


def test_types_are_as_asked_for():
    assert resolve_dtype("float32", CPU) == torch.float32
    assert resolve_dtype("bfloat16", CPU) == torch.bfloat16
