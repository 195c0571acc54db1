"""The questions: a built-in benchmark, the user's files or hub data set, or the procedural generators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from cotdistill.config.base import PLACE, FolderPath, Settings, from_folder
from cotdistill.config.parts import Part, is_part, own_shorthand
from cotdistill.config.shorthand import Shorthand
from cotdistill.errors import nearest
from cotdistill.records import AnswerType

__all__ = [
    "BENCHMARKS",
    "PROCEDURAL_KINDS",
    "AnyTask",
    "BenchmarkTask",
    "FileTask",
    "HubTask",
    "OwnBenchmark",
    "OwnQuestions",
    "ProceduralTask",
    "TaskConfig",
    "TestedTask",
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
    """A built-in benchmark, read from ``data_dir`` if given, otherwise from the hub."""

    kind: Literal["benchmark"] = "benchmark"
    name: str = Field(description="one of the built-in benchmarks", examples=["gsm8k"])
    data_dir: Annotated[FolderPath | None, PLACE] = Field(
        default=None,
        description="the folder with the benchmark's files; default: $COTDISTILL_DATA, else the hub",
        examples=["data"],
    )
    subtasks: tuple[str, ...] | None = Field(
        default=None,
        description="only these, where a benchmark has several: bbh, mmlu",
        examples=[["navigate", "word_sorting"]],
    )
    num_train: int | None = Field(
        default=None, ge=1, description="use only the first N training questions", examples=[1000]
    )
    num_test: int | None = Field(
        default=None, ge=1, description="use only the first N test questions of each subtask", examples=[200]
    )
    exclude_faulty: bool = Field(default=False, description="drop questions whose text or answer is known to be wrong")
    choice_seed: int = Field(default=0, description="the order of the choices, for gpqa_diamond")

    @model_validator(mode="after")
    def known_name(self) -> BenchmarkTask:
        if self.name not in BENCHMARKS:
            remedy = nearest(self.name, (*BENCHMARKS, "procedural"))
            if not remedy.startswith("did"):
                remedy += "; a file is named with its ending, a folder with ./, a data set of the hub as {hub: NAME}"
            raise ValueError(f"unknown benchmark {self.name!r}; {remedy}")
        return self


class OwnTask(Settings):
    """What the user's own questions have in common, wherever they come from.

    ``columns`` maps our names (id, question, answer, choices, rationale) to theirs. Without ``test``, a share of the
    rows of ``train``, chosen by a hash of their words, is held out; without ``train``, all rows are for testing.
    """

    name: str | None = Field(
        default=None, pattern=r"^\w[^/]*$", description="default: the name of each file or data set", examples=["easy"]
    )
    test_share: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="the share of the questions that is held out for the test where no test is named",
    )
    columns: dict[Literal["id", "question", "answer", "choices", "rationale"], str] = Field(
        default={},
        description="our names of columns and yours, where they differ",
        examples=[{"question": "prompt", "answer": "label"}],
    )
    keep_columns: tuple[str, ...] = Field(
        default=(),
        description="more columns, kept with each question: a teacher can be routed by them",
        examples=[["topic"]],
    )
    answer_type: AnswerType | Literal["auto"] = Field(
        default="auto", description="what all answers are; auto: found out from the answers", examples=["number"]
    )
    num_train: int | None = Field(
        default=None, ge=1, description="use only the first N questions to train on", examples=[1000]
    )
    num_test: int | None = Field(
        default=None, ge=1, description="use only the first N questions to test on", examples=[200]
    )


class FileTask(OwnTask):
    """The user's own files: JSON Lines, a JSON array, CSV, TSV or Parquet, also with ``.gz``."""

    kind: Literal["file"] = "file"
    train: FolderPath | None = Field(
        default=None, description="the file of questions to train on", examples=["train.csv"]
    )
    test: FolderPath | None = Field(
        default=None, description="the file of questions to test on; default: a share of train", examples=["test.csv"]
    )

    def side_name(self, side: Literal["train", "test"]) -> str:
        """The name under which questions of one side are tested and reported."""
        path = self.train if side == "train" else self.test
        return self.name or (path.name.split(".")[0] if path else "")

    @model_validator(mode="after")
    def some_file(self) -> FileTask:
        if self.train is None and self.test is None:
            raise ValueError("needs a file; give train, test or both")
        return self


def _folder_or_name(hub: str, info: ValidationInfo) -> str:
    return str(from_folder(Path(hub), info)) if hub.startswith((".", "/", "~")) else hub


