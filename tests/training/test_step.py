"""The step: fused equals plain, and neither micro-batches nor padding nor chunks change a gradient."""

from __future__ import annotations

import random

import pytest
import torch
from tests.tiny import tiny_model

from cotdistill.config import CrossEntropy, ForwardKL, LossConfig, PositionWeights
from cotdistill.models.forward.heads import head_of, head_parameters, last_hidden_states
from cotdistill.tasks.segments import Region
from cotdistill.training.data.batches import collate, micro_batches
from cotdistill.training.data.examples import Example
from cotdistill.training.losses import fused
from cotdistill.training.losses.fused import LossInputs, fused_loss, summed_losses
from cotdistill.training.losses.weights import token_weights
from cotdistill.training.signals.live import HiddenRows, LiveSignal, LogitsChunk
from cotdistill.training.step import DistillationLoss, accumulate

VOCAB = 60
CPU = torch.device("cpu")
MIXED: tuple[LossConfig, ...] = (
    CrossEntropy(weight=0.5, region="answer"),
    ForwardKL(weight=2.0, region="rationale", temperature=2.0),
    ForwardKL(weight=0.25, positions=PositionWeights(first_share=0.7, end=0.0)),
)


def random_examples(count: int, *, seed: int = 0) -> list[Example]:
    generator = random.Random(seed)
    examples = []
    for number in range(count):
        most = {Region.PROMPT: (2, 9), Region.RATIONALE: (0, 12), Region.ANSWER: (1, 4), Region.END: (1, 1)}
        regions = [region for region, limits in most.items() for _ in range(generator.randint(*limits))]
        tokens = [generator.randrange(1, VOCAB) for _ in regions]
        examples.append(Example(f"e{number}", tokens[:-1], tokens[1:], regions[1:]))
    return examples


def gradients(
    examples: list[Example],
    terms: tuple[LossConfig, ...],
    *,
    max_batch_tokens: int,
    student_vocab: int = VOCAB,
    teacher_vocab: int = VOCAB,
) -> tuple[float, dict[str, torch.Tensor]]:
    student = tiny_model(student_vocab, seed=1)
    signal = LiveSignal(tiny_model(teacher_vocab, hidden=48, layers=1, seed=2))
    module = DistillationLoss(student, terms, signal)
    lengths = [len(example) for example in examples]
    batches = [
        collate([examples[i] for i in micro])
        for micro in micro_batches(range(len(examples)), lengths, max_batch_tokens)
    ]
    loss, _, _ = accumulate(module, batches, device=CPU, dtype=torch.float32)
    return loss, {name: parameter.grad.clone() for name, parameter in student.named_parameters()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float = 1e-5) -> None:
    for name, gradient in one.items():
        assert (gradient - other[name]).norm() <= tolerance * max(gradient.norm().item(), 1e-3), name


