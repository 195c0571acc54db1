"""Answers: read from completions and compared with gold answers."""
