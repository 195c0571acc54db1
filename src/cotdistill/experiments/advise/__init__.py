"""Advice: which arm is best for a student, at a share of what the whole grid costs."""
