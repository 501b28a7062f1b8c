# SPDX-License-Identifier: GPL-3.0-or-later
"""Of many like cases some, others in each run, so that a run stays short and all have their turn."""
import os
import random


def some(cases, normally):
    """So many of them by chance, in their order; all with MRMR_ROUNDS above 1, as tools/test --long has it. The names of the tests tell
    which were drawn, and pytest -k runs one again with MRMR_ROUNDS=2."""
    cases = list(cases)
    if int(os.environ.get("MRMR_ROUNDS") or 1) > 1:
        return cases
    drawn = random.SystemRandom().sample(range(len(cases)), normally)
    return [cases[i] for i in sorted(drawn)]
