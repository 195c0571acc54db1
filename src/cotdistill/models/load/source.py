"""Where a model is and what it is: its folder on this machine, and the text that identifies it in keys.

Nothing here loads torch, so that runs can be planned without it.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path

from cotdistill.config import ModelConfig
from cotdistill.errors import ModelError
from cotdistill.models.load import builtin, first_qwen, hub
from cotdistill.models.load.untrusted import GGUF, PICKLES, SAFE, check_folder, read_object
from cotdistill.storage.hashes import file_sha256

CONFIG_SUFFIXES = (".json", ".jinja", ".model", ".txt", ".tiktoken")
WEIGHT_SUFFIXES = (SAFE, GGUF)
ADAPTER_CONFIG = "adapter_config.json"
BASE_MODEL = "base_model.json"
_MOST_ADAPTERS = 8
_TOKENIZERS = ("tokenizer", "vocab", "merges", "spiece", "sentencepiece", "tekken", "qwen.tiktoken")
"""What the files of tokenizers begin with."""
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def model_identity(config: ModelConfig) -> str:
    """All that makes this model what it is, as one text: the hash of its files, or its name with a pinned version.

    A folder's identity does not depend on its path. Raises ModelError if the model cannot be found.
    """
    cut = f"+keep_layers={config.keep_layers}" if config.keep_layers else ""
    if config.date != ModelConfig.model_fields["date"].default:
        cut += f"+date={config.date}"
    if config.system is not None:
        cut += f"+system={config.system!r}"
    if config.template:
        cut += f"+template={json.dumps(dict(config.template))}"
    if config.model == builtin.SMOLLM2:
        return f"{builtin.SMOLLM2}@{builtin.SMOLLM2_VERSION}{cut}"
    if is_hub_name(config.model):
        return f"{config.model}@{hub.resolve_commit(config.model, config.revision)}{cut}"
    path = _found(config)
    base = f"+{model_identity(base_of(config, path))}" if is_adapter(path) else ""
    return f"sha256:{_files_sha256(_model_files(config, path))}{base}{cut}"


def check_found(config: ModelConfig) -> None:
    """Raise ModelError for a model that cannot be found or may not be read, as :func:`model_identity` does, and for a
    folder without a tokenizer. No weights are read and nothing is fetched."""
    if config.model == builtin.SMOLLM2:
        return
    if is_hub_name(config.model):
        hub.resolve_commit(config.model, config.revision)
        return
    path = _found(config)
    base = base_of(config, path) if is_adapter(path) else None
    if base is not None:
        check_found(base)
    _model_files(config, path)
    if path.is_dir() and not any(file.name.startswith(_TOKENIZERS) or file.suffix == GGUF for file in path.iterdir()):
        remedy = f"copy tokenizer.json and tokenizer_config.json{f' of {base.model}' if base else ''} into it"
        raise ModelError(f"there is no tokenizer in {path}", where=config.model, remedy=remedy)


def locate(config: ModelConfig) -> Path:
    """The model's folder on this machine, or its GGUF file; fetched or converted first if needed.

    Raises ModelError if there is none, or if it may not be read (:func:`check_folder`).
    """
    path = _found(config)
    if path.is_dir() and first_qwen.is_first_qwen(path):
        return first_qwen.as_qwen2(path, lambda: _files_sha256(_model_files(config, path)))
    return path


def is_read_by_name(config: ModelConfig) -> bool:
    """Whether other libraries read the model by the name that it has here: it is on the hub, and not converted."""
    return is_hub_name(config.model) and locate(config) == _found(config)


def _found(config: ModelConfig) -> Path:
    """As :func:`locate`, before it is converted."""
    if config.model.startswith(builtin.PREFIX):
        return builtin.builtin_folder(config.model)
    path = hub.fetch(config, _suffixes(config)) if is_hub_name(config.model) else Path(config.model)
    if not path.exists():
        raise ModelError("no such model folder", where=config.model, remedy=hub.ELSEWHERE)
    if path.is_dir():
        check_folder(config, path)
    return path


def is_adapter(folder: Path) -> bool:
    return (folder / ADAPTER_CONFIG).is_file()


def config_folder(config: ModelConfig) -> Path:
    """The folder with the model's architecture: its own, or that of the model that its adapters belong to."""
    path = locate(config)
    return config_folder(base_of(config, path)) if is_adapter(path) else path


