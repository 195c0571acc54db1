"""From rationales to token examples: shifted once, masked once, nothing cut, nothing lost without a count."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import pytest
from tests.tiny import END_OF_TEXT, ROLE_END, tiny_tokenizer
from transformers import PreTrainedTokenizerFast

from cotdistill.config import ForwardKL, LiveTeacher, ModelConfig, TrainingConfig
from cotdistill.errors import DataError
from cotdistill.models.tokens.template import encode_prompt
from cotdistill.rationales.lengths import bounds, histogram
from cotdistill.records import Question, Rationale
from cotdistill.tasks.prompts import prompt_text
from cotdistill.tasks.segments import REGIONS, Region
from cotdistill.training.data.batches import collate
from cotdistill.training.data.examples import Example, make_example, make_examples
from cotdistill.training.data.lengths import Lengths, length_limit
from cotdistill.training.data.store import total_loss_tokens

QUESTION = Question("q1", "own", "train", "Ann has 12 apples and gives 5 away. How many are left?", "7", "number")
REASONING = "Ann has 12 apples.\nShe gives 5 away: 12 - 5 = 7."
RATIONALE = Rationale(QUESTION, REASONING, "me", 3, "cot")
ANSWER_ONLY = Rationale(QUESTION, None, "answer_only", None, "answer_only")


@pytest.fixture(params=["plain", "chat", "padded with its end token"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    made = tiny_tokenizer(chat=request.param == "chat")
    if request.param == "padded with its end token":
        made.pad_token = made.eos_token
    return made


def text_of(example: Example, tokenizer: PreTrainedTokenizerFast, *regions: Region) -> str:
    targets = zip(example.targets, example.regions, strict=True)
    return tokenizer.decode([token for token, region in targets if region in regions])


def test_each_position_predicts_the_next_token(tokenizer: PreTrainedTokenizerFast) -> None:
    """Error 1 of our neighbours: a mask that is not shifted with its targets. Here one place shifts both."""
    example = make_example(RATIONALE, tokenizer)
    assert example.input_ids[1:] == example.targets[:-1]
    first = next(i for i, region in enumerate(example.regions) if region is Region.RATIONALE)
    assert tokenizer.decode(example.targets[first:]).startswith("Ann has 12 apples.")
    prompt = encode_prompt(tokenizer, prompt_text(QUESTION, "rationale"))
    assert first == len(prompt) - 1, "the prompt's last token predicts the first of the response"
    assert example.input_ids[: len(prompt)] == prompt, "training reads the prompt that evaluation will give"


def test_regions_hold_exactly_the_text_that_they_are_named_for(tokenizer: PreTrainedTokenizerFast) -> None:
    example = make_example(RATIONALE, tokenizer)
    end = ROLE_END if tokenizer.chat_template else END_OF_TEXT
    assert text_of(example, tokenizer, Region.RATIONALE) == f"{REASONING}\n"
    assert text_of(example, tokenizer, Region.ANSWER) == "The answer is 7."
    assert text_of(example, tokenizer, Region.END) == end
    assert text_of(example, tokenizer, *REGIONS["all"]) == f"{REASONING}\nThe answer is 7.{end}"
    assert text_of(example, tokenizer, *REGIONS["answer"]) == f"The answer is 7.{end}"
    assert text_of(example, tokenizer, *REGIONS["rationale"]) == f"{REASONING}\n"


def test_regions_follow_one_another_and_leave_nothing_out(tokenizer: PreTrainedTokenizerFast) -> None:
    for rationale in (RATIONALE, ANSWER_ONLY):
        example = make_example(rationale, tokenizer)
        assert example.regions == sorted(example.regions)
        assert len(example.input_ids) == len(example.targets) == len(example.regions)
        assert example.num_loss_tokens == sum(region is not Region.PROMPT for region in example.regions)


def test_no_token_of_the_prompt_carries_loss(tokenizer: PreTrainedTokenizerFast) -> None:
    """Error of an all-ones mask: every target with loss is of the response, and every one of the response has loss."""
    example = make_example(RATIONALE, tokenizer)
    batch = collate([example])
    num_prompt = len(encode_prompt(tokenizer, prompt_text(QUESTION, "rationale")))
    assert batch.positions.tolist() == list(range(num_prompt - 1, len(example)))
    assert batch.targets.tolist() == example.targets[num_prompt - 1 :]


def test_the_stop_token_is_trained_even_where_it_pads(tokenizer: PreTrainedTokenizerFast) -> None:
    """pad == eos must not mask EOS: padding is known by its place, not by its id."""
    short, long = make_example(ANSWER_ONLY, tokenizer), make_example(RATIONALE, tokenizer)
    stop = tokenizer.convert_tokens_to_ids(ROLE_END if tokenizer.chat_template else END_OF_TEXT)
    batch = collate([short, long])
    assert [example.targets[-1] for example in (short, long)] == [stop, stop]
    assert (batch.targets == stop).sum() == 2
    assert batch.regions[batch.targets == stop].tolist() == [Region.END, Region.END]
    assert batch.attention_mask.sum(dim=1).tolist() == [len(short), len(long)]


def test_without_a_rationale_the_answer_alone_is_asked_for_and_taught(tokenizer: PreTrainedTokenizerFast) -> None:
    example = make_example(ANSWER_ONLY, tokenizer)
    assert text_of(example, tokenizer, Region.RATIONALE) == ""
    assert text_of(example, tokenizer, Region.ANSWER) == "The answer is 7."
    assert 'Reply with "The answer is"' in tokenizer.decode(example.input_ids)


def test_a_stated_answer_is_taught_once(tokenizer: PreTrainedTokenizerFast) -> None:
    stated = Rationale(QUESTION, f"{REASONING} So the answer is 7.", "me", 3, "cot")
    assert make_example(stated, tokenizer).targets == make_example(RATIONALE, tokenizer).targets


def test_an_answer_that_comes_first_is_marked_where_it_stands(tokenizer: PreTrainedTokenizerFast) -> None:
    example = make_example(RATIONALE, tokenizer, "answer_then_rationale")
    end = ROLE_END if tokenizer.chat_template else END_OF_TEXT
    assert text_of(example, tokenizer, *REGIONS["all"]) == f"The answer is 7.\n{REASONING}{end}"
    assert text_of(example, tokenizer, Region.ANSWER) == "The answer is 7.\n"
    assert text_of(example, tokenizer, Region.RATIONALE) == REASONING
    assert 'Start with "The answer is"' in tokenizer.decode(example.input_ids)


def test_two_tasks_make_two_examples_whose_regions_tell_them_apart(tokenizer: PreTrainedTokenizerFast) -> None:
    """So that the weight of a loss term on a region is the weight of a task."""
    made, _ = make_examples([RATIONALE, ANSWER_ONLY], tokenizer, max_length=512, too_long="error", target="multi_task")
    predict, explain, alone = made
    end = ROLE_END if tokenizer.chat_template else END_OF_TEXT
    assert "predict: Ann has" in tokenizer.decode(predict.input_ids)
    assert "explain: Ann has" in tokenizer.decode(explain.input_ids)
    assert text_of(predict, tokenizer, *REGIONS["answer"]) == f"The answer is 7.{end}"
    assert text_of(explain, tokenizer, *REGIONS["rationale"]) == f"{REASONING}{end}"
    assert text_of(predict, tokenizer, *REGIONS["rationale"]) == text_of(explain, tokenizer, *REGIONS["answer"]) == ""
    assert alone == predict


def test_answers_alone_are_taught_where_the_target_says_so(tokenizer: PreTrainedTokenizerFast) -> None:
    limits = {"max_length": 512, "too_long": "error"}
    made, _ = make_examples([RATIONALE], tokenizer, **limits, target="answer_only")
    assert made == [make_example(ANSWER_ONLY, tokenizer)]


def test_what_is_too_long_is_dropped_whole_and_counted() -> None:
    tokenizer = tiny_tokenizer()
    long = Rationale(QUESTION, REASONING * 20, "me", 3, "cot")
    limit = len(make_example(RATIONALE, tokenizer)) + 1
    kept, dropped = make_examples([RATIONALE, long, ANSWER_ONLY], tokenizer, max_length=limit, too_long="drop")
    assert kept == [make_example(RATIONALE, tokenizer), make_example(ANSWER_ONLY, tokenizer)]
    assert dropped == {"too_long": 1}
    assert total_loss_tokens(kept) == sum(example.num_loss_tokens for example in kept)
    kept, dropped = make_examples([RATIONALE], tokenizer, max_length=limit, too_long="drop")
    assert (len(kept), dropped) == (1, {})


def test_what_is_too_long_is_an_error_where_the_config_says_so() -> None:
    tokenizer = tiny_tokenizer()
    num_tokens = len(make_example(RATIONALE, tokenizer)) + 1
    with pytest.raises(DataError) as raised:
        make_examples([ANSWER_ONLY, RATIONALE], tokenizer, max_length=num_tokens - 1, too_long="error")
    assert f"rationale q1: {num_tokens} tokens" in str(raised.value)
    assert f"training.max_length ({num_tokens - 1})" in str(raised.value)


def test_reasoning_is_cut_at_a_sentence_and_the_answer_kept(tokenizer: PreTrainedTokenizerFast) -> None:
    sentences = [f"Wait, let me check that 12 - {n} = {12 - n} again." for n in range(12)]
    long = Rationale(QUESTION, " ".join(sentences), "me", 3, "cot")
    whole = make_example(long, tokenizer)
    end = ROLE_END if tokenizer.chat_template else END_OF_TEXT
    for limit in range(len(make_example(ANSWER_ONLY, tokenizer)), len(whole) + 2):
        lengths = Lengths(limit)
        try:
            (made,), _ = make_examples([long], tokenizer, max_length=limit, too_long="cut_reasoning", lengths=lengths)
        except DataError:
            assert lengths.fates == {"too_long": 1}
            assert limit < len(make_example(replace(long, rationale=sentences[0]), tokenizer)) + 1
            continue
        kept = text_of(made, tokenizer, Region.RATIONALE).removesuffix("\n")
        assert len(made) + 1 <= limit
        assert kept in {" ".join(sentences[:count]) for count in range(1, 13)}
        more = replace(long, rationale=" ".join(sentences[: kept.count("Wait") + 1]))
        assert made == whole or len(make_example(more, tokenizer)) + 1 > limit, "as many sentences as fit"
        assert text_of(made, tokenizer, Region.ANSWER, Region.END) == f"The answer is 7.{end}"
        assert lengths.fates == {"whole" if made == whole else "cut": 1}
        assert lengths.to_row()["longest"] == len(whole) + 1, "counted as they were"


def test_what_is_left_out_is_said_with_a_warning_above_a_twentieth() -> None:
    tokenizer = tiny_tokenizer()
    long = Rationale(QUESTION, REASONING * 20, "me", 3, "cot")
    limit = len(make_example(RATIONALE, tokenizer)) + 1
    said = []
    for num_short in (0, 19, 20):
        lengths = Lengths(limit)
        rows = [*[RATIONALE] * num_short, long, ANSWER_ONLY]
        make_examples(rows, tokenizer, max_length=limit, too_long="drop", lengths=lengths)
        said.append(lengths.line())
    assert said[0].startswith("warning: 1 of 2 examples (50 %) are too long to train on (the limit is ")
    assert said[0].endswith("; raise training.max_length, or set training.too_long: cut_reasoning")
    assert said[1].startswith("1 of 21 examples (5 %) are too long")
    assert not said[2].startswith("warning")
    lengths = Lengths(limit)
    make_examples([RATIONALE], tokenizer, max_length=limit, too_long="drop", lengths=lengths)
    assert lengths.line() is None


def test_a_histogram_counts_every_length_between_its_bounds() -> None:
    found = histogram(range(100))
    lower = [int(bound) for bound in found]
    assert sum(found.values()) == 100
    assert bounds(lower[0], lower[-1])[:-1] == lower
    for bound, above in pairwise([*lower, 100]):
        assert found[str(bound)] == above - bound


def test_by_default_examples_may_be_as_long_as_the_models_take(tmp_path: Path) -> None:
    def model(name: str, config: str) -> ModelConfig:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config)
        return ModelConfig(model=str(tmp_path / name))

    student = model("student", '{"max_position_embeddings": 4096}')
    teacher = model("teacher", '{"text_config": {"n_positions": 1024}}')
    unlimited, huge = model("mamba", "{}"), model("long", '{"max_position_embeddings": 131072}')
    signal = LiveTeacher(model=teacher)
    term = ForwardKL()
    assert length_limit(student, TrainingConfig()) == 4096
    assert length_limit(student, TrainingConfig(max_length=512)) == 512
    assert length_limit(student, TrainingConfig(signal=signal, loss=(term,))) == 1024
    assert length_limit(unlimited, TrainingConfig()) == length_limit(huge, TrainingConfig()) == 32_768


def test_nothing_to_train_on_is_an_error_that_says_why() -> None:
    with pytest.raises(DataError, match="no rationale to train on: there are none"):
        make_examples([], tiny_tokenizer(), max_length=512, too_long="drop")
    with pytest.raises(DataError, match=r"all 2 exceed training\.max_length \(9\)"):
        make_examples([RATIONALE, ANSWER_ONLY], tiny_tokenizer(), max_length=9, too_long="drop")


def test_an_examples_key_is_of_its_tokens_and_their_regions_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    """A stored signal is found by it, whatever the step, the batch or the question's id."""
    example = make_example(RATIONALE, tokenizer)
    renamed = Example("other", example.input_ids, example.targets, example.regions)
    assert renamed.key == example.key
    keys = {make_example(r, tokenizer).key for r in (RATIONALE, ANSWER_ONLY, Rationale(QUESTION, "7.", "me", 3, "cot"))}
    assert len(keys) == 3


