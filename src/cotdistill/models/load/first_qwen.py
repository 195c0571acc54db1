"""Qwen's first generation (Qwen-1.8B, Qwen-7B and the like) as Qwen2: transformers 5 knows it no more.

It computes the same, with other names and queries, keys and values in one matrix. What it does otherwise with texts
that are longer than ``seq_length`` (logarithmic attention, stretched rotary positions) is not converted: the converted
model has no more positions than that, so such texts are refused. None of its own code is run.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.errors import ModelError
from cotdistill.models.load.converted import converted_folder
from cotdistill.models.load.untrusted import SAFE, read_object

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

CONVERSION = 1
"""Raised whenever the conversion makes another folder from the same files."""
RANKS = "qwen.tiktoken"
NUM_EXTRA = 205
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How its tokenizer splits text before tokens are merged."""
CHAT_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""What the code of its chat models writes around turns."""

_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "seq_length")
_OUTSIDE = {
    "transformer.wte.weight": "model.embed_tokens.weight",
    "transformer.ln_f.weight": "model.norm.weight",
    "lm_head.weight": "lm_head.weight",
}
_IN_LAYERS = {
    "attn.c_proj": "self_attn.o_proj",
    "mlp.w1": "mlp.up_proj",
    "mlp.w2": "mlp.gate_proj",
    "mlp.c_proj": "mlp.down_proj",
    "ln_1": "input_layernorm",
    "ln_2": "post_attention_layernorm",
}
_LAYER = re.compile(r"transformer\.h\.(\d+)\.([\w.]+)\.(weight|bias)")


def is_first_qwen(folder: Path) -> bool:
    """Whether the config in ``folder`` is of this family."""
    return (folder / "config.json").is_file() and read_object(folder / "config.json").get("model_type") == "qwen"


def as_qwen2(folder: Path, key: Callable[[], str]) -> Path:
    """The model in ``folder`` as a plain Qwen2 folder in the cache; ``key`` identifies its content.

    Raises ModelError for a model that differs from Qwen2 in more than names, and for damaged files.
    """

    def convert(work: Path) -> Path:
        (work / "model").mkdir()
        _convert(folder, work / "model")
        return work / "model"

    return converted_folder(f"qwen-{key()[:16]}.{CONVERSION}", convert, needs="as much as the model's files take")


def _convert(folder: Path, target: Path) -> None:
    config = read_object(folder / "config.json")
    tokenizer = _tokenizer(folder)
    _qwen2_config(config, folder).save_pretrained(target)
    _write_weights(folder, target)
    stated = folder / "generation_config.json"
    if stated.is_file() and read_object(stated).get("chat_format") == "chatml":
        tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.model_max_length = config["seq_length"]
    tokenizer.save_pretrained(target)


def _qwen2_config(config: dict[str, Any], folder: Path) -> Any:
    from transformers import Qwen2Config

    wrong = next((name for name in _SIZES if type(config.get(name)) is not int or config[name] < 1), None)
    if wrong is not None:
        raise _unknown(folder, f"its {wrong} is {config.get(wrong)!r}")
    heads, size = config["num_attention_heads"], config["hidden_size"]
    if config.get("kv_channels", size // heads) * heads != size or config.get("rotary_pct", 1.0) != 1.0:
        raise _unknown(folder, "its heads are not those of Qwen2")
    if "visual" in config or "quantization_config" in config:
        raise _unknown(folder, "it reads images or is quantised")
    return Qwen2Config(
        architectures=["Qwen2ForCausalLM"],
        vocab_size=config["vocab_size"],
        hidden_size=size,
        intermediate_size=config["intermediate_size"] // 2,  # of both matrices together
        num_hidden_layers=config["num_hidden_layers"],
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=config["seq_length"],
        rms_norm_eps=config.get("layer_norm_epsilon", 1e-6),
        rope_parameters={"rope_type": "default", "rope_theta": float(config.get("rotary_emb_base", 10000))},
        tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
        initializer_range=config.get("initializer_range", 0.02),
    )


def _write_weights(folder: Path, target: Path) -> None:
    """File by file, so that no more than one is in memory."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file

    files = sorted(folder.glob(f"*{SAFE}"))
    places: dict[str, str] = {}
    for number, file in enumerate(files, start=1):
        name = "model.safetensors" if len(files) == 1 else f"model-{number:05}-of-{len(files):05}.safetensors"
        converted: dict[str, Tensor] = {}
        try:
            with safe_open(file, framework="pt") as weights:
                for own in weights.keys():  # noqa: SIM118 (it is no dictionary)
                    converted.update(_renamed(own, weights.get_tensor(own), file))
        except SafetensorError as error:
            raise ModelError(f"damaged safetensors file ({error})", where=file, remedy="get it again") from None
        save_file(converted, target / name, metadata={"format": "pt"})
        places |= dict.fromkeys(converted, name)
    if len(files) > 1:
        index = {"metadata": {}, "weight_map": dict(sorted(places.items()))}
        (target / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _renamed(name: str, weight: Tensor, file: Path) -> Iterator[tuple[str, Tensor]]:
    """A weight under Qwen2's name; that of queries, keys and values in three."""
    if name.endswith("rotary_emb.inv_freq"):
        return
    if name in _OUTSIDE:
        yield _OUTSIDE[name], weight
        return
    layer = _LAYER.fullmatch(name)
    if layer and layer[2] == "attn.c_attn":
        for part, rows in zip("qkv", weight.chunk(3), strict=True):
            yield f"model.layers.{layer[1]}.self_attn.{part}_proj.{layer[3]}", rows.clone()
    elif layer and layer[2] in _IN_LAYERS and layer[3] == "weight":
        yield f"model.layers.{layer[1]}.{_IN_LAYERS[layer[2]]}.weight", weight
    else:
        raise _unknown(file, f"Qwen2 has no weight like {name}")


def _tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokens of its ``qwen.tiktoken`` as a fast tokenizer: text is composed (NFC), split, and merged by rank."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ranks = _ranks(folder / RANKS)
    vocabulary = {_spelled(token): rank for token, rank in ranks.items()}
    tokenizer = Tokenizer(models.BPE(vocabulary, list(_merges(ranks)), ignore_merges=True))
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{n}|>" for n in range(NUM_EXTRA))]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=special[0], pad_token=special[0], additional_special_tokens=special[1:]
    )


