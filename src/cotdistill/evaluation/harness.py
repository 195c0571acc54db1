"""lm-eval, the field's standard harness, on the same students: its tasks, and its samples as our records.

lm-eval (the extra ``lm-eval``) runs any of its tasks on a student, and its own metric decides what is right. It does
not say which outputs its token limit cut, so no verdict here is *truncated*. The reverse is ``harness_samples``:
our predictions in the form of lm-eval's sample logs.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cotdistill.config import Dtype, Model
from cotdistill.errors import ConfigError, DataError
from cotdistill.evaluation.read import QUESTIONS
from cotdistill.evaluation.statistics.averages import averages, by_task
from cotdistill.evaluation.statistics.comparisons import score
from cotdistill.evaluation.stored import StoredPredictions, write_predictions
from cotdistill.models.load.loading import load_model, load_tokenizer, model_identity, pick_device, resolve_dtype
from cotdistill.records import Prediction, Question, Score
from cotdistill.storage.hashes import file_sha256
from cotdistill.storage.jsonl import read_rows, write_rows
from cotdistill.storage.stages import open_stage

VERSION = 2
METRICS = ("exact_match", "acc", "em", "pass@1")
"""Metrics that tell whether a single item is right; the first that a task has decides verdicts."""
UNREADABLE = ("[invalid]", "")
"""What lm-eval's filters return when they find no answer."""
_ANTLR = "antlr4-python3-runtime"
_LATEX_EXTRAS = "pip install 'cotdistill[lm-eval,math]'"


@dataclass(frozen=True, slots=True)
class HarnessEvaluation:
    """lm-eval's result for a model. ``path`` is an evaluation's folder, with ``questions.jsonl``,
    ``predictions.jsonl`` and lm-eval's own samples in ``samples/TASK.jsonl``."""

    path: Path
    score: Score
    scores: dict[str, Score]
    predictions: Sequence[Prediction]


def evaluate_with_harness(
    model: Model,
    tasks: Sequence[str],
    *,
    runs: Path,
    limit: int | None = None,
    max_batch_size: int = 16,
    dtype: Dtype = "auto",
    metric: str | None = None,
    include: Path | None = None,
) -> HarnessEvaluation:
    """Run lm-eval's ``tasks`` (names of tasks, groups or tags, or its YAML files) on ``model``.

    ``limit`` takes only the first items of each task, ``include`` names a folder of further task files, and ``metric``
    decides verdicts if it is not one of ``METRICS``. A finished task is not run again. Raises ConfigError if lm-eval
    is not installed, for an unknown task, and for a metric that does not tell whether each item is right.
    """
    _require_lm_eval()
    _sample_files(tasks, Path())
    identity = {
        "version": VERSION,
        "lm_eval": importlib.metadata.version("lm_eval"),
        "model": model_identity(model),
        "tasks": sorted(tasks),
        "files": {path.name: file_sha256(path) for path in _task_files(tasks, include)},
        "limit": limit,
        "max_batch_size": max_batch_size,
        "dtype": str(resolve_dtype(dtype, pick_device())),
        "metric": metric,
    }
    with open_stage(runs, "harness", identity) as stage:
        if not stage.finished:
            folder = stage.path / "samples"
            folder.mkdir(exist_ok=True)
            _run_missing(model, tasks, folder, limit, max_batch_size, dtype, include)
            tokenizer = load_tokenizer(model)

            def num_tokens(text: str) -> int:
                return len(tokenizer(text, add_special_tokens=False)["input_ids"])

            pairs = [
                from_sample(row.pop("task"), row, num_tokens=num_tokens, metric=metric)
                for path in sorted(folder.glob("*.jsonl"))
                for row in _one_filter(read_rows(path))
            ]
            write_rows(stage.path / QUESTIONS, (question.to_row() for question, _ in pairs))
            found = [prediction for _, prediction in pairs]
            write_predictions(stage.path, found)
            stage.finish(score(found).to_row() | {"averages": averages(found)}, seeds={}, dropped={})
        predictions = StoredPredictions(stage.read())
        return HarnessEvaluation(stage.path, score(predictions), by_task(predictions), predictions)


