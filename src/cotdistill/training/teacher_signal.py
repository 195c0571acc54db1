"""Where the teacher's next-token distributions come from.

Every signal gives the same thing for a batch: the teacher's last hidden states at the loss positions, and a head that
turns rows of them into logits. The rows are small; the logits are made in chunks where they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cotdistill.models.heads import head_logits, last_hidden_states
from cotdistill.training.batches import Batch


@dataclass(frozen=True, slots=True)
class TeacherRows:
    """``hidden`` is ``[num_loss_tokens, teacher_hidden]``; ``logits`` maps rows of it to ``[rows, teacher_vocab]``."""

    hidden: Tensor
    logits: Callable[[Tensor], Tensor]


class LiveSignal:
    """Runs the teacher, in eval mode and without gradients, on every batch."""

    def __init__(self, teacher: PreTrainedModel):
        self.teacher = teacher.eval().requires_grad_(False)

    @torch.no_grad()
    def rows(self, batch: Batch) -> TeacherRows:
        hidden = last_hidden_states(self.teacher, batch.input_ids, batch.attention_mask)
        return TeacherRows(hidden.flatten(0, 1)[batch.positions], lambda rows: head_logits(self.teacher, rows))
