"""The training loop: steps, clipping, schedule, metrics, checkpoints. A killed run resumes to the same bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from cotdistill.config import TrainingConfig
from cotdistill.errors import TrainingError
from cotdistill.models.forward.halved import halved
from cotdistill.models.forward.heads import disable_gradient_checkpointing, enable_gradient_checkpointing
from cotdistill.models.forward.lean import lean
from cotdistill.models.forward.positions import num_positions
from cotdistill.models.load.layers import decoder_layers
from cotdistill.models.load.loading import resolve_dtype
from cotdistill.storage.jsonl import read_rows
from cotdistill.training.checkpoints import TrainingState, load_checkpoint, load_parameters, save_checkpoint
from cotdistill.training.data.ahead import ahead
from cotdistill.training.data.batches import (
    Batch,
    Layout,
    batch_tokens,
    batches_of_step,
    collate,
    grouped_steps,
    num_steps_of,
    task_groups,
)
from cotdistill.training.data.examples import Example
from cotdistill.training.data.layout import laid_out
from cotdistill.training.data.store import lengths_of
from cotdistill.training.distributed import ALONE, Ranks, whole
from cotdistill.training.optimizer import make_optimizer
from cotdistill.training.recording import recording
from cotdistill.training.rollout_buffer import BUFFER, Buffer
from cotdistill.training.rollouts import Rollouts, rollout_totals
from cotdistill.training.schedules import learning_rate
from cotdistill.training.signals.live import TeacherSignal
from cotdistill.training.step import DistillationLoss, accumulate, named_terms
from cotdistill.training.validation import Validator, Watch

METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint.tmp"
"""The checkpoint's folder within a stage; its name keeps it out of the finished stage."""


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """Totals of a finished training; tokens are those of the examples; shared ones count for each.

    ``rollouts`` describes the steps on the student's own samples: their number, mean tokens and how many were cut.
    ``validation`` says which step's weights the student has and why the training stopped (:meth:`Validator.summary`).
    """

    num_steps: int
    num_examples: int
    num_tokens: int
    num_loss_tokens: int
    first_loss: float
    last_loss: float
    seconds: float
    rollouts: dict[str, Any] | None = None
    validation: dict[str, Any] | None = None


def train_student(
    student: PreTrainedModel,
    examples: Sequence[Example],
    config: TrainingConfig,
    *,
    signal: TeacherSignal | None,
    seed: int,
    folder: Path,
    rollouts: Rollouts | None = None,
    watch: Watch | None = None,
    ranks: Ranks = ALONE,
) -> TrainingSummary:
    """Train ``student`` in place (its parameters in float32), writing metrics and checkpoints to ``folder``.

    ``rollouts`` has or draws the examples of on-policy steps, and ``watch`` is what the student is checked on now and
    then. With several ``ranks``, each calls this with the same arguments, and the first one writes.

    Raises TrainingError for an example that is longer than the student's positions, and at the first loss or gradient
    that is not finite; earlier checkpoints are kept.
    """
    _check_lengths(student, examples)
    if rollouts is not None and rollouts.drawn is None:
        rollouts.check(student, examples)
    groups, lengths = task_groups(examples), lengths_of(examples).tolist()
    dtype = resolve_dtype(config.dtype, student.device)
    num_steps = config.max_steps or num_steps_of(config.epochs, len(groups), config.batch_size)
    with ExitStack() as stack:
        models = [student, *(signal.models if signal else ())]
        layout = stack.enter_context(laid_out(models, dtype, packing=config.packing, compiled=config.compile))
        _prepare(student, config)
        module = DistillationLoss(student, config.loss, signal).train()
        wrapped = ranks.wrap(module, student, uses_head=bool(module.token_terms))
        named = module.trained_parameters()
        optimizer = make_optimizer(named.values(), config)
        if dtype == torch.bfloat16 and student.device.type == "cpu" and ranks.size == 1 and not config.compile:
            optimizer.register_step_post_hook(stack.enter_context(halved(student)).forget)
            stack.enter_context(lean(student))
        state = TrainingState(module, optimizer, {parameter: name for name, parameter in named.items()})
        first_step = load_checkpoint(folder / CHECKPOINT, state)
        validator = watch and Validator.of(watch, config, module, layout, dtype, folder, num_steps, len(groups), ranks)
        if validator:
            validator.resume(first_step)
        how = wrapped, optimizer, layout, dtype, rollouts, ranks, signal
        steps = _Steps(examples, lengths, config, num_steps, seed, student, *how)
        order = enumerate(grouped_steps(groups, lengths, config.batch_size, seed=seed, num_steps=num_steps))
        if rollouts is not None and rollouts.drawn is None:
            steps.buffer = Buffer(rollouts, folder / BUFFER, num_steps, ranks.rank, steps.own)
            order = steps.buffer.foreseen(order)
        record = stack.enter_context(recording(folder / METRICS, num_steps, first_step, ranks))
        laid = stack.enter_context(closing(ahead(steps.lay, islice(order, first_step, None))))
        _take_all(steps, laid, record, validator, state, folder / CHECKPOINT, first_step)
    if config.gradient_checkpointing:
        disable_gradient_checkpointing(student)
    student.eval()
    ranks.wait()
    return _summary(folder / METRICS, len(examples), validator)


