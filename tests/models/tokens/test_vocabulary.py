"""Teacher and student speak the same tokens, or one clear error says how they differ."""

from __future__ import annotations

import pytest
from tests.tiny import tiny_model, tiny_tokenizer

from cotdistill.errors import ModelError
from cotdistill.models.tokens.vocabulary import check_same_vocabulary, check_tokens, shared_vocabulary_size


def test_the_same_vocabulary_passes():
    check_same_vocabulary(tiny_tokenizer(), tiny_tokenizer())


def test_another_vocabulary_is_counted_and_its_first_difference_named():
    teacher, student = tiny_tokenizer(), tiny_tokenizer()
    teacher.name_or_path, student.name_or_path = "the/teacher", "the/student"
    student.add_tokens(["<think>", "</think>"])
    with pytest.raises(ModelError) as error:
        check_same_vocabulary(teacher, student)
    line = str(error.value)
    assert f"2 tokens differ between teacher the/teacher ({len(teacher)} tokens)" in line
    assert f"'<think>' (ids none and {len(teacher)})" in line
    assert "student's family" in line


def test_the_same_tokens_under_other_ids_are_another_vocabulary():
    with pytest.raises(ModelError, match=r"first is '<\|im_start\|>'|first is '!'"):
        check_same_vocabulary(tiny_tokenizer(), tiny_tokenizer(chat=True))


def test_padded_heads_share_the_smaller_size_and_cover_all_tokens(caplog: pytest.LogCaptureFixture):
    size = len(tiny_tokenizer())
    assert shared_vocabulary_size(size + 3, tiny_model(size + 3), size) == size + 3
    assert not caplog.records
    assert shared_vocabulary_size(size + 9, tiny_model(size + 3), size) == size + 3
    assert (
        f"has {size + 9} outputs and the student's {size + 3}, for {size} tokens: the first {size + 3}" in caplog.text
    )
    with pytest.raises(ModelError, match=f"the student's head has {size - 1} outputs for {size} tokens"):
        shared_vocabulary_size(size, tiny_model(size - 1), size)
    with pytest.raises(ModelError, match=f"the teacher's head has {size - 1} outputs for {size} tokens"):
        shared_vocabulary_size(size - 1, tiny_model(size), size)


def test_a_token_that_a_model_lacks_is_refused_only_where_a_text_has_it():
    """Gemma 3's tokenizer has one token more than its head, which stands for an image."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    model = tiny_model(len(tokenizer) - 1)
    assert check_tokens(model, tokenizer, [5, len(tokenizer) - 2, 7]) == len(tokenizer) - 1
    with pytest.raises(ModelError, match=rf"token {len(tokenizer) - 1} \('<image>'\) is beyond the model's"):
        check_tokens(model, tokenizer, [5, len(tokenizer) - 1])
