"""What is compared with what: arms, by their factors, in a metric."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from cotdistill.config.base import Settings
from cotdistill.config.shorthand import Shorthand
from cotdistill.records import ACCURACY

__all__ = ["Comparison", "Factors", "Metric"]

ARM_FACTOR = "arm"
"""The factor that holds an arm's name."""

Factors = dict[str, Any]
"""Values by axis: ``{"arm": "levels", "annotation.granularity": 3}``."""

Metric = Annotated[str, Field(pattern=r"^(accuracy|(pass|avg|maj)@[1-9][0-9]{0,3})$")]
"""What is compared: accuracy, or of k of the samples of a question pass@k, avg@k or maj@k."""


def _side(value: Any) -> Any:
    return {ARM_FACTOR: value} if isinstance(value, str) else value


Side = Annotated[Factors, BeforeValidator(_side), Field(min_length=1), Shorthand(({"type": "string"},))]
"""The arms of one side of a comparison: all that have these factors. A bare text is the name of an arm of the file."""


class Comparison(Settings):
    """Arms with factors ``a`` against arms with factors ``b``, pair by pair where all other factors agree.

    It is declared before the run; the difference reported is that of ``a`` minus that of ``b`` in the metric.
    """

    a: Side = Field(description="an arm's name, or values of axes", examples=["rationales"])
    b: Side = Field(description="an arm's name, or values of axes; the difference is a minus b", examples=["answers"])
    metric: Metric = Field(
        default=ACCURACY, description="accuracy, or pass@k, avg@k or maj@k of several samples", examples=["maj@5"]
    )
