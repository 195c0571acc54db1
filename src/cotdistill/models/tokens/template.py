"""How a prompt and a response become tokens: the same for training and evaluation.

With a chat template the prompt is the conversation followed by the opening of the assistant's turn. Nothing else is
added, but a template may do so itself: SmolLM2's puts the system turn "You are a helpful AI assistant named SmolLM,
trained by Hugging Face" in front where the conversation has none. Without a chat template the prompt is followed by a
line break.

Prompt and response are tokenised separately, so that a prompt gives the same tokens whatever follows. Together they are
the tokens of the template's own rendering wherever the tokenizer never joins text over a line break followed by a
letter, digit or sign, as byte-level tokenizers do not. A response that starts with white space may differ there, and a
SentencePiece tokenizer may mark its first word with a space.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.config import Message as Said
from cotdistill.errors import ModelError
from cotdistill.models.tokens.counting import whole
from cotdistill.models.tokens.framing import (
    Framing,
    Message,
    cannot_think,
    framing,
    render,
    special_token_ids,
)
from cotdistill.tasks.segments import Region, Segment

Prompt = str | Sequence[Message] | Sequence[Said]
"""A user's turn, or a conversation that ends with one."""

PLAIN = "{prompt}\n"


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Token ids of ``prompt`` up to where the model's response starts, with the beginning-of-text token if used.

    Names of special tokens in it become these tokens, as in the template.
    """
    return encode_prompts(tokenizer, [prompt])[0]


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]) -> list[list[int]]:
    """As :func:`encode_prompt` of each, tokenised together."""
    if not prompts:
        return []
    frame = framing(tokenizer)
    texts = [whole(_prompt_text(tokenizer, frame, prompt)) for prompt in prompts]
    encoded = cast("list[list[int]]", tokenizer(texts, add_special_tokens=False)["input_ids"])
    return [[*frame.beginning, *ids] for ids in encoded]


def _prompt_text(tokenizer: PreTrainedTokenizerBase, frame: Framing, prompt: Prompt) -> str:
    messages = _messages(prompt)
    if tokenizer.chat_template:
        return render(tokenizer, messages, in_parts=frame.in_parts, open_turn=True)
    return "".join(PLAIN.format(prompt=message["content"]) for message in messages)


def _messages(prompt: Prompt) -> list[Message]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [message._asdict() if isinstance(message, Said) else message for message in prompt]


def framed(tokenizer: PreTrainedTokenizerBase, reasoning: str, visible: Sequence[Segment]) -> tuple[Segment, ...]:
    """A response with what the template writes around ``reasoning``, or before a response without it.

    The marks around reasoning belong to it; those of an empty block to what follows. Raises ModelError for reasoning
    where the template can have none.
    """
    frame = framing(tokenizer)
    if not reasoning:
        region = visible[0].region if visible else Region.END
        return (*([Segment(frame.empty, region, mark=True)] if frame.empty else []), *visible)
    if frame.opening is None or frame.closing is None:
        raise cannot_think(tokenizer)
    before, after = (Segment(text, Region.REASONING, mark=True) for text in (frame.opening, frame.closing))
    return (before, Segment(reasoning, Region.REASONING), after, *visible)


def encode_response(tokenizer: PreTrainedTokenizerBase, segments: Sequence[Segment]) -> tuple[list[int], list[Region]]:
    """Token ids of a response, and the region of each. The stop token is not included."""
    return encode_responses(tokenizer, [segments])[0]


def encode_responses(
    tokenizer: PreTrainedTokenizerBase, responses: Sequence[Sequence[Segment]]
) -> list[tuple[list[int], list[Region]]]:
    """As :func:`encode_response` of each, tokenised together.

    The texts of a response are tokenised as the one text that they are, without special tokens (names of such tokens
    are spelt out, but in marks). A token on both sides of a seam belongs to what follows it.
    """
    frame = framing(tokenizer)
    cut = [list(_stretches(frame, segments)) for segments in responses]
    texts = [whole("".join(segment.text for segment in stretch)) for stretches in cut for stretch in stretches]
    if not texts:
        return [([], []) for _ in responses]
    encoded = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
    pairs = zip(cast("list[list[int]]", encoded["input_ids"]), encoded["offset_mapping"], strict=True)
    found: list[tuple[list[int], list[Region]]] = []
    for stretches in cut:
        ids: list[int] = []
        regions: list[Region] = []
        for stretch in stretches:
            own, offsets = next(pairs)
            if _is_special(frame, stretch):
                ids.append(cast("int", tokenizer.convert_tokens_to_ids(stretch[0].text)))
                regions.append(stretch[0].region)
            else:
                ids += own
                regions += _regions(stretch, [end for _, end in offsets])
        found.append((ids, regions))
    return found


def _is_special(frame: Framing, stretch: Sequence[Segment]) -> bool:
    return len(stretch) == 1 and stretch[0].mark and bool(frame.special.fullmatch(stretch[0].text))


def _stretches(frame: Framing, segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """The segments, cut around the special tokens that marks name: nothing is ever joined over one."""
    stretch: list[Segment] = []
    for segment in segments:
        place = 0
        for name in frame.special.finditer(segment.text) if segment.mark else ():
            yield [*stretch, segment._replace(text=segment.text[place : name.start()])]
            yield [segment._replace(text=name[0])]
            stretch, place = [], name.end()
        stretch.append(segment._replace(text=segment.text[place:]))
    yield stretch


def _regions(stretch: Sequence[Segment], ends: Sequence[int]) -> list[Region]:
    """The region of each token, from where tokens end in the stretch."""
    reached = list(accumulate(ends, max))
    regions: list[Region] = []
    for segment, end in zip(stretch, accumulate(len(each.text) for each in stretch), strict=True):
        regions += [segment.region] * (bisect_right(reached, end) - len(regions))
    return regions + [stretch[-1].region] * (len(ends) - len(regions)) if stretch else []


def decode(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> str:
    """The text of generated tokens, special tokens left out."""
    return cast("str", tokenizer.decode(list(token_ids), skip_special_tokens=True))


def stop_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends the assistant's turn: the first special one that the chat template writes after its text,
    else the end-of-text token.

    Raises ModelError if the tokenizer has neither.
    """
    stop = framing(tokenizer).stop
    if stop is None:
        raise ModelError(
            "its tokenizer has no token that ends a response",
            where=tokenizer.name_or_path,
            remedy="set eos_token in its tokenizer_config.json",
        )
    return stop


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
