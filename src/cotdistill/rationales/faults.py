"""What is wrong with a rationale, found without a model: false arithmetic, a conclusion other than the stated answer,
and signs of a failed generation.

Released rationales were often written towards an answer that the teacher was shown, so agreement with the gold answer
says little; these checks look at the reasoning itself. They miss errors of meaning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Literal, get_args
from unicodedata import name as character_name

from cotdistill.rationales.arithmetic import Equation, find_equations
from cotdistill.rationales.expressions import evaluate, last_expression
from cotdistill.rationales.latex import readable
from cotdistill.rationales.tokens import phrases
from cotdistill.records import Question, Rationale
from cotdistill.tasks.answers.types import read_answer

Reason = Literal[
    "leaked_slot_name",
    "repetition",
    "truncated",
    "wrong_language",
    "unfinished_equation",
    "false_arithmetic",
    "leads_elsewhere",
    "answer_not_derived",
]
"""Why a rationale fails. Unfinished: it ends in "= ?". Elsewhere: its last result differs from the answer. Not
derived: the answer does not occur in its conclusion, as in a plan without numbers."""

REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, and the words that show it."""

    reason: Reason
    evidence: str


def find_faults(rationale: Rationale) -> list[Fault]:
    """Everything wrong with ``rationale``, in the order of REASONS; nothing for a teacher that gives answers alone.

    The arithmetic must lead to the answer that the teacher stated, or to the gold answer if it stated none.
    """
    if rationale.rationale is None:
        return []
    text, plain = rationale.rationale, readable(rationale.rationale)
    checks = (
        _slot_names(plain),
        _repetitions(text),
        _truncation(text, rationale.meta.get("finish_reason")),
        _foreign_words(plain, rationale.question.question, symbolic=rationale.format == "symbolic"),
        _unfinished_equations(text),
        _arithmetic(rationale, plain),
    )
    return [fault for faults in checks for fault in faults]


# ---- the marks of a failed generation -------------------------------------------------------------------------------

_SLOT = re.compile(
    r"</?[A-Z][A-Za-z]{2,20}(?:[ _][A-Za-z]{1,20}){0,3}>"
    r"|(?<![\w^⍰}\])])\{\{?[a-z][a-z_]{2,30}\}\}?"
    r"|\[(?:insert|your|answer|rationale|solution|question)\b[^\[\]\n]{0,40}\]",
    re.IGNORECASE,
)
_HTML = frozenset({"sub", "sup", "code", "pre", "div", "span", "strong", "table"})


def _slot_names(text: str) -> Iterator[Fault]:
    """Placeholders of a prompt that the teacher copied: "<Solution Path>", "{question}", "[Insert answer]"."""
    for slot in _SLOT.finditer(text):
        tag = slot[0].strip("</>")
        if slot[0][0] != "<" or (tag[0].isupper() and tag.lower() not in _HTML):
            yield Fault("leaked_slot_name", slot[0])
            return


_MAX_RUN = 6
"""A word repeated this many times in a row is a stutter."""
_MIN_WORDS, _MIN_DISTINCT_SHARE = 60, 0.5
_LONG_RUN = re.compile(r"([^\s\d.\-_=*])\1{14}")


def _repetitions(text: str) -> Iterator[Fault]:
    """One word or sentence over and over, or a text of which half repeats itself."""
    if run := _LONG_RUN.search(text):
        yield Fault("repetition", run[0])
        return
    words = text.lower().split()
    length = 1
    for before, word in pairwise(words):
        length = length + 1 if word == before and not word.isdigit() else 1
        if length >= _MAX_RUN:
            yield Fault("repetition", f"{word} {word} {word}")
            return
    sentences = Counter(
        found[0].lower() for found in re.finditer(r"[^\s.!?][^.!?\n]*", text) if found[0].count(" ") > 3
    )
    if sentences and (most := sentences.most_common(1)[0])[1] >= 4:
        yield Fault("repetition", most[0])
        return
    groups = [tuple(words[i : i + 8]) for i in range(len(words) - 7)]
    if len(words) >= _MIN_WORDS and len(set(groups)) < _MIN_DISTINCT_SHARE * len(groups):
        yield Fault("repetition", " ".join(Counter(groups).most_common(1)[0][0]))


