"""How many tokens texts have, without torch: the tokenizer's file alone is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cotdistill.config import ModelConfig
from cotdistill.models.load import builtin
from cotdistill.models.load.source import is_hub_name, locate

FILE = "tokenizer.json"
_HALVES = re.compile("[\ud800-\udfff]")
Count = Callable[[Sequence[str]], list[int]]


def token_counter(model: ModelConfig) -> Count | None:
    """Counts the tokens of texts, without any that a template adds; None if the model's ``tokenizer.json`` is not on
    this machine yet. Raises ModelError for a folder that does not exist."""
    file = _file(model)
    if file is None or not file.is_file():
        return None
    tokenizer = _tokenizer(file, file.stat().st_mtime_ns)
    return lambda texts: [
        len(found.ids) for found in tokenizer.encode_batch_fast([*map(whole, texts)], add_special_tokens=False)
    ]


def whole(text: str) -> str:
    """``text`` with U+FFFD for each half of a character, which JSON can hold and a tokenizer cannot."""
    return text if text.isascii() else _HALVES.sub("\ufffd", text)


def _file(model: ModelConfig) -> Path | None:
    if model.model == builtin.SMOLLM2 and not builtin.is_converted():
        return None
    if not is_hub_name(model.model):
        return locate(model) / FILE
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model.model, FILE, revision=model.revision)
    return Path(found) if isinstance(found, str) else None


@cache
def _tokenizer(file: Path, written: int) -> Any:
    """``written``: when the file was."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
