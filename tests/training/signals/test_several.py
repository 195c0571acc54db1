"""Several teachers: each has its questions, and where several teach one, the weighted mean of their losses counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer
from tests.token_families import digits_split
from tests.training.signals.test_alignment import EVERY_DIVERGENCE

from cotdistill.config import (
    CachedTeacher,
    Divergence,
    ForwardKL,
    LiveTeacher,
    ModelConfig,
    ReverseKL,
    RoutedSignal,
    TotalVariation,
    TrainingConfig,
    identity,
    validated,
)
from cotdistill.errors import ConfigError, DataError
from cotdistill.records import Question, Rationale
from cotdistill.storage.jsonl import read_rows
from cotdistill.training.data.batches import Batch, collate
from cotdistill.training.data.examples import Example, make_examples
from cotdistill.training.losses import divergences as losses
from cotdistill.training.losses.fused import summed_losses
from cotdistill.training.signals.aligned import AlignedSignal
from cotdistill.training.signals.alignment import align
from cotdistill.training.signals.live import LiveSignal, TeacherSignal
from cotdistill.training.signals.samples import SampleAligner
from cotdistill.training.signals.several import Part, SeveralRows, SeveralSignals
from cotdistill.training.stage import capture_signals, train, training_identity
from cotdistill.training.step import DistillationLoss, accumulate

CPU = torch.device("cpu")
WEIGHTS = (0.7, 0.3, 2.0)
TEACHERS = {"q0": (0,), "q1": (0, 1), "q2": (1,), "q3": (0, 1, 2)}
"""Who teaches which question in the tests of values."""


def rationale(number: int, task: str = "own/a") -> Rationale:
    text = f"{number} and {number} " + "make it " * (number + 1) + f"{2 * number}."
    question = Question(f"q{number}", task, "train", f"What is {number} + {number}?", f"{2 * number}", "number")
    return Rationale(question, text, "me", 3, "cot")


RATIONALES = [rationale(0, "own/a"), rationale(1, "own/b"), rationale(2, "own/b"), rationale(3, "bbh/navigate")]


def examples() -> list[Example]:
    return make_examples(RATIONALES, tiny_tokenizer(), max_length=512, too_long="error")[0]


def live(seed: int, extra: int = 0) -> LiveSignal:
    """A tiny teacher; its head may be padded."""
    return LiveSignal(tiny_model(len(tiny_tokenizer()) + extra, seed=seed))


def several(*signals: TeacherSignal) -> SeveralSignals:
    return SeveralSignals([Part(one, weight) for one, weight in zip(signals, WEIGHTS, strict=False)], TEACHERS)


def gradients_of(signal: TeacherSignal, batches: list[Batch], term: Divergence) -> tuple[float, torch.Tensor]:
    student = tiny_model(len(tiny_tokenizer()), seed=9)
    loss, _, _ = accumulate(DistillationLoss(student, (term,), signal), batches, device=CPU, dtype=torch.float32)
    return loss, student.lm_head.weight.grad.clone()


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", EVERY_DIVERGENCE, ids=lambda term: term.kind)
def test_value_and_gradient_are_the_weighted_mean_of_each_teachers_in_float64(term: Divergence) -> None:
    """One head is padded, and some questions have one teacher, two, or all three."""
    batch, signals = collate(examples()), (live(1), live(2, extra=7), live(3))
    size = len(tiny_tokenizer())
    student_logits = torch.randn(len(batch.targets), size, generator=torch.Generator().manual_seed(5))
    plain = student_logits.double().requires_grad_()
    expected = plain.new_zeros(len(plain))
    for row, owner in enumerate(batch.owners.tolist()):
        own = TEACHERS[batch.examples[owner].id]
        for number in own:
            logits = signals[number].rows(batch).chunk(slice(row, row + 1)).logits[:, :size].double()
            share = WEIGHTS[number] / sum(WEIGHTS[each] for each in own)
            expected = expected.index_add(
                0, torch.tensor([row]), share * losses.divergence(term, plain[row : row + 1], logits)
            )
    ours = student_logits.clone().requires_grad_()
    found = several(*signals).rows(batch).chunk(slice(None)).divergence(term, ours)
    torch.testing.assert_close(found.double(), expected, rtol=2e-5, atol=2e-6)
    (gradient,) = torch.autograd.grad(found.sum(), ours)
    (reference,) = torch.autograd.grad(expected.sum(), plain)
    torch.testing.assert_close(gradient.double(), reference, rtol=2e-4, atol=2e-6)


def test_forward_kl_learns_the_mean_of_the_distributions_and_reverse_kl_their_geometric_mean() -> None:
    """As the formula says, though the values differ."""
    batch, signals = collate(examples()[3:]), (live(1), live(2), live(3))
    weights = torch.tensor(WEIGHTS, dtype=torch.float64) / sum(WEIGHTS)
    q = torch.randn(len(batch.targets), len(tiny_tokenizer()), dtype=torch.float64).requires_grad_()
    log_p = torch.stack([one.rows(batch).chunk(slice(None)).logits.double().log_softmax(-1) for one in signals])
    mixed = (log_p + weights.log()[:, None, None]).logsumexp(0)
    geometric = (weights[:, None, None] * log_p).sum(0).log_softmax(-1)
    for term, merged in ((ForwardKL(), mixed), (ReverseKL(), geometric)):
        (reference,) = torch.autograd.grad(losses.divergence_of(term)(merged, q.log_softmax(-1)).sum(), q)
        ours = q.detach().float().requires_grad_()
        value = several(*signals).rows(batch).chunk(slice(None)).divergence(term, ours)
        (gradient,) = torch.autograd.grad(value.sum(), ours)
        torch.testing.assert_close(gradient.double(), reference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_how_a_step_is_cut_changes_no_gradient(layout: Any) -> None:
    """Into micro-batches, chunks and blocks; a teacher with another tokenizer has spans that must stay whole."""
    signals = live(1), aligned_teacher(), live(3)
    term, chosen = TotalVariation(), examples()
    whole = gradients_of(several(*signals), [collate(chosen)], term)
    parts = gradients_of(several(*signals), [collate(chosen[:1], layout), collate(chosen[1:], layout)], term)
    assert whole[0] == pytest.approx(parts[0], rel=1e-5)
    torch.testing.assert_close(whole[1], parts[1], rtol=1e-4, atol=1e-7)


def aligned_teacher() -> AlignedSignal:
    student, teacher = tiny_tokenizer(), digits_split()
    alignments = align(RATIONALES, student, teacher, "byte_offset")
    live = LiveSignal(tiny_model(len(teacher), seed=2))
    return AlignedSignal(live, alignments, SampleAligner(student, teacher, alignments))


@pytest.mark.parametrize("size", [1, 3, 50])
def test_chunks_give_what_all_rows_give(size: int) -> None:
    batch = collate(examples())
    rows = several(live(1), aligned_teacher(), live(3)).rows(batch)
    assert isinstance(rows, SeveralRows)
    logits = torch.randn(len(batch.targets), len(tiny_tokenizer()), generator=torch.Generator().manual_seed(1))
    term = ForwardKL()
    whole = rows.chunk(slice(None)).divergence(term, logits)
    parts = [rows.chunk(part).divergence(term, logits[part]) for part in rows.slices(size)]
    assert sum(map(len, parts)) == len(whole)
    assert len(parts) > 1 or size == 50
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-5, atol=1e-6)
    counted = torch.ones(1, len(whole))
    blocks = [
        summed_losses(
            (term,), logits[part][inner], chunk.chunk(inner), batch.targets[part][inner], counted[:, part][:, inner]
        )
        for part in rows.slices(size)
        for chunk in [rows.chunk(part)]
        for inner in chunk.slices(2)
    ]
    torch.testing.assert_close(sum(blocks), whole.sum()[None], rtol=1e-5, atol=1e-5)


def test_one_teacher_of_all_gives_its_own_bits() -> None:
    chosen = examples()
    alone = SeveralSignals([Part(live(1), 0.3)], {example.id: (0,) for example in chosen})
    own, same = (gradients_of(signal, [collate(chosen)], ReverseKL()) for signal in (live(1), alone))
    assert own[0] == same[0]
    assert torch.equal(own[1], same[1])


# ---- settings -------------------------------------------------------------------------------------------------------


def config(teachers: list[dict[str, Any]], **changes: Any) -> TrainingConfig:
    signal = {"teachers": teachers} | ({"by": changes.pop("by")} if "by" in changes else {})
    values = {"epochs": 2, "batch_size": 2, "learning_rate": 1e-3, "dtype": "float32", "loss": ["forward_kl"]}
    return validated(TrainingConfig, values | changes | {"signal": signal}, where="training")


def test_one_teacher_alone_is_the_teacher_and_keeps_its_keys() -> None:
    listed = config([{"model": "x", "weight": 0.4}])
    plain = TrainingConfig.model_validate({**listed.model_dump(), "signal": {"model": "x"}})
    assert type(listed.signal) is LiveTeacher
    assert listed == plain
    assert identity(listed) == identity(plain)
    cached = config([{"kind": "cache", "model": "x", "store": "topk", "k": 5}]).signal
    assert cached == CachedTeacher(model=ModelConfig(model="x"), store="topk", k=5)


@pytest.mark.parametrize(
    ("by", "values", "places"),
    [
        ("task", ["bbh/navigate"], [3]),
        ("task", ["bbh"], [3]),
        ("task", ["b", "own/a"], [0, 1, 2]),
        ("task", ["own"], [0, 1, 2]),
        ("level", ["hard"], [1]),
    ],
)
def test_questions_are_routed_as_to_teachers_of_rationales(by: str, values: list[str], places: list[int]) -> None:
    signal = config([{"model": "x"}, {"model": "y", "values": values}], by=by).signal
    assert isinstance(signal, RoutedSignal)
    questions = [one.question for one in RATIONALES]
    questions[1].meta["level"] = "hard"
    assert [n for n, question in enumerate(questions) if 1 in signal.of(question)] == places
    assert all(0 in signal.of(question) for question in questions)


def test_settings_that_cannot_be_together_are_refused() -> None:
    two = [{"model": "x"}, {"model": "y", "context": "answer"}]
    with pytest.raises(ConfigError, match="read different contexts"):
        config(two)
    with pytest.raises(ConfigError, match="needs all layers of the teacher"):
        config([{"model": "x"}, {"model": "y"}], loss=["hidden_mse"])
    with pytest.raises(ConfigError, match="only by total_variation, not forward_kl"):
        config([{"model": "x"}, {"model": "y", "alignment": "sorted_probability"}])
    with pytest.raises(ConfigError, match="live samples are new"):
        config([{"model": "x"}, {"kind": "cache", "model": "y"}], on_policy={"offline": False})


# ---- the stage ------------------------------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path: Path) -> dict[str, str]:
    return {name: str(save_tiny(tmp_path / name, seed=seed)) for seed, name in enumerate(("student", "a", "b"))}


def test_captured_teachers_give_the_student_that_live_ones_give_and_are_captured_once(
    models: dict[str, str], tmp_path: Path
) -> None:
    """Each by itself: a training with one of them alone reads what is there."""
    student = ModelConfig(model=models["student"])
    settings = [{"model": models["a"], "weight": 0.7}, {"model": models["b"], "weight": 0.3, "values": ["b", "bbh"]}]
    cached = config([{"kind": "cache", **one} for one in settings])
    folders = [one.folder for one in capture_signals(student, RATIONALES, cached, runs=tmp_path)]
    assert [len(list(read_rows(folder / "index.jsonl"))) for folder in folders] == [4, 3]
    stored = train(student, RATIONALES, cached, seed=0, runs=tmp_path)
    running = train(student, RATIONALES, config(settings), seed=0, runs=tmp_path / "live")
    for one, other in zip(metrics(stored.path), metrics(running.path), strict=True):
        assert one == pytest.approx(other, rel=1e-5)  # a live teacher reads other batches: those of a step
    alone = config([{"kind": "cache", "model": models["a"]}])
    assert capture_signals(student, RATIONALES, alone, runs=tmp_path)[0].folder == folders[0]
    keys = [
        str(training_identity(student, RATIONALES, each, 0)["teacher"])
        for each in (cached, config(settings[:1]), config([settings[0] | {"weight": 0.5}, settings[1]]))
    ]
    assert len(set(keys)) == 3


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [
        {name: row[name] for name in ("step", "loss", "grad_norm", "num_loss_tokens")}
        for row in read_rows(folder / "metrics.jsonl")
    ]


def test_a_question_that_nobody_teaches_is_dropped_and_counted(models: dict[str, str], tmp_path: Path) -> None:
    student = ModelConfig(model=models["student"])
    two = [{"model": models["a"], "values": ["a"]}, {"model": models["b"], "values": ["bbh"]}]
    assert train(student, RATIONALES, config(two), seed=0, runs=tmp_path).dropped == {"without_a_teacher": 2}
    with pytest.raises(DataError, match="no teacher is for any of the questions"):
        train(student, RATIONALES, config([{"model": models["a"], "values": ["gsm8k"]}]), seed=0, runs=tmp_path)