def _ranks(file: Path) -> dict[bytes, int]:
    """The rank of each token, which is its id: lines of its bytes in base64 and the number."""
    try:
        lines = (line.split() for line in file.read_text(encoding="ascii").splitlines() if line)
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in lines}
    except FileNotFoundError:
        raise ModelError("there are no tokens", where=file, remedy="get it from the model's page") from None
    except (ValueError, binascii.Error):
        raise ModelError("no list of tokens in base64 with ranks", where=file, remedy="get it again") from None
    bytes_missing = any(bytes([byte]) not in ranks for byte in range(256))
    if bytes_missing or sorted(ranks.values()) != list(range(len(ranks))):
        raise ModelError("its ranks are not those of all bytes and of tokens", where=file, remedy="get it again")
    return ranks


def _merges(ranks: dict[bytes, int]) -> Iterator[tuple[str, str]]:
    """All pairs of tokens that make another one, which is what tiktoken merges, by the rank of what they make."""
    for token in sorted(ranks, key=ranks.__getitem__):
        halves = ((token[:place], token[place:]) for place in range(1, len(token)))
        pairs = [(left, right) for left, right in halves if left in ranks and right in ranks]
        for left, right in sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]])):
            yield _spelled(left), _spelled(right)


def _alphabet() -> list[str]:
    """The printable character by which byte-level tokenizers spell each byte (GPT-2's)."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


_ALPHABET = _alphabet()


def _spelled(token: bytes) -> str:
    return "".join(_ALPHABET[byte] for byte in token)


def _unknown(place: Path, what: str) -> ModelError:
    return ModelError(f"a Qwen of another kind: {what}", where=place, remedy="choose another model")
