"""Models whose outputs depend on what lies beside a text: on every processor, not only where it rounds so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cotdistill.models.load import loading


def depends_on_its_batch(model: PreTrainedModel) -> PreTrainedModel:
    """The model with its embeddings moved by an amount that follows from all token ids that it reads at once."""

    def move(module: nn.Module, read: tuple[Any, ...], embedded: Tensor) -> Tensor:
        return embedded + 0.05 * torch.sin(read[0].float().sum())

    model.get_input_embeddings().register_forward_hook(move)
    return model


@pytest.fixture
def batch_dependent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model that is loaded in this test depends on its batch."""
    load = loading.load_model

    def load_dependent(*arguments: Any, **settings: Any) -> PreTrainedModel:
        return depends_on_its_batch(load(*arguments, **settings))

    for module in (
        "cotdistill.models.load.loading",
        "cotdistill.training.signals.capture",
        "cotdistill.evaluation.diagnosis.effect",
        "cotdistill.engines.transformers_engine",
    ):
        monkeypatch.setattr(f"{module}.load_model", load_dependent)
