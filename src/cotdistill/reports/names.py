"""Short names for many arms: without what they share, and numbered where that is not enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cotdistill.reports.evidence import Evidence
from cotdistill.reports.texts import one_line, short

WIDTH = 40
"""Characters of a short name at most."""
_FEW, _VERY_LONG = 6, 60
"""So many arms keep names up to this length: a table has room for them."""
_SEPARATORS = "-_/.:+"
_WORTH, _READABLE = 6, 9
"""Fewer shared letters than this are not worth an ellipsis; a word with fewer cannot be told from others."""


def labelled(evidence: Evidence) -> Evidence:
    """The evidence with short names for its arms, if they are many and long; ``full_names`` is the key to them."""
    names = list(dict.fromkeys([*evidence.arms, *(cell.arm for cell in evidence.missing), *_of_untested(evidence)]))
    longest = max(map(len, names), default=0)
    if longest <= (_VERY_LONG if len(names) <= _FEW else WIDTH):
        return evidence
    short_names = labels(names)
    arms = {
        short_names[name]: replace(arm, base=short_names.get(arm.base) if arm.base else None)
        for name, arm in evidence.arms.items()
    }
    return replace(
        evidence,
        arms=arms,
        comparisons=[replace(each, a=short_names[each.a], b=short_names[each.b]) for each in evidence.comparisons],
        missing=[replace(each, arm=short_names[each.arm]) for each in evidence.missing],
        untested=[replace(each, a=short_names[each.a], b=short_names[each.b]) for each in evidence.untested],
        examples=[replace(each, arms=[short_names[name] for name in each.arms]) for each in evidence.examples],
        full_names={label: name for name, label in short_names.items() if label != name},
    )


def _of_untested(evidence: Evidence) -> list[str]:
    return [name for pair in evidence.untested for name in (pair.a, pair.b)]


def labels(names: Sequence[str], width: int = WIDTH) -> dict[str, str]:
    """Different labels of at most ``width`` characters for different names; those that all fit stay as they are."""
    lines = {name: one_line(name) for name in names}
    if all(len(line) <= width for line in lines.values()) and _differ(lines):
        return lines
    long = [name for name, line in lines.items() if len(line) > width // 2]
    words = _told_apart([lines[name].split() for name in long])
    between = " \u00b7 " if any("=" in line for line in lines.values()) else " "
    for most in range(width, _READABLE, -1):  # of all names' words the longest give way, and alike in all
        joined = [between.join(short(word, most) for word in one) for one in words]
        if all(len(one) <= width for one in joined):
            break
    else:
        joined = [short(between.join(one), width) for one in words]
    found = lines | dict(zip(long, joined, strict=True))
    if _differ(found):
        return found
    width -= len(f"{len(names)}. ")
    return {name: f"{number}. {short(found[name], width)}" for number, name in enumerate(lines, 1)}


def _differ(found: Mapping[str, str]) -> bool:
    return len(set(found.values())) == len(found)


def _told_apart(names: Sequence[Sequence[str]]) -> list[list[str]]:
    """Names, word by word, without the words that all share; of KEY=VALUE the value, of others what differs in them."""
    if len(names) < 2:
        return [[" ".join(words)] for words in names]
    shared = set(names[0]).intersection(*map(set, names[1:]))
    own = [[word for word in words if word not in shared] or list(words[-1:]) for words in names]
    plain = _without_ends(sorted({word for words in own for word in words if "=" not in word}))
    return [[plain.get(word) or word.partition("=")[2] for word in words] for words in own]


def _without_ends(words: Sequence[str]) -> Mapping[str, str]:
    """The words, with an ellipsis for what all begin or end with, up to a separator."""
    begin, end = _num_shared(words), _num_shared([word[::-1] for word in words])
    if len(words) < 2 or any(len(word) <= begin + end for word in words):
        begin = end = 0
    first, last = ("\u2026" if length else "" for length in (begin, end))
    return {word: f"{first}{word[begin : len(word) - end]}{last}" for word in words}


def _num_shared(words: Sequence[str]) -> int:
    """How many letters all begin with, up to the last separator among them; 0 if they are few."""
    found = 0
    for number, letters in enumerate(zip(*words, strict=False), 1):
        if len(set(letters)) > 1:
            break
        found = number if letters[0] in _SEPARATORS else found
    return found if found >= _WORTH else 0
