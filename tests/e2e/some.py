# SPDX-License-Identifier: GPL-3.0-or-later
"""Of many like cases some, others in each run, so that a run stays short and all have their turn."""
import os
import random

ALL = "MRMR_ALL" in os.environ or int(os.environ.get("MRMR_ROUNDS") or 1) > 1


def some(cases, normally):
    """So many of them by chance, in their order; all where MRMR_ALL is set, as tools/test --long does, or MRMR_ROUNDS is above 1. The
    names of the tests tell which were drawn, and pytest -k runs one again with MRMR_ALL=1."""
    cases = list(cases)
    if ALL:
        return cases
    drawn = random.SystemRandom().sample(range(len(cases)), normally)
    return [cases[i] for i in sorted(drawn)]


def rounds(normally, long):
    """How often something is done."""
    return long if ALL else normally
