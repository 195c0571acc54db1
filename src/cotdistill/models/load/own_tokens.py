"""A tokenizer as its own file defines it.

Transformers rebuilds some tokenizers from their vocabulary, with the class of the model's family, and then splits text
in that family's way: a distilled Qwen with another tokenizer gets 46 tokens instead of 37.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from cotdistill.errors import ModelError

logger = logging.getLogger(__name__)

_TEXT = (
    "Ann's got 120 apples;  Ben has 1931 (3.5 %) more, they'll say.\nStep 1: 120 + 1931 = 2051.\n\n"
    "\tif x_1 >= 10: print('Réponse')  # 東京 naïve\n The answer is 2051."
)
"""What families split in different ways: numbers, spaces, line breaks, apostrophes, signs and other scripts."""


def as_in_file(tokenizer: Any, folder: Path, *, name: str) -> PreTrainedTokenizerFast:
    """``tokenizer``, or the ``tokenizer.json`` of its ``folder`` if it splits text differently.

    Warns in that case. Raises ModelError if the file's tokens cannot be loaded.
    """
    in_file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    in_file.no_truncation()  # nor padding: transformers sets both for each call
    in_file.no_padding()
    own = in_file.encode(_TEXT, add_special_tokens=False).ids
    if _ids(tokenizer) == own:
        return tokenizer
    read = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    if _ids(read) != own:
        raise ModelError(
            "transformers splits text differently from its tokenizer.json",
            where=name,
            remedy="check tokenizer_config.json",
        )
    logger.warning(
        "%s: %s would split text differently from its tokenizer.json, so that file is used",
        name,
        type(tokenizer).__name__,
    )
    return read


def _ids(tokenizer: Any) -> list[int]:
    return tokenizer(_TEXT, add_special_tokens=False)["input_ids"]
