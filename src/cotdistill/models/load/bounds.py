"""A model is built no larger than its files: a config that says otherwise is refused before memory is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from cotdistill.errors import ModelError
from cotdistill.models.load.untrusted import SAFE

_TIMES = 4
"""A model is first built without memory, and so may be somewhat larger than its files: tied weights count twice, and
layers that are packed are built twice."""
_BESIDE = 1 << 24
"""Numbers beside those in the files, such as masks and rotations by position."""
_PER_TENSOR = 8
"""Weights of a model that may be one tensor of a file."""


@contextmanager
def no_larger_than(files: Sequence[Path], where: str) -> Iterator[None]:
    """Raise ModelError as soon as a model that is being built on the meta device outgrows the weights in ``files``."""
    tensors, numbers = map(sum, zip(*map(_size, files), strict=True))
    left = {"tensors": _PER_TENSOR * tensors + 1000, "numbers": _TIMES * numbers + _BESIDE}

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        if tensor is None or not tensor.is_meta:  # loaded, and so in the files
            return
        left["tensors"] -= 1
        left["numbers"] -= tensor.numel()
        if min(left.values()) < 0:
            raise ModelError(
                f"its config.json describes a larger model than its weights make ({numbers:,} numbers in {tensors:,} "
                f"tensors)",
                where=where,
                remedy="get the model again",
            )

    hooks: list[Any] = [
        register_module_parameter_registration_hook(count),
        register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _size(file: Path) -> tuple[int, int]:
    """At most how many tensors and numbers a file holds; formats that are not looked into pack eight into a byte."""
    if not file.name.endswith(SAFE):
        return file.stat().st_size // 32, 8 * file.stat().st_size
    with safe_open(file, framework="pt") as content:
        found = [content.get_slice(name) for name in content.keys()]  # noqa: SIM118
        return len(found), sum(_numbers(one.get_dtype(), one.get_shape()) for one in found)


def _numbers(dtype: str, shape: Sequence[int]) -> int:
    """Whole numbers may be packed ones of two bits each."""
    packed = {"U8": 4, "I8": 4, "I16": 8, "U16": 8, "I32": 16, "U32": 16, "I64": 32, "U64": 32}.get(dtype, 1)
    size = packed
    for length in shape:
        size *= length
    return size
