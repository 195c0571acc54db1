"""How many released SVAMP rationales are at odds with their own answers, by teacher and level.

Prints the table of this folder's README; with ``--examples N`` also N drawn rationales that are inconsistent, by id and
with the words that show it, or with ``--ids FILE`` those whose ids the file names.

    python recipes/rationale-quality/measure.py --data DATA_FOLDER [--examples 10]
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from random import Random
from typing import NamedTuple

from cotdistill.annotation import collect_rationales
from cotdistill.config import AnnotationConfig, BenchmarkTask, DatasetTeacher
from cotdistill.rationales.faults import Fault, find_faults
from cotdistill.records import Question, Rationale
from cotdistill.tasks import load_task

TEACHERS = {"chatgpt": ("GPT-4o", 6), "gemini": ("Gemini 1.5 Flash", 6), "llama": ("LLaMA 3 70B", 4)}
INCONSISTENT = frozenset({"false_arithmetic", "leads_elsewhere"})


class Checked(NamedTuple):
    rationale: Rationale
    faults: list[Fault]

    @property
    def agrees(self) -> bool:
        return bool(self.rationale.meta["teacher_agrees"])

    def has(self, *reasons: str) -> bool:
        return any(fault.reason in reasons for fault in self.faults)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, help="the folder that holds svamp/ and eit_cot/ (default: $COTDISTILL_DATA)"
    )
    parser.add_argument("--examples", type=int, default=0, help="inconsistent rationales to show")
    parser.add_argument("--seed", type=int, default=0, help="which examples are drawn")
    arguments = parser.parse_args()
    questions = load_task(BenchmarkTask(name="svamp", data_dir=arguments.data)).train
    inconsistent: list[Checked] = []
    print("| teacher | level | rationales | agree | false arithmetic | leads elsewhere | inconsistent |", end="")
    print(" unfinished | not derived | verified |")
    print("|---|" + "--:|" * 9)
    for teacher, (name, finest) in TEACHERS.items():
        for level in range(1, finest + 1):
            checked = check(questions, teacher, level, arguments.data)
            print(f"| {name} | {level} | {len(checked)} | " + " | ".join(shares(checked)) + " |")
            inconsistent += [one for one in checked if one.agrees and one.has(*INCONSISTENT)]
    for one in Random(arguments.seed).sample(inconsistent, min(arguments.examples, len(inconsistent))):
        show(one)


def check(questions: tuple[Question, ...], teacher: str, level: int, data: Path | None) -> list[Checked]:
    settings = DatasetTeacher.model_validate({"teacher": teacher})
    found = collect_rationales(questions, settings, AnnotationConfig(granularity=level), data)
    return [Checked(rationale, find_faults(rationale)) for rationale in found]


def shares(checked: list[Checked]) -> list[str]:
    """The columns of the table, in percent of all rationales of a level."""
    counts: Counter[str] = Counter()
    for one in checked:
        counts["agree"] += one.agrees
        counts["false"] += one.has("false_arithmetic")
        counts["elsewhere"] += one.has("leads_elsewhere")
        counts["inconsistent"] += one.has(*INCONSISTENT)
        counts["unfinished"] += one.has("unfinished_equation", "truncated")
        counts["not derived"] += one.has("answer_not_derived")
        counts["verified"] += one.agrees and not one.faults
    columns = ("agree", "false", "elsewhere", "inconsistent", "unfinished", "not derived", "verified")
    return [f"{100 * counts[column] / len(checked):.1f}" for column in columns]


def show(one: Checked) -> None:
    print(f"\n{one.rationale.meta['source']}  stated {one.rationale.meta['teacher_answer']}")
    print(f"  question: {one.rationale.question.question}")
    print(f"  rationale: {' '.join((one.rationale.rationale or '').split())}")
    for fault in one.faults:
        print(f"  {fault.reason}: {fault.evidence}")


if __name__ == "__main__":
    main()
