"""Token losses: pure functions on logits, per token, in float32, with no mask, shift or reduction.

With p the teacher's and q the student's next-token distribution at temperature T, every divergence is zero at p = q,
is multiplied by T squared (Hinton et al. 2015, arXiv 1503.02531, section 2.1: gradients keep their size as T changes)
and is finite for logits of any size that are free of infinities.

A divergence is a function of log p and log q, both ``[num_tokens, outcomes]``, under the name of its loss term's kind,
with the settings of the term as keywords; a new one is this function and a class in ``config/loss.py``. Logits are
``[num_tokens, vocab]`` of any float type, targets ``[num_tokens]``; results are ``[num_tokens]`` in float32 (float64
where the logits are float64, for reference computations).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cotdistill import config
from cotdistill.errors import TrainingError

LARGEST_LOGIT = 1e30
"""Logits are cut to this size, so that their differences cannot overflow float32."""

Divergence = Callable[[Tensor, Tensor], Tensor]
"""From log p and log q, both ``[num_tokens, outcomes]``, to ``[num_tokens]``."""


def cross_entropy(student: Tensor, targets: Tensor) -> Tensor:
    """-log q(target)."""
    return -chosen_log_softmax(student, targets[:, None])[:, 0]


def divergence(term: config.Divergence, student: Tensor, teacher: Tensor) -> Tensor:
    """A loss term's divergence of logits, at its temperature and times its square: ``[num_tokens]``."""
    if isinstance(term, config.ForwardKL):
        return term.temperature**2 * _ForwardKL.apply(*(_at(x, term.temperature) for x in (student, teacher)))
    log_q, log_p = log_softmax(student, term.temperature), log_softmax(teacher, term.temperature)
    return term.temperature**2 * divergence_of(term)(log_p, log_q)


def divergence_of(term: config.Divergence) -> Divergence:
    """The function that a loss term's kind names, in this module or the user's own, with the term's own settings."""
    if isinstance(term, config.OwnDivergence):
        return partial(_own, term)
    fields = type(term).model_fields
    shared = ("kind", *config.Divergence.model_fields)
    own = {name: getattr(term, name) for name in fields if name not in shared}
    return partial(globals()[fields["kind"].default], **own)


def _own(term: config.OwnDivergence, log_p: Tensor, log_q: Tensor) -> Tensor:
    """The user's own function. Raises TrainingError if it returns anything but a loss for each token."""
    losses = term.function.call(log_p, log_q, **term.settings)
    found = f"{list(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
    if not isinstance(losses, Tensor) or losses.shape != log_p.shape[:-1]:
        wanted = f"return one loss for each token, {list(log_p.shape[:-1])}"
        raise TrainingError(f"the loss returns {found}", where=term.function, remedy=wanted)
    return losses


def forward_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q): the student must cover everything that the teacher would write. An outcome with p = 0 adds
    nothing."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def reverse_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(q || p): the student must not write what the teacher would not."""
    return forward_kl(log_q, log_p)


def jensen_shannon(log_p: Tensor, log_q: Tensor, *, beta: float) -> Tensor:
    """beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q (Agarwal et al. 2024, arXiv 2306.13649)."""
    log_m = torch.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta))
    return beta * forward_kl(log_p, log_m) + (1.0 - beta) * forward_kl(log_q, log_m)


def skew_forward_kl(log_p: Tensor, log_q: Tensor, *, alpha: float) -> Tensor:
    """KL(p || alpha p + (1 - alpha) q) (Ko et al. 2024, arXiv 2402.03898): bounded if the student is near zero."""
    return forward_kl(log_p, torch.logaddexp(log_p + math.log(alpha), log_q + math.log1p(-alpha)))


def skew_reverse_kl(log_p: Tensor, log_q: Tensor, *, alpha: float) -> Tensor:
    """KL(q || alpha q + (1 - alpha) p) (Ko et al. 2024, arXiv 2402.03898)."""
    return skew_forward_kl(log_q, log_p, alpha=alpha)