def load_harness(model: Model, *, max_batch_size: int = 16, dtype: Dtype = "auto") -> Any:
    """The model as lm-eval's hf backend runs it. Raises ConfigError if lm-eval is not installed."""
    _require_lm_eval()
    from lm_eval.models.huggingface import HFLM  # pyright: ignore[reportMissingImports]

    device = pick_device()
    loaded = load_model(model, dtype=resolve_dtype(dtype, device), device=device)
    tokenizer = load_tokenizer(model)
    make: Any = HFLM  # its arguments are not in its type
    return make(pretrained=loaded, tokenizer=tokenizer, batch_size=max_batch_size, device=str(device))


def run_tasks(
    harness: Any, tasks: Sequence[str | dict[str, Any]], *, limit: int | None = None, include: Path | None = None
) -> dict[str, list[dict[str, Any]]]:
    """The samples that lm-eval logs, by task; ``tasks`` are its names, files or settings."""
    from lm_eval.evaluator import simple_evaluate  # pyright: ignore[reportMissingImports]

    results: Any = simple_evaluate(
        model=harness,
        tasks=list(tasks),
        limit=limit,
        bootstrap_iters=0,
        log_samples=True,
        task_manager=task_manager(include),
    )
    assert results is not None, "only the first of several processes gets results"
    return results["samples"]


def check_tasks(tasks: Sequence[str], include: Path | None) -> None:
    """Raise ConfigError for a task that lm-eval does not know, or cannot load or judge with the installed packages.

    Tasks that read LaTeX use sympy's parser, which needs antlr 4.11 and would fail only after all outputs are there.
    """
    for task in tasks:
        try:
            loaded = task_manager(include).load([task])["tasks"]
        except KeyError as error:
            remedy = "`lm-eval ls tasks` lists all tasks"
            raise ConfigError(f"lm-eval does not have such a task ({error})", where="tasks", remedy=remedy) from None
        except Exception as error:  # a task is code of its own, and its data set is fetched
            problem = f"lm-eval cannot load the task ({' '.join(str(error).split()) or type(error).__name__})"
            remedy = f"check the connection; tasks that read LaTeX need {_LATEX_EXTRAS}"
            raise ConfigError(problem, where=task, remedy=remedy) from None
        judges = [getattr(one.config.process_results, "__globals__", {}) for one in loaded.values()]
        if any("parse_latex" in names for names in judges) and not _version(_ANTLR).startswith("4.11"):
            problem = f"it reads LaTeX with {_ANTLR} 4.11, but {_version(_ANTLR) or 'no version'} is installed"
            raise ConfigError(problem, where=task, remedy=_LATEX_EXTRAS)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


@cache
def task_manager(include: Path | None) -> Any:
    """lm-eval's index of tasks, which takes seconds to make."""
    from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

    return TaskManager(include_path=str(include) if include else None)


# ---- samples as records ---------------------------------------------------------------------------------------------


def from_sample(
    task: str, sample: dict[str, Any], *, num_tokens: Callable[[str], int], metric: str | None = None
) -> tuple[Question, Prediction]:
    """One of lm-eval's samples as a question and its prediction.

    If a task scores choices by likelihood, the output is the most likely one. Raises ConfigError for a sample without a
    metric that is 0 or 1.
    """
    verdict_metric = _metric_of(task, sample, metric)
    requests = list(sample["arguments"])
    prompt = str(requests[0][0])
    first = sample["filtered_resps"][0]
    if isinstance(first, list | tuple):  # (log-likelihood, whether greedy) of each choice
        likeliest = max(range(len(requests)), key=lambda index: float(sample["filtered_resps"][index][0]))
        output = extracted = str(requests[likeliest][1]).strip()
        target = sample["target"]
        gold = str(requests[target][1]).strip() if isinstance(target, int) else str(target)
    else:
        output, gold = str(sample["resps"][0][0]), str(sample["target"])
        extracted = None if first in UNREADABLE else str(first)
    right = sample[verdict_metric] == 1
    verdict = "correct" if right else "unreadable" if extracted is None else "wrong"
    id_ = f"{task}-{sample['doc_id']}"
    return (
        Question(id_, task, "test", prompt, gold, "text", meta={"metric": verdict_metric}),
        Prediction(id_, task, gold, output, extracted, verdict, num_tokens(prompt), num_tokens(output)),
    )


