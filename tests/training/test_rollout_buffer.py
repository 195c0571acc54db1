"""Samples of several steps drawn together: from the student of their first step, and the same after any kill."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.command import new_process
from tests.tiny import tiny_model, tiny_tokenizer
from tests.training.test_rollouts import assert_same_weights, config, examples, metrics, own_samples, train

from cotdistill.config import OnPolicy
from cotdistill.errors import ArtifactError, TrainingError
from cotdistill.storage.jsonl import read_rows, write_rows
from cotdistill.training.loop import train_student
from cotdistill.training.rollout_buffer import BUFFER, Buffer, Step
from cotdistill.training.rollouts import Rollouts
from cotdistill.training.signals.live import LiveSignal

ORDER: list[Step] = [(number, [number % 8, (number + 3) % 8]) for number in range(12)]


def buffered(folder: Path, **settings: Any) -> Buffer:
    chosen = examples()
    rollouts = own_samples(**settings)
    return Buffer(rollouts, folder / BUFFER, len(ORDER), 0, lambda indices: {index: chosen[index] for index in indices})


def taken(buffer: Buffer, *, first: int = 0, student_at: Sequence[int] = range(12)) -> dict[int, Any]:
    """The samples of each on-policy step from the ``first``, of a student that is another one at every step."""
    steps = [number for number, _ in buffer.foreseen(ORDER) if number >= first and buffer.rollouts.are_of(number)]
    return {step: buffer.take(tiny_model(len(tiny_tokenizer()), seed=student_at[step]), step) for step in steps}


def test_a_buffer_of_one_step_draws_what_each_steps_own_student_writes(tmp_path: Path) -> None:
    """To the bit what is drawn without one, and nothing is written down."""
    buffer, chosen = buffered(tmp_path, share=0.5, buffer=1), examples()
    drawn = taken(buffer)
    assert 0 < len(drawn) < len(ORDER)
    for step, samples in drawn.items():
        own = {step: {index: chosen[index] for index in ORDER[step][1]}}
        assert samples == buffer.rollouts.sample(tiny_model(len(tiny_tokenizer()), seed=step), own, 12)[step]
    assert not buffer.folder.exists()
    train(tmp_path / "none", own_samples(share=0.5), tmp_path / "none.pt")
    train(tmp_path / "one", own_samples(share=0.5, buffer=1), tmp_path / "one.pt")
    assert_same_weights(tmp_path / "none.pt", tmp_path / "one.pt")
    assert metrics(tmp_path / "none") == metrics(tmp_path / "one")


def test_steps_are_drawn_together_from_the_student_of_the_first(tmp_path: Path) -> None:
    """The same seeds as without a buffer: only the student is an older one."""
    drawn, chosen = taken(buffered(tmp_path, share=0.7, buffer=3)), examples()
    first = {step: list(drawn)[place // 3 * 3] for place, step in enumerate(drawn)}
    assert len(set(first.values())) > 1
    for step, samples in drawn.items():
        own = {step: {index: chosen[index] for index in ORDER[step][1]}}
        student = tiny_model(len(tiny_tokenizer()), seed=first[step])
        assert samples == own_samples(share=0.7).sample(student, own, 12)[step]


@pytest.mark.parametrize("first", range(12))
def test_a_resume_at_any_step_has_the_same_samples(first: int, tmp_path: Path) -> None:
    """Also where the student that wrote them is gone; what lies behind the checkpoint is not kept."""
    whole = taken(buffered(tmp_path, share=0.7, buffer=3))
    buffered(tmp_path, share=0.7, buffer=3).forget(before=first)
    lasts = [int(file.stem.split("-")[1]) for file in (tmp_path / BUFFER).iterdir()]
    assert lasts
    assert min(lasts) >= first
    gone = [99] * first + list(range(first, 12))
    rest = taken(buffered(tmp_path, share=0.7, buffer=3), first=first, student_at=gone)
    assert rest == {step: samples for step, samples in whole.items() if step >= first}


def test_samples_that_only_an_earlier_student_could_write_are_not_drawn_anew(tmp_path: Path) -> None:
    taken(buffered(tmp_path, share=1.0, buffer=4))
    file = next((tmp_path / BUFFER).glob("4-7-*"))
    rows = list(read_rows(file))
    damaged = [rows[:-1], [row | {"regions": ["x"]} for row in rows], [row | {"response": None} for row in rows]]
    for content in damaged:
        write_rows(file, content)
        with pytest.raises(ArtifactError, match=r"drawn at step 5 are missing or damaged.*to train from the start"):
            taken(buffered(tmp_path, share=1.0, buffer=4), first=7)
    file.unlink()
    with pytest.raises(ArtifactError, match="drawn at step 5 are missing"):
        taken(buffered(tmp_path, share=1.0, buffer=4), first=6)


def test_ranks_share_a_buffer_whatever_their_number(tmp_path: Path) -> None:
    """Each draws for its own examples; a training that goes on with another number of ranks finds all of them."""
    chosen = examples()

    def of_rank(rank: int, size: int) -> Buffer:
        whole = buffered(tmp_path, share=1.0, buffer=4)
        return replace(whole, rank=rank, own=lambda numbers: {n: chosen[n] for n in numbers[rank::size]})

    both = [taken(of_rank(rank, 2)) for rank in range(2)]
    alone = taken(of_rank(0, 1), first=5, student_at=[99] * 12)
    for step in (5, 6, 7):
        assert alone[step] == {n: (both[0][step] | both[1][step])[n] for n in ORDER[step][1]}


def test_a_training_killed_within_a_buffer_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    """Killed at many moments, again and again, with a checkpoint at every step."""
    rollouts = replace(own_samples(share=0.7, buffer=3), seed=2)
    train(tmp_path / "unbroken", rollouts, tmp_path / "unbroken.pt")
    statuses, begun = [], 0
    for dies_before in (14, 21, 17, 26, None):
        process = new_process(train, tmp_path / "killed", rollouts, tmp_path / "killed.pt", dies_before)
        process.join(240)
        statuses.append(process.exitcode)
        begun += dies_before is not None and any((tmp_path / "killed" / BUFFER).glob("*.jsonl"))
    assert statuses[-1] == 0
    assert set(statuses[:-1]) <= {-signal.SIGKILL, 0}
    assert statuses.count(-signal.SIGKILL) >= 2
    assert begun
    assert_same_weights(tmp_path / "unbroken.pt", tmp_path / "killed.pt")
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "unbroken")


def test_a_schedule_goes_evenly_from_its_start_to_its_end(tmp_path: Path) -> None:
    growing = OnPolicy.model_validate({"max_new_tokens": {"start": 2, "end": 24}})
    assert [growing.length_at(step, 12) for step in range(12)] == list(range(2, 25, 2))
    assert growing.length_at(0, 1) == 2
    assert OnPolicy(max_new_tokens=7).length_at(3, 12) == 7
    falling = OnPolicy.model_validate({"max_new_tokens": {"start": 9, "end": 1}})
    assert (falling.length_at(0, 9), falling.length_at(8, 9), falling.longest) == (9, 1, 9)

    drawn = taken(buffered(tmp_path, share=1.0, max_new_tokens={"start": 2, "end": 24}))
    longest = {step: max(sample.num_loss_tokens for sample in samples.values()) for step, samples in drawn.items()}
    assert all(longest[step] <= growing.length_at(step, 12) for step in drawn)
    assert longest[11] > longest[0] == 2
    together = taken(buffered(tmp_path, share=1.0, buffer=4, max_new_tokens={"start": 2, "end": 24}))
    for step, samples in together.items():
        most = growing.length_at(step // 4 * 4, 12)
        assert max(sample.num_loss_tokens for sample in samples.values()) <= most


def test_the_whole_schedule_must_fit_the_students_positions() -> None:
    growing = Rollouts(
        OnPolicy.model_validate({"max_new_tokens": {"start": 2, "end": 500}}), tiny_tokenizer(), 0, own_samples().dtype
    )
    with pytest.raises(TrainingError, match=r"500 sampled ones are over the student's 512 positions"):
        growing.check(tiny_model(len(tiny_tokenizer())), examples())


def test_what_is_computed_in_bfloat16_is_near_what_float32_gives(tmp_path: Path) -> None:
    """Samples are drawn between steps with the weights' copies that the steps compute with."""
    losses = {}
    for dtype in ("float32", "bfloat16"):
        (tmp_path / dtype).mkdir()
        student, teacher = (tiny_model(len(tiny_tokenizer()), seed=seed) for seed in range(2))
        rollouts = replace(own_samples(share=1.0, buffer=2), dtype=getattr(torch, dtype))
        settings = config(dtype=dtype, epochs=2, learning_rate=1e-3)
        folder, signal = tmp_path / dtype, LiveSignal(teacher)
        train_student(student, examples(), settings, signal=signal, seed=0, folder=folder, rollouts=rollouts)
        losses[dtype] = [row["loss"] for row in metrics(folder)]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.1)
