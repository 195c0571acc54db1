"""Verdicts on claims, from experiments as they lie on disk. The outcomes are set item by item; nothing is trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import yaml

from cotdistill.config import load_experiment
from cotdistill.config.claims import load_claims
from cotdistill.errors import ConfigError
from cotdistill.evaluation.statistics.comparisons import OVER_SEEDS, beyond_ratio, compare, margin_p_value
from cotdistill.evaluation.stored import write_predictions
from cotdistill.experiments.claims import ClaimResult, check_claims
from cotdistill.experiments.plan import Cell, plan
from cotdistill.experiments.result import cell_path
from cotdistill.records import Prediction
from cotdistill.storage.atomic import write_json_atomically
from cotdistill.storage.stages import open_stage

FILE = """
name: fine
task: {kind: procedural, num_train: 8, num_test: 60}
teacher: procedural
arms: {answers: {teacher: answer_only}, levels: {}}
grid:
  student: {weak: "builtin:nano-student", strong: "builtin:nano-teacher"}
  annotation.granularity: {of: levels, values: [1, 2, 3]}
  seed: [0, 1]
"""
RECIPES = Path(__file__).parents[2] / "recipes"
LEVEL = "annotation.granularity"
FINE, COARSE = ({LEVEL: 3}, {LEVEL: 1})


def predictions(num_correct: int, num_items: int = 60) -> list[Prediction]:
    """The first ``num_correct`` items right; the even items are of task one, the odd ones of task two."""
    return [
        Prediction(f"i{i}", ("one", "two")[i % 2], "1", "", "1", "correct" if i < num_correct else "wrong", 1, 1)
        for i in range(num_items)
    ]


def record(folder: Path, num_correct: Callable[[Cell], int | None], text: str = FILE) -> None:
    """The experiment below ``folder`` with so many right answers in each cell; a cell of None is not run."""
    (folder / "fine.yaml").write_text(text, encoding="utf-8")
    for cell in plan(load_experiment(folder / "fine.yaml")).cells:
        right = num_correct(cell)
        if right is None:
            continue
        with open_stage(folder / "runs", "evaluation", {"cell": cell.id}) as stage:
            write_predictions(stage.path, predictions(right))
            stage.finish({}, seeds={}, dropped={})
        stages = {"evaluation": os.path.relpath(stage.path, folder / "runs")}
        state = {"status": "done", "error": None, "stages": stages, "seconds": 1.0}
        write_json_atomically(cell_path(cell, folder / "runs" / "fine"), state)


def by_level(*right: int, base: int = 10, answers: int = 15) -> Callable[[Cell], int | None]:
    levels = dict(zip((1, 2, 3), right, strict=True))
    return lambda cell: base if cell.config.training is None else levels.get(cell.factors.get(LEVEL, 0), answers)


def declare(folder: Path, *tests: dict | None, experiment: str = "fine.yaml") -> Path:
    claims = [
        {"id": f"c{place}", "paper": "P", "source": "second-hand", "text": "So it is."}
        | ({"experiment": experiment, "test": test} if test else {"untested": "too hard"})
        for place, test in enumerate(tests)
    ]
    file = folder / "claims.yaml"
    file.write_text(yaml.safe_dump({"claims": claims}), encoding="utf-8")
    return file


def check(folder: Path, *tests: dict | None) -> tuple[ClaimResult, ...]:
    return check_claims(load_claims(declare(folder, *tests)), folder / "runs").claims


def difference(a: object, b: object, **more: object) -> dict:
    return {"kind": "difference", "a": a, "b": b, **more}


def test_a_difference_is_supported_its_opposite_contradicted_and_none_is_not_enough_data(tmp_path: Path) -> None:
    record(tmp_path, by_level(20, 40, 41))
    results = check(tmp_path, difference(FINE, COARSE), difference(COARSE, FINE), difference(FINE, {LEVEL: 2}), None)
    assert [each.verdict for each in results] == ["supported", "contradicted", "not enough data", "not enough data"]
    found = results[0].parts[0][0]
    alone = compare(predictions(41), predictions(20))
    assert (found.difference, found.n, found.num_seeds) == (pytest.approx(21 / 60), 60, 2)
    assert found.p_value == pytest.approx(alone.p_value)  # both seeds have the same outcomes
    assert len(results[0].parts) == 2, "each student is a pair"


def test_a_claim_on_all_students_needs_all_and_falls_by_one(tmp_path: Path) -> None:
    def weak_alone_gains(cell: Cell) -> int:
        return 20 + 20 * (cell.factors.get(LEVEL) == 3 and cell.factors["student"] == "weak")

    record(tmp_path, weak_alone_gains)
    everywhere, somewhere, opposite = check(
        tmp_path,
        difference(FINE, COARSE),
        difference(FINE, COARSE, holds="somewhere"),
        difference(COARSE, FINE),
    )
    assert everywhere.verdict == "not enough data"
    assert somewhere.verdict == "supported"
    assert opposite.verdict == "contradicted"


def test_what_is_missing_counts_in_holms_family_and_supports_nothing(tmp_path: Path) -> None:
    record(tmp_path, lambda cell: None if cell.factors["student"] == "strong" else by_level(20, 25, 26)(cell))
    first = difference(FINE | {"student": "weak"}, COARSE | {"student": "weak"})
    missing = difference(FINE | {"student": "strong"}, COARSE | {"student": "strong"})
    assert check(tmp_path, first)[0].verdict == "supported"  # 6 changed of 60: p = 2/64
    shared, open_claim = check(tmp_path, first, missing)
    assert [shared.verdict, open_claim.verdict] == ["not enough data", "not enough data"]
    assert shared.parts[0][0].adjusted_p_value == pytest.approx(2 * 2 / 64)
    assert open_claim.parts[0][0].problem == "no seed for which both arms are done"


def test_a_claim_can_be_on_tasks_apart(tmp_path: Path) -> None:
    record(tmp_path, by_level(20, 40, 41))
    on_both, on_unknown = check(
        tmp_path, difference(FINE, COARSE, tasks=["one", "two"]), difference(FINE, COARSE, tasks=["three"])
    )
    assert on_both.verdict == "supported"
    assert [part[0].n for part in on_both.parts] == [30] * 4
    assert on_unknown.verdict == "not enough data"
    assert "no predictions" in (on_unknown.parts[0][0].problem or "")


@pytest.mark.parametrize(
    ("right", "verdict"),
    [
        ((20, 50, 30), "supported"),
        ((20, 30, 50), "contradicted"),
        ((50, 30, 20), "contradicted"),
        ((20, 50, 49), "not enough data"),
        ((30, 30, 30), "not enough data"),
    ],
)
def test_a_peak_inside_beats_both_ends(tmp_path: Path, right: tuple[int, int, int], verdict: str) -> None:
    record(tmp_path, by_level(*right))
    (found,) = check(tmp_path, {"kind": "peak_inside", "axis": LEVEL, "order": [1, 2, 3]})
    assert found.verdict == verdict


def test_a_peak_is_of_arms_that_differ_in_nothing_else(tmp_path: Path) -> None:
    """An arm of fewer questions is beside level 1 of the grid, not in its place."""
    fewer = "fewer: {annotation.granularity: 1, task.num_train: 4}"
    levels = by_level(20, 50, 30)
    text = FILE.replace("levels: {}}", f"levels: {{}}, {fewer}}}")
    record(tmp_path, lambda cell: 55 if cell.factors["arm"] == "fewer" else levels(cell), text)
    (found,) = check(tmp_path, {"kind": "peak_inside", "axis": LEVEL, "order": [1, 2, 3]})
    assert found.verdict == "supported"
    assert [len(part) for part in found.parts] == [2, 2], "each student has its levels"


def equivalence(points: float, level: int) -> dict:
    return {"kind": "equivalence", "a": {LEVEL: level}, "b": COARSE, "margin_points": points}


def test_equivalence_needs_a_difference_that_is_shown_to_be_within_the_margin(tmp_path: Path) -> None:
    record(tmp_path, by_level(30, 31, 50))
    results = check(tmp_path, equivalence(20, 2), equivalence(2, 2), equivalence(8, 3), equivalence(60, 3))
    assert [each.verdict for each in results] == ["supported", "not enough data", "contradicted", "supported"]


def ratio(a: dict, b: dict, **bound: object) -> dict:
    return {"kind": "ratio", "a": a, "b": b, **bound}


def test_a_ratio_is_supported_only_where_it_is_shown_to_be_on_its_side_of_the_bound(tmp_path: Path) -> None:
    record(tmp_path, by_level(30, 31, 50))
    claims = [
        ratio(FINE, COARSE, at_least=0.91),
        ratio(COARSE, FINE, at_least=0.91),
        ratio({LEVEL: 2}, COARSE, at_least=0.99),
        ratio(COARSE, FINE, at_most=0.91),
        ratio(FINE, COARSE, of="output_tokens", at_most=0.43),
        ratio(FINE, COARSE, of="output_tokens", at_most=1.5),
    ]
    results = check(tmp_path, *claims)
    expected = ["supported", "contradicted", "not enough data", "supported", "contradicted", "supported"]
    assert [each.verdict for each in results] == expected
    assert "tokens of outputs of" in str(results[4].parts[0][0])
    assert "-0.6 tokens" in str(results[4].parts[0][0])


def test_with_one_seed_a_ratio_is_a_t_test_over_items() -> None:
    from scipy.stats import ttest_1samp

    random = Random(3)
    a, b = (predictions(sum(random.random() < chance for _ in range(80)), 80) for chance in (0.6, 0.7))
    found = beyond_ratio([(a, b)], 0.9, names=("a", "b"))
    differences = [one.correct - 0.9 * other.correct for one, other in zip(a, b, strict=True)]
    reference = ttest_1samp(differences, 0.0)
    assert found.p_value == pytest.approx(reference.pvalue)
    assert found.interval == pytest.approx(tuple(reference.confidence_interval()))


@pytest.mark.parametrize("bounds", [{}, {"at_least": 0.5, "at_most": 0.9}, {"at_least": 0}])
def test_a_ratio_needs_one_bound(tmp_path: Path, bounds: dict) -> None:
    with pytest.raises(ConfigError):
        check(tmp_path, ratio(FINE, COARSE, **bounds))


def test_equivalence_is_in_holms_family_like_any_other_comparison(tmp_path: Path) -> None:
    record(tmp_path, by_level(30, 31, 50))
    assert check(tmp_path, equivalence(8.5, 2))[0].verdict == "supported"
    first, second, _ = check(tmp_path, equivalence(8.5, 2), difference(FINE, {LEVEL: 2}), equivalence(8.5, 2))
    assert first.verdict == "not enough data"
    assert second.verdict == "supported"
    one, other = (part[0] for part in first.parts)
    assert one.p_value == other.p_value
    assert one.adjusted_p_value == pytest.approx(4 * (one.p_value or 0)), "behind the two differences"


def test_arms_that_never_differ_on_few_items_are_not_shown_to_be_equal(tmp_path: Path) -> None:
    from scipy.stats import t as student

    record(tmp_path, by_level(30, 30, 50))
    few, wide = check(tmp_path, equivalence(2, 2), equivalence(10, 2))
    assert (few.verdict, wide.verdict) == ("not enough data", "supported")
    assert few.parts[0][0].p_value == pytest.approx(2 * student.sf(0.02 / (2 / 61 / 62) ** 0.5, 61))


def test_at_the_margin_one_claim_in_twenty_is_decided() -> None:
    """20 points apart in truth: within or beyond them is said of 5 % of samples at most, and of most with others."""
    base = predictions(0, 200)
    random = Random(0)
    samples = [predictions(sum(random.random() < 0.2 for _ in base), 200) for _ in range(300)]

    def share_decided(margin: float) -> float:
        return sum(margin_p_value([(one, base)], margin, names=("a", "b")) < 0.05 for one in samples) / len(samples)

    assert share_decided(0.2) < 0.09  # 5 %, and three standard errors
    assert min(share_decided(0.08), share_decided(0.32)) > 0.9


def test_a_trend_is_the_growth_of_the_gain_in_the_declared_order(tmp_path: Path) -> None:
    record(
        tmp_path,
        lambda cell: 50 if cell.config.training is not None and cell.factors["student"] == "strong" else 20,
    )

    def growing(order: list[str], level: int = 3) -> dict:
        return {"kind": "trend", "order": order, "a": {LEVEL: level}, "b": "base"}

    results = check(tmp_path, growing(["weak", "strong"]), growing(["strong", "weak"]))
    assert [each.verdict for each in results] == ["supported", "contradicted"]
    assert [each.parts[0][0].difference for each in results] == [pytest.approx(0.5), pytest.approx(-0.5)]
    with pytest.raises(
        ConfigError, match=r"claim c0: needs exactly one pair of arms for each of weak, strong on student"
    ):
        check(tmp_path, growing(["weak", "strong"]) | {"b": "levels"})


@pytest.mark.parametrize(("weak", "found"), [((1,), 0.0), ((0,), 0.5), ((0, 1), 0.25)])
def test_a_trend_is_of_the_seeds_that_all_its_arms_have(tmp_path: Path, weak: tuple[int, ...], found: float) -> None:
    """The strong student gains under seed 0 alone."""

    def right(cell: Cell) -> int | None:
        if cell.config.training is None or cell.factors["student"] == "weak":
            return 20 if cell.config.training is None or cell.seed in weak else None
        return 50 if cell.seed == 0 else 20

    record(tmp_path, right)
    test = {"kind": "trend", "order": ["weak", "strong"], "a": FINE, "b": "base"}
    finding = check(tmp_path, test)[0].parts[0][0]
    assert (finding.difference, finding.num_seeds) == (pytest.approx(found), len(weak))


def test_a_trend_without_a_seed_in_common_is_not_tested(tmp_path: Path) -> None:
    def apart(cell: Cell) -> int | None:
        return 20 if cell.config.training is None or cell.seed == (cell.factors["student"] == "weak") else None

    record(tmp_path, apart)
    (claim,) = check(tmp_path, {"kind": "trend", "order": ["weak", "strong"], "a": FINE, "b": "base"})
    assert claim.parts[0][0].problem == "no seed for which all arms are done"
    assert claim.verdict == "not enough data"


THREE = FILE.replace("{weak:", '{weakest: "builtin:smollm2-135m", weak:')


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((0, 15, 30), "supported"),
        ((0, 36, 5), "contradicted"),
        ((5, 36, 0), "contradicted"),
        ((0, 0, 30), "not enough data"),
        ((0, 30, 30), "not enough data"),
        ((30, 15, 0), "contradicted"),
    ],
)
def test_a_trend_of_three_holds_at_every_step(tmp_path: Path, gains: tuple[int, ...], verdict: str) -> None:
    """What grows from the first level to the last need not grow in between."""
    order = ["weakest", "weak", "strong"]

    def right(cell: Cell) -> int:
        return 20 + (gains[order.index(cell.factors["student"])] if cell.config.training is not None else 0)

    record(tmp_path, right, THREE)
    (found,) = check(tmp_path, {"kind": "trend", "order": order, "a": FINE, "b": "base"})
    assert found.verdict == verdict
    steps = [finding.difference for finding in found.parts[0]]
    assert steps == pytest.approx([(gains[1] - gains[0]) / 60, (gains[2] - gains[1]) / 60])
    assert found.parts[0][0].label.endswith("from weakest to weak on student")


def test_what_seeds_do_not_agree_on_is_not_supported(tmp_path: Path) -> None:
    """Over the same two students the exact test finds it; other seeds may do anything."""
    record(tmp_path, lambda cell: {0: 55, 1: 25}[cell.seed] if cell.factors.get(LEVEL) == 3 else 20)
    found = check(tmp_path, difference(FINE, COARSE))[0]
    assert found.verdict == "not enough data"
    assert found.parts[0][0].method == OVER_SEEDS
    assert str(found.parts[0][0]).endswith("60 questions, 2 seeds")


@pytest.mark.parametrize(
    ("test", "experiment", "message"),
    [
        (difference({"annotation.granularty": 3}, COARSE), "fine.yaml", "did you mean 'annotation.granularity'"),
        (difference({LEVEL: 7}, COARSE), "fine.yaml", "no arm has '7' for annotation.granularity"),
        (difference(FINE, COARSE), "gone.yaml", "gone.yaml: no such file"),
        ({"kind": "diference"}, "fine.yaml", "did you mean 'difference'"),
    ],
)
def test_errors_are_one_line_that_names_the_claim_or_its_place(
    tmp_path: Path, test: dict, experiment: str, message: str
) -> None:
    record(tmp_path, lambda cell: None)
    file = declare(tmp_path, test, experiment=experiment)
    with pytest.raises(ConfigError) as caught:
        check_claims(load_claims(file), tmp_path / "runs", where=str(file))
    line = str(caught.value)
    assert "\n" not in line
    assert message in line
    assert "claim c0" in line or "claims.0" in line


def test_a_claim_has_a_test_or_a_reason_and_an_id_of_its_own(tmp_path: Path) -> None:
    file = declare(tmp_path, None, None)
    file.write_text(file.read_text("utf-8").replace("c1", "c0"), encoding="utf-8")
    with pytest.raises(ConfigError, match="'c0' is used twice"):
        load_claims(file)
    file.write_text(file.read_text("utf-8").replace("untested: too hard", ""), encoding="utf-8")
    with pytest.raises(ConfigError, match="needs an experiment and a test"):
        load_claims(file)


def test_the_command_prints_verdicts_with_statistics_and_loads_no_torch(tmp_path: Path) -> None:
    record(tmp_path, by_level(20, 40, 41))
    declare(tmp_path, difference(FINE, COARSE), difference(FINE, {LEVEL: 2}))
    script = (
        "import sys; from cotdistill.cli import app;"
        "app(['reproduce-check', 'claims.yaml', *sys.argv[1:]], standalone_mode=False);"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    for options in ([], ["--json"]):
        done = subprocess.run([sys.executable, "-c", script, *options], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        if options:
            row = json.loads(done.stdout)
            assert [claim["verdict"] for claim in row["claims"]] == ["supported", "not enough data"]
            assert row["claims"][0]["experiment"] == "fine"
            assert row["family_size"] == 4
        else:
            assert done.stdout.splitlines()[0] == "c0: SUPPORTED. So it is."
            assert "+35.0 points" in done.stdout
            assert "1 supported, 0 contradicted, 1 not enough data" in done.stdout


@pytest.mark.parametrize(("recipe", "papers"), [("reproduce-check", {"A", "B"}), ("shortening", {"C", "D", "E"})])
def test_the_recipes_can_be_checked_before_anything_was_run(tmp_path: Path, recipe: str, papers: set[str]) -> None:
    results = check_claims(load_claims(RECIPES / recipe / "claims.yaml"), tmp_path)
    assert {each.verdict for each in results.claims} == {"not enough data"}
    assert {each.claim.paper for each in results.claims} == papers
