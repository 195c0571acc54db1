"""One reader for each answer type: from the words that state an answer to its canonical form, or None.

The same readers read gold answers and model outputs, so the two cannot drift apart. A reader takes what stands behind
"The answer is"; it is lenient about dress (markdown, LaTeX, currency, units, brackets, a choice's text for its letter)
and strict about content: where two readings are possible it gives None. Inputs are cut to ``MAX_LENGTH`` characters
before any pattern sees them, so no text can make a pattern slow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from cotdistill.records import AnswerType
from cotdistill.tasks.answers.mathematics import plain_math, read_math

MAX_LENGTH = 2000
"""Characters in which an answer must have been stated."""

Choices = Sequence[str] | None

_SENTENCE_END = re.compile(r"(?<!\b[A-Z])(?<!\b(?:St|Mr|Ms|Dr|vs))(?<!\bMrs)(?<!\bapprox)[.!?](?=\s|$)")

_BOLD = re.compile(r"(?<!\w)\*\*|\*\*(?!\w)|`")
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathbf|mathrm)\{([^{}]{0,200})\}")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]{1,50})\}\{([^{}]{1,50})\}")
_LATEX_WORD = re.compile(r"(?:\$|\\[(\[])\s?(\(?[A-Za-z]{1,10}\)?\.?)\s?(?:\$|\\[)\]])")
_LATEX_BOX = re.compile(r"\\boxed\s?\{([^{}]{1,200})\}")


def plain(text: str) -> str:
    """``text`` without markdown's bold and code marks and without LaTeX's boxes, fractions and text commands."""
    text = _LATEX_TEXT.sub(r"\1", _BOLD.sub("", text))
    return _LATEX_BOX.sub(r"\1", _LATEX_FRACTION.sub(r"\1/\2", text))


def boxed(text: str) -> list[str]:
    """What LaTeX's boxes in ``text`` hold."""
    return _LATEX_BOX.findall(_LATEX_FRACTION.sub(r"\1/\2", _LATEX_TEXT.sub(r"\1", text)))


def first_sentence(text: str) -> str:
    """``text`` up to its first sentence end (without it) or line end. A full stop inside a number ends nothing."""
    line = text.strip().partition("\n")[0]
    end = _SENTENCE_END.search(line)
    return (line[: end.start()] if end else line).strip()


# ---- numbers --------------------------------------------------------------------------------------------------------

_DIGITS = r"[0-9]{1,50}"
_NUMBER = re.compile(
    rf"(?<![\w.])[-+]?(?:(?P<whole>{_DIGITS})\s+(?P<part>{_DIGITS}/{_DIGITS})"
    rf"|(?P<fraction>{_DIGITS}/{_DIGITS})|(?P<decimal>{_DIGITS}(?:\.{_DIGITS})?|\.{_DIGITS}))"
)
_GOES_ON = re.compile(r"[eE.]?[0-9]|\s+[0-9]|\s*(?:[-+*/^:,×÷·x]|or\b|and\b|to\b)\s*\(?-?[0-9]")
"""Behind a number, this makes it a part of something else: an expression, a range, a time, a list."""
_GROUP_COMMA = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_CURRENCY = str.maketrans({"−": "-", "–": "-", "$": "", "€": "", "£": "", "\\": ""})
_EXACT_NUMBER = re.compile(
    rf"[-+]?[$€£]?[-+]?(?:{_DIGITS}/{_DIGITS}|[0-9][0-9,]{{0,60}}(?:\.{_DIGITS})?|\.{_DIGITS})\s?%?"
)


_CANONICAL_WHOLE = re.compile(r"0|[1-9][0-9]{0,49}")
"""Most gold answers: read at once, which is what makes large data sets load fast."""


def is_number(text: str) -> bool:
    """Whether ``text`` is a number and nothing else (but a currency or percent sign)."""
    if _CANONICAL_WHOLE.fullmatch(text):
        return True
    return _EXACT_NUMBER.fullmatch(text.strip()) is not None and read_number(text) is not None


