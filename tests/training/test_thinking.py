"""Students that think: what goes between their marks, with every target, signal and way of sampling."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import CHATML, ROLE_END, tiny_model, tiny_tokenizer
from tests.token_families import digits_split
from transformers import PreTrainedTokenizerFast

from cotdistill.config import CrossEntropy, EvaluationConfig, ModelConfig, OnPolicy, Sampling
from cotdistill.engines.engine import Completion, Request
from cotdistill.engines.transformers_engine import TransformersEngine
from cotdistill.errors import DataError, ModelError
from cotdistill.models.generate.generation import Generated
from cotdistill.models.load.builtin import builtin_folder
from cotdistill.models.load.loading import load_tokenizer
from cotdistill.models.load.source import model_identity
from cotdistill.models.tokens.instruction import add_instruction
from cotdistill.models.tokens.template import decode, encode_prompt, stop_token_id
from cotdistill.models.tokens.thinking import read_response, settle
from cotdistill.records import Question, Rationale
from cotdistill.tasks.segments import Region
from cotdistill.training.data.batches import collate, task_groups
from cotdistill.training.data.examples import Example, make_example, make_examples, refuse_unseen_regions
from cotdistill.training.rollouts import Rollouts, sampled
from cotdistill.training.signals.alignment import align
from cotdistill.training.step import DistillationLoss, accumulate

QUESTION = Question("q", "own", "train", "What is 3 + 4?", "7", "number")
SAID = Rationale(QUESTION, "3 + 4 = 7.", "me", 3, "cot")
THOUGHT = replace(SAID, reasoning="Three. Four more: 7.")
ANSWER_ONLY = Rationale(QUESTION, None, "me", None, "answer_only")

PREFILLED = CHATML.replace("assistant\n' }}{% endif", "assistant\n<think>\n' }}{% endif").replace(
    "message['content'] +", "message['content'].split('</think>')[-1].lstrip() +"
)
"""As DeepSeek-R1's: the prompt opens the block, and nothing else shows one."""


def tokenizer_with(template: str = CHATML) -> PreTrainedTokenizerFast:
    tokenizer = tiny_tokenizer(chat=True)
    tokenizer.chat_template = template
    return tokenizer


def taught(example: Example, tokenizer: PreTrainedTokenizerFast) -> list[tuple[str, str]]:
    """Region and text of each stretch that carries loss."""
    parts: list[tuple[Region, list[int]]] = []
    for token, region in zip(example.targets, example.regions, strict=True):
        if region and (not parts or parts[-1][0] is not region):
            parts.append((region, []))
        if region:
            parts[-1][1].append(token)
    return [(region.name, tokenizer.decode(tokens)) for region, tokens in parts]


END = ("END", ROLE_END)
CLOSED = "3 + 4 = 7.\n</think>\n\n"
ANSWER = ("ANSWER", "The answer is 7.")


def test_a_rationale_is_thought_and_only_the_answer_said() -> None:
    tokenizer = tokenizer_with()
    assert taught(make_example(SAID, tokenizer, thinks=True), tokenizer) == [
        ("REASONING", f"<think>\n{CLOSED}"), ANSWER, END,
    ]  # fmt: skip
    tokenizer = tokenizer_with(PREFILLED)
    assert settle(tokenizer, None) == "think"
    example = make_example(SAID, tokenizer, thinks=True)
    assert tokenizer.decode(example.prompt).endswith("<think>\n")
    assert taught(example, tokenizer) == [("REASONING", CLOSED), ANSWER, END]


def test_what_a_teacher_thought_goes_into_the_block_and_what_it_said_behind_it() -> None:
    tokenizer = tokenizer_with(PREFILLED)
    thought = ("REASONING", "Three. Four more: 7.\n</think>\n\n")
    said = ("RATIONALE", "3 + 4 = 7.\n")
    assert taught(make_example(THOUGHT, tokenizer, thinks=True), tokenizer) == [thought, said, ANSWER, END]
    plain = tokenizer_with()
    assert taught(make_example(THOUGHT, plain), plain) == [
        ("REASONING", "Three. Four more: 7.\n"), said, ANSWER, END,
    ]  # fmt: skip
    silent = replace(THOUGHT, rationale=None)
    assert taught(make_example(silent, tokenizer, thinks=True), tokenizer) == [thought, ANSWER, END]


