"""What a newcomer from TRL, LLaMA-Factory, Axolotl or lm-eval writes costs one line with the right advice."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cotdistill.cli.common import main

FILE = "task: own.jsonl\nteacher: human\nstudent: builtin:nano-student\n"
ROWS = [{"question": f"What is {n} + 1?", "answer": n + 1, "rationale": f"{n} + 1 = {n + 1}."} for n in range(40)]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("COTDISTILL_DATA", raising=False)
    write(tmp_path / "own.jsonl", ROWS)
    (tmp_path / "e.yaml").write_text(FILE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def said(lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The exit status of a command in this process, and what it wrote to both streams."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cotdistill", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return run


def refused(outcome: tuple[int, str, str]) -> str:
    status, out, err = outcome
    assert (status, out, err.count("\n")) == (2, "", 1), outcome
    assert err.startswith("cotdistill: ")
    return err


KEYS = {
    "per_device_train_batch_size: 8": "here it is 'training.batch_size'",
    "num_train_epochs: 3": "here it is 'training.epochs'",
    "lr: 1e-4": "here it is 'training.learning_rate'",
    "gradient_accumulation_steps: 4": "leave it out: batch_size is a whole step",
    "max_seq_length: 512": "here it is 'training.max_length'",
    "cutoff_len: 512": "here it is 'training.max_length'",
    "warmup_ratio: 0.1": "here it is 'training.warmup_share'",
    "lr_scheduler_type: cosine": "here it is 'training.schedule'",
    "bf16: true": "here it is 'training.dtype'",
    "logging_steps: 10": "leave it out: every step is in metrics.jsonl",
    "save_steps: 5": "here it is 'training.checkpoint_every'",
    "eval_steps: 5": "here it is 'training.validation'",
    "output_dir: out": "leave it out: results go into runs/, or where --runs says",
    "optim: adamw_torch": "here it is 'training.optimizer'",
    "lora_r: 16": "write training.adapter: {kind: lora, rank: 16}",
    "load_in_4bit: true": "write training.adapter: {kind: lora, quantize: 4bit}",
    "report_to: wandb": "here it is 'training.track'",
    "temperature: 2.0": "write training.loss: {kind: forward_kl, temperature: 2.0}",
    "beta: 0.5": "write training.loss: {kind: jensen_shannon, beta: 0.5}",
    "deepspeed: z3.json": "start the command with accelerate launch",
    "seed: 3": "write seed at the top of the file",
    "epoch: 3": "did you mean 'epochs'?",
}


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_another_tool_under_training(lab: Path, said: Any, key: str) -> None:
    (lab / "e.yaml").write_text(f"{FILE}training: {{{key}}}\n", encoding="utf-8")
    assert KEYS[key] in refused(said("plan", "e.yaml"))


TOP = {
    "model_name_or_path: Qwen/Qwen2.5-0.5B": "here it is 'student'",
    "base_model: Qwen/Qwen2.5-0.5B": "here it is 'student'",
    "dataset: gsm8k": "here it is 'task'",
    "datasets: [{path: own.jsonl}]": "here it is 'task'",
    "num_epochs: 3": "here it is 'training.epochs'",
    "learning_rate: 1e-4": "did you mean 'training.learning_rate'?",
    "tasks: [gsm8k]": "did you mean 'evaluation.tasks'?",
    "num_fewshot: 5": "here it is 'evaluation.few_shot'",
    "limit: 10": "here it is 'task.num_test'",
    "template: qwen": "leave it out: the model's own chat template is used",
    "stage: sft": "leave it out: run trains and tests",
    "finetuning_type: lora": "write training.adapter: {kind: lora, rank: 16}",
    "seeds: [0, 1]": "write grid: {seed: [0, 1, 2]}",
    "device: cuda": "leave it out: a GPU is used where there is one",
    "teacher_model: x": "write training.signal: {model: NAME} for its distributions, teacher: {kind: transformers",
    "arms: [a, b]": "arms must map a name to its overrides; write {NAME: {KEY: VALUE}}",
    "grid: {seed: 3}": "needs a list of values",
    "comparisons: [a vs b]": "write {a: ARM, b: ARM}",
    "comparisons: [[a, b]]": "write {a: ARM, b: ARM}",
    "\ttraining: {}": "not valid YAML (a tab); indent it with spaces",
    "evaluation: {engine: vlm}": "did you mean 'vllm'?",
    "training: {loss: kl}": "unknown kind 'kl'; here it is 'forward_kl'",
    "training: {loss: sft}": "unknown kind 'sft'; here it is 'cross_entropy'",
    "training: {loss: forward_kl}": "loss forward_kl needs a teacher; add signal",
    "training: {learning_rate: high}": "'high' for 'training.learning_rate': input should be a valid number",
}


@pytest.mark.parametrize("key", TOP)
def test_a_key_of_another_tool_at_the_top(lab: Path, said: Any, key: str) -> None:
    (lab / "e.yaml").write_text(f"{FILE}{key}\n", encoding="utf-8")
    assert TOP[key] in refused(said("plan", "e.yaml"))


VALUES = {
    ("own.jsonl", "own"): "a file is named with its ending, a folder with ./, a data set of the hub as {hub: NAME}",
    ("own.jsonl", "gsm9k"): "did you mean 'gsm8k'?",
    ("own.jsonl", "./data"): "a folder, not a file; name one of the files in it (train.jsonl)",
    ("own.jsonl", "openai/gsm8k"): "check the path, or write {hub: NAME} for a data set of the hub",
    ("own.jsonl", "{path: openai/gsm8k}"): "write task: {train: FILE} or {hub: NAME}",
    ("own.jsonl", "notes.txt"): "unknown file type; use .jsonl, .json, .csv, .tsv, .parquet",
    ("own.jsonl", "empty.csv"): "no rows; give at least one question",
    ("own.jsonl", "owm.jsonl"): "no such file; did you mean 'own.jsonl'?",
    ("own.jsonl", "unanswered.jsonl"): "no column 'answer'; known: question, rationale",
    ("own.jsonl", "labelled.jsonl"): "no column 'answer'; did you mean 'label'? (map it with columns: {answer: label})",
    ("own.jsonl", "explained.jsonl"): "name their column with columns: {rationale: explanation}",
    ("human", "gpt-4o"): "for a model write {kind: openai, model: gpt-4o, base_url: http://HOST:PORT/v1}",
    ("human", "none"): "unknown kind 'none'; here it is 'answer_only'",
    ("human", "{kind: openai, model: x, temperature: 0.7}"): "did you mean 'sampling.temperature'?",
    ("human", "{kind: openai, model: x, max_tokens: 9}"): "did you mean 'sampling.max_new_tokens'?",
    ("builtin:nano-student", "nano-student"): "did you mean 'builtin:nano-student'?",
    ("builtin:nano-student", "./lora"): "copy tokenizer.json and tokenizer_config.json of builtin:nano-student into it",
    ("builtin:nano-student", "./absent.gguf"): "no such model folder; give a folder with config.json",
    ("builtin:nano-student", "./data"): "there are no safetensors or GGUF weights in",
}


@pytest.mark.parametrize("change", VALUES)
def test_a_value_that_looked_right(lab: Path, said: Any, change: tuple[str, str]) -> None:
    (lab / "data").mkdir()
    (lab / "lora").mkdir()
    (lab / "lora/adapter_config.json").write_text('{"base_model_name_or_path": "builtin:nano-student"}')
    (lab / "lora/adapter_model.safetensors").write_bytes(b"")
    write(lab / "data/train.jsonl", ROWS)
    (lab / "notes.txt").write_text("What is 1 + 1? 2\n", encoding="utf-8")
    (lab / "empty.csv").write_text("", encoding="utf-8")
    for name, old, new in (("labelled", "answer", "label"), ("explained", "rationale", "explanation")):
        write(lab / f"{name}.jsonl", [{new if key == old else key: row[key] for key in row} for row in ROWS])
    write(lab / "unanswered.jsonl", [{key: row[key] for key in ("question", "rationale")} for row in ROWS])
    old, new = change
    assert old in FILE
    (lab / "e.yaml").write_text(FILE.replace(old, new, 1), encoding="utf-8")
    for command in ("plan", "run"):
        assert VALUES[change] in refused(said(command, "e.yaml"))


COMMANDS = {
    "train own.jsonl": "questions, not an experiment file; cotdistill init own.jsonl writes one on it",
    "run gsm8k": "gsm8k: no such file; name an experiment file; cotdistill init gsm8k writes one",
    "run elsewhere.yaml": "check the path; here there are e.yaml, or write one with cotdistill init",
    "run .": "it is a folder; name the file in it: e.yaml",
    "eval e.yaml": "Did you mean 'evaluate'?",
    "distill e.yaml": "write cotdistill run; see ",
    "sft e.yaml": "write cotdistill train; ",
    "chat x": "write cotdistill ask; ",
    "e.yaml": "write cotdistill run e.yaml; ",
    "own.csv": "write cotdistill init own.csv; ",
    "help": "write cotdistill --help; ",
    "evaluate --model hf --tasks gsm8k": "it is a setting of the experiment file: student, or --set student=VALUE",
    "run --config e.yaml": "write the experiment file without an option: cotdistill run experiment.yaml",
    "run e.yaml --epochs 3": "training.epochs, or --set training.epochs=VALUE",
    "run e.yaml --num-train-epochs 3": "training.epochs, or --set training.epochs=VALUE",
    "run e.yaml --learning-rate 1e-4": "training.learning_rate, or --set training.learning_rate=VALUE",
    "run e.yaml --output_dir x": "leave it out: results go into runs/, or where --runs says",
    "run e.yaml training.epochs=1": "write --set training.epochs=1",
    "run e.yaml --set epochs=1": "unknown key 'epochs'; did you mean 'training.epochs'?",
    "settings lr": "unknown setting 'lr'; here it is 'training.learning_rate'",
    "init": "DATA: no questions are named; cotdistill init questions.csv",
}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_line_of_another_tool(said: Any, line: str) -> None:
    assert COMMANDS[line] in refused(said(*line.split()))


def test_text_files_of_other_encodings(lab: Path, said: Any) -> None:
    (lab / "e.yaml").write_bytes(FILE.encode("utf-16"))
    assert "e.yaml: not UTF-8 text; save it as UTF-8" in refused(said("plan", "e.yaml"))
    (lab / "e.yaml").write_bytes(b"\xef\xbb\xbf" + FILE.encode())
    assert said("plan", "e.yaml")[0] == 0


@pytest.mark.parametrize("rate", ["2e-5", "'2e-5'", "0.00002"])
def test_a_number_that_yaml_reads_as_a_text_is_a_number(lab: Path, said: Any, rate: str) -> None:
    (lab / "e.yaml").write_text(f"{FILE}training: {{learning_rate: {rate}}}\n", encoding="utf-8")
    assert said("plan", "e.yaml")[0] == 0


def test_answers_that_are_all_the_same_are_said(lab: Path, said: Any) -> None:
    write(lab / "own.jsonl", [{**row, "answer": 7, "rationale": "So it is 7."} for row in ROWS])
    status, _, err = said("plan", "e.yaml")
    assert status == 0
    assert "warning: own: all answers are '7'; name another column with columns: {answer: NAME}" in err


@pytest.mark.parametrize("answers", [("yes", "no"), (True, False), ("True", "False")])
def test_yes_and_true_are_answers(lab: Path, said: Any, answers: tuple[Any, Any]) -> None:
    write(lab / "own.jsonl", [{**row, "answer": answers[n % 2], "rationale": "So."} for n, row in enumerate(ROWS)])
    status, out, _ = said("plan", "e.yaml")
    assert status == 0
    assert "answers: yes/no" in out or "answers: true/false" in out


def test_excel_files_are_read_or_say_how_to_save_them(lab: Path, said: Any) -> None:
    lines = [
        "Nr;Frage;Lösung;Begründung",
        *(f"{n};Wie viel ist {n} + 1?;{n + 1};{n} + 1 = {n + 1}." for n in range(40)),
    ]
    columns = "columns: {question: Frage, answer: Lösung, rationale: Begründung}"
    (lab / "e.yaml").write_text(FILE.replace("own.jsonl", f"{{train: tabelle.csv, {columns}}}"), encoding="utf-8")
    (lab / "tabelle.csv").write_bytes("\r\n".join(lines).encode("cp1252"))
    assert 'tabelle.csv, line 1: not UTF-8 text (byte 0xf6); save it as UTF-8 (in Excel: "CSV UTF-8")' in refused(
        said("plan", "e.yaml")
    )
    (lab / "tabelle.csv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    assert "; answers: number (" in said("plan", "e.yaml")[1]


def test_rationales_of_several_lines_in_a_table(lab: Path, said: Any) -> None:
    rows = "".join(f'"What is {n}, and 1 more?","{n} + 1 = {n + 1}.\n\nDone.",{n + 1}\n' for n in range(40))
    (lab / "lines.csv").write_text("question,rationale,answer\n" + rows, encoding="utf-8")
    (lab / "e.yaml").write_text(FILE.replace("own.jsonl", "lines.csv"), encoding="utf-8")
    assert said("plan", "e.yaml")[1].startswith("questions of lines: ")


@pytest.mark.parametrize(
    "tasks",
    [
        "[one.jsonl, two.jsonl, procedural]",
        "[{train: own.jsonl, test: one.jsonl}, {train: own.jsonl, test: two.jsonl}]",
    ],
)
def test_several_files_to_test_on(lab: Path, said: Any, tasks: str) -> None:
    for name, start in (("one", 100), ("two", 200)):
        write(lab / f"{name}.jsonl", [{**row, "question": f"What is {start + n}?"} for n, row in enumerate(ROWS)])
    (lab / "e.yaml").write_text(f"{FILE}evaluation: {{tasks: {tasks}}}\n", encoding="utf-8")
    status, out, _ = said("plan", "e.yaml")
    assert status == 0
    assert "one" in out
    assert "two" in out


def test_files_named_as_modules_are_and_benchmarks_that_are_not_here(lab: Path, said: Any) -> None:
    (lab / "own.jsonl").rename(lab / "code.jsonl")
    (lab / "e.yaml").write_text(FILE.replace("own.jsonl", "code.jsonl"), encoding="utf-8")
    assert said("plan", "e.yaml")[1].startswith("questions of code: ")
    (lab / "e.yaml").write_text(FILE.replace("own.jsonl", "math"), encoding="utf-8")
    assert said("plan", "e.yaml")[0] == 0


def test_the_old_study_files_say_what_became_of_their_keys(lab: Path, said: Any) -> None:
    (lab / "e.yaml").write_text("students: {nano: builtin:nano-student}\nbase: {task: math}\n", encoding="utf-8")
    assert "put the keys of base at the top" in refused(said("plan", "e.yaml"))


def test_traces_that_do_not_fit_are_foreseen(lab: Path, said: Any) -> None:
    write(lab / "own.jsonl", [{**row, "rationale": "Let me check 2 + 2 = 4 again. " * 300} for row in ROWS])
    (line,) = (line for line in said("plan", "e.yaml")[1].splitlines() if line.startswith("lengths of "))
    assert line.endswith("take a student with more positions, or set training.too_long: cut_reasoning")
