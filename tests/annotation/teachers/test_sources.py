"""Sources of rationales: own questions, the procedural solver, and the released data."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from cotdistill.annotation import Rationales, collect_rationales
from cotdistill.annotation.released.eit_cot import RELEASE, Released, find_release
from cotdistill.config import (
    AnnotationConfig,
    AnswerOnlyTeacher,
    BenchmarkTask,
    DatasetTeacher,
    HumanTeacher,
    ProceduralTask,
    ProceduralTeacher,
)
from cotdistill.errors import ConfigError, DataError
from cotdistill.granularities import GRANULARITIES
from cotdistill.records import Format, Question
from cotdistill.storage.jsonl import read_rows
from cotdistill.tasks import load_task
from cotdistill.tasks.answers.reading import judge
from cotdistill.tasks.load_benchmark import DATA_VARIABLE
from cotdistill.tasks.procedural.rendering import RATIONALE_FORMATS
from cotdistill.tasks.prompts import response_text


@pytest.fixture(autouse=True)
def no_default_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


def question_of(number: int, **fields: Any) -> Question:
    own = {"id": f"own-{number}", "task": "svamp", "split": "train", "question": f"What is {number} + 1?"}
    own |= {"answer": str(number + 1), "answer_type": "number"}
    return Question(**(own | fields))  # pyright: ignore[reportArgumentType]


def release_row(number: int, rationale: str, stated: str | None, **fields: Any) -> dict[str, Any]:
    meta = {"gold_id": f"own-{number}", "teacher_answer": stated}
    output = rationale if stated is None else f"{rationale} The answer is {stated}"
    own = {"id": f"eit-{number}", "question": "reworded", "choices": None, "rationale": rationale, "output": output}
    return own | {"meta": meta} | fields


def write_release(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    (folder / "eit_cot").mkdir(exist_ok=True)
    with gzip.open(folder / "eit_cot" / f"{name}.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


def texts(rationales: Rationales) -> dict[str, str | None]:
    return {rationale.id: rationale.rationale for rationale in rationales}


ROWS = [
    release_row(1, " 1 and 1.\n\n", "2"),
    release_row(2, "2 and 1 make 4.", "4"),
    release_row(3, "So the answer is 4.", "4"),
    release_row(4, "Who knows?", None),
    release_row(5, "No id.", "6", question="what is  5 + 1?", meta={"gold_id": None, "teacher_answer": "6"}),
]


def test_released_rationales_join_by_id_and_else_by_words(tmp_path: Path) -> None:
    write_release(tmp_path, "SVAMP_ChatGPT_level3_ranked", ROWS)
    questions = [question_of(number) for number in (5, 1, 2, 3, 4, 9)]
    found = collect_rationales(questions, DatasetTeacher(data_dir=tmp_path), AnnotationConfig())
    assert texts(found) == {"own-5": "No id.", "own-1": "1 and 1.", "own-2": "2 and 1 make 4.", "own-4": "Who knows?"}
    assert list(texts(found)) == ["own-5", "own-1", "own-2", "own-4"]
    assert found.dropped == {"empty_rationale": 1, "no_rationale": 1}
    assert len(found) + sum(found.dropped.values()) == len(questions)


def test_a_rationale_keeps_the_gold_answer_and_says_what_its_teacher_stated(tmp_path: Path) -> None:
    write_release(tmp_path, "SVAMP_ChatGPT_level3_ranked", ROWS)
    (found,) = collect_rationales([question_of(2)], DatasetTeacher(data_dir=tmp_path), AnnotationConfig())
    assert found.question.answer == "3"
    assert (found.teacher, found.granularity, found.format) == ("chatgpt", 3, "cot")
    assert found.meta == {"teacher_answer": "4", "teacher_agrees": False, "source": "eit_cot/eit-2"}


def test_agree_keeps_those_whose_teacher_stated_the_gold_answer(tmp_path: Path) -> None:
    write_release(tmp_path, "SVAMP_ChatGPT_level3_ranked", ROWS)
    questions = [question_of(number) for number in range(1, 6)]
    found = collect_rationales(questions, DatasetTeacher(data_dir=tmp_path), AnnotationConfig(keep="agree"))
    assert set(texts(found)) == {"own-1", "own-5"}
    assert found.dropped == {"disagrees": 1, "empty_rationale": 1, "no_stated_answer": 1}


def test_choices_tell_equal_words_apart(tmp_path: Path) -> None:
    rows = [
        release_row(n, f"It is {n}.", "A", question="Which?", choices=[str(n), "x"], meta={"teacher_answer": "A"})
        for n in (1, 2)
    ]
    write_release(tmp_path, "aqua_llama_level4_ranked", rows)
    question = question_of(2, task="aqua", question="Which?", answer="A", answer_type="letter", choices=("2", "x"))
    teacher = DatasetTeacher(teacher="llama", data_dir=tmp_path)
    (found,) = collect_rationales([question], teacher, AnnotationConfig(granularity=4))
    assert found.rationale == "It is 2."
    assert found.meta["teacher_agrees"]


def test_what_was_never_released_is_said_with_what_was(tmp_path: Path) -> None:
    for teacher, annotation, task, message in [
        ("llama", {"granularity": 5}, "svamp", "by llama in format cot at granularity 5; choose from: chatgpt cot 1 2"),
        ("chatgpt", {"granularity": None}, "svamp", "by chatgpt in format cot without granularity"),
        ("chatgpt", {"format": "human"}, "svamp", "chatgpt in format human"),
        ("chatgpt", {}, "svanp", "no rationales were released for task 'svanp'; did you mean 'svamp'?"),
        ("chatgpt", {}, "svamp", "SVAMP_ChatGPT_level3_ranked.jsonl.gz was not found; set the teacher's"),
    ]:  # fmt: skip
        teacher_config = DatasetTeacher(teacher=teacher, data_dir=tmp_path)
        with pytest.raises(DataError) as error:
            collect_rationales([question_of(1, task=task)], teacher_config, AnnotationConfig(**annotation))
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def test_human_rationales_come_with_the_question_or_from_the_release(tmp_path: Path) -> None:
    write_release(tmp_path, "svamp_human_annotation", [release_row(2, "2.0 + 1.0 = 3.0.", "3")])
    own = question_of(1, human_rationale="1 + 1 = 2. The answer is 2.")
    questions = [own, question_of(2), question_of(3), question_of(4, task="mine")]
    found = collect_rationales(questions, HumanTeacher(), AnnotationConfig(keep="agree"), tmp_path)
    assert texts(found) == {"own-1": "1 + 1 = 2.", "own-2": "2.0 + 1.0 = 3.0."}
    assert {(rationale.teacher, rationale.granularity, rationale.format) for rationale in found} == {
        ("human", None, "human")
    }
    assert found.dropped == {"no_rationale": 2}
    assert len(collect_rationales(questions, HumanTeacher(), AnnotationConfig())) == 1


def test_answers_only_have_no_reasoning() -> None:
    found = collect_rationales([question_of(1)], AnswerOnlyTeacher(), AnnotationConfig(keep="agree"))
    assert [(r.rationale, r.granularity, r.format) for r in found] == [(None, None, "answer_only")]
    assert response_text(next(iter(found))) == "The answer is 2."


@pytest.mark.parametrize("form", RATIONALE_FORMATS)
def test_the_solver_teaches_every_kind_correctly(form: Format) -> None:
    questions = load_task(ProceduralTask(num_train=60, num_test=10)).train
    for granularity in GRANULARITIES:
        annotation = AnnotationConfig(granularity=granularity, format=form, keep="agree")
        found = collect_rationales(questions, ProceduralTeacher(), annotation)
        assert len(found) == len(questions)
        for rationale in found:
            reply = response_text(rationale)
            assert reply.count("The answer is") == 1
            assert judge(reply, rationale.question, finished=True)[1] == "correct"


def test_the_solver_refuses_what_it_cannot_write() -> None:
    with pytest.raises(ConfigError, match="question of task 'svamp'; choose the teacher"):
        collect_rationales([question_of(1)], ProceduralTeacher(), AnnotationConfig())
    with pytest.raises(ConfigError, match="format human at granularity 3"):
        collect_rationales([question_of(1)], ProceduralTeacher(), AnnotationConfig(format="human"))


@pytest.mark.shared
def test_every_file_of_the_release_is_found_and_holds_what_its_name_says(shared_data: Path) -> None:
    for released in RELEASE:
        row = next(iter(read_rows(find_release(released, shared_data))))
        assert Released(row["task"], row["teacher"], row["granularity"], row["format"]) == released
    present = {path.name.removesuffix(".jsonl.gz") for path in (shared_data / "eit_cot").glob("*.jsonl.gz")}
    unnamed = {name for name in present if not name.startswith("test_") and "only" not in name} - set(RELEASE.values())
    assert unnamed == {"openbookQA_ChatGPT_0_shot_with_gt_ranked"}


@pytest.mark.shared
@pytest.mark.parametrize(("teacher", "levels"), [("chatgpt", 6), ("gemini", 6), ("llama", 4)])
def test_released_svamp_rationales_join_training_questions_only(shared_data: Path, teacher: str, levels: int) -> None:
    task = load_task(BenchmarkTask(name="svamp", data_dir=shared_data))
    config = DatasetTeacher(teacher=teacher)  # pyright: ignore[reportArgumentType]
    for granularity in range(1, levels + 1):
        annotation = AnnotationConfig(granularity=granularity)
        found = collect_rationales(task.train, config, annotation, shared_data)
        assert len(found) >= 690
        assert len(found) + sum(found.dropped.values()) == 700
        assert found.dropped.get("no_rationale", 0) <= 1
        assert collect_rationales(task.test, config, annotation, shared_data).dropped == {"no_rationale": 300}


@pytest.mark.shared
def test_chatgpt_level_3_counts(shared_data: Path) -> None:
    task = load_task(BenchmarkTask(name="svamp", data_dir=shared_data))
    keep_all = collect_rationales(task.train, DatasetTeacher(), AnnotationConfig(), shared_data)
    assert (len(keep_all), keep_all.dropped) == (695, {"empty_rationale": 4, "no_rationale": 1})
    agree = collect_rationales(task.train, DatasetTeacher(), AnnotationConfig(keep="agree"), shared_data)
    assert agree.dropped == {"disagrees": 10, "empty_rationale": 4, "no_rationale": 1, "no_stated_answer": 1}


@pytest.mark.shared
def test_questions_from_elsewhere_join_by_their_words(shared_data: Path) -> None:
    task = load_task(BenchmarkTask(name="svamp", data_dir=shared_data))
    elsewhere = [
        Question(str(n), "svamp", "train", f" {question.question.upper()}", question.answer, "number")
        for n, question in enumerate(task.train)
    ]
    assert len(collect_rationales(elsewhere, DatasetTeacher(), AnnotationConfig(), shared_data)) == 695
