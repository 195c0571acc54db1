"""The sweep's page says what was recorded, and a fault cannot pass for a result."""

from __future__ import annotations

import pytest
from tests.models.families import FAMILIES
from tests.sweep import record
from tests.sweep.cells import Cell, cells, feature_names


def test_the_page_is_made_of_the_recorded_sweep():
    assert record.PAGE.read_text(encoding="utf-8") == record.page(record.read())


def test_the_recorded_sweep_is_of_every_family_and_feature_and_without_faults():
    families = {name: family["cells"] for name, family in record.read().items()}
    assert list(families) == list(FAMILIES)
    assert all(set(own) == set(feature_names()) == set(record.TITLES) for own in families.values())
    found = [
        Cell(family, feature, "ok" if result == "ok" else result.partition(":")[0], result)
        for family, own in families.items()
        for feature, result in own.items()
    ]
    assert not [cell for cell in found if record.is_fault(cell)]


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        (Cell("llama", "sft", "ok", ""), False),
        (Cell("llama", "sft", "WRONG", ""), True),
        (Cell("opt", "packed", "CRASH", ""), True),
        (Cell("bloom", "packed", "refused", ""), False),
        (Cell("mamba", "lora", "refused", ""), True),
    ],
)
def test_what_is_wrong_crashes_or_is_refused_where_it_must_work_is_a_fault(cell, fault):
    assert record.is_fault(cell) is fault


def test_a_refusal_is_shown_by_its_line_and_alike_ones_by_one():
    line = "refused: training.packing, student: {}ForCausalLM lets a text see the one before it; set it to false"
    made = {"date": "2000-01-01", "commit": "abc", "versions": "torch 2"}
    families = {name: made | {"cells": {"sft": "ok", "packed": line.format(name)}} for name in ("Jamba", "Bamba")}
    shown = record.page(families)
    assert shown.count("lets a text see the one before it") == 1
    assert "2000-01-01, commit abc (torch 2): 2 families, 4 cells, 2 work, 2 are refused, 0 faults" in shown


def test_the_sweep_finds_a_training_that_is_not_the_references(monkeypatch):
    from cotdistill.training import step

    found = {cell.feature: cell.result for cell in cells("llama", ["sft", "packed"])}
    assert found == {"sft": "ok", "packed": "ok"}
    own = step.last_hidden_states
    monkeypatch.setattr(step, "last_hidden_states", lambda *inputs, **others: own(*inputs, **others) * 1.01)
    assert [cell.result for cell in cells("llama", ["sft"])] == ["WRONG"]