def read_number(text: str, choices: Choices = None) -> str | None:
    """The number that the first sentence gives: at its start, behind its last "=", or the only one in it."""
    sentence = _GROUP_COMMA.sub("", first_sentence(text).translate(_CURRENCY))
    sentence = re.sub(r"^-\s+(?=[0-9.])", "-", sentence.rpartition("=")[2].lstrip(" \t:([*~≈{\"'"))
    if first := _NUMBER.match(sentence):
        return None if _GOES_ON.match(sentence, first.end()) else _canonical_number(first)
    found = list(_NUMBER.finditer(sentence))
    if any(_GOES_ON.match(sentence, match.end()) for match in found):
        return None
    values = {_canonical_number(match) for match in found}
    return values.pop() if len(values) == 1 else None


def _canonical_number(match: re.Match[str]) -> str | None:
    """Whole numbers without ".0", decimals without trailing zeros, fractions in lowest terms."""
    sign = "-" if match[0].startswith("-") else ""
    if decimal := match["decimal"]:
        whole, _, part = decimal.partition(".")
        digits = (whole.lstrip("0") or "0") + (f".{part.rstrip('0')}" if part.strip("0") else "")
        return digits if digits == "0" else sign + digits
    try:
        value = Fraction(match["fraction"] or match["part"]) + int(match["whole"] or 0)
    except ZeroDivisionError:
        return None
    return str(-value if sign else value)


# ---- choices --------------------------------------------------------------------------------------------------------

_LEAD = re.compile(
    r"^(?:[\s:=,*\"'“‘]|\b(?:that|therefore|thus|simply|clearly|definitely|definitively|probably|actually|most"
    r"|likely|option|choice|letter|answer)\b)*",
    re.IGNORECASE,
)
_MARKED_LETTER = re.compile(r"[(\[{<]\s?([A-Za-z])\s?[)\]}>]|([A-Za-z])(?:\s?\)|[.:](?=\s|$)|[\"'”’]?\s*(?:\n|$))")
_BARE_LETTER = re.compile(
    r"([B-HJ-Z])(?![\w'’-])|([AI])(?=\s*(?:$|[.,;:!?>\n\"”—–]|-\s|because\b|since\b|as\b|which\b))"
)
_SECOND_LETTER = re.compile(r"[)\]}]?\s*(?:(?:or|and|/|&)\s*\(?[A-HJ-Z]\b|,\s*\([A-Z]\))")
_BRACKETED_LETTER = re.compile(r"\(([A-Z])\)")
_ARTICLE = re.compile(r"(?:the|an|a)\s+", re.IGNORECASE)


def read_letter(text: str, choices: Choices = None) -> str | None:
    """The letter of a choice, from "(B)", "B)", "B. text", "option B", or the choice's text.

    Letters beyond ``choices`` are not read. "A" and "I" are words as well and need punctuation behind them.
    """
    whole, text = text, _LEAD.sub("", text, count=1)
    match = _MARKED_LETTER.match(text)
    letter = None if match else _letter_of_text(text, choices) or _letter_of_text(whole, choices)
    if letter is None and (match := match or _BARE_LETTER.match(text)):
        letter = None if _SECOND_LETTER.match(text, match.end()) else (match[1] or match[2]).upper()
    if match is None and letter is None:
        bracketed = set(_BRACKETED_LETTER.findall(first_sentence(text)))
        letter = bracketed.pop() if len(bracketed) == 1 else None
    beyond = letter is not None and choices is not None and ord(letter) - ord("A") >= len(choices)
    return None if beyond else letter


def _letter_of_text(text: str, choices: Choices) -> str | None:
    """The letter of the longest choice with whose words ``text`` begins; None where two choices have the same words."""
    stated = comparable(text)
    fitting = [
        (len(words), chr(ord("A") + index))
        for index, words in enumerate(map(comparable, choices or ()))
        if words and stated.startswith(words) and not re.match(r"\w|[-.,/:]\w", stated[len(words) :])
    ]
    fitting.sort(reverse=True)
    ambiguous = len(fitting) > 1 and fitting[0][0] == fitting[1][0]
    return None if ambiguous or not fitting else fitting[0][1]


# ---- yes and no, true and false -------------------------------------------------------------------------------------

