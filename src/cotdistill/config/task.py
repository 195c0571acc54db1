"""The questions: a built-in benchmark, a file, or the procedural generators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from cotdistill.config.base import PLACE, FolderPath, Settings
from cotdistill.errors import nearest
from cotdistill.records import AnswerType

__all__ = [
    "BENCHMARKS",
    "PROCEDURAL_KINDS",
    "BenchmarkTask",
    "FileTask",
    "ProceduralTask",
    "TaskConfig",
]

_BENCHMARK_FILES = Path(__file__).parents[1] / "tasks" / "benchmarks"
BENCHMARKS = tuple(sorted(file.stem for file in _BENCHMARK_FILES.glob("*.py") if not file.stem.startswith("_")))
"""Names of the built-in benchmarks: those of the files in ``tasks/benchmarks/``."""

PROCEDURAL_KINDS = (
    "boolean_expressions",
    "date_understanding",
    "dyck_languages",
    "logical_deduction",
    "multistep_arithmetic",
    "navigate",
    "object_counting",
    "tracking_shuffled_objects",
    "web_of_lies",
    "word_sorting",
)
"""Names of the generators of the procedural task; each is one file in ``tasks/procedural/``."""


class BenchmarkTask(Settings):
    """A built-in benchmark, read from ``data_dir`` where given, from the model hub otherwise."""

    kind: Literal["benchmark"] = "benchmark"
    name: str
    data_dir: Annotated[FolderPath | None, PLACE] = None
    subtasks: tuple[str, ...] | None = Field(default=None, description="of bbh and mmlu: only these")
    num_train: int | None = Field(default=None, ge=1, description="use only the first so many training questions")
    num_test: int | None = Field(default=None, ge=1, description="use only the first so many test questions a subtask")
    exclude_faulty: bool = Field(default=False, description="leave out items whose text or answer is known to be wrong")

    @model_validator(mode="after")
    def known_name(self) -> BenchmarkTask:
        if self.name not in BENCHMARKS:
            raise ValueError(f"unknown benchmark {self.name!r}; {nearest(self.name, (*BENCHMARKS, 'procedural'))}")
        return self


class FileTask(Settings):
    """The user's own questions: JSONL, CSV or Parquet, with ``columns`` mapping our names to theirs.

    Our names are id, question, answer, choices, rationale. Without ``test`` a share of the rows, chosen by a hash of
    their words, is held out for testing.
    """

    kind: Literal["file"] = "file"
    train: FolderPath
    test: FolderPath | None = None
    test_share: float = Field(default=0.2, gt=0, lt=1)
    columns: dict[Literal["id", "question", "answer", "choices", "rationale"], str] = Field(default={})
    answer_type: AnswerType | Literal["auto"] = "auto"
    num_train: int | None = Field(default=None, ge=1)
    num_test: int | None = Field(default=None, ge=1)

    @property
    def name(self) -> str:
        return self.train.name.split(".")[0]


class ProceduralTask(Settings):
    """Questions made by generators that follow BIG-Bench-Hard's texts. Train and test are disjoint by construction."""

    kind: Literal["procedural"] = "procedural"
    kinds: tuple[str, ...] = PROCEDURAL_KINDS
    difficulty: int = Field(default=2, ge=1, le=4, description="1: two or three steps, 4: BIG-Bench-Hard's own size")
    num_train: int = Field(default=2000, ge=1, description="over all kinds")
    num_test: int = Field(default=400, ge=1, description="over all kinds")
    seed: int = 0

    @property
    def name(self) -> str:
        return "procedural"

    @model_validator(mode="after")
    def known_kinds(self) -> ProceduralTask:
        if not self.kinds:
            raise ValueError(f"no kinds given; known: {', '.join(PROCEDURAL_KINDS)}")
        for kind in self.kinds:
            if kind not in PROCEDURAL_KINDS:
                raise ValueError(f"unknown procedural kind {kind!r}; {nearest(kind, PROCEDURAL_KINDS)}")
        return self


def task_shorthand(value: Any) -> Any:
    """``svamp``, ``procedural`` and ``my.jsonl`` stand for a whole section; ``kind`` may be left out where clear."""
    if isinstance(value, str | Path):
        name = str(value)
        if name == "procedural":
            return {"kind": "procedural"}
        if Path(name).suffix or "/" in name:
            return {"kind": "file", "train": name}
        return {"kind": "benchmark", "name": name}
    if isinstance(value, dict) and "kind" not in value:
        if value.get("name") == "procedural":
            return {"kind": "procedural"} | {key: v for key, v in value.items() if key != "name"}
        return {"kind": "benchmark" if "name" in value else "file" if "train" in value else "procedural"} | value
    return value


TaskConfig = Annotated[
    Annotated[BenchmarkTask | FileTask | ProceduralTask, Field(discriminator="kind")],
    BeforeValidator(task_shorthand),
]
