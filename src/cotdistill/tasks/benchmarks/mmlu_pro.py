"""MMLU-Pro (arXiv 2406.01574): 12,032 test questions with up to ten choices; its 14 categories are subtasks. For
testing.

``evaluation.few_shot: 5`` asks as its authors and lm-eval do: with the five worked examples of the question's category
from the validation split, raw, behind one sentence (lm-eval's). The authors count an unreadable completion as a guess;
here it is *unreadable*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cotdistill.tasks.benchmarks import Benchmark

VALIDATION = "MMLU-Pro/data/validation-00000-of-00001.parquet"
"""The worked examples, below a data folder."""
_INSTRUCTION = (
    "The following are multiple choice questions (with answers) about {subject}. Think step by step and then finish "
    'your answer with "the answer is (X)" where X is the correct letter choice.\n'
)
_OPENING = "Let's think step by step."


def from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    """The hub fills up missing options with "N/A" and gives the index of the right one."""
    listed, right = list(row["options"]), int(row["answer_index"])
    kept = [place for place, option in enumerate(listed) if option != "N/A"]
    return {
        "id": f"mmlu-pro-{row['question_id']}",
        "subtask": row["category"].replace(" ", "_"),
        "question": row["question"],
        "choices": [listed[place] for place in kept],
        "answer": chr(ord("A") + kept.index(right)) if right in kept else None,
        "rationale": row["cot_content"].removeprefix("A: ").strip() or None,
        "meta": {"source": row["src"]},
    }


def prompt_of(shots: Iterable[Mapping[str, Any]], subject: str) -> str:
    """The beginning of every prompt about a subject, from the rows of its worked examples."""
    worked = [_asked(shot["question"], shot["choices"]) + f"{shot['rationale']}\n\n" for shot in shots]
    return _INSTRUCTION.format(subject=subject.replace("_", " ")) + "".join(worked)


def asked_text(question: str, choices: Iterable[str]) -> str:
    """A question at the end of a prompt, and the beginning of its answer."""
    return f"{_asked(question, choices)}{_OPENING}"


def _asked(question: str, choices: Iterable[str]) -> str:
    options = "".join(f"{chr(ord('A') + place)}. {choice}\n" for place, choice in enumerate(choices))
    return f"Question:\n{question}\nOptions:\n{options}Answer: "


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="letter",
    files={"test": "MMLU-Pro/data/test-00000-of-00001.parquet"},
    sizes={"test": 12032},
    hub="TIGER-Lab/MMLU-Pro",
    revision="b189ec765aa7ed75c8acfea42df31fdae71f97be",
    from_hub=from_hub,
    from_file=None,
    num_subtasks=14,
)
