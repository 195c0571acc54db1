"""The training stage: what names it, what it writes, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from tests.tiny import save_tiny, tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from cotdistill.config import CachedTeacher, EvaluationConfig, LiveTeacher, ModelConfig, TrainingConfig
from cotdistill.evaluation.diagnosis.audit import audit_path
from cotdistill.evaluation.evaluate import evaluate
from cotdistill.experiments.make import prompt_target
from cotdistill.models.load.loading import model_identity
from cotdistill.models.load.origin import public_name
from cotdistill.records import Question, Rationale, Score
from cotdistill.training.card import add_scores, model_card
from cotdistill.training.loop import TrainingSummary
from cotdistill.training.stage import train, training_identity

QUESTION = Question("q", "own", "train", "Ann has 12 apples and gives 5 away. How many are left?", "7", "number")
RATIONALES = (Rationale(QUESTION, "12 - 5 = 7.", "me", 3, "cot"),)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return ModelConfig(model=str(save_tiny(tmp_path_factory.mktemp("models") / "student")))


def config_of(student: ModelConfig, **changes: Any) -> TrainingConfig:
    values = {"loss": [{"kind": "forward_kl"}], "signal": LiveTeacher(model=student), "dtype": "float32"}
    return TrainingConfig(**(values | changes))


CHANGES: list[dict[str, Any]] = [
    {"loss": [{"kind": "reverse_kl"}]},
    {"loss": [{"kind": "jensen_shannon"}]},
    {"loss": [{"kind": "forward_kl"}, {"kind": "cross_entropy"}]},
    {"loss": [{"kind": "forward_kl", "region": "answer"}]},
    {"loss": [{"kind": "forward_kl", "temperature": 2.0}]},
    {"loss": [{"kind": "cross_entropy"}], "signal": None},
    {"epochs": 1},
    {"learning_rate": 1e-4},
    {"batch_size": 2},
    {"max_length": 64},
    {"too_long": "error"},
    {"schedule": "linear"},
    {"dtype": "bfloat16"},
    {"target": "answer_then_rationale"},
    {"target": "multi_task"},
    {"on_policy": {}},
    {"on_policy": {"temperature": 0.7}},
    {"packing": True},
    {"attention": "eager"},
]


def test_a_training_of_today_has_the_name_that_it_had_before_there_were_targets(student: ModelConfig) -> None:
    """Settings that came later are in no key unless they are set."""
    identity = training_identity(student, RATIONALES, config_of(student), 0)
    assert identity["training"] == {"loss": [{"kind": "forward_kl"}], "dtype": "torch.float32"}
    assert identity["teacher"] == model_identity(student)


def test_whatever_changes_the_student_changes_its_key(student: ModelConfig) -> None:
    rationales = (
        RATIONALES,
        (dataclasses.replace(RATIONALES[0], rationale="5 of 12 go: 7."),),
        (dataclasses.replace(RATIONALES[0], rationale=None),),
    )
    identities = [training_identity(student, RATIONALES, config_of(student, **change), 0) for change in CHANGES]
    identities += [training_identity(student, rows, config_of(student), 0) for rows in rationales]
    identities.append(training_identity(student, RATIONALES, config_of(student), 1))
    cut = student.model_copy(update={"keep_layers": 1})
    identities.append(training_identity(cut, RATIONALES, config_of(student), 0))
    identities.append(training_identity(student, RATIONALES, config_of(student, signal=LiveTeacher(model=cut)), 0))
    assert len({repr(identity) for identity in identities}) == len(identities)


def test_settings_of_other_stores_are_in_no_key(student: ModelConfig) -> None:
    """And those of a signal's own store are."""

    def key(**signal: Any) -> str:
        cached = CachedTeacher(model=student, **signal)
        return repr(training_identity(student, RATIONALES, config_of(student, signal=cached), 0))

    assert key(store="topk", k=8) == key(store="topk", k=8, num_samples=9) != key(store="topk", k=9)
    assert key(store="sampled", num_samples=8) == key(store="sampled", num_samples=8, k=9)
    assert key(store="sampled", num_samples=8) != key(store="sampled", num_samples=9)
    assert key() == key(k=9, num_samples=9)


def test_how_often_checkpoints_are_written_changes_no_key(student: ModelConfig) -> None:
    keys = [training_identity(student, RATIONALES, config_of(student, checkpoint_every=n), 0) for n in (1, 100)]
    assert keys[0] == keys[1]


LONG = Rationale(dataclasses.replace(QUESTION, id="long"), "She gives one away. " * 100, "me", 3, "cot")


