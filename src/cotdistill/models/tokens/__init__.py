"""Texts as tokens: templates, and vocabularies held against each other."""
