"""Train, capture and generate with tiny models of every family beside a plain reference (tests/sweep).

tools/check_families.py [FAMILY,... [FEATURE,...]]: exits with status 1 if anything crashes or is silently wrong, or is
refused where it must work. Families of which every feature was tried are recorded in docs/families.json, and
docs/families.md is made of it; --page makes the page again from the record.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.models.families import FAMILIES
from tests.sweep import record
from tests.sweep.cells import cells, feature_names


def main(arguments: Sequence[str]) -> None:
    if list(arguments) == ["--page"]:
        record.write_page()
        return
    families = _named(arguments[0], FAMILIES) if arguments else list(FAMILIES)
    features = _named(arguments[1], feature_names()) if arguments[1:] else feature_names()
    at = record.checkout()  # before the sweep, which takes a quarter of an hour
    counts, faults = Counter[str](), 0
    for family in families:
        started, found = time.perf_counter(), []
        for cell in cells(family, features):
            found.append(cell)
            if arguments or record.is_fault(cell):
                print(f"{family} {cell.feature}: {cell.result} {cell.detail}")
        print(f"{family}: {time.perf_counter() - started:.0f} s", flush=True)
        counts.update(cell.result for cell in found)
        faults += sum(map(record.is_fault, found))
        if features == feature_names():
            record.write(family, found, at)
            record.write_page()
    print(f"{len(families)} families: " + ", ".join(f"{number} {result}" for result, number in counts.most_common()))
    sys.exit(bool(faults))


def _named(argument: str, known: Collection[str]) -> list[str]:
    names = argument.split(",")
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return names


if __name__ == "__main__":
    main(sys.argv[1:])