def test_keys_and_regions_are_what_they_were(tokenizer: PreTrainedTokenizerFast) -> None:
    """Stored signals are found by these keys: the plain way of making an example must give the same ones."""
    example = make_example(RATIONALE, tokenizer)
    prompt = encode_prompt(tokenizer, prompt_text(QUESTION, "rationale"))
    response = tokenizer(f"{REASONING}\nThe answer is 7.", add_special_tokens=False)["input_ids"]
    ids = [*prompt, *response, example.targets[-1]]
    assert [*example.input_ids, example.targets[-1]] == ids
    content = (ids[:-1], ids[-1], len(prompt) - 1)
    assert example.key == blake2b(repr(content).encode(), digest_size=16).hexdigest()


def test_loss_may_lie_in_several_stretches(tokenizer: PreTrainedTokenizerFast) -> None:
    """As in a conversation with several turns of the assistant."""
    regions = [Region.PROMPT, Region.ANSWER, Region.END, Region.PROMPT, Region.PROMPT, Region.RATIONALE]
    example = Example("turns", [1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7], regions)
    assert example.loss_targets == [3, 4, 7]
    assert (example.num_loss_tokens, example.prompt) == (3, [1, 2])
    informed = Example("turns", example.input_ids, example.targets, regions, teacher_prompt=[8, 9, 2]).of_teacher()
    assert informed.input_ids == [8, 9, 2, 3, 4, 5, 6]
    assert informed.loss_targets == [3, 4, 7]
    others = [[Region.PROMPT] * 3 + [Region.ANSWER] * 3, [Region.PROMPT] + [Region.ANSWER] * 5]
    assert len({example.key, *(Example("", example.input_ids, example.targets, other).key for other in others)}) == 3
