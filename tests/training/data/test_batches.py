"""Which examples make up a step: all of them, in an order that seed and epoch decide, in batches that fit."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

import pytest
import torch
from tests.tiny import tiny_tokenizer

from cotdistill.records import Question, Rationale
from cotdistill.tasks.segments import Region
from cotdistill.training.data.batches import (
    all_steps,
    collate,
    grouped_steps,
    micro_batches,
    num_steps_of,
    steps_of_epoch,
    task_groups,
)
from cotdistill.training.data.examples import Example, make_examples

LENGTHS = [random.Random(n).randint(5, 300) for n in range(1003)]


@pytest.mark.parametrize(("num_examples", "batch_size"), [(1003, 8), (1003, 1), (7, 8), (16, 8), (1, 1)])
def test_an_epoch_has_every_example_once(num_examples: int, batch_size: int) -> None:
    steps = steps_of_epoch(LENGTHS[:num_examples], batch_size, seed=0, epoch=0)
    assert sorted(index for step in steps for index in step) == list(range(num_examples))
    assert len(steps) == num_steps_of(1, num_examples, batch_size)
    assert all(1 <= len(step) <= batch_size for step in steps)


def test_seed_and_epoch_decide_the_order_and_nothing_else_does() -> None:
    random.seed(1)
    torch.manual_seed(1)
    order = steps_of_epoch(LENGTHS, 8, seed=3, epoch=2)
    random.seed(2)
    torch.manual_seed(2)
    assert steps_of_epoch(LENGTHS, 8, seed=3, epoch=2) == order
    assert steps_of_epoch(LENGTHS, 8, seed=4, epoch=2) != order
    assert steps_of_epoch(LENGTHS, 8, seed=3, epoch=1) != order


@pytest.mark.parametrize(
    ("epochs", "num_examples", "expected"), [(1.1, 400, 55), (1.11, 400, 56), (0.001, 8, 1), (3, 10, 6), (0.3, 80, 3)]
)
def test_parts_of_an_epoch_are_rounded_up_and_rounding_errors_are_not(
    epochs: float, num_examples: int, expected: int
) -> None:
    assert num_steps_of(epochs, num_examples, 8) == expected


def test_epochs_mix_examples_into_other_steps() -> None:
    first, second = (steps_of_epoch(LENGTHS, 8, seed=0, epoch=epoch) for epoch in (0, 1))
    assert not {frozenset(step) for step in first if len(step) > 1} & {frozenset(step) for step in second}


def test_a_resumed_order_is_the_unbroken_one() -> None:
    unbroken = list(all_steps(LENGTHS, 8, seed=5, num_steps=300))
    for done in (0, 1, 125, 126, 127, 299):
        assert list(islice(all_steps(LENGTHS, 8, seed=5, num_steps=300), done, None)) == unbroken[done:]


def test_a_longer_training_starts_as_a_shorter_one() -> None:
    assert list(all_steps(LENGTHS, 8, seed=5, num_steps=300))[:130] == list(
        all_steps(LENGTHS, 8, seed=5, num_steps=130)
    )


def test_whole_epochs_see_every_example_as_often() -> None:
    steps = all_steps(LENGTHS, 8, seed=0, num_steps=num_steps_of(3, len(LENGTHS), 8))
    assert Counter(index for step in steps for index in step) == dict.fromkeys(range(len(LENGTHS)), 3)


def test_lengths_in_a_step_are_alike() -> None:
    """Padding would take more than a third of a random order's tokens here."""

    def padding(steps: list[list[int]]) -> float:
        padded = sum(len(step) * max(LENGTHS[i] for i in step) for step in steps)
        return 1 - sum(LENGTHS) / padded

    order = random.Random(0).sample(range(1003), 1003)
    assert padding([order[start : start + 8] for start in range(0, 1003, 8)]) > 0.33
    assert padding(steps_of_epoch(LENGTHS, 8, seed=0, epoch=0)) < 0.1


@pytest.mark.parametrize("budget", [1, 100, 600, 4096])
def test_micro_batches_keep_to_the_budget_and_lose_nothing(budget: int) -> None:
    for step in steps_of_epoch(LENGTHS, 32, seed=0, epoch=0):
        batches = micro_batches(step, LENGTHS, budget)
        assert sorted(index for batch in batches for index in batch) == sorted(step)
        for batch in batches:
            assert len(batch) == 1 or len(batch) * max(LENGTHS[i] for i in batch) <= budget


def test_both_tasks_of_a_question_are_in_one_step() -> None:
    """Sorted by length the short answers and the long explanations would each get steps of their own."""
    rationales = [
        Rationale(Question(f"q{n}", "own", "train", f"{n} + 1?", f"{n + 1}", "number"), text, "me", None, "human")
        for n in range(20)
        for text in ("So many. " * (n + 3), None if n == 7 else "A second one. " * 4)
    ]
    made, _ = make_examples(rationales, tiny_tokenizer(), max_length=512, too_long="error", target="multi_task")
    groups, lengths = task_groups(made), [len(one) for one in made]
    assert len(groups) == len(rationales)
    steps = list(grouped_steps(groups, lengths, 4, seed=0, num_steps=num_steps_of(1, len(groups), 4)))
    assert sorted(index for step in steps for index in step) == list(range(len(made)))
    for step in steps:
        answers = Counter(made[index].id for index in step if Region.END in made[index].regions)
        explanations = Counter(made[index].id for index in step if Region.RATIONALE in made[index].regions)
        assert answers - Counter(q7=1) <= explanations <= answers


def test_examples_of_one_task_make_the_same_steps_as_before_there_were_groups() -> None:
    rationales = [
        Rationale(Question("q", "own", "train", "1 + 1?", "2", "number"), "So many. " * n, "me", None, "human")
        for n in range(1, 20)
    ]
    made, _ = make_examples(rationales, tiny_tokenizer(), max_length=512, too_long="error")
    lengths = [len(one) for one in made]
    steps = grouped_steps(task_groups(made), lengths, 4, seed=3, num_steps=12)
    assert list(steps) == list(all_steps(lengths, 4, seed=3, num_steps=12))


def example(key: str, length: int, num_loss: int) -> Example:
    regions = [Region.PROMPT] * (length - num_loss) + [Region.RATIONALE] * (num_loss - 2) + [Region.ANSWER, Region.END]
    tokens = [ord(key) * 100 + place for place in range(length + 1)]
    return Example(key, tokens[:-1], tokens[1:], regions)


def test_a_batch_holds_its_examples_and_where_their_loss_lies() -> None:
    examples = [example("a", 5, 3), example("b", 9, 4), example("c", 3, 3)]
    batch = collate(examples)
    flat_inputs = batch.input_ids.flatten()
    for row, (one, mask) in enumerate(zip(examples, batch.attention_mask, strict=True)):
        assert batch.input_ids[row][mask.bool()].tolist() == one.input_ids
    expected = [
        (token, target, region)
        for one in examples
        for token, target, region in zip(one.input_ids, one.targets, one.regions, strict=True)
        if region is not Region.PROMPT
    ]
    found = zip(flat_inputs[batch.positions].tolist(), batch.targets.tolist(), batch.regions.tolist(), strict=True)
    assert list(found) == expected
