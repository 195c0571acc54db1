"""Conversations and system messages as a model reads them: the same tokens in training and evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.tiny import tiny_model, tiny_tokenizer

from cotdistill.config import ModelConfig
from cotdistill.errors import ModelError
from cotdistill.models.load.loading import load_tokenizer, model_identity
from cotdistill.models.tokens.template import encode_prompt
from cotdistill.records import Question, Rationale, Turn
from cotdistill.tasks.prompts import prompt_of, prompt_text
from cotdistill.training.data.examples import Region, make_example, make_examples

TURNS = (Turn("system", "You are terse."), Turn("user", "Hello."), Turn("assistant", "Hi.", "A greeting."))
QUESTION = Question("q", "own", "train", "What is 1 + 1?", "2", "number", turns=TURNS)
RATIONALE = Rationale(QUESTION, "1 and 1 make 2.", "me", None, "human")


def chat_model(folder: Path) -> ModelConfig:
    tokenizer = tiny_tokenizer(chat=True)
    tokenizer.save_pretrained(folder)
    tiny_model(len(tokenizer)).save_pretrained(folder)
    return ModelConfig(model=str(folder))


def test_turns_are_the_prompt_in_training_and_evaluation_and_carry_no_loss() -> None:
    tokenizer = tiny_tokenizer(chat=True)
    example = make_example(RATIONALE, tokenizer)
    messages = [{"role": turn.role, "content": turn.content} for turn in TURNS]
    messages.append({"role": "user", "content": prompt_text(QUESTION, "rationale")})
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert example.prompt == tokenizer(rendered, add_special_tokens=False)["input_ids"]
    assert example.regions.count(Region.PROMPT) == len(example.prompt) - 1
    assert encode_prompt(tokenizer, prompt_of(QUESTION, "rationale")) == example.prompt
    alone = replace(QUESTION, turns=None)
    assert prompt_of(alone, "rationale") == prompt_text(QUESTION, "rationale")


def test_every_turn_of_the_assistant_is_an_example_where_all_carry_loss() -> None:
    tokenizer = tiny_tokenizer(chat=True)
    limits = {"max_length": 512, "too_long": "error"}
    (last,), _ = make_examples([RATIONALE], tokenizer, **limits)
    (earlier, same), _ = make_examples([RATIONALE], tokenizer, **limits, loss_turns="all")
    assert same == last
    system, hello = ({"role": turn.role, "content": turn.content} for turn in TURNS[:2])
    assert earlier.prompt == encode_prompt(tokenizer, [system, hello])
    assert tokenizer.decode(earlier.loss_targets) == "A greeting.\nHi.<|im_end|>"
    (thinking, _), _ = make_examples([RATIONALE], tokenizer, **limits, loss_turns="all", thinks=True)
    assert tokenizer.decode(thinking.loss_targets) == "<think>\nA greeting.\n</think>\n\nHi.<|im_end|>"
    teacher = make_examples([RATIONALE], tokenizer, **limits, loss_turns="all", context="answer")[0][0].teacher_prompt
    assert teacher == earlier.prompt, "the gold answer says nothing of an earlier turn"


def test_a_system_message_stands_before_every_conversation_without_one(tmp_path: Path) -> None:
    plain = chat_model(tmp_path / "plain")
    told = plain.model_copy(update={"system": 'Say "no" to {{ braces }}.'})
    assert model_identity(told) != model_identity(plain)
    tokenizer = load_tokenizer(told)
    first = [{"role": "system", "content": told.system}]
    asked = [{"role": "user", "content": "1 + 1?"}]
    assert encode_prompt(tokenizer, "1 + 1?") == encode_prompt(load_tokenizer(plain), first + asked)
    own = [{"role": "system", "content": "Mine."}, *asked]
    assert encode_prompt(tokenizer, own) == encode_prompt(load_tokenizer(plain), own)
    tokenizer.save_pretrained(tmp_path / "student")
    saved = load_tokenizer(ModelConfig(model=str(tmp_path / "student")))
    assert encode_prompt(saved, "1 + 1?") == encode_prompt(tokenizer, "1 + 1?"), "a student keeps it"


def test_a_model_without_a_chat_template_has_no_system_message(tmp_path: Path) -> None:
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"no chat template that could hold a system message; delete student\.system"):
        load_tokenizer(ModelConfig(model=str(tmp_path), system="Be terse."))
