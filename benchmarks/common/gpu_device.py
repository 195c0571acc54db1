"""Models of real shapes with random weights, and how time, memory and the matrix rate of a device are measured."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import torch
from gpu_plan import Shape
from transformers import AutoModelForCausalLM, Qwen2Config


def random_model(shape: Shape, *, dtype: torch.dtype, device: torch.device, seed: int) -> Any:
    """A Qwen2 in eval mode; its weights are drawn on the device, which is the fastest."""
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        max_position_embeddings=32_768,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        attn_implementation="sdpa",
    )
    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    assert model.device.type == device.type
    return model.eval()


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(action: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """How long an action takes until the device has done all of it, and what it returns."""
    synchronize(device)
    started = time.perf_counter()
    found = action()
    synchronize(device)
    return time.perf_counter() - started, found


def matrix_rate(device: torch.device, size: int) -> float:
    """Floating-point operations a second of products of random bfloat16 matrices: the best of five times ten."""
    a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))

    def ten_products() -> None:
        for _ in range(10):
            a @ b

    best = min(seconds_of(ten_products, device)[0] for _ in range(6))  # the first one only warms up
    return 10 * 2 * size**3 / best


def forget_peak(device: torch.device) -> float | None:
    """Start to look for the peak anew; returns what is held now, in megabytes. None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device) / 1e6


def peak_memory(device: torch.device) -> float | None:
    """The most that tensors took since :func:`forget_peak`, in megabytes. None on a CPU."""
    return torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None


def free_memory(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def is_usable(device: torch.device) -> bool:
    """Whether the device still computes: after some errors of a kernel nothing does until the process has ended."""
    try:
        return float(torch.ones(2, device=device).sum()) == 2.0
    except RuntimeError:
        return False
