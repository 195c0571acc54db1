"""Few-shot evaluation against lm-eval's hf backend: how fast, and whether the same answers are read.

    make bench-env && .venv-bench/bin/python benchmarks/evaluate.py --against lm-eval --json

Both answer the same items of five BIG-Bench-Hard tasks with the official 3-shot chain-of-thought prompts, greedily, at
most 256 new tokens, with the same weights in the same precision and the same stop strings, task by task in turns, each
at its best batch size (``--sweep`` looks for it). Answers are read by the harness's own filter from both. Items with
another answer are written to ``--differences`` with a reason: from where the two outputs part, how far the two tokens'
logits lie apart in float64. Needs lm-eval, the extra smollm2 and the data folder ($COTDISTILL_DATA).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from cotdistill.config import BenchmarkTask, EvaluationConfig, ModelConfig
from cotdistill.evaluation.evaluate import evaluate
from cotdistill.evaluation.harness import load_harness, run_tasks, task_manager
from cotdistill.models.load.loading import load_model, load_tokenizer
from cotdistill.records import Question
from cotdistill.tasks import load_task
from cotdistill.tasks.few_shot import few_shot_texts

MODEL = ModelConfig(model="builtin:smollm2-135m")
TASKS = ("boolean_expressions", "date_understanding", "logical_deduction_three_objects", "navigate", "object_counting")
STOPS = ("</s>", "Q", "\n\n")
"""The harness's stop strings of these tasks."""
PATTERN = "(?<=the answer is )(.*)(?=.)"
"""The harness's filter of these tasks."""
TIE = 1e-3
"""Logits that are closer than this are swapped by rounding: float32 sums of this model's size differ by 1e-4."""


def main() -> None:
    arguments = _arguments()
    questions = _questions(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.sweep:
            _print(_sweep(questions[TASKS[0]], arguments, Path(scratch)), arguments.json)
        else:
            _print(_compare(questions, arguments, Path(scratch)), arguments.json)


def _compare(questions: dict[str, list[Question]], arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    harness = _harness(arguments, arguments.their_batch_size)
    ours, theirs = _Side(arguments.batch_size), _Side(arguments.their_batch_size)
    differences: list[dict[str, Any]] = []
    for task, items in questions.items():
        their_outputs = theirs.timed(_their_outputs, harness, items, arguments.max_new_tokens, scratch)
        our_outputs = ours.timed(_our_outputs, items, arguments, scratch / "runs")
        theirs.count(their_outputs)
        ours.count(our_outputs)
        differences += _differences(task, items, our_outputs, their_outputs, arguments.dtype)
    num_items = sum(map(len, questions.values()))
    arguments.differences.parent.mkdir(parents=True, exist_ok=True)
    arguments.differences.write_text("".join(json.dumps(row) + "\n" for row in differences), encoding="utf-8")
    return {
        "agreement": 1 - len(differences) / num_items,
        "ratio_speed": round(theirs.seconds / ours.seconds, 2),
        "ours": ours.to_row(),
        "theirs": theirs.to_row(),
        "items": num_items,
        "differences": str(arguments.differences),
        "dtype": arguments.dtype,
        "threads": torch.get_num_threads(),
    }


class _Side:
    """Time and tokens of one of the two."""

    def __init__(self, batch_size: int):
        self.batch_size, self.seconds, self.processor_seconds, self.tokens = batch_size, 0.0, 0.0, 0
        self.tokenizer = load_tokenizer(MODEL)

    def timed(self, answer: Any, *arguments: Any) -> list[str]:
        started, processor = time.perf_counter(), time.process_time()
        outputs = answer(*arguments)
        self.seconds += time.perf_counter() - started
        self.processor_seconds += time.process_time() - processor
        return outputs

    def count(self, outputs: Sequence[str]) -> None:
        """The tokens of what was kept: what stands behind a stop string is no result."""
        self.tokens += sum(len(ids) for ids in self.tokenizer(list(outputs), add_special_tokens=False)["input_ids"])

    def to_row(self) -> dict[str, Any]:
        return {
            "seconds": round(self.seconds, 1),
            "processor_seconds": round(self.processor_seconds, 1),
            "tokens_per_second": round(self.tokens / self.seconds, 1),
            "tokens": self.tokens,
            "batch_size": self.batch_size,
        }


# ---- ours -----------------------------------------------------------------------------------------------------------


def _our_outputs(questions: Sequence[Question], arguments: argparse.Namespace, runs: Path) -> list[str]:
    """The whole stage: the model is loaded, outputs are judged and kept."""
    config = EvaluationConfig(
        few_shot=3,
        max_new_tokens=arguments.max_new_tokens,
        stop=STOPS,
        max_batch_size=arguments.batch_size,
        dtype=arguments.dtype,
    )
    return [row.output for row in evaluate(MODEL, questions, target="rationale", config=config, runs=runs)]


# ---- theirs ---------------------------------------------------------------------------------------------------------


def _harness(arguments: argparse.Namespace, batch_size: int) -> Any:
    task_manager(None)  # its making is no part of the time
    return load_harness(MODEL, max_batch_size=batch_size, dtype=arguments.dtype)


def _their_outputs(harness: Any, questions: Sequence[Question], max_new_tokens: int, scratch: Path) -> list[str]:
    """The harness's own task, on our rows in the place of the hub's."""
    name = questions[0].task.partition("/")[2]
    samples = run_tasks(harness, [_task(name, questions, max_new_tokens, scratch)])[f"own_{name}"]
    outputs = [sample["resps"][0][0] for sample in samples]
    prompts = [sample["arguments"][0][0] for sample in samples]
    assert prompts == few_shot_texts(questions, None), "the two must be asked the same"
    assert [sample["filtered_resps"][0] for sample in samples] == _answers(outputs)
    return outputs


def _task(name: str, questions: Sequence[Question], max_new_tokens: int, scratch: Path) -> dict[str, Any]:
    import lm_eval.tasks
    import yaml

    rows = scratch / f"{name}.jsonl"
    row_texts = [{"input": question.meta["input"], "target": question.meta["target"]} for question in questions]
    rows.write_text("".join(json.dumps(row) + "\n" for row in row_texts), encoding="utf-8")
    folder = Path(lm_eval.tasks.__file__).parent / "bbh" / "cot_fewshot"
    template = yaml.safe_load((folder / "_cot_fewshot_template_yaml").read_text(encoding="utf-8"))
    task = template | yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    del task["include"], task["dataset_name"]
    assert tuple(task["generation_kwargs"]["until"]) == STOPS
    assert task["filter_list"][0]["filter"][0]["regex_pattern"] == PATTERN
    return task | {
        "task": f"own_{name}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(rows)}},
        "generation_kwargs": task["generation_kwargs"] | {"max_gen_toks": max_new_tokens},
    }


def _answers(outputs: Sequence[str]) -> list[str]:
    """The answers that the harness's filter reads."""
    from lm_eval.filters.extraction import RegexFilter

    return [found[0] for found in RegexFilter(PATTERN).apply([[output] for output in outputs], [{}] * len(outputs))]


# ---- differences ----------------------------------------------------------------------------------------------------


def _differences(
    task: str, questions: Sequence[Question], ours: list[str], theirs: list[str], dtype: str
) -> Iterator[dict[str, Any]]:
    """Items with another answer. Texts are left out: they quote a benchmark that must not be trained on."""
    for question, our, their, our_answer, their_answer in zip(
        questions, ours, theirs, _answers(ours), _answers(theirs), strict=True
    ):
        if our_answer != their_answer:
            answers = {"ours": our_answer[:40], "theirs": their_answer[:40]}
            yield {"task": task, "id": question.id, **answers, **_reason(question, our, their, dtype)}


def _reason(question: Question, ours: str, theirs: str, dtype: str) -> dict[str, Any]:
    """Where the outputs part, and by how much the two next tokens' logits differ there in float64."""
    tokenizer = load_tokenizer(MODEL)
    end = [tokenizer.eos_token_id]
    one, other = ((*tokenizer(text, add_special_tokens=False)["input_ids"], *end) for text in (ours, theirs))
    place = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if place is None:
        return {"reason": "one output goes on where the other ends"}
    model = load_model(MODEL, dtype=torch.float64, device="cpu")
    prompt = tokenizer(few_shot_texts([question], None)[0])["input_ids"]
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *one[:place]]]), logits_to_keep=1).logits[0, -1]
    gap = float(logits[one[place]] - logits[other[place]])
    likeliest = int(logits.argmax())
    nearest = {one[place]: "ours", other[place]: "theirs"}.get(likeliest, "neither")
    tie = abs(gap) < TIE if dtype == "float32" else abs(gap) < 256 * TIE
    reason = f"rounding in {dtype}: the two tokens are as likely" if tie else "not explained by rounding"
    return {"reason": reason, "token": place, "logit_gap": round(gap, 6), "float64_chooses": nearest}


