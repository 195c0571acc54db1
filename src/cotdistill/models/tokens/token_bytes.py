"""What each token of a vocabulary writes, as bytes: the one measure that all tokenizers share.

Byte-level tokenizers (GPT-2's, Llama 3's, Qwen's, SmolLM2's) spell every byte as one printable character; SentencePiece
ones (Llama 2's, Mistral's, Gemma's) write a space as U+2581 and, for characters that they lack, single bytes as <0xE6>.
Text offsets cannot serve instead: all tokens that share one character get the same ones.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from cotdistill.errors import ModelError
from cotdistill.models.tokens.framing import special_token_ids

SPACE = "\u2581"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def token_bytes(tokenizer: PreTrainedTokenizerBase) -> dict[int, bytes]:
    """The bytes of every token by id, without special tokens, which are not text.

    Raises ModelError for a tokenizer that is neither byte-level nor SentencePiece.
    """
    spell = _speller(tokenizer)
    special = special_token_ids(tokenizer)
    added = tokenizer.added_tokens_decoder
    return {
        token_id: added[token_id].content.encode() if token_id in added else spell(token)
        for token, token_id in tokenizer.get_vocab().items()
        if token_id not in special
    }


def spelled(pieces: list[bytes], text: str) -> list[bytes] | None:
    """``pieces`` as parts of ``text``: without the space that SentencePiece puts before a text; None if they are
    not its bytes (a normaliser changed them)."""
    written, wanted = b"".join(pieces), text.encode()
    if written == b" " + wanted:
        first = next(index for index, piece in enumerate(pieces) if piece)
        return [*pieces[:first], pieces[first][1:], *pieces[first + 1 :]]
    return pieces if written == wanted else None


def _speller(tokenizer: PreTrainedTokenizerBase) -> Any:
    decoder = cast("PreTrainedTokenizerFast", tokenizer).backend_tokenizer.decoder
    steps = _steps(json.loads(decoder.__getstate__())) if decoder else []
    kinds = {step["type"] for step in steps}
    if "ByteLevel" in kinds:
        return _byte_level
    if "Metaspace" in kinds or any(step.get("pattern") == {"String": SPACE} for step in steps):
        return _byte_fallback if "ByteFallback" in kinds else _metaspace
    raise ModelError(
        "the bytes of its tokens are unknown: it is neither a byte-level nor a SentencePiece tokenizer",
        where=tokenizer.name_or_path,
        remedy="set alignment: sorted_probability, or choose another model",
    )


def _steps(decoder: dict[str, Any]) -> list[dict[str, Any]]:
    return decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]


def _byte_level(token: str) -> bytes:
    if all(character in _BYTE_OF for character in token):
        return bytes(_BYTE_OF[character] for character in token)
    return token.encode()  # as the decoder itself does


def _metaspace(token: str) -> bytes:
    return token.replace(SPACE, " ").encode()


def _byte_fallback(token: str) -> bytes:
    byte = _BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else _metaspace(token)


def _byte_characters() -> dict[str, int]:
    """GPT-2's table: printable Latin-1 bytes stand for themselves, the others for characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTE_OF = _byte_characters()
