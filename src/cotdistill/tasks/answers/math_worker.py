"""A process that says whether two LaTeX expressions are the same. It reads ``[gold, stated, whole]`` in JSON, a line
each, and writes ``[same, read]``: with ``whole`` math-verify finds the answer in a completion, which is ``read``.

It is a separate process because what a model wrote can make sympy compute for hours or take all memory, in code that no
timeout reaches; the parent then kills it. Only LaTeX's grammar is parsed; nothing is evaluated as Python.
"""

from __future__ import annotations

import json
import sys

MEMORY = 4 << 30  # bytes of address space
SECONDS = 5


def main() -> None:
    _limit_memory()
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    latex = [LatexExtractionConfig()]
    print("ready", flush=True)
    for line in sys.stdin:
        answer, text, whole = json.loads(line)
        gold = parse(f"${answer}$", latex, fallback_mode="no_fallback", parsing_timeout=SECONDS)
        if whole:
            stated = parse(text, [*latex, ExprExtractionConfig()], parsing_timeout=SECONDS)
        else:
            stated = parse(f"${text}$", latex, fallback_mode="no_fallback", parsing_timeout=SECONDS)
        try:
            same = bool(gold and stated) and verify(gold, stated, timeout_seconds=SECONDS)
        except (MemoryError, RecursionError):
            same = False
        print(json.dumps([bool(same), str(stated[-1]) if stated else None]), flush=True)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


if __name__ == "__main__":
    main()
