"""One reader for each answer type: from the words that state an answer to its canonical form, or None.

A reader takes what follows "The answer is"; it is lenient about form (markdown, LaTeX, units, brackets, a choice's text
for its letter) and strict about content: if two readings are possible, it returns None. A gold answer must be an answer
and nothing else. Inputs are cut to ``MAX_LENGTH`` characters before any pattern sees them, so no text can make a
pattern slow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from cotdistill.records import AnswerType
from cotdistill.tasks.answers.mathematics import plain_math, read_math
from cotdistill.tasks.answers.numbers import gold_number, read_number
from cotdistill.tasks.answers.typography import boxes, fold, plain

MAX_LENGTH = 2000
"""Characters in which an answer must have been stated."""

Choices = Sequence[str] | None

_SENTENCE_END = re.compile(r"[.!?](?=[\"'”’)\]]{0,2}(?:\s|$))|。")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ABBREVIATIONS = _words(
    "mt st mr mrs ms dr prof jr sr vs no vol fig eq pp ch ca cf al est approx etc inc ltd co corp dept gen col sgt capt"
    " lt rev hon gov sen rep pres ave blvd rd hwy ft ph jan feb mar apr jun jul aug sep sept oct nov dec e.g i.e a.m"
    " p.m"
)
_OPENERS = _words(
    "a an and as because both but done for he hence her here his however i if in it its no note now of on she since so "
    "that the their then there therefore these they this those thus to we what when which with yes you"
)
"""Words that begin a sentence behind a capital letter: "vitamin C. It is ..." and not "Harry S. Truman"."""


def first_sentence(text: str) -> str:
    """``text`` up to (and without) its first sentence end or line end. A full stop inside a number does not end a
    sentence."""
    line = text.strip().partition("\n")[0]
    for end in _SENTENCE_END.finditer(line):
        if end[0] != "." or not is_abbreviated(line, end.start()):
            return line[: end.start()].strip()
    return line.strip()


def is_abbreviated(line: str, stop: int) -> bool:
    """Whether the full stop at ``stop`` belongs to the word before it, and the sentence goes on."""
    word = re.split(r"[\s(\"'“‘]", line[max(0, stop - 12) : stop])[-1]
    following = line[stop + 1 :].split(maxsplit=1)
    if not following or not word:
        return False
    if word.casefold() in _ABBREVIATIONS:
        return word[0].isupper() or not following[0][0].isupper()
    if re.fullmatch(r"(?:[A-Za-z]\.){1,5}[A-Za-z]", word):
        return following[0].strip(".,").casefold() not in _OPENERS
    is_initial = len(word) == 1 and word.isupper()
    return is_initial and following[0][0].isupper() and following[0].strip(".,").casefold() not in _OPENERS


def is_number(text: str) -> bool:
    """Whether ``text`` is a number and nothing else (except a currency or percent sign)."""
    return gold_number(text, units=False) is not None


# ---- choices --------------------------------------------------------------------------------------------------------

_LEAD = re.compile(
    r"^(?:[\s:=,*\"'“‘]|\b(?:that|therefore|thus|simply|clearly|definitely|definitively|probably|actually|most"
    r"|likely|certainly|surely|undoubtedly|obviously|indeed|hence|so|just|option|choice|letter|answer"
    r"|i (?:think|believe|guess|say)|no doubt|without (?:a )?doubt)\b)*",
    re.IGNORECASE,
)
_MARKED_LETTER = re.compile(r"[(\[{<]\s?([A-Za-z])\s?[)\]}>]|([A-Za-z])(?:\s?\)|[.:](?=\s|$)|[\"'”’]?\s*(?:\n|$))")
_BARE_LETTER = re.compile(
    r"([B-HJ-Z])(?![\w'’-])|([AI])(?=\s*(?:$|[.,;:!?>(\n\"”—–]|-\s|because\b|since\b|as\b|which\b))"
)
_SECOND_LETTER = re.compile(r"[)\]}]?\s*(?:(?:or|and|/|&)\s*\(?[A-HJ-Z]\b|,\s*\(?[A-Z]\b\)?(?!\w))")
_BRACKETED_LETTER = re.compile(r"\(([A-Z])\)")
_OTHERWISE = re.compile(
    r"\b(?:not|no|none|neither|nor|un\w+|exclud\w+|eliminat\w+|except|although|though|but|unlike|tempting|wrong|incorrect"
    r"|than|instead|rul\w+ out|remaining|other|either|or|and|between)\b",
    re.IGNORECASE,
)
"""Words with which a letter in brackets is mentioned and not stated."""
_ARTICLE = re.compile(r"(?:the|an|a)\s+", re.IGNORECASE)


def read_letter(text: str, choices: Choices = None) -> str | None:
    """The letter of a choice, from "(B)", "B)", "B. text", "B (text)", "option B", or the choice's text.

    A letter beyond ``choices`` is not read, nor one with the text of another choice. "A" and "I" are also words and
    need punctuation after them.
    """
    whole, text = text, _LEAD.sub("", text, count=1)
    match = _MARKED_LETTER.match(text)
    letter = None if match else _letter_of_text(text, choices) or _letter_of_text(whole, choices)
    if letter is None and (match := match or _BARE_LETTER.match(text)):
        letter = (match[1] or match[2]).upper()
        if _SECOND_LETTER.match(text, match.end()) or _names_another(text[match.end() :], letter, choices):
            return None
    sentence = first_sentence(text)
    if match is None and letter is None and not _OTHERWISE.search(sentence):
        bracketed = set(_BRACKETED_LETTER.findall(sentence))
        letter = bracketed.pop() if len(bracketed) == 1 else None
    beyond = letter is not None and choices is not None and ord(letter) - ord("A") >= len(choices)
    return None if beyond else letter


def _names_another(rest: str, letter: str, choices: Choices) -> bool:
    """Whether what follows a letter is the text of another choice, alone or before punctuation."""
    sentence = comparable(first_sentence(rest.partition("\n")[0].strip(" \t()[]{}.:,;*-–—\"'"))).rstrip(")]} ")
    named = [chr(ord("A") + index) for index, choice in enumerate(choices or ()) if comparable(choice) == sentence]
    return bool(sentence) and bool(named) and letter not in named


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

_A = r"(?:a(?:n)?\s+(?:\w+\s+)?)?"
_YES = re.compile(rf"{_A}(?:yes|yep|yeah|yup|true)\b(?!-)", re.IGNORECASE)
_NO = re.compile(
    rf"{_A}(?:(?:no|nope|nah)\b(?![-\w]|[ \t]+(?!because\b|since\b|as\b|it\b)\w)|(?:false|untrue)\b(?!-))",
    re.IGNORECASE,
)
"""Not the "no" of "no one" or "no evidence"."""
_NEGATED = re.compile(r"not\s+(?=(?:yes|no|true|false)\b)", re.IGNORECASE)
_BOTH = re.compile(r"\s*(?:,|/|\band\b|\bor\b|&)\s*(?:yes|no|true|false)\b", re.IGNORECASE)


def _read_polarity(text: str, yes: str, no: str) -> str | None:
    text = _LEAD.sub("", text, count=1)
    if negated := _NEGATED.match(text):
        yes, no, text = no, yes, text[negated.end() :]
    for pattern, meaning in ((_YES, yes), (_NO, no)):
        if stated := pattern.match(text):
            return None if _BOTH.match(text, stated.end()) else meaning
    return None


def read_yes_no(text: str, choices: Choices = None) -> str | None:
    """Yes or No; true and false are read as them."""
    return _read_polarity(text, "Yes", "No")


def read_true_false(text: str, choices: Choices = None) -> str | None:
    """True or False; yes and no are read as them."""
    return _read_polarity(text, "True", "False")


# ---- lists and text -------------------------------------------------------------------------------------------------


_BULLET = re.compile(r"[ \t]*(?:[-*•]|[0-9]{1,2}[.)])[ \t]+(\S.*)")
_PAIR = re.compile(r"(\S+) (?:and|&) (\S+)")


def read_list(text: str, choices: Choices = None) -> str | None:
    """Items in order, joined by single spaces: words ("a, b and c", "[a, b, c]", "a b c"), lines with bullets, or
    symbols ("] ) }")."""
    items = _bulleted(text)
    sentence = first_sentence(text)
    if not items and not any(map(str.isalnum, sentence)):
        return " ".join(symbol for symbol in sentence if not symbol.isspace() and symbol not in ",'\"“”") or None
    if not items:
        sentence = _PAIR.sub(r"\1 \2", sentence) if _PAIR.fullmatch(sentence) else sentence.rpartition(": ")[2]
        items = sentence.split()
    if "," in sentence and len(items) > 1:
        *items, last = sentence.split(",")
        items += re.split(r"(?:\band|&)\s+", last)
    items = [" ".join(item.strip(" \t[]()\"'“”.").split()) for item in items]
    return " ".join(item for item in items if item) or None


def _bulleted(text: str) -> list[str]:
    """What the lines with bullets hold with which ``text`` begins."""
    items: list[str] = []
    for line in text.strip().split("\n"):
        bullet = _BULLET.fullmatch(line)
        if bullet is None:
            break
        items.append(bullet[1])
    return items if any(map(str.isalnum, "".join(items))) else []


def read_text(text: str, choices: Choices = None) -> str | None:
    """The first sentence without quotes."""
    return " ".join(first_sentence(text).strip(" \t\"'“”‘’").split()) or None


def read_latex(text: str, choices: Choices = None) -> str | None:
    """The expression in a box, between dollars, or the first sentence."""
    return read_math(text, first_sentence(text))


def comparable(text: str) -> str:
    """``text`` in the form in which texts are compared: in lower case, without a leading article, outer punctuation or
    extra spaces."""
    words = " ".join(text.casefold().split()).strip(" .,;:!?\"'“”‘’*")
    return _ARTICLE.sub("", words, count=1) if _ARTICLE.match(words) else words


READERS: dict[AnswerType, Callable[[str, Choices], str | None]] = {
    "letter": read_letter,
    "yes_no": read_yes_no,
    "true_false": read_true_false,
    "text": read_text,
}


_DISPLAY = re.compile(r"^(?:\\[\[(]|\$\$?)\s*|\s*(?:\\[\])]|\$\$?)\.?\s*$")
_AFTER_LINE = re.compile(r"^[\s:=]*\n\s*[-*•>]\s+")
_LATEX_WORD = re.compile(r"(?:\$|\\[(\[])\s?(\(?[A-Za-z]{1,10}\)?\.?)\s?(?:\$|\\[)\]])")
_UNNEEDED = " \n\t:="


def read_answer(text: str, answer_type: AnswerType, choices: Choices = None) -> str | None:
    """The canonical form of the answer with which ``text``, the words after "The answer is", begins, or None."""
    text = fold(text[:MAX_LENGTH])
    held = boxes(text) if "box" in text else []
    if held:
        text = held[-1][2]
    if answer_type == "number":
        return read_number(_AFTER_LINE.sub("", text).lstrip(_UNNEEDED))
    if answer_type == "math":
        return read_latex(text.strip().lstrip(_UNNEEDED))
    if answer_type == "list":
        text = _DISPLAY.sub("", text.strip().lstrip(_UNNEEDED)) if "\\" in text or "$" in text else text
        return read_list(plain(text).strip().lstrip(_UNNEEDED))
    read, plainer = READERS[answer_type], plain(_AFTER_LINE.sub("", text)).strip().lstrip(_UNNEEDED)
    answer = read(plainer, choices)
    if answer is None and answer_type in ("letter", "yes_no", "true_false"):  # second: a choice may be LaTeX itself
        answer = read(_LATEX_WORD.sub(r"\1", plainer).strip().lstrip(_UNNEEDED), choices)
    return answer


def read_gold(text: str, answer_type: AnswerType, choices: Choices = None) -> str | None:
    """The canonical form of a gold answer, or None if ``text`` is not of its type.

    A number is the whole of ``text``, except for a unit. A letter must be the letter, bracketed or not, or the exact
    text of one choice; a text is taken whole.
    """
    if answer_type == "text":
        return " ".join(text.split()) or None
    if answer_type == "math":
        return plain_math(text)
    if answer_type == "number":
        return gold_number(text)
    if answer_type != "letter":
        return read_answer(text, answer_type)
    if letter := re.fullmatch(r"\(?([A-Za-z])\)?\.?", text.strip()):
        return read_letter(letter[1].upper(), choices)
    same = [index for index, choice in enumerate(choices or ()) if comparable(choice) == comparable(text)]
    return chr(ord("A") + same[0]) if len(same) == 1 else None
