"""The result of the last sweep of each family, and the page of the documentation that is made of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.models.families import FAMILIES
from tests.sweep.cells import Cell

from cotdistill.storage.atomic import write_text_atomically

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "docs" / "families.json"
PAGE = ROOT / "docs" / "families.md"

WORKING = ("qwen3_5", "qwen3_next", "lfm2", "granite_hybrid", "gemma3", "gemma3_with_eyes", "gemma4", "gpt_oss",
           "deepseek_v2", "deepseek_v3", "llama4", "mamba")  # fmt: skip
"""Families that must do all of ``NEEDED``, not be refused."""
NEEDED = ("sft", "kl", "kl_topk", "on_policy", "lora", "evaluate", "few_shot", "resume")

TITLES = {
    "sft": "SFT",
    "padded": "padded rows",
    "packed": "`packing: true`",
    "noise": "dropout",
    "checkpointing": "gradient checkpointing",
    "kl": "KL, live teacher",
    "kl_hidden": "KL, stored states",
    "kl_topk": "KL, stored top k",
    "hidden": "hidden states",
    "hidden_kl": "hidden states and KL",
    "on_policy": "on-policy",
    "lora": "LoRA",
    "keep_2": "keep 2 of 4 layers",
    "keep_3": "keep 3 of 4 layers",
    "saved": "saved folder",
    "resume": "resume",
    "evaluate": "evaluation",
    "few_shot": "few-shot",
    "batch": "batches",
    "shared_start": "shared beginnings",
    "beams": "beam search",
}

_INTRODUCTION = """# Model families

What works with which family of models, tried with tiny random ones of each: trained, captured, cut, adapted, generated
from, saved, resumed and read again, each beside a reference in plain PyTorch that reads one text at a time. A cell that
does not work is refused in one line before anything is spent; the numbers lead to the lines.

`make families` makes this page, and fails if a cell crashes, differs from the reference, or is refused where it must
work. Where a family's own training draws noise (dropout, experts drawn by lot), the column *dropout* draws the same in
both; the other columns compare without it. Where rounding alone makes the reference drift apart (chaotic recurrences,
experts that are chosen by a hair), later steps are held to thrice that drift, the first one to the limits of all.
"""


def is_fault(cell: Cell) -> bool:
    return cell.result in ("WRONG", "CRASH") or (cell.result == "refused" and must_work(cell))


def must_work(cell: Cell) -> bool:
    return cell.family in WORKING and cell.feature in NEEDED


def checkout() -> str:
    """The checkout's commit, and whether files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain") else "")


def read() -> dict[str, Any]:
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}


def write(family: str, cells: Iterable[Cell], at: str) -> None:
    """Record how all features of a family went at the commit ``at``, in the place of what was recorded before."""
    found = {cell.feature: "ok" if cell.result == "ok" else f"{cell.result}: {cell.detail}" for cell in cells}
    versions = " ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    families = read() | {family: {"date": str(date.today()), "commit": at, "versions": versions, "cells": found}}
    ordered = {name: families[name] for name in FAMILIES if name in families}
    write_text_atomically(RECORD, json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")


def write_page() -> None:
    write_text_atomically(PAGE, page(read()))


def page(families: dict[str, Any]) -> str:
    """The page, in Markdown, of what was recorded."""
    results = [result for family in families.values() for result in family["cells"].values()]
    lines = list(dict.fromkeys(_generally(result) for result in results if result != "ok"))
    numbers = {line: number for number, line in enumerate(lines, start=1)}
    rows = [
        [name, *(_mark(family["cells"].get(feature), numbers) for feature in TITLES)]
        for name, family in sorted(families.items())
    ]
    dates = sorted({family["date"] for family in families.values()})
    made = ", ".join(sorted({f"commit {family['commit']} ({family['versions']})" for family in families.values()}))
    faults = sum(not result.startswith(("ok", "refused")) for result in results)
    summary = (
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}, {made}: {len(families)} families, {len(results)} cells, "
        f"{sum(result == 'ok' for result in results)} work, "
        f"{sum(result.startswith('refused') for result in results)} are refused, {faults} faults."
    )
    notes = "\n".join(f"{number}. {line}" for line, number in numbers.items())
    return "\n".join([_INTRODUCTION, summary, "", _table(["family", *TITLES.values()], rows), "", notes, ""])


def _mark(result: str | None, numbers: dict[str, int]) -> str:
    if result is None:
        return ""
    return "✓" if result == "ok" else f"{numbers[_generally(result)]}"


def _generally(result: str) -> str:
    """A refusal without the names of classes, so that one line stands for all families that are refused alike."""
    line = result.removeprefix("refused: ")
    words = ["a model" if word.endswith("ForCausalLM") else word for word in line.split(" ")]
    return " ".join(words).replace("|", r"\|")


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    bar = ["---"] * len(titles)
    return "\n".join(f"| {' | '.join(row)} |" for row in [titles, bar, *rows])
