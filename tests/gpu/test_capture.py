"""A capture on the device holds what the live teacher says there, and goes on to the same rows after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import save_tiny, tiny_tokenizer
from tests.training.test_loop import examples

from cotdistill.config import CachedTeacher, ForwardKL, ModelConfig
from cotdistill.models.load.loading import load_model
from cotdistill.training.data.batches import Batch, collate
from cotdistill.training.signals.capture import capture
from cotdistill.training.signals.live import HiddenRows, LiveSignal, TopKRows
from cotdistill.training.signals.stored import StoredSignal

STORES = ["hidden", "topk", "sampled"]


@pytest.fixture
def teacher(tmp_path: Path) -> ModelConfig:
    return ModelConfig(model=str(save_tiny(tmp_path / "teacher", hidden=64, seed=3)))


def stored(teacher: ModelConfig, runs: Path, **settings: Any) -> StoredSignal:
    config = CachedTeacher(model=teacher, **settings)
    return capture(config, examples(), dtype="float32", max_batch_tokens=150, runs=runs)


def batch_on(device: torch.device) -> Batch:
    """In another order, and in other batches, than those of the capture."""
    return collate([examples()[place] for place in (5, 0, 8, 2)]).to(device)


def test_stored_hidden_states_are_the_live_teacher(teacher: ModelConfig, device: torch.device, tmp_path: Path) -> None:
    batch = batch_on(device)
    live = LiveSignal(load_model(teacher, dtype=torch.float32, device=device)).rows(batch)
    found = stored(teacher, tmp_path / "runs").rows(batch)
    assert isinstance(found, HiddenRows)
    assert found.hidden.device == device
    torch.testing.assert_close(found.hidden, live.hidden, rtol=1e-4, atol=1e-5)
    whole = slice(0, len(batch.targets))
    torch.testing.assert_close(found.chunk(whole).logits, live.chunk(whole).logits, rtol=1e-4, atol=1e-4)


def test_the_likeliest_tokens_are_the_live_teachers(teacher: ModelConfig, device: torch.device, tmp_path: Path) -> None:
    """All of them are the whole distribution, and give its divergence."""
    batch, vocabulary = batch_on(device), len(tiny_tokenizer())
    live = LiveSignal(load_model(teacher, dtype=torch.float32, device=device)).rows(batch)
    found = stored(teacher, tmp_path / "runs", store="topk", k=vocabulary).rows(batch)
    assert isinstance(found, TopKRows)
    logits = torch.randn(len(batch.targets), vocabulary, generator=torch.Generator().manual_seed(1)).to(device)
    dense = live.chunk(slice(0, len(batch.targets))).divergence(ForwardKL(), logits)
    torch.testing.assert_close(found.divergence(ForwardKL(), logits), dense, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("store", STORES)
def test_a_killed_capture_goes_on_to_the_same_rows(store: str, teacher: ModelConfig, tmp_path: Path) -> None:
    """To the bit: what a kill leaves is a part of the index and a torn row."""
    unbroken = stored(teacher, tmp_path / "unbroken", store=store, k=8).folder
    killed = stored(teacher, tmp_path / "killed", store=store, k=8).folder
    (killed / "manifest.json").unlink()
    index = killed / "index.jsonl"
    index.write_bytes(b"".join(index.read_bytes().splitlines(keepends=True)[:3]) + b'{"key": "to')
    columns = [path.name for path in killed.glob("*.bin")]
    with (killed / columns[0]).open("ab") as file:
        file.write(b"half a row")
    stored(teacher, tmp_path / "killed", store=store, k=8)
    for name in [*columns, "index.jsonl"]:
        assert (killed / name).read_bytes() == (unbroken / name).read_bytes(), name
