"""A teacher with other tokens: what is paired is the same text, and the loss is that of a plain float64 computation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer
from tests.token_families import digits_split, sentence_piece
from transformers import PreTrainedTokenizerFast

from cotdistill.config import (
    Alignment,
    AlphaBeta,
    Divergence,
    ForwardKL,
    JensenShannon,
    LiveTeacher,
    LossConfig,
    ModelConfig,
    ReverseKL,
    SkewForwardKL,
    SkewReverseKL,
    TotalVariation,
    TrainingConfig,
    TrainingTarget,
    validated,
)
from cotdistill.errors import ConfigError, DataError, ModelError
from cotdistill.models.forward.heads import head_of, head_parameters, last_hidden_states
from cotdistill.models.load.loading import load_tokenizer
from cotdistill.models.tokens.token_bytes import spelled, token_bytes
from cotdistill.records import Question, Rationale
from cotdistill.storage.jsonl import read_rows
from cotdistill.training.data.batches import Batch, collate
from cotdistill.training.data.examples import Example, make_examples
from cotdistill.training.losses.fused import LossInputs, fused_loss
from cotdistill.training.signals.aligned import LOG_NOTHING, AlignedSignal, Projection
from cotdistill.training.signals.alignment import align, shared_outcomes, spans
from cotdistill.training.signals.live import LiveSignal
from cotdistill.training.signals.samples import SampleAligner
from cotdistill.training.stage import train
from cotdistill.training.step import DistillationLoss, accumulate

CPU = torch.device("cpu")
RATIONALES = (
    "Ann has 12 apples and gives 5 away.\n12 - 5 = 7.",
    "1400万人 + 31.5 = ?\nL'été à Zürich 🙂 coûte 120 €.",
    "漢字 means 1024 things: naïve façade.",
    None,
)
EVERY_DIVERGENCE = (
    ForwardKL(temperature=2.0),
    ReverseKL(),
    JensenShannon(beta=0.3),
    SkewForwardKL(),
    SkewReverseKL(temperature=0.5),
    TotalVariation(),
    AlphaBeta(),
)
PAIRS: dict[str, tuple[Callable[[], PreTrainedTokenizerFast], Callable[[], PreTrainedTokenizerFast]]] = {
    "merged digits from split ones": (tiny_tokenizer, digits_split),
    "split digits from merged ones, a chat template each": (
        lambda: digits_split(chat=True),
        lambda: tiny_tokenizer(chat=True),
    ),
    "bytes from SentencePiece": (tiny_tokenizer, sentence_piece),
    "SentencePiece from bytes": (sentence_piece, digits_split),
    "two sizes": (digits_split, lambda: digits_split(vocabulary=320)),
}
SMOLLM2 = "SmolLM2"
EVERY_PAIR = [*PAIRS, pytest.param(SMOLLM2, marks=pytest.mark.slow)]


def pair(name: str) -> tuple[PreTrainedTokenizerFast, PreTrainedTokenizerFast]:
    if name == SMOLLM2:
        return tiny_tokenizer(), load_tokenizer(ModelConfig(model="builtin:smollm2-135m"))
    student, teacher = PAIRS[name]
    return student(), teacher()


def rationales(texts: tuple[str | None, ...] = RATIONALES) -> list[Rationale]:
    return [
        Rationale(Question(f"q{n}", "own", "train", f"How many is {n}?", f"{n}1", "number"), text, "me", None, "human")
        for n, text in enumerate(texts)
    ]


def examples_of(tokenizer: PreTrainedTokenizerFast) -> list[Example]:
    return make_examples(rationales(), tokenizer, max_length=1000, too_long="error")[0]


def aligned_signal(name: str, alignment: Alignment) -> tuple[AlignedSignal, Batch, int]:
    """The signal of a tiny teacher, the student's batch of all examples, and the size of the student's vocabulary."""
    student, teacher = pair(name)
    model = tiny_model(len(teacher), hidden=48, layers=1, seed=2)
    alignments = align(rationales(), student, teacher, alignment)
    signal = AlignedSignal(LiveSignal(model), alignments, SampleAligner(student, teacher, alignments))
    return signal, collate(examples_of(student)), len(student)


def step_loss(
    student: torch.nn.Module, signal: AlignedSignal | LiveSignal, batch: Batch, terms: tuple[LossConfig, ...]
) -> tuple[float, dict[str, torch.Tensor]]:
    student.zero_grad()
    loss, _, _ = accumulate(DistillationLoss(student, terms, signal), [batch], device=CPU, dtype=torch.float32)
    return loss, {name: parameter.grad.clone() for name, parameter in student.named_parameters()}


# ---- what is paired -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY_PAIR)
def test_both_sides_of_a_span_write_the_same_bytes(name: str) -> None:
    """And no span could be cut in two: that is what makes them the finest ones."""
    student, teacher = pair(name)
    alignments = align(rationales(), student, teacher, "byte_offset")
    examples = examples_of(student)
    assert len(alignments.examples) == len(examples)
    for example, text in zip(examples, RATIONALES, strict=True):
        aligned = alignments.examples[example.key]
        sides = []
        for tokens, numbers, tokenizer in (
            (example, aligned.student_spans, student),
            (aligned.teacher, aligned.teacher_spans, teacher),
        ):
            targets = tokens.targets[-tokens.num_loss_tokens :]
            assert len(numbers) == len(targets)
            spelling = token_bytes(tokenizer)
            answer = f"The answer is {example.id[1:]}1."
            pieces = spelled([spelling[t] for t in targets[:-1]], f"{text}\n{answer}" if text else answer)
            assert pieces is not None
            parts: list[list[bytes]] = [[] for _ in aligned.paired]
            for number, piece in zip(numbers, [*pieces, b"<end>"], strict=True):
                parts[number].append(piece)
            sides.append(parts)
        for ours, theirs in zip(*sides, strict=True):
            assert b"".join(ours) == b"".join(theirs) != b""
            inner = [{len(b"".join(side[:n])) for n in range(1, len(side))} for side in (ours, theirs)]
            assert not (inner[0] & inner[1]) - {0, len(b"".join(ours))}


@pytest.mark.parametrize("target", ["answer_then_rationale", "multi_task"])
def test_whatever_a_student_is_taught_both_sides_read_the_same_response(target: TrainingTarget) -> None:
    student, teacher = tiny_tokenizer(), digits_split(chat=True)
    examples, _ = make_examples(rationales(), student, max_length=1000, too_long="error", target=target)
    alignments = align(rationales(), student, teacher, "byte_offset", target)
    assert {example.key for example in examples} == alignments.examples.keys()
    for example in examples:
        theirs = alignments.examples[example.key].teacher
        texts = [
            tokenizer.decode(side.targets[-side.num_loss_tokens : -1])
            for side, tokenizer in ((example, student), (theirs, teacher))
        ]
        assert texts[0] == texts[1] != ""


def test_spans_end_where_both_sides_do() -> None:
    assert spans([2, 3, 4, 9], [1, 3, 4, 5, 9]) == ([0, 0, 1, 2], [0, 0, 1, 2, 2])
    assert spans([0, 3, 3, 5], [3, 5]) == ([0, 0, 0, 1], [0, 1])


def test_a_number_counts_as_the_beginning_that_the_teacher_writes() -> None:
    """It is not among the rest, where a teacher that writes digit by digit would unteach it."""
    student, teacher = tiny_tokenizer(), digits_split()
    assert student.tokenize(" 12") == ["Ġ12"]
    assert teacher.tokenize(" 12") == ["Ġ", "1", "2"]
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    outcomes = shared_outcomes(student, teacher)
    assert outcomes.student[ours["Ġ12"]] == outcomes.student[ours["Ġ"]] == outcomes.teacher[theirs["Ġ"]]
    assert outcomes.student[ours["Ġ12"]] != outcomes.student[ours["Ġapples"]]


def test_outcomes_are_shared_by_bytes_and_by_the_end() -> None:
    student, teacher = tiny_tokenizer(chat=True), sentence_piece()
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    outcomes = shared_outcomes(student, teacher)
    assert outcomes.student[ours["Ġ"]] == outcomes.teacher[theirs["\u2581"]]
    assert outcomes.student[ours["<|im_end|>"]] == outcomes.teacher[theirs["</s>"]]
    assert outcomes.student[ours["<|pad|>"]] == outcomes.num_outcomes - 1
    assert outcomes.student[ours["Ã"]] == outcomes.teacher[theirs["<0xC3>"]]


# ---- what is compared -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", EVERY_DIVERGENCE, ids=lambda term: term.kind)
def test_with_one_tokenizer_byte_offsets_give_the_plain_divergence(term: Divergence) -> None:
    tokenizer = tiny_tokenizer(chat=True)
    teacher = LiveSignal(tiny_model(len(tokenizer), hidden=48, layers=1, seed=2))
    student = tiny_model(len(tokenizer), seed=1)
    batch = collate(examples_of(tokenizer))
    signal = AlignedSignal(teacher, align(rationales(), tokenizer, tokenizer, "byte_offset"))
    plain, plain_gradients = step_loss(student, teacher, batch, (term,))
    aligned, gradients = step_loss(student, signal, batch, (term,))
    assert aligned == pytest.approx(plain, rel=1e-6)
    for name, gradient in plain_gradients.items():
        assert (gradient - gradients[name]).norm() <= 1e-5 * gradient.norm(), name


@pytest.mark.parametrize("name", EVERY_PAIR)
@pytest.mark.parametrize("term", [ForwardKL(temperature=2.0), TotalVariation(region="answer")], ids=lambda t: t.kind)
def test_the_loss_by_bytes_is_that_of_a_plain_computation(name: str, term: Divergence) -> None:
    signal, batch, vocab = aligned_signal(name, "byte_offset")
    student = tiny_model(vocab, seed=1)
    loss, _ = step_loss(student, signal, batch, (term,))
    ours, theirs = pair(name)
    expected = plain_loss_by_bytes(student, signal.teacher.teacher, ours, theirs, term)
    assert loss == pytest.approx(expected / len(batch.targets), rel=2e-5)


def plain_loss_by_bytes(
    student: torch.nn.Module,
    teacher: torch.nn.Module,
    ours: PreTrainedTokenizerFast,
    theirs: PreTrainedTokenizerFast,
    term: Divergence,
) -> float:
    """Span by span, outcome by outcome, in float64: the definition, without batches, chunks or tensors of spans."""
    outcomes = shared_outcomes(ours, theirs)
    alignments = align(rationales(), ours, theirs, "byte_offset")
    total = 0.0
    for example in examples_of(ours):
        aligned = alignments.examples[example.key]
        p, q = (
            log_probabilities(model, tokens, term.temperature)
            for model, tokens in ((teacher, aligned.teacher), (student, example))
        )
        for span, paired in enumerate(aligned.paired):
            mine = [row for row, number in enumerate(aligned.student_spans) if number == span]
            other = [row for row, number in enumerate(aligned.teacher_spans) if number == span]
            region = example.regions[-example.num_loss_tokens :][mine[-1]]
            if term.region == "answer" and region.name == "RATIONALE":
                continue
            if paired:
                sides = [
                    added_up(log_values, by_token, outcomes.num_outcomes)
                    for log_values, by_token in ((p[other[0]], outcomes.teacher), (q[mine[0]], outcomes.student))
                ]
            else:
                written = [
                    math.exp(sum(table[row, tokens.targets[-tokens.num_loss_tokens :][row]].item() for row in rows))
                    for table, tokens, rows in ((p, aligned.teacher, other), (q, example, mine))
                ]
                sides = [[one, 1.0 - one] for one in written]
            total += term.temperature**2 * plain_divergence(term, *sides)
    return total


def added_up(log_probabilities: torch.Tensor, outcome_of: list[int], num_outcomes: int) -> list[float]:
    sums = [0.0] * num_outcomes
    for value, outcome in zip(log_probabilities.exp().tolist(), outcome_of, strict=True):
        sums[outcome] += value
    return sums


def log_probabilities(model: torch.nn.Module, example: Example, temperature: float) -> torch.Tensor:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([example.input_ids])).logits[0, -example.num_loss_tokens :]
    return (logits.double() / temperature).log_softmax(-1)


def plain_divergence(term: Divergence, p: list[float], q: list[float]) -> float:
    if isinstance(term, ForwardKL):
        return sum(a * (math.log(a) - math.log(b or 1e-7)) for a, b in zip(p, q, strict=True) if a > 0)
    return 0.5 * sum(abs(a - b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("term", EVERY_DIVERGENCE, ids=lambda term: term.kind)
def test_no_student_gets_below_zero(term: Divergence) -> None:
    """Sharp, flat or random: each side's outcomes are a distribution."""
    signal, batch, vocab = aligned_signal("merged digits from split ones", "byte_offset")
    rows = signal.rows(batch)
    chunk = rows.chunk(slice(0, len(batch.targets)))
    generator = torch.Generator().manual_seed(0)
    for scale in (0.0, 1.0, 30.0):
        logits = scale * torch.randn(len(batch.targets), vocab, generator=generator)
        assert chunk.divergence(term, logits).min() >= -1e-5


