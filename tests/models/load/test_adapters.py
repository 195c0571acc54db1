"""Adapters: nothing else is trained, the fused loss is the plain one, and merged or loaded they are the same model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models import families
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from cotdistill import train
from cotdistill.config import LoRA, ModelConfig
from cotdistill.errors import ModelError
from cotdistill.models.load.adapters import add_adapter, check_adapter, save_adapter
from cotdistill.models.load.loading import load_model, load_tokenizer, model_identity
from cotdistill.models.load.saving import save_tokenizer
from cotdistill.records import Question, Rationale

IDS = torch.arange(2, 26).view(2, 12)


def moved(adapted: Any) -> Any:
    """Adapters start at no effect; here they get one."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return adapted


def test_only_adapters_can_be_trained_and_they_start_at_no_effect() -> None:
    model = tiny_model(64)
    before = model(input_ids=IDS).logits
    add_adapter(model, LoRA(rank=4), seed=0)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert len(trained) == 2 * 7 * 2  # A and B of seven linear layers of two blocks: the head has none
    assert all("lora_" in name for name in trained)
    assert torch.equal(model(input_ids=IDS).logits, before)


def test_the_seed_alone_decides_how_adapters_start() -> None:
    def start(seed: int) -> torch.Tensor:
        torch.rand(3)
        model = tiny_model(64)
        add_adapter(model, LoRA(rank=4), seed=seed)
        return torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


@pytest.mark.parametrize("targets", ["auto", ("q_proj", "lm_head")])
def test_merged_loaded_and_adapted_models_are_one(tmp_path: Path, targets: Any) -> None:
    base = ModelConfig(model=str(save_tiny(tmp_path / "base")), keep_layers=1)
    model = load_model(base, dtype=torch.float32, device="cpu")
    untrained = model(input_ids=IDS).logits
    adapted = moved(add_adapter(model, LoRA(rank=4, target_modules=targets), seed=0))
    with torch.no_grad():
        expected = model(input_ids=IDS).logits
    assert not torch.allclose(expected, untrained, atol=1e-2)

    save_adapter(adapted, base, tmp_path / "kept")
    save_tokenizer(model, tiny_tokenizer(), tmp_path / "kept")
    kept = ModelConfig(model=str(tmp_path / "kept"))
    loaded = load_model(kept, dtype=torch.float32, device="cpu")
    assert all("lora" not in name for name, _ in loaded.named_parameters())
    torch.testing.assert_close(loaded(input_ids=IDS).logits, expected, rtol=1e-4, atol=1e-4)
    assert load_tokenizer(kept).get_vocab() == tiny_tokenizer().get_vocab()

    merged = adapted.merge_and_unload()
    torch.testing.assert_close(merged(input_ids=IDS).logits, expected, rtol=1e-4, atol=1e-4)


def test_a_kept_adapter_can_be_read_by_transformers_alone(tmp_path: Path) -> None:
    base = ModelConfig(model=str(save_tiny(tmp_path / "base")))
    model = load_model(base, dtype=torch.float32, device="cpu")
    adapted = moved(add_adapter(model, LoRA(rank=4), seed=0))
    save_adapter(adapted, base, tmp_path / "kept")
    theirs: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "kept")
    torch.testing.assert_close(theirs(input_ids=IDS).logits, model(input_ids=IDS).logits)


def test_an_adapter_is_never_put_beside_another_base(tmp_path: Path) -> None:
    base = ModelConfig(model=str(save_tiny(tmp_path / "base")))
    adapted = add_adapter(load_model(base, dtype=torch.float32, device="cpu"), LoRA(rank=4), seed=0)
    save_adapter(adapted, base, tmp_path / "kept")
    kept = ModelConfig(model=str(tmp_path / "kept"))
    before = model_identity(kept)
    save_tiny(tmp_path / "base", seed=1)
    with pytest.raises(ModelError, match=r"its adapters belong to another version of .*base.*; restore that version"):
        load_model(kept, dtype=torch.float32, device="cpu")
    (tmp_path / "kept" / "base_model.json").unlink()
    assert model_identity(kept) != before, "one of another tool's: its base is a part of what it is"
    described = json.loads((tmp_path / "kept" / "adapter_config.json").read_text())
    (tmp_path / "kept" / "adapter_config.json").write_text(json.dumps(described | {"base_model_name_or_path": None}))
    with pytest.raises(ModelError, match="does not say which model"):
        model_identity(kept)


