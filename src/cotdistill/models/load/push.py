"""A student's folder on the Hugging Face hub: what would go there, checked for what must not, and sent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotdistill.config import ModelConfig
from cotdistill.errors import ConfigError, ModelError
from cotdistill.models.load.source import base_of, is_adapter, is_hub_name
from cotdistill.models.load.untrusted import GGUF, PICKLES, SAFE

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_PATH = re.compile(r"(?<![\w:/.<])/(?:[\w.@+-]+/)+[\w.@+-]*")
_HOME = re.compile(r"/(?:home|Users)/[\w.-]+/")
_KEY = re.compile(r"\b(?:hf_[A-Za-z0-9]{24,}|sk-[\w-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|AKIA[A-Z0-9]{16})")
_SECRET_VARIABLE = re.compile(r"KEY|TOKEN|SECRET|PASSW", re.IGNORECASE)
_LEAST = 12
"""Characters that a variable's value must have to be looked for: shorter ones are words."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is to be sent: a folder's files with their sizes in bytes, and its card."""

    folder: Path
    name: str
    files: dict[str, int]
    card: str

    def to_row(self) -> dict[str, Any]:
        return {"name": self.name, "files": self.files, "bytes": sum(self.files.values()), "card": self.card}


def packed(folder: Path, name: str) -> Parcel:
    """The files of a model's ``folder``, to be called ``name`` on the hub.

    Raises ConfigError for a name that is not OWNER/NAME, and ModelError for weights that are pickles, adapters whose
    base is not on the hub, and a path of this machine or a secret in any of the files.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name[:200]!r} is no name of a model on the hub", where="push", remedy="write OWNER/NAME")
    if not folder.is_dir():
        raise ModelError("it is not a folder", where=folder, remedy="give a training's folder, or a model's")
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    for file in files:
        if file.name.endswith(PICKLES):
            raise ModelError("pickles can run code", where=file, remedy="save the weights as safetensors")
        if not file.name.endswith((SAFE, GGUF)):
            _check_text(file)
    if is_adapter(folder):
        base = base_of(ModelConfig(model=str(folder)), folder).model
        if not is_hub_name(base):
            problem = f"its adapters belong to {base}, which is not on the hub"
            raise ModelError(problem, where=folder, remedy="train with training.adapter: {merge: true}")
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    return Parcel(folder, name, {str(file.relative_to(folder)): file.stat().st_size for file in files}, text)


def push(parcel: Parcel, *, private: bool) -> str:
    """Send the files in one commit, to a repository that is made if it is not there; returns the commit's address.

    The token is ``HF_TOKEN``, or that of `hf auth login`; ``HF_ENDPOINT`` may name another hub. Raises ConfigError
    without a token, and ModelError if the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if not get_token():
        raise ConfigError("there is no token for the hub", where="push", remedy="set HF_TOKEN, or run `hf auth login`")
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    operations = [CommitOperationAdd(name, parcel.folder / name) for name in parcel.files]
    try:
        api.create_repo(parcel.name, private=private, exist_ok=True)
        done = api.create_commit(parcel.name, operations, commit_message="A student trained by cotdistill")
    except Exception as error:  # the classes differ between the hub library's HTTP clients
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(f"it could not be pushed ({reason})", where=parcel.name, remedy="check the token") from None
    return done.commit_url


def _check_text(file: Path) -> None:
    """Raise ModelError for a path of this machine or a secret; what was found is shown only if it is a path."""
    text = file.read_text(encoding="utf-8", errors="replace")
    if path := next(_local_paths(text), None):
        problem, remedy = f"it names a path of this machine, {path[:200]}", "write another name there, or train again"
        raise ModelError(problem, where=file, remedy=remedy)
    for name, value in os.environ.items():
        if _SECRET_VARIABLE.search(name) and len(value) >= _LEAST and value in text:
            raise ModelError(f"it holds the value of ${name}", where=file, remedy="remove it")
    if _KEY.search(text):
        raise ModelError("it holds what looks like a key of a service", where=file, remedy="remove it")


def _local_paths(text: str) -> Iterator[str]:
    """Absolute paths that exist here, or are below a home folder of any machine."""
    yield from (match[0] for match in _HOME.finditer(text))
    for match in _PATH.finditer(text):
        first, second, *_ = (*Path(match[0]).parts[1:], "")
        if second and Path("/", first, second).exists():
            yield match[0]
