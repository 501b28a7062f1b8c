# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon is killed at the start of a command. Not under a sanitizer, which has to be loaded before all else itself."""
import os

import pytest

from daemons import DRIVES, Daemon, none_is_left # noqa: F401: a fixture
from mounts import until


def scrubs(mrmr):
    return sum(event["kind"] == "scrub-done" for event in mrmr.json("events", "--last", "0")["events"])


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_the_start_of_a_command(mrmr, tmp_path, when):
    """Before or after the command is there: who asked says that it cannot be known, and does not run it himself, so that it never runs twice."""
    dies = os.environ["MRMR_DIES_AT_SPAWN"]
    mrmr.build(DRIVES)
    mrmr.run("set", "worker", "paused")
    trigger = tmp_path / "trigger"
    daemon = Daemon(mrmr, LD_PRELOAD=dies, DIES_WHEN=os.fspath(trigger), DIES=when)
    until(lambda: mrmr.run("status", code=None).stdout.count("paused"))
    trigger.touch()
    asked = mrmr.run("scrub", code=None)
    daemon.process.wait(60)
    assert asked.returncode == 1 and "may be under way, or not" in asked.stderr, asked
    until(lambda: mrmr.run("set", "memory", "100M", code=None).returncode == 0)
    if when == "after":
        until(lambda: scrubs(mrmr))
    assert scrubs(mrmr) == (1 if when == "after" else 0)