def test_sorted_probabilities_are_compared_by_rank() -> None:
    """With weight 2 it is ULD: the sum of absolute differences, shorter vector padded with zeros."""
    signal, batch, vocab = aligned_signal("two sizes", "sorted_probability")
    student = tiny_model(vocab, seed=1)
    loss, _ = step_loss(student, signal, batch, (TotalVariation(weight=2.0),))
    expected = 0.0
    for example in examples_of(pair("two sizes")[0]):
        q = log_probabilities(student, example, 1.0).exp()
        p = log_probabilities(signal.teacher.teacher, signal.examples[example.key].teacher, 1.0).exp()
        for ours, theirs in zip(q, p, strict=False):  # as many positions as both have
            high, low = sorted(ours.tolist(), reverse=True), sorted(theirs.tolist(), reverse=True)
            low += [0.0] * (len(high) - len(low))
            expected += sum(abs(a - b) for a, b in zip(high, low, strict=True))
    assert loss == pytest.approx(expected / len(batch.targets), rel=1e-5)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in one order, however busy the machine is: where two probabilities are as good as equal, rounding decides
    the sign of their distance's gradient."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("alignment", ["sorted_probability", "byte_offset"])
@pytest.mark.usefixtures("one_thread")
def test_chunks_change_nothing(alignment: Alignment) -> None:
    """However small a chunk is asked for, a span is not parted."""
    signal, batch, vocab = aligned_signal("SentencePiece from bytes", alignment)
    student = tiny_model(vocab, seed=1)
    hidden = last_hidden_states(student, batch.input_ids, batch.attention_mask).flatten(0, 1)[batch.positions].detach()

    def run(size: int) -> tuple[float, torch.Tensor]:
        leaf = hidden.clone().requires_grad_()
        loss, _ = fused_loss(
            leaf,
            head_of(student),
            head_parameters(student),
            LossInputs(batch.targets, torch.ones(1, len(batch.targets)), signal.rows(batch)),
            (TotalVariation(),),
            num_loss_tokens=len(batch.targets),
            tokens_per_chunk=size,
        )
        loss.backward()
        return loss.item(), leaf.grad

    loss, gradient = run(10_000)
    for size in (1, 5):
        other, other_gradient = run(size)
        assert other == pytest.approx(loss, rel=1e-6)
        torch.testing.assert_close(other_gradient, gradient, rtol=1e-5, atol=1e-8)