def _take_all(
    steps: _Steps,
    laid: Iterator[_Step],
    record: Callable[[dict[str, Any]], None],
    validator: Validator | None,
    state: TrainingState,
    checkpoint: Path,
    first_step: int,
) -> None:
    """Take the steps, to the last one or until the validation has seen enough, and restore the weights that are kept.

    A check is written down before the step it follows and before a checkpoint, so one that is resumed from has it.
    """
    number, history = first_step, validator.history if validator else None
    while not (history and history.exhausted) and (step := next(laid, None)) is not None:
        row, number, better = steps.take(step), number + 1, False
        if validator and number in validator.due:
            row["validation"] = validator.check(number)
            better = validator.history.best_step == number
        record(row)
        if (better or number % steps.config.checkpoint_every == 0) and number < steps.num_steps:
            best = history.best_step if history else None
            save_checkpoint(checkpoint, state, step=number, ranks=steps.ranks, best=best)
            if steps.buffer is not None and steps.ranks.is_first:
                steps.buffer.forget(before=number)
    if history and history.best_step not in (None, number):
        load_parameters(checkpoint, state, step=history.best_step)


@dataclass(frozen=True, slots=True)
class _Step:
    """A step (counted from 0) on examples by their numbers, of which this rank takes its ``own``.

    If it is on ``sampled`` texts, these take the examples' places; ``batches`` is None if only the student as it is
    then can write them.
    """

    number: int
    indices: Sequence[int]
    sampled: bool
    own: Mapping[int, Example]
    batches: Sequence[Batch] | None


