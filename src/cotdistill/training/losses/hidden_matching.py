"""Matching the student's hidden states to the teacher's, layer by layer, at the tokens that carry loss.

Layers are numbered as transformers does: 0 is the embeddings, the last is what the head sees, behind the final norm.
If the widths differ, a linear map of the student's states is learned too (FitNets, Romero et al. 2015, arXiv
1412.6550; TinyBERT, Jiao et al. 2020, arXiv 1909.10351, which spaces its layers evenly). It is part of a training's
checkpoints, but not of the student.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig

from cotdistill.config import HiddenMSE, HiddenTerm, LayerMap
from cotdistill.errors import ConfigError
from cotdistill.training.data.batches import Batch
from cotdistill.training.losses.weights import token_weights


class HiddenMatching(nn.Module):
    """The hidden-state terms of a training, with the projections that they need."""

    def __init__(self, terms: Sequence[HiddenTerm], student: PreTrainedConfig, teacher: PreTrainedConfig):
        """Raises ConfigError for a layer that a model does not have."""
        super().__init__()
        student, teacher = student.get_text_config(), teacher.get_text_config()
        self.terms = tuple(terms)
        self.weights = torch.tensor([term.weight for term in terms])
        depths = student.num_hidden_layers, teacher.num_hidden_layers
        self.pairs = [layer_pairs(term.layers, *depths) for term in terms]
        self.teacher_layers = sorted({theirs for pairs in self.pairs for _, theirs in pairs})
        widths = student.hidden_size, teacher.hidden_size
        self.projections = nn.ModuleList(
            nn.ModuleList(_projection(*widths) for _ in pairs) if widths[0] != widths[1] else nn.ModuleList()
            for pairs in self.pairs
        )

    def forward(self, student: Sequence[Tensor], teacher: Mapping[int, Tensor], batch: Batch) -> Tensor:
        """The sum of each term's weighted token losses ``[num_terms]``, in float32; layers of a term are averaged.

        ``student`` holds ``[rows, length, hidden]`` by layer, ``teacher`` ``[num_loss_tokens, hidden]`` by layer.
        """
        with torch.autocast(batch.targets.device.type, enabled=False):
            weights = token_weights(self.terms, batch.regions, batch.owners)
            return (weights * self.token_losses(student, teacher, batch)).sum(-1)

    def token_losses(self, student: Sequence[Tensor], teacher: Mapping[int, Tensor], batch: Batch) -> Tensor:
        """What :meth:`forward` sums up, not weighted yet: ``[num_terms, num_loss_tokens]``."""
        with torch.autocast(batch.targets.device.type, enabled=False):
            losses = [self._token_losses(index, student, teacher, batch) for index in range(len(self.terms))]
            return torch.stack(losses)

    def _token_losses(
        self, index: int, student: Sequence[Tensor], teacher: Mapping[int, Tensor], batch: Batch
    ) -> Tensor:
        """One term's ``[num_loss_tokens]``."""
        term, pairs = self.terms[index], self.pairs[index]
        projections = self.projections[index] or [nn.Identity()] * len(pairs)  # pyright: ignore[reportGeneralTypeIssues]
        token_losses = [
            distance(term, project(student[ours].flatten(0, 1)[batch.positions].float()), teacher[theirs].float())
            for (ours, theirs), project in zip(pairs, projections, strict=True)  # pyright: ignore[reportArgumentType]
        ]
        return torch.stack(token_losses).mean(0)


def distance(term: HiddenTerm, student: Tensor, teacher: Tensor) -> Tensor:
    """``[num_tokens]`` from ``[num_tokens, hidden]``: the mean squared difference, or one minus the cosine."""
    if isinstance(term, HiddenMSE):
        return (student - teacher).square().mean(-1)
    return 1.0 - F.cosine_similarity(student, teacher, dim=-1)


def layer_pairs(layers: LayerMap, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
    """Pairs of student and teacher layers. ``uniform`` pairs every student layer (the embeddings left out) with the
    teacher's at the same share of its depth, ``last`` the last with the last.

    Raises ConfigError for a layer that a model does not have.
    """
    if layers == "last":
        return [(student_depth, teacher_depth)]
    if layers == "uniform":
        return [(layer, round(layer * teacher_depth / student_depth)) for layer in range(1, student_depth + 1)]
    for pair in layers:
        for role, layer, depth in zip(("student", "teacher"), pair, (student_depth, teacher_depth), strict=True):
            if layer > depth:
                raise ConfigError(
                    f"the {role} has no layer {layer}, only 0 (its embeddings) to {depth}",
                    where="training.loss, layers",
                    remedy="give pairs [student layer, teacher layer], or layers: uniform",
                )
    return list(layers)


def _projection(student_width: int, teacher_width: int) -> nn.Linear:
    """Always starts from the same orthogonal matrix, whatever the state of torch's generator."""
    projection = nn.Linear(student_width, teacher_width, bias=False)
    nn.init.orthogonal_(projection.weight, generator=torch.Generator().manual_seed(0))
    return projection