_YES = re.compile(r"(?:a\s+)?(?:yes|true|correct)\b(?!-)", re.IGNORECASE)
_NO = re.compile(
    r"(?:a\s+)?(?:no\b(?![-\w]|[ \t]+(?!because\b|since\b|as\b|it\b)\w)|(?:false|incorrect)\b(?!-))", re.IGNORECASE
)
"""Not the "no" of "no one" or "no evidence"."""


def _read_polarity(text: str, yes: str, no: str) -> str | None:
    text = _LEAD.sub("", text, count=1)
    return yes if _YES.match(text) else no if _NO.match(text) else None


def read_yes_no(text: str, choices: Choices = None) -> str | None:
    """Yes or No; true and false are read as them."""
    return _read_polarity(text, "Yes", "No")


def read_true_false(text: str, choices: Choices = None) -> str | None:
    """True or False; yes and no are read as them."""
    return _read_polarity(text, "True", "False")


# ---- lists and text -------------------------------------------------------------------------------------------------


def read_list(text: str, choices: Choices = None) -> str | None:
    """Items in order, joined by single spaces: words ("a, b and c", "[a, b, c]", "a b c") or symbols ("] ) }")."""
    sentence = first_sentence(text)
    if not any(map(str.isalnum, sentence)):
        return " ".join(symbol for symbol in sentence if not symbol.isspace() and symbol not in ",'\"“”") or None
    sentence = sentence.rpartition(": ")[2]
    items = sentence.split()
    if "," in sentence:
        *items, last = sentence.split(",")
        items += re.split(r"\band\s+", last)
    items = [" ".join(item.strip(" \t[]()\"'“”.").split()) for item in items]
    return " ".join(item for item in items if item) or None


def read_text(text: str, choices: Choices = None) -> str | None:
    """The first sentence without quotes."""
    return " ".join(first_sentence(text).strip(" \t\"'“”‘’").split()) or None


def read_latex(text: str, choices: Choices = None) -> str | None:
    """The expression in a box, between dollars, or the first sentence."""
    return read_math(text, first_sentence(text))


def comparable(text: str) -> str:
    """``text`` as two texts are compared: in one case, without a leading article, outer punctuation or extra spaces."""
    words = " ".join(text.casefold().split()).strip(" .,;:!?\"'“”‘’*")
    return _ARTICLE.sub("", words, count=1) if _ARTICLE.match(words) else words


READERS: dict[AnswerType, Callable[[str, Choices], str | None]] = {
    "number": read_number,
    "letter": read_letter,
    "yes_no": read_yes_no,
    "true_false": read_true_false,
    "list": read_list,
    "text": read_text,
    "math": read_latex,
}


def read_answer(text: str, answer_type: AnswerType, choices: Choices = None) -> str | None:
    """The canonical form of the answer with which ``text``, the words behind "The answer is", begins, or None."""
    if answer_type == "number" and _CANONICAL_WHOLE.fullmatch(text):
        return text
    read, text = READERS[answer_type], text[:MAX_LENGTH]
    plainer = text if answer_type == "math" else plain(text)
    answer = read(plainer.strip().lstrip(" \n:="), choices)
    if answer is None and answer_type in ("letter", "yes_no", "true_false"):  # second: a choice may be LaTeX itself
        answer = read(_LATEX_WORD.sub(r"\1", plainer).strip().lstrip(" \n:="), choices)
    return answer


def read_gold(text: str, answer_type: AnswerType, choices: Choices = None) -> str | None:
    """The canonical form of a gold answer, or None where ``text`` is none of its type.

    A letter must be the letter, bracketed or not, or the exact text of one choice; a text is taken whole.
    """
    if answer_type == "text":
        return " ".join(text.split()) or None
    if answer_type == "math":
        return plain_math(text)
    if answer_type != "letter":
        return read_answer(text, answer_type)
    if letter := re.fullmatch(r"\(?([A-Za-z])\)?\.?", text.strip()):
        return read_letter(letter[1].upper(), choices)
    same = [index for index, choice in enumerate(choices or ()) if comparable(choice) == comparable(text)]
    return chr(ord("A") + same[0]) if len(same) == 1 else None
