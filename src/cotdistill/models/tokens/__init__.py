"""Texts as tokens: templates, and comparing vocabularies."""
