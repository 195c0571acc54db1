"""The training stage: a student's folder, made from rationales or found finished."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.config import CachedTeacher, LiveTeacher, Model, OwnContext, TrainingConfig, identity
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
from cotdistill.training.data.examples import Example, refuse_unseen_regions
from cotdistill.training.data.store import Tokens, make_tokens, read_tokens
from cotdistill.training.distributed import ALONE, Ranks
from cotdistill.training.held_out import Checks, HeldOut, asking, held_out_of, ids_of, rationales_of_file
from cotdistill.training.job import TrainingJob
from cotdistill.training.loop import CHECKPOINT, TrainingSummary, train_student
from cotdistill.training.offline import VERSION as OFFLINE_VERSION
from cotdistill.training.offline import Drawn, make_drawn, read_drawn, scored
from cotdistill.training.optimizer import check_optimizer
from cotdistill.training.rollout_buffer import BUFFER
from cotdistill.training.rollouts import Rollouts
from cotdistill.training.signals.aligned import AlignedSignal
from cotdistill.training.signals.alignment import Alignments, align
from cotdistill.training.signals.capture import capture, store_settings, teacher_identity
from cotdistill.training.signals.live import LiveSignal, TeacherSignal
from cotdistill.training.signals.stored import StoredSignal
from cotdistill.training.students import OpenStudent, open_student, put_together, write_student
from cotdistill.training.tracking import followed
from cotdistill.training.validation import Asking, Say, Watch

VERSION = 6
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
    student: Model, rationales: Sequence[Rationale], config: TrainingConfig, seed: int, held: HeldOut | None = None
) -> dict[str, Any]:
    """Everything that can change the student: models, rationales, settings that matter, seed and stage version; and
    with validation what is ``held`` out, whose records are kept beside it.

    Changing a default must raise VERSION.
    """
    settings = identity(config.model_copy(update={"signal": None}))
    if config.offline_samples:  # said or not
        settings["on_policy"] |= {"offline": True, "version": OFFLINE_VERSION}
    return {
        "version": VERSION,
        "student": model_identity(student),
        "teacher": _signal_identity(config.signal),
        "rationales": content_of(rationales),
        "training": settings | {"dtype": str(resolve_dtype(config.dtype, pick_device()))},
        "seed": seed,
        **({"validation": held.identity(config.validation)} if held and config.validation else {}),
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
    say: Say = lambda line: None,
    held: HeldOut | None = None,
) -> Student:
    """Train ``student`` on ``rationales`` in ``runs/training/<key>``, or take the finished one from there.

    ``recipe`` (YAML) is printed in the model card; ``ranks``, of which this is the first, train together; ``say`` is
    told beforehand what is too long to be trained on whole, and what validation finds. ``held`` is what it may ask;
    by default the held-out questions of the rationales. Raises ModelError if a divergence has no shared vocabulary,
    DataError if nothing is held out or nothing left, and whatever :func:`train_student` raises.
    """
    target = target_of_student(rationales, config.target)
    held = held_out_of(rationales, config, held)
    with open_stage(runs, "training", training_identity(student, rationales, config, seed, held)) as stage:
        if not stage.finished:
            job = _job(student, rationales, config, seed, stage.path, runs, held, target, say)
            _train(job, target, stage, recipe, ranks, say)
        for folder in (CHECKPOINT, BUFFER):  # not before: a kill would cost all of the training
            shutil.rmtree(stage.path / folder, ignore_errors=True)
        done = stage.read()
        return Student(stage.path, stage.path / "student", target, done.summary, done.dropped)


def _job(
    student: Model,
    rationales: Sequence[Rationale],
    config: TrainingConfig,
    seed: int,
    folder: Path,
    runs: Path,
    held: HeldOut | None,
    target: Target,
    say: Say,
) -> TrainingJob:
    tokens, checks = make_tokens(student, rationales, config, runs), None
    aligned = isinstance(config.signal, LiveTeacher) and config.signal.alignment != "none"
    if held and config.validation:
        more = rationales_of_file(held.rationales, target)
        own = make_tokens(student, more, config, runs).path if more else None
        share = config.validation.share
        ids = ids_of(rationales, config, share) if share else frozenset[str]()
        checks = Checks(held.asked(config.validation), target, asking(held.evaluation), ids, own)
        rationales = [*rationales, *more] if aligned else ()
    drawn = make_drawn(student, tokens, config, runs)
    if drawn is not None:
        say(drawn.line())
    paths = folder, runs, checks, drawn and drawn.path
    return TrainingJob(student, tokens.path, rationales if aligned else (), config, seed, *paths)


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a training, in memory."""

    opened: OpenStudent
    tokenizer: PreTrainedTokenizerBase
    totals: TrainingSummary
    tokens: Tokens
    dropped: dict[str, int]


