"""The terms of a training loss."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import BeforeValidator, Field, NonNegativeInt, model_validator

from cotdistill.config.base import Settings, Temperature
from cotdistill.config.parts import Part, own_shorthand
from cotdistill.config.shorthand import Shorthand

__all__ = [
    "AlphaBeta",
    "CrossEntropy",
    "Divergence",
    "ForwardKL",
    "HiddenCosine",
    "HiddenMSE",
    "HiddenTerm",
    "JensenShannon",
    "LayerMap",
    "LossConfig",
    "LossTerm",
    "Losses",
    "OwnDivergence",
    "PositionWeights",
    "RegionName",
    "ReverseKL",
    "SkewForwardKL",
    "SkewReverseKL",
    "TokenLoss",
    "TotalVariation",
]

RegionName = Literal["all", "reasoning", "rationale", "answer"]
"""Which response tokens a loss term sees. ``reasoning`` is what a student thinks, with its marks; ``rationale`` what it
says before the answer; ``answer`` includes the stop token; ``all`` is all of it."""


class PositionWeights(Settings):
    """Weights of a term's tokens by their place in its region of a response.

    The first ``first_share`` of them, rounded up, carry the loss, with weights that go evenly from ``start`` to
    ``end``; the others carry none.
    """

    first_share: float = Field(
        default=1.0, gt=0, le=1, description="the share of a region's tokens, from its start, that carries loss"
    )
    start: float = Field(default=1.0, ge=0, description="the weight of the first token")
    end: float = Field(default=1.0, ge=0, description="the weight of the last token that carries loss")

    @model_validator(mode="after")
    def some_weight(self) -> PositionWeights:
        if not self.start + self.end:
            raise ValueError("start and end are both 0, so no token carries the loss; raise one of them")
        return self


class LossTerm(Settings):
    """Base of all terms. A step's loss is the sum of all terms' weighted token losses over its number of response
    tokens, whatever their weights, regions and positions: a term of fewer tokens is a smaller part of it."""

    weight: float = Field(default=1.0, gt=0, description="what the term is multiplied by")
    region: RegionName = Field(default="all", description="which tokens of a response it sees")
    positions: PositionWeights | None = Field(
        default=None, description="token weights along the region", examples=[{"first_share": 0.5}]
    )


class CrossEntropy(LossTerm):
    """Negative log-likelihood of the rationale's own tokens."""

    kind: Literal["cross_entropy"] = "cross_entropy"


class Divergence(LossTerm):
    """Base of the divergences between the teacher's and the student's next-token distributions.

    They are taken at a temperature and multiplied by its square; formulas and sources are in
    ``training/losses/divergences.py``.
    """

    temperature: Temperature = Field(default=1.0, gt=0, description="what both models' logits are divided by")


class ForwardKL(Divergence):
    """KL(teacher || student): the first paper's loss."""

    kind: Literal["forward_kl"] = "forward_kl"


class ReverseKL(Divergence):
    """KL(student || teacher)."""

    kind: Literal["reverse_kl"] = "reverse_kl"


class JensenShannon(Divergence):
    """Generalised Jensen-Shannon divergence; ``beta`` is the teacher's share of the mixture."""

    kind: Literal["jensen_shannon"] = "jensen_shannon"
    beta: float = Field(default=0.5, gt=0, lt=1, description="the teacher's share of the mixture")


class SkewForwardKL(Divergence):
    """KL(teacher || mixture); ``alpha`` is the teacher's share of the mixture."""

    kind: Literal["skew_forward_kl"] = "skew_forward_kl"
    alpha: float = Field(default=0.1, gt=0, lt=1, description="the teacher's share of the mixture")


class SkewReverseKL(Divergence):
    """KL(student || mixture); ``alpha`` is the student's share of the mixture."""

    kind: Literal["skew_reverse_kl"] = "skew_reverse_kl"
    alpha: float = Field(default=0.1, gt=0, lt=1, description="the student's share of the mixture")


class TotalVariation(Divergence):
    """Half the L1 distance."""

    kind: Literal["total_variation"] = "total_variation"


class AlphaBeta(Divergence):
    """Alpha-beta divergence; near (1, 0) it is forward KL, near (0, 1) reverse KL."""

    kind: Literal["alpha_beta"] = "alpha_beta"
    alpha: float = Field(default=0.5, gt=0, description="the power of the teacher's probabilities")
    beta: float = Field(default=0.5, gt=0, description="the power of the student's probabilities")


class OwnDivergence(Divergence):
    """Your own function, named instead of a kind: ``{kind: my_losses.py:NAME, settings: {beta: 0.5}}``.

    It is called like those of ``training/losses/divergences.py``: with log p and log q, ``[num_tokens, outcomes]``, and
    its settings as keywords; it returns ``[num_tokens]``.
    """

    kind: Literal["own"] = "own"
    function: Part = Field(description="your function of two log-probabilities", examples=["losses.py:capped_kl"])
    settings: dict[str, bool | int | float | str] = Field(
        default={}, description="what your function is called with besides them", examples=[{"most": 0.5}]
    )


TokenLoss = CrossEntropy | Divergence
"""What is computed from logits, token by token."""

LayerMap = Literal["uniform", "last"] | Annotated[tuple[tuple[NonNegativeInt, NonNegativeInt], ...], Len(1)]
"""Which layers are matched: pairs of student and teacher layer, 0 being the embeddings, or a name for such pairs."""


class HiddenTerm(LossTerm):
    """Base of the distances between hidden states, averaged over pairs of layers.

    See ``training/losses/hidden_matching.py``.
    """

    layers: LayerMap = Field(
        default="uniform", description="which layers are compared: uniform, last, or pairs of student's and teacher's"
    )


class HiddenMSE(HiddenTerm):
    """The mean squared difference of hidden states."""

    kind: Literal["hidden_mse"] = "hidden_mse"


class HiddenCosine(HiddenTerm):
    """One minus the cosine of hidden states."""

    kind: Literal["hidden_cosine"] = "hidden_cosine"


LossConfig = Annotated[
    Annotated[
        CrossEntropy
        | ForwardKL
        | ReverseKL
        | JensenShannon
        | SkewForwardKL
        | SkewReverseKL
        | TotalVariation
        | AlphaBeta
        | OwnDivergence
        | HiddenMSE
        | HiddenCosine,
        Field(discriminator="kind"),
    ],
    BeforeValidator(own_shorthand),
    Shorthand(bare=True, own=True),
]


def _terms(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


Losses = Annotated[tuple[LossConfig, ...], BeforeValidator(_terms), Shorthand(single=True)]
"""The terms of a loss; a single term needs no list."""
