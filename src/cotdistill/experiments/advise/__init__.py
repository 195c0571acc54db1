"""Advice: which arm is best for a student, for a share of the whole grid's cost."""