@pytest.mark.parametrize("terms", [(CrossEntropy(),), (ForwardKL(temperature=3.0),), MIXED], ids=str)
def test_fused_is_the_plain_loss_in_value_and_gradient(terms: tuple[LossConfig, ...]) -> None:
    """The plain path: logits of all positions in one tensor, autograd through everything."""
    examples = random_examples(7)
    loss, chunked = gradients(examples, terms, max_batch_tokens=10_000)

    student, teacher = tiny_model(VOCAB, seed=1), tiny_model(VOCAB, hidden=48, layers=1, seed=2)
    batch = collate(examples)
    logits = student(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.flatten(0, 1)
    with torch.no_grad():
        teacher_logits = teacher(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.flatten(0, 1)
    sums = summed_losses(
        terms,
        logits[batch.positions],
        LogitsChunk(teacher_logits[batch.positions]),
        batch.targets,
        token_weights(terms, batch.regions, batch.owners),
    )
    plain = (sums * torch.tensor([term.weight for term in terms])).sum() / len(batch.targets)
    plain.backward()
    assert loss == pytest.approx(plain.item(), rel=1e-5)
    assert_same({name: parameter.grad for name, parameter in student.named_parameters()}, chunked)


@pytest.mark.parametrize(("tokens_per_chunk", "tokens_per_block"), [(1, 1), (7, 1000), (7, 3), (1000, 1), (1000, 4)])
def test_chunks_and_blocks_change_nothing(
    tokens_per_chunk: int, tokens_per_block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    student, teacher = tiny_model(VOCAB, seed=1), tiny_model(VOCAB, seed=2)
    batch = collate(random_examples(5))
    rows = LiveSignal(teacher).rows(batch)

    def run(size: int) -> tuple[float, torch.Tensor, torch.Tensor]:
        student.zero_grad()
        hidden = last_hidden_states(student, batch.input_ids, batch.attention_mask).flatten(0, 1)[batch.positions]
        hidden.retain_grad()
        loss, _ = fused_loss(
            hidden,
            head_of(student),
            head_parameters(student),
            LossInputs(batch.targets, token_weights(MIXED, batch.regions, batch.owners), rows),
            MIXED,
            num_loss_tokens=len(batch.targets),
            tokens_per_chunk=size,
        )
        loss.backward()
        return loss.item(), hidden.grad, student.get_output_embeddings().weight.grad.clone()

    loss, hidden_gradient, head_gradient = run(50)
    monkeypatch.setattr(fused, "BLOCK_LOGITS", tokens_per_block * VOCAB)
    other = run(tokens_per_chunk)
    assert other[0] == pytest.approx(loss, rel=1e-6)
    torch.testing.assert_close(other[1], hidden_gradient, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(other[2], head_gradient, rtol=1e-4, atol=1e-7)


def test_the_cut_into_micro_batches_changes_no_gradient() -> None:
    """1x8 = 2x4 = 8x1: the token mean divides by the loss tokens of the whole step, once."""
    examples = random_examples(8)
    loss, whole = gradients(examples, MIXED, max_batch_tokens=10_000)
    for max_batch_tokens in (80, 1):
        split_loss, split = gradients(examples, MIXED, max_batch_tokens=max_batch_tokens)
        assert split_loss == pytest.approx(loss, rel=1e-5)
        assert_same(whole, split)


def test_padding_changes_no_gradient() -> None:
    """A long neighbour pads the short example; its own gradient must stay what it is alone."""
    short, long = random_examples(2, seed=3)
    long = Example("long", long.input_ids * 4, long.targets * 4, [Region.PROMPT] * (4 * len(long)))
    terms = (CrossEntropy(),)
    _, alone = gradients([short], terms, max_batch_tokens=10_000)
    _, padded = gradients([short, long], terms, max_batch_tokens=10_000)
    assert_same(alone, padded)


def test_a_head_padded_to_another_size_is_cut_to_the_shared_range() -> None:
    """The teacher's extra rows must not change the loss: only their slice is compared."""
    examples = random_examples(4)
    terms = (ForwardKL(),)
    student = tiny_model(VOCAB, seed=1)
    batch = collate(examples)
    hidden = last_hidden_states(student, batch.input_ids, batch.attention_mask).flatten(0, 1)[batch.positions]
    teacher_logits = torch.randn(len(batch.targets), VOCAB, generator=torch.Generator().manual_seed(4))
    padded = torch.cat([teacher_logits, torch.full((len(batch.targets), 8), 5.0)], dim=1)

    def loss(logits: torch.Tensor) -> float:
        rows = HiddenRows(torch.arange(len(batch.targets)), lambda which: logits[which])
        value, _ = fused_loss(
            hidden.detach(),
            head_of(student),
            [],
            LossInputs(batch.targets, token_weights(terms, batch.regions, batch.owners), rows),
            terms,
            num_loss_tokens=1,
            tokens_per_chunk=5,
        )
        return value.item()

    assert loss(padded) == pytest.approx(loss(teacher_logits), rel=1e-6)


def test_a_teacher_gets_no_gradient_and_does_not_drop_out() -> None:
    teacher = tiny_model(VOCAB, seed=2).train()
    module = DistillationLoss(tiny_model(VOCAB, seed=1), (ForwardKL(),), LiveSignal(teacher))
    module.train()
    accumulate(module, [collate(random_examples(3))], device=CPU, dtype=torch.float32)
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_student_that_equals_its_teacher_has_no_loss_left() -> None:
    module = DistillationLoss(tiny_model(VOCAB, seed=1), (ForwardKL(),), LiveSignal(tiny_model(VOCAB, seed=1)))
    loss, _, _ = accumulate(module, [collate(random_examples(6))], device=CPU, dtype=torch.float32)
    assert abs(loss) < 1e-6
    assert max(p.grad.abs().max().item() for p in module.student.parameters()) < 1e-5


def test_regions_weigh_only_their_own_tokens() -> None:
    """Rationale plus answer is all; with weight on answers alone, rationale targets are free to change."""
    examples = random_examples(5)
    parts = [
        gradients(examples, (CrossEntropy(region=region),), max_batch_tokens=500) for region in ("rationale", "answer")
    ]
    loss, whole = gradients(examples, (CrossEntropy(),), max_batch_tokens=500)
    assert sum(part[0] for part in parts) == pytest.approx(loss, rel=1e-5)
    assert_same(whole, {name: parts[0][1][name] + parts[1][1][name] for name in whole})
