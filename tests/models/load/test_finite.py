"""Weights and logits that are no numbers are an error everywhere, never an accuracy of 0 % or a success."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.command import run_command
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer

from cotdistill.config import ModelConfig
from cotdistill.errors import ModelError
from cotdistill.models.forward.scoring import ScoredText, score_texts
from cotdistill.models.load.loading import load_model

FILE = """
task: {train: own.jsonl, test_share: 0.5}
teacher: human
student: STUDENT
training: {epochs: 1, dtype: float32, loss: [{kind: forward_kl}], signal: {kind: cache, model: TEACHER, store: STORE}}
evaluation: {max_new_tokens: 8, dtype: float32}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    rows = [
        {"id": n, "question": f"What is {n} + 1?", "answer": n + 1, "rationale": f"{n} + 1 = {n + 1}."}
        for n in range(12)
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name, weight in (("sound", ""), ("body", "model.layers.1.mlp.up_proj.weight"), ("head", "lm_head.weight")):
        folder = save_tiny(tmp_path / name)
        weights = load_file(folder / "model.safetensors")
        if weight:
            weights[weight][3, 5] = float("nan") if name == "body" else float("inf")
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return tmp_path


def refused(lab: Path, command: str, student: str, teacher: str, store: str = "hidden") -> str:
    text = FILE.replace("STUDENT", f"./{student}").replace("TEACHER", f"./{teacher}").replace("STORE", store)
    (lab / "e.yaml").write_text(text, encoding="utf-8")
    outcome = run_command(lab, command, "e.yaml")
    assert outcome.status == (1 if command == "run" else 2), outcome
    assert "Traceback" not in outcome.err
    return outcome.out + outcome.err


@pytest.mark.parametrize("broken", ["body", "head"])
def test_a_model_with_weights_that_are_no_numbers_is_not_used(lab: Path, broken: str) -> None:
    weight = {"body": "model.layers.1.mlp.up_proj.weight", "head": "lm_head.weight"}[broken]
    with pytest.raises(ModelError, match=f"its weight {weight} is not finite; get the model again"):
        load_model(ModelConfig(model=str(lab / broken)), dtype=torch.float32, device="cpu")
    assert f"its weight {weight} is not finite" in refused(lab, "evaluate", broken, "sound")
    for store in ("hidden", "topk, k: 3"):
        assert f"its weight {weight} is not finite" in refused(lab, "capture", "sound", broken, store)
    assert f"its weight {weight} is not finite" in refused(lab, "run", broken, "sound")


def test_logits_that_are_no_numbers_are_not_scored() -> None:
    model, tokenizer = tiny_model(400), tiny_tokenizer()
    text = ScoredText("How many?", "The answer is ", "7.")

    def scored() -> list[Any]:
        return list(score_texts(model, tokenizer, [text], max_batch_tokens=64, max_rank=9))

    assert scored()
    with torch.no_grad():
        model.lm_head.weight[0] = float("nan")
    with pytest.raises(ModelError, match="its logits are not finite numbers"):
        scored()
