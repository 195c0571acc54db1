"""How a prompt and a response become tokens: the same for training and evaluation.

With a chat template the prompt is the user's turn followed by the opening of the assistant's. Nothing else is added,
but a template may do so itself: SmolLM2's puts the system turn "You are a helpful AI assistant named SmolLM, trained by
Hugging Face" in front where the conversation has none. Without a chat template the prompt is followed by a line break.

Prompt and response are tokenised separately, so that a prompt gives the same tokens whatever follows. Together they are
the tokens of the template's own rendering wherever the tokenizer never joins text over a line break followed by a
letter, digit or sign, as byte-level tokenizers do not. A response that starts with white space may differ there, and a
SentencePiece tokenizer may mark its first word with a space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from jinja2 import TemplateError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.errors import ModelError

PLAIN = "{prompt}\n"
_MARKER = "cotdistill"


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Token ids of ``prompt`` up to where the model's response starts, with the beginning-of-text token if used.

    Names of special tokens in the text of ``prompt`` become these tokens, as in the template.
    """
    if tokenizer.chat_template:
        return _plain_ids(tokenizer, _render(tokenizer, [{"role": "user", "content": prompt}], open_turn=True))
    ids = _plain_ids(tokenizer, PLAIN.format(prompt=prompt))
    return [*_beginning(tokenizer), *ids]


def encode_response(tokenizer: PreTrainedTokenizerBase, first_part: str, second_part: str) -> tuple[list[int], int]:
    """Token ids of a response, and the index of the first token of its second part.

    The two parts are tokenised as the one text that they are, without special tokens (names of such tokens in the
    text are spelt out). A token on both sides of the seam belongs to the second part. The stop token is not included.
    """
    encoding = tokenizer(
        first_part + second_part, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
    )
    ids: list[int] = encoding["input_ids"]
    ends = [end for _, end in encoding["offset_mapping"]]
    start = next((index for index, end in enumerate(ends) if end > len(first_part)), len(ids))
    return ids, start


def decode(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> str:
    """The text of generated tokens, special tokens left out."""
    return cast("str", tokenizer.decode(list(token_ids), skip_special_tokens=True))


def stop_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends the assistant's turn: the first special one that the chat template writes after its text,
    else the end-of-text token.

    Raises ModelError if the tokenizer has neither.
    """
    if tokenizer.chat_template:
        turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _MARKER}]
        _, _, ending = _render(tokenizer, turns, open_turn=False).rpartition(_MARKER)
        special = special_token_ids(tokenizer)
        for token_id in _plain_ids(tokenizer, ending):
            if token_id in special:
                return token_id
    end_of_text = cast("int | None", tokenizer.eos_token_id)
    if end_of_text is None:
        raise ModelError(
            "its tokenizer has no token that ends a response",
            where=tokenizer.name_or_path,
            remedy="set eos_token in its tokenizer_config.json",
        )
    return end_of_text


def stop_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """All tokens that end a response: the template's, the tokenizer's and those of the model's generation config."""
    declared = getattr(model.generation_config, "eos_token_id", None)
    listed = declared if isinstance(declared, Sequence) else [declared]
    ids = {stop_token_id(tokenizer), cast("int | None", tokenizer.eos_token_id), *listed}
    return frozenset(ids - {None})


def pad_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """A token to fill rows with; if possible not one that ends a response. It is always masked."""
    stop = stop_token_id(tokenizer)
    candidates = (tokenizer.pad_token_id, tokenizer.unk_token_id, *sorted(special_token_ids(tokenizer)))
    for token_id in cast("tuple[int | None, ...]", candidates):
        if token_id is not None and token_id not in (stop, tokenizer.eos_token_id):
            return token_id
    return stop


def special_token_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    added = tokenizer.added_tokens_decoder.items()
    return {token_id for token_id, token in added if token.special} | set(tokenizer.all_special_ids)


def _render(tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], *, open_turn: bool) -> str:
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=open_turn)
    except (TemplateError, ValueError, TypeError) as error:
        raise ModelError(
            f"its chat template fails on a plain question ({error})",
            where=tokenizer.name_or_path,
            remedy="correct the template in its folder",
        ) from None
    assert isinstance(text, str)
    return text


def _plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]  # pyright: ignore[reportReturnType]


def _beginning(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The beginning-of-text token, once, if the tokenizer itself puts one before a text."""
    first = tokenizer("x")["input_ids"][:1]  # pyright: ignore[reportIndexIssue]
    return list(first) if first == [tokenizer.bos_token_id] else []
