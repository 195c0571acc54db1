"""Tiny random models of the families that transformers knows, by their real config classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

VOCAB = 400
"""No fewer than ``tests.tiny``'s tokenizer has."""

_ENDS: dict[str, Any] = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": 1}
SIZES: dict[str, Any] = {
    **_ENDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}
GPT: dict[str, Any] = {
    **_ENDS, "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 512, "initializer_range": 0.3,
}  # fmt: skip
NO_DROPOUT: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
HEADS: dict[str, Any] = {"head_dim": 16}
EQUAL_HEADS: dict[str, Any] = {"num_key_value_heads": 4}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LOCAL_EXPERTS: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2}
LATENT: dict[str, Any] = {
    **EQUAL_HEADS,
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
    **HEADS,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"] * 2,
}
WINDOW: dict[str, Any] = {"sliding_window": 8}
SLIDING: dict[str, Any] = {**HEADS, **WINDOW, "layer_types": ["sliding_attention", "full_attention"] * 2}
STATE: dict[str, Any] = {
    **_ENDS, "hidden_size": 32, "state_size": 8, "num_hidden_layers": 4, "initializer_range": 0.3,
}  # fmt: skip
MAMBA2: dict[str, Any] = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 8}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
ROPE = 10000.0
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": ROPE, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": ROPE, "factor": 4.0, "original_max_position_embeddings": 128}
LONGROPE = {"rope_type": "longrope", "rope_theta": ROPE, "short_factor": [1.0] * 4, "long_factor": [3.0] * 4}
"""Other positions in texts that are longer than ``original_max_position_embeddings``."""

Make = Callable[[int], PreTrainedConfig]


def _sized(config: str, *parts: dict[str, Any], without: tuple[str, ...] = (), **own: Any) -> Make:
    """The config of this class with the common sizes, those of ``parts`` and its own."""
    return _of(config, SIZES, *parts, without=without, **own)


def _of(config: str, *parts: dict[str, Any], without: tuple[str, ...] = (), **own: Any) -> Make:
    settings: dict[str, Any] = {}
    for part in (*parts, own):
        settings |= part
    kept = {name: value for name, value in settings.items() if name not in without}
    return lambda vocabulary: getattr(transformers, config)(vocab_size=vocabulary, **kept)


def _gemma3_with_eyes(layers: int) -> Make:
    """Gemma 3 as it is on the hub: its vision tower has ``layers``."""
    return lambda vocabulary: transformers.Gemma3Config(
        text_config=SIZES | SLIDING | {"vocab_size": vocabulary}, vision_config=VISION | {"num_hidden_layers": layers},
        mm_tokens_per_image=4, image_token_index=390, boi_token_index=391, eoi_token_index=392,
    )  # fmt: skip


_OWN_KEYS = ("num_key_value_heads",)
_OPT: dict[str, Any] = {"ffn_dim": 48, "dropout": 0.0}
_NOT_IN_OPT = ("num_key_value_heads", "intermediate_size")
_FALCON: dict[str, Any] = {
    **_ENDS, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "initializer_range": 0.3,
}  # fmt: skip

