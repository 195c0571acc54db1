"""Qwen's first generation, read as Qwen2: the same logits and tokens as by its own definition, and none of its code."""

from __future__ import annotations

import base64
import json
import random
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import regex
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tests.tiny import CORPUS, tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from cotdistill import evaluate, train
from cotdistill.config import LoRA, ModelConfig
from cotdistill.errors import ModelError
from cotdistill.models.load.first_qwen import SPLIT
from cotdistill.models.load.loading import load_model, load_tokenizer, model_identity
from cotdistill.models.load.source import locate
from cotdistill.records import Question, Rationale

LAYERS, HEADS, WIDTH, INNER, POSITIONS = 3, 4, 32, 40, 256
CONFIG: dict[str, Any] = {
    "architectures": ["QWenLMHeadModel"],
    "auto_map": {"AutoConfig": "configuration_qwen.QWenConfig"},
    "model_type": "qwen", "hidden_size": WIDTH, "intermediate_size": 2 * INNER, "kv_channels": WIDTH // HEADS,
    "layer_norm_epsilon": 1e-6, "max_position_embeddings": 8192, "no_bias": True, "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS, "rotary_emb_base": 10000, "rotary_pct": 1.0, "seq_length": POSITIONS,
    "tie_word_embeddings": False, "tokenizer_class": "QWenTokenizer", "use_dynamic_ntk": True, "use_logn_attn": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COTDISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def ranks() -> dict[bytes, int]:
    """Tokens as in ``qwen.tiktoken``: the bytes, then what was merged, in this order."""
    backend = json.loads(tiny_tokenizer(vocabulary=500).backend_tokenizer.to_str())
    merged = ["".join(pair) for pair in backend["model"]["merges"]]
    byte_of = {spelled: bytes([byte]) for byte, spelled in enumerate(_spelling())}
    tokens = [bytes([byte]) for byte in range(256)] + [b"".join(byte_of[c] for c in token) for token in merged]
    return {token: rank for rank, token in enumerate(dict.fromkeys(tokens))}


def _spelling() -> list[str]:
    """How byte-level tokenizers write each byte: those that print by themselves, all others from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) if byte in plain else chr(256 + others.index(byte)) for byte in range(256)]


@pytest.fixture(scope="module")
def weights(ranks) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * (0.25 if len(shape) > 1 else 0.5)

    vocabulary = len(ranks) + 256
    found = {
        "transformer.wte.weight": drawn(vocabulary, WIDTH),
        "transformer.ln_f.weight": drawn(WIDTH),
        "lm_head.weight": drawn(vocabulary, WIDTH),
    }
    for layer in range(LAYERS):
        found |= {
            f"transformer.h.{layer}.{name}": drawn(*shape)
            for name, shape in {
                "ln_1.weight": (WIDTH,), "attn.c_attn.weight": (3 * WIDTH, WIDTH), "attn.c_attn.bias": (3 * WIDTH,),
                "attn.c_proj.weight": (WIDTH, WIDTH), "ln_2.weight": (WIDTH,), "mlp.w1.weight": (INNER, WIDTH),
                "mlp.w2.weight": (INNER, WIDTH), "mlp.c_proj.weight": (WIDTH, INNER),
            }.items()
        }  # fmt: skip
    return found


def write(folder: Path, weights, ranks, *, num_files: int = 2, **settings: Any) -> ModelConfig:
    """A folder as on the hub, with code that must not run."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG | {"vocab_size": len(ranks) + 256} | settings))
    lines = [f"{base64.b64encode(token).decode()} {rank}" for token, rank in ranks.items()]
    (folder / "qwen.tiktoken").write_text("\n".join(lines) + "\n")
    for name in ("configuration_qwen.py", "modeling_qwen.py", "tokenization_qwen.py"):
        (folder / name).write_text("raise SystemExit('code of the model was run')\n")
    names = sorted(weights)
    for number in range(num_files):
        part = {name: weights[name] for name in names[number::num_files]}
        save_file(part, folder / f"model-{number + 1:05}-of-{num_files:05}.safetensors")
    return ModelConfig(model=str(folder))


def logits(weights: dict[str, torch.Tensor], ids: list[int]) -> torch.Tensor:
    """Qwen's first generation by its definition, for a text of at most ``seq_length`` tokens."""

    def norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weight

    def turned(x: torch.Tensor) -> torch.Tensor:  # [tokens, heads, size]
        size = x.shape[-1]
        angles = torch.arange(len(ids))[:, None] * 10000 ** (-torch.arange(0, size, 2) / size)
        cos, sin = (f(torch.cat([angles, angles], dim=-1))[:, None] for f in (torch.cos, torch.sin))
        first, second = x.chunk(2, dim=-1)
        return x * cos + torch.cat([-second, first], dim=-1) * sin

    x = weights["transformer.wte.weight"][ids]
    for layer in range(LAYERS):
        own = {name.split(".", 3)[3]: w for name, w in weights.items() if name.startswith(f"transformer.h.{layer}.")}
        mixed = norm(x, own["ln_1.weight"]) @ own["attn.c_attn.weight"].T + own["attn.c_attn.bias"]
        q, k, v = (part.view(len(ids), HEADS, -1) for part in mixed.split(WIDTH, dim=-1))
        scores = torch.einsum("qhs,khs->hqk", turned(q), turned(k)) / (WIDTH // HEADS) ** 0.5
        seen = torch.ones(len(ids), len(ids)).tril().bool()
        attended = torch.einsum("hqk,khs->qhs", scores.masked_fill(~seen, -torch.inf).softmax(-1), v)
        x = x + attended.reshape(len(ids), WIDTH) @ own["attn.c_proj.weight"].T
        y = norm(x, own["ln_2.weight"])
        x = x + ((y @ own["mlp.w1.weight"].T) * F.silu(y @ own["mlp.w2.weight"].T)) @ own["mlp.c_proj.weight"].T
    return norm(x, weights["transformer.ln_f.weight"]) @ weights["lm_head.weight"].T


def encoded(ranks: dict[bytes, int], text: str) -> list[int]:
    """What tiktoken makes of a text without special tokens: the pair that comes first in the list is merged first."""
    ids = []
    for piece in regex.findall(SPLIT, unicodedata.normalize("NFC", text)):
        parts = [bytes([byte]) for byte in piece.encode()]
        while len(parts) > 1:
            pairs = [ranks.get(a + b, len(ranks)) for a, b in pairwise(parts)]
            if min(pairs) == len(ranks):
                break
            place = pairs.index(min(pairs))
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        ids += [ranks[part] for part in parts]
    return ids


@torch.no_grad()
@pytest.mark.parametrize("num_files", [1, 2])
def test_its_logits_are_those_of_its_definition(tmp_path, weights, ranks, num_files):
    config = write(tmp_path / "qwen", weights, ranks, num_files=num_files)
    model = load_model(config, dtype=torch.float32, device="cpu")
    assert type(model).__name__ == "Qwen2ForCausalLM"
    ids = torch.randint(0, len(ranks), (POSITIONS,), generator=torch.Generator().manual_seed(1)).tolist()
    found = model(input_ids=torch.tensor([ids])).logits[0]
    torch.testing.assert_close(found, logits(weights, ids), rtol=1e-3, atol=1e-3)
    assert model.config.max_position_embeddings == POSITIONS, "longer texts, which it reads otherwise, are refused"


def test_its_tokens_are_those_of_its_list(tmp_path, weights, ranks):
    tokenizer = load_tokenizer(write(tmp_path / "qwen", weights, ranks))
    generator = random.Random(0)
    signs = "ab 1290.,'s\n\r\t  <|>éÉ東京😀" + "e\u0301"
    texts = [
        *CORPUS,
        "a" * 70,
        "I'LL say  120 + 1931\n\n",
        *("".join(generator.choices(signs, k=40)) for _ in range(200)),
    ]
    for text in texts:
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == encoded(ranks, text)
        assert tokenizer.decode(encoded(ranks, text)) == unicodedata.normalize("NFC", text)
    special = tokenizer("<|im_start|>a<|im_end|><|endoftext|><|extra_204|>")["input_ids"]
    assert special == [len(ranks) + 1, ranks[b"a"], len(ranks) + 2, len(ranks), len(ranks) + 207]
    assert tokenizer.eos_token_id == len(ranks)
    assert tokenizer.chat_template is None


def test_a_chat_model_has_the_template_of_its_code(tmp_path, weights, ranks):
    config = write(tmp_path / "qwen", weights, ranks)
    (tmp_path / "qwen" / "generation_config.json").write_text('{"chat_format": "chatml"}')
    turn = [{"role": "user", "content": "Hi"}]
    assert load_tokenizer(config).apply_chat_template(turn, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_student_of_it_is_a_plain_qwen2_folder_and_adapters_name_a_base_that_can_be_read(tmp_path, weights, ranks):
    from peft import PeftModel

    config = write(tmp_path / "qwen", weights, ranks)
    question = Question("q", "own", "train", "What is 1 + 5?", "6", "number")
    rationales = [Rationale(question, "1 + 5 = 6.", "me", None, "human")]
    settings: dict[str, Any] = {"epochs": 1, "runs": tmp_path / "runs", "dtype": "float32"}
    student = train(config, rationales, **settings)
    described = json.loads((student.model / "config.json").read_text())
    assert (described["model_type"], "auto_map" in described) == ("qwen2", False)
    assert AutoTokenizer.from_pretrained(student.model)("1 + 5")["input_ids"] == encoded(ranks, "1 + 5")
    assert evaluate(student, [question], runs=tmp_path / "runs", max_new_tokens=3, dtype="float32").score.n == 1
    adapted = train(config, rationales, adapter=LoRA(rank=2, merge=False), **settings)
    base = json.loads((adapted.model / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapted.model))


def test_it_is_converted_once_and_its_identity_is_that_of_its_own_files(tmp_path, weights, ranks, cache):
    config = write(tmp_path / "qwen", weights, ranks)
    identity = model_identity(config)
    assert not cache.exists(), "planning converts nothing"
    folder = locate(config)
    made = (folder / "model-00001-of-00002.safetensors").stat().st_mtime_ns
    assert locate(config) == folder
    assert (folder / "model-00001-of-00002.safetensors").stat().st_mtime_ns == made
    assert model_identity(config) == identity
    other = {**weights, "lm_head.weight": weights["lm_head.weight"] + 1}
    assert locate(write(tmp_path / "other", other, ranks)) != folder


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"visual": {}}, "a Qwen of another kind: it reads images or is quantised"),
        ({"kv_channels": 4}, "its heads are not those of Qwen2"),
        ({"hidden_size": None}, "its hidden_size is None"),
    ],
)
def test_what_differs_in_more_than_names_is_one_line(tmp_path, weights, ranks, settings, line):
    config = write(tmp_path / "qwen", weights, ranks, **settings)
    with pytest.raises(ModelError, match=f"qwen: .*{line}"):
        load_model(config, dtype=torch.float32, device="cpu")


def test_damaged_lists_of_tokens_and_unknown_weights_are_one_line(tmp_path, weights, ranks):
    config = write(tmp_path / "more", weights | {"transformer.h.0.attn.more": torch.ones(2)}, ranks)
    with pytest.raises(ModelError, match="Qwen2 has no weight like transformer"):
        load_model(config, dtype=torch.float32, device="cpu")
    config = write(tmp_path / "bad", weights, ranks)
    for text, line in (("IQ== x\n", "no list of tokens"), ("IQ== 0\n", "not those of all bytes")):
        (tmp_path / "bad" / "qwen.tiktoken").write_text(text)
        with pytest.raises(ModelError, match=line):
            load_tokenizer(config)
    (tmp_path / "bad" / "qwen.tiktoken").unlink()
    with pytest.raises(ModelError, match=r"qwen.tiktoken: there are no tokens"):
        load_tokenizer(config)
