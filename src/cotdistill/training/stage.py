"""The training stage: a student's folder, made from rationales or found finished."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.config import CachedTeacher, LiveTeacher, Model, ModelConfig, OwnContext, TrainingConfig, identity
from cotdistill.errors import ConfigError
from cotdistill.models.forward.attention import set_attention
from cotdistill.models.forward.heads import check_head
from cotdistill.models.load.loading import load_model, load_tokenizer, model_identity, pick_device, resolve_dtype
from cotdistill.models.tokens.instruction import add_instruction
from cotdistill.models.tokens.thinking import settle
from cotdistill.models.tokens.vocabulary import check_same_vocabulary, check_tokens, shared_vocabulary_size
from cotdistill.records import Rationale
from cotdistill.storage.atomic import write_text_atomically
from cotdistill.storage.stages import Stage, open_stage
from cotdistill.storage.stored import content_of
from cotdistill.tasks.prompts import (
    INSTRUCTION_MARK,
    Target,
    around_question,
    target_of_student,
)
from cotdistill.training.card import model_card
from cotdistill.training.data.batches import batch_tokens
from cotdistill.training.data.examples import Example, make_examples, refuse_unseen_regions
from cotdistill.training.data.lengths import Lengths
from cotdistill.training.data.store import Tokens, make_tokens, read_tokens, token_settings
from cotdistill.training.distributed import ALONE, Ranks
from cotdistill.training.loop import CHECKPOINT, TrainingSummary, train_student
from cotdistill.training.optimizer import check_optimizer
from cotdistill.training.rollout_buffer import BUFFER
from cotdistill.training.rollouts import Rollouts
from cotdistill.training.signals.aligned import AlignedSignal
from cotdistill.training.signals.alignment import Alignments, align
from cotdistill.training.signals.capture import capture, store_settings, teacher_identity
from cotdistill.training.signals.live import LiveSignal, TeacherSignal
from cotdistill.training.signals.stored import StoredSignal
from cotdistill.training.students import OpenStudent, open_student, put_together, write_student

VERSION = 5
"""Raised whenever a change of code changes what a training makes."""


@dataclass(frozen=True, slots=True)
class Student:
    """A trained student: ``model`` is a plain Hugging Face folder, ``target`` what it was trained to write."""

    path: Path
    model: Path
    target: Target
    summary: dict[str, Any]
    dropped: dict[str, int]


def training_identity(
    student: Model, rationales: Sequence[Rationale], config: TrainingConfig, seed: int
) -> dict[str, Any]:
    """Everything that can change the student: models, rationales, settings that matter, seed and stage version.

    Changing a default must raise VERSION.
    """
    settings = identity(config.model_copy(update={"signal": None}))
    return {
        "version": VERSION,
        "student": model_identity(student),
        "teacher": _signal_identity(config.signal),
        "rationales": content_of(rationales),
        "training": settings | {"dtype": str(resolve_dtype(config.dtype, pick_device()))},
        "seed": seed,
    }


def _signal_identity(signal: LiveTeacher | CachedTeacher | None) -> Any:
    """A live teacher and its stored hidden states give the same student; a reduced signal gives another."""
    if signal is None:
        return None
    identity = teacher_identity(signal) if isinstance(signal, CachedTeacher) else model_identity(signal.model)
    settings: dict[str, Any] = {}
    if isinstance(signal, LiveTeacher) and signal.alignment != "none":
        settings["alignment"] = signal.alignment
    if isinstance(signal, CachedTeacher) and signal.store != "hidden":
        settings |= store_settings(signal)
    if signal.context != "none":
        context = signal.context
        settings["context"] = context.prompt.identity if isinstance(context, OwnContext) else context
    return {"model": identity, **settings} if settings else identity


def train(
    student: Model,
    rationales: Sequence[Rationale],
    config: TrainingConfig,
    *,
    seed: int,
    runs: Path,
    recipe: str = "",
    ranks: Ranks = ALONE,
    say: Callable[[str], None] = lambda line: None,
) -> Student:
    """Train ``student`` on ``rationales`` in ``runs/training/<key>``, or take the finished one from there.

    ``recipe`` (YAML) is printed in the model card; ``ranks``, of which this is the first, train together; ``say`` is
    told beforehand what is too long to be trained on whole. Raises ModelError if a divergence has no shared vocabulary,
    and whatever :func:`train_student` raises.
    """
    target = target_of_student(rationales, config.target)
    with open_stage(runs, "training", training_identity(student, rationales, config, seed)) as stage:
        if not stage.finished:
            _train(_job(student, rationales, config, seed, stage.path, runs), target, stage, recipe, ranks, say)
        for folder in (CHECKPOINT, BUFFER):  # not before: a kill would cost all of the training
            shutil.rmtree(stage.path / folder, ignore_errors=True)
        done = stage.read()
        return Student(stage.path, stage.path / "student", target, done.summary, done.dropped)


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training, as each of several processes gets it; ``folder`` is where metrics and checkpoints go.

    ``tokens`` is the folder of the examples. Only where tokenizers are aligned are there ``rationales``.
    """

    student: ModelConfig
    tokens: Path
    rationales: Sequence[Rationale]
    config: TrainingConfig
    seed: int
    folder: Path
    runs: Path

    def to_json(self) -> str:
        return json.dumps(
            {
                "student": self.student.model_dump(mode="json"),
                "tokens": str(self.tokens.resolve()),
                "rationales": [rationale.to_row() for rationale in self.rationales],
                "config": self.config.model_dump(mode="json"),
                "seed": self.seed,
                "folder": str(self.folder.resolve()),
                "runs": str(self.runs.resolve()),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> TrainingJob:
        row = json.loads(text)
        return cls(
            ModelConfig.model_validate(row["student"]),
            Path(row["tokens"]),
            [Rationale.from_row(rationale) for rationale in row["rationales"]],
            TrainingConfig.model_validate(row["config"]),
            row["seed"],
            Path(row["folder"]),
            Path(row["runs"]),
        )


def _job(
    student: Model, rationales: Sequence[Rationale], config: TrainingConfig, seed: int, folder: Path, runs: Path
) -> TrainingJob:
    tokens = make_tokens(student, rationales, config, runs)
    aligned = isinstance(config.signal, LiveTeacher) and config.signal.alignment != "none"
    return TrainingJob(student, tokens.path, rationales if aligned else (), config, seed, folder, runs)


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a training, in memory."""

    opened: OpenStudent
    tokenizer: PreTrainedTokenizerBase
    totals: TrainingSummary
    tokens: Tokens
    dropped: dict[str, int]


def _train(
    job: TrainingJob, target: Target, stage: Stage, recipe: str, ranks: Ranks, say: Callable[[str], None]
) -> None:
    shared = job
    if ranks.size > 1:
        shared = _for_several(job, ranks)
        ranks.broadcast(shared.to_json())
    trained = fit(shared, ranks, say)
    folder = stage.path / "student"
    question = around_question(trained.tokens.commonest_answer_type, target)
    instructed = add_instruction(trained.tokenizer, *question, INSTRUCTION_MARK)
    write_student(trained.opened, job.student, job.config, trained.tokenizer, folder)
    sources = trained.tokens.sources
    card = model_card(job.student.model, sources, job.config, trained.totals, recipe, None if instructed else question)
    write_text_atomically(folder / "README.md", card)
    if job.config.signal and isinstance(context := job.config.signal.context, OwnContext):
        write_text_atomically(stage.path / f"teacher_prompt{Path(context.prompt).suffix}", context.prompt.source)
    notes = {"lengths": trained.tokens.lengths}
    stage.finish(asdict(trained.totals), seeds={"training": job.seed}, dropped=trained.dropped, notes=notes)


def _for_several(job: TrainingJob, ranks: Ranks) -> TrainingJob:
    """The job for several processes: a stored signal is captured first, by this one, and then read by all.

    Raises ConfigError for what only one process can do.
    """
    refused = {
        "on_policy": job.config.on_policy is not None and ranks.sharded,
        "compile": job.config.compile and ranks.sharded,
        "optimizer": job.config.optimizer != "adamw" and ranks.sharded,
        "adapter.quantize": job.config.adapter is not None and job.config.adapter.quantize != "none",
    }
    for key, asked in refused.items():
        if asked:
            raise ConfigError(
                "it is not supported by this launcher", where=f"training.{key}", remedy="train in one process"
            )
    if not isinstance(job.config.signal, CachedTeacher):
        return job
    path = _captured(job.student, read_tokens(job.tokens), job.config, job.runs).folder.resolve()
    signal = job.config.signal.model_copy(update={"path": path})
    return replace(job, config=job.config.model_copy(update={"signal": signal}))


def fit(job: TrainingJob, ranks: Ranks, say: Callable[[str], None] = lambda line: None) -> Trained:
    """Train, or continue from a checkpoint; each of ``ranks`` calls this with the same job."""
    config, device = job.config, pick_device()
    check_optimizer(config.optimizer)
    tokenizer, tokens = load_tokenizer(job.student), read_tokens(job.tokens)
    settle(tokenizer, config.response)
    examples, dropped = tokens.examples, dict(tokens.dropped)
    for line in (tokens.misjudged, tokens.too_long):
        if line:
            say(line)
    alignments = _align(config, job.rationales, tokenizer)
    if alignments is not None:
        examples, not_aligned = alignments.keep(examples)
        dropped |= not_aligned
    refuse_unseen_regions(examples, config.loss)
    signal = _open_signal(config, examples, tokenizer, job.runs, alignments, ranks)
    dtype = resolve_dtype(config.dtype, device)
    rollouts = Rollouts(config.on_policy, tokenizer, job.seed, dtype) if config.on_policy else None
    opened = open_student(job.student, config, seed=job.seed, device=device)
    _set_up(opened.model, config)
    num_tokens = check_tokens(opened.model, tokenizer, [tokens.highest])
    if signal is not None and signal.num_outcomes is not None:
        shared_vocabulary_size(signal.num_outcomes, opened.model, num_tokens)
    totals = train_student(
        opened.model,
        examples,
        config,
        signal=signal,
        seed=job.seed,
        folder=job.folder,
        rollouts=rollouts,
        ranks=ranks,
    )
    if ranks.sharded:
        opened = put_together(opened, job.student, config, seed=job.seed, ranks=ranks)
    return Trained(opened, tokenizer, totals, tokens, dropped)


def _align(
    config: TrainingConfig, rationales: Sequence[Rationale], tokenizer: PreTrainedTokenizerBase
) -> Alignments | None:
    if not isinstance(config.signal, LiveTeacher) or config.signal.alignment == "none":
        return None
    signal = config.signal
    teacher, thinks = load_tokenizer(signal.model), settle(tokenizer, config.response) == "think"
    settle(teacher, "think" if thinks else "plain")
    turns = config.loss_turns
    asked = (signal.alignment, config.target, signal.context)
    return align(rationales, tokenizer, teacher, *asked, thinks=thinks, loss_turns=turns)


def _open_signal(
    config: TrainingConfig,
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    runs: Path,
    alignments: Alignments | None = None,
    ranks: Ranks = ALONE,
) -> TeacherSignal | None:
    if config.signal is None:
        return None
    teacher = config.signal.model
    if alignments is None:
        check_same_vocabulary(load_tokenizer(teacher), tokenizer)
    if isinstance(config.signal, CachedTeacher):
        max_tokens = batch_tokens(config.max_batch_tokens, pick_device())
        return capture(
            config.signal,
            examples,
            dtype=config.dtype,
            max_batch_tokens=max_tokens,
            packing=config.packing,
            runs=runs,
        )
    device = pick_device()
    dtype = resolve_dtype(config.dtype, device)
    signal = LiveSignal(load_model(teacher, dtype=dtype, device=device))
    _set_up(signal.teacher, config)
    ranks.shard_teacher(signal.teacher)
    return signal if alignments is None else AlignedSignal(signal, alignments)


def _set_up(model: PreTrainedModel, config: TrainingConfig) -> None:
    """Raises ModelError for a model that cannot compute attention as the config says, or whose logits are not those of
    its head."""
    check_head(model)
    if config.attention is not None:
        set_attention(model, config.attention)


def capture_signal(
    student: Model, rationales: Sequence[Rationale], config: TrainingConfig, *, runs: Path
) -> StoredSignal:
    """Capture, or find captured, what training ``student`` on ``rationales`` will read from its teacher.

    Raises ConfigError if the training reads no stored signal.
    """
    if not isinstance(config.signal, CachedTeacher):
        raise ConfigError(
            "there is nothing to capture", where="training.signal", remedy="set it to {kind: cache, model: ...}"
        )
    return _captured(student, make_tokens(student, rationales, config, runs), config, runs)


def _captured(student: Model, tokens: Tokens, config: TrainingConfig, runs: Path) -> StoredSignal:
    signal = _open_signal(config, tokens.examples, load_tokenizer(student), runs)
    assert isinstance(signal, StoredSignal)
    return signal


def student_examples(
    student: Model, rationales: Sequence[Rationale], config: TrainingConfig, lengths: Lengths | None = None
) -> list[Example]:
    """The token examples that ``student`` will be trained on; ``lengths`` counts them, and those that are dropped."""
    lengths = Lengths.of(student, config) if lengths is None else lengths
    tokenizer = load_tokenizer(student)
    settings = token_settings(config, tokenizer)
    return make_examples(rationales, tokenizer, max_length=lengths.limit, lengths=lengths, **settings)[0]
