"""Liger's fused heads in the package's step: the same bodies, loss positions, clipping and optimizer.

Its kernels are given what suits them best: hidden states and weights in bfloat16, and gradients of the head that are
added up in float32 (``accum_dtype``), as the package's own are. Forward KL is ``jsd_beta`` 0.
"""

from __future__ import annotations

import os

import torch
from gpu_records import NotHere
from gpu_step import COMPUTE, Bench, Step, bodies_in_bfloat16, student_rows

from cotdistill.models.forward.heads import output_head
from cotdistill.training.data.batches import Batch
from cotdistill.training.data.examples import Example


def liger_step(bench: Bench, kind: str, examples: list[Example]) -> Step:
    if bench.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise NotHere("Liger's kernels need a CUDA device, or TRITON_INTERPRET=1 to see that they agree")
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss, LigerFusedLinearJSD

    batches = bench.batches(examples)
    cross_entropy = LigerFusedLinearCrossEntropyLoss(accum_dtype=torch.float32)
    divergence = LigerFusedLinearJSD(jsd_beta=0.0, accum_dtype=torch.float32)

    def loss_of(batch: Batch) -> torch.Tensor:
        hidden, weight = student_rows(bench, batch).to(COMPUTE), output_head(bench.student).weight.to(COMPUTE)
        if kind == "sft":
            return cross_entropy(weight, hidden, batch.targets)
        rows = bench.teacher.rows(batch)
        return divergence(hidden, weight, rows.hidden, output_head(bench.teacher.teacher).weight, batch.targets)

    def forward_and_backward() -> float:
        total = 0.0
        for batch in batches:  # all have as many loss tokens
            with bodies_in_bfloat16(bench):
                loss = loss_of(batch.to(bench.device)) / len(batches)
            loss.backward()
            total += loss.item()
        return total

    return lambda: bench.optimizer_step(forward_and_backward)
