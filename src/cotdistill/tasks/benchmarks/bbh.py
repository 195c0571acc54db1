"""BIG-Bench-Hard (arXiv 2210.09261): 27 hard tasks of BIG-bench, 6,511 questions, all for testing. Its texts carry a
canary: they must never be trained on, and none of them is in this repository.
"""

from __future__ import annotations

from typing import Any

from cotdistill.records import AnswerType
from cotdistill.tasks.benchmarks import Benchmark

ANSWER_TYPES: dict[str, AnswerType] = {
    "boolean_expressions": "true_false",
    "causal_judgement": "yes_no",
    "date_understanding": "letter",
    "disambiguation_qa": "letter",
    "dyck_languages": "list",
    "formal_fallacies": "text",
    "geometric_shapes": "letter",
    "hyperbaton": "letter",
    "logical_deduction_five_objects": "letter",
    "logical_deduction_seven_objects": "letter",
    "logical_deduction_three_objects": "letter",
    "movie_recommendation": "letter",
    "multistep_arithmetic_two": "number",
    "navigate": "yes_no",
    "object_counting": "number",
    "penguins_in_a_table": "letter",
    "reasoning_about_colored_objects": "letter",
    "ruin_names": "letter",
    "salient_translation_error_detection": "letter",
    "snarks": "letter",
    "sports_understanding": "yes_no",
    "temporal_sequences": "letter",
    "tracking_shuffled_objects_five_objects": "letter",
    "tracking_shuffled_objects_seven_objects": "letter",
    "tracking_shuffled_objects_three_objects": "letter",
    "web_of_lies": "yes_no",
    "word_sorting": "list",
}
"""The 27 subtasks and how each is answered."""

GROUPS: dict[str, tuple[str, ...]] = {
    "algorithmic": (
        "boolean_expressions",
        "dyck_languages",
        "geometric_shapes",
        "logical_deduction_five_objects",
        "logical_deduction_seven_objects",
        "logical_deduction_three_objects",
        "multistep_arithmetic_two",
        "navigate",
        "object_counting",
        "temporal_sequences",
        "tracking_shuffled_objects_five_objects",
        "tracking_shuffled_objects_seven_objects",
        "tracking_shuffled_objects_three_objects",
        "web_of_lies",
        "word_sorting",
    ),
    "language": ("disambiguation_qa", "hyperbaton", "salient_translation_error_detection", "snarks"),
    "knowledge": (
        "causal_judgement",
        "date_understanding",
        "movie_recommendation",
        "ruin_names",
        "sports_understanding",
    ),
    "multilingual": ("salient_translation_error_detection",),
}
"""The four groups in which the papers report; one subtask is in two groups, three are in none."""

FAULTY = frozenset(
    f"bbh-{item}"
    for item in (
        "movie_recommendation-163",  # its options were split at the commas in a title, and the answer is none of them
        "ruin_names-099",  # the same
        "ruin_names-144",  # the same
        "snarks-088",  # cut off within its options
        "causal_judgement-032",  # the same question as 119 with the opposite answer
        "causal_judgement-119",
        "causal_judgement-036",  # the same question as 104 with the opposite answer
        "causal_judgement-104",
        "sports_understanding-155",  # repeats 027
        "sports_understanding-227",  # repeats 080
    )
)

_OPTIONS = "\nOptions:\n"


def columns(row: dict[str, Any], subtask: str) -> dict[str, Any]:
    """Our columns from the official ones: ``question`` as it is, with its options, and ``answer``.

    The official text and answer are kept in ``meta.input``, for few-shot prompts, and ``meta.target``. Options with
    letters become choices and are removed from the question. If the answer is not one of the options (a fault), it is
    compared as text.
    """
    text, answer_type = row["question"], ANSWER_TYPES[subtask]
    choices = _choices(text) if answer_type == "letter" else None
    is_letter = len(row["answer"]) == 3 and row["answer"].startswith("(")
    if answer_type == "letter" and not is_letter:
        answer_type, choices = "text", None
    return {
        "id": row["id"],
        "subtask": subtask,
        "question": text.rpartition(_OPTIONS)[0] if choices else text,
        "choices": choices,
        "answer": row["answer"],
        "answer_type": answer_type,
        "meta": {"input": text, "target": row["answer"]},
    }


def _choices(text: str) -> list[str] | None:
    """The options "(A) ...", "(B) ..." at the end of a question; None if they are incomplete."""
    _, found, listed = text.rstrip().rpartition(_OPTIONS)
    choices = []
    for index, line in enumerate(listed.split("\n") if found else ()):
        label, _, choice = line.partition(" ")
        if label != f"({chr(ord('A') + index)})":
            return None
        choices.append(choice)
    return choices if len(choices) > 1 else None


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    official = {
        "id": f"bbh-{row['subtask']}-{index:03d}",
        "question": row["input"],
        "answer": row["target"],
    }
    return columns(official, row["subtask"])


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="letter",
    files={"test": "bbh/bbh_test.jsonl.gz"},
    sizes={"test": 6511},
    hub="SaylorTwift/bbh",
    from_hub=_from_hub,
    from_file=lambda row: columns(row, row["task"]),
    subtasks=tuple(ANSWER_TYPES),
    faulty=FAULTY,
    num_subtasks=27,
)