# ---- from a run file ------------------------------------------------------------------------------------------------


def save_pair(folder: Path, teacher: PreTrainedTokenizerFast) -> tuple[ModelConfig, ModelConfig]:
    tiny_model(len(teacher), hidden=48, seed=2).save_pretrained(folder / "teacher")
    teacher.save_pretrained(folder / "teacher")
    student = save_tiny(folder / "student", chat=True)
    return ModelConfig(model=str(student)), ModelConfig(model=str(folder / "teacher"))


def settings(teacher: ModelConfig, alignment: Alignment, *loss: LossConfig) -> TrainingConfig:
    signal = LiveTeacher(model=teacher, alignment=alignment)
    return TrainingConfig(signal=signal, loss=loss, epochs=8, batch_size=4, learning_rate=5e-3, dtype="float32")


@pytest.mark.parametrize(
    ("alignment", "term"), [("byte_offset", ForwardKL()), ("sorted_probability", TotalVariation(weight=2.0))]
)
def test_a_student_learns_from_a_teacher_with_another_tokenizer(
    tmp_path: Path, alignment: Alignment, term: Divergence
) -> None:
    student, teacher = save_pair(tmp_path, digits_split())
    config = settings(teacher, alignment, term)
    trained = train(student, rationales(), config, seed=0, runs=tmp_path / "runs")
    losses = [row["loss"] for row in read_rows(trained.path / "metrics.jsonl")]
    assert losses[-1] < 0.8 * losses[0]


