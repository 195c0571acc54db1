"""Students trained through adapters or with checkpointed gradients: the same losses, and resumed to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer

from cotdistill.config import CrossEntropy, ForwardKL, LoRA, LossConfig, ModelConfig, TrainingConfig
from cotdistill.models.forward.heads import enable_gradient_checkpointing
from cotdistill.models.load.adapters import add_adapter
from cotdistill.models.load.loading import load_model
from cotdistill.records import Question, Rationale
from cotdistill.storage.jsonl import RowAppender, read_rows
from cotdistill.training.data.batches import collate
from cotdistill.training.data.examples import Example, make_examples
from cotdistill.training.loop import CHECKPOINT, METRICS, train_student
from cotdistill.training.losses.fused import summed_losses
from cotdistill.training.losses.weights import token_weights
from cotdistill.training.signals.live import LiveSignal, LogitsChunk
from cotdistill.training.stage import train
from cotdistill.training.step import DistillationLoss, accumulate
from cotdistill.training.students import open_student

CPU = torch.device("cpu")
SIZE = len(tiny_tokenizer())


def rationales() -> list[Rationale]:
    return [
        Rationale(
            Question(f"q{n}", "own", "train", f"What is {n} + {n}?", str(2 * n), "number"),
            f"{n} and {n} make {2 * n}.",
            "me",
            3,
            "cot",
        )
        for n in range(1, 10)
    ]


def examples() -> list[Example]:
    return make_examples(rationales(), tiny_tokenizer(), max_length=512, too_long="drop")[0]


def config(**changes: Any) -> TrainingConfig:
    values: dict[str, Any] = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-2, "dtype": "float32"}
    return TrainingConfig.model_validate(values | {"checkpoint_every": 2} | changes)


def adapted_student(targets: Any = "auto") -> Any:
    """A tiny student whose adapters have an effect."""
    student = tiny_model(SIZE, seed=1)
    add_adapter(student, LoRA(rank=4, target_modules=targets), seed=0)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return student


def gradients(student: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in student.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("targets", ["auto", ("q_proj", "lm_head")])
def test_the_fused_loss_of_an_adapted_student_is_the_plain_one(targets: Any) -> None:
    """In value and gradient, where the head is frozen and where it is adapted."""
    terms: tuple[LossConfig, ...] = (CrossEntropy(weight=0.5), ForwardKL(temperature=2.0))
    batch, teacher = collate(examples()), tiny_model(SIZE, seed=2)
    fused = adapted_student(targets)
    loss, _, _ = accumulate(
        DistillationLoss(fused, terms, LiveSignal(teacher)), [batch], device=CPU, dtype=torch.float32
    )

    plain = adapted_student(targets)
    logits, teacher_logits = (
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.flatten(0, 1)[batch.positions]
        for model in (plain, teacher)
    )
    sums = summed_losses(
        terms, logits, LogitsChunk(teacher_logits), batch.targets, token_weights(terms, batch.regions, batch.owners)
    )
    expected = (sums * torch.tensor([term.weight for term in terms])).sum() / len(batch.targets)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for name, gradient in gradients(plain).items():
        assert (gradient - gradients(fused)[name]).norm() <= 1e-5 * gradient.norm(), name


def test_a_trained_adapter_leaves_its_base_as_it_was(tmp_path: Path) -> None:
    base = ModelConfig(model=str(save_tiny(tmp_path / "base")))
    opened = open_student(base, config(adapter={"kind": "lora", "rank": 4}), seed=0, device=CPU)
    before = {name: p.clone() for name, p in opened.model.named_parameters()}
    summary = train_student(opened.model, examples(), config(), signal=None, seed=0, folder=tmp_path)
    assert summary.last_loss < summary.first_loss
    for name, parameter in opened.model.named_parameters():
        assert torch.equal(parameter, before[name]) == ("lora_" not in name), name


def test_merged_and_kept_students_are_one_model_and_can_be_trained_on(tmp_path: Path) -> None:
    base = ModelConfig(model=str(save_tiny(tmp_path / "base")))
    models = []
    for merge in (True, False):
        made = train(base, rationales(), config(adapter={"rank": 4, "merge": merge}), seed=0, runs=tmp_path / "runs")
        assert (made.model / "adapter_config.json").exists() == (not merge)
        assert "LoRA of rank 4, " + ("merged" if merge else "kept") in (made.model / "README.md").read_text()
        models.append(ModelConfig(model=str(made.model)))
    merged, kept = (load_model(model, dtype=torch.float32, device=CPU) for model in models)
    for (name, ours), (_, theirs) in zip(merged.named_parameters(), kept.named_parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6, msg=name)
    again = train(
        models[1],
        rationales(),
        config(signal={"kind": "cache", "model": models[1]}, loss=["forward_kl"]),
        seed=0,
        runs=tmp_path / "runs",
    )
    assert again.summary["first_loss"] == pytest.approx(0, abs=1e-5)


def test_adapters_resume_to_the_same_bits_from_checkpoints_of_their_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_adapter(folder: Path) -> dict[str, torch.Tensor]:
        folder.mkdir(exist_ok=True)
        student = tiny_model(SIZE)
        add_adapter(student, LoRA(rank=4, dropout=0.2), seed=0)
        train_student(student, examples(), config(), signal=None, seed=0, folder=folder)
        return student.state_dict()

    append = RowAppender.append

    def interrupt_at_step_4(self: RowAppender, row: dict[str, Any]) -> None:
        if row["step"] == 4:
            raise KeyboardInterrupt
        append(self, row)

    unbroken = train_adapter(tmp_path / "unbroken")
    with monkeypatch.context() as patch:
        patch.setattr(RowAppender, "append", interrupt_at_step_4)
        with pytest.raises(KeyboardInterrupt):
            train_adapter(tmp_path / "broken")
    (checkpoint,) = (tmp_path / "broken" / CHECKPOINT).glob("parameters-2.safetensors")
    assert checkpoint.stat().st_size < sum(p.numel() * 4 for p in tiny_model(SIZE).parameters()) / 4
    resumed = train_adapter(tmp_path / "broken")
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


@pytest.mark.parametrize("adapter", [False, True])
def test_gradient_checkpointing_changes_no_gradient(tmp_path: Path, adapter: bool) -> None:
    """With dropout, adapters and hidden-state terms: two steps give the same bits, and fewer tensors are kept."""
    terms = [{"kind": "hidden_mse", "weight": 0.1}, {"kind": "forward_kl"}]
    weights = []
    for on in (False, True):
        student = tiny_model(SIZE)
        student.config.attention_dropout = 0.2
        if adapter:
            add_adapter(student, LoRA(rank=4, dropout=0.2), seed=0)
        teacher = LiveSignal(tiny_model(SIZE, hidden=48, layers=1, seed=1))
        settings = config(epochs=1, loss=terms, signal={"kind": "live", "model": "above"}, gradient_checkpointing=on)
        (tmp_path / str(on)).mkdir()
        train_student(student, examples(), settings, signal=teacher, seed=0, folder=tmp_path / str(on))
        weights.append(student.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("gradient_checkpointing", [pytest.param(False, marks=pytest.mark.full), True])
def test_compiled_layers_give_the_same_values_whatever_the_shape(tmp_path: Path, gradient_checkpointing: bool) -> None:
    """Micro-batches of one row and several, long and short; with the hidden states of all layers."""
    losses = []
    for compile in (False, True):
        (tmp_path / str(compile)).mkdir()
        settings = config(
            epochs=1,
            max_batch_tokens=130,
            loss=["hidden_mse", "forward_kl"],
            signal={"kind": "live", "model": "below"},
            gradient_checkpointing=gradient_checkpointing,
            compile=compile,
        )
        teacher = LiveSignal(tiny_model(SIZE, seed=1))
        train_student(tiny_model(SIZE), examples(), settings, signal=teacher, seed=0, folder=tmp_path / str(compile))
        losses.append([row["loss"] for row in read_rows(tmp_path / str(compile) / METRICS)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_gradient_checkpointing_keeps_fewer_tensors_for_backward() -> None:
    kept = []
    for on in (False, True):
        student = tiny_model(SIZE, layers=4)
        if on:
            enable_gradient_checkpointing(student)
        module = DistillationLoss(student, (CrossEntropy(),), None).train()
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            module(collate(examples()), 1)
        kept.append(sum(sizes))
    assert kept[1] < 0.5 * kept[0]
