"""Which rationales are kept: all, those that their teacher finished, those of them whose teacher stated the gold
answer, or those that were verified as well."""

from __future__ import annotations

from typing import Literal

from cotdistill.annotation.rationales import Dropped, DropReason
from cotdistill.rationales.faults import find_faults
from cotdistill.records import Rationale

Keep = Literal["all", "finished", "agree", "verified"]

_UNFINISHED: dict[str | None, DropReason] = {
    "length": "truncated",
    "content_filter": "filtered",
    "error": "failed",
}
"""What a teacher's finish reason says about an incomplete text."""


def refusal(rationale: Rationale, keep: Keep) -> Dropped | None:
    """Why a rationale is dropped, or None.

    It is empty; its teacher was cut off, filtered or failed (except under ``all``); under ``agree`` the teacher stated
    another answer or none; under ``verified`` it has a fault (:func:`find_faults`), the first of which is named. A
    teacher without an answer of its own (people, the solver) always agrees.
    """
    if rationale.rationale == "":
        return Dropped.of(rationale, "empty_rationale")
    if keep == "all":
        return None
    if unfinished := _UNFINISHED.get(rationale.meta.get("finish_reason")):
        return Dropped.of(rationale, unfinished, (rationale.rationale or "")[-80:])
    if keep == "finished":
        return None
    if not rationale.meta.get("teacher_agrees", True):
        stated = rationale.meta["teacher_answer"]
        return Dropped.of(rationale, "no_stated_answer" if stated is None else "disagrees", str(stated or ""))
    faults = find_faults(rationale) if keep == "verified" else []
    return Dropped.of(rationale, faults[0].reason, faults[0].evidence) if faults else None