def base_of(config: ModelConfig, folder: Path) -> ModelConfig:
    """The model that the adapters in ``folder``, which ``config`` names, belong to.

    Raises ModelError if the folder does not say, if it names itself, if the base needs to be trusted with more than
    ``config`` is, or if it has changed since the adapters were trained.
    """
    base, identity = _named_base(folder)
    _refuse_circle(folder, base)
    for name in ("trust_remote_code", "allow_pickle"):
        if getattr(base, name) and not getattr(config, name):
            problem = f"the model of its adapters, {base.model}, needs {name}"
            raise ModelError(problem, where=folder, remedy=f"set {name}: true if you trust it")
    if identity is not None and model_identity(base) != identity:
        raise ModelError(
            f"its adapters belong to another version of {base.model}",
            where=folder,
            remedy="restore that version, or train again (merge: true needs no base)",
        )
    return base


def _named_base(folder: Path) -> tuple[ModelConfig, str | None]:
    """The model that adapters name, and its identity where they were made by us."""
    ours = (folder / BASE_MODEL).is_file()
    described = read_object(folder / (BASE_MODEL if ours else ADAPTER_CONFIG))
    try:
        if ours:
            return ModelConfig.model_validate(described["model"]), str(described["identity"])
        named = {"model": described["base_model_name_or_path"] or None, "revision": described.get("revision")}
        return ModelConfig.model_validate(named), None
    except (ValueError, KeyError):
        raise ModelError("it does not say which model its adapters belong to", where=folder) from None


def _refuse_circle(folder: Path, base: ModelConfig) -> None:
    seen = [folder.resolve()]
    while is_adapter(place := Path(base.model)) and len(seen) < _MOST_ADAPTERS:
        if place.resolve() in seen:
            raise ModelError("its adapters belong to themselves", where=folder, remedy="name a model as their base")
        seen.append(place.resolve())
        base, _ = _named_base(place)
    if len(seen) == _MOST_ADAPTERS:
        raise ModelError(f"{len(seen)} adapters belong to each other", where=folder, remedy="merge some of them")


def is_hub_name(name: str) -> bool:
    """Whether ``name`` can only mean a model on the hub: it is neither built in nor a path, and no such file exists."""
    return (
        not name.startswith(builtin.PREFIX)
        and not name.endswith(".gguf")
        and HUB_NAME.fullmatch(name) is not None
        and not Path(name).exists()
    )


def _suffixes(config: ModelConfig) -> tuple[str, ...]:
    """The endings of files that this config allows to read."""
    code = (".py",) if config.trust_remote_code else ()
    pickle = PICKLES if config.allow_pickle else ()
    return (*CONFIG_SUFFIXES, *WEIGHT_SUFFIXES, *code, *pickle)


def _model_files(config: ModelConfig, path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    candidates = (*path.iterdir(), *path.glob("additional_chat_templates/*"))
    files = [file for file in candidates if file.is_file() and file.name.endswith(_suffixes(config))]
    if not any(file.name.endswith((*WEIGHT_SUFFIXES, *PICKLES)) for file in files):
        raise no_weights(config, path)
    return sorted(files)


def no_weights(config: ModelConfig, path: Path) -> ModelError:
    """The error for a folder without weights that may be loaded."""
    if any(file.name.endswith(PICKLES) for file in path.iterdir()):
        return ModelError(
            "its weights are pickle files, which can run code when loaded",
            where=config.model,
            remedy="convert them to safetensors, or set allow_pickle: true if you trust their source",
        )
    return ModelError(
        f"there are no safetensors or GGUF weights in {path}",
        where=config.model,
        remedy="give the folder that holds config.json and model.safetensors"
        + ("" if config.allow_pickle else ", or set allow_pickle: true if it has pickle weights that you trust"),
    )


def _files_sha256(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        stat = file.stat()
        digest.update(f"{file.name} {_cached_sha256(file.resolve(), stat.st_size, stat.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


@cache
def _cached_sha256(file: Path, size: int, mtime_ns: int) -> str:
    """``size`` and ``mtime_ns`` are part of the key: a rewritten file is hashed again."""
    return file_sha256(file)
