"""AIME: 30 problems a year, answered by an integer from 0 to 999. For testing only.

With so few problems one sample of each says little: usual are 8 to 64 samples at a temperature of 0.6 or 1.0, reported
as ``avg@k`` (often called pass@1) and ``maj@k``.
"""

from __future__ import annotations

import re

_INTEGER = re.compile(r"\s*([0-9]{1,3})\s*(?:\^\{?\\circ\}?)?\s*")


def integer(answer: object) -> str:
    """An answer from 0 to 999, without leading zeros or the degree sign that one answer has; any other as it is."""
    found = _INTEGER.fullmatch(str(answer))
    return str(int(found[1])) if found else f"{answer}, which is not an integer from 0 to 999"
