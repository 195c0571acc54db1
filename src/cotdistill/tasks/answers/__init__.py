"""Answers: read from what a model wrote, and compared with the gold ones."""
