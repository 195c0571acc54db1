"""The token stage: an annotation's examples, made once and read from a memory-mapped file by all that train on them.

An arm, a seed, a resume and a rank hold none of them: a step's examples are views into the file, which the system reads
and forgets page by page. They are to the bit what :func:`make_examples` gives.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from cotdistill.config import Model, OwnContext, TrainingConfig, TrainingTarget
from cotdistill.models.load.loading import load_tokenizer
from cotdistill.models.tokens.thinking import settle
from cotdistill.progress import track
from cotdistill.records import AnswerType, Rationale
from cotdistill.storage.finished import open_finished
from cotdistill.storage.hashes import content_key
from cotdistill.storage.stages import open_stage
from cotdistill.storage.stored import content_of
from cotdistill.tasks.targets import Targets
from cotdistill.training.data.examples import Example, kept_examples, make_examples
from cotdistill.training.data.lengths import Lengths

VERSION = 1
"""Raised whenever a change of code changes which tokens, regions or keys an annotation gives."""

FILE = "examples.arrow"
CHUNK = 1024
"""Examples of a record batch, except for the last."""

_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("key", pa.binary(16)),
        ("num_loss_tokens", pa.int32()),
        ("last_region", pa.uint8()),
        ("tokens", pa.list_(pa.int32())),
        ("regions", pa.list_(pa.uint8())),
        ("teacher_prompt", pa.list_(pa.int32())),
    ]
)


class StoredExamples(Sequence[Example]):
    """Examples in a file, each made when it is asked for; its tokens are views.

    ``lengths``, ``num_loss_tokens`` and ``last_regions`` are of all of them, ``[num_examples]``. ``places`` leaves only
    some of the file's.
    """

    def __init__(self, path: Path, places: np.ndarray | None = None):
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self.path, self._places = path, places
        self._chunks = [_Chunk(reader.get_batch(number)) for number in range(reader.num_record_batches)]
        self.lengths = self._chosen([np.diff(chunk.regions.offsets) for chunk in self._chunks])
        self.num_loss_tokens = self._chosen([chunk.column("num_loss_tokens") for chunk in self._chunks])
        self.last_regions = self._chosen([chunk.column("last_region") for chunk in self._chunks])

    def _chosen(self, columns: Sequence[np.ndarray]) -> np.ndarray:
        whole = np.concatenate(columns)
        return whole if self._places is None else whole[self._places]

    def parted(self, ids: frozenset[str]) -> tuple[StoredExamples, StoredExamples]:
        """Those that have none of these ids, and those that have one."""
        names = (name for chunk in self._chunks for name in chunk.ids)
        has_one = self._chosen([np.fromiter((name in ids for name in names), bool)])
        places = np.arange(len(self)) if self._places is None else self._places
        return StoredExamples(self.path, places[~has_one]), StoredExamples(self.path, places[has_one])

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        place = range(len(self))[index]
        chunk, row = divmod(place if self._places is None else int(self._places[place]), CHUNK)
        return self._chunks[chunk].example(row)


def lengths_of(examples: Sequence[Example]) -> np.ndarray:
    """The number of tokens of each."""
    if isinstance(examples, StoredExamples):
        return examples.lengths
    return np.fromiter(map(len, examples), np.int64, len(examples))


def last_regions_of(examples: Sequence[Example]) -> np.ndarray:
    """The region of each one's last token."""
    if isinstance(examples, StoredExamples):
        return examples.last_regions
    return np.array([example.arrays.regions[-1] for example in examples], np.uint8)


def total_loss_tokens(examples: Sequence[Example]) -> int:
    if isinstance(examples, StoredExamples):
        return int(examples.num_loss_tokens.sum(dtype=np.int64))
    return sum(example.num_loss_tokens for example in examples)


class _Column:
    """Lists of numbers of a record batch: the rows of one after the other, and where each begins and the last ends."""

    def __init__(self, lists: Any):
        self.values: np.ndarray = lists.values.to_numpy()
        self.offsets: np.ndarray = lists.offsets.to_numpy()

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]


class _Chunk:
    def __init__(self, batch: Any):
        self._batch = batch
        self._tokens, self.regions = _Column(batch.column("tokens")), _Column(batch.column("regions"))
        prompts = batch.column("teacher_prompt")
        self._teacher_prompts = None if prompts.null_count else _Column(prompts)

    @property
    def ids(self) -> list[str]:
        return self._batch.column("id").to_pylist()

    def column(self, name: str) -> np.ndarray:
        return self._batch.column(name).to_numpy()

    def example(self, row: int) -> Example:
        tokens = self._tokens[row]
        prompt = None if self._teacher_prompts is None else self._teacher_prompts[row]
        name, key = (self._batch.column(column)[row].as_py() for column in ("id", "key"))
        return Example(name, tokens[:-1], tokens[1:], self.regions[row], prompt, key=key.hex())


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write a file for :class:`StoredExamples`, chunk by chunk; returns the highest token id."""
    highest = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        for together in _chunks(examples):
            tokens = [np.append(example.arrays.input_ids, example.arrays.targets[-1:]) for example in together]
            prompts = [example.arrays.teacher_prompt for example in together]
            highest = max(highest, *(int(own.max()) for own in tokens))
            columns = [
                pa.array([example.id for example in together], pa.string()),
                pa.array([bytes.fromhex(example.key) for example in together], pa.binary(16)),
                pa.array([example.num_loss_tokens for example in together], pa.int32()),
                pa.array([example.arrays.regions[-1] for example in together], pa.uint8()),
                _lists(tokens, pa.int32()),
                _lists([example.arrays.regions for example in together], pa.uint8()),
                pa.nulls(len(together), _SCHEMA.field("teacher_prompt").type)
                if prompts[0] is None
                else _lists([prompt for prompt in prompts if prompt is not None], pa.int32()),
            ]
            writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))
    return highest


def _chunks(examples: Iterable[Example]) -> Iterator[list[Example]]:
    chunk: list[Example] = []
    for example in examples:
        chunk.append(example)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _lists(rows: Sequence[np.ndarray], kind: Any) -> Any:
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(rows), kind))


# ---- the stage ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a student is trained on. ``dropped`` counts what is too long by reason, ``too_long`` says so in one line,
    ``misjudged`` what of it would not be judged correct.

    ``lengths`` is :meth:`Lengths.to_row`, ``sources`` and ``answer_types`` say how many rationales there are of each
    task and teacher and of each answer type, and ``highest`` is the highest token id.
    """

    path: Path
    examples: StoredExamples
    dropped: dict[str, int]
    lengths: dict[str, Any]
    too_long: str | None
    misjudged: str | None
    sources: dict[str, int]
    answer_types: dict[AnswerType, int]
    highest: int

    @property
    def commonest_answer_type(self) -> AnswerType:
        return max(self.answer_types, key=lambda answer_type: self.answer_types[answer_type])


