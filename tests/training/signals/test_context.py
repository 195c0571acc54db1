"""A teacher who knows more than its student: it reads a hint in its prompt, and the same response behind it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer

from cotdistill.config import (
    CachedTeacher,
    ForwardKL,
    GoldContext,
    LiveTeacher,
    LossConfig,
    ModelConfig,
    OwnContext,
    TeacherContext,
    TrainingConfig,
)
from cotdistill.config.loss import HiddenMSE
from cotdistill.errors import ArtifactError, ModelError
from cotdistill.models.tokens.template import encode_prompt
from cotdistill.records import Question, Rationale
from cotdistill.storage.jsonl import read_rows
from cotdistill.tasks.prompts import hint_of, prompt_text
from cotdistill.training.data.batches import collate
from cotdistill.training.data.examples import Example, make_examples
from cotdistill.training.signals.aligned import AlignedSignal
from cotdistill.training.signals.alignment import align
from cotdistill.training.signals.capture import capture
from cotdistill.training.signals.live import LiveSignal, TeacherSignal
from cotdistill.training.stage import train, training_identity
from cotdistill.training.step import DistillationLoss, accumulate

CPU = torch.device("cpu")
CONTEXTS: tuple[GoldContext, ...] = ("rationale", "answer")
RATIONALES = [
    Rationale(Question(f"q{n}", "own", "train", f"What is {n} + 5?", str(n + 5), "number"), text, "me", None, "human")
    for n, text in enumerate(("0 + 5 = 5.", "1 and 5 make 6.\nSo it is 6.", None))
]


def examples(context: TeacherContext, rationales: list[Rationale] = RATIONALES) -> list[Example]:
    return make_examples(rationales, tiny_tokenizer(), max_length=512, too_long="error", context=context)[0]


def step_loss(signal: TeacherSignal, made: list[Example], terms: tuple[LossConfig, ...] = (ForwardKL(),)) -> float:
    """Of the model that is also the teacher's."""
    module = DistillationLoss(tiny_model(len(tiny_tokenizer())), terms, signal)
    return accumulate(module, [collate(made)], device=CPU, dtype=torch.float32)[0]


def own_teacher() -> LiveSignal:
    return LiveSignal(tiny_model(len(tiny_tokenizer())))


def test_a_hint_holds_what_it_says() -> None:
    rationale, _, alone = RATIONALES
    assert hint_of(rationale, "none") == ""
    assert hint_of(rationale, "answer") == "For reference: The answer is 5."
    assert hint_of(rationale, "rationale") == "For reference: 0 + 5 = 5.\nThe answer is 5."
    assert hint_of(alone, "rationale") == hint_of(alone, "answer") == "For reference: The answer is 7."
    hinted = prompt_text(rationale.question, "rationale", hint_of(rationale, "answer"))
    assert hinted.splitlines()[:2] == ["What is 0 + 5?", "For reference: The answer is 5."]


@pytest.mark.parametrize("context", CONTEXTS)
def test_only_the_teachers_prompt_differs(context: GoldContext) -> None:
    tokenizer = tiny_tokenizer()
    for plain, hinted, rationale in zip(examples("none"), examples(context), RATIONALES, strict=True):
        assert (hinted.input_ids, hinted.targets, hinted.regions) == (plain.input_ids, plain.targets, plain.regions)
        assert hinted.key != plain.key
        read = hinted.of_teacher()
        asked = "answer" if rationale.rationale is None else "rationale"
        prompt = encode_prompt(tokenizer, prompt_text(rationale.question, asked, hint_of(rationale, context)))
        assert read.prompt == prompt
        assert read.targets[-read.num_loss_tokens :] == plain.targets[-plain.num_loss_tokens :]
        assert read.regions[-read.num_loss_tokens :] == plain.regions[-plain.num_loss_tokens :]
        assert plain.of_teacher() is plain


@pytest.mark.parametrize("terms", [(ForwardKL(),), (HiddenMSE(),)], ids=["logits", "hidden states"])
def test_a_model_differs_from_itself_by_what_it_knows(terms: tuple[LossConfig, ...]) -> None:
    assert step_loss(own_teacher(), examples("none"), terms) == pytest.approx(0, abs=1e-6)
    losses = [step_loss(own_teacher(), examples(context), terms) for context in CONTEXTS]
    assert min(losses) > 1e-3
    assert losses[0] != losses[1]


@pytest.mark.parametrize("context", CONTEXTS)
def test_an_aligned_teacher_with_the_same_tokens_says_the_same(context: TeacherContext) -> None:
    alignments = align(RATIONALES, tiny_tokenizer(), tiny_tokenizer(), "byte_offset", context=context)
    aligned = step_loss(AlignedSignal(own_teacher(), alignments), examples(context))
    assert aligned == pytest.approx(step_loss(own_teacher(), examples(context)), rel=1e-5)


