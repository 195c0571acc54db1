"""The recipe's server of a model that thinks, as teachers see it."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from cotdistill.annotation import annotate
from cotdistill.config import AnnotationConfig, OpenAITeacher, ProceduralTask, load_experiment
from cotdistill.tasks import load_task

pytest.importorskip("openai")

RECIPE = Path(__file__).parents[2] / "recipes" / "reasoning-traces"


def recipes_server() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recipe_server", RECIPE / "server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_recipes_server_thinks_and_what_it_does_not_finish_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    module = recipes_server()
    questions = load_task(ProceduralTask(num_train=60, num_test=1)).train
    server = module.serve(60, port=0)
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        teacher = OpenAITeacher(model="thinker", base_url=url, max_failed_share=0.3)
        made = annotate(questions, teacher, AnnotationConfig(keep="agree", decontaminate="off"), runs=tmp_path)
    finally:
        server.shutdown()
        server.server_close()
    kinds = Counter(int(module.sha256(q.id.encode()).hexdigest(), 16) % 20 for q in questions)
    assert len(made) == len(questions) - kinds[0] - kinds[1]
    assert sum(made.dropped.values()) == kinds[0] + kinds[1] > 0
    assert all((one.reasoning or "").startswith("Let me see.\n") and one.rationale in one.reasoning for one in made)
    assert made.tokens[1] > 0


def test_the_recipes_experiment_asks_for_the_questions_that_its_server_knows() -> None:
    experiment = load_experiment(RECIPE / "nano.yaml")
    assert recipes_server().num_train() == experiment.settings["task"]["num_train"]
    assert experiment.settings["teacher"]["base_url"].endswith(":8765/v1")
