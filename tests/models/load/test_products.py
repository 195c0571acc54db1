"""What ``dtype: auto`` comes to: by what the processor has and how fast it is, or by the environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cotdistill.errors import ConfigError
from cotdistill.models.load import products
from cotdistill.models.load.loading import resolve_dtype
from cotdistill.models.load.products import FILE, VARIABLE, choose, known

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("COTDISTILL_CACHE", str(tmp_path / "cache"))


def has(monkeypatch: pytest.MonkeyPatch, *abilities: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(abilities, True) | {"avx2": True})


def test_a_processor_without_bfloat16_products_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, "avx512_f")
    assert choose(CPU).dtype == "float32"
    assert resolve_dtype("auto", CPU) == torch.float32


@pytest.mark.parametrize("ability", ["avx512_bf16", "amx_bf16"])
def test_one_with_them_is_measured_once(monkeypatch: pytest.MonkeyPatch, ability: str, tmp_path: Path) -> None:
    has(monkeypatch, ability)
    first = choose(CPU)
    assert "measured" in first.reason
    assert known() == first or Path("/dev/nvidia0").exists()
    monkeypatch.setattr(products, "_measured", lambda: pytest.fail("measured again"))
    assert choose(CPU) == first
    (kept,) = json.loads((tmp_path / "cache" / FILE).read_text()).values()
    assert kept["dtype"] == first.dtype


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"": 3}'])
def test_what_cannot_be_read_is_measured_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str) -> None:
    has(monkeypatch, "avx512_bf16")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FILE).write_text(content)
    assert choose(CPU).dtype in ("float32", "bfloat16")


def test_another_machine_is_measured_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, "avx512_bf16")
    found: list[Any] = []
    for machine in ("here", "there"):
        monkeypatch.setattr(products, "_machine", lambda machine=machine: machine)
        monkeypatch.setattr(products, "_measured", lambda machine=machine: products.Choice("bfloat16", machine))
        found.append(choose(CPU))
    assert [choice.reason for choice in found] == ["here", "there"]
    assert choose(CPU) == found[1]


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "bfloat16")
    assert resolve_dtype("auto", CPU) == torch.bfloat16
    assert resolve_dtype("float32", CPU) == torch.float32
    monkeypatch.setenv(VARIABLE, "float16")
    with pytest.raises(ConfigError, match="COTDISTILL_DTYPE is 'float16'"):
        choose(CPU)
