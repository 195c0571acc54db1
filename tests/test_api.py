"""The verbs as functions: the package's own example in miniature."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tiny import save_tiny

import cotdistill as cot


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_tiny(folder / "student")
    save_tiny(folder / "teacher", layers=3, seed=1)
    return folder


def test_the_example_of_the_package_works(models: Path, tmp_path: Path) -> None:
    task = cot.load_task("procedural", kinds=["navigate"], difficulty=1, num_train=8, num_test=4)
    rationales = cot.annotate(task.train, "procedural", granularity=3, runs=tmp_path)
    assert len(rationales) == len(task.train)
    assert [rationale.id for rationale in rationales] == [question.id for question in task.train]
    assert rationales.path is not None
    assert rationales.path.is_dir()

    student = cot.train(
        str(models / "student"),
        rationales,
        loss=[cot.ForwardKL()],
        signal=cot.LiveTeacher(model=cot.ModelConfig(model=str(models / "teacher"))),
        epochs=1,
        dtype="float32",
        runs=tmp_path,
    )
    assert (student.path / "metrics.jsonl").is_file()
    assert (student.model / "model.safetensors").is_file()

    trained = cot.evaluate(student, task.test, max_new_tokens=8, dtype="float32", runs=tmp_path)
    before = cot.evaluate(str(models / "student"), task.test, max_new_tokens=8, dtype="float32", runs=tmp_path)
    assert trained.path != before.path
    assert [prediction.id for prediction in trained] == [question.id for question in task.test]
    assert trained.score.n == len(task.test)
    comparison = cot.compare(trained, before, names=("student", "base"))
    assert comparison.difference == trained.score.accuracy - before.score.accuracy
    assert cot.compare([trained, trained], before).num_seeds == 2
    with pytest.raises(cot.CotDistillError, match="2 evaluations of a and 3 of b"):
        cot.compare([trained] * 2, [before] * 3)

    again = cot.evaluate(student, task.test, max_new_tokens=8, dtype="float32", runs=tmp_path)
    assert again == trained


def test_unknown_settings_are_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(cot.CotDistillError, match="did you mean 'num_train'"):
        cot.load_task("procedural", num_trian=3)
    task = cot.load_task("procedural", kinds=["navigate"], num_train=2, num_test=2)
    rationales = cot.annotate(task.train, "procedural", runs=tmp_path)
    with pytest.raises(cot.CotDistillError, match="did you mean 'epochs'"):
        cot.train("student", rationales, epoch=1, runs=tmp_path)
    with pytest.raises(cot.CotDistillError, match="did you mean 'max_new_tokens'"):
        cot.evaluate("student", task.test, max_new_token=1, runs=tmp_path)
    with pytest.raises(cot.CotDistillError, match="did you mean 'procedural'"):
        cot.annotate(task.train, "procedual", runs=tmp_path)
    with pytest.raises(cot.CotDistillError, match="forward_kl needs a teacher"):
        cot.train("student", rationales, loss=[cot.ForwardKL()], runs=tmp_path)


def test_annotation_takes_the_settings_of_a_run_file_by_name(tmp_path: Path) -> None:
    task = cot.load_task("procedural", kinds=["navigate"], difficulty=1, num_train=8, num_test=4)
    leaking = [*task.train, task.test[0]]
    made = cot.annotate(leaking, "procedural", evaluation=task.test, perturbation="removed", runs=tmp_path)
    assert made.dropped == {"in_evaluation": 1}
    assert [rationale.rationale for rationale in made] == [None] * 8
    everything = cot.annotate(leaking, "procedural", evaluation=task.test, decontaminate="report", runs=tmp_path)
    assert len(everything) == 9
    with pytest.raises(cot.CotDistillError, match="decontaminate"):
        cot.annotate(task.train, "procedural", decontaminate="of", runs=tmp_path)
    with pytest.raises(cot.CotDistillError, match="no rationales were released"):
        cot.annotate(task.train, "dataset", data_dir=tmp_path, runs=tmp_path)


def test_nothing_to_work_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(cot.CotDistillError, match="there are no questions to evaluate on"):
        cot.evaluate("student", [], runs=tmp_path)
    with pytest.raises(cot.CotDistillError, match="no rationale is left"):
        cot.annotate([], "procedural", runs=tmp_path)


def test_a_file_of_ones_own_is_a_task(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text("".join(f'{{"q": "{n} + 1?", "a": {n + 1}}}\n' for n in range(30)), encoding="utf-8")
    task = cot.load_task(path, columns={"question": "q", "answer": "a"})
    assert len(task.train) + len(task.test) == 30
    assert {question.answer_type for question in task.train} == {"number"}


def test_every_public_name_is_there() -> None:
    assert all(getattr(cot, name) is not None for name in cot.__all__)
    assert set(cot.__all__) <= set(dir(cot))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = cot.trian


def test_answers_and_rationales_are_read_without_a_run() -> None:
    question = cot.Question("q", "own", "test", "How many are 30 and 4?", "34", "number")
    assert cot.read_answer("So the answer is $34$ shells.", "number") == "34"
    assert cot.read_answer("Answer: (B)", "letter", ["Oslo", "Lima"]) == "B"
    assert cot.read_answer("That is all.", "text") is None
    assert cot.judge("Thus \\boxed{34}.", question) == ("34", "correct")
    assert cot.judge("The answer is 3", question, finished=False) == (None, "truncated")
    sound = cot.Rationale(question, "30 + 4 = 34.", "own", None, "cot")
    false = cot.Rationale(question, "30 + 4 = 36, so 34.", "own", None, "cot")
    assert cot.check_rationale(sound) == []
    assert [fault.reason for fault in cot.check_rationale(false)] == ["false_arithmetic"]
