"""Models from anywhere, into memory and back to disk."""
