"""The training stage: a student's folder, made from rationales or found finished."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from cotdistill.config import LiveTeacher, Model, OwnContext, RoutedSignal, TrainingConfig, identity
from cotdistill.errors import ConfigError
from cotdistill.models.load.loading import load_tokenizer, model_identity, pick_device, resolve_dtype
from cotdistill.models.tokens.instruction import add_instruction
from cotdistill.models.tokens.thinking import settle
from cotdistill.models.tokens.vocabulary import check_tokens, shared_vocabulary_size
from cotdistill.records import Rationale
from cotdistill.storage.atomic import write_text_atomically
from cotdistill.storage.stages import Stage, open_stage
from cotdistill.storage.stored import content_of, joined
from cotdistill.tasks.prompts import (
    INSTRUCTION_MARK,
    Target,
    around_question,
    target_of_student,
)
from cotdistill.training.card import card_prompt, model_card
from cotdistill.training.data.examples import refuse_unseen_regions
from cotdistill.training.data.store import Tokens, make_tokens, read_tokens
from cotdistill.training.distributed import ALONE, Ranks
from cotdistill.training.held_out import Checks, HeldOut, asking, held_out_of, ids_of, rationales_of_file
from cotdistill.training.job import TrainingJob
from cotdistill.training.loop import CHECKPOINT, TrainingSummary, train_student
from cotdistill.training.offline import VERSION as OFFLINE_VERSION
from cotdistill.training.offline import make_drawn, read_drawn
from cotdistill.training.optimizer import check_optimizer
from cotdistill.training.overlap import lines, overlaps
from cotdistill.training.rollout_buffer import BUFFER
from cotdistill.training.rollouts import Rollouts
from cotdistill.training.signals.stored import StoredSignal
from cotdistill.training.students import OpenStudent, open_student, put_together, write_student
from cotdistill.training.teaching import (
    Place,
    captures_of,
    open_signal,
    privileged,
    reads_rationales,
    set_up,
    signal_identity,
    taught,
    with_folders,
)
from cotdistill.training.tracking import followed
from cotdistill.training.validation import Asking, Say, Watch

VERSION = 7
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
        "teacher": signal_identity(config.signal),
        "rationales": content_of(rationales),
        "training": settings | {"dtype": str(resolve_dtype(config.dtype, pick_device()))},
        "seed": seed,
        **({"validation": held.identity(config.validation)} if held and config.validation else {}),
    }


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
    say: Say = lambda line: None,
) -> TrainingJob:
    tokens, checks = make_tokens(student, rationales, config, runs), None
    read = [rationales] if reads_rationales(config) else []
    if held and config.validation:
        share, more = config.validation.share, rationales_of_file(held.rationales, target)
        ids = ids_of(rationales, config, share) if share else frozenset[str]()
        own = make_tokens(student, more, config, runs).path if more else None
        asked, number = held.asked(config.validation), len(held.questions)
        checks = Checks(asked, target, asking(held.evaluation), ids, number, own)
        read += [more] if read and more else []
    drawn = make_drawn(student, tokens, config, runs)
    if drawn is not None:
        say(drawn.line())
    paths = folder, runs, checks, drawn and drawn.path
    return TrainingJob(student, tokens.path, read, config, seed, *paths)


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a training, in memory."""

    opened: OpenStudent
    tokenizer: PreTrainedTokenizerBase
    totals: TrainingSummary
    tokens: Tokens
    dropped: dict[str, int]
    overlap: dict[str, Any] | None


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
    prompt, to_write = card_prompt(trained.tokenizer, question, instructed=instructed)
    card = model_card(job.student, sources, job.config, trained.totals, recipe, prompt, to_write)
    write_text_atomically(folder / "README.md", card)
    if job.config.signal and isinstance(context := job.config.signal.context, OwnContext):
        write_text_atomically(stage.path / f"teacher_prompt{Path(context.prompt).suffix}", context.prompt.source)
    notes = {"lengths": trained.tokens.lengths}
    summary = asdict(trained.totals) | ({"overlap": trained.overlap} if trained.overlap else {})
    stage.finish(summary, seeds={"training": job.seed}, dropped=trained.dropped, notes=notes)


