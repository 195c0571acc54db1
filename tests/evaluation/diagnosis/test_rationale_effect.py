"""What a rationale does to the gold answer's probability and to attention, on a tiny model."""

from __future__ import annotations

import pytest
import torch
from tests.tiny import tiny_model, tiny_tokenizer

from cotdistill.evaluation.diagnosis.rationale_effect import (
    answer_log_probability,
    attention_to_rationale,
    rationale_effects,
)
from cotdistill.models.tokens.template import encode_prompt
from cotdistill.records import Question
from cotdistill.tasks.prompts import prompt_text

QUESTION = Question("q", "own", "test", "Ann has 12 apples and gives 5 to Ben. How many?", "7", "number")
RATIONALE = "Step 1: Ann has 12 apples. Step 2: She gives away 5. Step 3: 12 - 5 = 7."


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture
def model(tokenizer):
    return tiny_model(len(tokenizer))


def test_the_answers_probability_is_that_of_its_tokens_one_by_one(model, tokenizer):
    prompt = encode_prompt(tokenizer, prompt_text(QUESTION, "rationale"))
    before = prompt + tokenizer(f"{RATIONALE}\nThe answer is", add_special_tokens=False)["input_ids"]
    expected = 0.0
    for token in tokenizer(" 7.", add_special_tokens=False)["input_ids"]:
        with torch.inference_mode():
            expected += float(model(torch.tensor([before])).logits[0, -1].log_softmax(dim=-1)[token])
        before = [*before, token]
    assert answer_log_probability(model, tokenizer, QUESTION, RATIONALE) == pytest.approx(expected, abs=1e-4)


def test_effects_are_differences_from_no_rationale(model, tokenizer):
    own = {"q": f"{RATIONALE} The answer is 9."}
    (effect,) = rationale_effects(model, tokenizer, [QUESTION], {"own": own, "empty": {"q": ""}, "teacher": {}})
    assert set(effect.effects) == {"own", "empty"}
    assert effect.effects["empty"] == 0.0
    with_own = answer_log_probability(model, tokenizer, QUESTION, RATIONALE)
    assert effect.effects["own"] == pytest.approx(with_own - effect.baseline, abs=1e-5)
    assert effect.effects["own"] != 0.0


def test_even_attention_gives_the_rationale_its_share_of_the_tokens(model, tokenizer):
    for layer in model.model.layers:
        torch.nn.init.zeros_(layer.self_attn.q_proj.weight)  # all scores are 0: every token seen gets the same
    num_prompt = len(encode_prompt(tokenizer, prompt_text(QUESTION, "rationale")))
    num_rationale = len(tokenizer(f"{RATIONALE}\n", add_special_tokens=False)["input_ids"])
    num_opening = len(tokenizer("The answer is", add_special_tokens=False)["input_ids"])
    num_answer = len(tokenizer(" 7.", add_special_tokens=False)["input_ids"])
    seen = [num_prompt + num_rationale + num_opening + i for i in range(num_answer)]
    expected = sum(num_rationale / num for num in seen) / num_answer
    before = model.config._attn_implementation
    assert attention_to_rationale(model, tokenizer, QUESTION, RATIONALE) == pytest.approx(expected, abs=1e-5)
    assert attention_to_rationale(model, tokenizer, QUESTION, "") == 0.0
    assert model.config._attn_implementation == before
