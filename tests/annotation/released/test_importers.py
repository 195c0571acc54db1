"""Released rationales from their own layouts: every row becomes a rationale or a counted reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cotdistill.annotation.released.eit_cot import RELEASE, Released
from cotdistill.annotation.released.eit_cot_layout import resolve, split_choices
from cotdistill.annotation.released.importers import import_rationales
from cotdistill.cli import app
from cotdistill.config import FileTask
from cotdistill.errors import ConfigError, DataError
from cotdistill.tasks import load_task


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def manifest_files(shared_data: Path, source: str) -> dict[str, int]:
    files = json.loads((shared_data / "MANIFEST.json").read_text())["files"]
    return {one["file"]: one["rows"] for one in files if one["set"] == source}


# ---- the granularity paper's release --------------------------------------------------------------------------------


def test_our_table_of_files_and_the_names_agree() -> None:
    assert [resolve("", f"{file}.json") for file in RELEASE.values()] == list(RELEASE)


@pytest.mark.parametrize(
    ("name", "file", "held"),
    [
        ("auqa_ChatGPT_level3", "aqua_chatgpt_level3_ranked", ("aqua", "chatgpt", 3, "cot")),
        ("auqa_human", "aqua_human", ("aqua", "human", None, "human")),
        ("auqa_only_ans", "aqua_only_ans", ("aqua", "answer_only", None, "answer_only")),
        ("aqua_level6_rar", "0_aqua_chatgpt_level6RaR", ("aqua", "chatgpt", 6, "rar")),
        ("cQA_llama_level5", "csqa_llama_level5_ranked", ("commonsenseqa", "llama", 5, "cot")),
        ("csqa_only_ans", "commonsenseQA_onlyans", ("commonsenseqa", "answer_only", None, "answer_only")),
        ("ecqa_human", "ecqa_train", ("commonsenseqa", "human", None, "human")),
        ("GSM8k_only_ans", "gsm_train_onlyans", ("gsm8k", "answer_only", None, "answer_only")),
        ("gsm8k_gemma_sym", "0_gsm8k_chatgpt_level5SYM", ("gsm8k", "chatgpt", 5, "symbolic")),
        ("svamp_bloom_bsm", "0_SVAMP_chatgpt_level3BSM", ("svamp", "chatgpt", 3, "least_to_most")),
        ("obqa_level3_sym", "openbookqa_chatgpt_symbolic_level3_ranked", ("openbookqa", "chatgpt", 3, "symbolic")),
        ("stqa_human", "stqa_human_annotation", ("strategyqa", "human", None, "human")),
        ("math_onlyans", "math_human", ("math", "answer_only", None, "answer_only")),
        ("math_human", "math_human", ("math", "human", None, "human")),
        ("math_mix_chatgpt_level2", "math_mix_level2", ("math", "chatgpt", 2, "cot")),
        ("math_mix_gemini_level6", "math_gemini_level6_ranked", ("math", "gemini", 6, "cot")),
    ],
)
def test_irregular_names_are_resolved(name: str, file: str, held: tuple[Any, ...]) -> None:
    assert resolve(name, f"{file}.json") == Released(*held)


def test_a_name_without_a_task_is_refused() -> None:
    with pytest.raises(DataError, match="do not tell the task"):
        resolve("notes", "notes.json")


@pytest.mark.parametrize(
    "listed",
    ["Answer Choices: (A) a cat, or B (B) two (C) x: y", "Answer choices: A: a cat, or B, B: two, C: x: y"],
)
def test_choices_are_split_from_the_question(listed: str) -> None:
    question, choices = split_choices(f"Q: Which one? {listed}")
    assert question == "Which one?"
    assert choices is not None
    assert (len(choices), choices[1:]) == (3, ("two", "x: y"))


def test_a_release_folder_is_read_as_its_list_says(tmp_path: Path) -> None:
    def entry(file: str) -> dict[str, Any]:
        return {"file_name": file, "columns": {"prompt": "instruction", "response": "output"}}

    listed = {
        "SVAMP_llama_level2": entry("a_svamp.json"),
        "stqa_only_ans": entry("b.json"),
        "gone": entry("c_gsm.json"),
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(listed))
    asked = {"instruction": "Two and three?", "output": "2 + 3 = 5. The answer is 5"}
    unstated = {"instruction": "Two and two?", "output": "I cannot say"}
    (tmp_path / "a_svamp.json").write_text(json.dumps([asked, unstated, {"input": 1}]))
    (tmp_path / "b.json").write_text(json.dumps([{"instruction": "Is ice cold?", "output": "True"}]))
    made = import_rationales("eit_cot", tmp_path)
    assert (made.files, made.unread) == (
        {"SVAMP_llama_level2": 3, "stqa_only_ans": 1},
        {"no_stated_answer": 1, "unknown_columns": 1},
    )
    first, second = made.records
    assert (first.rationale, first.question.answer, first.teacher, first.granularity) == ("2 + 3 = 5.", "5", "llama", 2)
    assert (second.rationale, second.question.answer_type, second.format) == (None, "true_false", "answer_only")


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("source", ["eit_cot", "flan_cot", "distilling_step_by_step"])
def test_every_released_file_imports_with_the_rows_of_the_manifest(shared_data: Path, source: str) -> None:
    listed = manifest_files(shared_data, source)
    assert len(listed) >= 4
    for file, rows in listed.items():
        made = import_rationales(source, shared_data / file)
        assert sum(made.files.values()) == rows, file
        assert len(made.records) + sum(made.unread.values()) == rows, file
        assert set(made.unread) <= {"empty_rationale"}, file
        assert len(made.records) >= 0.98 * rows, file


@pytest.mark.shared
def test_the_release_layout_gives_what_our_copy_of_it_holds(shared_data: Path, tmp_path: Path) -> None:
    """The exact instructions and outputs of the release, put back into its own layout.

    One solution ends in "Hence answer should be D", which its preparation did not read.
    """
    restated = {"eit-aqua_gemini_level2_ranked-00101": "D"}
    listed = {}
    for name in ("SVAMP_llama_level1_ranked", "aqua_gemini_level2_ranked", "stqa_gemini_level6_ranked"):
        with gzip.open(shared_data / "eit_cot" / f"{name}.jsonl.gz", "rt") as lines:
            rows = [json.loads(line) for line in lines][:300]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
        listed[name] = {"file_name": f"{name}.json", "columns": {"prompt": "instruction", "response": "output"}}
        (tmp_path / "dataset_info.json").write_text(json.dumps(listed))
        made = import_rationales("eit_cot", tmp_path)
        found = {record.id: record for record in made.records}
        for number, row in enumerate(rows):
            record = found.get(f"{name}-{number:05}")
            if record is not None:
                assert list(record.question.choices or ()) == (row["choices"] or []), row["id"]
                stated = restated.get(row["id"], row["meta"]["teacher_answer"])
                assert record.question.answer == stated, row["id"]
        assert len(made.records) >= 0.98 * 300 * len(listed)


# ---- the others -----------------------------------------------------------------------------------------------------


def test_cot_collection_in_all_its_forms(tmp_path: Path) -> None:
    rows = [
        {
            "source": f"What is {n} + 1?",
            "target": str(n + 1),
            "rationale": f"{n} + 1 = {n + 1}.",
            "task": "add",
            "type": "t",
        }
        for n in range(4)
    ]
    broken = [{"source": "x", "target": None}, rows[0], rows[1] | {"source": "  "}, rows[2] | {"rationale": " "}]
    whole = [*rows, *broken]
    (tmp_path / "mapping.json").write_text(json.dumps({str(n): row for n, row in enumerate(whole)}))
    (tmp_path / "list.json").write_text(json.dumps(whole))
    write_lines(tmp_path / "lines.jsonl", whole)
    for name in ("mapping.json", "list.json", "lines.jsonl"):
        made = import_rationales("cot_collection", tmp_path / name)
        assert made.unread == {"empty_rationale": 1, "no_question": 1, "repeated": 1, "unknown_columns": 1}
        assert [record.question.answer for record in made.records] == ["1", "2", "3", "4"]
        assert {record.question.task for record in made.records} == {"cot_collection/add"}


def test_flan_lines_and_a_row_of_another_width(tmp_path: Path) -> None:
    path = tmp_path / "stream_train.tsv"
    path.write_text("Is ice cold?\\nOptions:\\n- yes\\n- no\tyes\tIce is frozen.\nalone\n")
    made = import_rationales("flan_cot", path)
    assert made.unread == {"not_three_columns": 1}
    (record,) = made.records
    assert record.question.question.splitlines() == ["Is ice cold?", "Options:", "- yes", "- no"]
    assert (record.question.answer, record.rationale, record.format) == ("Yes", "Ice is frozen.", "human")


def test_step_by_step_joins_questions_and_outputs_by_place(tmp_path: Path) -> None:
    folder = tmp_path / "svamp"
    rows = [{"input": f"Ann has {n} hats.\nShe buys 2. How many?", "label": f"( {n}.0 + 2.0 )"} for n in range(12)]
    write_lines(folder / "svamp_train.json", [*rows, {"input": "?", "label": "none"}])
    outputs = [f"Ann has {n} hats. {n} + 2 = {n + 2}. The answer is ({n} + 2).\n\nQ: Ben" for n in range(13)]
    (folder / "llm").mkdir()
    for number, part in ((0, outputs[:5]), (1, outputs[5:10]), (10, outputs[12:]), (2, outputs[10:12])):
        (folder / "llm" / f"train_CoT_{number}.json").write_text(json.dumps(part))
    made = import_rationales("distilling_step_by_step", folder)
    assert made.unread == {"unreadable_answer": 1}
    assert [record.question.answer for record in made.records] == [str(n + 2) for n in range(12)]
    assert made.records[11].rationale == "Ann has 11 hats. 11 + 2 = 13."
    assert {record.teacher for record in made.records} == {"palm-540b"}


def test_what_was_imported_is_a_task_to_train_on(tmp_path: Path) -> None:
    rows = [{"source": f"{n} + 1?", "target": str(n + 1), "rationale": "Add.", "task": "add"} for n in range(20)]
    source, out = write_lines(tmp_path / "collection.jsonl", rows), tmp_path / "imported.jsonl"
    outcome = CliRunner().invoke(app, ["import", "cot_collection", str(source), "--out", str(out), "--json"])
    assert outcome.exit_code == 0, outcome.output
    assert json.loads(outcome.output)["cot_collection"]["rationales"] == 20
    task = load_task(FileTask(train=out, test_share=0.1))
    assert len(task.train) + len(task.test) == 20
    assert {question.human_rationale for question in task.train} == {"Add."}


def test_an_unknown_source_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'cot_collection'"):
        import_rationales("cot_colection", tmp_path)
    with pytest.raises(DataError, match="no flan_cot data found"):
        import_rationales("flan_cot", tmp_path)