def test_another_tokenizer_needs_an_alignment(tmp_path: Path) -> None:
    student, teacher = save_pair(tmp_path, digits_split())
    with pytest.raises(ModelError, match="byte_offset"):
        train(student, rationales(), settings(teacher, "none", ForwardKL()), seed=0, runs=tmp_path / "runs")


def test_what_a_tokenizer_spells_differently_is_left_out_and_counted(tmp_path: Path) -> None:
    student, teacher = save_pair(tmp_path, digits_split(composed=True))
    config = settings(teacher, "byte_offset", ForwardKL())
    mixed = rationales(("cafe\u0301 12", "12 - 5 = 7."))
    assert train(student, mixed, config, seed=0, runs=tmp_path / "runs").dropped == {"not_alignable": 1}
    with pytest.raises(DataError, match="spell every response differently"):
        train(student, mixed[:1], config, seed=0, runs=tmp_path / "runs")


def test_an_unknown_character_cannot_be_aligned() -> None:
    teacher = sentence_piece(byte_fallback=False)
    alignments = align(rationales(), tiny_tokenizer(), teacher, "byte_offset")
    aligned = [example.key in alignments.examples for example in examples_of(tiny_tokenizer())]
    assert aligned == [True, False, False, True]


def test_sorted_probabilities_know_no_other_divergence() -> None:
    values = {"signal": {"model": "builtin:nano-teacher", "alignment": "sorted_probability"}, "loss": ["forward_kl"]}
    with pytest.raises(ConfigError, match="only by total_variation"):
        validated(TrainingConfig, values, where="test")


@pytest.mark.parametrize("is_identity", [True, False])
def test_tokens_that_a_head_lacks_have_no_probability(is_identity: bool):
    """A tokenizer may have more tokens than its model, as Gemma 3's has one for images."""
    projection = Projection(torch.arange(3), 3, is_identity)
    found = projection(torch.tensor([[0.25, 0.75]]).log())
    torch.testing.assert_close(found.exp()[0, :2], torch.tensor([0.25, 0.75]))
    assert found[0, 2] == pytest.approx(LOG_NOTHING)
