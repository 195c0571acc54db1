"""The command line: each command parses, calls one function and prints. Heavy modules load where they are needed."""

# --help lists the commands in the order of these imports
from cotdistill.cli import init as init  # isort: skip
from cotdistill.cli import experiments as experiments  # isort: skip

from cotdistill.cli import check as check  # isort: skip
from cotdistill.cli import stages as stages  # isort: skip
from cotdistill.cli import use as use  # isort: skip
from cotdistill.cli import results as results  # isort: skip
from cotdistill.cli import export as export  # isort: skip
from cotdistill.cli import settings as settings  # isort: skip
from cotdistill.cli import recipes as recipes  # isort: skip
from cotdistill.cli import doctor as doctor  # isort: skip
from cotdistill.cli.common import app, main

__all__ = ["app", "main"]
