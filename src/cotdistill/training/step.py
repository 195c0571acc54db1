"""The training step: the loss of a micro-batch inside the module's forward, and one optimizer step over several.

The loss of a step is the sum of weighted token losses over the step's number of loss tokens, so that neither the split
into micro-batches nor padding changes a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cotdistill.config import Divergence, HiddenTerm, LossConfig, LossTerm, RegionName
from cotdistill.models.forward.heads import all_hidden_states, head_of, head_parameters, last_hidden_states
from cotdistill.training.data.batches import Batch
from cotdistill.training.distributed import ALONE, Ranks
from cotdistill.training.losses.by_token import token_losses
from cotdistill.training.losses.fused import LossInputs, chunk_size, fused_loss
from cotdistill.training.losses.hidden_matching import HiddenMatching
from cotdistill.training.losses.teacher import NoTeacher, TeacherRows
from cotdistill.training.losses.weights import applies, token_weights
from cotdistill.training.signals.live import LiveSignal, TeacherSignal

PARTS: tuple[RegionName, ...] = ("reasoning", "rationale", "answer")
"""The regions that a response consists of."""


class DistillationLoss(nn.Module):
    """The student with its losses: ``forward`` takes a micro-batch and returns its share of the step's loss."""

    def __init__(self, student: PreTrainedModel, terms: Sequence[LossConfig], signal: TeacherSignal | None):
        super().__init__()
        self.student = student
        self.terms = tuple(terms)
        self.signal = signal
        self.token_terms = tuple(term for term in terms if not isinstance(term, HiddenTerm))
        hidden_terms = tuple(term for term in terms if isinstance(term, HiddenTerm))
        self.matching = _matching(hidden_terms, student, signal) if hidden_terms else None

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters by name: the student's, then those used only in training."""
        named = ((name.removeprefix("student."), parameter) for name, parameter in self.named_parameters())
        return {name: parameter for name, parameter in named if parameter.requires_grad}

    def forward(self, batch: Batch, num_loss_tokens: int | None) -> tuple[Tensor, Tensor]:
        """The weighted loss over ``num_loss_tokens`` of the whole step, and each term's sum ``[num_terms]``; without
        them :meth:`measured`, since a student that is spread over ranks is whole in here alone."""
        if num_loss_tokens is None:
            return self.measured(batch)
        if self.matching is not None:
            return self._forward_matching(self.matching, batch, num_loss_tokens)
        hidden = last_hidden_states(self.student, **batch.inputs)
        teacher = self.signal.rows(batch) if self.signal else NoTeacher(len(batch.targets))
        return self._token_losses(hidden, batch, teacher, num_loss_tokens)

    @torch.no_grad()
    def measured(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sums of each term's token losses by their weights, and of these weights: ``[num_terms, num_regions]`` both,
        by ``PARTS``, without a term's own weight."""
        found = torch.zeros(len(self.terms), len(batch.targets), device=batch.targets.device)
        is_hidden = torch.tensor([isinstance(term, HiddenTerm) for term in self.terms], device=found.device)
        teacher: TeacherRows = NoTeacher(len(batch.targets))
        if self.matching is not None:
            assert isinstance(self.signal, LiveSignal), "the config refuses hidden-state terms of other signals"
            states = all_hidden_states(self.student, **batch.inputs)
            hidden, teacher = states[-1], self.signal.rows(batch, self.matching.teacher_layers)
            found[is_hidden] = self.matching.token_losses(states, teacher.layers, batch)
        else:
            hidden = last_hidden_states(self.student, **batch.inputs)
            teacher = self.signal.rows(batch) if self.signal else teacher
        if self.token_terms:
            size = chunk_size(self.student.config.get_text_config().vocab_size)
            rows = hidden.flatten(0, 1)[batch.positions]
            tokens = token_losses(self.token_terms, rows, head_of(self.student), batch.targets, teacher, size)
            found[~is_hidden] = tokens
        weights = token_weights(self.terms, batch.regions, batch.owners)
        inside = token_weights([LossTerm(region=part) for part in PARTS], batch.regions, batch.owners).double().T
        return torch.where(weights > 0, weights * found, 0.0).double() @ inside, weights.double() @ inside

    def _token_losses(
        self, hidden: Tensor, batch: Batch, teacher: TeacherRows, num_loss_tokens: int
    ) -> tuple[Tensor, Tensor]:
        weights = token_weights(self.token_terms, batch.regions, batch.owners, sampled=batch.sampled)
        return fused_loss(
            hidden.flatten(0, 1)[batch.positions],
            head_of(self.student),
            head_parameters(self.student),
            LossInputs(batch.targets, weights, teacher),
            self.token_terms,
            num_loss_tokens=num_loss_tokens,
            tokens_per_chunk=chunk_size(self.student.config.get_text_config().vocab_size),
        )

    def _forward_matching(self, matching: HiddenMatching, batch: Batch, num_loss_tokens: int) -> tuple[Tensor, Tensor]:
        assert isinstance(self.signal, LiveSignal), "the config refuses hidden-state terms of other signals"
        states = all_hidden_states(self.student, **batch.inputs)
        teacher = self.signal.rows(batch, matching.teacher_layers)
        hidden_sums = matching(states, teacher.layers, batch)
        loss = (matching.weights.to(hidden_sums) * hidden_sums).sum() / num_loss_tokens
        if not self.token_terms:
            return loss, hidden_sums.detach()
        has_divergence = any(isinstance(term, Divergence) for term in self.token_terms)
        rows = teacher if has_divergence else NoTeacher(len(batch.targets))
        token_loss, token_sums = self._token_losses(states[-1], batch, rows, num_loss_tokens)
        is_hidden = torch.tensor([isinstance(term, HiddenTerm) for term in self.terms], device=loss.device)
        sums = token_sums.new_zeros(len(self.terms))
        sums[is_hidden], sums[~is_hidden] = hidden_sums.detach(), token_sums
        return loss + token_loss, sums


def named_terms(terms: Sequence[LossConfig], means: Sequence[float], *, sampled: bool = False) -> dict[str, float]:
    """The mean of each loss term that applies, by its place, kind and region."""
    places = enumerate(zip(terms, means, strict=True))
    return {f"{n}_{term.kind}_{term.region}": mean for n, (term, mean) in places if applies(term, sampled=sampled)}


def _matching(terms: Sequence[HiddenTerm], student: PreTrainedModel, signal: TeacherSignal | None) -> HiddenMatching:
    assert isinstance(signal, LiveSignal), "the config refuses hidden-state terms of other signals"
    return HiddenMatching(terms, student.config, signal.teacher.config).to(student.device)


def accumulate(
    module: nn.Module,
    batches: Sequence[Batch],
    *,
    device: torch.device,
    dtype: torch.dtype,
    ranks: Ranks = ALONE,
    spare: Batch | None = None,
) -> tuple[float, list[float], int]:
    """Add the gradients of one step's micro-batches; returns loss, term means and the number of loss tokens.

    ``module`` is a :class:`DistillationLoss`, wrapped by ``ranks`` if there are several; ``batches`` are then this
    rank's, ``spare`` (see :meth:`Ranks.rounds`) any other, and what is returned is of all ranks. ``dtype`` is what
    matrix products compute in; parameters, gradients and losses stay in float32.
    """
    num_loss_tokens = int(ranks.total([sum(len(batch.targets) for batch in batches)])[0])
    loss, sums = 0.0, torch.zeros(())
    rounds = ranks.rounds(batches, spare)
    for number, (batch, times) in enumerate(rounds, start=1):
        with ranks.accumulating(module, last=number == len(rounds)):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                batch_loss, batch_sums = module(batch.to(device), num_loss_tokens)
            (batch_loss * times).backward()
        if times:
            loss += batch_loss.item()
        sums = sums + batch_sums.cpu() * bool(times)
    loss, *totals = ranks.total([loss, *sums.tolist()])
    return loss, (torch.tensor(totals) / num_loss_tokens).tolist(), num_loss_tokens
