"""Models from wherever they lie, in memory and back on disk."""
