"""Properties of the token losses, against plain float64 formulas."""

from __future__ import annotations

import math

import pytest
import torch

from cotdistill import config
from cotdistill.config import Divergence
from cotdistill.training.losses import divergences as losses

TERMS: dict[str, Divergence] = {
    term.kind: term  # type: ignore[attr-defined]
    for term in (
        config.ForwardKL(),
        config.ReverseKL(),
        config.JensenShannon(beta=0.3),
        config.SkewForwardKL(alpha=0.2),
        config.SkewReverseKL(alpha=0.2),
        config.TotalVariation(),
        config.AlphaBeta(alpha=0.4, beta=0.8),
    )
}


def at(temperature: float, name: str) -> Divergence:
    return TERMS[name].model_copy(update={"temperature": temperature})


def test_every_divergence_of_the_config_is_tested_here() -> None:
    assert {type(term) for term in TERMS.values()} == {*Divergence.__subclasses__()} - {config.OwnDivergence}, (
        "the user's own have no formula"
    )


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


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_value_is_that_of_the_formula(name: str, temperature: float) -> None:
    student, teacher = logits(1), logits(2)
    values = losses.divergence(at(temperature, name), student, teacher)
    for row in range(len(student)):
        q = torch.softmax(student[row] / temperature, -1).tolist()
        p = torch.softmax(teacher[row] / temperature, -1).tolist()
        assert values[row].item() == pytest.approx(temperature**2 * reference(name, p, q), rel=1e-9)


@pytest.mark.parametrize("name", TERMS)
def test_zero_at_equality_and_positive_elsewhere(name: str) -> None:
    student, teacher = logits(1), logits(2)
    assert losses.divergence(at(2.0, name), student, student.clone()).abs().max() < 1e-12
    assert losses.divergence(TERMS[name], student, student + 3.0).abs().max() < 1e-12, (
        "a shift of all logits changes nothing"
    )
    assert losses.divergence(TERMS[name], student, teacher).min() > 0


@pytest.mark.parametrize("name", [*TERMS, "cross_entropy"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    student = logits(1).requires_grad_()
    teacher, targets = logits(2), torch.tensor([0, 3, 10, 5, 5])
    loss = (
        (lambda s: losses.cross_entropy(s, targets))
        if name == "cross_entropy"
        else lambda s: losses.divergence(at(1.7, name), s, teacher)
    )
    assert torch.autograd.gradcheck(loss, (student,))


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("size", [1e4, 1e20, 3e38])
def test_finite_in_value_and_gradient_for_logits_of_any_size(name: str, size: float) -> None:
    student = torch.tensor([[size, -size, 0.0], [0.0, 1.0, -size]], requires_grad=True)
    teacher = torch.tensor([[-size, size, 0.0], [0.0, 1.0, size]])
    for temperature in (0.5, 1.0, 4.0):
        values = losses.divergence(at(temperature, name), student, teacher)
        (gradient,) = torch.autograd.grad(values.sum(), student)
        assert values.isfinite().all()
        assert gradient.isfinite().all()


def test_direction_is_in_the_name() -> None:
    """KL(p || q) is large where the student misses what the teacher has; KL(q || p) where it invents."""
    teacher = torch.log(torch.tensor([[0.5, 0.5, 1e-6]]))
    misses = torch.log(torch.tensor([[1.0, 1e-6, 1e-6]]))
    forward, reverse = (losses.divergence(TERMS[name], misses, teacher) for name in ("forward_kl", "reverse_kl"))
    assert forward.item() > 5 * reverse.item()


def test_temperature_scales_the_gradient_by_its_square() -> None:
    """Hinton's T squared in value and gradient: at high temperature the gradient tends to a limit, not to zero."""
    student, teacher = logits(1), logits(2)
    sizes = []
    for temperature in (50.0, 100.0):
        leaf = student.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(losses.divergence(at(temperature, "forward_kl"), leaf, teacher).sum(), leaf)
        sizes.append(gradient.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


@pytest.mark.parametrize("name", TERMS)
def test_half_precision_logits_are_computed_in_float32(name: str) -> None:
    student, teacher = logits(1, vocab=50_000).bfloat16(), logits(2, vocab=50_000).bfloat16()
    values = losses.divergence(TERMS[name], student, teacher)
    exact = losses.divergence(TERMS[name], student.double(), teacher.double())
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.double(), exact, rtol=1e-4, atol=1e-5)


def test_alpha_beta_tends_to_both_kls() -> None:
    student, teacher = logits(1), logits(2)
    for alpha, beta, name in ((1.0, 1e-6, "forward_kl"), (1e-6, 1.0, "reverse_kl")):
        near = losses.divergence(config.AlphaBeta(alpha=alpha, beta=beta), student, teacher)
        torch.testing.assert_close(near, losses.divergence(TERMS[name], student, teacher), rtol=1e-4, atol=1e-6)