@dataclass(slots=True)
class _Steps:
    """What the steps of a training have in common; ``wrapped`` is the loss module as ``ranks`` call it, ``buffer`` has
    the samples that are drawn while training."""

    examples: Sequence[Example]
    lengths: Sequence[int]
    config: TrainingConfig
    num_steps: int
    seed: int
    student: PreTrainedModel
    wrapped: nn.Module
    optimizer: torch.optim.Optimizer
    layout: Layout
    dtype: torch.dtype
    rollouts: Rollouts | None
    ranks: Ranks
    signal: TeacherSignal | None = None
    buffer: Buffer | None = None

    def own(self, indices: Sequence[int]) -> dict[int, Example]:
        """Those of a step's examples that this rank takes, by their numbers."""
        return {index: self.examples[index] for index in self.ranks.share(indices, self.lengths)}

    def lay(self, item: tuple[int, Sequence[int]]) -> _Step:
        """The step with this number on these examples, as far as it can be known before the one before it is taken."""
        number, indices = item
        own, rollouts = self.own(indices), self.rollouts
        if rollouts is None or not rollouts.are_of(number):
            return _Step(number, indices, False, own, self._batches(own))
        if rollouts.drawn is None:
            return _Step(number, indices, True, own, None)
        samples = {index: rollouts.drawn[index] for index in own}
        return _Step(number, indices, True, samples, self._batches(samples, sampled=True))

    def take(self, step: _Step) -> dict[str, Any]:
        """Take a step; returns its metrics."""
        started = time.perf_counter()
        torch.manual_seed(step_seed(self.seed, step.number, self.ranks.rank))
        rate = learning_rate(self.config, step.number, self.num_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        own, batches, counts = self._on_policy(step)
        loss, term_means, num_loss_tokens = self._accumulate(batches, spare=self.examples[step.indices[0]])
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        grad_norm = whole(torch.nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm)).item()
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            raise _non_finite(loss, grad_norm, step.number, [self.examples[i].id for i in step.indices])
        self.optimizer.step()
        seconds = time.perf_counter() - started
        (num_tokens,) = self.ranks.total([sum(map(len, own.values()))])
        return {
            "step": step.number + 1,
            "loss": loss,
            "terms": named_terms(self.config.loss, term_means, sampled=step.sampled),
            "learning_rate": rate,
            "grad_norm": grad_norm,
            "num_loss_tokens": num_loss_tokens,
            "num_tokens": int(num_tokens),
            "seconds": round(seconds, 4),
            **counts,
        }

    def _on_policy(self, step: _Step) -> tuple[Mapping[int, Example], Sequence[Batch], dict[str, Any]]:
        """This rank's examples, or the student's samples for their prompts; their batches, and counts of samples."""
        own, batches, left_out = step.own, step.batches, ()
        if batches is None:
            assert self.buffer is not None, "nothing else is drawn while training"
            assert self.signal is not None, "the config refuses samples that no teacher scores"
            own, left_out = self.signal.admit(self.buffer.take(self.student, step.number))
            batches = self._batches(own, sampled=True)
        if not step.sampled:
            return own, batches, {}
        assert self.rollouts is not None, "nothing else is sampled"
        return own, batches, {"rollouts": self.rollouts.counts(own.values(), self.ranks, left_out)}

    def _batches(self, examples: Mapping[int, Example], *, sampled: bool = False) -> list[Batch]:
        device = self.student.device
        batches = batches_of_step(examples, self.layout, batch_tokens(self.config.max_batch_tokens, device))
        batches = [replace(batch, sampled=sampled) for batch in batches]
        return [batch.pinned() for batch in batches] if device.type == "cuda" else batches

    def _accumulate(self, batches: Sequence[Batch], spare: Example) -> tuple[float, list[float], int]:
        if not self.ranks.total([len(batches)])[0]:  # no sample of the step can be compared
            return 0.0, [0.0] * len(self.config.loss), 0
        return accumulate(
            self.wrapped,
            batches,
            device=self.student.device,
            dtype=self.dtype,
            ranks=self.ranks,
            spare=collate([spare], self.layout) if self.ranks.size > 1 else None,
        )


def _prepare(student: PreTrainedModel, config: TrainingConfig) -> None:
    """Less memory or more speed for the same values, if the config says so."""
    if config.gradient_checkpointing:
        enable_gradient_checkpointing(student)
    if config.compile:
        for layer in decoder_layers(student):  # one by one: they share what is compiled, whatever the length of a batch
            layer.compile(dynamic=True)


def _check_lengths(student: PreTrainedModel, examples: Sequence[Example]) -> None:
    limit = num_positions(student)
    longest = examples[int(lengths_of(examples).argmax())]
    if limit is not None and len(longest) > limit:
        raise TrainingError(
            f"{len(longest)} tokens are more than the student's {limit} positions",
            where=f"rationale {longest.id}",
            remedy=f"set training.max_length: {limit}",
        )


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """A seed per step and rank, so that dropout after a resume is that of an unbroken run."""
    return (seed * 1_000_003 + step + rank * 7_919_000_003) % (1 << 63)


def _non_finite(loss: float, grad_norm: float, step: int, ids: list[str]) -> TrainingError:
    what = f"loss is {loss}" if not math.isfinite(loss) else f"gradient norm is {grad_norm}"
    return TrainingError(
        f"the {what}",
        where=f"step {step + 1}, examples {', '.join(ids[:4])}{' ...' if len(ids) > 4 else ''}",
        remedy="lower training.learning_rate, set training.dtype: float32, or look at these examples",
    )


def _summary(path: Path, num_examples: int, validator: Validator | None) -> TrainingSummary:
    rows = list(read_rows(path))
    return TrainingSummary(
        num_steps=len(rows),
        num_examples=num_examples,
        num_tokens=sum(row["num_tokens"] for row in rows),
        num_loss_tokens=sum(row["num_loss_tokens"] for row in rows),
        first_loss=rows[0]["loss"],
        last_loss=rows[-1]["loss"],
        seconds=round(sum(row["seconds"] for row in rows), 1),
        rollouts=rollout_totals([row["rollouts"] for row in rows if "rollouts" in row]),
        validation=validator.summary(len(rows)) if validator else None,
    )
