"""The capture stage: one pass of the teacher over the examples, kept for every later student, loss and epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.config import CachedTeacher, Dtype
from cotdistill.errors import ArtifactError, ConfigError
from cotdistill.models.forward.finite import not_finite
from cotdistill.models.forward.heads import check_head, head_width, output_head
from cotdistill.models.load.loading import load_model, load_tokenizer, model_identity, pick_device, resolve_dtype
from cotdistill.progress import track
from cotdistill.storage.finished import is_finished, open_finished
from cotdistill.storage.hashes import content_key
from cotdistill.storage.stages import open_stage
from cotdistill.training.data.batches import Layout, collate, micro_batches
from cotdistill.training.data.examples import Example
from cotdistill.training.data.layout import laid_out
from cotdistill.training.data.store import total_loss_tokens
from cotdistill.training.losses.divergences import log_softmax
from cotdistill.training.losses.fused import chunk_size
from cotdistill.training.signals.live import HiddenRows, LiveSignal
from cotdistill.training.signals.served import ServerScores
from cotdistill.training.signals.stored import Column, Rows, SignalWriter, StoredSignal, save_head

VERSION = 4
"""Raised whenever a change of code changes what a capture holds."""

SERVED_VERSION = 1
"""The same for a server's answers: a change in how a model runs here must not require asking it again."""


def capture(
    config: CachedTeacher,
    examples: Sequence[Example],
    *,
    dtype: Dtype,
    max_batch_tokens: int,
    runs: Path,
    packing: bool | None = None,
) -> StoredSignal:
    """The stored signal of ``examples``, captured in ``runs/teacher_signal/<key>`` if it is not there yet.

    ``config.path`` names a folder that was captured elsewhere instead. Raises ConfigError for a k larger than the
    vocabulary, ArtifactError for a folder of another teacher or other examples.
    """
    device = pick_device()
    if config.path is not None:
        return _given(config, config.path, examples, device)
    unique = sorted({example.key: example for example in examples}.values(), key=lambda example: example.key)
    with open_stage(runs, "teacher_signal", capture_identity(config, unique, dtype)) as stage:
        if not stage.finished:
            _capture(config, unique, dtype, max_batch_tokens, packing, stage.path, device)
            stage.finish(capture_size(config, unique, dtype), seeds={}, dropped={})
        return StoredSignal(stage.path, device)


def capture_identity(config: CachedTeacher, examples: Sequence[Example], dtype: Dtype) -> dict[str, Any]:
    identity = {
        "version": VERSION if config.server is None else SERVED_VERSION,
        "teacher": teacher_identity(config),
        "store": store_settings(config),
        "examples": content_key(sorted(example.key for example in examples)),
    }
    if config.server is not None:  # it computes in a type of its own
        return identity
    return identity | {"dtype": str(resolve_dtype(dtype, pick_device()))}


def teacher_identity(config: CachedTeacher) -> str:
    """The content of the teacher's files or, behind a server, its name and address, which is all that is known."""
    return model_identity(config.model) if config.server is None else config.server.served.at


def capture_size(config: CachedTeacher, examples: Sequence[Example], dtype: Dtype) -> dict[str, Any]:
    """Examples, rows and bytes of a capture, known before it begins; loads no weights."""
    width = _hidden_size(config) if config.store == "hidden" else 0
    columns = columns_of(config, width, resolve_dtype(dtype, pick_device()))
    num_rows = total_loss_tokens(examples)
    return {
        "num_examples": len(examples),
        "num_tokens": sum(len(example) for example in examples),
        "num_rows": num_rows,
        "bytes": num_rows * sum(column.row_bytes for column in columns.values()),
    }


def _hidden_size(config: CachedTeacher) -> int:
    from transformers import AutoConfig

    from cotdistill.models.load.source import config_folder

    return head_width(AutoConfig.from_pretrained(config_folder(config.model)))


def _given(config: CachedTeacher, path: Path, examples: Sequence[Example], device: torch.device) -> StoredSignal:
    signal = StoredSignal(path, device)
    if not is_finished(path):
        raise ArtifactError(
            "its capture was not finished", where=path, remedy="finish it where it was started, or remove signal.path"
        )
    open_finished(path).verify()  # sizes alone do not tell one type of numbers from another
    for name, wanted in described(config).items():
        if signal.description.get(name) != wanted:
            raise ArtifactError(
                f"it was captured with {name} {signal.description.get(name)!r}, but the config says {wanted!r}",
                where=path,
                remedy="name the signal's own teacher and store, or capture again",
            )
    signal.refuse_missing([example.key for example in examples])
    return signal


def store_settings(config: CachedTeacher) -> dict[str, Any]:
    """What is stored: the settings that count."""
    size = {"hidden": {}, "topk": {"k": config.k}, "sampled": {"num_samples": config.num_samples}}
    return {"store": config.store, **size[config.store]}


def described(config: CachedTeacher) -> dict[str, Any]:
    """What a signal's folder says of its rows, besides their columns."""
    return {"teacher": teacher_identity(config), "settings": store_settings(config), "store": config.store}