def total_variation(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Half the L1 distance of p and q (Wen et al. 2023, arXiv 2307.15190)."""
    return 0.5 * (log_p.exp() - log_q.exp()).abs().sum(-1)


def alpha_beta(log_p: Tensor, log_q: Tensor, *, alpha: float, beta: float) -> Tensor:
    """The alpha-beta divergence for alpha, beta > 0 (Wang et al. 2025, arXiv 2505.04560, after Cichocki et al. 2011).

    It tends to forward KL for (1, 0) and to reverse KL for (0, 1).
    """
    total = alpha + beta
    mixed = (alpha * log_p + beta * log_q).exp()
    own = (alpha * (total * log_p).exp() + beta * (total * log_q).exp()) / total
    return (own - mixed).sum(-1) / (alpha * beta)


def with_tail(chosen: Tensor) -> Tensor:
    """``[num_tokens, k + 1]``: the log-probabilities ``chosen`` of k outcomes, then that of all others.

    With the missing mass as one outcome a divergence stays one: zero at equality, never negative (a divergence over the
    k alone goes negative for a student that is sharper than its teacher).
    """
    return torch.cat([chosen, log_rest(chosen)], dim=-1)


def log_rest(log_chosen: Tensor) -> Tensor:
    """log(1 - sum of exp(log_chosen)) over the last dimension, kept: ``[num_tokens, 1]``; at least log(1e-7)."""
    mass = log_chosen.exp().sum(-1, keepdim=True)
    return (1.0 - mass).clamp(min=1e-7).log()


def sampled_forward_kl(student: Tensor, samples: Tensor, entropy: Tensor) -> Tensor:
    """An unbiased estimate of KL(p || q) from draws of p (Anshumann et al. 2025, arXiv 2503.16870).

    ``samples`` ``[num_tokens, num_samples]`` are independent draws of the teacher's next token, ``entropy``
    ``[num_tokens]`` is p's own: the mean of -log q over the draws estimates the cross-entropy, whose gradient is KL's.
    """
    return -chosen_log_softmax(student, samples).mean(-1) - entropy


def log_softmax(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probabilities at a temperature, in float32, finite for logits of any size."""
    return F.log_softmax(_at(logits, temperature), dim=-1)


def chosen_log_softmax(logits: Tensor, outcomes: Tensor) -> Tensor:
    """Log-probabilities of ``outcomes`` ``[num_tokens, k]`` alone, in a third of the time that all of them take."""
    return _ChosenLogSoftmax.apply(_at(logits), outcomes)


def _at(logits: Tensor, temperature: float = 1.0) -> Tensor:
    precise = _Precise.apply(logits)
    return precise if temperature == 1.0 else precise / temperature


class _Precise(torch.autograd.Function):
    """Logits in float32 (float64 stays), cut to a size whose differences are finite; the gradient is not cut."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.dtype = logits.dtype
        precise = logits if logits.dtype == torch.float64 else logits.float()
        return precise.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> Tensor:
        return output_gradients[0].to(ctx.dtype)


class _ChosenLogSoftmax(torch.autograd.Function):
    """Torch's softmax takes half as long as its log-softmax on a CPU, and is the gradient but for its sign."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, outcomes: Tensor) -> Tensor:
        probabilities = logits.softmax(-1)
        ctx.save_for_backward(probabilities, outcomes)
        return logits.gather(-1, outcomes) - _log_normalizer(logits, probabilities)

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor, None]:
        probabilities, outcomes = ctx.saved_tensors
        (gradient,) = output_gradients
        return (probabilities * -gradient.sum(-1, keepdim=True)).scatter_add_(-1, outcomes, gradient), None


class _ForwardKL(torch.autograd.Function):
    """KL(p || q) of logits, whose gradient for the student's logits is q - p."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        p, q = teacher.softmax(-1), student.softmax(-1)
        ctx.save_for_backward(p, q)
        gap = _log_normalizer(student, q) - _log_normalizer(teacher, p)
        return torch.linalg.vecdot(p, teacher - student) + gap[..., 0]

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor, None]:
        p, q = ctx.saved_tensors
        return (q - p).mul_(output_gradients[0][..., None]), None


def _log_normalizer(logits: Tensor, probabilities: Tensor) -> Tensor:
    """log(sum of exp(logits)), kept: the greatest logit less its log-probability, the one that never underflows."""
    return logits.amax(-1, keepdim=True) - probabilities.amax(-1, keepdim=True).log()
