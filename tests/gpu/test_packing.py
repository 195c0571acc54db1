"""Examples that lie in one row are computed as if each were alone, by whatever the device computes attention with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.tiny import tiny_model
from tests.training.data.test_packing import alike, reading
from tests.training.test_step import MIXED, VOCAB, random_examples

from cotdistill.config import Attention
from cotdistill.errors import ModelError
from cotdistill.models.forward.attention import check_packing, set_attention
from cotdistill.training.data.batches import Layout, collate
from cotdistill.training.signals.live import LiveSignal
from cotdistill.training.step import DistillationLoss, accumulate

EXACT = 1e-4
"""Of float32: sums in another order."""

ROUNDED = 3e-2
"""Of bfloat16, which is all that flash attention computes in."""


def models(attention: Attention, device: torch.device) -> tuple[Any, Any]:
    """With heads of 16 numbers, which is the least that every kernel takes."""
    pair = tiny_model(VOCAB, hidden=64, seed=1).to(device), tiny_model(VOCAB, hidden=64, layers=1, seed=2).to(device)
    for model in pair:
        try:
            set_attention(model, attention)
        except ModelError as error:
            pytest.skip(str(error))
    return pair


def step(
    student: Any, teacher: Any, batches: list[Any], device: torch.device, dtype: torch.dtype
) -> tuple[float, torch.Tensor]:
    module = DistillationLoss(student, MIXED, LiveSignal(teacher))
    student.zero_grad()
    loss, _, _ = accumulate(module, batches, device=device, dtype=dtype)
    return loss, torch.cat([p.grad.flatten() for p in student.parameters()])


@pytest.mark.parametrize("attention", ["sdpa", "eager", "flex_attention", "flash_attention_2", "flash_attention_3"])
def test_packed_is_each_example_alone(attention: Attention, device: torch.device) -> None:
    student, teacher = models(attention, device)
    if attention == "flex_attention" and device.type == "cpu":
        pytest.skip("torch has no gradients of flex_attention on a CPU")
    if attention.startswith("flash") and device.type == "cpu":
        pytest.skip("flash attention needs a GPU")
    dtype, tolerance = (torch.bfloat16, ROUNDED) if attention.startswith("flash") else (torch.float32, EXACT)
    compare(student, teacher, "packed", device, dtype, tolerance)
    check_packing(student, dtype)


def test_what_prompts_share_is_computed_once(device: torch.device) -> None:
    student, teacher = models("sdpa", device)
    with reading("shared", student, teacher):
        compare(student, teacher, "shared", device, torch.float32, EXACT)


def test_what_prompts_share_is_rounded_as_examples_alone_are(device: torch.device) -> None:
    """In bfloat16 both are away from float32, neither farther than the other."""
    student, teacher = models("sdpa", device)
    examples = alike(random_examples(7), 20)
    single, together = [collate([example]) for example in examples], [collate(examples, "shared")]
    with reading("shared", student, teacher):
        exact = step(student, teacher, single, device, torch.float32)
        alone, shared = (step(student, teacher, batches, device, torch.bfloat16) for batches in (single, together))
    assert shared[0] == pytest.approx(exact[0], rel=ROUNDED)
    assert (shared[1] - exact[1]).norm() <= 1.3 * (alone[1] - exact[1]).norm()


def compare(
    student: Any, teacher: Any, layout: Layout, device: torch.device, dtype: torch.dtype, tolerance: float
) -> None:
    examples = alike(random_examples(7), 20)
    alone = step(student, teacher, [collate([example]) for example in examples], device, dtype)
    packed = step(student, teacher, [collate(examples, layout)], device, dtype)
    assert packed[0] == pytest.approx(alone[0], rel=tolerance)
    assert (packed[1] - alone[1]).norm() <= tolerance * alone[1].norm()
