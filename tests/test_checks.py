"""What a run refuses, a plan and every dry run refuse before it, with the same line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.command import run_command
from tests.tiny import save_tiny

FILE = """
task: {train: own.jsonl}
teacher: human
student: ./student
training: {epochs: 1}
"""
KD = "training: {loss: forward_kl, signal: {kind: cache, model: MODEL}}"
DRY = (
    ("plan",),
    ("run", "--dry-run"),
    ("annotate", "--dry-run"),
    ("capture", "--dry-run"),
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    save_tiny(folder / "student")
    save_tiny(folder / "stranger", chat=True)
    for name, missing in (("mute", "tokenizer"), ("bare", "model.safetensors")):
        ignored = shutil.ignore_patterns(f"{missing}*", "special_tokens*", "vocab*", "merges*")
        shutil.copytree(folder / "student", folder / name, ignore=ignored)
    rows = [{"question": f"What is {n} + 1?", "answer": n + 1, "rationale": f"{n} + 1 = {n + 1}."} for n in range(40)]
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (folder / "untold.jsonl").write_text("".join(json.dumps({**r, "rationale": None}) + "\n" for r in rows), "utf-8")
    (folder / "own.xlsx").write_bytes(b"PK")
    (folder / "parts.py").write_text("def teach(question):\n    return ''\n", "utf-8")
    return folder


FAULTS: dict[str, tuple[str, str, str]] = {
    "no such file": ("own.jsonl", "absent.jsonl", "absent.jsonl: no such file; check the path"),
    "a folder": ("own.jsonl", "./student", "student: a folder, not a file; name one of the files in it"),
    "a workbook": ("own.jsonl", "own.xlsx", 'own.xlsx: a workbook, not a text table; save the sheet as "CSV UTF-8"'),
    "no rationales": ("own.jsonl", "untold.jsonl", "untold.jsonl: no question has a rationale; name their column"),
    "a benchmark's folder": (
        "{train: own.jsonl}",
        "{name: svamp, data_dir: nowhere}",
        "no such file; check data_dir, or delete it to read from the hub",
    ),
    "a misspelt model": ("./student", "builtin:nano-studnet", "no such built-in model; did you mean 'builtin:nano-st"),
    "no such folder": ("./student", "./absent", "absent: no such model folder; give a folder with config.json"),
    "no weights": ("./student", "./bare", "bare: there are no safetensors or GGUF weights in"),
    "no tokenizer": ("./student", "./mute", "mute: there is no tokenizer in"),
    "a misspelt teacher": (
        "teacher: human",
        "teacher: {kind: transformers, model: builtin:nano-techer}",
        "no such built-in model; did you mean 'builtin:nano-teacher'?",
    ),
    "a teacher that is not here": (
        "teacher: human",
        "teacher: {kind: transformers, model: ./absent}",
        "absent: no such model folder",
    ),
    "a teacher of other questions": (
        "teacher: human",
        "teacher: procedural",
        "the procedural teacher cannot write a rationale for a question of task 'own'; choose the teacher",
    ),
    "a script that is not here": (
        "teacher: human",
        "teacher: {kind: scripted, completions: absent.jsonl}",
        "absent.jsonl: no such file; check the path",
    ),
    "a part that takes too little": ("teacher: human", "teacher: parts.py:teach", "teach"),
    "a misspelt signal": (
        "training: {epochs: 1}",
        KD.replace("MODEL", "builtin:nano-techer"),
        "no such built-in model; did you mean 'builtin:nano-teacher'?",
    ),
    "other tokens": (
        "training: {epochs: 1}",
        KD.replace("MODEL", "./stranger"),
        "vocabulary: ",
    ),
    "a task twice": (
        "training: {epochs: 1}",
        "evaluation: {tasks: [procedural, procedural]}",
        "have the id",
    ),
    "a setting": ("epochs: 1", "epochs: none", "'none' for 'training.epochs'"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_all_commands_refuse_a_fault_with_one_line(lab: Path, fault: str) -> None:
    old, new, part = FAULTS[fault]
    assert old in FILE
    (lab / "faulty.yaml").write_text(FILE.replace(old, new), encoding="utf-8")
    said: set[str] = set()
    for command, *options in (*DRY, ("run",)):
        done = run_command(lab, command, "faulty.yaml", *options)
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1), (command, done)
        said.add(done.err)
    (line,) = said
    assert part in line
    assert not (lab / "runs").exists()


@pytest.mark.parametrize(
    ("option", "part"),
    [
        (("--arm", "studnt"), "--arm: unknown arm 'studnt'; did you mean 'student'?"),
        (("--only", "0"), "--only; cotdistill plan lists all ids"),
    ],
)
def test_a_dry_run_knows_the_arms_and_cells_of_a_run(lab: Path, option: tuple[str, str], part: str) -> None:
    (lab / "good.yaml").write_text(FILE, encoding="utf-8")
    said = {run_command(lab, "run", "good.yaml", *option, *dry).err for dry in ((), ("--dry-run",))}
    (line,) = said
    assert option[1] in line


def test_what_only_the_hub_knows_a_plan_says_and_a_run_refuses(lab: Path) -> None:
    (lab / "hub.yaml").write_text(FILE.replace("./student", "nobody/such-a-model-1B"), encoding="utf-8")
    offline = {"HF_HUB_OFFLINE": "1"}
    planned = run_command(lab, "plan", "hub.yaml", environment=offline)
    assert planned.status == 0
    assert planned.err.startswith("a run will need what is not here: nobody/such-a-model-1B: it is not in the local")
    for options in ((), ("--dry-run",)):
        refused = run_command(lab, "run", "hub.yaml", *options, environment=offline)
        assert (refused.status, refused.err.count("\n")) == (2, 1)
        assert refused.err.removeprefix("cotdistill: ") in planned.err


def test_a_good_file_passes_every_check(lab: Path) -> None:
    (lab / "good.yaml").write_text(FILE, encoding="utf-8")
    for dry, *options in DRY:
        assert run_command(lab, dry, "good.yaml", *options, "--runs", "dry").status == 0
