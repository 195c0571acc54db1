"""Equations in words: what is read, what holds, what stays undecided, and that no text is slow."""

from __future__ import annotations

import time

import pytest

from cotdistill.rationales.arithmetic import find_equations
from cotdistill.rationales.latex import readable


def verdicts(text: str) -> list[bool | None]:
    return [equation.holds for equation in find_equations(readable(text))]


@pytest.mark.parametrize(
    "text",
    [
        "50 + 24 = 74",
        "16 eggs - 3 eggs = 13 eggs left over here",
        "She pays $1,250 / 5 = $250.",
        "20% of 50 is 10",
        "100% - 20% = 80%",
        "5 / 20 * 100 = 25%",
        "50 * 20% = 10",
        "1/2 of 10 = 5",
        "1 1/2 + 1/2 = 2",
        "3 x 4 = 12",
        "(5 + 3) * 2 = 16",
        "20 (total trees) - 4 (left) = 16",
        "10 / 3 = 3.33",
        "2 ^ 10 = 1024",
        "5 times 3 is 15",
        r"\frac{1}{2} \times 10 = 5",
        "-$4 + $5 = $1",
        "- 5 + 3 = 8",
        "12 = 3 * 4",
        "0.1 + 0.2 = 0.3",
        "85 - 23 = 62.3. Then he stops",
        "10 - 12 = -2",
    ],
)
def test_true_equations_hold(text: str) -> None:
    assert verdicts(text) == [True]


@pytest.mark.parametrize(
    "text",
    [
        "50 + 24 = 76",
        "20% of 50 is 11",
        "Total = 3 * 4 = 13",
        "Step 2: 5 + 3 = 9",
        "5 plus 3 equals 9",
        "10 / 3 = 4",
        "3x4=13",
        "491 * 1181 = $579",
        "0.5 * 3 = 1.6",
        "12 = 3 * 5",
        "3 - 13 = 10",
    ],
)
def test_false_equations_do_not(text: str) -> None:
    assert verdicts(text) == [False]


def test_each_link_of_a_chain_is_checked() -> None:
    assert verdicts("5 + 3 = 8 + 2 = 10") == [True, True]  # a running sum
    assert verdicts("2 + 3 + 4 = 5 + 4 = 9") == [True, True]
    assert verdicts("5 + 3 = 8 and 3 + 2 = 6") == [True, False]
    assert verdicts("4 * 5 = 20 - 3 = 16") == [True, False]


@pytest.mark.parametrize(
    "text",
    [
        "x + 5 = 9",
        "2x + 5 = 9",
        "In 26 days = 80 * 26",
        "the rest - 5 = 3",
        "3 + 7 = 4 + x",
        "290 divided among 2 = 145",
        "half of 6 + 2 = 5",
        "10 / 3 = 3 remainder 1",
        "8 / 0 = 3",
        "2(3 + 4) = 14",
        "9 ^ 99999 = 3",
        "12:30 + 2 = 5",
        "the 3rd + 2 = 9",
        "5 apples",
        "",
    ],
)
def test_what_cannot_be_decided_is_never_false(text: str) -> None:
    assert False not in verdicts(text)


def test_hostile_texts_take_no_longer_than_others_of_their_length() -> None:
    plain = "Ann has 5 apples + 3 apples = 8 apples. " * 2_500
    started = time.perf_counter()
    find_equations(plain)
    allowed = 20 * (time.perf_counter() - started) + 1
    for text in ("1+" * 50_000 + "=2", "(" * 100_000, "= " * 50_000, "1 1/" * 25_000, "$" * 100_000, "9" * 100_000):
        started = time.perf_counter()
        find_equations(readable(text))
        assert time.perf_counter() - started < allowed, text[:10]
