"""A model's forward pass: its body and head, its attention, and the scores of given texts."""
