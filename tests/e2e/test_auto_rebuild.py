# SPDX-License-Identifier: GPL-3.0-or-later
"""A drive that is lost is brought to the others by the daemon, where that is asked for; and what becomes of it when it is back."""
import contextlib
import os
import subprocess

import pytest

from mounts import until
from trees import record

NAMES = ("red", "green", "blue", "grey", "white")


@contextlib.contextmanager
def daemon(mrmr):
    with open(mrmr.folder / "daemon.log", "ab") as log:
        process = mrmr.start("daemon", "-f", stderr=log)
    try:
        until(lambda: (mrmr.dir / "socket").exists())
        yield
    finally:
        process.terminate()
        process.wait(60)


def names(mrmr):
    return {drive["name"]: drive["presence"] for drive in mrmr.json("drives", code=None)["drives"]}


def whole(mrmr, made):
    for path, data in made.items():
        done = subprocess.run([mrmr.bin, "cat", path], env=mrmr.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        assert done.stdout == data, path


def lose(mrmr, name):
    os.rename(mrmr.drive(name), mrmr.folder / ("lost " + name))


def test_lost_and_brought_to_the_others(mrmr):
    made = mrmr.build(NAMES, redundancy=2)
    lose(mrmr, "grey")
    # What could be done is said.
    status = mrmr.json("status", code=3)
    assert status["state"] == "degraded"
    assert status["reprotectable_size"] == sum(len(data) for path, data in made.items() if "of-grey" in path)
    told = mrmr.run("status", code=3).stdout
    assert "all that is protected of drive grey" in told and "mrmr rebuild grey" in told and "auto-rebuild on" in told
    os.rename(mrmr.folder / "lost grey", mrmr.drive("grey"))
    # One that is detached, and gone for longer, is not touched: that is the user's word.
    mrmr.run("detach", "blue")
    lose(mrmr, "blue")
    assert mrmr.json("status")["reprotectable_size"] == 0
    mrmr.run("set", "auto-rebuild-delay", "1s")
    mrmr.run("set", "auto-rebuild", "on")
    mrmr.run("set", "settle", "0")
    with daemon(mrmr):
        mrmr.run("sync", code=None)
        lose(mrmr, "grey")
        assert names(mrmr)["grey"] == "away"
        mrmr.run("sync", code=None) # so that it looks
        until(lambda: "grey" not in names(mrmr))
        until(lambda: mrmr.json("status", code=None)["state"] == "detached")
        assert names(mrmr)["blue"] == "detached"
        os.rename(mrmr.folder / "lost blue", mrmr.drive("blue"))
        mrmr.run("sync", code=None)
        assert names(mrmr)["blue"] == "present"
        until(lambda: mrmr.json("status", code=None)["state"] == "protected")
        # The other one is back, too, and is none of the pool's.
        lost = record(mrmr.folder / "lost grey")
        os.rename(mrmr.folder / "lost grey", mrmr.drive("grey"))
        assert mrmr.json("sync")["files"] == len(made)
    assert record(mrmr.drive("grey")) == lost
    assert "drive grey" in mrmr.run("events").stdout
    whole(mrmr, made)
    for path in made:
        assert "grey" not in [copy["drive"] for copy in mrmr.json("where", path)["copies"]]
    mrmr.run("check", "--deep")


@pytest.mark.parametrize("value", ["maybe", "1"])
def test_values(mrmr, value):
    mrmr.run("init")
    assert "auto-rebuild" in mrmr.run("set", "auto-rebuild", value, code=1).stderr
    assert "as 6h" in mrmr.run("set", "auto-rebuild-delay", "soon", code=1).stderr
    mrmr.run("set", "auto-rebuild-delay", "2d")
    assert mrmr.run("get", "auto-rebuild-delay").stdout.strip().endswith("172800")