def _metric_of(task: str, sample: dict[str, Any], wanted: str | None) -> str:
    names = [wanted] if wanted else [*METRICS, *(name for name in sample["metrics"] if name not in METRICS)]
    for name in names:
        if name in sample and sample[name] in (0, 1):
            return name
    problem = f"none of its metrics ({', '.join(sample['metrics'])}) tells whether each item is right"
    if wanted:
        problem = f"its metric {wanted!r} (of {', '.join(sample['metrics'])}) does not tell whether each item is right"
    raise ConfigError(problem, where=f"lm-eval's task {task}", remedy="choose another metric or task")


def _one_filter(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each item once: a task with several filters logs it once per filter, and the first filter decides."""
    deciding: dict[str, str] = {}
    return (row for row in rows if deciding.setdefault(row["task"], row["filter"]) == row["filter"])


# ---- records as samples ---------------------------------------------------------------------------------------------


def harness_samples(
    questions: Sequence[Question], predictions: Sequence[Prediction]
) -> dict[str, list[dict[str, Any]]]:
    """Our predictions as lm-eval writes its samples, by task; ``arguments`` hold the question, not its whole prompt.

    ``exact_match`` is our verdict. Raises DataError for a prediction without its question.
    """
    asked = {(question.task, question.id): question for question in questions}
    samples: dict[str, list[dict[str, Any]]] = {}
    for prediction in predictions:
        question = asked.get((prediction.task, prediction.id))
        if question is None:
            raise DataError(
                f"the question {prediction.id!r} of task {prediction.task} is missing", remedy="evaluate again"
            )
        rows = samples.setdefault(prediction.task, [])
        doc = question.to_row()
        rows.append(
            {
                "doc_id": len(rows),
                "doc": doc,
                "target": question.answer,
                "arguments": {"gen_args_0": {"arg_0": question.question}},
                "resps": [[prediction.output]],
                "filtered_resps": [UNREADABLE[0] if prediction.extracted is None else prediction.extracted],
                "filter": "statement",
                "metrics": ["exact_match"],
                "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
                "prompt_hash": _hash(question.question),
                "target_hash": _hash(question.answer),
                "exact_match": float(prediction.correct),
            }
        )
    return samples


def export_samples(
    questions: Sequence[Question], predictions: Sequence[Prediction], folder: Path
) -> dict[str, dict[str, Any]]:
    """Write ``folder/samples_TASK.jsonl`` for each task; returns file and number of rows by task."""
    written = {}
    for task, rows in harness_samples(questions, predictions).items():
        path = folder / f"samples_{task.replace('/', '_')}.jsonl"
        write_rows(path, rows)
        written[task] = {"path": str(path), "samples": len(rows)}
    return written


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# ---- running --------------------------------------------------------------------------------------------------------


def _run_missing(
    model: Model,
    tasks: Sequence[str],
    folder: Path,
    limit: int | None,
    max_batch_size: int,
    dtype: Dtype,
    include: Path | None,
) -> None:
    """Run each of ``tasks`` that has no file of samples yet, and write its own."""
    files = _sample_files(tasks, folder)
    missing = [task for task, path in files.items() if not path.exists()]
    check_tasks(missing, include)
    harness = load_harness(model, max_batch_size=max_batch_size, dtype=dtype) if missing else None
    for task in missing:
        rows = [
            {"task": name, **json.loads(json.dumps(sample, default=str))}
            for name, samples in run_tasks(harness, [task], limit=limit, include=include).items()
            for sample in samples
        ]
        write_rows(files[task], rows)


def _sample_files(tasks: Sequence[str], folder: Path) -> dict[str, Path]:
    """Where each task's samples are kept. Raises ConfigError if two tasks would share a file."""
    files = {task: folder / f"{Path(task).stem if _is_file(task) else task.replace('/', '_')}.jsonl" for task in tasks}
    for task, path in files.items():
        if [other for other in files if files[other] == path] != [task]:
            remedy = "rename one, or run them separately"
            raise ConfigError(f"two of the tasks are called {path.stem!r}", where=task, remedy=remedy)
    return files


def _is_file(task: str) -> bool:
    return task.endswith((".yaml", ".yml"))


def _task_files(tasks: Sequence[str], include: Path | None) -> list[Path]:
    """The user's own task files."""
    named = [Path(task) for task in tasks if _is_file(task)]
    return sorted([*named, *(include.glob("**/*.y*ml") if include else ())])


def _require_lm_eval() -> None:
    try:
        import lm_eval  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        remedy = "pip install 'cotdistill[lm-eval]'"
        raise ConfigError("this needs the package lm-eval", where="harness", remedy=remedy) from None