# ---- batch sizes ----------------------------------------------------------------------------------------------------


def _sweep(questions: Sequence[Question], arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Seconds of one task at each batch size."""
    found: dict[str, Any] = {"ours": {}, "theirs": {}}
    for batch_size in arguments.sweep:
        arguments.batch_size = batch_size
        for name, side in (("theirs", _Side(batch_size)), ("ours", _Side(batch_size))):
            if name == "ours":
                side.timed(_our_outputs, questions, arguments, scratch / f"runs-{batch_size}")
            else:
                harness = _harness(arguments, batch_size)
                side.timed(_their_outputs, harness, questions, arguments.max_new_tokens, scratch)
            found[name][batch_size] = [round(side.seconds, 1), round(side.processor_seconds, 1)]
    return found


def _questions(arguments: argparse.Namespace) -> dict[str, list[Question]]:
    config = BenchmarkTask(name="bbh", subtasks=tuple(arguments.tasks), num_test=arguments.items)
    questions = load_task(config).test
    return {task: [q for q in questions if q.task == f"bbh/{task}"] for task in arguments.tasks}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", choices=["lm-eval"], default="lm-eval")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--items", type=int, default=50, help="of each task")
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=50, help="ours")
    parser.add_argument("--their-batch-size", type=int, default=50)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--sweep", type=int, nargs="+", metavar="BATCH_SIZE", help="time one task at these batch sizes")
    parser.add_argument("--differences", type=Path, default=Path("runs/benchmarks/evaluate-differences.jsonl"))
    return parser.parse_args()


def _print(row: dict[str, Any], as_json: bool) -> None:
    print(json.dumps(row) if as_json else json.dumps(row, indent=2))


if __name__ == "__main__":
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    main()
