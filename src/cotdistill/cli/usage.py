"""What to do about a command line that is written as other tools have it."""

from __future__ import annotations

import re

_COMMANDS = {
    "run": "distill distil start go launch",
    "train": "sft fit finetune fine-tune tune",
    "evaluate": "eval test benchmark",
    "annotate": "label generate-data collect",
    "ask": "chat generate predict infer inference",
    "init": "new create begin setup",
    "plan": "dry-run validate estimate",
    "report": "compare results summary",
    "recipe list": "examples recipes list",
    "settings": "config options",
    "doctor": "info env version-info",
    "--version": "version",
    "--help": "help",
}
_COMMAND_OF = {word: command for command, words in _COMMANDS.items() for word in words.split()}
_FILE = ("config", "config_file", "config_path", "c", "f", "file", "yaml", "recipe")


def advice(message: str) -> str | None:
    """What to write instead, from what the parser says about a command line; None where it says so itself."""
    if found := re.fullmatch(r"No such command '([^']*)'\.?", message):
        return _of_command(found[1].lower())
    if found := re.match(r"No such option: -+([\w.-]+)", message):
        return _of_option(found[1].lower().replace("-", "_"))
    if found := re.search(r"unexpected extra argument.* \(([\w.]+=\S+?)\)", message):
        return f"write --set {found[1]}"
    return None


def _of_command(word: str) -> str | None:
    if word.endswith((".yaml", ".yml")):
        return f"write cotdistill run {word}"
    if word.endswith((".csv", ".jsonl", ".json", ".parquet")):
        return f"write cotdistill init {word}"
    command = _COMMAND_OF.get(word)
    return f"write cotdistill {command}" if command else None


def _of_option(name: str) -> str | None:
    from cotdistill.config import CellConfig
    from cotdistill.config.elsewhere import called_here, known_elsewhere
    from cotdistill.config.validation import misplaced

    if name in _FILE:
        return "write the experiment file without an option: cotdistill run experiment.yaml"
    key = name if name in CellConfig.model_fields or "." in name else called_here(name)
    if key is None and (found := misplaced(CellConfig, name)):
        key = found.split("'")[1] if "'" in found else None
    if key:
        return f"it is a setting of the experiment file: {key}, or --set {key}=VALUE"
    return known_elsewhere(name)