def repeats_itself(text: str) -> bool:
    """Whether it is caught in a loop, as a repetition is found in rationales."""
    return next(_repetitions(text), None) is not None


_CUT_OFF = re.compile(
    r"(?:[+/×÷(\[<&]|(?<!\*)\*|(?<![\w-])(?:the|a|an|of|and|or|to|is|are|by|with|from|in|on|at|for|that|which|than|because|if))$"
)
_CONNECTIVE = re.compile(r"\b(?:so|thus|therefore|hence|then|and)[,:]?$", re.IGNORECASE)
"""What is left at the end of a rationale that continued "therefore, the answer is ..."."""


_INCHES = re.compile(r"(?:\d|\b(?:sq|square|cubic|cu)\.?) in$")


def _truncation(text: str, finish_reason: object) -> Iterator[Fault]:
    """A text that stops in the middle: the teacher's server says so, or a sentence cannot end with its last word."""
    end = text.rstrip()[-80:]
    last = _CONNECTIVE.sub("", end).rstrip()
    if finish_reason == "length" or (_CUT_OFF.search(last) and not _INCHES.search(last)):
        yield Fault("truncated", end)


_FUNCTION_WORDS = (
    "the of and a an to in is are was were for with that this it on by from as be has have there each so we can "
    "not since if then therefore number or at their they its need will all one into how many more which"
)
_ENGLISH = frozenset(_FUNCTION_WORDS.split())
_MIN_FOREIGN_SHARE, _MIN_LANGUAGE_WORDS = 0.2, 25


def _foreign_words(text: str, question: str, *, symbolic: bool) -> Iterator[Fault]:
    """Letters of a script that the question does not use, or no English function word under an English question."""
    known = {_script(character) for character in question if character.isalpha()}
    letters = [character for character in text if character.isalpha()]
    foreign = [character for character in letters if _script(character) not in known | {"GREEK", "MATHEMATICAL"}]
    if known and len(foreign) > _MIN_FOREIGN_SHARE * len(letters):
        yield Fault("wrong_language", "".join(foreign[:20]))
        return
    words = [word for word in re.findall(r"[^\W\d_]+", text.lower()) if len(word) > 1]
    asked = set(re.findall(r"[^\W\d_]+", question.lower()))
    if (
        not symbolic
        and len(words) >= _MIN_LANGUAGE_WORDS
        and len(asked & _ENGLISH) > 3
        and not _ENGLISH.intersection(words)
    ):
        yield Fault("wrong_language", " ".join(words[:6]))


@cache
def _script(character: str) -> str:
    """The first word of the character's name: LATIN, CJK, CYRILLIC, ..."""
    return character_name(character, "UNKNOWN").partition(" ")[0]


_UNFINISHED = re.compile(r"(?:[\d)\w] ?=|(?:=|\bis) ?(?:\?|_{1,5}|\.\.\.|…)) ?[.)]?$")


def _unfinished_equations(text: str) -> Iterator[Fault]:
    if _UNFINISHED.search(text.rstrip()[-20:]):
        yield Fault("unfinished_equation", text.rstrip()[-40:])


# ---- arithmetic -----------------------------------------------------------------------------------------------------

_SENTENCE = re.compile(r"(?<=[.!?;])(?:\s+|(?=[A-Z]))|\n+|<br>")
_ITEM_NUMBER = re.compile(r"\W{0,3}(?:step )?\d{1,2}\W{0,3}$", re.IGNORECASE)
_CHECKS = re.compile(
    r"^\W{0,3}(?:to |double[- ]?)?(?:check|verif)|\b(?:which|this) (?:matches|confirms)", re.IGNORECASE
)
_INSTRUCTION = re.compile(r"\b(?:subtract|divid|multipl|add|sum|calculat|comput|find|determin)", re.IGNORECASE)
_SMALL_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_NUMBER_WORDS = {word: Fraction(value) for value, word in enumerate(_SMALL_NUMBERS.split())} | {
    "no": Fraction(0),
    "none": Fraction(0),
    "nothing": Fraction(0),
    "half": Fraction(1, 2),
}


