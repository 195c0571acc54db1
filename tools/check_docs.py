"""Check what the documentation names: links, files, targets of make and command lines of cotdistill.

A link must lead to a file, and to a heading of it. A file that is named must end the path of a file of the checkout, be
named in the source (which writes it), or be one that an example invents. A command line must name a command that
exists, options that it has and no more arguments than it takes; their values are not looked at.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from cotdistill.cli import app

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
FILE = re.compile(r"(?<![\w*{}<>$~/.:-])[\w.][\w./-]*\.(?:py|md|yaml|jsonl?|sh|toml|txt|png|jinja)\b(?![\w*{}<>/])")
TARGET = re.compile(r"(?:^ {4}|`)make ([a-z][a-z0-9-]*)", re.MULTILINE)
COMMAND_LINE = re.compile(r"(?:[A-Z_]+=\S+ +|\S+/|.* -m +)?cotdistill +([a-z].*)")
DIFF = re.compile(r"^```diff$.*?^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```.*?^```|(?:^ {4}[^\n]*\n?)+", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
END_OF_COMMAND = {"|", "||", "&&", ";", "&", ">", ">>"}

INVENTED = {
    "run.yaml", "study.yaml", "my.jsonl", "easy.jsonl", "rationales.jsonl", "out.jsonl",  # by examples
    "CoT_collection_en.json", "cot_collection.jsonl",  # downloaded, and made from it
    "curve.json",  # made by recipes/nano
    "sums.csv",  # of docs/own-data.md
    "cotdistill.schema.json",  # printed by cotdistill settings --schema
    "losses.py", "readers.py", "sums.py", "teacher.py", "own.yaml", "asked.yaml", "figures.py",  # of docs/own-parts.md
    "chat.yaml", "chat.jsonl", "messages.jsonl", "trl.jsonl", "sharegpt.jsonl",  # of docs/conversations.md
    "coin_flips.py",  # of docs/extending.md
    "vllm.yaml", "deepseek.yaml", "o-series.yaml", "brief.txt", "concise.yaml", "routed.yaml",  # of docs/teachers.md
    "checked.yaml",  # of docs/training.md
    "utils.py",  # which shall not exist
}  # fmt: skip
"""Names of files in the documentation that no checkout has."""


def checkout() -> list[str]:
    """Every file that git knows or would take, from the root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def faulty_links(path: Path, text: str) -> Iterator[str]:
    for target in LINK.findall(BLOCK.sub("", text)):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, heading = target.partition("#")
        led_to = (path.parent / name).resolve() if name else path
        if not led_to.exists():
            yield f"link to {target}: no such file"
        elif heading and heading not in map(anchor, HEADING.findall(led_to.read_text(encoding="utf-8"))):
            yield f"link to {target}: no such heading"


def anchor(heading: str) -> str:
    """What a link calls a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def faulty_files(text: str, files: Iterable[str], source: str) -> Iterator[str]:
    for name in FILE.findall(LINK.sub("", text)):
        base = name.rpartition("/")[2]
        if base in INVENTED or (base.split(".")[0].isupper() and f"/{base}" not in "/".join(files)):
            continue  # capitals stand for a name of the reader's own
        if name.startswith("mine/") or re.search(rf"\b{re.escape(base)}\b", source):
            continue
        if not any(f"/{file}".endswith(f"/{name.removeprefix('./')}") for file in files):
            yield f"{name}: no such file"


def commands(text: str) -> Iterator[tuple[str, bool]]:
    """Each command line of cotdistill behind its name, and whether it is whole (in prose it may lack arguments)."""
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if found := COMMAND_LINE.fullmatch(line.strip()):
                yield found[1], True
    for code in INLINE.findall(BLOCK.sub("", text)):
        if found := COMMAND_LINE.fullmatch(" ".join(code.split())):
            yield found[1], False


def fault_of(line: str, whole: bool) -> str | None:
    words = shlex.split(line, comments=True)
    ends = [place for place, word in enumerate(words) if word in END_OF_COMMAND]
    name, *arguments = words[: min(ends, default=None)]
    command = typer.main.get_command(app).commands.get(name)
    if arguments and hasattr(command, "commands"):  # a group, such as `recipe`
        command, (name, *arguments) = command.commands.get(arguments[0]), arguments
    if command is None:
        return f"cotdistill {line}: no command {name!r}"
    context = command.context_class(command, info_name=name)
    try:
        values, left, _ = command.make_parser(context).parse_args(arguments)
    except typer.TyperException as error:
        return f"cotdistill {line}: {error.format_message()}"
    if left:
        return f"cotdistill {line}: {name} takes no {' '.join(left)}"
    missing = [p.name for p in command.params if p.required and values.get(p.name) in (None, ())]
    return f"cotdistill {line}: lacks {', '.join(missing)}" if whole and missing else None


def main() -> None:
    files = checkout()
    source = "".join(
        (ROOT / name).read_text(encoding="utf-8") for name in files if name.startswith("src/") and name.endswith(".py")
    )
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    counts, faults = Counter[str](), list[str]()
    for name in (name for name in files if name.endswith(".md")):
        text = DIFF.sub("", (ROOT / name).read_text(encoding="utf-8"))  # a test applies these
        lines = list(commands(text))
        counts.update(files=1, links=len(LINK.findall(text)), names=len(FILE.findall(text)), commands=len(lines))
        found = [*faulty_links(ROOT / name, text), *faulty_files(text, files, source)]
        found += [f"make {target}: no such target" for target in TARGET.findall(text) if target not in targets]
        found += filter(None, (fault_of(*line) for line in lines))
        faults += [f"{name}: {fault}" for fault in found]
    print(*faults, sep="\n", end="\n" if faults else "")
    print(", ".join(f"{count} {what}" for what, count in counts.items()) + f"; {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
