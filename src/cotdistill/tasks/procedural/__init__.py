"""Questions that generators make after BIG-Bench-Hard's manner, with a solver that writes their rationales."""

from cotdistill.tasks.procedural.questions import generate, generate_split, write_rationale

__all__ = ["generate", "generate_split", "write_rationale"]
