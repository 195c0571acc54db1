"""Annotation: rationales for questions, from any teacher."""

from cotdistill.annotation.annotate import (
    AnnotationRequest,
    annotate,
    make_annotation,
    read_annotation,
)
from cotdistill.annotation.collect import collect_rationales
from cotdistill.annotation.plan import Plan, plan, plan_typical
from cotdistill.annotation.rationales import Missing, Rationales

__all__ = [
    "AnnotationRequest",
    "Missing",
    "Plan",
    "Rationales",
    "annotate",
    "collect_rationales",
    "make_annotation",
    "plan",
    "plan_typical",
    "read_annotation",
]