def _arithmetic(rationale: Rationale, text: str) -> Iterator[Fault]:
    equations = find_equations(text)
    if wrong := next((equation for equation in equations if equation.holds is False), None):
        yield Fault("false_arithmetic", wrong.text)
    if rationale.question.answer_type != "number":
        return
    answer = rationale.meta.get("teacher_answer") or rationale.question.answer
    stated = read_answer(str(answer), "number")
    if stated is not None:
        yield from _conclusion(text, equations, Fraction(stated), rationale.question)


def _conclusion(text: str, equations: list[Equation], answer: Fraction, question: Question) -> Iterator[Fault]:
    """Whether the last sentence with numbers that is not a check gives ``answer``, calculated or about to be."""
    start, end = _last_statement(text)
    sentence = text[start:end]
    inside = [equation for equation in equations if start <= equation.start < end]
    results = [equation.result for equation in inside if equation.result is not None]
    calculated = [range(equation.start - start, equation.end - start) for equation in inside if equation.solved]
    loose = [value for place, value in _numbers(sentence) if not any(place in span for span in calculated)]
    words = [_NUMBER_WORDS[word] for word in re.findall("[a-z]+", text[start:].lower()) if word in _NUMBER_WORDS]
    pending = _calculations(sentence)
    if any(_same(value, answer) for value in (*results, *loose, *words, *pending)):
        return
    given = {value for _, value in _numbers(question.question)}
    ending = re.split(r"[,;] ", sentence)[-1]
    calculates = any(sign in ending for sign in "=?") or _calculations(ending)
    instructs = _INSTRUCTION.search(sentence) and not calculates
    if not instructs and (results or pending or any(value not in given for value in loose)):
        yield Fault("leads_elsewhere", f"{sentence.strip()[-80:]} (answer {answer})")
    else:
        yield Fault("answer_not_derived", sentence.strip()[-80:])


def _last_statement(text: str) -> tuple[int, int]:
    """Where the last sentence with numbers that is not a check begins and ends; else the last sentence."""
    breaks = [match.span() for match in _SENTENCE.finditer(text)]
    starts, ends = [0, *(end for _, end in breaks)], [*(start for start, _ in breaks), len(text)]
    for start, end in zip(reversed(starts), reversed(ends), strict=True):
        if any(map(str.isdigit, text[start:end])) and not _is_check(text[start:end]):
            return start, end
    return starts[-1], ends[-1]


def _is_check(sentence: str) -> bool:
    """Whether a sentence checks the conclusion, or is only the number of a list item."""
    return bool(_ITEM_NUMBER.match(sentence) or _CHECKS.search(sentence))


_HOUR = re.compile(r"(\d{1,2}):00$")


def _numbers(text: str) -> Iterator[tuple[int, Fraction]]:
    """Place and value of every number in digits, in each possible reading: "-3" is -3 or 3, "3/4" 0.75 or 3."""
    for phrase in phrases(text):
        for index, token in enumerate(phrase):
            if token.kind == "number" or token.value:
                values = (token.value, *token.others)
                yield from ((token.start, value) for value in values)
                if index and phrase[index - 1].text == "-":
                    yield from ((token.start, -value) for value in values)
                fraction = phrase[index : index + 3]
                if len(fraction) == 3 and fraction[1].text == "/" and (value := evaluate(fraction)):
                    yield token.start, value
                    yield token.start, -value
            elif match := _HOUR.match(token.text):
                yield token.start, Fraction(match[1])


def _calculations(text: str) -> list[Fraction]:
    """Values of calculations at the end of a phrase without a result: "and we get 12 - 5."."""
    found = []
    for phrase in phrases(text):
        signs = [index for index, token in enumerate(phrase) if token.kind == "equals"]
        rest = phrase[signs[-1] + 1 :] if signs else phrase
        last = last_expression(rest) or last_expression(phrase[: signs[-1]] if signs and not rest else [])
        if last and any(token.kind == "operator" for token in last[1:]) and (value := evaluate(last)) is not None:
            found.append(value)
    return found


def _same(value: Fraction, answer: Fraction) -> bool:
    """Equal, or as a percentage and its fraction, or up to rounding at two decimals."""
    return value in (answer, answer * 100, answer / 100) or (
        abs(value - answer) <= Fraction(1, 100) and (value.denominator > 1 and answer.denominator > 1)
    )
