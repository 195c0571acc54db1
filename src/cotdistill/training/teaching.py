"""A training's signal, opened: which teachers teach which examples, captured, loaded or asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.config import (
    CachedTeacher,
    LiveTeacher,
    OneSignal,
    OwnContext,
    Response,
    RoutedSignal,
    Signal,
    TrainingConfig,
)
from cotdistill.errors import DataError
from cotdistill.models.forward.attention import set_attention
from cotdistill.models.forward.heads import check_head
from cotdistill.models.load.loading import load_model, load_tokenizer, model_identity, pick_device, resolve_dtype
from cotdistill.models.tokens.thinking import settle
from cotdistill.models.tokens.vocabulary import check_same_vocabulary
from cotdistill.records import Rationale, count_by
from cotdistill.training.data.batches import batch_tokens
from cotdistill.training.data.examples import Example
from cotdistill.training.distributed import ALONE, Ranks
from cotdistill.training.offline import Drawn, scored
from cotdistill.training.signals.aligned import AlignedSignal
from cotdistill.training.signals.alignment import Alignments, align
from cotdistill.training.signals.asked import ServedSignal
from cotdistill.training.signals.capture import capture, columns_of, described, store_settings, teacher_identity
from cotdistill.training.signals.live import LiveSignal, TeacherSignal
from cotdistill.training.signals.samples import SampleAligner
from cotdistill.training.signals.served import ServerScores
from cotdistill.training.signals.several import Part, SeveralSignals
from cotdistill.training.signals.stored import SignalWriter, StoredSignal


def signal_identity(signal: Signal | None) -> Any:
    """A live teacher and its stored hidden states give the same student; a reduced signal gives another."""
    if isinstance(signal, RoutedSignal):
        parts = [{"signal": _identity(one), "weight": one.weight, "values": one.values} for one in signal.teachers]
        return {"by": signal.by, "teachers": parts}
    return None if signal is None else _identity(signal)


def _identity(signal: OneSignal) -> Any:
    if isinstance(signal, LiveTeacher) and signal.server is not None:
        signal = signal.captured
    settings: dict[str, Any] = {}
    if isinstance(signal, CachedTeacher):
        identity = teacher_identity(signal)
        settings |= store_settings(signal) if signal.store != "hidden" else {}
    else:
        identity = model_identity(signal.model)
        settings |= {"alignment": signal.alignment} if signal.alignment != "none" else {}
    if signal.context != "none":
        context = signal.context
        settings["context"] = context.prompt.identity if isinstance(context, OwnContext) else context
    return {"model": identity, **settings} if settings else identity


def reads_rationales(config: TrainingConfig) -> bool:
    """Whether the signal's teachers take more than the student's tokens: another tokenizer, or what tells questions
    apart."""
    aligned = any(isinstance(one, LiveTeacher) and one.alignment != "none" for one in config.signals)
    return aligned or isinstance(config.signal, RoutedSignal)


def privileged(config: TrainingConfig, response: Response) -> str | None:
    """A warning where a teacher that has seen the answer teaches a student to think.

    Measured by Rethinking On-Policy Self-Distillation for Thinking Models (2026, arXiv 2607.05184): up to 17 % less
    accuracy for five thinking models, none of it for models that do not think; 2603.24472 traces the loss to the doubts
    that such a teacher does not voice.
    """
    if response != "think" or config.signal is None or config.signal.context not in ("rationale", "answer"):
        return None
    return (
        f"warning: with context: {config.signal.context} the teacher has seen the answer, and a student that thinks "
        "learns its short thoughts, without doubt or search; that is reported to cost up to 17 % of accuracy (arXiv "
        "2607.05184): test an arm without context beside it"
    )


@dataclass(frozen=True, slots=True)
class Taught:
    """The examples that a training's teachers teach, to train on and held out, and counts of the others by reason.

    ``scored`` are all that a stored signal must have; ``places`` those of the examples among the ones that there were
    (None: all). ``teachers`` are those of each question by its id (None: all of all), ``alignments`` of each teacher.
    """

    examples: Sequence[Example]
    held: Sequence[Example]
    scored: Sequence[Example]
    places: Sequence[int] | None
    dropped: dict[str, int]
    teachers: dict[str, tuple[int, ...]] | None
    alignments: tuple[Alignments | None, ...]

    def by(self, teacher: int) -> Sequence[Example]:
        """The examples of a teacher."""
        if self.teachers is None:
            return self.scored
        return [example for example in self.scored if teacher in self.teachers[example.id]]

    def kept(self, samples: Sequence[Example]) -> Sequence[Example]:
        """Of one sample for each of the examples that there were, those of the ones that are taught."""
        return samples if self.places is None else [samples[place] for place in self.places]


def taught(
    config: TrainingConfig,
    rationales: Sequence[Rationale],
    examples: tuple[Sequence[Example], Sequence[Example]],
    tokenizer: PreTrainedTokenizerBase,
    drawn: Drawn | None = None,
) -> Taught:
    """Who teaches which of the ``examples`` to train on and of those held out. What nobody teaches, or one of its
    teachers cannot read, is left out; what is left out of those to train on is counted.

    ``rationales`` are needed where :func:`reads_rationales`. Raises DataError if nothing is left.
    """
    signal, teachers = config.signal, None
    if isinstance(signal, RoutedSignal):
        teachers = {rationale.id: signal.of(rationale.question) for rationale in rationales}
    alignments = tuple(_align(config, one, rationales, tokenizer) for one in config.signals)
    if teachers is None and not any(alignments):
        together = [*examples[0], *examples[1]] if examples[1] else examples[0]
        return Taught(*examples, scored(config, together, drawn), None, {}, None, alignments)

    def fate(example: Example) -> str:
        own = range(len(alignments)) if teachers is None else teachers[example.id]
        if not own:
            return "without_a_teacher"
        aligned = (alignments[number] for number in own)
        return "not_alignable" if any(each and example.key not in each.examples for each in aligned) else ""

    trained, held = ([(example, fate(example)) for example in each] for each in examples)
    places = [place for place, (_, reason) in enumerate(trained) if not reason]
    dropped = count_by(reason for _, reason in trained if reason)
    if not places:
        raise _nothing_left(dropped)
    kept, apart = [trained[place][0] for place in places], [example for example, reason in held if not reason]
    return Taught(kept, apart, scored(config, [*kept, *apart], drawn), places, dropped, teachers, alignments)


def _nothing_left(dropped: Collection[str]) -> DataError:
    if "without_a_teacher" in dropped:
        remedy = "name the task in the values of a teacher, or give a teacher without values"
        return DataError("no teacher is for any of the questions", where="training.signal.teachers", remedy=remedy)
    return DataError(
        "the tokenizers of teacher and student spell every response differently",
        remedy="set alignment: sorted_probability, or choose another teacher",
    )


def _align(
    config: TrainingConfig, signal: OneSignal, rationales: Sequence[Rationale], tokenizer: PreTrainedTokenizerBase
) -> Alignments | None:
    if not isinstance(signal, LiveTeacher) or signal.alignment == "none":
        return None
    thinks = settle(tokenizer, config.response) == "think"
    asked = (signal.alignment, config.target, signal.context)
    teacher = _tokenizer(signal, config, tokenizer)
    return align(rationales, tokenizer, teacher, *asked, thinks=thinks, loss_turns=config.loss_turns)


def _tokenizer(
    signal: LiveTeacher, config: TrainingConfig, student: PreTrainedTokenizerBase
) -> PreTrainedTokenizerBase:
    """The teacher's, with a template that thinks as the student's does."""
    teacher = load_tokenizer(signal.model)
    settle(teacher, "think" if settle(student, config.response) == "think" else "plain")
    return teacher


def open_signal(
    config: TrainingConfig,
    taught: Taught,
    tokenizer: PreTrainedTokenizerBase,
    place: Place,
    ranks: Ranks = ALONE,
) -> TeacherSignal | None:
    """The signal of the examples that are taught. Raises ModelError if vocabularies differ, and what a capture
    raises."""
    opened = [
        _open(config, signal, taught.by(number), taught.alignments[number], tokenizer, place.of(number), ranks)
        for number, signal in enumerate(config.signals)
    ]
    if not isinstance(config.signal, RoutedSignal):
        return opened[0] if opened else None
    parts = [Part(one, setting.weight) for one, setting in zip(opened, config.signal.teachers, strict=True)]
    assert taught.teachers is not None
    return SeveralSignals(parts, taught.teachers)


class Place(NamedTuple):
    """Where signals are kept: what is captured in ``runs``, what is asked while training in ``folder``, open until the
    ``stack`` is closed."""

    runs: Path
    folder: Path
    stack: ExitStack

    def of(self, teacher: int) -> Place:
        return self._replace(folder=self.folder / f"scores-{teacher}")


def _open(
    config: TrainingConfig,
    signal: OneSignal,
    examples: Sequence[Example],
    alignments: Alignments | None,
    tokenizer: PreTrainedTokenizerBase,
    place: Place,
    ranks: Ranks,
) -> TeacherSignal:
    if alignments is None:
        check_same_vocabulary(load_tokenizer(signal.model), tokenizer)
    if isinstance(signal, CachedTeacher):
        return captured(config, signal, examples, place.runs)
    if signal.server is not None:
        return _asked(config, signal, examples, place)
    live = _live(config, signal, ranks)
    if alignments is None:
        return live
    return AlignedSignal(live, alignments, SampleAligner(tokenizer, _tokenizer(signal, config, tokenizer), alignments))


def _asked(config: TrainingConfig, signal: LiveTeacher, examples: Sequence[Example], place: Place) -> ServedSignal:
    stored, known, columns = signal.captured, config.captured(signal), columns_of(signal.captured, 0, torch.float32)
    place.folder.mkdir(exist_ok=True)
    writer = place.stack.enter_context(SignalWriter(place.folder, columns, described(stored)))
    scores = ServerScores(stored, load_tokenizer(signal.model), place.folder, writer)
    before = None if known is None else captured(config, known, examples, place.runs)
    return ServedSignal(scores, writer, before, pick_device())


def _live(config: TrainingConfig, signal: LiveTeacher, ranks: Ranks) -> LiveSignal:
    device = pick_device()
    live = LiveSignal(load_model(signal.model, dtype=resolve_dtype(config.dtype, device), device=device))
    set_up(live.teacher, config)
    ranks.shard_teacher(live.teacher)
    return live


def captures_of(
    config: TrainingConfig, taught: Taught, tokenizer: PreTrainedTokenizerBase, runs: Path
) -> Iterator[StoredSignal]:
    """What is stored of each teacher that has stored signals, captured where it is not there yet."""
    for number, signal in enumerate(config.signals):
        if (stored := config.captured(signal)) is not None:
            check_same_vocabulary(load_tokenizer(signal.model), tokenizer)
            yield captured(config, stored, taught.by(number), runs)


def captured(config: TrainingConfig, signal: CachedTeacher, examples: Sequence[Example], runs: Path) -> StoredSignal:
    """The stored signal of examples. Raises what :func:`capture` raises."""
    max_tokens = batch_tokens(config.max_batch_tokens, pick_device())
    return capture(signal, examples, dtype=config.dtype, max_batch_tokens=max_tokens, packing=config.packing, runs=runs)


def with_folders(config: TrainingConfig, folders: Iterable[Path]) -> TrainingConfig:
    """The training with each stored signal's folder named, in their order, so that nobody captures it again."""
    left = iter(folders)

    def named(signal: OneSignal) -> OneSignal:
        return signal.model_copy(update={"path": next(left)}) if isinstance(signal, CachedTeacher) else signal

    return config.with_signals(named)


def set_up(model: PreTrainedModel, config: TrainingConfig) -> None:
    """Raises ModelError for a model that cannot compute attention as the config says, or whose logits are not those of
    its head."""
    check_head(model)
    if config.attention is not None:
        set_attention(model, config.attention)
