"""Distil chain-of-thought reasoning from large language models into small ones, and prove what worked."""

__version__ = "0.1.0"