def test_layers_that_are_not_there_or_shared_are_one_clear_line() -> None:
    with pytest.raises(ModelError, match=r"training\.adapter\.target_modules: .*nope.*; name linear layers") as raised:
        add_adapter(tiny_model(64), LoRA(target_modules=("nope",)), seed=0)
    assert "\n" not in str(raised.value)
    tied = tiny_model(64)
    tied.config.tie_word_embeddings = True
    tied.tie_weights()
    with pytest.raises(
        ModelError, match="lm_head shares its weights with another layer and cannot be adapted; remove it"
    ):
        add_adapter(tied, LoRA(target_modules=("lm_head",)), seed=0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_four_bits_without_cuda_are_one_clear_line() -> None:
    student = ModelConfig(model="builtin:nano-student")
    check_adapter(LoRA(), student)
    with pytest.raises(ModelError, match=r"quantize: 4-bit weights need a CUDA device.*; set it to none"):
        check_adapter(LoRA(quantize="4bit"), student)


@pytest.mark.parametrize("merge", [True, False])
def test_adapters_are_kept_apart_only_where_other_tools_can_put_them_beside_their_base(tmp_path: Path, merge: bool):
    whole = ModelConfig(model=str(save_tiny(tmp_path / "base")))
    adapted = add_adapter(load_model(whole, dtype=torch.float32, device="cpu"), LoRA(rank=2), seed=0)
    save_adapter(adapted, whole, tmp_path / "kept")
    check_adapter(LoRA(merge=merge), whole)
    for base, reason in (
        (ModelConfig(model=whole.model, keep_layers=1), "is cut by keep_layers"),
        (ModelConfig(model=str(tmp_path / "kept")), "has adapters of its own"),
    ):
        if merge:
            check_adapter(LoRA(merge=True), base)
            continue
        line = f"training.adapter.merge: the student {reason}, and other tools could not .*; set it to true"
        with pytest.raises(ModelError, match=line):
            check_adapter(LoRA(merge=False), base)


def test_a_kept_adapter_has_all_that_it_is_served_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """From any working folder: tokenizer, template, when to stop, and where its base is."""
    from peft import AutoPeftModelForCausalLM, PeftModel

    base = save_tiny(tmp_path / "base", chat=True)
    question = Question("q", "own", "train", "What is 1 + 5?", "6", "number")
    monkeypatch.chdir(tmp_path)
    student = train(
        "base", [Rationale(question, "1 + 5 = 6.", "me", None, "human")], adapter=LoRA(rank=2, merge=False),
        learning_rate=0.1, dtype="float32", runs=tmp_path / "runs",
    )  # fmt: skip
    monkeypatch.chdir("/")
    tokenizer, own = (AutoTokenizer.from_pretrained(folder) for folder in (student.model, base))
    assert tokenizer.get_vocab() == own.get_vocab()
    assert tokenizer.chat_template.endswith(own.chat_template), "behind what puts a bare question"
    assert GenerationConfig.from_pretrained(student.model).eos_token_id == [0, own.eos_token_id]
    expected = load_model(ModelConfig(model=str(student.model)), dtype=torch.float32, device="cpu")(IDS).logits
    assert not torch.allclose(AutoModelForCausalLM.from_pretrained(base)(IDS).logits, expected, atol=1e-2)
    for theirs in (
        AutoModelForCausalLM.from_pretrained(student.model),
        AutoPeftModelForCausalLM.from_pretrained(str(student.model)),
        PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(student.model)),
    ):
        torch.testing.assert_close(theirs.eval()(input_ids=IDS).logits, expected, rtol=1e-4, atol=1e-4)


LEFT = ("router", "shared_expert_gate", "mlp.gate", "vision_tower", "lm_head")


@pytest.mark.parametrize("family", ["llama4", "qwen3_moe", "deepseek_v3", "qwen3_next", "gemma3_with_eyes", "gpt_oss"])
def test_auto_adapts_experts_and_leaves_routers_and_vision_towers_alone(family: str) -> None:
    model = families.make(family)
    before = model(input_ids=IDS).logits
    adapted = moved(add_adapter(model, LoRA(rank=2), seed=0))
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert not [name for name in names if any(f"{part}." in name for part in LEFT)]
    assert any("experts" in name for name in names) is (family != "gemma3_with_eyes")
    with torch.no_grad():
        trained = model(input_ids=IDS).logits
        assert not torch.allclose(trained, before, atol=1e-2)
        merged = adapted.merge_and_unload()(input_ids=IDS).logits
    torch.testing.assert_close(merged, trained, rtol=1e-3, atol=1e-3)


def test_experts_have_no_dropout_but_named_layers_beside_them_do() -> None:
    with pytest.raises(ModelError, match="adapters of experts cannot have dropout; set it to 0, or name layers"):
        add_adapter(families.make("qwen3_moe"), LoRA(rank=2, dropout=0.1), seed=0)
    named = families.make("qwen3_moe")
    add_adapter(named, LoRA(rank=2, dropout=0.1, target_modules=("q_proj", "v_proj")), seed=0)
    assert not [name for name, _ in named.named_parameters() if "experts" in name and "lora_" in name]


@pytest.mark.parametrize("family", ["zamba2", "mamba", "falcon_h1", "jamba"])
def test_weights_that_are_shared_or_read_by_a_kernel_are_left_out(family: str) -> None:
    """Zamba's blocks share theirs: merged, an adapter of one would change the other too."""
    model = families.make(family)
    adapted = moved(add_adapter(model, LoRA(rank=2), seed=0))
    with torch.no_grad():
        trained = model(input_ids=IDS).logits
        merged = adapted.merge_and_unload()(input_ids=IDS).logits
    torch.testing.assert_close(merged, trained, rtol=1e-3, atol=1e-3)
