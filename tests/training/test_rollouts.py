"""On-policy steps: the student's own samples, the same after a kill, scored token by token by the teacher."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.batch_dependent import depends_on_its_batch
from tests.command import die_before_change, new_process
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer
from transformers import LlamaForCausalLM

from cotdistill.config import ForwardKL, ModelConfig, OnPolicy, ProceduralTask, TrainingConfig, validated
from cotdistill.errors import ConfigError, TrainingError
from cotdistill.models.load.loading import load_model, load_tokenizer
from cotdistill.models.tokens.template import decode, stop_token_id
from cotdistill.records import Question, Rationale
from cotdistill.storage.jsonl import read_rows
from cotdistill.tasks import load_task
from cotdistill.tasks.segments import Region
from cotdistill.training.data.batches import collate, micro_batches
from cotdistill.training.data.examples import Example, make_example, make_examples
from cotdistill.training.loop import CHECKPOINT, METRICS, train_student
from cotdistill.training.rollouts import Rollouts, sampled
from cotdistill.training.signals.live import LiveSignal
from cotdistill.training.stage import train as train_stage
from cotdistill.training.step import DistillationLoss, accumulate

CPU = torch.device("cpu")
RATIONALES = [
    Rationale(
        Question(f"q{n}", "own", "train", f"What is {n} + {n}?", str(2 * n), "number"),
        f"{n} and {n} " + "make it " * n + f"{2 * n}.",
        "me",
        3,
        "cot",
    )
    for n in range(1, 9)
]


def examples(context: Any = "none") -> list[Example]:
    return make_examples(RATIONALES, tiny_tokenizer(), max_length=512, too_long="error", context=context)[0]


def config(**changes: object) -> TrainingConfig:
    values = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-2, "dtype": "float32", "checkpoint_every": 1}
    live = {"loss": ["forward_kl"], "signal": {"kind": "live", "model": "the teacher below"}}
    return TrainingConfig.model_validate(values | live | changes)


def own_samples(**changes: Any) -> Rollouts:
    return Rollouts(OnPolicy(**({"max_new_tokens": 12} | changes)), tiny_tokenizer(), seed=0, dtype=torch.float32)


def drawn_by(rollouts: Rollouts, student: LlamaForCausalLM, chosen: dict[int, Example], *, step: int) -> Any:
    return rollouts.sample(student, {step: chosen}, rollouts.config.longest)[step]


def ready_to_stop() -> LlamaForCausalLM:
    """A tiny student that ends most of its samples before the limit."""
    student = tiny_model(len(tiny_tokenizer()))
    with torch.no_grad():
        student.lm_head.weight[stop_token_id(tiny_tokenizer())] += student.lm_head.weight.mean(0) + 0.4
    return student


def train(folder: Path, rollouts: Rollouts | None, weights: Path | None = None, dies_before: int | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    student = depends_on_its_batch(tiny_model(len(tiny_tokenizer())))
    student.config.attention_dropout = 0.1
    teacher = LiveSignal(depends_on_its_batch(tiny_model(len(tiny_tokenizer()), seed=1)))
    if dies_before is not None:
        die_before_change(dies_before)
    train_student(student, examples(), config(), signal=teacher, seed=0, folder=folder, rollouts=rollouts)
    if weights:
        torch.save(student.state_dict(), weights)


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [row | {"seconds": None} for row in read_rows(folder / METRICS)]


def assert_same_weights(*files: Path) -> None:
    one, other = (torch.load(file, weights_only=True) for file in files)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_share_of_nothing_is_training_without_samples_to_the_bit(tmp_path: Path) -> None:
    train(tmp_path / "off", None, tmp_path / "off.pt")
    train(tmp_path / "none", own_samples(share=0), tmp_path / "none.pt")
    assert_same_weights(tmp_path / "off.pt", tmp_path / "none.pt")
    assert metrics(tmp_path / "off") == metrics(tmp_path / "none")


def test_a_killed_training_on_samples_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    """With a share of a half, so that the choice of steps must be the same too."""
    rollouts = replace(own_samples(share=0.5), seed=2)
    train(tmp_path / "unbroken", rollouts, tmp_path / "unbroken.pt")
    has_samples = ["rollouts" in row for row in metrics(tmp_path / "unbroken")]
    assert {True, False} == set(has_samples)
    statuses = []
    for dies_before in (20, None):
        process = new_process(train, tmp_path / "killed", rollouts, tmp_path / "killed.pt", dies_before)
        process.join(240)
        statuses.append(process.exitcode)
        if dies_before:
            assert (tmp_path / "killed" / CHECKPOINT / "checkpoint.json").exists()
    assert statuses == [-signal.SIGKILL, 0]
    assert_same_weights(tmp_path / "unbroken.pt", tmp_path / "killed.pt")
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "unbroken")


def test_the_share_of_steps_is_the_one_that_was_asked_for() -> None:
    """Within four standard errors, for 2000 steps."""
    for share in (0.0, 0.3, 1.0):
        rollouts = own_samples(share=share)
        steps = sum(map(rollouts.are_of, range(2000))) / 2000
        assert abs(steps - share) <= 4 * (share * (1 - share) / 2000) ** 0.5


def test_samples_go_behind_the_same_prompts_and_are_cut_without_an_end() -> None:
    student, chosen = ready_to_stop(), dict(enumerate(examples("answer")))
    rollouts, stop = own_samples(max_new_tokens=8), stop_token_id(tiny_tokenizer())
    drawn = drawn_by(rollouts, student, chosen, step=3)
    assert list(drawn) == list(chosen)
    finished = 0
    for number, sample in drawn.items():
        assert (sample.prompt, sample.teacher_prompt) == (chosen[number].prompt, chosen[number].teacher_prompt)
        written = sample.targets[-sample.num_loss_tokens :]
        assert sample.input_ids[1:] == sample.targets[:-1]
        assert stop not in written[:-1]
        if written[-1] == stop:
            finished += 1
            assert len(written) <= 8
            assert sample.regions[-1] is Region.END
        else:
            assert len(written) == 8
            assert Region.END not in sample.regions
    assert 0 < finished < len(drawn), "some must end, and some be cut"
    counts = rollouts.counts(drawn.values())
    assert counts["truncated"] == len(drawn) - finished
    assert counts["mean_length"] == sum(sample.num_loss_tokens for sample in drawn.values()) / len(drawn)


def test_what_is_drawn_depends_on_seed_step_and_example_alone() -> None:
    student, chosen = tiny_model(len(tiny_tokenizer())), dict(enumerate(examples()))
    drawn = drawn_by(own_samples(), student, chosen, step=3)
    alone = drawn_by(own_samples(), student, {5: chosen[5]}, step=3)
    assert alone == {5: drawn[5]}
    assert drawn_by(own_samples(), student, chosen, step=4)[5] != drawn[5]
    assert drawn_by(replace(own_samples(), seed=1), student, chosen, step=3)[5] != drawn[5]
    student.train()
    assert drawn_by(own_samples(), student, chosen, step=3) == drawn, "there is no dropout in samples"
    assert student.training


@pytest.mark.parametrize("context", ["none", "rationale"])
def test_neither_padding_nor_the_cut_into_batches_changes_the_gradient_of_samples(context: str) -> None:
    drawn = drawn_by(own_samples(), ready_to_stop(), dict(enumerate(examples(context))), step=0)
    sizes = {number: len(sample) for number, sample in drawn.items()}
    results = []
    for max_batch_tokens in (1, 300, 10_000):
        student = tiny_model(len(tiny_tokenizer()))
        module = DistillationLoss(student, (ForwardKL(),), LiveSignal(tiny_model(len(tiny_tokenizer()), seed=1)))
        batches = [collate([drawn[i] for i in micro]) for micro in micro_batches(list(drawn), sizes, max_batch_tokens)]
        loss, _, _ = accumulate(module, batches, device=CPU, dtype=torch.float32)
        results.append((len(batches), loss, {name: p.grad.clone() for name, p in student.named_parameters()}))
    assert results[0][0] == len(drawn) > results[1][0] > results[2][0] == 1
    for _, loss, gradients in results[1:]:
        assert loss == pytest.approx(results[0][1], rel=1e-5)
        for name, gradient in results[0][2].items():
            assert (gradient - gradients[name]).norm() <= 1e-5 * max(gradient.norm().item(), 1e-3), name


def regions_of(written: str, target: Any) -> list[tuple[Region, str]]:
    """The text of each region of a sample, in order."""
    tokenizer = tiny_tokenizer()
    ids = tokenizer(written)["input_ids"]
    sample = sampled(tokenizer, make_example(RATIONALES[0], tokenizer, target), ids, finished=True)
    parts: list[tuple[Region, list[int]]] = []
    for token, region in zip(sample.targets, sample.regions, strict=True):
        if region and (not parts or parts[-1][0] is not region):
            parts.append((region, []))
        if region:
            parts[-1][1].append(token)
    return [(region, decode(tokenizer, tokens)) for region, tokens in parts]


def test_a_sample_is_parted_by_its_statement_of_the_answer() -> None:
    rationale, answer, end = Region.RATIONALE, Region.ANSWER, (Region.END, "")
    text = "The answer is 3 at first. Then 4.\nSo the answer is 4."
    assert regions_of(text, "rationale") == [
        (rationale, "The answer is 3 at first. Then 4.\n"),
        (answer, "So the answer is 4."),
        end,
    ]
    assert regions_of("Who knows? 漢字 🙂.", "rationale") == [(rationale, "Who knows? 漢字 🙂."), end]
    assert regions_of("漢字 🙂.\nThe answer is 漢字.", "rationale") == [
        (rationale, "漢字 🙂.\n"),
        (answer, "The answer is 漢字."),
        end,
    ]
    text = "The answer is 3.\nFor the answer is 3."
    assert regions_of(text, "answer_then_rationale") == [
        (answer, "The answer is 3.\n"),
        (rationale, "For the answer is 3."),
        end,
    ]
    assert regions_of("Who knows?", "answer_then_rationale") == [(rationale, "Who knows?"), end]
    assert regions_of("1 and 1.\nThe answer is 2.", "answer") == [(answer, "1 and 1.\nThe answer is 2."), end]
    assert regions_of("The answer is 2.", "explain") == [(rationale, "The answer is 2.")]


def nano(task_seed: int) -> list[Example]:
    task = load_task(
        ProceduralTask(kinds=("multistep_arithmetic",), difficulty=2, num_train=16, num_test=1, seed=task_seed)
    )
    rationales = [Rationale(question, "It turns around.", "me", None, "human") for question in task.train]
    tokenizer = load_tokenizer(ModelConfig(model="builtin:nano-student"))
    return make_examples(rationales, tokenizer, max_length=512, too_long="error")[0]


def test_training_on_samples_lowers_their_divergence_on_the_nano_pair(tmp_path: Path) -> None:
    """Of the samples that the student writes for questions which it was not trained on, before and after."""
    teacher, student = (
        load_model(ModelConfig(model=f"builtin:nano-{role}"), dtype=torch.float32, device="cpu")
        for role in ("teacher", "student")
    )
    tokenizer = load_tokenizer(ModelConfig(model="builtin:nano-student"))
    rollouts = Rollouts(OnPolicy(share=1, max_new_tokens=32), tokenizer, seed=0, dtype=torch.float32)
    module = DistillationLoss(student, (ForwardKL(),), LiveSignal(teacher))
    held_out = dict(enumerate(nano(2)))

    def divergence() -> float:
        batch = collate(list(drawn_by(rollouts, student.eval(), held_out, step=10_000).values()))
        with torch.no_grad():
            return module(batch, len(batch.targets))[0].item()

    before = divergence()
    settings = config(epochs=6, batch_size=8, learning_rate=2e-4)
    summary = train_student(
        student, nano(1), settings, signal=LiveSignal(teacher), seed=0, folder=tmp_path, rollouts=rollouts
    )
    assert summary.rollouts is not None
    assert summary.rollouts["num_steps"] == summary.num_steps == 12
    assert divergence() < 0.8 * before


def test_a_students_card_and_summary_say_what_it_sampled(tmp_path: Path) -> None:
    model = ModelConfig(model=str(save_tiny(tmp_path / "model")))
    settings = config(
        signal={"kind": "live", "model": model, "context": "answer"},
        on_policy={"share": 1, "max_new_tokens": 5},
        epochs=1,
        target="multi_task",
    )
    made = train_stage(model, RATIONALES, settings, seed=0, runs=tmp_path)
    rows = metrics(made.path)
    assert made.summary["rollouts"] == {
        "num_steps": 2,
        "mean_length": sum(row["rollouts"]["mean_length"] for row in rows) / 2,
        "truncated": sum(row["rollouts"]["truncated"] for row in rows),
        "repeated": sum(row["rollouts"]["repeated"] for row in rows),
    }
    assert "| steps on own samples | 2, " in (made.model / "README.md").read_text(encoding="utf-8")


def test_a_sample_that_cannot_fit_the_students_positions_is_refused_before_training(tmp_path: Path) -> None:
    student, teacher = tiny_model(len(tiny_tokenizer())), LiveSignal(tiny_model(len(tiny_tokenizer()), seed=1))
    with pytest.raises(TrainingError, match=r"student's 512 positions; lower training\.on_policy\.max_new_tokens"):
        train_student(
            student,
            examples(),
            config(),
            signal=teacher,
            seed=0,
            folder=tmp_path,
            rollouts=own_samples(max_new_tokens=500),
        )
    assert not (tmp_path / METRICS).exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"signal": {"kind": "cache", "model": "x"}, "on_policy": {"offline": False}},
            "live samples are new, so no stored signal has them; delete on_policy.offline",
        ),
        ({"signal": None, "loss": ["cross_entropy"]}, "on_policy needs a teacher that scores the samples; add signal"),
        (
            {"loss": ["forward_kl", "cross_entropy"], "on_policy": {"share": 1}},
            "cross_entropy applies to steps on the rationales, and with on_policy.share: 1 there are none; lower",
        ),
        ({"on_policy": {"engine": "vllm"}}, "engine vllm has the student as it was before training.*offline: true"),
        (
            {"on_policy": {"engine": {"kind": "openai", "base_url": "http://localhost:1/v1", "model": "s"}}},
            "engine openai has the student as it was before training.*offline: true",
        ),
        ({"on_policy": {"offline": True, "buffer": 2}}, "drawn before training; delete on_policy.buffer"),
        (
            {"on_policy": {"offline": True, "max_new_tokens": {"start": 1, "end": 9}}},
            "at one length; give on_policy.max_new_tokens one number",
        ),
        (
            {"signal": {"model": "x", "alignment": "byte_offset"}, "on_policy": {"offline": True}},
            "offline samples are scored as the same tokens; set on_policy.offline: false",
        ),
    ],
)
def test_samples_that_nothing_can_score_are_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    values = {"loss": ["forward_kl"], "signal": {"model": "x"}, "on_policy": {}} | changes
    with pytest.raises(ConfigError, match=message) as raised:
        validated(TrainingConfig, values, where="train")
    assert "\n" not in str(raised.value)
