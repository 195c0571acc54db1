"""Annotation: rationales for questions, from whichever teacher."""

from cotdistill.annotation.annotate import annotate, collect_rationales
from cotdistill.annotation.rationales import Missing, Rationales

__all__ = ["Missing", "Rationales", "annotate", "collect_rationales"]
