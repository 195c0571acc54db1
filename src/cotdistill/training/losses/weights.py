"""How much each token counts in each term of a loss: by its region, and by its place there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cotdistill.config import CrossEntropy, LossTerm, PositionWeights
from cotdistill.tasks.segments import REGIONS


def token_weights(terms: Sequence[LossTerm], regions: Tensor, owners: Tensor, *, sampled: bool = False) -> Tensor:
    """The weights of each term's tokens, without the term's own: ``[num_terms, num_tokens]`` in float32.

    Of what the student ``sampled`` itself, cross-entropy counts no token.

    ``regions`` and ``owners`` are ``[num_tokens]``: each token's region, and the number of its example, which grows.
    Places are counted within an example, so they do not depend on what else is in a batch.
    """
    weights = []
    for term in terms:
        inside = torch.isin(regions, torch.tensor(REGIONS[term.region], device=regions.device))
        along = _along(term.positions, inside, owners) if term.positions else 1.0
        weights.append(inside * along * applies(term, sampled=sampled))
    return torch.stack(weights).float()


def applies(term: LossTerm, *, sampled: bool) -> bool:
    """Whether a term is part of a step's loss: a student is not trained to write its own samples."""
    return not (sampled and isinstance(term, CrossEntropy))


def _along(positions: PositionWeights, inside: Tensor, owners: Tensor) -> Tensor:
    """The weight at each token's place among those of its example that are ``inside``, in float64."""
    first, counts = _first_and_count(inside, owners)
    places = inside.cumsum(0) - 1 - first
    kept = (positions.first_share * counts.double() - 1e-6).ceil().clamp(min=1)  # 0.3 * 10 is above 3
    passed = places / (kept - 1).clamp(min=1)
    return torch.where(places < kept, positions.start + (positions.end - positions.start) * passed, 0.0)


def _first_and_count(inside: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """For each token: how many are inside in the examples before its own, and how many in its own."""
    if not len(owners):
        return owners, owners
    counts = torch.zeros(int(owners[-1]) + 1, dtype=torch.long, device=owners.device)
    counts.index_add_(0, owners, inside.long())
    return (counts.cumsum(0) - counts)[owners], counts[owners]