def test_a_block_that_the_prompt_opens_is_closed_where_nothing_is_thought() -> None:
    tokenizer = tokenizer_with(PREFILLED)
    assert settle(tokenizer, "plain") == "plain"
    said, alone = ("RATIONALE", "\n</think>\n\n3 + 4 = 7.\n"), ("ANSWER", "\n</think>\n\nThe answer is 7.")
    assert taught(make_example(SAID, tokenizer), tokenizer) == [said, ANSWER, END]
    for thinks in (False, True):
        assert taught(make_example(ANSWER_ONLY, tokenizer, thinks=thinks), tokenizer) == [alone, END]


def test_an_answer_that_comes_first_leaves_a_rationale_nothing_to_be_thought_for() -> None:
    tokenizer = tokenizer_with(PREFILLED)
    first = make_example(SAID, tokenizer, "answer_then_rationale", thinks=True)
    said = ("RATIONALE", "3 + 4 = 7.")
    assert taught(first, tokenizer) == [("ANSWER", "\n</think>\n\nThe answer is 7.\n"), said, END]
    thought = make_example(THOUGHT, tokenizer, "answer_then_rationale", thinks=True)
    reasoning = ("REASONING", "Three. Four more: 7.\n</think>\n\n")
    assert taught(thought, tokenizer) == [reasoning, ("ANSWER", "The answer is 7.\n"), said, END]


def test_two_tasks_stay_one_pair_of_examples() -> None:
    tokenizer = tokenizer_with(PREFILLED)
    limits: dict[str, Any] = {"max_length": 500, "too_long": "error", "thinks": True}
    made, _ = make_examples([SAID, THOUGHT], tokenizer, **limits, target="multi_task")
    assert task_groups(made).tolist() == [0, 2]
    assert taught(made[0], tokenizer) == [("ANSWER", "\n</think>\n\nThe answer is 7."), END]
    assert taught(made[1], tokenizer) == [("REASONING", CLOSED), ("RATIONALE", ROLE_END)]


def test_reasoning_is_cut_at_a_sentence_and_closed() -> None:
    tokenizer = tokenizer_with(PREFILLED)
    long = replace(THOUGHT, reasoning="Three and four. " * 20 + "So 7.")
    limits: dict[str, Any] = {"max_length": 220, "too_long": "cut_reasoning", "thinks": True}
    (made,), _ = make_examples([long], tokenizer, **limits)
    (_, reasoning), *rest = taught(made, tokenizer)
    assert reasoning.startswith("Three and four. Three and")
    assert reasoning.endswith("four.\n</think>\n\n")
    assert rest == [("RATIONALE", "3 + 4 = 7.\n"), ANSWER, END]


def test_marks_in_a_text_open_and_close_nothing() -> None:
    tokenizer = tokenizer_with(PREFILLED)
    marked = replace(SAID, reasoning="First </think> then <think> last.")
    ((_, reasoning), *_) = taught(make_example(marked, tokenizer, thinks=True), tokenizer)
    assert reasoning.count("think>") == 1


def test_an_informed_teacher_reads_the_same_thought_behind_its_own_prompt() -> None:
    tokenizer = tokenizer_with(PREFILLED)
    example = make_example(SAID, tokenizer, context="answer", thinks=True)
    informed = example.of_teacher()
    assert "For reference: The answer is 7." in tokenizer.decode(informed.prompt)
    assert tokenizer.decode(informed.prompt).endswith("<think>\n")
    assert taught(informed, tokenizer) == taught(example, tokenizer)


def rollouts(tokenizer: PreTrainedTokenizerFast) -> Rollouts:
    return Rollouts(OnPolicy(max_new_tokens=12), tokenizer, seed=0, dtype=torch.float32)


@pytest.mark.parametrize(
    ("written", "regions"),
    [
        ("3 + 4 = 7.\n</think>\n\nThe answer is 7.", [("REASONING", CLOSED), ANSWER, END]),
        ("3 + 4 is", [("REASONING", "3 + 4 is"), END]),
        ("\n</think>\n\nThe answer is 7.", [("ANSWER", "\n</think>\n\nThe answer is 7."), END]),
    ],
)
def test_samples_of_a_student_that_thinks_are_parted_by_its_marks(written: str, regions: list[Any]) -> None:
    tokenizer = tokenizer_with(PREFILLED)
    example = make_example(SAID, tokenizer, thinks=True)
    ids = tokenizer(written, add_special_tokens=False)["input_ids"]
    sample = sampled(tokenizer, example, ids, finished=True)
    assert sample.prompt == example.prompt
    assert taught(sample, tokenizer) == regions


