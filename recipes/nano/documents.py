"""What the nano family reads: our own prompts with the solver's responses, no format and no granularity preferred.

All texts come from the split ``pretrain`` of the procedural task, which shares no question with ``train`` or ``test``,
whatever the seeds. Six granularities in four formats are drawn alike, and so are three layouts: the plain prompt, the
chat template, and the chat template with the reasoning between its thinking marks.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from transformers import PreTrainedTokenizerBase

from cotdistill.config import PROCEDURAL_KINDS, ProceduralTask
from cotdistill.granularities import GRANULARITIES
from cotdistill.records import Question, Rationale
from cotdistill.tasks.procedural import generate_split, write_rationale
from cotdistill.tasks.procedural.rendering import RATIONALE_FORMATS
from cotdistill.tasks.prompts import Target, hint_of, prompt_text, response_of

Role = Literal["teacher", "student"]
Layout = Literal["plain", "chat", "thinking"]
LAYOUTS: tuple[Layout, ...] = ("plain", "chat", "thinking")

TARGETS: dict[Target, float] = {
    "rationale": 0.76,
    "answer": 0.12,
    "answer_then_rationale": 0.06,
    "predict": 0.03,
    "explain": 0.03,
}
"""Shares of what a prompt asks for; the last two are the two tasks of a multi-task student."""

DIFFICULTIES: dict[Role, dict[int, float]] = {"teacher": {1: 0.3, 2: 0.7}, "student": {1: 1.0}}
"""Shares of the difficulties. Difficulty 2, which the quickstart teaches and tests, is new to the student."""

SHARE_WITH_HINT = {"teacher": 0.05, "student": 0.0}
"""Of the teacher's prompts so many hold the rationale or the answer, as those of a privileged teacher do."""

POOL = 5000
"""Questions that are drawn together, all different; a kind with few different questions repeats some in the next."""


class Document(NamedTuple):
    """``prompt`` is read only; ``response`` and the stop token behind it are what a model learns to write."""

    prompt: str
    response: str


def documents(role: Role, count: int, tokenizer: PreTrainedTokenizerBase) -> list[Document]:
    """``count`` documents, the kinds in equal numbers, in an order of their own; the same at every call."""
    generator = random.Random(f"nano/{role}")
    questions = _questions(count, DIFFICULTIES[role], generator)
    found = [_document(role, question, tokenizer, generator) for question in questions]
    generator.shuffle(found)
    return found[:count]


def _questions(count: int, difficulties: Mapping[int, float], generator: random.Random) -> Iterator[Question]:
    for _ in range(math.ceil(count / POOL)):
        for difficulty, share in difficulties.items():
            task = ProceduralTask(kinds=PROCEDURAL_KINDS, difficulty=difficulty)
            yield from generate_split(task, "pretrain", round(POOL * share), generator.randrange(1 << 30))


def _document(role: Role, question: Question, tokenizer: PreTrainedTokenizerBase, generator: random.Random) -> Document:
    granularity, format = generator.choice(tuple(GRANULARITIES)), generator.choice(RATIONALE_FORMATS)
    (target,) = generator.choices(list(TARGETS), list(TARGETS.values()))
    text = None if target in ("answer", "predict") else write_rationale(question, granularity, format)
    rationale = Rationale(question, text, "procedural", granularity, format)
    hint = ""
    if generator.random() < SHARE_WITH_HINT[role]:
        hint = hint_of(rationale, generator.choice(("answer", "rationale")))
    prompt = prompt_text(question, target, hint)
    layout = generator.choice(LAYOUTS if target == "rationale" else LAYOUTS[:2])
    texts = [segment.text for segment in response_of(rationale, target).visible]
    return Document(*laid_out(layout, prompt, texts, tokenizer))


def laid_out(layout: Layout, prompt: str, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """A prompt and the texts of its response in a layout; the tokenizer has the chat template."""
    if layout == "plain":
        return f"{prompt}\n", "".join(texts)
    turns = [{"role": "user", "content": prompt}]
    thinking = layout == "thinking"
    opened = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, enable_thinking=thinking)
    assert isinstance(opened, str)
    return opened, f"{texts[0]}</think>\n\n{texts[1]}" if thinking else "".join(texts)
