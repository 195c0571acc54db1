"""Rationales that others released, read from their own files."""
