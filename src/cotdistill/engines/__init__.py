"""Ways to ask a model: in this process, behind a server, or from a script."""
