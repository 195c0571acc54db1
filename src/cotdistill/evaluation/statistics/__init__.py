"""What the numbers allow us to say. Loads no torch."""