def columns_of(config: CachedTeacher, hidden_size: int, dtype: torch.dtype) -> dict[str, Column]:
    return {
        "hidden": {"hidden": Column(dtype, hidden_size)},
        "topk": {"tokens": Column(torch.int32, config.k), "log_probabilities": Column(torch.float32, config.k)},
        "sampled": {"tokens": Column(torch.int32, config.num_samples), "entropy": Column(torch.float32, 1)},
    }[config.store]


def _capture(
    config: CachedTeacher,
    examples: Sequence[Example],
    dtype: Dtype,
    max_batch_tokens: int,
    packing: bool | None,
    folder: Path,
    device: torch.device,
) -> None:
    tokenizer = load_tokenizer(config.model)
    if config.store == "topk" and config.k > len(tokenizer):
        raise ConfigError(f"k is {config.k}, but the teacher has {len(tokenizer)} tokens", where="training.signal.k")
    if config.server is not None:
        with SignalWriter(folder, columns_of(config, 0, torch.float32), described(config)) as writer:
            _append_answers(config, writer, examples, folder)
        return
    teacher = load_model(config.model, dtype=resolve_dtype(dtype, device), device=device)
    check_head(teacher)
    columns = columns_of(config, head_width(teacher.config), teacher.dtype)
    if config.store == "hidden":
        head = output_head(teacher)
        save_head(folder, LiveSignal(teacher).head, head.weight, getattr(head, "bias", None))  # pyright: ignore

    batches = micro_batches(range(len(examples)), [len(example) for example in examples], max_batch_tokens)
    with (
        SignalWriter(folder, columns, described(config)) as writer,
        laid_out([teacher], teacher.dtype, packing=packing) as layout,
    ):
        _append_batches(
            writer,
            [[examples[number] for number in numbers] for numbers in batches],
            lambda batch: _captured(config, teacher, tokenizer, batch, layout),
        )


def _append_batches(
    writer: SignalWriter,
    batches: Sequence[Sequence[Example]],
    read: Callable[[Sequence[Example]], Mapping[str, Rows]],
) -> None:
    """Append what ``read`` gives for each batch that is not there yet as a whole.

    The batches are those of all examples, even after a kill: the other examples in a batch can change the rounding.
    """
    left = [batch for batch in batches if any(example.key not in writer.places for example in batch)]
    sizes = [sum(map(len, batch)) for batch in left]
    total = sum(len(example) for batch in batches for example in batch)
    with track("capture", total, done=total - sum(sizes)) as progress:
        for batch, size in zip(left, sizes, strict=True):
            writer.append(read(batch))
            progress.advance(size, f"{writer.num_rows} rows")


def _append_answers(config: CachedTeacher, writer: SignalWriter, examples: Sequence[Example], folder: Path) -> None:
    """Append a server's answers as they come. Each example is its own request, so batches do not matter."""
    scores = ServerScores(config, load_tokenizer(config.model), folder, writer)
    done = sum(len(example) for example in examples if example.key in writer.places)
    with track("capture", sum(map(len, examples)), done=done) as progress:
        for example in scores.fetch(examples):
            progress.advance(len(example), f"{writer.num_rows} rows")


@torch.no_grad()
def _captured(
    config: CachedTeacher,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    layout: Layout,
) -> dict[str, Rows]:
    """Rows of each example of one batch, by its key."""
    rows = LiveSignal(teacher).rows(collate(examples, layout).to(teacher.device))
    if not rows.hidden.isfinite().all() or not rows.chunk(slice(0, 1)).logits.logsumexp(-1).isfinite().all():
        raise not_finite(teacher)
    first, captured = 0, {}
    for example in examples:
        part = slice(first, first + example.num_loss_tokens)
        first = part.stop
        own = HiddenRows(rows.hidden[part], rows.head)
        if config.store == "hidden":
            captured[example.key] = {"hidden": own.hidden}
        else:
            captured[example.key] = _small_rows(config, own, len(tokenizer), example.key)
    return captured


def _small_rows(config: CachedTeacher, rows: HiddenRows, num_tokens: int, key: str) -> dict[str, Tensor]:
    """Top-k or sampled rows of one example, over the tokens that exist: padding of the head is left out."""
    chunks: list[dict[str, Tensor]] = []
    size = chunk_size(num_tokens)
    generator = torch.Generator(rows.hidden.device).manual_seed(int(key[:15], 16))
    for start in range(0, len(rows.hidden), size):
        log_p = log_softmax(rows.chunk(slice(start, start + size)).logits[:, :num_tokens])
        if config.store == "topk":
            best = log_p.topk(config.k, dim=-1)
            chunks.append({"tokens": best.indices, "log_probabilities": best.values})
        else:
            p = log_p.exp()
            drawn = torch.multinomial(p, config.num_samples, replacement=True, generator=generator)
            chunks.append({"tokens": drawn, "entropy": -(p * log_p).sum(-1, keepdim=True)})
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def readable_size(num_bytes: int) -> str:
    """For example ``1.2 GB``."""
    power = min(3, int(math.log(max(num_bytes, 1), 1000)))
    return f"{num_bytes / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"