FAMILIES: dict[str, Make] = {
    "llama": _sized("LlamaConfig"),
    "llama_tied_llama3rope": _sized("LlamaConfig", tie_word_embeddings=True, rope_parameters=LLAMA3),
    "llama_bias": _sized("LlamaConfig", attention_bias=True, mlp_bias=True),
    "llama_dynamic_ntk": _sized(
        "LlamaConfig", rope_parameters={"rope_type": "dynamic", "rope_theta": ROPE, "factor": 2.0}
    ),
    "qwen2": _sized("Qwen2Config"),
    "qwen2_tied": _sized("Qwen2Config", tie_word_embeddings=True),
    "qwen2_yarn": _sized("Qwen2Config", rope_parameters=YARN),
    "qwen2_sliding": _sized("Qwen2Config", WINDOW, use_sliding_window=True, max_window_layers=2),
    "qwen3": _sized("Qwen3Config", HEADS),
    "qwen3_tied": _sized("Qwen3Config", HEADS, tie_word_embeddings=True),
    "qwen2_moe": _sized("Qwen2MoeConfig", EXPERTS, shared_expert_intermediate_size=16, mlp_only_layers=[0]),
    "qwen3_moe": _sized("Qwen3MoeConfig", EXPERTS, HEADS, mlp_only_layers=[1, 3]),
    "qwen3_moe_all": _sized("Qwen3MoeConfig", EXPERTS, HEADS),
    "qwen3_next": _sized("Qwen3NextConfig", DELTA, EXPERTS, shared_expert_intermediate_size=16),
    "qwen3_5": _sized("Qwen3_5TextConfig", DELTA),
    "gemma": _sized("GemmaConfig", HEADS, tie_word_embeddings=True),
    "gemma2": _sized("Gemma2Config", HEADS, WINDOW, final_logit_softcapping=5.0, attn_logit_softcapping=2.0),
    "gemma3": _sized("Gemma3TextConfig", SLIDING),
    "gemma3_with_eyes": _gemma3_with_eyes(4),
    "gemma3_with_small_eyes": _gemma3_with_eyes(2),
    "gemma4": lambda vocabulary: transformers.Gemma4TextConfig(
        **SIZES, **SLIDING, vocab_size=vocabulary, vocab_size_per_layer_input=vocabulary, hidden_size_per_layer_input=8
    ),
    "smollm3": _sized("SmolLM3Config", no_rope_layers=[1, 1, 1, 0]),
    "phi": _sized("PhiConfig", EQUAL_HEADS),
    "phi3": _sized("Phi3Config", EQUAL_HEADS),
    "phi3_sliding": _sized("Phi3Config", EQUAL_HEADS, WINDOW),
    "phi3_long": _sized("Phi3Config", EQUAL_HEADS, original_max_position_embeddings=24, rope_parameters=LONGROPE),
    "phi3_longer": _sized("Phi3Config", EQUAL_HEADS, original_max_position_embeddings=112, rope_parameters=LONGROPE),
    "phimoe": _sized("PhimoeConfig", LOCAL_EXPERTS),
    "mistral": _sized("MistralConfig", sliding_window=None),
    "mistral_sliding": _sized("MistralConfig", WINDOW),
    "ministral3": _sized("Ministral3Config", HEADS),
    "mixtral": _sized("MixtralConfig", LOCAL_EXPERTS, router_jitter_noise=0.0),
    "olmo2": _sized("Olmo2Config"),
    "olmo3": _sized("Olmo3Config", WINDOW),
    "olmoe": _sized("OlmoeConfig", num_experts=4, num_experts_per_tok=2),
    "gpt2": _of("GPT2Config", GPT, NO_DROPOUT),
    "gpt2_dropout": _of("GPT2Config", GPT),
    "gpt_bigcode": _of("GPTBigCodeConfig", GPT, NO_DROPOUT),
    "gpt_neo": _of(
        "GPTNeoConfig", _ENDS, hidden_size=32, num_layers=4, num_heads=4, attention_types=[[["global", "local"], 2]],
        window_size=8, max_position_embeddings=512, initializer_range=0.3,
    ),
    "gptj": _of("GPTJConfig", GPT, rotary_dim=4),
    "gpt_neox": _sized("GPTNeoXConfig", without=_OWN_KEYS),
    "opt": _sized("OPTConfig", _OPT, word_embed_proj_dim=32, without=_NOT_IN_OPT),
    "opt_350m": _sized("OPTConfig", _OPT, word_embed_proj_dim=16, do_layer_norm_before=False, without=_NOT_IN_OPT),
    "bloom": _of("BloomConfig", _ENDS, hidden_size=32, n_layer=4, n_head=4, initializer_range=0.3),
    "mpt": _of("MptConfig", _ENDS, d_model=32, n_layers=4, n_heads=4, max_seq_len=512, initializer_range=0.3),
    "falcon_rope": _of("FalconConfig", _FALCON, multi_query=True, alibi=False),
    "falcon_alibi": _of("FalconConfig", _FALCON, multi_query=False, alibi=True, parallel_attn=False, bias=True),
    "falcon_new": _of("FalconConfig", _FALCON, num_kv_heads=2, new_decoder_architecture=True, alibi=False),
    "granite": _sized(
        "GraniteConfig", logits_scaling=4.0, embedding_multiplier=3.0, residual_multiplier=0.5, attention_multiplier=0.2
    ),
    "granite_moe": _sized("GraniteMoeConfig", LOCAL_EXPERTS, logits_scaling=4.0),
    "granite_hybrid": _sized(
        "GraniteMoeHybridConfig", MAMBA2, LOCAL_EXPERTS, shared_intermediate_size=32,
        layer_types=["mamba", "attention"] * 2,
    ),
    "deepseek_v2": _sized("DeepseekV2Config", LATENT, ROUTED, first_k_dense_replace=1),
    "deepseek_v3": _sized("DeepseekV3Config", LATENT, ROUTED, first_k_dense_replace=2),
    "deepseek_v32": _sized(
        "DeepseekV32Config", LATENT, ROUTED, index_topk=512, index_head_dim=16, index_n_heads=2
    ),
    "glm4": _sized("Glm4Config", HEADS),
    "glm4_moe": _sized("Glm4MoeConfig", HEADS, ROUTED, n_group=1, first_k_dense_replace=1),
    "glm4_moe_lite": _sized("Glm4MoeLiteConfig", LATENT, ROUTED, n_group=1),
    "minicpm3": _sized("MiniCPM3Config", LATENT),
    "gpt_oss": _sized("GptOssConfig", LOCAL_EXPERTS, HEADS, WINDOW),
    "mamba": _of("MambaConfig", STATE),
    "mamba2": _of("Mamba2Config", STATE, num_heads=8, head_dim=8, n_groups=1, chunk_size=8),
    "falcon_mamba": _of("FalconMambaConfig", STATE),
    "falcon_h1": _sized(
        "FalconH1Config", mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=8, mamba_chunk_size=8,
        lm_head_multiplier=0.1,
    ),
    "jamba": _sized(
        "JambaConfig", attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1,
        num_experts=2, num_experts_per_tok=1, mamba_d_state=8, mamba_dt_rank=4, use_mamba_kernels=False,
    ),
    "bamba": _sized("BambaConfig", MAMBA2, attn_layer_indices=[1, 3]),
    "nemotron_h": _sized(
        "NemotronHConfig", HEADS, mamba_num_heads=8, mamba_head_dim=8, ssm_state_size=8, n_groups=1, chunk_size=8,
        hybrid_override_pattern="M*M-",
    ),
    "zamba2": _sized(
        "Zamba2Config", EQUAL_HEADS, mamba_d_state=8, mamba_ngroups=1, n_mamba_heads=8, mamba_headdim=8,
        layers_block_type=["mamba", "hybrid"] * 2, chunk_size=8, adapter_rank=4, num_mem_blocks=1,
        use_mem_eff_path=False,
    ),
    "lfm2": _sized("Lfm2Config", full_attn_idxs=[1, 3], block_multiple_of=8),
    "recurrent_gemma": _sized(
        "RecurrentGemmaConfig", num_key_value_heads=1, lru_width=32, attention_window_size=16, head_dim=8,
        block_types=["recurrent", "attention"],
    ),
    "rwkv": _of(
        "RwkvConfig", hidden_size=32, attention_hidden_size=32, num_hidden_layers=4, context_length=512,
        bos_token_id=0, eos_token_id=0,
    ),
    "cohere": _sized("CohereConfig", logit_scale=0.2),
    "cohere2": _sized("Cohere2Config", WINDOW, logit_scale=0.2),
    "stablelm": _sized("StableLmConfig"),
    "starcoder2": _sized("Starcoder2Config", residual_dropout=0.0, embedding_dropout=0.0),
    "exaone4": _sized("Exaone4Config", WINDOW),
    "llama4": _sized(
        "Llama4TextConfig", HEADS, num_local_experts=4, num_experts_per_tok=1, intermediate_size_mlp=48,
        attention_chunk_size=16,
    ),
    "nemotron": _sized("NemotronConfig", HEADS),
    "hunyuan": _sized("HunYuanDenseV1Config", HEADS),
    "ernie4_5": _sized("Ernie4_5Config", HEADS),
    "ernie4_5_moe": _sized(
        "Ernie4_5_MoeConfig", moe_num_experts=4, moe_k=2, moe_intermediate_size=16, moe_layer_start_index=1,
        moe_layer_end_index=3,
    ),
    "seed_oss": _sized("SeedOssConfig", HEADS, attention_dropout=0.0, residual_dropout=0.0),
    "bitnet": _sized("BitNetConfig"),
    "apertus": _sized("ApertusConfig"),
    "doge": _sized("DogeConfig"),
    "diffllama": _sized("DiffLlamaConfig"),
    "nanochat": _sized("NanoChatConfig", HEADS),
    "persimmon": _sized("PersimmonConfig", without=_OWN_KEYS),
    "codegen": _of("CodeGenConfig", GPT, NO_DROPOUT, rotary_dim=4),
    "xglm": _of(
        "XGLMConfig", d_model=32, ffn_dim=48, num_layers=4, attention_heads=4, max_position_embeddings=512,
        init_std=0.3, dropout=0.0, attention_dropout=0.0, layerdrop=0.0, eos_token_id=0,
    ),
    "minimax": _sized("MiniMaxConfig", HEADS, LOCAL_EXPERTS, block_size=8),
}  # fmt: skip


def make(family: str, *, seed: int = 0, vocabulary: int = VOCAB) -> PreTrainedModel:
    """A random model of the family in float32 and eval mode, the same for the same arguments; biases are not zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(FAMILIES[family](vocabulary))
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and "bias" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    return model.float().eval()
