"""Where cells are made: processes of this machine, or a Ray cluster."""
