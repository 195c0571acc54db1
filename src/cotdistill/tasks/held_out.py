"""Which questions are held out: by a hash of their words, so that rows can be added or moved and equal questions stay
together."""

from __future__ import annotations

import hashlib


def lot(question: str, purpose: str = "") -> float:
    """A number from 0 to 1 that a question's text draws for a purpose; those of two purposes are independent."""
    words = purpose + " ".join(question.casefold().split())
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") / 2**64


def is_held_out(question: str, share: float, purpose: str = "") -> bool:
    """Whether a question is among the ``share`` that is held out for a purpose (by default the test)."""
    return lot(question, purpose) < share
