"""A student's own chat template: a bare question gets exactly the prompt that the student was trained with."""

from __future__ import annotations

import copy

import pytest
from tests.tiny import CHATML
from tests.token_families import digits_split, sentence_piece
from transformers import PreTrainedTokenizerBase

from cotdistill.config import ModelConfig
from cotdistill.models.load.loading import load_tokenizer
from cotdistill.models.tokens.instruction import add_instruction, encode_question
from cotdistill.models.tokens.template import encode_prompt, stop_token_id
from cotdistill.models.tokens.thinking import set_arguments
from cotdistill.records import Question
from cotdistill.tasks.prompts import INSTRUCTION_MARK, Target, around_question, prompt_text

IN_PARTS = (
    "{% for m in messages %}<|{{ m.role }}|>{% for part in m.content %}{{ part.text }}{% endfor %}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tokenizers() -> dict[str, PreTrainedTokenizerBase]:
    parts = digits_split(chat=True)
    parts.chat_template = IN_PARTS
    return {
        "nano": load_tokenizer(ModelConfig(model="builtin:nano-student")),
        "chatml": digits_split(chat=True),
        "plain": digits_split(),
        "in parts": parts,
        "plain sentence piece": sentence_piece(),
    }


@pytest.mark.parametrize("name", [name for name in tokenizers() if name != "plain sentence piece"])
@pytest.mark.parametrize("target", ["rationale", "answer", "answer_then_rationale", "predict"])
def test_a_bare_question_is_put_as_in_the_training(name: str, target: Target) -> None:
    tokenizer = tokenizers()[name]
    before, after = around_question("number", target)
    asked = "Ann has 3 cats. How many eyes is that?"
    trained, stop = encode_prompt(tokenizer, before + asked + after), stop_token_id(tokenizer)
    assert add_instruction(tokenizer, before, after, INSTRUCTION_MARK)
    assert encode_question(tokenizer, asked) == trained
    assert encode_prompt(tokenizer, before + asked + after) == trained
    assert encode_question(tokenizer, before + asked + after) == trained  # by somebody who knows the sentence
    assert stop_token_id(tokenizer) == stop


def test_our_own_prompts_are_never_instructed_twice_and_the_last_turn_alone_is() -> None:
    tokenizer = digits_split(chat=True)
    untouched = copy.deepcopy(tokenizer)
    assert add_instruction(tokenizer, *around_question("letter", "rationale"), INSTRUCTION_MARK)
    own = "explain: Why?\nThink step by step, without stating the answer."
    assert encode_prompt(tokenizer, own) == encode_prompt(untouched, own)
    turns = [
        {"role": role, "content": text} for role, text in (("user", "one"), ("assistant", "two"), ("user", "three"))
    ]
    shown = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert (shown.count(INSTRUCTION_MARK), shown.index(INSTRUCTION_MARK) > shown.index("three")) == (1, True)


@pytest.mark.parametrize("name", [name for name in tokenizers() if name != "plain sentence piece"])
def test_of_a_student_of_a_student_only_the_last_instruction_is_kept(name: str) -> None:
    """Its template is the one that it would have without the first training; also behind what loading puts before."""
    twice, once = tokenizers()[name], tokenizers()[name]
    assert add_instruction(twice, *around_question("number", "answer"), INSTRUCTION_MARK)
    assert add_instruction(twice, *around_question("letter", "rationale"), INSTRUCTION_MARK)
    assert add_instruction(once, *around_question("letter", "rationale"), INSTRUCTION_MARK)
    assert twice.chat_template == once.chat_template
    set_arguments(twice, {"enable_thinking": False})
    set_arguments(once, {"enable_thinking": False})
    assert add_instruction(twice, *around_question("number", "predict"), INSTRUCTION_MARK)
    assert str(twice.chat_template).count("BEFORE") == 0
    assert str(twice.chat_template).count("as this student was trained") == 1
    shown = twice.decode(encode_question(twice, "2 + 2?"))
    assert "Think step by step" not in shown
    assert shown.count(INSTRUCTION_MARK) == 1


def test_a_bare_question_with_its_choices_is_put_as_one_with_choices() -> None:
    tokenizer = digits_split(chat=True)
    question = Question("q", "own", "test", "Which one flies?", "B", "letter", ("cat", "owl"))
    trained = encode_prompt(tokenizer, prompt_text(question, "rationale"))
    assert add_instruction(tokenizer, *around_question("letter", "rationale"), INSTRUCTION_MARK)
    assert encode_question(tokenizer, "Which one flies?\n(A) cat\n(B) owl") == trained


def test_where_the_template_cannot_hold_it_nothing_changes() -> None:
    tokenizer = digits_split(chat=True)
    tokenizer.chat_template = {"default": CHATML, "tool_use": CHATML}
    assert not add_instruction(tokenizer, "", "\nReply.", INSTRUCTION_MARK)
    assert tokenizer.chat_template == {"default": CHATML, "tool_use": CHATML}