def test_samples_are_drawn_and_trained_on() -> None:
    tokenizer = tokenizer_with(PREFILLED)
    examples = {0: make_example(SAID, tokenizer, thinks=True), 1: make_example(THOUGHT, tokenizer, thinks=True)}
    drawn = rollouts(tokenizer).sample(tiny_model(len(tokenizer)), {0: examples}, 12)[0]
    assert all(set(sample.regions) <= {Region.PROMPT, Region.REASONING, Region.END} for sample in drawn.values())


def test_teacher_and_student_with_other_marks_are_compared_in_what_is_thought_and_said() -> None:
    """The student writes plain marks, the teacher's prompt has opened the block already."""
    student, teacher = tiny_tokenizer(chat=True), digits_split(chat=True)
    teacher.chat_template = PREFILLED
    found = align([SAID, THOUGHT], student, teacher, "byte_offset", thinks=True)
    assert len(found.examples) == 2
    for each in found.examples.values():
        assert max(each.student_spans) == max(each.teacher_spans) == len(each.paired) - 1
        assert sum(each.paired) > 4, "words, and the end"


def test_a_loss_sees_reasoning_alone_and_is_refused_where_there_is_none() -> None:
    tokenizer = tokenizer_with(PREFILLED)
    thinks, plain = make_example(SAID, tokenizer, thinks=True), make_example(SAID, tokenizer)
    module = DistillationLoss(tiny_model(len(tokenizer)), (CrossEntropy(region="reasoning"), CrossEntropy()), None)
    _, (reasoning, everything), _ = accumulate(
        module, [collate([thinks])], device=torch.device("cpu"), dtype=torch.float32
    )
    assert 0 < reasoning < everything
    refuse_unseen_regions([thinks], [CrossEntropy(region="reasoning"), CrossEntropy(region="answer")])
    refuse_unseen_regions([make_example(ANSWER_ONLY, tokenizer)], [CrossEntropy(region="rationale")])
    with pytest.raises(DataError, match=r"no token of the examples is in region rationale: .* is reasoning"):
        refuse_unseen_regions([thinks], [CrossEntropy(region="rationale")])
    with pytest.raises(DataError, match=r"no token of the examples is in region reasoning: .* is rationale"):
        refuse_unseen_regions([plain], [CrossEntropy(region="reasoning")])


def test_arguments_of_a_template_are_those_of_the_model() -> None:
    def prompt(**template: Any) -> str:
        config = ModelConfig(model="builtin:nano-student", template=template)
        tokenizer = load_tokenizer(config)
        return str(tokenizer.decode(encode_prompt(tokenizer, "Hi"))).partition("assistant\n")[2]

    assert prompt() == prompt(enable_thinking=False) == "<think>\n\n</think>\n\n"
    assert prompt(enable_thinking=True) == "<think>\n"
    keys = {model_identity(ModelConfig(model="builtin:nano-student", template=one)) for one in ({}, {"a": 1})}
    assert len(keys) == 2
    fixed = load_tokenizer(ModelConfig(model="builtin:nano-student", template={"enable_thinking": False}))
    with pytest.raises(ModelError, match="its chat template cannot have reasoning in a response"):
        settle(fixed, "think")


def test_a_student_without_marks_of_its_own_thinks_in_plain_ones_also_when_it_is_loaded_again() -> None:
    tokenizer = tokenizer_with()
    assert settle(tokenizer, None) == "plain"
    assert settle(tokenizer, "think") == "think"
    assert add_instruction(tokenizer, "", "\nThink step by step.", "Think step by step.")
    assert settle(tokenizer, "think") == "think"


class Scripted(TransformersEngine):
    """Writes the same text, whatever it is asked, as far as its limit goes."""

    text = ""

    def _generated(self, prompts: Any, seeds: Any, limit: int | None = None) -> Any:
        for index, prompt in enumerate(prompts):
            begun = str(self._tokenizer.decode(prompt)).partition("<think>\n")[2]
            left = self.text if begun.endswith("</think>\n\n") else self.text[len(begun) :]
            left = left.partition("</think>\n\n")[2] if begun.endswith("</think>\n\n") else left
            ids = self._tokenizer(left, add_special_tokens=False)["input_ids"]
            most = limit or self._sampling.max_new_tokens
            yield Generated(index, ids[:most], len(ids) < most)


