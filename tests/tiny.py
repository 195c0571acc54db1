"""A tokenizer and models small enough for any test: made on the spot, the same in every process."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END_OF_TEXT, PAD = "<|endoftext|>", "<|pad|>"
ROLE_START, ROLE_END = "<|im_start|>", "<|im_end|>"

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

CORPUS = (
    "Question: Ann has 12 apples and gives 5 of them to Ben. How many apples are left?\n",
    "Step 1: Ann has 12 apples. Step 2: She gives away 5. Step 3: 12 - 5 = 7.\n",
    "The answer is 7. The answer is Yes. The answer is (B). The answer is 31.5.\n",
    "Therefore, the number of red, green and blue marbles together is 3 + 4 * 6 = 27.\n",
)


def tiny_tokenizer(*, chat: bool = False, vocabulary: int = 400) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that can encode any text; ``chat`` gives it a ChatML template."""
    special = [END_OF_TEXT, PAD, *((ROLE_START, ROLE_END) if chat else ())]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained(tuple(special), vocabulary)),
        eos_token=ROLE_END if chat else END_OF_TEXT,
        pad_token=PAD,
        additional_special_tokens=[ROLE_START, END_OF_TEXT] if chat else [],
    )
    if chat:
        tokenizer.chat_template = CHATML
    return tokenizer


@cache
def _trained(special: tuple[str, ...], vocabulary: int) -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer.to_str()


def tiny_model(vocab: int, *, layers: int = 2, hidden: int = 32, seed: int = 0) -> LlamaForCausalLM:
    """A randomly initialised Llama in float32 and eval mode, the same for the same arguments.

    Its logits are spread widely, so that greedy choices are no near-ties. Torch's global generator stays as it was.
    """
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def save_tiny(folder: Path, *, chat: bool = False, layers: int = 2, hidden: int = 32, seed: int = 0) -> Path:
    """A tiny model and its tokenizer as a Hugging Face folder; returns ``folder``."""
    tokenizer = tiny_tokenizer(chat=chat)
    tiny_model(len(tokenizer), layers=layers, hidden=hidden, seed=seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
