"""Build the documentation site into build/site, without a network, and check every link in it.

Pages are the Markdown files of the checkout, in the same places, so that their links work here and there; the reference
is made from the code, and notebooks are run. A link to a file that is no page (source, an experiment) becomes its text
in a code font.
"""

from __future__ import annotations

import html.parser
import inspect
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import nbformat
import typer
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

import cotdistill
from cotdistill.cli import app
from cotdistill.cli.settings import described, section_keys

ROOT = Path(__file__).parents[1]
SOURCE, SITE = ROOT / "build" / "site-source", ROOT / "build" / "site"
PAGES = ("benchmarks/*.md", "docs/*.md", "docs/*.png", "docs/*.svg", "recipes/**/*.md", "recipes/**/*.png", "*.md")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def collect() -> None:
    """Copy every page to where it is in the checkout; ``docs/index.md`` is the site's first, in place of the README."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    for file in sorted({file for pattern in PAGES for file in ROOT.glob(pattern)} - {ROOT / "README.md"}):
        target = SOURCE / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".md":
            target.write_text(_with_links_to_pages(file), encoding="utf-8")
        else:
            shutil.copy(file, target)
    index = (SOURCE / "docs" / "index.md").read_text(encoding="utf-8")
    (SOURCE / "index.md").write_text(re.sub(r"\]\((?!\.\./|http|#)", "](docs/", index).replace("](../", "]("), "utf-8")
    (SOURCE / "docs" / "index.md").unlink()


def _with_links_to_pages(file: Path) -> str:
    def link(match: re.Match[str]) -> str:
        text, target, _ = match.groups()
        if "://" in target or target.endswith(".md") or target.startswith("reference/"):
            return match[0]
        return text if text.startswith("`") else f"`{text}`"

    return LINK.sub(link, file.read_text(encoding="utf-8"))


def reference() -> None:
    folder = SOURCE / "reference"
    folder.mkdir()
    (folder / "settings.md").write_text("\n".join(settings_page()), encoding="utf-8")
    (folder / "commands.md").write_text("\n".join(commands_page()), encoding="utf-8")
    (folder / "python.md").write_text("\n".join(python_page()), encoding="utf-8")


def notebooks() -> None:
    """Run each notebook of ``docs`` in an empty folder, and make a page of it with what it printed and drew."""
    for file in sorted((ROOT / "docs").glob("*.ipynb")):
        notebook = nbformat.read(file, nbformat.NO_CONVERT)
        with tempfile.TemporaryDirectory() as folder:
            NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
        for cell in notebook.cells:
            if cell.cell_type == "code":  # what goes to stderr is progress
                cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        text, resources = MarkdownExporter().from_notebook_node(notebook, {"unique_key": file.stem})
        (SOURCE / "docs" / f"{file.stem}.md").write_text(text, encoding="utf-8")
        for name, content in resources["outputs"].items():
            (SOURCE / "docs" / name).write_bytes(content)


def settings_page() -> Iterator[str]:
    yield "# Settings\n"
    yield "Every key that an experiment file may hold; `cotdistill settings KEY` prints the same.\n"
    for key in section_keys():
        yield f"## {key or 'The file'}\n"
        yield f"```yaml\n{described(key)}\n```\n"


def commands_page() -> Iterator[str]:
    yield "# Commands\n"
    yield "All take `--help`. Errors are one line and exit with status 2.\n"
    group = typer.main.get_command(app)
    every = [part for name, command in group.commands.items() for part in _with_parts(name, command)]
    yield "| command | does |\n|---|---|"
    yield from (f"| [`{words}`](#cotdistill-{words.replace(' ', '-')}) | {_first_line(one)} |" for words, one in every)
    yield ""
    for words, one in every:
        yield f"## cotdistill {words}\n"
        yield f"{one.help}\n"
        yield from (f"- {line}" for line in map(_described, one.params) if line)
        yield ""


def _first_line(command: typer.core.TyperCommand) -> str:
    return (command.help or "").strip().split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _with_parts(name: str, command: typer.core.TyperGroup) -> Iterator[tuple[str, typer.core.TyperCommand]]:
    for part, one in getattr(command, "commands", {"": command}).items():
        yield f"{name} {part}".strip(), one


def _described(parameter: typer.core.TyperOption | typer.core.TyperArgument) -> str:
    """One argument or option in a line; "" for --help."""
    if parameter.name == "help":
        return ""
    help_text = getattr(parameter, "help", None)
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`: {help_text}"
    default = parameter.default
    shown = "" if default in (None, False, [], ()) or callable(default) else f" (default: `{default}`)"
    return f"`{', '.join(parameter.opts)}`: {help_text}{shown}"


def python_page() -> Iterator[str]:
    """Each public name by its module. Ends the script for a name without a docstring."""
    yield "# Python\n"
    yield "`import cotdistill as cot`; names load when they are first used.\n"
    bare: list[str] = []
    for home in cotdistill._HOMES:
        yield f"## {home}\n"
        module = cotdistill._module(home)
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isclass(found) or inspect.isroutine(found):
                if not inspect.getdoc(found) or inspect.getdoc(found) == inspect.getdoc(object):
                    bare.append(f"{home}.{name}")
                yield f"::: cotdistill.{found.__module__.removeprefix('cotdistill.')}.{found.__name__}\n"
    if bare:
        sys.exit(f"public names without a docstring: {', '.join(bare)}")


class _Anchors(html.parser.HTMLParser):
    def __init__(self, page: Path):
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.links.append(value)
            elif value and name in ("id", "name"):
                self.ids.add(value)


def faulty_links() -> Iterator[str]:
    """Each link of a built page that leads nowhere in the site, and each file that a page loads from elsewhere."""
    pages = {page: _Anchors(page) for page in SITE.rglob("*.html")}
    for page, anchors in pages.items():
        for link in sorted(set(anchors.links)):
            address, fragment = urldefrag(link)
            if urlparse(address).scheme or address.startswith("//"):
                continue
            target = (
                SITE / address.lstrip("/") if address.startswith("/") else page.parent / unquote(address)
            ).resolve()
            target = page if not address else target / "index.html" if target.is_dir() else target
            missing = not target.exists() or (
                fragment and target in pages and unquote(fragment) not in pages[target].ids
            )
            if missing and page.name != "404.html":
                yield f"{page.relative_to(SITE)}: {link}"


def main() -> None:
    collect()
    reference()
    notebooks()
    program = Path(sys.executable).with_name("zensical")
    done = subprocess.run([program, "build", "--clean", "--strict"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode or not (SITE / "index.html").is_file():
        sys.exit(f"{done.stdout}{done.stderr}zensical: exit status {done.returncode}")
    if faults := list(faulty_links()):
        sys.exit("\n".join([*faults, f"{len(faults)} dead links"]))
    print(f"{len(list(SITE.rglob('*.html')))} pages, no dead link: {SITE / 'index.html'}")


if __name__ == "__main__":
    main()