def make_tokens(student: Model, rationales: Sequence[Rationale], config: TrainingConfig, runs: Path) -> Tokens:
    """The examples of ``rationales`` in ``runs/tokens/<key>``, made if they are not there.

    Raises what :func:`kept_examples` raises.
    """
    tokenizer, lengths = load_tokenizer(student), Lengths.of(student, config)
    with open_stage(runs, "tokens", tokens_identity(tokenizer, rationales, config, lengths.limit)) as stage:
        if not stage.finished:
            noted = _Noted(rationales, config.target)
            unfinished = stage.path / f"{FILE}.tmp"
            how = token_settings(config, tokenizer)
            kept = kept_examples(noted, tokenizer, max_length=lengths.limit, lengths=lengths, **how)
            highest = write_examples(unfinished, kept)
            misjudged = noted.targets.refuse(where="rationales to train on")
            unfinished.replace(stage.path / FILE)
            said = {
                "lengths": lengths.to_row(),
                "too_long": lengths.line(),
                "misjudged": misjudged,
                "sources": dict(sorted(noted.sources.items())),
                "answer_types": dict(noted.answer_types),
            }
            stage.finish(said | {"highest": highest}, seeds={}, dropped=lengths.dropped)
        return read_tokens(stage.path)


def read_tokens(path: Path) -> Tokens:
    """The examples in the folder of a finished stage. Raises ArtifactError for a file that was changed."""
    done = open_finished(path)
    return Tokens(path, StoredExamples(done.file(FILE)), done.dropped, **done.summary)


def tokens_identity(
    tokenizer: PreTrainedTokenizerBase, rationales: Sequence[Rationale], config: TrainingConfig, limit: int
) -> dict[str, Any]:
    """Everything that can change the tokens of rationales, whatever else a training does with them."""
    settings = token_settings(config, tokenizer)
    context = settings["context"]
    return {
        "version": VERSION,
        "rationales": content_of(rationales),
        "tokenizer": tokenizer_identity(tokenizer),
        "limit": limit,
        **settings,
        "context": context.prompt.identity if isinstance(context, OwnContext) else context,
    }


def token_settings(config: TrainingConfig, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Of a training's settings, those that decide which examples an annotation gives: arguments of
    :func:`kept_examples`."""
    context = config.signal.context if config.signal else "none"
    thinks = settle(tokenizer, config.response) == "think"
    settings = {"target": config.target, "too_long": config.too_long, "context": context, "thinks": thinks}
    return settings | {"loss_turns": config.loss_turns}


def student_examples(
    student: Model, rationales: Sequence[Rationale], config: TrainingConfig, lengths: Lengths | None = None
) -> list[Example]:
    """The token examples that ``student`` will be trained on; ``lengths`` counts them, and those that are dropped."""
    lengths = Lengths.of(student, config) if lengths is None else lengths
    tokenizer = load_tokenizer(student)
    settings = token_settings(config, tokenizer)
    return make_examples(rationales, tokenizer, max_length=lengths.limit, lengths=lengths, **settings)[0]


def tokenizer_identity(tokenizer: PreTrainedTokenizerBase) -> str:
    """The content of a tokenizer and of its chat template, wherever it lies."""
    backend = json.loads(cast("PreTrainedTokenizerFast", tokenizer).backend_tokenizer.to_str())
    kept = {name: value for name, value in backend.items() if name not in ("padding", "truncation")}
    return content_key([kept, tokenizer.chat_template, tokenizer.eos_token_id, tokenizer.bos_token_id])


class _Noted:
    """Goes through rationales once, and notes where they come from and whether what they teach is judged correct."""

    def __init__(self, rationales: Sequence[Rationale], target: TrainingTarget):
        self._rationales, self.targets = rationales, Targets(target)
        self.sources: Counter[str] = Counter()
        self.answer_types: Counter[AnswerType] = Counter()

    def __iter__(self) -> Iterator[Rationale]:
        with track("tokens", len(self._rationales)) as progress:
            for rationale in self._rationales:
                level = f", granularity {rationale.granularity}" if rationale.granularity else ""
                self.sources[f"{rationale.question.task} by {rationale.teacher} ({rationale.format}{level})"] += 1
                self.answer_types[rationale.question.answer_type] += 1
                self.targets.judge(rationale)
                progress.advance()
                yield rationale
