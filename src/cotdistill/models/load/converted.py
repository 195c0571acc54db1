"""Folders of models that were converted once and are kept in ``$COTDISTILL_CACHE`` (default ``~/.cache/cotdistill``).

Each lists the SHA-256 of its files, which are checked once per process.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError

from cotdistill.errors import ModelError
from cotdistill.storage.atomic import write_json_atomically
from cotdistill.storage.hashes import file_sha256

MANIFEST = "manifest.json"
_checked: set[Path] = set()


def cache_folder() -> Path:
    """``$COTDISTILL_CACHE``, or ``~/.cache/cotdistill``."""
    place = Path(os.environ.get("COTDISTILL_CACHE") or "~/.cache/cotdistill")
    try:
        return place.expanduser()
    except RuntimeError as error:
        raise ModelError(f"no place for models ({error})", where=place, remedy="set COTDISTILL_CACHE") from None


def converted_folder(name: str, convert: Callable[[Path], Path], *, needs: str) -> Path:
    """The folder ``name`` of the cache. If it is not there, ``convert`` makes it below a folder that it is given.

    ``needs`` says how much space it takes. Raises ModelError if it cannot be written or has changed since.
    """
    root = cache_folder()
    folder = root / name
    if folder in _checked and folder.is_dir():
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{name}.lock"):
            if folder.exists():
                check_manifest(folder)
            else:
                _make(folder, convert)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"cannot write to the cache ({getattr(error, 'strerror', None) or error})",
            where=root,
            remedy=f"free {needs}, or set COTDISTILL_CACHE to a writable folder",
        ) from None
    _checked.add(folder)
    return folder


def _make(folder: Path, convert: Callable[[Path], Path]) -> None:
    """Convert in a folder beside ``folder``, then rename it: a kill never leaves half a model behind."""
    for left_over in folder.parent.glob(f"{folder.name}.partial-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=folder.parent))
    try:
        converted = convert(work)
        write_manifest(converted)
        converted.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_manifest(folder: Path) -> None:
    """Write down the SHA-256 of every file in ``folder``."""
    files = {file.name: file_sha256(file) for file in sorted(folder.iterdir())}
    write_json_atomically(folder / MANIFEST, {"files": files})


def check_manifest(folder: Path) -> None:
    """Raise ModelError if a file of ``folder`` differs from its manifest."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        broken = [name for name, sha256 in files.items() if file_sha256(folder / name) != sha256]
    except (FileNotFoundError, ValueError, KeyError) as error:
        broken = [str(error)]
    if broken:
        raise ModelError(
            f"the cached model is corrupted ({broken[0]})", where=folder, remedy="delete this folder and run again"
        )