def test_what_is_captured_with_a_context_is_what_the_teacher_says_with_it(tmp_path: Path) -> None:
    teacher = ModelConfig(model=str(save_tiny(tmp_path / "teacher")))
    made = examples("answer")
    config = CachedTeacher(model=teacher, context="answer")
    stored = capture(config, made, dtype="float32", max_batch_tokens=64, runs=tmp_path)
    assert step_loss(stored, made) == pytest.approx(step_loss(own_teacher(), made), rel=1e-5)
    elsewhere = CachedTeacher(model=teacher, path=stored.folder)
    with pytest.raises(ArtifactError, match="no signal for 3 of 3 examples"):
        capture(elsewhere, examples("none"), dtype="float32", max_batch_tokens=64, runs=tmp_path)


def test_a_model_learns_from_itself(tmp_path: Path) -> None:
    """The teacher is the student as it was at the start, with the answer in its prompt."""
    model = ModelConfig(model=str(save_tiny(tmp_path / "model")))
    changes = {"signal": LiveTeacher(model=model, context="answer"), "epochs": 20, "learning_rate": 3e-3}
    config = TrainingConfig.model_validate({"loss": ["forward_kl"], "dtype": "float32", **changes})
    made = train(model, RATIONALES, config, seed=0, runs=tmp_path)
    losses = [row["loss"] for row in read_rows(made.path / "metrics.jsonl")]
    assert losses[0] > 0.01
    assert losses[-1] < 0.5 * losses[0]
    assert "who reads the gold answer" in (made.model / "README.md").read_text(encoding="utf-8")
    other = config.model_copy(update={"signal": LiveTeacher(model=model, context="rationale")})
    assert training_identity(model, RATIONALES, other, 0) != training_identity(model, RATIONALES, config, 0)


def own_context(path: Path, text: str) -> OwnContext:
    path.write_text(text, encoding="utf-8")
    return OwnContext.model_validate({"prompt": str(path)})


def test_a_teacher_reads_a_prompt_of_its_own(tmp_path: Path) -> None:
    concise = own_context(tmp_path / "concise.txt", "$question\nBe concise. (It is $gold.)")
    for plain, told, rationale in zip(examples("none"), examples(concise), RATIONALES, strict=True):
        text = f"{rationale.question.question}\nBe concise. (It is {rationale.question.answer}.)"
        assert told.of_teacher().prompt == encode_prompt(tiny_tokenizer(), text)
        assert (told.prompt, told.targets) == (plain.prompt, plain.targets)
    chat = own_context(
        tmp_path / "chat.yaml", "- {role: system, content: Be concise.}\n- {role: user, content: $question}"
    )
    messages = [{"role": "system", "content": "Be concise."}, {"role": "user", "content": "What is 0 + 5?"}]
    assert examples(chat)[0].of_teacher().prompt == encode_prompt(tiny_tokenizer(), messages)
    assert step_loss(own_teacher(), examples(chat)) > 1e-3


def test_a_training_is_known_by_its_teachers_prompt_and_keeps_it(tmp_path: Path) -> None:
    model = ModelConfig(model=str(save_tiny(tmp_path / "model")))

    def told(path: Path, text: str) -> TrainingConfig:
        signal = LiveTeacher(model=model, context=own_context(path, text))
        return TrainingConfig.model_validate({"loss": ["forward_kl"], "dtype": "float32", "signal": signal})

    config = told(tmp_path / "a.txt", "$question Be concise.")
    key = training_identity(model, RATIONALES, config, 0)
    assert training_identity(model, RATIONALES, told(tmp_path / "b.txt", "$question Be concise.\n"), 0) == key
    assert training_identity(model, RATIONALES, told(tmp_path / "b.txt", "$question Be brief."), 0) != key
    again = TrainingConfig.model_validate_json(config.model_dump_json())
    assert training_identity(model, RATIONALES, again, 0) == key, "as other processes get it"
    made = train(model, RATIONALES, config, seed=0, runs=tmp_path)
    assert (made.path / "teacher_prompt.txt").read_text("utf-8") == "$question Be concise."
    assert "who reads a prompt of its own (a.txt)" in (made.model / "README.md").read_text(encoding="utf-8")


def test_a_prompt_over_the_teachers_positions_is_refused_in_one_line() -> None:
    question = Question("q", "own", "train", "What is it?", "5", "number")
    long = [Rationale(question, "It is this. " * 40, "me", None, "human")]
    made = examples("rationale", long)
    assert len(made[0]) < 512 < len(made[0].of_teacher())
    with pytest.raises(ModelError, match=r"exceed the teacher's 512 positions; lower training\.max_length"):
        own_teacher().rows(collate(made))