def test_a_student_is_a_plain_folder_with_a_card_that_says_what_made_it(student: ModelConfig, tmp_path: Path) -> None:
    config = config_of(student, epochs=2, max_length=256)
    made = train(student, [*RATIONALES, LONG], config, seed=0, runs=tmp_path, recipe="task: own\n")
    assert made.dropped == {"too_long": 1}
    assert made.target == "rationale"
    assert not (made.path / "checkpoint.tmp").exists()
    AutoModelForCausalLM.from_pretrained(made.model)
    AutoTokenizer.from_pretrained(made.model)
    add_scores(made.model, {"own": Score(4, 0.25, (0.1, 0.5), 1, 1, 1, 1)}, {"own": Score(4, 0, (0, 0.25), 0, 1, 1, 1)})
    card = (made.model / "README.md").read_text(encoding="utf-8")
    for part in (
        "2 of own by me (cot, granularity 3)",
        f"| teacher signal | {public_name(student.model)} |",
        "1 x forward_kl on all",
        "task: own",
        "| own | 25.0 % (10.0 to 50.0) | 0.0 % (0.0 to 25.0) | 4 | 1 | 1 |",
    ):
        assert part in card
    again = train(student, [*RATIONALES, LONG], config, seed=0, runs=tmp_path)
    assert again == made


def test_a_card_names_the_base_and_its_licence_and_no_path_of_this_machine(tmp_path: Path) -> None:
    """Of a student of SmolLM2's student too; a base without a name on the hub has none in the card."""
    smollm2 = ModelConfig(model="builtin:smollm2-135m")
    totals = TrainingSummary(1, 2, 3, 4, 5.0, 6.0, 7.0)
    folder = tmp_path / "key" / "student"
    folder.mkdir(parents=True)
    recipe = f"student: {folder}\nteacher: {{model: {tmp_path}/teacher, license: [a/b]}}\n"
    config = TrainingConfig()
    for base, name in ((smollm2, "builtin:smollm2-135m"), (ModelConfig(model=str(folder)), "key/student")):
        text = model_card(base, {f"2 of own by {tmp_path}/teacher (cot)": 2}, config, totals, recipe, "<|im_start|>\nQ")
        data = ModelCard(text).data.to_dict()
        assert (data["base_model"], data["license"]) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")
        assert f"`{name}`" in text
        assert "    <|im_start|>\n    Q\n" in text
        assert str(tmp_path) not in text
        (folder / "README.md").write_text(text)
    nano = ModelCard(model_card(ModelConfig(model="builtin:nano-student"), {}, config, totals, "", "Q")).data.to_dict()
    assert "base_model" not in nano


def test_a_kill_after_the_last_step_costs_no_training(student: ModelConfig, tmp_path: Path) -> None:
    """What is left of a checkpoint when its stage is done is deleted by whoever comes next."""
    config = config_of(student)
    made = train(student, RATIONALES, config, seed=0, runs=tmp_path)
    (made.path / "checkpoint.tmp").mkdir()
    (made.path / "checkpoint.tmp" / "parameters-1.safetensors").write_bytes(b"left by a kill")
    assert train(student, RATIONALES, config, seed=0, runs=tmp_path) == made
    assert not (made.path / "checkpoint.tmp").exists()


def test_students_of_answers_alone_are_asked_for_answers_alone(student: ModelConfig, tmp_path: Path) -> None:
    answers = [dataclasses.replace(RATIONALES[0], rationale=None, teacher="answer_only", format="answer_only")]
    config = config_of(student, loss=[{"kind": "cross_entropy"}], signal=None)
    assert train(student, answers, config, seed=0, runs=tmp_path).target == "answer"


def test_a_student_that_answers_first_is_evaluated_by_its_first_statement(student: ModelConfig, tmp_path: Path) -> None:
    """Taught an answer, and a rationale with another one in it, until it can say both by heart."""
    rationale = dataclasses.replace(RATIONALES[0], rationale="Some say the answer is 12. But 5 go.")
    config = config_of(
        student,
        loss=[{"kind": "cross_entropy"}],
        signal=None,
        target="answer_then_rationale",
        epochs=60,
        learning_rate=5e-3,
    )
    made = train(student, [rationale], config, seed=0, runs=tmp_path)
    assert made.target == prompt_target(EvaluationConfig(), made) == "answer_then_rationale"
    assert "| taught to write | answer then rationale |" in (made.model / "README.md").read_text(encoding="utf-8")
    taught = ModelConfig(model=str(made.model))
    settings = EvaluationConfig(max_new_tokens=60, dtype="float32")
    (prediction,) = evaluate(taught, [QUESTION], target=made.target, config=settings, runs=tmp_path)
    assert prediction.output == "The answer is 7.\nSome say the answer is 12. But 5 go."
    assert (prediction.extracted, prediction.verdict) == ("7", "correct")
    (folder,) = (tmp_path / "evaluation").iterdir()
    assert audit_path(folder).accuracy["statement"] == 1.0, "the audit reads the statement that the verdict was made of"


@pytest.mark.parametrize("kind", ["live", "cache"])
def test_a_teacher_with_a_padded_head_is_cut_and_spoken_of(
    kind: str, student: ModelConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(student.model)
    tiny_model(len(tokenizer) + 5, seed=4).save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    config = TrainingConfig.model_validate(
        {"epochs": 1, "loss": [{"kind": "forward_kl"}], "signal": {"kind": kind, "model": str(tmp_path / "teacher")}}
    )
    train(student, RATIONALES, config, seed=0, runs=tmp_path / "runs")
    assert f"has {len(tokenizer) + 5} outputs and the student's {len(tokenizer)}" in caplog.text
