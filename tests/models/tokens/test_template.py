"""Prompts and responses as tokens: one template for training and evaluation."""

from __future__ import annotations

import itertools

import pytest
from tests.tiny import END_OF_TEXT, PAD, ROLE_END, tiny_model, tiny_tokenizer
from tokenizers import processors

from cotdistill.errors import ModelError
from cotdistill.models.tokens.template import (
    encode_prompt,
    encode_response,
    pad_token_id,
    stop_token_id,
    stop_token_ids,
)
from cotdistill.tasks.segments import Region, Segment

PROMPT = "Ann has 12 apples and gives 5 of them to Ben. How many are left?"
RATIONALE, ANSWER = "Ann has 12 apples.\nShe gives away 5: 12 - 5 = 7.", "\nThe answer is 7."


def segments(rationale: str, answer: str) -> list[Segment]:
    return [Segment(rationale, Region.RATIONALE), Segment(answer, Region.ANSWER)]


RESPONSE = segments(RATIONALE, ANSWER)


def test_prompt_response_and_stop_token_are_what_the_chat_template_renders():
    tokenizer = tiny_tokenizer(chat=True)
    response, _ = encode_response(tokenizer, RESPONSE)
    ours = [*encode_prompt(tokenizer, PROMPT), *response, stop_token_id(tokenizer)]
    turns = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": RATIONALE + ANSWER}]
    theirs = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    assert ours == theirs[: len(ours)]
    assert tokenizer.decode(theirs[len(ours) :]) == "\n"


def test_without_a_chat_template_the_tokens_are_those_of_the_whole_text():
    tokenizer = tiny_tokenizer()
    response, _ = encode_response(tokenizer, RESPONSE)
    whole = tokenizer(f"{PROMPT}\n{RATIONALE}{ANSWER}")["input_ids"]
    assert [*encode_prompt(tokenizer, PROMPT), *response] == whole


def test_the_beginning_of_text_comes_once_where_the_tokenizer_adds_it_and_else_never():
    tokenizer = tiny_tokenizer()
    without = encode_prompt(tokenizer, PROMPT)
    tokenizer.bos_token = PAD
    assert encode_prompt(tokenizer, PROMPT) == without
    tokenizer = tiny_tokenizer()
    tokenizer.bos_token = PAD
    begin = tokenizer.convert_tokens_to_ids(PAD)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{PAD} $A {END_OF_TEXT}", special_tokens=[(PAD, begin), (END_OF_TEXT, tokenizer.eos_token_id)]
    )
    assert encode_prompt(tokenizer, PROMPT) == [begin, *without]
    assert begin not in encode_response(tokenizer, RESPONSE)[0]


def test_a_chat_template_that_writes_the_beginning_of_text_gets_no_second_one():
    tokenizer = tiny_tokenizer(chat=True)
    without = encode_prompt(tokenizer, PROMPT)
    tokenizer.bos_token = END_OF_TEXT
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    begin = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A", special_tokens=[(END_OF_TEXT, begin)]
    )
    assert encode_prompt(tokenizer, PROMPT) == [begin, *without]


@pytest.mark.parametrize("trim", [False, True])
@pytest.mark.parametrize(
    ("rationale", "answer"),
    [
        (RATIONALE, ANSWER),
        ("7 apples", " The answer is 7."),
        ("7 apples ", "The answer is 7."),
        ("7 apples. \n", "\n\nThe answer is 7."),
        ("Café ☃ noël", "☃ é"),
        ("apples and gi", "ves 5"),
        ("", "7"),
        ("7", ""),
        ("7 apples.", "  \n  The answer is 7."),
    ],
)
def test_the_answer_starts_at_the_first_token_that_holds_any_of_it(rationale, answer, trim):
    tokenizer = tiny_tokenizer()
    if trim:  # as GPT-2's and Llama 3's do: the white space of a token is left out of its offsets
        tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    ids, regions = encode_response(tokenizer, segments(rationale, answer))
    assert tokenizer.decode(ids) == rationale + answer
    # A byte-level token is written with one letter a byte, so that its length says where in the text it ends.
    ends = list(itertools.accumulate(len(token) for token in tokenizer.convert_ids_to_tokens(ids)))
    before = sum(end <= len(rationale.encode()) for end in ends)
    assert regions == [Region.RATIONALE] * before + [Region.ANSWER] * (len(ids) - before)


def test_names_of_special_tokens_in_a_response_are_plain_text():
    tokenizer = tiny_tokenizer(chat=True)
    ids, _ = encode_response(tokenizer, segments(f"Write {ROLE_END} now.", " The answer is 7."))
    assert stop_token_id(tokenizer) not in ids
    assert tokenizer.decode(ids) == f"Write {ROLE_END} now. The answer is 7."
    assert tokenizer.convert_tokens_to_ids(ROLE_END) in tokenizer(ROLE_END)["input_ids"]  # and only there


def test_the_stop_token_is_what_the_template_writes_and_not_the_end_of_text():
    tokenizer = tiny_tokenizer(chat=True)
    tokenizer.eos_token = END_OF_TEXT
    assert stop_token_id(tokenizer) == tokenizer.convert_tokens_to_ids(ROLE_END)
    assert stop_token_id(tiny_tokenizer()) == tiny_tokenizer().convert_tokens_to_ids(END_OF_TEXT)


def test_all_declared_endings_stop():
    tokenizer = tiny_tokenizer(chat=True)
    tokenizer.eos_token = END_OF_TEXT
    model = tiny_model(len(tokenizer))
    model.generation_config.eos_token_id = [40, 41]
    endings = tokenizer.convert_tokens_to_ids([ROLE_END, END_OF_TEXT])
    assert stop_token_ids(model, tokenizer) == {*endings, 40, 41}
    model.generation_config.eos_token_id = None
    assert stop_token_ids(model, tokenizer) == set(endings)


def test_rows_are_not_filled_with_a_token_that_ends_a_response():
    tokenizer = tiny_tokenizer(chat=True)
    assert pad_token_id(tokenizer) == tokenizer.convert_tokens_to_ids(PAD)
    tokenizer.pad_token = ROLE_END
    assert pad_token_id(tokenizer) not in (stop_token_id(tokenizer), tokenizer.eos_token_id)


def test_a_tokenizer_without_an_ending_and_a_broken_template_are_named():
    tokenizer = tiny_tokenizer()
    tokenizer.name_or_path = "some/model"
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="some/model: its tokenizer has no token that ends a response"):
        stop_token_id(tokenizer)
    tokenizer.chat_template = "{{ raise_exception('only tools') }}"
    with pytest.raises(ModelError, match=r"some/model: its chat template fails .*only tools"):
        encode_prompt(tokenizer, PROMPT)
