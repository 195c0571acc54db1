"""A teacher's signal on disk: what it holds is what the live teacher says, and it is refused where it does not fit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer

from cotdistill.config import AlphaBeta, CachedTeacher, ForwardKL, ModelConfig, ReverseKL, TrainingConfig
from cotdistill.errors import ArtifactError, ConfigError
from cotdistill.models.load.loading import load_model
from cotdistill.storage.jsonl import RowAppender
from cotdistill.tasks.segments import Region
from cotdistill.training.data.batches import Batch, collate
from cotdistill.training.data.examples import Example
from cotdistill.training.losses import divergences as losses
from cotdistill.training.signals import stored as signal_store
from cotdistill.training.signals.capture import capture, capture_size
from cotdistill.training.signals.live import HiddenRows, LiveSignal, SampledRows, TopKRows
from cotdistill.training.signals.stored import StoredSignal

WORDS = ("Ann has 12 apples.", "Step 1: 3 + 4 = 7.", "The answer is 31.5.", "Therefore, red and green marbles.")
TERM = ForwardKL()


def examples() -> list[Example]:
    tokenizer = tiny_tokenizer()
    made = []
    for number, text in enumerate(WORDS):
        ids = tokenizer(text)["input_ids"]
        regions = [Region.PROMPT] * (2 + number) + [Region.RATIONALE] * (len(ids) - 4 - number) + [Region.ANSWER] * 2
        made.append(Example(f"e{number}", ids[:-1], ids[1:], regions[1:]))
    return made


@pytest.fixture
def teacher(tmp_path: Path) -> ModelConfig:
    save_tiny(tmp_path / "teacher", seed=3)
    return ModelConfig(model=str(tmp_path / "teacher"))


def stored(teacher: ModelConfig, runs: Path, **settings: object) -> StoredSignal:
    config = CachedTeacher(model=teacher, **settings)  # pyright: ignore[reportArgumentType]
    return capture(config, examples(), dtype="float32", max_batch_tokens=64, runs=runs)


def live_rows(teacher: ModelConfig, batch: Batch) -> HiddenRows:
    return LiveSignal(load_model(teacher, dtype=torch.float32, device="cpu")).rows(batch)


def student_logits(num_tokens: int, vocab: int) -> torch.Tensor:
    return torch.randn(num_tokens, vocab, generator=torch.Generator().manual_seed(5))


def whole(batch: Batch) -> slice:
    return slice(0, len(batch.targets))


def test_cached_hidden_states_are_the_live_teacher(teacher: ModelConfig, tmp_path: Path) -> None:
    """In whatever batch the student meets an example, its rows are its own."""
    signal = stored(teacher, tmp_path / "runs")
    for chosen in (examples(), [examples()[2], examples()[0]]):
        batch = collate(chosen)
        cached, live = signal.rows(batch), live_rows(teacher, batch)
        assert isinstance(cached, HiddenRows)
        torch.testing.assert_close(cached.hidden, live.hidden, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(
            cached.chunk(whole(batch)).logits, live.chunk(whole(batch)).logits, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("term", [ForwardKL(), ReverseKL(), AlphaBeta()], ids=lambda term: term.kind)
def test_top_k_of_the_whole_vocabulary_is_the_dense_loss(
    teacher: ModelConfig, tmp_path: Path, term: ForwardKL | ReverseKL | AlphaBeta
) -> None:
    vocab = len(tiny_tokenizer())
    batch = collate(examples())
    rows = stored(teacher, tmp_path / "runs", store="topk", k=vocab).rows(batch)
    logits = student_logits(len(batch.targets), vocab)
    dense = live_rows(teacher, batch).chunk(whole(batch)).divergence(term, logits)
    torch.testing.assert_close(rows.chunk(whole(batch)).divergence(term, logits), dense, rtol=1e-4, atol=1e-5)


def test_top_k_is_a_divergence_for_any_k(teacher: ModelConfig, tmp_path: Path) -> None:
    """Never negative, also for a student that is sharper than its teacher; zero at equality; at most the dense loss."""
    vocab = len(tiny_tokenizer())
    batch = collate(examples())
    rows = stored(teacher, tmp_path / "runs", store="topk", k=5).rows(batch)
    assert isinstance(rows, TopKRows)
    dense = live_rows(teacher, batch).chunk(whole(batch))
    sharp = dense.logits * 5
    assert rows.divergence(TERM, sharp).min() >= 0
    assert rows.divergence(TERM, dense.logits[:, :vocab]).abs().max() < 1e-5
    logits = student_logits(len(batch.targets), vocab)
    assert (rows.divergence(TERM, logits) <= dense.divergence(TERM, logits) + 1e-5).all()


def test_sampled_forward_kl_is_unbiased() -> None:
    """The mean over many independent draws lies within four standard errors of the exact value, token by token."""
    generator = torch.Generator().manual_seed(0)
    teacher, student = torch.randn(3, 30, generator=generator), torch.randn(3, 30, generator=generator)
    log_p = losses.log_softmax(teacher)
    exact = losses.divergence(TERM, student, teacher)
    entropy = -(log_p.exp() * log_p).sum(-1)
    estimates = torch.stack(
        [
            SampledRows(torch.multinomial(log_p.exp(), 4, replacement=True, generator=generator), entropy).divergence(
                TERM, student
            )
            for _ in range(2000)
        ]
    )
    standard_error = estimates.std(0) / len(estimates) ** 0.5
    assert ((estimates.mean(0) - exact).abs() < 4 * standard_error).all()


def test_sampled_rows_are_the_same_whatever_the_batch(teacher: ModelConfig, tmp_path: Path) -> None:
    one = capture(
        CachedTeacher(model=teacher, store="sampled"),
        examples(),
        dtype="float32",
        max_batch_tokens=1,
        runs=tmp_path / "one",
    )
    other = stored(teacher, tmp_path / "other", store="sampled")
    batch = collate(examples())
    first, second = one.rows(batch), other.rows(batch)
    assert isinstance(first, SampledRows)
    assert isinstance(second, SampledRows)
    assert torch.equal(first.tokens, second.tokens)


@pytest.mark.parametrize("settings", [{"store": "hidden"}, {"store": "topk", "k": 5}], ids=["hidden", "topk"])
@pytest.mark.usefixtures("batch_dependent")
def test_a_capture_that_was_killed_goes_on_to_the_same_rows(
    teacher: ModelConfig, tmp_path: Path, settings: dict[str, Any]
) -> None:
    """Killed behind any number of examples, also in the middle of a batch, with a torn row and a torn index line.

    The teacher's rows depend on what lies beside an example, so that the same rows come from the same batches only.
    """
    whole_store = stored(teacher, tmp_path / "whole", **settings).folder
    lines = (whole_store / "index.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == len(examples())
    for number in range(len(lines)):
        killed = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", killed)
        folder = killed / "teacher_signal" / whole_store.name
        (folder / "manifest.json").unlink()
        (folder / "index.jsonl").write_bytes(b"".join(lines[:number]) + b'{"key": "to')
        for file in folder.glob("*.bin"):
            file.write_bytes(file.read_bytes() + b"half a row")
        stored(teacher, killed, **settings)
        for file in [whole_store / "index.jsonl", *whole_store.glob("*.bin")]:
            assert (folder / file.name).read_bytes() == file.read_bytes()


@pytest.mark.usefixtures("batch_dependent")
def test_the_order_of_the_examples_changes_no_row(teacher: ModelConfig, tmp_path: Path) -> None:
    """The key of a capture does not hold it, so another arm may go on with what one began."""
    config = CachedTeacher(model=teacher)
    settings: dict[str, Any] = {"dtype": "float32", "max_batch_tokens": 64}
    one = capture(config, examples(), runs=tmp_path / "one", **settings).folder
    other = capture(config, examples()[::-1], runs=tmp_path / "other", **settings).folder
    assert one.name == other.name
    assert (one / "hidden.bin").read_bytes() == (other / "hidden.bin").read_bytes()


def test_rows_are_on_the_disk_before_their_line_says_so(
    teacher: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the index grows, the files that hold its rows have been synced and are long enough."""
    monkeypatch.setattr(signal_store, "COMMIT_SECONDS", -1.0)
    synced: dict[str, int] = {}
    written, sync = RowAppender.append_all, os.fsync

    def noted(number: int) -> None:
        sync(number)
        synced[Path(f"/proc/self/fd/{number}").readlink().name] = os.fstat(number).st_size

    def checked(index: RowAppender, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            assert synced["hidden.bin"] >= (row["first_row"] + row["num_rows"]) * 32 * 4
        written(index, rows)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(RowAppender, "append_all", checked)
    signal = stored(teacher, tmp_path)
    assert len(signal.places) == len(examples())


def test_a_capture_whose_rows_are_lost_does_not_go_on_with_zeros(teacher: ModelConfig, tmp_path: Path) -> None:
    folder = stored(teacher, tmp_path).folder
    (folder / "manifest.json").unlink()
    (folder / "hidden.bin").write_bytes((folder / "hidden.bin").read_bytes()[:100])
    with pytest.raises(ArtifactError, match=r"hidden\.bin: it holds 100 bytes, not .* capture again"):
        stored(teacher, tmp_path)


def test_a_captured_folder_is_what_its_manifest_says(teacher: ModelConfig, tmp_path: Path) -> None:
    """Two types of one width would else be taken for one another."""
    folder = stored(teacher, tmp_path / "runs", store="topk", k=3).folder

    def given() -> None:
        stored(teacher, tmp_path / "runs", store="topk", k=3, path=folder)

    given()
    described = (folder / "signal.json").read_text()
    (folder / "signal.json").write_text(described.replace("float32", "int32"))
    with pytest.raises(ArtifactError, match=r"signal\.json: the checksum differs"):
        given()
    for spoilt in (described.replace("float32", "float99"), described.replace('"width": 3', '"width": "x"'), "[]"):
        (folder / "signal.json").write_text(spoilt)
        with pytest.raises(ArtifactError, match=r"signal\.json: it does not say which rows"):
            given()
    (folder / "signal.json").write_text(described)
    (folder / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="its capture was not finished"):
        given()


def test_the_size_is_known_before(teacher: ModelConfig, tmp_path: Path) -> None:
    for settings in ({"store": "hidden"}, {"store": "topk", "k": 7}, {"store": "sampled", "num_samples": 3}):
        config = CachedTeacher(model=teacher, **settings)  # pyright: ignore[reportArgumentType]
        size = capture_size(config, examples(), "float32")
        folder = stored(teacher, tmp_path / "runs", **settings).folder
        assert size["bytes"] == sum(file.stat().st_size for file in folder.glob("*.bin"))


def test_a_signal_that_does_not_fit_is_refused(teacher: ModelConfig, tmp_path: Path) -> None:
    folder = stored(teacher, tmp_path / "runs").folder
    tiny_model(len(tiny_tokenizer()), seed=9).save_pretrained(tmp_path / "other")
    tiny_tokenizer().save_pretrained(tmp_path / "other")
    other = ModelConfig(model=str(tmp_path / "other"))
    with pytest.raises(ArtifactError, match="was captured with teacher"):
        stored(other, tmp_path / "runs", path=folder)
    with pytest.raises(ArtifactError, match="was captured with settings"):
        stored(teacher, tmp_path / "runs", path=folder, store="topk")
    new = Example("new", [1, 2], [2, 3], [Region.RATIONALE, Region.ANSWER])
    config = CachedTeacher(model=teacher, path=folder)
    with pytest.raises(ArtifactError, match="no signal for 1 of 5 examples"):
        capture(config, [*examples(), new], dtype="float32", max_batch_tokens=64, runs=tmp_path)
    with pytest.raises(ConfigError, match="k is 4096, but the teacher has"):
        stored(teacher, tmp_path / "runs", store="topk", k=4096)
    hidden = folder / "hidden.bin"
    hidden.write_bytes(hidden.read_bytes()[:-4])
    with pytest.raises(ArtifactError, match="truncated"):
        stored(teacher, tmp_path / "runs", path=folder)


@pytest.mark.parametrize(
    ("signal", "term", "message"),
    [
        ({"store": "topk"}, {"kind": "forward_kl", "temperature": 2.0}, "distribution at temperature 1, not 2"),
        ({"store": "sampled"}, {"kind": "reverse_kl"}, "allows only forward_kl, not reverse_kl"),
    ],
)
def test_a_term_that_a_reduced_signal_cannot_give_is_refused(
    signal: dict[str, object], term: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingConfig.model_validate({"loss": [term], "signal": {"kind": "cache", "model": "x", **signal}})
