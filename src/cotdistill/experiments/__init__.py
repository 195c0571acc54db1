"""Studies: a grid of arms from one file, planned, run and read back. Importing this loads no torch."""
