"""What a token writes: put together, the bytes of a text's tokens are the text."""

from __future__ import annotations

import pytest
from tests.tiny import tiny_tokenizer
from tests.token_families import digits_split, sentence_piece
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from cotdistill.config import ModelConfig
from cotdistill.errors import ModelError
from cotdistill.models.load.loading import load_tokenizer
from cotdistill.models.tokens.token_bytes import spelled, token_bytes

TEXTS = (
    "Step 1: 12 - 5 = 7.\nThe answer is 7.",
    "1,024 of 3.14159",
    "L'été à Zürich: naïve façade",
    "cafe\u0301",
    "🙂👩‍👩‍👧 ok",
    "東京の人口は1400万人です。",
    "tab\tand  two spaces",
    "x = −3 ≤ π²",
)
TOKENIZERS = {
    "bpe": tiny_tokenizer,
    "digits": digits_split,
    "sentence_piece": sentence_piece,
    "smollm2": lambda: load_tokenizer(ModelConfig(model="builtin:smollm2-135m")),
}


def pieces_of(tokenizer: PreTrainedTokenizerFast, text: str) -> list[bytes] | None:
    spelling = token_bytes(tokenizer)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return spelled([spelling[token_id] for token_id in ids], text)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n == "smollm2" else ()) for n in TOKENIZERS]
)
@pytest.mark.parametrize("text", TEXTS)
def test_the_bytes_of_its_tokens_are_the_text(name: str, text: str) -> None:
    pieces = pieces_of(TOKENIZERS[name](), text)
    assert pieces is not None
    assert b"".join(pieces).decode() == text


def test_a_character_that_is_split_is_shared_out_byte_by_byte() -> None:
    assert pieces_of(tiny_tokenizer(), "漢") == [b"\xe6", b"\xbc", b"\xa2"]
    assert pieces_of(sentence_piece(), "漢") == [b"", b"\xe6", b"\xbc", b"\xa2"]


def test_a_text_that_a_normaliser_changed_is_noticed() -> None:
    assert pieces_of(digits_split(composed=True), "cafe\u0301") is None
    assert pieces_of(digits_split(composed=True), "café") is not None


def test_special_tokens_write_nothing() -> None:
    tokenizer = tiny_tokenizer(chat=True)
    assert not set(tokenizer.all_special_ids) & token_bytes(tokenizer).keys()


def test_a_tokenizer_of_unknown_spelling_is_refused() -> None:
    words = Tokenizer(models.WordLevel({"<unk>": 0, "apples": 1}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ModelError, match="neither a byte-level nor a SentencePiece"):
        token_bytes(PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>"))