@pytest.mark.parametrize("limit", [0, 3, 40])
def test_a_thought_that_takes_too_long_is_closed_and_the_answer_goes_on(limit: int) -> None:
    tokenizer = tokenizer_with(PREFILLED)
    engine = Scripted(
        tiny_model(len(tokenizer)), tokenizer, Sampling(max_new_tokens=80), max_batch_size=2, max_reasoning_tokens=limit
    )
    engine.text = "Ann has 12.\n</think>\n\nThe answer is 7."
    ((completion,),) = engine.generate([Request("k", "What is 3 + 4?")])
    assert isinstance(completion, Completion)
    assert completion.closed
    assert completion.text == "The answer is 7."
    thought = "Ann has 12." if limit == 40 else decode(tokenizer, completion.token_ids[:limit]).strip()
    assert (completion.reasoning or "") == thought
    assert completion.reasoning_tokens == (
        0
        if limit == 0
        else len(completion.token_ids) - len(tokenizer("The answer is 7.", add_special_tokens=False)["input_ids"])
    )


def test_limits_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="leaves no room for an answer"):
        EvaluationConfig(max_new_tokens=100, max_reasoning_tokens=100)
    with pytest.raises(ValueError, match="needs engine: transformers"):
        EvaluationConfig(max_reasoning_tokens=100, num_beams=2)


def test_tokens_of_reasoning_are_told_from_the_rest() -> None:
    tokenizer = tokenizer_with(PREFILLED)
    prompt = encode_prompt(tokenizer, "Hi")
    for text, closed in (("Ann has 12.\n</think>\n\nThe answer is 7.", True), ("Ann has", False)):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        written = read_response(tokenizer, prompt, ids)
        assert written.closed is closed
        said = "The answer is 7." if closed else ""
        assert decode(tokenizer, ids[written.num_reasoning_tokens :]) == said
    assert stop_token_id(tokenizer) not in prompt[-3:]


def prefilled_nano(folder: Path) -> Path:
    """The nano student with a template as DeepSeek-R1's."""
    shutil.copytree(builtin_folder("builtin:nano-student"), folder)
    (folder / "chat_template.jinja").write_text(PREFILLED, encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.timeout(1800)
def test_students_that_think_beat_answers_alone_and_come_to_an_end(tmp_path: Path) -> None:
    """With a switch in the template, and with a template that opens the block in the prompt; 99 % closes."""
    settings = {
        "task": {"kind": "procedural", "num_train": 1500, "num_test": 1000},
        "teacher": "procedural",
        "annotation": {"granularity": 4, "format": "cot"},
        "student": "builtin:nano-student",
        "training": {
            "epochs": 2, "learning_rate": 1e-3, "batch_size": 16, "warmup_share": 0.05, "dtype": "float32",
            "max_batch_tokens": 4096,
        },
        "evaluation": {"max_new_tokens": 448, "max_batch_size": 250, "dtype": "float32"},
        "arms": {
            "answers": {"teacher": "answer_only"},
            "thinks": {"training.response": "think"},
            "prefilled": {"student": str(prefilled_nano(tmp_path / "prefilled"))},
            "prefilled_plain": {"student": str(tmp_path / "prefilled"), "training.response": "plain"},
        },
        "comparisons": [{"a": arm, "b": "answers"} for arm in ("thinks", "prefilled", "prefilled_plain")],
    }  # fmt: skip
    file = tmp_path / "thinks.yaml"
    file.write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "cotdistill", "run", str(file), "--runs", str(tmp_path / "runs"), "--json"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    found = {row["a"]: row for row in json.loads(finished.stdout)["comparisons"]}
    for arm in ("thinks", "prefilled", "prefilled_plain"):
        assert found[arm]["difference"] > 0
        assert found[arm]["p_value"] < 0.05
    thoughts = []
    for folder in (tmp_path / "runs" / "evaluation").iterdir():
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        thoughts += [summary["reasoning"]] if "reasoning" in summary else []
    assert sum(one["outputs"] == 1000 for one in thoughts) == 2
    assert all(one["closed"] >= 0.99 for one in thoughts if one["outputs"] == 1000)
