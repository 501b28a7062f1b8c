# SPDX-License-Identifier: GPL-3.0-or-later
"""A drive that is lost is brought to the others by the daemon, where that is asked for; and what becomes of it when it is back."""
import contextlib
import os
import subprocess

import pytest

from mounts import mounts, need_fuse, until
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


def words(mrmr):
    """By what the daemon goes: drive → the word for it."""
    lines = [line for line in mrmr.run("daemon-look").stdout.splitlines() if line.startswith("drive=")]
    return {line.split(" ", 4)[4]: line.split(" ", 4)[1] for line in lines}


def never_by_itself(mrmr, name, word):
    assert words(mrmr)[name] == word
    before = mrmr.json("drives", code=None)["drives"]
    done = mrmr.json("rebuild", "--if-lost", "--background", name)
    assert done["not_lost"] and not done["files"]
    assert "Nothing was done" in mrmr.run("rebuild", "--if-lost", name).stdout
    after = mrmr.json("drives", code=None)["drives"]
    assert [(drive["name"], drive["state"]) for drive in after] == [(drive["name"], drive["state"]) for drive in before]


def test_what_is_never_given_up_by_itself(mrmr):
    made = mrmr.build(NAMES, redundancy=2)
    never_by_itself(mrmr, "red", "present")
    lose(mrmr, "red")
    assert words(mrmr)["red"] == "lost"
    os.rename(mrmr.folder / "lost red", mrmr.drive("red")) # back in the middle
    never_by_itself(mrmr, "red", "present")
    # Its identity is garbled.
    identity = mrmr.drive("red") / ".mrmr/drive"
    data = identity.read_bytes()
    identity.write_bytes(b"nonsense")
    assert names(mrmr)["red"] == "failed"
    never_by_itself(mrmr, "red", "out")
    assert mrmr.json("status", code=3)["reprotectable_size"] == 0
    identity.write_bytes(data)
    # It is held: what was edited by hand is only there.
    mrmr.run("set", "hold-files", "1")
    for path in [path for path in made if "of-green" in path][:3]:
        (mrmr.drive("green") / path).unlink()
    mrmr.run("sync", code=3)
    lose(mrmr, "green")
    never_by_itself(mrmr, "green", "out")
    # It was never looked through.
    mrmr.fill("black")
    mrmr.run("add-drive", mrmr.drive("black"))
    lose(mrmr, "black")
    never_by_itself(mrmr, "black", "out")


def test_what_was_written_since_the_scan(mrmr, tmp_path):
    """It is on that drive alone, and was told to be durable."""
    need_fuse()
    made = mrmr.build(NAMES, redundancy=2)
    old, new = next(path for path in made if "of-blue" in path), b"written after the scan"
    with mounts(mrmr, tmp_path) as mount:
        one = mount()
        with open(one.point / old, "r+b") as file:
            file.write(new)
            file.flush()
            os.fsync(file.fileno())
        one.stop()
    status = mrmr.json("status", code=3)
    assert status["state"] == "exposed" and status["changed_files"] == 1
    assert "1 file was changed, made or removed through a mount" in mrmr.run("status", code=3).stdout
    lose(mrmr, "blue")
    assert "would be lost by that" in mrmr.run("status", code=3).stdout
    never_by_itself(mrmr, "blue", "out")
    # A daemon leaves it alone, too, however long it is away.
    mrmr.run("set", "auto-rebuild-delay", "1s")
    mrmr.run("set", "auto-rebuild", "on")
    with daemon(mrmr):
        for _ in range(3):
            mrmr.run("sync", code=None) # so that it looks
            assert names(mrmr)["blue"] == "away"
        os.rename(mrmr.folder / "lost blue", mrmr.drive("blue"))
        mrmr.run("sync", code=None)
    assert mrmr.json("status")["changed_files"] == 0
    made[old] = new + made[old][len(new):]
    whole(mrmr, made)
    lose(mrmr, "blue")
    whole(mrmr, made)


def test_given_up_with_what_was_written(mrmr, tmp_path):
    """By the user's word it goes all the same, and he is told which files come back as they were."""
    need_fuse()
    made = mrmr.build(NAMES, redundancy=2)
    old = next(path for path in made if "of-blue" in path)
    with mounts(mrmr, tmp_path) as mount:
        one = mount()
        with open(one.point / old, "r+b") as file:
            file.write(b"new")
        one.stop()
    lose(mrmr, "blue")
    done = mrmr.json("rebuild", "blue", code=3)
    assert done["older"] == 1 and any("as it was at that scan" in look for look in done["needs_look"])
    events = mrmr.run("events").stdout
    assert "'%s' was written to or removed after the last scan" % old in events
    assert "all its files" not in events
    whole(mrmr, made)
    assert mrmr.json("status")["state"] == "protected"


@pytest.mark.parametrize("value", ["maybe", "1"])
def test_values(mrmr, value):
    mrmr.run("init")
    assert "auto-rebuild" in mrmr.run("set", "auto-rebuild", value, code=1).stderr
    assert "as 6h" in mrmr.run("set", "auto-rebuild-delay", "soon", code=1).stderr
    mrmr.run("set", "auto-rebuild-delay", "2d")
    assert mrmr.run("get", "auto-rebuild-delay").stdout.strip().endswith("172800")
