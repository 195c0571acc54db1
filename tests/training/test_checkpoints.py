"""Checkpoints: what was saved comes back bit for bit, and nothing else is taken for it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from tests.command import die_before_change, new_process
from tests.tiny import tiny_model

from cotdistill.errors import ArtifactError
from cotdistill.training.checkpoints import TrainingState, load_checkpoint, save_checkpoint


def state_of(seed: int) -> TrainingState:
    model = tiny_model(64, seed=seed).train()
    return TrainingState.of(model, torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True))


def take_steps(state: TrainingState, *, first: int, last: int) -> None:
    for step in range(first, last):
        ids = torch.randint(0, 64, (2, 9), generator=torch.Generator().manual_seed(step))
        state.optimizer.zero_grad()
        state.model(input_ids=ids, labels=ids).loss.backward()
        state.optimizer.step()


def bits(state: TrainingState) -> list[torch.Tensor]:
    moments = [value for values in state.optimizer.state.values() for _, value in sorted(values.items())]
    return [*(p.detach().clone() for p in state.model.parameters()), *moments]


def test_what_goes_on_from_a_checkpoint_is_what_would_have_been(tmp_path: Path) -> None:
    unbroken = state_of(0)
    take_steps(unbroken, first=0, last=3)
    save_checkpoint(tmp_path / "c", unbroken, step=3)
    take_steps(unbroken, first=3, last=6)

    resumed = state_of(1)
    assert load_checkpoint(tmp_path / "c", resumed) == 3
    take_steps(resumed, first=3, last=6)
    pairs = zip(bits(unbroken), bits(resumed), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_without_a_checkpoint_training_starts_at_the_start(tmp_path: Path) -> None:
    state = state_of(0)
    before = bits(state)
    assert load_checkpoint(tmp_path / "none", state) == 0
    assert all(torch.equal(a, b) for a, b in zip(before, bits(state), strict=True))


def test_only_the_newest_checkpoint_takes_space(tmp_path: Path) -> None:
    state = state_of(0)
    for step in (1, 2, 3):
        take_steps(state, first=step, last=step + 1)
        save_checkpoint(tmp_path, state, step=step)
    assert load_checkpoint(tmp_path, state_of(1)) == 3
    assert len(list(tmp_path.iterdir())) == 3


def save_twice(folder: Path, num_changes: int) -> None:
    state = state_of(0)
    for step in (1, 2):
        take_steps(state, first=step - 1, last=step)
        if step == 2:
            die_before_change(num_changes)
        save_checkpoint(folder, state, step=step)


def test_a_kill_while_a_checkpoint_is_written_leaves_the_old_or_the_new_one(tmp_path: Path) -> None:
    found = []
    for num_changes in range(10):
        folder = tmp_path / str(num_changes)
        process = new_process(save_twice, folder, num_changes)
        process.join(60)
        found.append(load_checkpoint(folder, state_of(1)))
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert found[0] == 1
    assert found[-1] == 2
    assert found == sorted(found)


FILES = ("parameters-1.safetensors", "moments-1.safetensors", "checkpoint.json")


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, damage) for name in FILES for damage in ("one bit", "cut off", "gone")][:-1],  # no checkpoint.json is none
)
def test_a_damaged_checkpoint_is_one_clear_error(tmp_path: Path, name: str, damage: str) -> None:
    state = state_of(0)
    take_steps(state, first=0, last=1)
    save_checkpoint(tmp_path, state, step=1)
    file = tmp_path / name
    data = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "cut off":
        file.write_bytes(data[:-9])
    else:
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    with pytest.raises(ArtifactError) as raised:
        load_checkpoint(tmp_path, state)
    line = str(raised.value)
    assert "the checkpoint is corrupted" in line
    assert line.startswith(str(tmp_path))
    assert line.endswith(f"delete {tmp_path} to train from the start")
    assert "\n" not in line
