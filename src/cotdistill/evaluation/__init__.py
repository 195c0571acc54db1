"""What a model answers, which of it is right, and what the numbers allow one to say."""