def _for_several(job: TrainingJob, ranks: Ranks) -> TrainingJob:
    """The job for several processes: a stored signal is captured first, by this one, and then read by all.

    Raises ConfigError for what only one process can do.
    """
    refused = {
        "on_policy": job.config.on_policy is not None and not job.drawn and ranks.sharded,
        "compile": job.config.compile and ranks.sharded,
        "optimizer": job.config.optimizer != "adamw" and ranks.sharded,
        "signal": isinstance(job.config.signal, RoutedSignal) and ranks.sharded,
        "signal.server": any(isinstance(one, LiveTeacher) and one.server for one in job.config.signals),
        "validation.questions": job.checks is not None and bool(job.checks.questions) and ranks.sharded,
        "adapter.quantize": job.config.adapter is not None and job.config.adapter.quantize != "none",
    }
    for key, asked in refused.items():
        if asked:
            raise ConfigError(
                "it is not supported by this launcher", where=f"training.{key}", remedy="train in one process"
            )
    return replace(job, config=with_folders(job.config, [one.folder.resolve() for one in _captures(job)]))


def fit(job: TrainingJob, ranks: Ranks, say: Say = lambda line: None) -> Trained:
    """Train, or continue from a checkpoint; each of ``ranks`` calls this with the same job."""
    with ExitStack() as stack:
        return _fit(job, ranks, say, Place(job.runs, job.folder, stack))


def _fit(job: TrainingJob, ranks: Ranks, say: Say, place: Place) -> Trained:
    config, device = job.config, pick_device()
    check_optimizer(config.optimizer)
    tokenizer, tokens = load_tokenizer(job.student), read_tokens(job.tokens)
    warning = privileged(config, settle(tokenizer, config.response))
    for line in (tokens.misjudged, tokens.too_long, warning):
        if line:
            say(line)
    drawn = job.drawn and read_drawn(job.drawn)
    lessons = taught(config, joined(job.rationales), job.parted(tokens), tokenizer, drawn)
    examples, dropped = lessons.examples, tokens.dropped | lessons.dropped
    refuse_unseen_regions(examples, config.loss)
    signal = open_signal(config, lessons, tokenizer, place, ranks)
    dtype, samples = resolve_dtype(config.dtype, device), drawn and lessons.kept(drawn.trained(job.checks))
    rollouts = Rollouts(config.on_policy, tokenizer, job.seed, dtype, samples) if config.on_policy else None
    watch = None
    if config.validation and job.checks:
        watch = Watch(config.validation, lessons.held, Asking(job.checks, tokenizer, dtype), say)
        if not lessons.held:
            say("no validation loss is taken: no row of the file has a rationale")
    opened = open_student(job.student, config, seed=job.seed, device=device)
    set_up(opened.model, config)
    highest = [tokens.highest, *([drawn.highest] if drawn else [])]
    num_tokens = check_tokens(opened.model, tokenizer, highest)
    if signal is not None and signal.num_outcomes is not None:
        shared_vocabulary_size(signal.num_outcomes, opened.model, num_tokens)
    overlap = None
    if signal is not None and ranks.size == 1:
        overlap = overlaps(opened.model, examples, config, signal, rollouts, job.folder, dtype)
        for line in lines(overlap):
            say(line)
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
    return Trained(opened, tokenizer, totals, tokens, dropped, overlap)


def capture_signals(
    student: Model,
    rationales: Sequence[Rationale],
    config: TrainingConfig,
    *,
    runs: Path,
    held: HeldOut | None = None,
) -> list[StoredSignal]:
    """Capture, or find captured, what training ``student`` on ``rationales`` will read from its teachers, with what is
    ``held`` out.

    Raises ConfigError if the training reads no stored signal.
    """
    if not config.captures:
        raise ConfigError(
            "there is nothing to capture", where="training.signal", remedy="set it to {kind: cache, model: ...}"
        )
    target, held = target_of_student(rationales, config.target), held_out_of(rationales, config, held)
    return _captures(_job(student, rationales, config, 0, runs, runs, held, target))


def _captures(job: TrainingJob) -> list[StoredSignal]:
    tokenizer, drawn = load_tokenizer(job.student), job.drawn and read_drawn(job.drawn)
    lessons = taught(job.config, joined(job.rationales), job.parted(read_tokens(job.tokens)), tokenizer, drawn)
    return list(captures_of(job.config, lessons, tokenizer, job.runs))
