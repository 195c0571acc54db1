"""The evaluation stage on a tiny model: few-shot prompts, stop strings, votes, resumption, averages."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from tests.tiny import save_tiny, tiny_tokenizer

from cotdistill.config import EvaluationConfig, ModelConfig, load_experiment, validated
from cotdistill.engines.engine import Completion, Request
from cotdistill.engines.local import batches
from cotdistill.errors import ConfigError, DataError
from cotdistill.evaluation.answering import vote
from cotdistill.evaluation.diagnosis.audit import audit_path
from cotdistill.evaluation.evaluate import Evaluation, evaluate
from cotdistill.evaluation.read import Judged, read_evaluation
from cotdistill.evaluation.statistics.averages import averages
from cotdistill.experiments.run import run_experiment
from cotdistill.experiments.work import Work
from cotdistill.models.generate.stopping import holds_a_stop
from cotdistill.records import Prediction, Question, Verdict
from cotdistill.storage.jsonl import read_rows
from cotdistill.tasks.benchmarks.bbh import ANSWER_TYPES
from cotdistill.tasks.few_shot import PROMPTS_FILE


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return ModelConfig(model=str(save_tiny(tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "bbh").mkdir()
    example = "Q: Ann has 12 apples and gives 5 of them to Ben. How many apples are left?\nA: The answer is 7."
    with gzip.open(folder / PROMPTS_FILE, "wt") as file:
        for name in ANSWER_TYPES:
            file.write(json.dumps({"task": name, "prompt_raw": f"canary\n-----\nDo {name}.\n\n{example}"}) + "\n")
    return folder


def questions(num: int = 3) -> list[Question]:
    return [
        Question(f"{task}-{i}", f"bbh/{task}", "test", text, "Yes", "yes_no", meta={"input": text, "target": "Yes"})
        for task in ("navigate", "web_of_lies")
        for i, text in enumerate(f"Are {i} apples left of {i + 3}?" for i in range(num))
    ]


def run(model: ModelConfig, runs: Path, data_dir: Path | None = None, **settings) -> Evaluation:
    config = validated(EvaluationConfig, {"max_new_tokens": 12, "max_batch_size": 4} | settings, where="evaluation")
    return evaluate(model, questions(), target="rationale", config=config, runs=runs, data_dir=data_dir)


def outputs(evaluation: Evaluation) -> list[str]:
    return [prediction.output for prediction in evaluation]


def test_few_shot_prompts_change_the_answers_and_the_folder(model, data_dir, tmp_path):
    zero, three = run(model, tmp_path), run(model, tmp_path, data_dir, few_shot=3)
    assert zero.path != three.path
    assert outputs(zero) != outputs(three)
    assert [p.num_prompt_tokens for p in three] > [p.num_prompt_tokens for p in zero]
    assert [p.id for p in three] == [q.id for q in questions()]
    assert read_evaluation(three.path) == Judged(tuple(questions()), three.predictions, first_statement=False)
    assert audit_path(three.path).n == 6


@pytest.mark.parametrize("settings", [{"few_shot": 3}, {"temperature": 1.0, "num_samples": 3}])
@pytest.mark.usefixtures("batch_dependent")
def test_a_killed_evaluation_goes_on_to_the_same_outputs(model, data_dir, tmp_path, settings):
    whole = run(model, tmp_path / "whole", data_dir, **settings)
    kept = whole.path / "completions.jsonl"
    lines = kept.read_text().splitlines(keepends=True)
    again = tmp_path / "again" / "evaluation" / whole.path.name
    again.mkdir(parents=True)
    (again / kept.name).write_text("".join(lines[:4]) + lines[4][:9])
    resumed = run(model, tmp_path / "again", data_dir, **settings)
    assert resumed.path == again
    assert resumed.predictions == whole.predictions


def test_samples_are_kept_and_their_seed_counts(model, tmp_path):
    first = run(model, tmp_path, temperature=1.0, num_samples=3)
    rows = list(read_rows(first.path / "completions.jsonl"))
    assert sorted((row["question"], row["draw"]) for row in rows) == sorted(
        (q.id, k) for q in questions() for k in range(3)
    )
    assert len({row["text"] for row in rows}) > 6
    assert outputs(run(model, tmp_path, temperature=1.0, num_samples=3, seed=1)) != outputs(first)


def test_an_output_is_cut_before_a_stop_string(model, tmp_path):
    whole = run(model, tmp_path)
    stop = whole.predictions[0].output[2:4]
    for cut, full in zip(run(model, tmp_path, stop=[stop]), whole, strict=True):
        assert cut.output == full.output.partition(stop)[0]
        assert cut.num_output_tokens <= full.num_output_tokens


def test_a_stop_string_is_seen_where_its_last_token_is_written():
    tokenizer = tiny_tokenizer()
    text = "Ann has\u00e9 7 apples.\n\nQ: How many apples are left?"
    ids = tokenizer(text)["input_ids"]
    complete = holds_a_stop(tokenizer, ["\n\n", "Q:"])
    first = next(n for n in range(len(ids) + 1) if complete(ids[:n]))
    assert "\n\n" in tokenizer.decode(ids[:first])
    assert "\n\n" not in tokenizer.decode(ids[: first - 1])
    cut = Completion.of(Request("k", ""), text, "length", 1, 1, stop=["Q:", "\n\n"])
    assert (cut.text, cut.truncated) == ("Ann has\u00e9 7 apples.", False)
    assert Completion.of(Request("k", ""), "no stop", "length", 1, 1, stop=["\n\n"]).truncated


def test_two_files_of_one_name_and_equal_ids_are_refused_before_anything_is_made(model, tmp_path):
    """And not by the score, after the training and all of the answers, of which each took its namesake's place."""
    for folder, number in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        row = {"id": "q", "question": f"What is {number} + 1?", "answer": number + 1}
        rows = [row, row | {"id": "r", "question": "What is 5 + 5?", "answer": 10}]
        (tmp_path / folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = [
        {"train": str(tmp_path / "one/rows.jsonl"), "test": str(tmp_path / f"{folder}/rows.jsonl")}
        for folder in ("one", "two")
    ]
    values = {"task": tasks[0], "student": model.model, "training": None, "evaluation": {"tasks": tasks}}
    (tmp_path / "run.yaml").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=r"two of the tasks are called 'rows'; give them names"):
        run_experiment(load_experiment(tmp_path / "run.yaml"), Work(tmp_path / "runs", lambda line: None))
    assert not list((tmp_path / "runs").rglob("predictions.jsonl"))
    with pytest.raises(DataError, match="have the id 'navigate-0'"):
        evaluate(model, questions() * 2, target="rationale", config=EvaluationConfig(), runs=tmp_path / "runs")


