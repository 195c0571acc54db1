"""The code blocks of the documentation's pages, in the order in which a reader meets them.

A block is fenced, or indented by four spaces, which is a shell's. What a comment right above it says holds for it:
``<!-- not run: REASON -->``, or ``<!-- run with: ARGUMENTS -->``, which are added to its commands. A page of which
nothing can be run says so once: ``<!-- no block is run: REASON -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    {page for pattern in ("*.md", "docs/*.md", "recipes/**/*.md", "benchmarks/*.md") for page in ROOT.glob(pattern)}
)

_BLOCK = re.compile(
    r"(?:^<!-- (?P<said>.*?) -->\n\n?)?"
    r"(?:^```(?P<kind>\w*)\n(?P<fenced>.*?)^```$|(?P<indented>(?:^ {4}[^\n]*\n)+))",
    re.MULTILINE | re.DOTALL,
)
_PAGE = re.compile(r"^<!-- no block is run: (.*?) -->$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"# ([\w-]+\.\w+)\n")


@dataclass(frozen=True, slots=True)
class Block:
    """One block: ``kind`` is the fence's language or ``shell``; ``name`` the file that its first line names."""

    line: int
    kind: str
    name: str | None
    text: str
    not_run: str
    added: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    whole = _PAGE.search(text)
    for match in _BLOCK.finditer(text):
        fenced, said = match["fenced"], match["said"] or ""
        body = fenced if fenced is not None else re.sub(r"^ {4}", "", match["indented"], flags=re.MULTILINE)
        kind, name = ("shell", None) if fenced is None else (match["kind"], _NAME.match(body))
        yield Block(
            text.count("\n", 0, match.start()) + 1,
            kind,
            name[1] if name else None,
            body,
            whole[1] if whole else said.removeprefix("not run: ") if said.startswith("not run: ") else "",
            said.removeprefix("run with: ") if said.startswith("run with: ") else "",
        )
