"""What a rationale does to the answer inside a model: to the gold answer's probability, and to where it attends.

Both are measured with the gold answer after "The answer is", so they do not depend on how a model words its statement.
If a teacher's rationale raises the gold answer's probability but the model's own does not, the student cannot produce
the reasoning; if a rationale is not attended to, the answer does not come from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.models.tokens.template import encode_prompt, encode_response
from cotdistill.records import Question
from cotdistill.tasks.answers.stripping import clean_rationale
from cotdistill.tasks.prompts import prompt_of
from cotdistill.tasks.segments import Region, Segment

OPENING = "The answer is"
MAX_ATTENTION_TOKENS = 1536
"""Attention weights take memory with the square of the tokens: 2.5 GB for these with SmolLM2."""


@dataclass(frozen=True, slots=True)
class RationaleEffect:
    """One question. ``effects`` maps a source of rationales (the model's own, a teacher's) to log p(answer | question,
    rationale) - log p(answer | question), in nats; ``baseline`` is the latter, which an empty rationale has."""

    id: str
    task: str
    baseline: float
    effects: dict[str, float]


def rationale_effects(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    rationales: Mapping[str, Mapping[str, str]],
) -> list[RationaleEffect]:
    """The effect of each source's rationales on their questions; ``rationales[source][question id]``.

    A closing statement of the answer is removed from a text.
    """
    found = []
    for question in questions:
        baseline = answer_log_probability(model, tokenizer, question, "")
        effects = {
            source: answer_log_probability(model, tokenizer, question, texts[question.id]) - baseline
            for source, texts in rationales.items()
            if question.id in texts
        }
        found.append(RationaleEffect(question.id, question.task, baseline, effects))
    return found


@torch.inference_mode()
def answer_log_probability(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, question: Question, rationale: str
) -> float:
    """log p of the gold answer and its full stop after prompt, rationale and "The answer is", in nats."""
    ids, _, answer_start = _encoded(tokenizer, question, rationale)
    logits = model(torch.tensor([ids], device=model.device), use_cache=False).logits[0, answer_start - 1 : -1]
    targets = torch.tensor(ids[answer_start:], device=model.device)
    chosen = logits.float().log_softmax(dim=-1).gather(1, targets[:, None])
    return float(chosen.sum())


@torch.inference_mode()
def attention_to_rationale(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, question: Question, rationale: str
) -> float | None:
    """The share of attention that goes to the rationale's tokens from where the gold answer's tokens are predicted.

    A mean over these positions, heads and layers, between 0 and 1; it grows with the rationale's share of the tokens.
    None beyond ``MAX_ATTENTION_TOKENS``.
    """
    ids, rationale_start, answer_start = _encoded(tokenizer, question, rationale)
    if len(ids) > MAX_ATTENTION_TOKENS:
        return None
    rationale_end = (
        rationale_start + len(_response(tokenizer, question, rationale)[0]) - len(_response(tokenizer, question, "")[0])
    )
    with _eager(model):
        output = model(torch.tensor([ids], device=model.device), use_cache=False, output_attentions=True)
    shares = [layer[0, :, answer_start - 1 : -1, rationale_start:rationale_end] for layer in output.attentions]
    return float(torch.stack([share.float().sum(dim=-1).mean() for share in shares]).mean())


def num_tokens(tokenizer: PreTrainedTokenizerBase, question: Question, rationale: str) -> int:
    """How many tokens a model reads to measure the effect of ``rationale``."""
    return len(_encoded(tokenizer, question, rationale)[0])


def _encoded(tokenizer: PreTrainedTokenizerBase, question: Question, rationale: str) -> tuple[list[int], int, int]:
    """Token ids of prompt and response, where the response starts, and where the answer after the opening does."""
    prompt = encode_prompt(tokenizer, prompt_of(question, "rationale"))
    response, start = _response(tokenizer, question, rationale)
    return [*prompt, *response], len(prompt), len(prompt) + start


def _response(tokenizer: PreTrainedTokenizerBase, question: Question, rationale: str) -> tuple[list[int], int]:
    reasoning = clean_rationale(rationale)
    opening = Segment(f"{reasoning}\n{OPENING}" if reasoning else OPENING, Region.PROMPT)
    ids, regions = encode_response(tokenizer, (opening, Segment(f" {question.answer}.", Region.ANSWER)))
    return ids, regions.count(Region.PROMPT)


@contextmanager
def _eager(model: PreTrainedModel) -> Iterator[None]:
    """Only plain attention returns its weights."""
    before = model.config._attn_implementation or "sdpa"
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
