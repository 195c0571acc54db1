"""Tests that are worth running on a GPU: kernels, rounding and the order of sums differ there.

``pytest -m gpu`` runs them on the device that the library picks. On a machine without CUDA that is the CPU, and what
cannot run there is skipped with its reason.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cotdistill.models.load.loading import pick_device


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def device() -> torch.device:
    return pick_device()
