# SPDX-License-Identifier: GPL-3.0-or-later
"""A drive that is lost is brought to the others by the daemon, where that is asked for; and what becomes of it when it is back."""
import contextlib
import os
import subprocess

import pytest

from mounts import until
from trees import record

NAMES = ("red", "green", "blue", "grey")


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
    made = mrmr.build(NAMES)
    lose(mrmr, "blue")
    # What could be done is said.
    status = mrmr.json("status", code=3)
    assert status["state"] == "degraded"
    assert status["reprotectable_size"] == sum(len(data) for path, data in made.items() if "of-blue" in path)
    told = mrmr.run("status", code=3).stdout
    assert "all that is protected of drive blue" in told and "mrmr rebuild blue" in told and "auto-rebuild on" in told
    # Off, and detached, which is the user's word: nobody touches it.
    mrmr.run("set", "auto-rebuild-delay", "1s")
    mrmr.run("set", "settle", "0")
    with daemon(mrmr):
        until(lambda: mrmr.json("status", code=None)["daemon"]["does"] == "")
        mrmr.run("detach", "blue")
        mrmr.run("set", "auto-rebuild", "on")
        mrmr.run("sync", code=None)
        assert mrmr.json("status")["reprotectable_size"] == 0
        until(lambda: mrmr.json("status")["daemon"]["does"] == "")
        assert names(mrmr)["blue"] == "detached"
        # It is lost: seen twice, it goes.
        assert "not there" in mrmr.run("attach", "blue", code=1).stderr
        os.rename(mrmr.folder / "lost blue", mrmr.drive("blue"))
        mrmr.run("status")
        mrmr.run("sync", code=None)
        assert names(mrmr)["blue"] == "present"
        lose(mrmr, "blue")
        mrmr.run("sync", code=None) # so that it looks
        until(lambda: "blue" not in names(mrmr))
        until(lambda: mrmr.json("status", code=None)["state"] == "protected")
        lost = record(mrmr.folder / "lost blue")
        # It is back, and is none of the pool's.
        os.rename(mrmr.folder / "lost blue", mrmr.drive("blue"))
        assert mrmr.json("sync")["files"] == len(made)
    assert record(mrmr.drive("blue")) == lost
    assert "drive blue" in mrmr.run("events").stdout
    whole(mrmr, made)
    for path in made:
        assert "blue" not in [copy["drive"] for copy in mrmr.json("where", path)["copies"]]
    mrmr.run("check", "--deep")


@pytest.mark.parametrize("value", ["maybe", "1"])
def test_values(mrmr, value):
    mrmr.run("init")
    assert "auto-rebuild" in mrmr.run("set", "auto-rebuild", value, code=1).stderr
    assert "as 6h" in mrmr.run("set", "auto-rebuild-delay", "soon", code=1).stderr
    mrmr.run("set", "auto-rebuild-delay", "2d")
    assert mrmr.run("get", "auto-rebuild-delay").stdout.strip().endswith("172800")
