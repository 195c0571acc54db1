"""A student's samples for a teacher with another tokenizer: the same bytes on both sides, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer
from tests.token_families import digits_split, sentence_piece
from tests.training.signals.test_alignment import PAIRS, examples_of, rationales
from transformers import PreTrainedTokenizerFast

from cotdistill.config import ForwardKL, ModelConfig, TrainingConfig
from cotdistill.models.tokens.template import decode, stop_token_id
from cotdistill.storage.jsonl import read_rows
from cotdistill.tasks.segments import Region
from cotdistill.training.data.batches import collate
from cotdistill.training.data.examples import Example
from cotdistill.training.rollouts import sampled
from cotdistill.training.signals.aligned import AlignedSignal
from cotdistill.training.signals.alignment import Alignments, align
from cotdistill.training.signals.live import LiveSignal
from cotdistill.training.signals.samples import SampleAligner
from cotdistill.training.stage import train

TEXT = "Ann has 12 apples, 1400 and L'\u00e9t\u00e9 \u6f22\u5b57.\nThe answer is 31."


def setting(name: str) -> tuple[PreTrainedTokenizerFast, PreTrainedTokenizerFast, Alignments, list[Example]]:
    student, teacher = (make() for make in PAIRS[name])
    return student, teacher, align(rationales(), student, teacher, "byte_offset"), examples_of(student)


def sample_of(tokenizer: PreTrainedTokenizerFast, example: Example, text: str, *, finished: bool = True) -> Example:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return sampled(tokenizer, example, ids, finished=finished)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("finished", [True, False])
def test_a_sample_is_read_by_both_as_the_same_text(name: str, finished: bool) -> None:
    student, teacher, alignments, examples = setting(name)
    sample = sample_of(student, examples[0], TEXT, finished=finished)
    found = SampleAligner(student, teacher, alignments).align(sample)
    assert found is not None
    cut, aligned = found
    assert cut == sample
    assert decode(teacher, aligned.teacher.loss_targets).strip() == TEXT
    assert (aligned.teacher.loss_targets[-1] == stop_token_id(teacher)) == finished
    known = alignments.examples[examples[0].key].teacher
    assert aligned.teacher.prompt == known.prompt
    assert aligned.student_spans[-1] == aligned.teacher_spans[-1] == len(aligned.paired) - 1
    assert any(aligned.paired)


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_taught_is_aligned_as_a_sample_as_it_is_as_an_example(name: str) -> None:
    """The sample of a student that writes its training text word for word."""
    student, teacher, alignments, examples = setting(name)
    aligner = SampleAligner(student, teacher, alignments)
    for example in examples:
        regions = [Region.RATIONALE] * (example.num_loss_tokens - 1) + [Region.END]
        found = aligner.align(example.with_response(example.loss_targets, regions))
        assert found is not None
        own, known = found[1], alignments.examples[example.key]
        assert (own.student_spans, own.teacher_spans, own.paired) == (
            known.student_spans,
            known.teacher_spans,
            known.paired,
        )
        assert own.teacher.input_ids == known.teacher.input_ids


def test_a_sample_ends_before_what_is_no_text_and_one_without_text_is_left_out() -> None:
    """Half a character, or a token that is none; the stop token behind it would be the end of another text."""
    student, teacher = tiny_tokenizer(), digits_split()
    alignments, (example, *_) = align(rationales(), student, teacher, "byte_offset"), examples_of(student)
    aligner = SampleAligner(student, teacher, alignments)
    good = student("12 apples", add_special_tokens=False)["input_ids"]
    half = student("\u6f22", add_special_tokens=False)["input_ids"][:-1]
    assert decode(student, half) == "\ufffd"
    for broken in (half, [student.convert_tokens_to_ids("<|pad|>")]):
        found = aligner.align(sampled(student, example, [*good, *broken, *good], finished=True))
        assert found is not None
        assert found[0].loss_targets == good
        assert decode(teacher, found[1].teacher.loss_targets) == "12 apples"
        assert aligner.align(sampled(student, example, [*broken, *good], finished=True)) is None
    signal = AlignedSignal(LiveSignal(tiny_model(len(teacher), seed=2)), alignments, aligner)
    samples = {
        4: sampled(student, example, good, finished=True),
        5: sampled(student, example, [*good, *half], finished=False),
        6: sampled(student, example, half, finished=False),
    }
    kept, reasons = signal.admit(samples)
    assert (list(kept), list(reasons)) == ([4, 5], ["cut_to_align", "not_alignable"])
    batch = collate(list(kept.values()))
    logits = torch.zeros(len(batch.targets), len(student))
    assert signal.rows(batch).chunk(slice(None)).divergence(ForwardKL(), logits).isfinite().all()


def config(**changes: Any) -> TrainingConfig:
    values = {"epochs": 2, "batch_size": 2, "learning_rate": 1e-3, "dtype": "float32", "loss": ["total_variation"]}
    samples = {"share": 1.0, "max_new_tokens": 8}
    return TrainingConfig.model_validate(values | {"on_policy": samples} | changes)


@pytest.mark.parametrize("alignment", ["byte_offset", "sorted_probability"])
def test_a_student_trains_on_its_samples_with_a_teacher_of_another_tokenizer(alignment: str, tmp_path: Path) -> None:
    """An untrained student writes much that is no text: it is counted, and a step of nothing else changes nothing."""
    student = ModelConfig(model=str(save_tiny(tmp_path / "student")))
    tokenizer = sentence_piece()
    tiny_model(len(tokenizer), seed=3).save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    signal = {"kind": "live", "model": str(tmp_path / "teacher"), "alignment": alignment}
    done = train(student, rationales(), config(signal=signal), seed=0, runs=tmp_path)
    rows = list(read_rows(done.path / "metrics.jsonl"))
    assert len(rows) == 4
    lost = sum(row["rollouts"].get(name, 0) for row in rows for name in ("cut_to_align", "not_alignable"))
    assert lost > 0 if alignment == "byte_offset" else lost == 0
    totals = done.summary["rollouts"]
    assert lost == sum(totals.get(name, 0) for name in ("cut_to_align", "not_alignable"))
    assert any(row["grad_norm"] > 0 for row in rows)
