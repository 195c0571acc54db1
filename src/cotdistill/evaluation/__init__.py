"""A model's answers, their verdicts, and what the numbers allow us to say."""
