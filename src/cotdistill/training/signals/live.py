"""Where the teacher's next-token distributions come from, and how the student's are compared with them.

A signal gives the teacher's rows for the loss positions of a batch in a small form: last hidden states, the k most
likely tokens, or sampled tokens. Rows are cut into chunks, and a chunk computes each divergence of the config.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cotdistill.config import Divergence, ForwardKL
from cotdistill.errors import ModelError
from cotdistill.models.forward.heads import all_hidden_states, head_of, last_hidden_states, output_head
from cotdistill.models.forward.positions import num_positions
from cotdistill.training.data.batches import Batch
from cotdistill.training.data.examples import Example
from cotdistill.training.losses import divergences as losses
from cotdistill.training.losses.teacher import TeacherRows, even_slices


class TeacherSignal(Protocol):
    """Gives the teacher's rows of any batch of the training's examples.

    ``models`` are those that it runs on each. ``num_outcomes`` is the size of the teacher's head, which may be padded
    beyond the tokens, if the student's logits are compared with it one by one; else None.
    """

    @property
    def models(self) -> Sequence[PreTrainedModel]: ...

    @property
    def num_outcomes(self) -> int | None: ...

    def admit(self, samples: Mapping[int, Example]) -> tuple[Mapping[int, Example], Collection[str]]:
        """Take the student's samples of a step in, before their rows are asked for.

        Returns them as far as the teacher can compare them, and why others are left out or cut, a reason for each.
        """
        ...

    def rows(self, batch: Batch) -> TeacherRows: ...


@dataclass(frozen=True, slots=True)
class LogitsChunk:
    """All logits of the teacher, ``[num_tokens, teacher_vocab]``."""

    logits: Tensor

    def slices(self, size: int) -> Iterator[slice]:
        return even_slices(len(self.logits), size)

    def chunk(self, rows: slice) -> LogitsChunk:
        return LogitsChunk(self.logits[rows])

    def divergence(self, term: Divergence, student_logits: Tensor) -> Tensor:
        """Heads of one family may be padded to different sizes: the range that both have is compared.

        It holds every token. To pad the smaller one with zeros instead would change the gradients.
        """
        shared = min(student_logits.shape[-1], self.logits.shape[-1])
        return losses.divergence(term, student_logits[:, :shared], self.logits[:, :shared])


@dataclass(frozen=True, slots=True)
class HiddenRows:
    """``hidden`` is ``[num_loss_tokens, teacher_hidden]``; ``head`` maps rows of it to logits, chunk by chunk.

    ``layers`` holds hidden states of the same tokens by layer, those that were asked for.
    """

    hidden: Tensor
    head: Callable[[Tensor], Tensor]
    layers: Mapping[int, Tensor] = field(default_factory=dict)

    def slices(self, size: int) -> Iterator[slice]:
        return even_slices(len(self.hidden), size)

    @torch.no_grad()
    def chunk(self, rows: slice) -> LogitsChunk:
        return LogitsChunk(self.head(self.hidden[rows]))


@dataclass(frozen=True, slots=True)
class TopKRows:
    """The k most likely tokens ``[num_loss_tokens, k]`` with their log-probabilities; the rest counts as one
    outcome."""

    tokens: Tensor
    log_probabilities: Tensor

    def slices(self, size: int) -> Iterator[slice]:
        return even_slices(len(self.tokens), size)

    def chunk(self, rows: slice) -> TopKRows:
        return TopKRows(self.tokens[rows], self.log_probabilities[rows])

    def divergence(self, term: Divergence, student_logits: Tensor) -> Tensor:
        log_q = losses.chosen_log_softmax(student_logits, self.tokens)
        if self.tokens.shape[-1] == student_logits.shape[-1]:  # nothing is missing: no tail to speak of
            return losses.divergence_of(term)(self.log_probabilities, log_q)
        log_p = torch.cat([self.log_probabilities, losses.log_rest(self.log_probabilities)], dim=-1)
        return losses.divergence_of(term)(log_p, losses.with_tail(log_q))


@dataclass(frozen=True, slots=True)
class SampledRows:
    """Draws of the teacher's next token ``[num_loss_tokens, num_samples]`` and its entropy ``[num_loss_tokens]``."""

    tokens: Tensor
    entropy: Tensor

    def slices(self, size: int) -> Iterator[slice]:
        return even_slices(len(self.tokens), size)

    def chunk(self, rows: slice) -> SampledRows:
        return SampledRows(self.tokens[rows], self.entropy[rows])

    def divergence(self, term: Divergence, student_logits: Tensor) -> Tensor:
        assert isinstance(term, ForwardKL), "the config refuses other divergences of a sampled signal"
        return losses.sampled_forward_kl(student_logits, self.tokens, self.entropy)


class LiveSignal:
    """Runs the teacher, in eval mode and without gradients, on every batch."""

    def __init__(self, teacher: PreTrainedModel):
        self.teacher = teacher.eval().requires_grad_(False)
        self.models = (self.teacher,)
        self.head = head_of(teacher)
        self.num_outcomes: int | None = output_head(teacher).weight.shape[0]  # pyright: ignore

    def admit(self, samples: Mapping[int, Example]) -> tuple[Mapping[int, Example], Collection[str]]:
        return samples, ()

    @torch.no_grad()
    def rows(self, batch: Batch, layers: Sequence[int] = ()) -> HiddenRows:
        """The teacher's rows, with its hidden states of ``layers``.

        Raises ModelError if the teacher's prompts and the responses exceed its positions.
        """
        batch = batch.teacher or batch
        limit = num_positions(self.teacher)
        if limit is not None and batch.longest > limit:
            raise ModelError(
                f"{batch.longest} tokens of prompt and response exceed the teacher's {limit} positions",
                where=self.teacher.name_or_path,
                remedy="lower training.max_length",
            )
        if not layers:
            hidden = last_hidden_states(self.teacher, **batch.inputs)
            return HiddenRows(hidden.flatten(0, 1)[batch.positions], self.head.logits)
        states = all_hidden_states(self.teacher, **batch.inputs)
        kept = {layer: states[layer].flatten(0, 1)[batch.positions] for layer in layers}
        return HiddenRows(states[-1].flatten(0, 1)[batch.positions], self.head.logits, kept)
