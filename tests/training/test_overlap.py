"""How far teacher and student agree before training: plain numbers, said before the first step, paid for once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer
from tests.training.signals.test_alignment import aligned_signal
from tests.training.test_rollouts import RATIONALES, examples

from cotdistill.config import ModelConfig, TrainingConfig
from cotdistill.training.data.batches import collate
from cotdistill.training.overlap import FILE, LOW, K, agreements, overlaps
from cotdistill.training.signals.live import LiveSignal, LogitsChunk, SampledRows, TopKRows
from cotdistill.training.stage import train
from cotdistill.training.teaching import privileged


def config(**changes: Any) -> TrainingConfig:
    values = {"epochs": 1, "batch_size": 4, "learning_rate": 1e-3, "dtype": "float32", "loss": ["forward_kl"]}
    return TrainingConfig.model_validate(values | {"signal": {"model": "x"}} | changes)


def plain(p: torch.Tensor, q: torch.Tensor, k: int = K) -> dict[str, float]:
    """Row by row, in float64, with sets."""
    found = {"top_k": 0.0, "top_1": 0.0, "mass": 0.0}
    for teacher, student in zip(p.double().softmax(-1), q.double(), strict=True):
        theirs, ours = ({*row.argsort(descending=True)[:k].tolist()} for row in (teacher, student))
        likeliest = student.argsort(descending=True)[:K]
        found["top_k"] += len(theirs & ours) / k
        found["top_1"] += float(teacher.argmax() == student.argmax())
        found["mass"] += float(teacher[likeliest].sum())
    return {name: value / len(p) for name, value in found.items()}


def means(found: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in found.items()}


def test_the_numbers_are_those_of_plain_sets_whatever_is_known_of_the_teacher() -> None:
    generator = torch.Generator().manual_seed(0)
    p, q = (2 * torch.randn(40, 300, generator=generator) for _ in range(2))
    q = q + p
    (whole,) = agreements(LogitsChunk(p), q)
    assert means(whole) == pytest.approx(plain(p, q), rel=1e-5)
    best = p.log_softmax(-1).topk(64)
    (stored,) = agreements(TopKRows(best.indices, best.values), q)
    assert means(stored)["top_k"] == pytest.approx(plain(p, q)["top_k"])
    assert plain(p, q)["mass"] * 0.8 < means(stored)["mass"] <= plain(p, q)["mass"] + 1e-6
    (few,) = agreements(TopKRows(best.indices[:, :5], best.values[:, :5]), q)
    assert means(few)["top_k"] == pytest.approx(plain(p, q, k=5)["top_k"])
    drawn = torch.multinomial(p.softmax(-1), 4000, replacement=True, generator=generator)
    (sampled,) = agreements(SampledRows(drawn, torch.zeros(40)), q)
    assert means(sampled) == pytest.approx({"mass": plain(p, q)["mass"]}, abs=0.02)
    assert means(agreements(LogitsChunk(p), p)[0])["top_k"] == 1


def test_with_another_tokenizer_shared_outcomes_are_compared() -> None:
    signal, batch, size = aligned_signal("merged digits from split ones", "byte_offset")
    logits = torch.randn(len(batch.targets), size, generator=torch.Generator().manual_seed(1))
    (found,) = agreements(signal.rows(batch).chunk(slice(None)), logits)
    assert 0 < len(found["mass"]) < len(batch.targets)
    assert all(0 <= value <= 1 + 1e-5 for value in means(found).values())
    ranked, batch, size = aligned_signal("merged digits from split ones", "sorted_probability")
    assert agreements(ranked.rows(batch).chunk(slice(None)), logits) == []


def test_it_is_measured_once_and_changes_nothing_of_the_student(tmp_path: Path) -> None:
    student, teacher = tiny_model(len(tiny_tokenizer())).train(), LiveSignal(tiny_model(len(tiny_tokenizer()), seed=1))
    state = torch.random.get_rng_state()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    found = overlaps(student, examples(), config(), teacher, None, tmp_path, torch.float32)
    assert student.training
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
    batch = collate(examples())
    with torch.no_grad():
        p, q = (
            m(batch.input_ids, attention_mask=batch.attention_mask).logits.flatten(0, 1)[batch.positions]
            for m in (teacher.teacher, student.eval())
        )
    own = found["examples"]
    assert {name: own[name] for name in ("top_k", "top_1", "mass")} == pytest.approx(plain(p, q), rel=1e-4)
    assert (own["num_examples"], own["num_tokens"]) == (len(examples()), len(batch.targets))
    (tmp_path / FILE).write_text(json.dumps({"examples": {"mass": 0.5}}))
    assert overlaps(student, [], config(), teacher, None, tmp_path, torch.float32) == {"examples": {"mass": 0.5}}


def test_a_training_says_it_before_its_first_step_and_keeps_it(tmp_path: Path) -> None:
    """Two random models agree on nothing: on the student's own samples that is warned of."""
    student, teacher = (ModelConfig(model=str(save_tiny(tmp_path / str(seed), seed=seed))) for seed in (0, 1))
    said: list[str] = []
    changes = {"signal": {"model": teacher.model}, "on_policy": {"share": 0.5, "max_new_tokens": 6}}
    done = train(student, RATIONALES, config(**changes), seed=0, runs=tmp_path, say=said.append)
    assert done.summary["overlap"] == json.loads((done.path / FILE).read_text())
    assert done.summary["overlap"].keys() == {"examples", "samples"}
    lines = [line for line in said if "before training, on 8" in line]
    assert len(lines) == 2
    assert LOW in said
    said.clear()
    self_taught = config(signal={"model": student.model})
    train(student, RATIONALES, self_taught, seed=0, runs=tmp_path, say=said.append)
    assert "100% of their 16 likeliest tokens are the same, 100% of the likeliest" in "".join(said)
    assert LOW not in said


@pytest.mark.parametrize(
    ("context", "response", "warns"),
    [("answer", "think", True), ("rationale", "think", True), ("none", "think", False), ("answer", "plain", False)],
)
def test_a_teacher_that_has_seen_the_answer_is_warned_of_where_the_student_thinks(
    context: str, response: Any, warns: bool
) -> None:
    line = privileged(config(signal={"model": "x", "context": context}), response)
    assert (line is not None) == warns
    assert line is None or ("\n" not in line and f"context: {context}" in line and "2607.05184" in line)
