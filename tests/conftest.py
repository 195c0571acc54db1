"""Fixtures that every test may use."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

with contextlib.suppress(ImportError):  # not in the benchmarks' environment, where test_trl.py runs
    from hypothesis import settings

    settings.register_profile("same", derandomize=True, deadline=None, database=None)
    settings.load_profile("same")  # random input is the same in every run

os.environ.setdefault("COTDISTILL_DTYPE", "float32")  # what dtype: auto comes to must not depend on the processor

pytest_plugins = ["tests.batch_dependent"]

SHARED_DATA = Path(os.environ.get("COTDISTILL_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data; tests that use it carry the marker ``shared`` and are skipped where it is absent."""
    if not (SHARED_DATA / "MANIFEST.json").is_file():
        pytest.skip(f"no development data at {SHARED_DATA}; set COTDISTILL_DATA to the folder that holds MANIFEST.json")
    return SHARED_DATA
