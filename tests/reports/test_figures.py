"""Figures place what the evidence says where it belongs, and no name covers another."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.text import Text
from scipy.stats import ttest_1samp
from tests.reports import material

from cotdistill.evaluation.diagnosis.flips import Flip
from cotdistill.evaluation.statistics.comparisons import pooled, score, tokens_interval
from cotdistill.records import Prediction
from cotdistill.reports import Evidence
from cotdistill.reports.effect import effect_groups, effect_table, write_effect
from cotdistill.reports.evidence import Arm, Cell
from cotdistill.reports.facts import mean_output_tokens
from cotdistill.reports.figures.canvas import without_shared_words
from cotdistill.reports.figures.cost import draw_cost, draw_tokens
from cotdistill.reports.figures.effect import draw_effect
from cotdistill.reports.figures.flips import draw_compared_flips, draw_flips
from cotdistill.reports.figures.seeds import draw_power

EFFECTS = [
    {"id": "a", "correct": True, "effects": {"own": 2.0, "teacher": 3.0}, "attention": {"own": 0.5, "teacher": 0.25}},
    {"id": "b", "correct": True, "effects": {"own": 1.0}, "attention": {"own": None}},
    {"id": "c", "correct": False, "effects": {"own": -4.0, "teacher": 1.0}, "attention": {"own": 0.1, "teacher": 0.35}},
]


def crowded() -> Evidence:
    """Fourteen arms, many of which cost and score nearly the same."""
    asked = material.questions(100)
    arms = {}
    for number in range(14):
        name = f"small student teacher number {number}"
        arms[name] = replace(
            material.arm(asked, 0.5 + 0.02 * (number % 3), base="none"), extras={"training_tokens": 1000 + number % 4}
        )
    return Evidence("crowded", "", arms)


def test_names_beside_the_cost_figure_stand_apart_in_the_order_of_accuracy():
    figure = draw_cost(crowded()).figure
    figure.canvas.draw()
    names = figure.axes[0].texts
    assert sorted(text.get_text() for text in names) == sorted(map(str, range(14)))
    boxes = [Text.get_window_extent(text) for text in names]  # without the line to the point
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    points = {text.get_text(): text.xy[1] for text in names}
    upwards = sorted(names, key=lambda text: Text.get_window_extent(text).y0)
    assert [points[text.get_text()] for text in upwards] == sorted(points.values())
    assert all(box.x0 >= figure.axes[0].get_window_extent().x1 for box in boxes)
    assert all(figure.bbox.x1 >= box.x1 for box in boxes)


def test_names_lose_the_words_that_all_begin_with_but_never_all_words():
    assert without_shared_words(["nano cot level=1", "nano cot level=2"]) == ["level=1", "level=2"]
    assert without_shared_words(["nano", "nano cot"]) == ["nano", "cot"]
    assert without_shared_words(["alone"]) == ["alone"]
    assert without_shared_words([" ", "a"]) == ["", "a"]


def bars(figure) -> Counter:
    """The lengths of the bars by side and row."""
    found = Counter()
    for bar in figure.axes[0].patches:
        if bar.get_width():
            found[bar.get_width() > 0, round(bar.get_y() + bar.get_height() / 2)] += abs(bar.get_width())
    return found


def test_flips_of_the_first_comparison_are_those_that_it_counts():
    evidence = material.study(60, seeds=(0, 1))
    a, b = (evidence.arms[name] for name in ("large level 3", "large answers"))
    pairs = [(one.predictions, other.predictions) for one, other in zip(a.cells, b.cells, strict=True)]
    compared = pooled(pairs, names=("large level 3", "large answers"))
    drawn = bars(draw_compared_flips(evidence).figure)
    assert sum(length for (gained, _), length in drawn.items() if gained) == compared.gained
    assert sum(length for (gained, _), length in drawn.items() if not gained) == compared.lost


def test_power_over_seeds_is_drawn_where_several_seeds_tell():
    evidence = material.study(60, seeds=(0, 1, 2))
    assert draw_power(evidence) is None, "its comparisons are of one seed"
    a, b = (evidence.arms[name] for name in ("large level 3", "large answers"))
    pairs = [(one.predictions, other.predictions) for one, other in zip(a.cells, b.cells, strict=True)]
    drawing = draw_power(replace(evidence, comparisons=[pooled(pairs, names=("large level 3", "large answers"))]))
    assert drawing is not None
    lines = drawing.figure.axes[0].get_lines()[2:]
    assert [line.get_label() for line in lines] == ["3 points", "5 points", "7 points"]
    for line in lines:
        powers = np.asarray(line.get_ydata()).tolist()
        assert powers == sorted(powers), "more seeds find more"
    assert "3 seeds" in drawing.caption


def test_an_untrained_arm_is_held_against_every_seed():
    evidence = material.study(60, seeds=(0, 1))
    arms = {name: evidence.arms[name] for name in ("large level 6", "large base")}
    pairs = [(cell.predictions, arms["large base"].cells[0].predictions) for cell in arms["large level 6"].cells]
    compared = pooled(pairs, names=("large level 6", "large base"))
    drawn = bars(draw_compared_flips(replace(evidence, arms=arms, comparisons=[compared])).figure)
    assert sum(length for (gained, _), length in drawn.items() if gained) == compared.gained


def test_tasks_are_sorted_by_what_they_gain():
    flips = [
        Flip("1", "sums", False, "arithmetic"),
        Flip("2", "sums", False, "length"),
        Flip("3", "x/dates", True, "format"),
    ]
    figure = draw_flips(flips, "a", "b").figure
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["dates", "sums"]
    assert bars(figure) == {(True, 0): 1, (False, 1): 2}
    assert draw_flips([], "a", "b") is None


def test_effects_are_grouped_by_source_and_by_what_was_answered():
    groups = effect_groups(EFFECTS)
    assert [(group.source, group.answered, list(group.effects)) for group in groups] == [
        ("own", "all", [2.0, 1.0, -4.0]),
        ("own", "right", [2.0, 1.0]),
        ("own", "wrong", [-4.0]),
        ("teacher", "all", [3.0, 1.0]),
        ("teacher", "right", [3.0]),
        ("teacher", "wrong", [1.0]),
    ]
    assert [list(group.attention) for group in groups[:3]] == [[0.5, 0.1], [0.5], [0.1]]
    first = effect_table(groups).rows[0]
    assert first == ("its own", "3", "-0.33", "-4.00 to +2.00", "66.7 %", "30.0 %")


def test_the_effect_figure_has_every_mean_in_its_row(tmp_path):
    groups = effect_groups(EFFECTS)
    effects, attention = draw_effect(groups).figure.axes
    means = [container.lines[0].get_xydata()[0].tolist() for container in effects.containers]
    assert means == [[pytest.approx(sum(group.effects) / len(group.effects)), row] for row, group in enumerate(groups)]
    assert [container.lines[0].get_xydata()[0][0] for container in attention.containers][:1] == [pytest.approx(30.0)]
    page = write_effect(groups, tmp_path)
    assert "| its own, answered right | 2 | +1.50 |" in page.read_text("utf-8")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["effect.md", "effect.pdf", "effect.svg"]


def test_without_attention_there_is_one_panel():
    bare = [row | {"attention": {}} for row in EFFECTS]
    assert len(draw_effect(effect_groups(bare)).figure.axes) == 1


def written(number: int, right: bool, tokens: int) -> Prediction:
    return Prediction(str(number), "own", "1", "", None, "correct" if right else "wrong", 5, tokens)


def test_accuracy_over_tokens_has_both_intervals_of_each_trained_arm():
    """Three arms that write 10, 20 and 20 tokens; the base is a line, not a point."""
    cells = {
        name: [Cell(seed, [written(i, i % share == 0, tokens + i % 3) for i in range(60)]) for seed in seeds]
        for name, share, tokens, seeds in (("base", 9, 5, [0]), ("short", 2, 9, [0]), ("long", 3, 19, [0, 1]))
    }
    arms = {
        name: Arm(score(of[0].predictions), {"output_tokens": mean_output_tokens(of[0].predictions)}, cells=of)
        for name, of in cells.items()
    }
    drawing = draw_tokens(Evidence("own", "", arms))
    assert drawing is not None
    (axes,) = drawing.figure.axes
    points = [bars for bars in axes.containers if bars.has_xerr and bars.has_yerr]
    assert [round(float(bars.lines[0].get_xdata()[0])) for bars in points] == [10, 20]
    low, high = tokens_interval([cells["short"][0].predictions])
    reference = ttest_1samp([one.num_output_tokens for one in cells["short"][0].predictions], 0).confidence_interval()
    assert (low, high) == pytest.approx(tuple(reference))
    assert draw_tokens(Evidence("own", "", {"one": arms["short"]})) is None
