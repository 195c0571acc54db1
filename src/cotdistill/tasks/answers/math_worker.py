"""A process that says whether two LaTeX expressions are the same. It reads ``[gold, stated]`` in JSON, a line each, and
writes true or false.

It is a process of its own because what a model wrote can make sympy compute for hours or take all memory, inside code
that no timeout reaches: the parent kills it then. Only LaTeX's grammar is parsed; nothing is evaluated as Python.
"""

from __future__ import annotations

import json
import sys

MEMORY = 4 << 30  # bytes of address space
SECONDS = 5


def main() -> None:
    _limit_memory()
    from math_verify import LatexExtractionConfig, parse, verify

    latex = [LatexExtractionConfig()]
    print("ready", flush=True)
    for line in sys.stdin:
        gold, stated = (
            parse(f"${text}$", latex, fallback_mode="no_fallback", parsing_timeout=SECONDS) for text in json.loads(line)
        )
        try:
            same = bool(gold and stated) and verify(gold, stated, timeout_seconds=SECONDS)
        except (MemoryError, RecursionError):
            same = False
        print(json.dumps(bool(same)), flush=True)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


if __name__ == "__main__":
    main()
