"""Our tokens against what real chat templates render: those that the package trl installs, and our own.

They are read from an installed trl (``make bench-env``) or from the folder that COTDISTILL_TEMPLATES names.
"""

from __future__ import annotations

import importlib.util
import os
import re
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest
from tests.tiny import CORPUS
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import cotdistill
from cotdistill.errors import ModelError
from cotdistill.models.tokens.framing import framing, render
from cotdistill.models.tokens.template import encode_prompt, encode_response, framed, stop_token_id
from cotdistill.models.tokens.thinking import read_response, settle
from cotdistill.tasks.segments import Region, Segment

QUESTION = "Ann has 12 apples and gives 5 away.\nHow many are left?"
THOUGHT = "Ann has 12 apples.\n\nShe gives 5 away: 12 - 5 = 7."
ANSWER = "The answer is 7."

WEIGHTS = Path(cotdistill.__file__).parent / "models" / "load" / "weights"
OURS = {folder.name: folder / "chat_template.jinja" for folder in sorted(WEIGHTS.iterdir())}

_SPECIAL = re.compile(
    r"<[|｜][^<>{}'\"\n]{1,30}[|｜]>|<\|?[a-z_]{1,20}\|>|<\|[a-z]{1,10}>|</?[a-z]+_of_[a-z]+>|\[/?INST\]|</?s>"
)
_ADDED = re.compile(r"</?think>")

LEFT_OUT = {"deepseek_r1_distill", "deepseekv3"}
"""They drop what was thought from a conversation, so nothing renders the reasoning that their prompts ask for."""

MARKS_UNKNOWN = {"gemma4", "gemma4_v2", "gemma4_v3", "gemma4_v4"}
"""They speak of thinking but render no reasoning in an answer."""

THINKS = {
    "deepseek_r1_distill", "deepseekv3", "glm4moe", "nemotron_3_5_lightning", "nemotron_3_nano", "nemotron_3_super",
    "nemotron_3_ultra", "qwen3", "qwen3_5_think", "qwen3_6", "qwen3_8",
}  # fmt: skip
"""Those that think unless told otherwise."""


def _installed() -> dict[str, Path]:
    folder = os.environ.get("COTDISTILL_TEMPLATES")
    if folder is None and (found := importlib.util.find_spec("trl")) and found.origin:
        folder = Path(found.origin).parent / "chat_templates"
    files = sorted(Path(folder).glob("*.jinja")) if folder else []
    return {file.stem: file for file in files if not file.stem.endswith("_training")}


TEMPLATES = _installed() | OURS
each_template = pytest.mark.parametrize("name", TEMPLATES)


@cache
def _tokenizer_file(template: str) -> str:
    """A byte-level tokenizer that splits text as Qwen's does and has the template's special tokens."""
    tokenizer = Tokenizer(models.BPE())
    words, marks = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}", r" ?[^\s\p{L}\p{N}]+[\r\n]*"
    split = pre_tokenizers.Split(Regex(rf"{words}|{marks}|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    names = sorted({*_SPECIAL.findall(template), "<bos>", "<eos>"})
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=names, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([*CORPUS, *CORPUS, "7.\n\n12.\n>\n>\n\n"], trainer)
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in sorted({*_ADDED.findall(template)})])
    return tokenizer.to_str()


def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    template = TEMPLATES[name].read_text(encoding="utf-8")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_tokenizer_file(template)), bos_token="<bos>", eos_token="<eos>"
    )
    tokenizer.chat_template = template
    return tokenizer


def rendered(tokenizer: PreTrainedTokenizerFast, answer: str | None, thought: str | None = None) -> list[int]:
    """The tokens of the template's own text: of a whole turn, or of the prompt."""
    messages = [{"role": "user", "content": QUESTION}]
    if answer is not None:
        turn = {"role": "assistant", "content": answer}
        messages.append(turn | ({"reasoning_content": thought, "thinking": thought} if thought else {}))
    text = render(tokenizer, messages, in_parts=framing(tokenizer).in_parts, open_turn=answer is None)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def ours(tokenizer: PreTrainedTokenizerFast, thought: str) -> tuple[list[int], list[Region]]:
    """Our tokens of prompt, response and stop token, and the regions of the response."""
    segments = framed(tokenizer, thought, [Segment(ANSWER, Region.ANSWER)])
    ids, regions = encode_response(tokenizer, segments)
    return [*encode_prompt(tokenizer, QUESTION), *ids, stop_token_id(tokenizer)], regions


