"""Numbers: every notation is read to its value, and a part of an expression is never the answer."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import pytest

from cotdistill.storage.jsonl import read_rows
from cotdistill.tasks.answers.numbers import gold_number, read_number
from cotdistill.tasks.answers.types import read_gold

READ = {
    # signs
    "-7": "-7", "−7": "-7", "‐7": "-7", "‑7": "-7", "－7": "-7", "- 7": "-7", "-$7": "-7", "negative 7": "-7",
    "minus seven": "-7", "+7": "7", "-0": "0",
    # separators
    "$3,400": "3400", "48{,}000": "48000", "48,\\!000": "48000", "48\\,000": "48000", "48 000": "48000",
    "48\u00a0000": "48000", "48\u2009000": "48000", "48'000": "48000", "1'250'000": "1250000", "₹3,40,000": "340000",
    "7.250,5": "7250.5", "1.250.000": "1250000", "6,5": "6.5", "6,50 Euro": "6.5", "0,125": "0.125",
    "US$2,468.10": "2468.1",
    # fractions, mixed numbers, vulgar fractions
    "6/8": "3/4", "\\dfrac{3}{8}": "3/8", "\\frac38": "3/8", "5\\frac{1}{4}": "21/4", "-5\\tfrac14": "-21/4",
    "5 1/4": "21/4", "5¼": "21/4", "5 ¼ cups": "21/4", "⅝": "5/8", "five and a half": "11/2",
    "5 and a half hours": "11/2",
    "three quarters": "3/4", "half": "1/2", "\\frac{7 + 9}{4}": "4",
    # powers of ten and other exact calculations
    "3.4 \\times 10^{6}": "3400000", "3.4 × 10⁶": "3400000", "3.4 x 10^6": "3400000", "3.4e6": "3400000",
    "2.5e-3": "0.0025", "3.4*10**6": "3400000", "10^{-2}": "0.01", "3^4": "81", "$3^{4}$": "81", "3⁴": "81",
    "4 * 6": "24", "4 x 6": "24", "4 \\cdot 6": "24", "4 times 6": "24", "4(2 + 1)": "12", "\\sqrt{81}": "9",
    "√81": "9",
    # magnitudes and words
    "2.5 million": "2500000", "$2.5 billion": "2500000000", "3 thousand": "3000", "4 dozen": "48",
    "4 dozens": "48", "15k": "15000",
    "half a million": "500000", "a dozen": "12", "seventeen": "17", "forty-two": "42", "six hundred and five": "605",
    "three thousand two hundred": "3200", "nine pears": "9", "zero": "0",
    # dress, units, words, reasons
    "**34**": "34", "*34*.": "34", "`34`": "34", "\\(34\\)": "34", "\\[\n34\n\\]": "34", "(34).": "34", "３４": "34",
    "34。": "34", "34%": "34", "34\\%": "34", "34^\\circ": "34", "34 cm²": "34", "34 km/h": "34", "34kg": "34",
    "34\\text{ m}": "34", "34-inch": "34", "34th": "34", "about 34": "34", "≈ 34": "34", "that Ida has 34 shells": "34",
    "34 because y = 6": "34", "34 (y = 6)": "34", "34 tiles when y = 6": "34", "34, which is 6 more than 28": "34",
    "34 - that is all": "34", "34 (thirty-four)": "34", "34 pens in 2 boxes": "34",
    # equations
    "y = 34": "34", "34 = y": "34", "30 + 4 = 34": "34", "34 = 30 + 4": "34", "f(2) = 34": "34", "a + b = 34": "34",
    "a_1 = 34": "34", "1/2 = 0.5": "0.5", "4\\pi \\approx 12.57": "12.57",
    # quantities in two units
    "3 hours and 15 minutes": "195", "2 days 6 hours": "54", "6 feet 2 inches": "74",
}  # fmt: skip

NONE = (
    "3\\sqrt{5}", "\\sqrt{5}", "6π", "6\\pi", "\\frac{5\\pi}{6}", "6!", "6!.", "6i", "2 + 6i", "7y", "7 y", "-3y - 4",
    "7y = 21",
    "\\log_3 9", "y > 6", "< 6", "6 \\leq y", "±6", "at least 6", "at most 6", "more than 6", "6 or more", "not 6",
    "6 or 8", "6 to 8", "6-8", "6 – 8", "6:45", "6:8", "2 out of 6", "2 of 6", "1 in 6", "2/6 of 18", "(2, 6)",
    "[2, 6]",
    "2, 4 and 6", "y = 2, z = 6", "y = 2, \\quad z = 6", "y = 2 and z = 6", "6 plums and 2 pears", "Ida 6, Ben 2",
    "6 (or 8)",
    "unknown because 6 values are missing", "none of the 6 choices", "one of those", "6 squared", "12/6/2", "6/0",
    "1.2.3",
    "03/04/2022", "y^2 = 36", "|y|", "6' 2\"", "many", "", ".", "$", "twice 6",
)  # fmt: skip


@pytest.mark.parametrize("stated", READ)
def test_the_whole_of_an_expression_is_read(stated: str) -> None:
    assert read_number(stated) == READ[stated]


@pytest.mark.parametrize("stated", NONE)
def test_a_part_of_an_expression_is_no_answer(stated: str) -> None:
    assert read_number(stated) is None


def test_what_was_read_is_read_again_as_itself() -> None:
    for canonical in READ.values():
        assert read_number(canonical) == canonical
        assert gold_number(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4.0203e-07", "0.00000040203"),
        ("1e-06", "0.000001"),
        ("1e+18", "1000000000000000000"),
        ("2E-2", "0.02"),
        ("2.5e3", "2500"),
        ("0.7000000000000001", "0.7"),
        ("1.1500000000000001", "1.15"),
        ("0.20000000298023224", "0.2"),  # 0.2 in 32 bits
        ("0.3333333333333333", "0.3333333333333333"),
        ("0.1234567890123456", "0.1234567890123456"),
        ("12.0", "12"),
        ("-3.50", "-3.5"),
        ("$1,250.50", "1250.5"),
        ("50%", "50"),
        ("6/8", "3/4"),
        ("4 \\times 10^{3}", "4000"),
        ("12 apples", "12"),
        ("12 + 7", None),
        ("12 or 13", None),
        ("y = 12", None),
        ("about 12", None),
        ("1e400", None),
        ("nan", None),
        ("many", None),
        ("", None),
    ],
)
def test_a_gold_number_is_read_to_its_value_or_not_at_all(text: str, value: str | None) -> None:
    assert gold_number(text) == value


def test_every_float_is_read_to_the_number_that_was_meant() -> None:
    draw = random.Random(3)
    for _ in range(2000):
        cents = draw.randint(-(10**6), 10**6)
        noisy = cents / 100 + draw.choice([0.0, 0.1]) - 0.1 + 0.1
        read = gold_number(str(noisy))
        assert read is not None
        assert abs(Fraction(read) - Fraction(str(round(noisy, 6)))) == 0, noisy


@pytest.mark.shared
def test_gold_answers_of_gsm8k_svamp_and_aqua_are_read_to_their_values(shared_data: Path) -> None:
    rows = [
        row
        for name in ("gsm8k", "svamp", "aqua")
        for path in sorted((shared_data / name).glob("*.jsonl.gz"))
        for row in read_rows(path)
    ]
    assert len(rows) > 10_000
    for row in rows:
        if choices := row.get("choices"):
            assert read_gold(row["answer"], "letter", choices) == row["answer"]
        else:
            read = read_gold(row["answer"], "number")
            assert read is not None
            assert Fraction(read) == Fraction(row["answer"]), row["id"]
