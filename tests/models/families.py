"""Tiny models of families that keep their state, their layers or their numbers in ways of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

VOCAB = 400
"""No fewer than ``tests.tiny``'s tokenizer has."""

SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 1,
}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT: dict[str, Any] = {
    "num_key_value_heads": 4,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
}
ROUTED: dict[str, Any] = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "moe_intermediate_size": 16,
    "n_shared_experts": 1,
}
DELTA: dict[str, Any] = {
    "head_dim": 16,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"] * 2,
}
SLIDING: dict[str, Any] = {
    "head_dim": 16,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
}
STATE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "state_size": 8,
    "num_hidden_layers": 4,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 1,
}
MAMBA2: dict[str, Any] = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 8}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}


def _sized(config: str, *parts: dict[str, Any], **own: Any) -> Callable[[], PreTrainedConfig]:
    settings: dict[str, Any] = dict(SIZES)
    for part in (*parts, own):
        settings |= part
    return lambda: getattr(transformers, config)(**settings)


def _gemma3_with_eyes() -> PreTrainedConfig:
    return transformers.Gemma3Config(
        text_config=SIZES | SLIDING, vision_config=VISION, mm_tokens_per_image=4, image_token_index=390,
        boi_token_index=391, eoi_token_index=392,
    )  # fmt: skip


FAMILIES: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": _sized("LlamaConfig"),
    "qwen3_5": _sized("Qwen3_5TextConfig", DELTA),
    "qwen3_next": _sized("Qwen3NextConfig", DELTA, EXPERTS, shared_expert_intermediate_size=16),
    "qwen3_moe": _sized("Qwen3MoeConfig", EXPERTS, head_dim=16, mlp_only_layers=[1, 3]),
    "lfm2": _sized("Lfm2Config", full_attn_idxs=[1, 3], block_multiple_of=8),
    "granite_hybrid": _sized(
        "GraniteMoeHybridConfig", MAMBA2, num_local_experts=4, num_experts_per_tok=2, shared_intermediate_size=32,
        layer_types=["mamba", "attention"] * 2,
    ),
    "bamba": _sized("BambaConfig", MAMBA2, attn_layer_indices=[1, 3]),
    "jamba": _sized(
        "JambaConfig", attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1,
        num_experts=2, num_experts_per_tok=1, mamba_d_state=8, mamba_dt_rank=4, use_mamba_kernels=False,
    ),
    "falcon_h1": _sized(
        "FalconH1Config", mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=8, mamba_chunk_size=8
    ),
    "zamba2": _sized(
        "Zamba2Config", num_key_value_heads=4, mamba_d_state=8, mamba_ngroups=1, n_mamba_heads=8, mamba_headdim=8,
        layers_block_type=["mamba", "hybrid"] * 2, chunk_size=8, adapter_rank=4, num_mem_blocks=1,
        use_mem_eff_path=False,
    ),
    "nemotron_h": _sized(
        "NemotronHConfig", mamba_num_heads=8, mamba_head_dim=8, ssm_state_size=8, n_groups=1, chunk_size=8,
        head_dim=16, hybrid_override_pattern="M*M-",
    ),
    "minimax": _sized("MiniMaxConfig", head_dim=16, num_local_experts=4, num_experts_per_tok=2, block_size=8),
    "mamba": lambda: transformers.MambaConfig(**STATE),
    "mamba2": lambda: transformers.Mamba2Config(**STATE, num_heads=8, head_dim=8, n_groups=1, chunk_size=8),
    "falcon_mamba": lambda: transformers.FalconMambaConfig(**STATE),
    "rwkv": lambda: transformers.RwkvConfig(
        vocab_size=VOCAB, hidden_size=32, attention_hidden_size=32, num_hidden_layers=4, context_length=256,
        bos_token_id=0, eos_token_id=0,
    ),
    "recurrent_gemma": _sized(
        "RecurrentGemmaConfig", num_key_value_heads=1, lru_width=32, attention_window_size=16, head_dim=8,
        block_types=["recurrent", "attention"],
    ),
    "deepseek_v2": _sized("DeepseekV2Config", LATENT, ROUTED, first_k_dense_replace=1),
    "deepseek_v3": _sized("DeepseekV3Config", LATENT, ROUTED, first_k_dense_replace=2),
    "deepseek_v32": _sized(
        "DeepseekV32Config", LATENT, ROUTED, index_topk=16, index_head_dim=16, index_n_heads=2
    ),
    "minicpm3": _sized("MiniCPM3Config", LATENT),
    "diffllama": _sized("DiffLlamaConfig"),
    "doge": _sized("DogeConfig"),
    "gpt_oss": _sized("GptOssConfig", num_local_experts=4, num_experts_per_tok=2, head_dim=16, sliding_window=8),
    "gemma3": _sized("Gemma3TextConfig", SLIDING),
    "gemma3_with_eyes": _gemma3_with_eyes,
    "gemma4": _sized("Gemma4TextConfig", SLIDING, vocab_size_per_layer_input=VOCAB, hidden_size_per_layer_input=8),
    "llama4": _sized(
        "Llama4TextConfig", head_dim=16, num_local_experts=4, num_experts_per_tok=1, intermediate_size_mlp=48,
        attention_chunk_size=16,
    ),
    "opt": _sized("OPTConfig", word_embed_proj_dim=32, ffn_dim=48, dropout=0.0),
    "opt_350m": _sized("OPTConfig", word_embed_proj_dim=16, ffn_dim=48, dropout=0.0, do_layer_norm_before=False),
    "phi3_long": _sized(
        "Phi3Config", num_key_value_heads=4, original_max_position_embeddings=24,
        rope_parameters={
            "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [3.0] * 4
        },
    ),
}  # fmt: skip


def make(family: str, *, seed: int = 0) -> PreTrainedModel:
    """A random model of the family in float32 and eval mode, the same for the same arguments; biases are not zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(FAMILIES[family]())
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and "bias" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    return model.float().eval()