def same(one: list[int], other: list[int]) -> int:
    return len([*takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))])


def differs_only_in_its_stop(mine: list[int], theirs: list[int]) -> bool:
    """A template may end a turn without any special token (GLM's); then the end of the text stops it."""
    return theirs[: len(mine)] == mine or (theirs == mine[:-1])


@pytest.mark.skipif(not _installed(), reason="needs trl's chat templates: make bench-env, or COTDISTILL_TEMPLATES")
def test_all_of_trls_templates_are_here() -> None:
    assert len(_installed()) >= 41


@each_template
def test_our_prompt_is_the_generation_prompt_and_asks_the_question(name: str) -> None:
    tokenizer = tokenizer_of(name)
    assert encode_prompt(tokenizer, QUESTION) == rendered(tokenizer, None)
    assert QUESTION in tokenizer.decode(encode_prompt(tokenizer, QUESTION))


@each_template
def test_a_template_thinks_by_default_if_it_opens_or_closes_a_block_by_itself(name: str) -> None:
    assert settle(tokenizer_of(name), None) == ("think" if name in THINKS else "plain")


@each_template
def test_a_plain_response_is_the_rendering_of_an_answer_alone(name: str) -> None:
    tokenizer = tokenizer_of(name)
    assert settle(tokenizer, "plain") == "plain"
    assert encode_prompt(tokenizer, QUESTION) == rendered(tokenizer, None)
    mine, regions = ours(tokenizer, "")
    assert set(regions) == {Region.ANSWER}
    if name not in LEFT_OUT:
        assert differs_only_in_its_stop(mine, rendered(tokenizer, ANSWER))
    else:  # the prompt opens a block that nothing but the response can close
        prompt = tokenizer.decode(encode_prompt(tokenizer, QUESTION))
        assert tokenizer.decode(mine[:-1]) == f"{prompt}\n</think>\n\n{ANSWER}"
    start = len(encode_prompt(tokenizer, QUESTION))
    written = read_response(tokenizer, mine[:start], mine[start:-1])
    assert (written.num_reasoning_tokens, written.closed) == (0, True)


@each_template
def test_a_thought_and_an_answer_are_the_rendering_of_both(name: str) -> None:
    tokenizer = tokenizer_of(name)
    if name in MARKS_UNKNOWN:
        with pytest.raises(ModelError, match="its chat template cannot have reasoning in a response"):
            settle(tokenizer, "think")
        return
    assert settle(tokenizer, "think") == "think"
    assert encode_prompt(tokenizer, QUESTION) == rendered(tokenizer, None)
    mine, regions = ours(tokenizer, THOUGHT)
    start = len(encode_prompt(tokenizer, QUESTION))
    if name in LEFT_OUT:
        text = f"{tokenizer.decode(mine[:start])}{THOUGHT}\n</think>\n\n{ANSWER}"
        assert mine[:-1] == tokenizer(text, add_special_tokens=False)["input_ids"]
    elif THOUGHT not in tokenizer.decode(rendered(tokenizer, ANSWER, THOUGHT)):
        inline = f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"  # a template that knows no thinking: plain text
        assert differs_only_in_its_stop(mine, rendered(tokenizer, inline))
    else:
        assert differs_only_in_its_stop(mine, rendered(tokenizer, ANSWER, THOUGHT))
    assert regions == sorted(regions)
    written = read_response(tokenizer, mine[:start], mine[start:-1])
    assert written.closed
    assert written.num_reasoning_tokens == regions.count(Region.REASONING)
    assert tokenizer.decode(mine[start:-1][written.num_reasoning_tokens :]) == ANSWER


@each_template
def test_what_is_settled_is_saved_with_the_template(name: str, tmp_path: Path) -> None:
    for response in ("plain", *(() if name in MARKS_UNKNOWN else ("think",))):
        tokenizer = tokenizer_of(name)
        settle(tokenizer, response)
        tokenizer.save_pretrained(tmp_path / response)
        again = PreTrainedTokenizerFast.from_pretrained(tmp_path / response)
        assert encode_prompt(again, QUESTION) == encode_prompt(tokenizer, QUESTION)
        assert settle(again, response) == response
        assert encode_prompt(again, QUESTION) == encode_prompt(tokenizer, QUESTION)
