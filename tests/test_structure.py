"""Files and functions stay small enough to be read at once."""

from __future__ import annotations

import ast
from pathlib import Path

import cotdistill

SOURCE = Path(cotdistill.__file__).parent
MAX_FILE_LINES, MAX_FUNCTION_LINES = 350, 60


def test_no_source_file_is_long() -> None:
    sizes = {str(file.relative_to(SOURCE)): len(file.read_text("utf-8").splitlines()) for file in SOURCE.rglob("*.py")}
    assert len(sizes) > 100
    assert {name: size for name, size in sizes.items() if size > MAX_FILE_LINES} == {}


def test_no_function_is_long() -> None:
    sizes = {
        f"{file.relative_to(SOURCE)}: {node.name}": node.end_lineno - node.lineno + 1
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    assert len(sizes) > 500
    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES} == {}
