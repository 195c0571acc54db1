"""How far the likeliest next tokens of teacher and student agree, measured before any step is taken.

On-policy distillation is reported to succeed where they agree: in runs that do, the tokens that are among the likeliest
of both hold 97 to 99 % of the probability; in runs that fail, the overlap stays low, and training on the teacher's
texts first recovers them (Li et al. 2026, arXiv 2604.13016, whose code takes the 16 likeliest). What counts is where
the teacher's probability lies: what the student does not consider is not sampled, and so never corrected.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cotdistill.config import TrainingConfig
from cotdistill.models.forward.heads import head_of, last_hidden_states
from cotdistill.storage.atomic import write_json_atomically
from cotdistill.training.data.batches import batch_tokens, batches_of_step
from cotdistill.training.data.examples import Example
from cotdistill.training.losses.divergences import log_softmax
from cotdistill.training.losses.fused import chunk_size
from cotdistill.training.losses.teacher import TeacherChunk
from cotdistill.training.rollouts import Rollouts
from cotdistill.training.signals.aligned import SpanChunk
from cotdistill.training.signals.live import LogitsChunk, SampledRows, TeacherSignal, TopKRows
from cotdistill.training.signals.several import SeveralChunk

FILE = "overlap.json"

K, NUM_EXAMPLES, SAMPLED_TOKENS = 16, 32, 128
"""The likeliest tokens that are compared, of how many examples, and how long samples may become for that."""

LEAST_MASS = 0.9
"""A share of the teacher's probability: runs that succeed lack 1 to 3 % of it, so a tenth is several times as much."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Means over tokens: the share of the teacher's ``K`` likeliest that is among the student's, how often the
    likeliest is the same, and the teacher's probability on the student's ``K`` likeliest. None where what is known of
    the teacher does not tell."""

    top_k: float | None
    top_1: float | None
    mass: float | None
    num_examples: int
    num_tokens: int

    def line(self, what: str) -> str:
        """In words, with a warning where little of the teacher's probability is where the student's is."""
        shares = [
            f"{share:.0%} {name}"
            for share, name in (
                (self.top_k, f"of their {K} likeliest tokens are the same"),
                (self.top_1, "of the likeliest"),
                (self.mass, f"of the teacher's probability is on the student's {K}"),
            )
            if share is not None
        ]
        return f"teacher and student, before training, on {self.num_examples} {what}: {', '.join(shares)}"

    @property
    def is_low(self) -> bool:
        return self.mass is not None and self.mass < LEAST_MASS


LOW = (
    f"warning: less than {LEAST_MASS:.0%}: samples seldom hold what the teacher would say, and on-policy distillation "
    "is reported to fail where this stays low (arXiv 2604.13016); train on the teacher's rationales first, or choose a "
    "teacher that is closer"
)


def overlaps(
    student: PreTrainedModel,
    examples: Sequence[Example],
    config: TrainingConfig,
    signal: TeacherSignal,
    rollouts: Rollouts | None,
    folder: Path,
    dtype: torch.dtype,
) -> dict[str, Any]:
    """The overlap on ``examples`` and on ``samples``, of whichever there are steps, kept in ``folder``; measured once.

    Nothing of the training depends on it. Up to 32 examples are taken at equal distances; live samples are the
    student's for their prompts.
    """
    path = folder / FILE
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    places = range(0, len(examples), -(-len(examples) // NUM_EXAMPLES))
    chosen = {place: examples[place] for place in places}
    found: dict[str, Any] = {}
    if rollouts is None or rollouts.config.share < 1:
        found["examples"] = asdict(_measured(student, list(chosen.values()), config, signal, dtype))
    if rollouts is not None and rollouts.config.share > 0:
        if rollouts.drawn is not None:
            samples = {place: rollouts.drawn[place] for place in places}
        else:
            length = min(rollouts.config.longest, SAMPLED_TOKENS)
            samples, _ = signal.admit(rollouts.sample(student, {-1: chosen}, length)[-1])
        if samples:
            found["samples"] = asdict(_measured(student, list(samples.values()), config, signal, dtype))
    write_json_atomically(path, found)
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """What is said of them before training."""
    said: list[str] = []
    for what, row in found.items():
        overlap = Overlap(**row)
        said.append(overlap.line(what))
        if what == "samples" and overlap.is_low:
            said.append(LOW)
    return said


@torch.no_grad()
def _measured(
    student: PreTrainedModel,
    examples: Sequence[Example],
    config: TrainingConfig,
    signal: TeacherSignal,
    dtype: torch.dtype,
) -> Overlap:
    head, device = head_of(student), student.device
    totals, counts = Counter[str](), Counter[str]()
    size = chunk_size(student.config.get_text_config().vocab_size)
    was_training = student.training
    student.eval()
    for batch in batches_of_step(dict(enumerate(examples)), "padded", batch_tokens(config.max_batch_tokens, device)):
        batch = batch.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            hidden = last_hidden_states(student, **batch.inputs).flatten(0, 1)[batch.positions]
            rows = signal.rows(batch)
            for part in rows.slices(size):
                for found in agreements(rows.chunk(part), head.logits(hidden[part])):
                    totals.update({name: values.sum().item() for name, values in found.items()})
                    counts.update({name: len(values) for name, values in found.items()})
    student.train(was_training)
    top_k, top_1, mass = (totals[name] / counts[name] if counts[name] else None for name in ("top_k", "top_1", "mass"))
    return Overlap(top_k, top_1, mass, len(examples), counts["mass"])


def agreements(chunk: TeacherChunk, student_logits: Tensor) -> list[dict[str, Tensor]]:
    """For each teacher of a chunk, ``top_k``, ``top_1`` and ``mass`` of its tokens, as far as they can be told."""
    if isinstance(chunk, SeveralChunk):
        parts = ((part.teacher, torch.from_numpy(part.taught.nonzero()[0])) for part in chunk.parts)
        pairs = ((teacher, student_logits[own.to(student_logits.device)]) for teacher, own in parts)
        return [found for teacher, own in pairs for found in agreements(teacher, own)]  # pyright: ignore
    if isinstance(chunk, LogitsChunk):
        shared = min(chunk.logits.shape[-1], student_logits.shape[-1])
        return [_agreement(log_softmax(chunk.logits[:, :shared]), student_logits[:, :shared])]
    if isinstance(chunk, SpanChunk):
        ours, theirs = chunk.spans.pairs
        log_q = log_softmax(student_logits[:, : chunk.student.num_tokens])
        log_p = log_softmax(chunk.logits[:, : chunk.teacher.num_tokens])
        return [_agreement(chunk.teacher(log_p[theirs]), chunk.student(log_q[ours]))]
    if isinstance(chunk, TopKRows):
        known = torch.full_like(student_logits, -torch.inf, dtype=torch.float32)
        known.scatter_(-1, chunk.tokens, chunk.log_probabilities)
        return [_agreement(known, student_logits, k=min(K, chunk.tokens.shape[-1]))]
    if isinstance(chunk, SampledRows):
        best = student_logits.topk(min(K, student_logits.shape[-1])).indices
        return [{"mass": (chunk.tokens[..., None] == best[:, None]).any(-1).float().mean(-1)}]
    return []


def _agreement(log_p: Tensor, q: Tensor, k: int = K) -> dict[str, Tensor]:
    """Of distributions over the same outcomes; ``q`` need only be in the order of the student's."""
    k = min(k, log_p.shape[-1])
    theirs, ours = log_p.topk(k).indices, q.topk(min(K, q.shape[-1])).indices
    return {
        "top_k": (theirs[..., None] == ours[:, None, :k]).any(-1).float().mean(-1),
        "top_1": (log_p.argmax(-1) == q.argmax(-1)).float(),
        "mass": log_p.gather(-1, ours).exp().sum(-1),
    }
