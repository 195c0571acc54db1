"""Selection: a level a question, by difficulty, by hash or by what the student makes of each; and budgets of words."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.tiny import save_tiny

from cotdistill.annotation import annotate, scoring
from cotdistill.annotation.scoring import difficulties, rank_surprisal_ratio, rationale_scores
from cotdistill.annotation.select import at_draw, num_learnt_words
from cotdistill.config import (
    AnnotationConfig,
    AnswerOnlyTeacher,
    ModelConfig,
    OpenAITeacher,
    ProceduralTask,
    ProceduralTeacher,
    Sampling,
)
from cotdistill.errors import ConfigError
from cotdistill.records import Rationale
from cotdistill.tasks import load_task

QUESTIONS = load_task(ProceduralTask(num_train=40, num_test=10, difficulty=1)).train


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return ModelConfig(model=str(save_tiny(tmp_path_factory.mktemp("student"))))


def made(
    runs: Path, student: ModelConfig | None = None, num_questions: int = 40, **settings: Any
) -> tuple[Rationale, ...]:
    config = AnnotationConfig.model_validate(settings)
    return annotate(QUESTIONS[:num_questions], ProceduralTeacher(), config, runs=runs, student=student).records


def test_hard_questions_get_the_fine_levels(tmp_path: Path, student: ModelConfig) -> None:
    selection = {"kind": "hybrid", "levels": [1, 3, 6], "shares": [2, 1, 1]}
    records = made(tmp_path, student, selection=selection)
    assert [record.id for record in records] == [question.id for question in QUESTIONS]
    assert Counter(record.granularity for record in records) == {1: 20, 3: 10, 6: 10}
    measured = dict(zip((q.id for q in QUESTIONS), difficulties(QUESTIONS, student, tmp_path), strict=True))
    hardest = {level: max(measured[r.id] for r in records if r.granularity == level) for level in (1, 3, 6)}
    easiest = {level: min(measured[r.id] for r in records if r.granularity == level) for level in (1, 3, 6)}
    assert hardest[1] <= easiest[3] <= hardest[3] <= easiest[6]
    plain = {record.id: record for record in made(tmp_path, granularity=6)}
    assert all(plain[r.id].rationale == r.rationale for r in records if r.granularity == 6)


def test_a_mix_has_its_shares_and_stays_when_questions_are_added(tmp_path: Path) -> None:
    records = made(tmp_path, selection={"kind": "mix", "shares": {1: 3, 5: 1}, "seed": 1})
    assert Counter(record.granularity for record in records) == {1: 30, 5: 10}
    other = made(tmp_path, selection={"kind": "mix", "shares": {1: 3, 5: 1}, "seed": 2})
    assert {r.id for r in records if r.granularity == 5} != {r.id for r in other if r.granularity == 5}


def test_draws_of_a_selection_and_of_a_teacher_have_seeds_of_their_own() -> None:
    asked = OpenAITeacher(model="m", sampling=Sampling(temperature=1.0, seed=5), max_draws=3)
    first = [at_draw(asked, draw) for draw in range(4)]
    seeds = [one.sampling.seed + own for one in first for own in range(one.max_draws)]
    assert seeds == list(range(5, 5 + 4 * 3))


def test_a_budget_leaves_a_mix_its_levels(tmp_path: Path) -> None:
    records = made(tmp_path, selection={"kind": "mix", "shares": {1: 1, 2: 1}}, max_total_words=200)
    assert 10 < len(records) < 30
    assert min(Counter(record.granularity for record in records)[level] for level in (1, 2)) > len(records) / 4


def test_the_lowest_rank_surprisal_ratio_is_chosen(tmp_path: Path, student: ModelConfig) -> None:
    levels = (1, 2, 4)
    records = made(tmp_path, student, 20, selection={"kind": "rank_surprisal", "levels": levels})
    assert len({record.granularity for record in records}) > 1
    ratios: dict[str, dict[int, float]] = {}
    for level in levels:
        candidates = made(tmp_path, None, 20, granularity=level)
        for one, score in zip(candidates, rationale_scores(candidates, student, tmp_path), strict=True):
            ratios.setdefault(one.id, {})[level] = rank_surprisal_ratio(score)
    for record in records:
        assert record.granularity is not None
        assert record.meta["rank_surprisal"] == pytest.approx(min(ratios[record.id].values()), abs=1e-3)
        assert record.meta["rank_surprisal"] == pytest.approx(ratios[record.id][record.granularity], abs=1e-3)
    kept = made(tmp_path, student, 20, selection={"kind": "rank_surprisal", "levels": levels, "keep_share": 0.25})
    assert [r.id for r in kept] == [r.id for r in records if r.id in {k.id for k in kept}]
    assert sorted(r.meta["rank_surprisal"] for r in kept) == sorted(r.meta["rank_surprisal"] for r in records)[:5]


def test_a_budget_of_words_is_kept_and_smaller_ones_are_within_larger_ones(tmp_path: Path) -> None:
    small, large = (made(tmp_path, granularity=4, max_total_words=budget) for budget in (500, 1500))
    assert 400 < sum(map(num_learnt_words, small)) <= 500
    assert 1400 < sum(map(num_learnt_words, large)) <= 1500
    assert {record.id for record in small} < {record.id for record in large}
    coarse = made(tmp_path, granularity=1, max_total_words=500)
    assert len(coarse) > len(small)
    result = annotate(QUESTIONS, ProceduralTeacher(), AnnotationConfig(max_total_words=500), runs=tmp_path)
    assert result.dropped == {"over_budget": 40 - len(result)}


def test_only_a_selection_that_asks_the_student_depends_on_it(tmp_path: Path, student: ModelConfig) -> None:
    other = ModelConfig(model=str(save_tiny(tmp_path / "other", seed=1)))

    def path(selection: dict[str, Any] | None, asked: ModelConfig | None) -> Path | None:
        config = AnnotationConfig.model_validate({"selection": selection})
        return annotate(QUESTIONS, ProceduralTeacher(), config, runs=tmp_path / "runs", student=asked).path

    mix, hybrid = {"kind": "mix", "shares": {1: 1, 2: 1}}, {"kind": "hybrid"}
    assert path(None, student) == path(None, other)
    assert path(mix, student) == path(mix, other)
    assert path(hybrid, student) != path(hybrid, other)
    assert path(hybrid | {"student": student.model}, other) == path(hybrid, student)
    with pytest.raises(ConfigError, match=r"selection hybrid needs a student"):
        path(hybrid, None)


def test_draws_of_a_teacher_that_has_one_rationale_are_refused(tmp_path: Path, student: ModelConfig) -> None:
    with pytest.raises(ConfigError, match=r"the teacher procedural gives the same rationale at every draw"):
        made(tmp_path, student, selection={"kind": "rank_surprisal", "num_draws": 2})


@pytest.mark.usefixtures("batch_dependent")
def test_a_scoring_that_was_killed_goes_on_to_the_same_scores(
    tmp_path: Path, student: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_MAX_BATCH_TOKENS", 512)
    whole = difficulties(QUESTIONS, student, tmp_path / "whole")
    (stage,) = (tmp_path / "whole" / "scoring").iterdir()
    lines = (stage / "scores.jsonl").read_text("utf-8").splitlines(keepends=True)
    for number in (0, 7, 18, len(lines) - 1):
        killed = tmp_path / str(number) / "scoring" / stage.name
        killed.mkdir(parents=True)
        (killed / "scores.jsonl").write_text("".join(lines[:number]) + lines[number][:5], encoding="utf-8")
        assert difficulties(QUESTIONS, student, tmp_path / str(number)) == whole
        assert (killed / "scores.jsonl").read_text("utf-8") == (stage / "scores.jsonl").read_text("utf-8")
        assert json.loads((killed / "summary.json").read_text("utf-8"))["texts"] == len(QUESTIONS)


def test_answers_alone_can_be_cut_to_a_budget(tmp_path: Path) -> None:
    config = AnnotationConfig(max_total_words=40)
    records = annotate(QUESTIONS, AnswerOnlyTeacher(), config, runs=tmp_path).records
    assert 8 <= len(records) <= 10  # "The answer is 7." is four words, and an answer may be several
