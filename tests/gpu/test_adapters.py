"""Adapters are trained on the device, and merged, kept and loaded they are one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import save_tiny
from tests.training.test_loop import config, examples, metrics

from cotdistill.config import LoRA, ModelConfig
from cotdistill.errors import ModelError
from cotdistill.models.load.adapters import check_adapter, save_adapter
from cotdistill.models.load.loading import load_model
from cotdistill.training.data.batches import collate
from cotdistill.training.loop import train_student
from cotdistill.training.students import OpenStudent, open_student


def trained(base: ModelConfig, lora: LoRA, dtype: str, device: torch.device, folder: Path) -> OpenStudent:
    settings = config(loss=["cross_entropy"], signal=None, adapter=lora, dtype=dtype, epochs=6)
    opened = open_student(base, settings, seed=0, device=device)
    folder.mkdir()
    train_student(opened.model, examples(), settings, signal=None, seed=0, folder=folder)
    losses = [float(str(row["loss"])) for row in metrics(folder)]
    assert losses[-1] < 0.9 * losses[0]
    return opened


@torch.no_grad()
def logits(model: Any, device: torch.device) -> torch.Tensor:
    return model(input_ids=collate(examples()[:1]).input_ids.to(device)).logits.float()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 5e-2)])
def test_adapters_learn_and_merge(dtype: str, tolerance: float, device: torch.device, tmp_path: Path) -> None:
    base = ModelConfig(model=str(save_tiny(tmp_path / "base", hidden=64)))
    opened = trained(base, LoRA(rank=4), dtype, device, tmp_path / "run")
    assert {parameter.device for parameter in opened.model.parameters()} == {device}
    expected = logits(opened.model, device)
    adapted: Any = opened.adapted
    save_adapter(adapted, base, tmp_path / "kept")
    kept = load_model(ModelConfig(model=str(tmp_path / "kept")), dtype=opened.model.dtype, device=device)
    merged = adapted.merge_and_unload()
    for model in (kept, merged):
        assert (logits(model, device) - expected).norm() <= tolerance * expected.norm()


def test_adapters_learn_beside_four_bit_weights(device: torch.device, tmp_path: Path) -> None:
    lora = LoRA(rank=4, quantize="4bit")
    try:
        check_adapter(lora, ModelConfig(model="builtin:nano-student"))
    except ModelError as error:
        pytest.skip(str(error))
    base = ModelConfig(model=str(save_tiny(tmp_path / "base", hidden=64)))
    opened = trained(base, lora, "bfloat16", device, tmp_path / "run")
    assert all("lora_" in name for name, p in opened.model.named_parameters() if p.requires_grad)
