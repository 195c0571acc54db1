"""Properties of the token losses, against plain float64 formulas."""

from __future__ import annotations

import math

import pytest
import torch

from cotdistill.training.losses import divergences as losses

DIVERGENCES = {
    "forward_kl": losses.forward_kl,
    "reverse_kl": losses.reverse_kl,
    "jensen_shannon": lambda s, t, **k: losses.jensen_shannon(s, t, beta=0.3, **k),
    "skew_forward_kl": lambda s, t, **k: losses.skew_forward_kl(s, t, alpha=0.2, **k),
    "skew_reverse_kl": lambda s, t, **k: losses.skew_reverse_kl(s, t, alpha=0.2, **k),
    "total_variation": losses.total_variation,
    "alpha_beta": lambda s, t, **k: losses.alpha_beta(s, t, alpha=0.4, beta=0.8, **k),
}


def reference(name: str, p: list[float], q: list[float]) -> float:
    """The formulas of the design on plain Python floats."""

    def kl(a: list[float], b: list[float]) -> float:
        return sum(x * math.log(x / y) for x, y in zip(a, b, strict=True))

    def mix(a: list[float], b: list[float], weight: float) -> list[float]:
        return [weight * x + (1 - weight) * y for x, y in zip(a, b, strict=True)]

    if name == "forward_kl":
        return kl(p, q)
    if name == "reverse_kl":
        return kl(q, p)
    if name == "jensen_shannon":
        m = mix(p, q, 0.3)
        return 0.3 * kl(p, m) + 0.7 * kl(q, m)
    if name == "skew_forward_kl":
        return kl(p, mix(p, q, 0.2))
    if name == "skew_reverse_kl":
        return kl(q, mix(q, p, 0.2))
    if name == "total_variation":
        return sum(abs(x - y) for x, y in zip(p, q, strict=True)) / 2
    a, b = 0.4, 0.8
    return -sum(
        x**a * y**b - a / (a + b) * x ** (a + b) - b / (a + b) * y ** (a + b) for x, y in zip(p, q, strict=True)
    ) / (a * b)


def logits(seed: int, *, tokens: int = 5, vocab: int = 11, scale: float = 2.0) -> torch.Tensor:
    return scale * torch.randn(tokens, vocab, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_value_is_that_of_the_formula(name: str, temperature: float) -> None:
    student, teacher = logits(1), logits(2)
    values = DIVERGENCES[name](student, teacher, temperature=temperature)
    for row in range(len(student)):
        q = torch.softmax(student[row] / temperature, -1).tolist()
        p = torch.softmax(teacher[row] / temperature, -1).tolist()
        assert values[row].item() == pytest.approx(temperature**2 * reference(name, p, q), rel=1e-9)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_zero_at_equality_and_positive_elsewhere(name: str) -> None:
    student, teacher = logits(1), logits(2)
    assert DIVERGENCES[name](student, student.clone(), temperature=2.0).abs().max() < 1e-12
    assert DIVERGENCES[name](student, student + 3.0).abs().max() < 1e-12, "a shift of all logits changes nothing"
    assert DIVERGENCES[name](student, teacher).min() > 0


@pytest.mark.parametrize("name", [*DIVERGENCES, "cross_entropy"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    student = logits(1).requires_grad_()
    teacher, targets = logits(2), torch.tensor([0, 3, 10, 5, 5])
    loss = (
        (lambda s: losses.cross_entropy(s, targets))
        if name == "cross_entropy"
        else lambda s: DIVERGENCES[name](s, teacher, temperature=1.7)
    )
    assert torch.autograd.gradcheck(loss, (student,))


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("size", [1e4, 1e20, 3e38])
def test_finite_in_value_and_gradient_for_logits_of_any_size(name: str, size: float) -> None:
    student = torch.tensor([[size, -size, 0.0], [0.0, 1.0, -size]], requires_grad=True)
    teacher = torch.tensor([[-size, size, 0.0], [0.0, 1.0, size]])
    for temperature in (0.5, 1.0, 4.0):
        values = DIVERGENCES[name](student, teacher, temperature=temperature)
        (gradient,) = torch.autograd.grad(values.sum(), student)
        assert values.isfinite().all()
        assert gradient.isfinite().all()


def test_direction_is_in_the_name() -> None:
    """KL(p || q) is large where the student misses what the teacher has; KL(q || p) where it invents."""
    teacher = torch.log(torch.tensor([[0.5, 0.5, 1e-6]]))
    misses = torch.log(torch.tensor([[1.0, 1e-6, 1e-6]]))
    assert losses.forward_kl(misses, teacher).item() > 5 * losses.reverse_kl(misses, teacher).item()


def test_temperature_scales_the_gradient_by_its_square() -> None:
    """Hinton's T squared in value and gradient: at high temperature the gradient tends to a limit, not to zero."""
    student, teacher = logits(1), logits(2)
    sizes = []
    for temperature in (50.0, 100.0):
        leaf = student.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(losses.forward_kl(leaf, teacher, temperature=temperature).sum(), leaf)
        sizes.append(gradient.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_half_precision_logits_are_computed_in_float32(name: str) -> None:
    student, teacher = logits(1, vocab=50_000).bfloat16(), logits(2, vocab=50_000).bfloat16()
    values = DIVERGENCES[name](student, teacher)
    exact = DIVERGENCES[name](student.double(), teacher.double())
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.double(), exact, rtol=1e-4, atol=1e-5)


def test_alpha_beta_tends_to_both_kls() -> None:
    student, teacher = logits(1), logits(2)
    near_forward = losses.alpha_beta(student, teacher, alpha=1.0, beta=1e-6)
    near_reverse = losses.alpha_beta(student, teacher, alpha=1e-6, beta=1.0)
    torch.testing.assert_close(near_forward, losses.forward_kl(student, teacher), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(near_reverse, losses.reverse_kl(student, teacher), rtol=1e-4, atol=1e-6)
