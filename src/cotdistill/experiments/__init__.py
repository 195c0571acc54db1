"""Experiments: arms and a grid from one file, planned, run and read back. Importing this does not load torch."""
