"""The fused loss on the device is the plain one: all logits in one tensor, autograd through everything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer
from tests.training.test_loop import examples
from tests.training.test_step import MIXED

from cotdistill.config import CachedTeacher, CrossEntropy, ForwardKL, LossConfig, ModelConfig, ReverseKL
from cotdistill.models.load.loading import load_model
from cotdistill.training.data.batches import collate
from cotdistill.training.losses import fused
from cotdistill.training.losses.fused import summed_losses
from cotdistill.training.losses.teacher import NoTeacher
from cotdistill.training.losses.weights import token_weights
from cotdistill.training.signals.capture import capture
from cotdistill.training.signals.live import LiveSignal, TeacherSignal
from cotdistill.training.step import DistillationLoss, accumulate

VOCABULARY = len(tiny_tokenizer())
SIGNALS: dict[str, tuple[LossConfig, ...]] = {
    "none": (CrossEntropy(),),
    "live": MIXED,
    "hidden": MIXED,
    "topk": (ForwardKL(), ReverseKL(weight=0.5)),
    "sampled": (CrossEntropy(weight=0.5), ForwardKL()),
}


def signal_of(kind: str, folder: Path, device: torch.device) -> TeacherSignal | None:
    if kind == "none":
        return None
    teacher = ModelConfig(model=str(save_tiny(folder / "teacher", hidden=48, seed=2)))
    if kind == "live":
        return LiveSignal(load_model(teacher, dtype=torch.float32, device=device))
    config = CachedTeacher(model=teacher, store=kind, k=8)  # pyright: ignore[reportArgumentType]
    return capture(config, examples(), dtype="float32", max_batch_tokens=200, runs=folder)


def gradients(student: torch.nn.Module) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in student.named_parameters() if p.grad is not None}
    student.zero_grad()
    return found


def plain(
    student: Any, signal: TeacherSignal | None, terms: Sequence[Any], device: torch.device, dtype: torch.dtype
) -> tuple[float, dict[str, torch.Tensor]]:
    batch = collate(examples()).to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        outputs = student(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        rows = signal.rows(batch) if signal else NoTeacher(len(batch.targets))
        chunk = rows.chunk(slice(0, len(batch.targets)))
        logits = outputs.logits.flatten(0, 1)[batch.positions]
        sums = summed_losses(terms, logits, chunk, batch.targets, token_weights(terms, batch.regions, batch.owners))
        weights = torch.tensor([term.weight for term in terms], device=device)
        loss = (sums * weights).sum() / len(batch.targets)
    loss.backward()
    return loss.item(), gradients(student)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", SIGNALS)
def test_fused_is_plain_in_value_and_gradient(
    kind: str, dtype: torch.dtype, device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "CHUNK_LOGITS", 40 * VOCABULARY)  # several chunks a micro-batch
    student, terms = tiny_model(VOCABULARY, seed=1).to(device), SIGNALS[kind]
    signal = signal_of(kind, tmp_path, device)
    expected, wanted = plain(student, signal, terms, device, dtype)
    module = DistillationLoss(student, terms, signal)
    batches = [collate(part) for part in (examples()[:5], examples()[5:])]
    loss, means, _ = accumulate(module, batches, device=device, dtype=dtype)
    found = gradients(student)
    tolerance = 1e-4 if dtype == torch.float32 else 3e-2
    assert loss == pytest.approx(expected, rel=tolerance)
    assert sum(mean * term.weight for mean, term in zip(means, terms, strict=True)) == pytest.approx(loss, rel=1e-4)
    assert found.keys() == wanted.keys()
    size = torch.stack([gradient.norm() for gradient in wanted.values()]).norm()
    for name, gradient in found.items():  # in bfloat16 small ones are lost in the rounding of the large
        beside = wanted[name].norm() if dtype == torch.float32 else size
        assert (gradient - wanted[name]).norm() <= tolerance * beside + 1e-6, name