def _train(job: TrainingJob, target: Target, stage: Stage, recipe: str, ranks: Ranks, say: Say) -> None:
    shared = job
    if ranks.size > 1:
        shared = _for_several(job, ranks)
        ranks.broadcast(shared.to_json())
    settings = {"student": job.student.model, "seed": job.seed, **identity(job.config)}
    with followed(job.config.track, job.folder, job.runs, settings):
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
        "on_policy": job.config.on_policy is not None and not job.drawn and ranks.sharded,
        "compile": job.config.compile and ranks.sharded,
        "optimizer": job.config.optimizer != "adamw" and ranks.sharded,
        "validation.questions": job.checks is not None and bool(job.checks.questions) and ranks.sharded,
        "adapter.quantize": job.config.adapter is not None and job.config.adapter.quantize != "none",
    }
    for key, asked in refused.items():
        if asked:
            raise ConfigError(
                "it is not supported by this launcher", where=f"training.{key}", remedy="train in one process"
            )
    if not isinstance(job.config.signal, CachedTeacher):
        return job
    drawn = job.drawn and read_drawn(job.drawn)
    path = _captured(job.student, read_tokens(job.tokens), drawn, job.config, job.runs).folder.resolve()
    signal = job.config.signal.model_copy(update={"path": path})
    return replace(job, config=job.config.model_copy(update={"signal": signal}))


def fit(job: TrainingJob, ranks: Ranks, say: Say = lambda line: None) -> Trained:
    """Train, or continue from a checkpoint; each of ``ranks`` calls this with the same job."""
    config, device = job.config, pick_device()
    check_optimizer(config.optimizer)
    tokenizer, tokens = load_tokenizer(job.student), read_tokens(job.tokens)
    settle(tokenizer, config.response)
    dropped = dict(tokens.dropped)
    examples, held = _parted(tokens, job.checks)
    for line in (tokens.misjudged, tokens.too_long):
        if line:
            say(line)
    alignments = _align(config, job.rationales, tokenizer)
    if alignments is not None:
        examples, not_aligned = alignments.keep(examples)
        dropped |= not_aligned
        held = alignments.keep(held)[0] if held else held
    refuse_unseen_regions(examples, config.loss)
    drawn = job.drawn and read_drawn(job.drawn)
    all_scored = scored(config, [*examples, *held] if held else examples, drawn)
    signal = _open_signal(config, all_scored, tokenizer, job.runs, alignments, ranks)
    dtype, samples = resolve_dtype(config.dtype, device), drawn and drawn.trained(job.checks)
    rollouts = Rollouts(config.on_policy, tokenizer, job.seed, dtype, samples) if config.on_policy else None
    watch = None
    if config.validation and job.checks:
        watch = Watch(config.validation, held, Asking(job.checks, tokenizer, dtype), say)
    opened = open_student(job.student, config, seed=job.seed, device=device)
    _set_up(opened.model, config)
    highest = [tokens.highest, *([drawn.highest] if drawn else [])]
    num_tokens = check_tokens(opened.model, tokenizer, highest)
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
        watch=watch,
        ranks=ranks,
    )
    if ranks.sharded:
        opened = put_together(opened, job.student, config, seed=job.seed, ranks=ranks)
    return Trained(opened, tokenizer, totals, tokens, dropped)


def _parted(tokens: Tokens, checks: Checks | None) -> tuple[Sequence[Example], Sequence[Example]]:
    """The examples to train on, and those that are held out."""
    if checks is None:
        return tokens.examples, ()
    if checks.tokens is not None:
        return tokens.examples, read_tokens(checks.tokens).examples
    return tokens.examples.parted(checks.ids) if checks.ids else (tokens.examples, ())


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
    tokens = make_tokens(student, rationales, config, runs)
    return _captured(student, tokens, make_drawn(student, tokens, config, runs), config, runs)


def _captured(student: Model, tokens: Tokens, drawn: Drawn | None, config: TrainingConfig, runs: Path) -> StoredSignal:
    signal = _open_signal(config, scored(config, tokens.examples, drawn), load_tokenizer(student), runs)
    assert isinstance(signal, StoredSignal)
    return signal
