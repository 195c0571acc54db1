"""What the numbers allow one to say. Loads no torch."""
