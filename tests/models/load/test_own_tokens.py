"""A folder's own tokenizer.json says what its tokens are, whatever class transformers has for the family."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from tests.tiny import save_tiny
from tests.token_families import digits_split, sentence_piece
from tokenizers import Regex, Tokenizer, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast, Qwen2Config

from cotdistill.config import ModelConfig
from cotdistill.models.load.loading import load_tokenizer
from cotdistill.models.tokens.counting import token_counter
from cotdistill.models.tokens.template import encode_prompt

TEXT = "Ben's got  1931 more: 120 + 1931 = 2051.\n\nThe answer is 2051."


def save(folder: Path, tokenizer: PreTrainedTokenizerFast, config, class_name: str) -> Path:
    tokenizer.save_pretrained(folder)
    config.save_pretrained(folder)
    settings = folder / "tokenizer_config.json"
    described = json.loads(settings.read_text(encoding="utf-8")) | {"tokenizer_class": class_name}
    settings.write_text(json.dumps(described), encoding="utf-8")
    return folder


def by_threes() -> PreTrainedTokenizerFast:
    """Numbers in groups of three digits, where Qwen's own tokenizer splits all of them."""
    tokenizer = digits_split(vocabulary=500)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"), pre_tokenizers.ByteLevel(use_regex=False)]
    )
    tokenizer.backend_tokenizer.train_from_iterator([f"{n} " for n in range(1000)] * 2)
    return tokenizer


@pytest.mark.parametrize(
    ("make", "config", "class_name"),
    [
        (by_threes, Qwen2Config(), "LlamaTokenizerFast"),
        (sentence_piece, LlamaConfig(), "LlamaTokenizer"),
        (digits_split, LlamaConfig(), "PreTrainedTokenizerFast"),
    ],
    ids=["qwen", "llama", "any"],
)
def test_the_file_wins(make, config, class_name, tmp_path, caplog):
    folder = save(tmp_path, make(), config, class_name)
    with caplog.at_level(logging.WARNING):
        loaded = load_tokenizer(ModelConfig(model=str(folder)))
    own = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT, add_special_tokens=False).ids
    assert loaded(TEXT, add_special_tokens=False)["input_ids"] == own
    assert ("tokenizer.json, so that file is used" in caplog.text) is (make is not digits_split)
    assert loaded.eos_token == "</s>"


@pytest.mark.parametrize(
    "setting",
    [
        {"truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}},
        {"padding": {"strategy": {"Fixed": 500}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                     "pad_type_id": 0, "pad_token": "x"}},
    ],
    ids=["truncation", "padding"],
)  # fmt: skip
def test_no_file_cuts_or_fills_texts(setting, tmp_path):
    config, text = ModelConfig(model=str(save_tiny(tmp_path))), "How many apples are left of twelve?"
    expected = encode_prompt(load_tokenizer(config), text)
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | setting), encoding="utf-8")
    assert encode_prompt(load_tokenizer(config), text) == expected
    count = token_counter(config)
    assert count
    assert count([text + "\n"]) == [len(expected)]
