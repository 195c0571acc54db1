"""The commands that list the recipes of this installation and copy one of them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Annotated

import typer

from cotdistill.cli.common import BEGIN, AsJson, answer, app, put

recipe = typer.Typer(
    help="List the recipes, experiments with their results, or copy one to change it.", no_args_is_help=True
)
app.add_typer(recipe, name="recipe", rich_help_panel=BEGIN)


@recipe.command("list")
def list_recipes(as_json: AsJson = False) -> None:
    """What each recipe asks, and its experiment files."""
    rows = re.findall(
        r"^\| \[([\w-]+)\]\S* \| (.+) \|$", (recipes_folder() / "README.md").read_text("utf-8"), re.MULTILINE
    )
    questions = dict(rows)
    found = {folder.name: {"question": questions[folder.name], "files": _experiments(folder)} for folder in _folders()}
    files = {name: ", ".join(row["files"]) or "(no experiment file)" for name, row in found.items()}
    lines = [line for name, row in found.items() for line in (f"{name}: {row['question']}", f"    {files[name]}")]
    answer(found, lines, as_json)


@recipe.command("copy")
def copy_recipe(
    name: Annotated[str, typer.Argument(help="a name of `cotdistill recipe list`")],
    to: Annotated[Path | None, typer.Option(help="the folder to make; default: the recipe's name, here")] = None,
) -> None:
    """Copy a recipe into a new folder."""
    from cotdistill.errors import ConfigError, nearest

    folders = {folder.name: folder for folder in _folders()}
    if name not in folders:
        raise ConfigError(f"no recipe {name!r}", where="recipe copy", remedy=nearest(name, folders))
    target = to or Path(name)
    if target.exists():
        raise ConfigError("it exists", where=target, remedy="give another folder with --to")
    shutil.copytree(folders[name], target, ignore=shutil.ignore_patterns("__pycache__"))
    put(f"{target}/: {', '.join(sorted(file.name for file in target.iterdir()))}")
    if experiments := _experiments(target):
        put(f"next: cotdistill plan {target / experiments[0]}")


def recipes_folder() -> Path:
    """In an installed package the recipes lie in it; in a checkout beside the source."""
    package = Path(__file__).parents[1]
    return next(folder for folder in (package / "recipes", package.parents[1] / "recipes") if folder.is_dir())


def _folders() -> list[Path]:
    return sorted(folder for folder in recipes_folder().iterdir() if (folder / "README.md").is_file())


def _experiments(folder: Path) -> list[str]:
    """The files that the experiment commands take, the smallest first."""
    order = ["nano.yaml", "run.yaml", "study.yaml"]
    files = [file.name for file in folder.glob("*.yaml") if "\narms:" in f"\n{file.read_text('utf-8')}"]
    return sorted(files, key=lambda name: (order.index(name) if name in order else len(order), name))
