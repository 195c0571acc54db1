"""What a training reads: examples, the steps that they make up, and how they are laid out."""