class HubTask(OwnTask):
    """A hub data set by name, or a folder that ``datasets`` reads; ``train`` and ``test`` are its splits."""

    kind: Literal["hub"] = "hub"
    hub: Annotated[str, AfterValidator(_folder_or_name)] = Field(
        min_length=1, description="the data set's name on the hub, or a folder", examples=["openai/gsm8k"]
    )
    subset: str | None = Field(default=None, description="the hub's name for a configuration", examples=["main"])
    revision: str | None = Field(
        default=None,
        description="a commit of the data set; default: the latest",
        examples=["e53f048856ff4f594e959d75785d2c2d37b678ee"],
    )
    train: str | None = Field(default="train", description="the split to train on")
    test: str | None = Field(default="test", description="the split to test on; null: a share of train is held out")

    def side_name(self, side: Literal["train", "test"]) -> str:
        """The name under which questions are tested and reported."""
        return self.name or self.hub.rstrip("/").rpartition("/")[2]

    @model_validator(mode="after")
    def some_split(self) -> HubTask:
        if self.train is None and self.test is None:
            raise ValueError("needs a split; give train, test or both")
        return self


class OwnBenchmark(OwnTask):
    """Questions from your own function, named instead of a kind: ``{kind: sums.py:NAME, settings: {...}}``.

    It is called with "train" and with "test", and with its settings as keywords, and returns rows with the columns of a
    file. ``plan`` runs it to count them.
    """

    kind: Literal["own"] = "own"
    function: Part = Field(description="your function that returns the questions", examples=["sums.py:sums"])
    settings: dict[str, bool | int | float | str] = Field(
        default={}, description="what your function is called with besides the split", examples=[{"highest": 32}]
    )
    train: Literal["train"] | None = Field(
        default="train", description="train: your function is asked for questions to train on; null: it is not"
    )
    test: Literal["test"] | None = Field(
        default="test", description="test: it is asked for test questions; null: a share of train is held out"
    )

    def side_name(self, side: Literal["train", "test"]) -> str:
        """The name under which questions are tested and reported."""
        return self.name or self.function.name


def _may_be_named(schema: dict[str, Any]) -> None:
    schema["properties"]["name"] = {"const": "procedural", "description": "instead of kind"}


class ProceduralTask(Settings):
    """Questions made by generators in the style of BIG-Bench-Hard. Train and test are disjoint by construction."""

    model_config = ConfigDict(json_schema_extra=_may_be_named)

    kind: Literal["procedural"] = "procedural"
    kinds: tuple[str, ...] = Field(
        default=PROCEDURAL_KINDS, description="which generators; default: all", examples=[["navigate", "word_sorting"]]
    )
    difficulty: int = Field(default=2, ge=1, le=4, description="1: two or three steps, 4: BIG-Bench-Hard's own size")
    num_train: int = Field(default=2000, ge=1, description="in total, over all kinds")
    num_test: int = Field(default=400, ge=1, description="in total, over all kinds")
    seed: int = Field(default=0, description="the seed of the questions", examples=[1])

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


def task_shorthand(value: Any, file: Literal["train", "test"] = "train") -> Any:
    """``svamp``, ``procedural`` and ``my.jsonl`` stand for a whole section; ``kind`` may be left out if it is clear."""
    if isinstance(value, str | Path):
        name = str(value)
        if is_part(name):
            return own_shorthand(name)
        if name == "procedural":
            return {"kind": "procedural"}
        if Path(name).suffix or "/" in name:
            return {"kind": "file", file: name}
        return {"kind": "benchmark", "name": name}
    if isinstance(value, dict) and "kind" not in value:
        if value.get("name") == "procedural":
            return {"kind": "procedural"} | {key: v for key, v in value.items() if key != "name"}
        own = "hub" if "hub" in value else "file" if {"train", "test"} & value.keys() else None
        return {"kind": own or ("benchmark" if "name" in value else "procedural")} | value
    return own_shorthand(value)


def tested_shorthand(value: Any) -> Any:
    """Like :func:`task_shorthand`, but all of a file is for testing."""
    return task_shorthand(value, "test")


OwnQuestions = FileTask | HubTask | OwnBenchmark
"""Tasks whose rows are the user's, in columns that are detected."""
AnyTask = BenchmarkTask | OwnQuestions | ProceduralTask
_ByKind = Annotated[AnyTask, Field(discriminator="kind")]
_SHORT = Shorthand(
    ({"enum": [*BENCHMARKS, "procedural"]}, {"type": "string", "pattern": r"[./]"}),
    kindless=("benchmark", "file", "hub", "procedural"),
    own=True,
)
TaskConfig = Annotated[_ByKind, BeforeValidator(task_shorthand), _SHORT]
TestedTask = Annotated[_ByKind, BeforeValidator(tested_shorthand), _SHORT]
"""One of ``evaluation.tasks``."""
