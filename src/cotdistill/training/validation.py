"""Validation while training: loss and accuracy on held-out questions now and then, and which step's weights are kept.

It changes nothing of the training itself: dropout and order follow from seed and step, and what is measured is
measured without gradients. What is decided follows from the records up to a step, so a resumed run decides the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.config import Sampling, TrainingConfig, Validation
from cotdistill.engines.asking import CompletionLog
from cotdistill.engines.transformers_engine import TransformersEngine
from cotdistill.errors import TrainingError
from cotdistill.evaluation.answering import Asked, answer_with, stop_strings
from cotdistill.evaluation.readers import judge_of
from cotdistill.evaluation.statistics.comparisons import score
from cotdistill.progress import UNSEEN
from cotdistill.records import VERDICTS, Prediction, Score
from cotdistill.storage.jsonl import RowAppender, read_rows
from cotdistill.tasks.prompts import prompt_of
from cotdistill.training.data.batches import Layout, batch_tokens, batches_of_step, num_steps_of
from cotdistill.training.data.examples import Example
from cotdistill.training.data.store import lengths_of
from cotdistill.training.distributed import Ranks
from cotdistill.training.held_out import Checks
from cotdistill.training.recording import forget_after
from cotdistill.training.step import PARTS, DistillationLoss, named_terms

VALIDATION, SAMPLES = "validation.jsonl", "validation_samples.jsonl"
_ANSWERED = "answered.tmp"
"""What is being answered, until it is judged."""
_TOGETHER = 256
"""Examples that are laid out together."""

Say = Callable[[str], None]


def due_steps(config: Validation, num_steps: int, num_groups: int, batch_size: int) -> frozenset[int]:
    """The steps, counted from 1, after which a training of ``num_steps`` is checked; the last is one of them."""
    every = config.every
    if every.steps is not None:
        return frozenset(range(every.steps, num_steps, every.steps)) | {num_steps}
    assert every.epochs is not None, "one of both is given"
    due, times = {num_steps}, 1
    while (step := num_steps_of(times * every.epochs, num_groups, batch_size)) < num_steps:
        due.add(step)
        times += 1
    return frozenset(due)


@dataclass(slots=True)
class History:
    """What was found at each check so far, a row each, and what follows from it."""

    config: Validation
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def best(self) -> dict[str, Any] | None:
        """The row with the highest accuracy, or the lowest loss; of equals the earliest."""
        sign = 1 if self.config.by == "accuracy" else -1
        return max(self.rows, key=lambda row: sign * row[self.config.by], default=None) if self.compares else None

    @property
    def compares(self) -> bool:
        return bool(self.rows) and self.config.by in self.rows[0]

    @property
    def best_step(self) -> int | None:
        """The step whose weights are to be kept; None if it is the last, whichever that will be."""
        return self.best["step"] if self.config.keep == "best" and self.best else None

    @property
    def exhausted(self) -> bool:
        """Whether the training is to stop: the last checks, as many as the patience, were no better."""
        if self.config.patience is None or self.best is None:
            return False
        return len(self.rows) - 1 - self.rows.index(self.best) >= self.config.patience

    def summary(self, last_step: int) -> dict[str, Any]:
        """What a training's summary says: which step was kept and why, why it stopped, and what was found there."""
        kept = self.best_step or last_step
        reason = f"best {self.config.by} of {len(self.rows)}" if self.best_step else "the last step"
        found = next((row for row in self.rows if row["step"] == kept), {})
        return {
            "times": len(self.rows),
            "kept_step": kept,
            "kept_because": reason,
            "stopped_because": (
                f"no better {self.config.by} in {self.config.patience} checks"
                if self.exhausted
                else "all steps were taken"
            ),
            "best_step": self.best["step"] if self.best else None,
            "kept": {name: value for name, value in found.items() if name != "step"},
        }


@dataclass(frozen=True, slots=True)
class Asking:
    """How the student is asked the questions of ``checks``, with ``tokenizer``, while it computes in ``dtype``."""

    checks: Checks
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype

    def predictions(self, student: PreTrainedModel, folder: Path) -> list[Prediction]:
        """What an evaluation with these settings would find, of a student in memory that is in eval mode.

        Raises DataError if no prompt leaves the student room, ConfigError for a reader that cannot be used.
        """
        settings, questions, target = self.checks.asking, self.checks.questions, self.checks.target
        first = target == "answer_then_rationale"
        asked = Asked(questions, [prompt_of(each, target) for each in questions], first_statement=first)
        engine = TransformersEngine(
            student,
            self.tokenizer,
            Sampling(temperature=0.0, max_new_tokens=settings.max_new_tokens, stop=stop_strings(settings)),
            max_batch_size=settings.max_batch_size,
            max_reasoning_tokens=settings.max_reasoning_tokens,
        )
        judge = judge_of(settings.reader, questions, first=first)
        (folder / _ANSWERED).unlink(missing_ok=True)  # of a kill: its weights are gone
        with (
            CompletionLog(folder / _ANSWERED) as log,
            torch.autocast(student.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16),
        ):
            found, _ = answer_with(engine, judge, asked, settings, log, UNSEEN, name="that is trained")
        (folder / _ANSWERED).unlink()
        return found


@dataclass(frozen=True, slots=True)
class Watch:
    """What a training is checked on: held-out ``examples`` and questions; ``say`` is told what was found."""

    config: Validation
    examples: Sequence[Example]
    asking: Asking
    say: Say = lambda line: None


