"""Tokenizers of other families than ``tests.tiny``'s, trained on the spot on the same few lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache

from tests.tiny import CHATML, CORPUS, ROLE_END, ROLE_START
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

OTHER_CORPUS = (*CORPUS, "Réponse : l'été à Zürich coûte 120 €, naïve façade. 東京の人口は1400万人です。\n" * 4)


def digits_split(*, vocabulary: int = 500, chat: bool = False, composed: bool = False) -> PreTrainedTokenizerFast:
    """Byte-level BPE that writes numbers digit by digit; ``composed`` normalises text as Qwen's tokenizer does."""
    tokenizer = Tokenizer.from_str(_digits_split(vocabulary))
    if composed:
        tokenizer.normalizer = normalizers.NFC()
    roles = [ROLE_START, ROLE_END] if chat else []
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", additional_special_tokens=roles)
    if chat:
        wrapped.chat_template = CHATML
    return wrapped


@cache
def _digits_split(vocabulary: int) -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    _train(tokenizer, trainers.BpeTrainer, vocabulary, ["</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    return tokenizer.to_str()


def sentence_piece(*, vocabulary: int = 220, byte_fallback: bool = True) -> PreTrainedTokenizerFast:
    """A Unigram model with U+2581 for spaces, one of them before every text; unknown characters as bytes or <unk>."""
    tokenizer = Tokenizer.from_str(_sentence_piece(vocabulary, byte_fallback))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")


@cache
def _sentence_piece(vocabulary: int, byte_fallback: bool) -> str:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    _train(tokenizer, trainers.UnigramTrainer, vocabulary, ["<unk>", "</s>"], unk_token="<unk>")
    if not byte_fallback:
        return tokenizer.to_str()
    described = json.loads(tokenizer.to_str())
    described["model"]["vocab"] += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    described["model"]["byte_fallback"] = True
    described["decoder"] = {  # Llama 2's
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    }
    return json.dumps(described)


def _train(tokenizer: Tokenizer, trainer: type, vocabulary: int, special: Sequence[str], **settings: object) -> None:
    tokenizer.train_from_iterator(
        OTHER_CORPUS, trainer(vocab_size=vocabulary, special_tokens=list(special), show_progress=False, **settings)
    )
