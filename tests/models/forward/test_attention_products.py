"""Attention by products in bfloat16 beside float64: values and gradients, with whatever texts share."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cotdistill.models.forward.attention_products import LONGEST, attention_by_products, suits_products
from cotdistill.models.forward.heads import PackedTexts

TEXTS = [PackedTexts(0, (7, 3)), PackedTexts(4, (5, 1, 9)), PackedTexts(40, (2,))]


def reference(query: Tensor, key: Tensor, value: Tensor, scale: float | None, texts: PackedTexts) -> Tensor:
    """One product over all tokens, with a mask that says which of them a token sees."""
    owners = torch.arange(len(texts.lengths)).repeat_interleave(torch.tensor(texts.lengths))
    owners = torch.cat([torch.full((texts.num_shared,), -1), owners])
    sees = (owners[:, None] == owners[None]) | (owners[None] == -1)
    seen = F.scaled_dot_product_attention(query, key, value, attn_mask=sees.tril(), scale=scale, enable_gqa=True)
    return seen.transpose(1, 2)


@pytest.mark.parametrize("texts", TEXTS, ids=str)
@pytest.mark.parametrize(("heads", "key_heads", "scale"), [(6, 2, None), (4, 4, 0.3), (3, 1, None)])
def test_values_and_gradients_are_those_of_float64(
    texts: PackedTexts, heads: int, key_heads: int, scale: float | None
) -> None:
    torch.manual_seed(0)
    tokens = texts.num_shared + sum(texts.lengths)
    precise = [
        torch.randn(1, count, tokens, 8, dtype=torch.float64).bfloat16().double().requires_grad_()
        for count in (heads, key_heads, key_heads)
    ]
    rough = [states.detach().float().requires_grad_() for states in precise]
    upstream = torch.randn(1, tokens, heads, 8)

    expected, found = reference(*precise, scale, texts), attention_by_products(*rough, scale, texts)  # pyright: ignore
    expected.backward(upstream.double())
    found.backward(upstream.bfloat16())

    assert_close(found, expected)
    for mine, true in zip(rough, precise, strict=True):
        assert_close(mine.grad, true.grad)


def assert_close(found: Tensor | None, expected: Tensor | None) -> None:
    """By the rounding of bfloat16, which keeps eight bits."""
    assert found is not None
    assert expected is not None
    assert (found.double() - expected).norm() < 0.01 * expected.norm()


def test_products_are_left_to_what_they_suit() -> None:
    half = torch.zeros(1, 2, 8, 4, dtype=torch.bfloat16, requires_grad=True)
    assert suits_products(half, PackedTexts(2, (6,)), 0.0)
    assert not suits_products(half, PackedTexts(2, (6,)), 0.1), "dropout is torch's"
    assert not suits_products(half, PackedTexts(2, (LONGEST,)), 0.0), "too long"
    assert not suits_products(half.detach(), PackedTexts(2, (6,)), 0.0), "no gradients are wanted"
    assert not suits_products(half.float(), PackedTexts(2, (6,)), 0.0), "float32 keeps torch's kernel"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert suits_products(half.detach().float().requires_grad_(), PackedTexts(2, (6,)), 0.0)