@dataclass(frozen=True, slots=True)
class Validator:
    """Checks a training that runs: its loss module, in ``layout`` and ``dtype``, after the steps that are ``due``.

    The first of several ranks checks and tells the others; of a student that is spread over them, all take the loss.
    """

    watch: Watch
    config: TrainingConfig
    module: DistillationLoss
    layout: Layout
    dtype: torch.dtype
    folder: Path
    due: frozenset[int]
    steps_per_epoch: int
    ranks: Ranks
    history: History

    @classmethod
    def of(
        cls,
        watch: Watch,
        config: TrainingConfig,
        module: DistillationLoss,
        layout: Layout,
        dtype: torch.dtype,
        folder: Path,
        num_steps: int,
        num_groups: int,
        ranks: Ranks,
    ) -> Validator:
        """Of a training of ``num_steps`` on ``num_groups`` that share a step each, nothing of it taken."""
        due = due_steps(watch.config, num_steps, num_groups, config.batch_size)
        epoch = num_steps_of(1, num_groups, config.batch_size)
        return cls(watch, config, module, layout, dtype, folder, due, epoch, ranks, History(watch.config))

    def resume(self, step: int) -> None:
        """Go on behind a step: what was found after it is forgotten, as the steps themselves are."""
        if self.ranks.is_first:
            for name in (VALIDATION, SAMPLES):
                forget_after(self.folder / name, step)
            if (self.folder / VALIDATION).exists():
                self.history.rows.extend(read_rows(self.folder / VALIDATION))
        self.history.rows[:] = self._told(self.history.rows)

    def check(self, step: int) -> dict[str, Any]:
        """Take loss and accuracy after a step, write them down, and return them for the step's metrics."""
        row: dict[str, Any] = {"step": step, "epoch": round(step / self.steps_per_epoch, 4)}
        self.module.eval()
        if self.watch.examples and (self.ranks.is_first or self.ranks.sharded):
            row |= self._losses(step)
        if self.ranks.is_first:
            samples: list[Prediction] = []
            if self.watch.asking.checks.questions:
                samples = self.watch.asking.predictions(self.module.student, self.folder)
                row |= {"accuracy": score(samples).accuracy, "verdicts": _verdicts(score(samples))}
            with RowAppender(self.folder / SAMPLES) as file:
                file.append_all({"step": step} | sample.to_row() for sample in samples)
            with RowAppender(self.folder / VALIDATION) as file:
                file.append(row)
        self.module.train()
        row = self._told(row)
        self.history.rows.append(row)
        if self.ranks.is_first:
            self.watch.say(self._line(row))
        return {name: row[name] for name in ("loss", "accuracy") if name in row}

    def summary(self, last_step: int) -> dict[str, Any]:
        """For a training's summary: what is held out, and what :meth:`History.summary` says."""
        checks = self.watch.asking.checks
        held = {
            "questions": checks.num_questions,
            "examples": len(self.watch.examples),
            "asked": len(checks.questions),
        }
        return {"held_out": held} | self.history.summary(last_step)

    def _told(self, value: Any) -> Any:
        """The first rank's value, on every rank: what follows from it must be the same."""
        if self.ranks.size == 1:
            return value
        return json.loads(self.ranks.broadcast(json.dumps(value) if self.ranks.is_first else None))

    def _losses(self, step: int) -> dict[str, Any]:
        """The mean weighted loss, each term's mean over all tokens, and over those of each region that it sees."""
        sums = torch.zeros(2, len(self.config.loss), len(PARTS), dtype=torch.float64)
        device, num_tokens = self.module.student.device, 0
        for batch in self._batches():
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
                sums += torch.stack(self.module(batch.to(device), None)).cpu()
            num_tokens += len(batch.targets)
        losses, weights = sums
        means = (losses.sum(-1) / num_tokens).tolist()
        loss = sum(term.weight * mean for term, mean in zip(self.config.loss, means, strict=True))
        if not math.isfinite(loss):
            raise TrainingError(f"the validation loss is {loss}", where=f"step {step}", remedy=_REMEDY)
        terms = named_terms(self.config.loss, means)
        regions = {
            name: {part: (losses[i, j] / weights[i, j]).item() for j, part in enumerate(PARTS) if weights[i, j]}
            for i, name in enumerate(terms)
        }
        return {
            "loss": loss,
            "terms": terms,
            "regions": regions,
            "num_loss_tokens": num_tokens,
        }

    def _batches(self) -> Any:
        """All held-out examples, longest first, laid out some hundred at a time."""
        lengths = lengths_of(self.watch.examples)
        order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
        most = batch_tokens(self.config.max_batch_tokens, self.module.student.device)
        for start in range(0, len(order), _TOGETHER):
            some = {index: self.watch.examples[index] for index in order[start : start + _TOGETHER]}
            yield from batches_of_step(some, self.layout, most)

    def _line(self, row: dict[str, Any]) -> str:
        """What was found, in words."""
        parts = [f"validation loss {row['loss']:.4f}"] if "loss" in row else []
        if "accuracy" in row:
            asked = sum(row["verdicts"].values())
            parts.append(f"accuracy {row['accuracy']:.1%} ({row['verdicts']['correct']} of {asked})")
        notes = ["the best so far"] if self.history.best is row and len(self.history.rows) > 1 else []
        if self.history.exhausted:
            notes.append(f"no better {self.watch.config.by} in {self.watch.config.patience} checks: training stops")
        told = f"step {row['step']}: {', '.join(parts)}"
        return f"{told}; {', '.join(notes)}" if notes else told


_REMEDY = "lower training.learning_rate, or set training.dtype: float32"


def _verdicts(found: Score) -> dict[str, int]:
    return {verdict: getattr(found, verdict) for verdict in VERDICTS}
