"""``python -m cotdistill`` is the command line."""

from cotdistill.cli import main

main()