def test_several_samples_need_a_temperature():
    with pytest.raises(ConfigError, match="num_samples above 1 needs a temperature above 0"):
        validated(EvaluationConfig, {"num_samples": 3}, where="evaluation")


def test_batches_hold_one_group_each_and_the_longest_first():
    def numbers(lengths: list[int], size: int, groups: str = "") -> list[list[str]]:
        requests = [Request(str(n), "", group=groups[n : n + 1]) for n in range(len(lengths))]
        planned = batches([(one, [0] * length) for one, length in zip(requests, lengths, strict=True)], size)
        return [[request.key for request, _ in batch] for batch in planned]

    assert numbers([5, 9, 7, 8, 6], 3) == [["1", "3", "2"], ["4", "0"]]
    assert numbers([5, 9, 7, 8, 6], 2, "abaab") == [["3", "2"], ["0"], ["1", "4"]]
    assert numbers([5, 5, 6, 6], 3) == [["2", "3", "0"], ["1"]]  # two draws each: they stay together


def sample(extracted: str | None, task: str = "t", id_: str = "q", verdict: Verdict = "wrong") -> Prediction:
    return Prediction(id_, task, "4", f"It is {extracted}", extracted, verdict, 5, 2)


def test_the_vote_goes_to_the_most_frequent_readable_answer():
    assert vote([sample(answer) for answer in (None, "3", "4", None, "4", None)], "number").extracted == "4"
    assert vote([sample(answer) for answer in ("3", "4")], "number").extracted == "3"
    assert vote([sample(None)] * 3, "number").extracted is None
    assert vote([sample("4")] * 3, "number").num_output_tokens == 6


@pytest.mark.parametrize(
    ("answer_type", "answers", "winner"),
    [
        ("number", ("3", "3", "1/2", "0.5", "0.50"), "1/2"),
        ("number", ("7", "1000", "7", "1,000", "1000.0"), "1000"),
        ("text", ("1/2", "0.5", "Blue", "blue"), "Blue"),
        ("list", ("b a", "A b", "a b", "b a", "a B"), "A b"),
    ],
)
def test_equal_answers_vote_together_however_they_are_written(answer_type, answers, winner):
    assert vote([sample(answer) for answer in answers], answer_type).extracted == winner


def test_averages_over_items_tasks_and_groups():
    right: Verdict = "correct"
    predictions = [sample("4", "bbh/navigate", str(i), right if i < 3 else "wrong") for i in range(4)]
    predictions += [sample("4", "bbh/snarks", "x", "wrong"), sample("4", "bbh/web_of_lies", "y", right)]
    assert averages(predictions) == pytest.approx(
        {"micro": 4 / 6, "macro": (0.75 + 0 + 1) / 3, "bbh/algorithmic": 0.875, "bbh/language": 0.0}
    )


def test_beams_are_another_evaluation_and_exclude_sampling(model, tmp_path):
    greedy, beams = run(model, tmp_path), run(model, tmp_path, num_beams=3)
    assert greedy.path != beams.path
    assert len(outputs(beams)) == len(outputs(greedy))
    assert run(model, tmp_path, num_beams=3).predictions == beams.predictions
    with pytest.raises(ConfigError, match="num_beams above 1 needs temperature: 0"):
        validated(EvaluationConfig, {"num_beams": 3, "temperature": 0.5}, where="evaluation")
