# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are written to all the time through the mount, as machines' images and databases are: each sync says of every leaf whether it is what stripes
hold, gives what shares parity with them its margin back, and claims nothing that is not so. What nobody writes to can be read without their drive."""
import contextlib
import errno
import os
import re
import signal
import threading
import time

import pytest

from loops import loops, need_loops
from mounts import mounts, need_fuse, until
from seeded import Seeded
from test_mount_drives import shut_down

MIB = 1 << 20
PIECE = 4096
HOT = range(8 * MIB, 12 * MIB) # bytes of the file `a` that are written to
SIZE = 24 * MIB + 777
SYNCS = 4


class Writer(threading.Thread):
    """Writes to random places of the region, one after another, for as long as it is not told to end."""

    def __init__(self, path, rng):
        super().__init__()
        self.path, self.rng, self.writes, self.ends, self.error = path, rng, 0, False, None

    def run(self):
        try:
            fd = os.open(self.path, os.O_WRONLY)
            while not self.ends:
                os.pwrite(fd, self.rng.randbytes(PIECE), self.rng.randrange(HOT.start, HOT.stop, PIECE))
                self.writes += 1
            os.close(fd)
        except OSError as error:
            self.error = error


@contextlib.contextmanager
def writing(path, rng):
    writer = Writer(path, rng)
    writer.start()
    try:
        yield writer
    finally:
        writer.ends = True
        writer.join()
    assert writer.error is None


class World:
    """Three drives with a file each; redundancy 1."""

    def __init__(self, mrmr, make, rng):
        self.mrmr = mrmr
        self.content = {name: rng.randbytes(SIZE) for name in ("a", "b", "c")}
        self.drive = {name: make(name, "ext4", 200) for name in self.content}
        self.root = {name: os.path.join(drive.root, "root") for name, drive in self.drive.items()}
        for name, root in self.root.items():
            os.mkdir(root)
            with open(os.path.join(root, name), "wb") as f:
                f.write(self.content[name])
            mrmr.run("add-drive", root, "--name", name)
        mrmr.run("sync")

    def lose(self, name):
        os.rename(self.root[name], self.root[name] + ".lost")

    def bring_back(self, name):
        os.rename(self.root[name] + ".lost", self.root[name])

    def survives(self, name):
        return self.mrmr.json("where", name)["copies"][0]["survives"]


def sync_beside(world, writer):
    """The writer has written before it, and goes on."""
    before = writer.writes
    until(lambda: writer.writes > before or writer.error)
    report = world.mrmr.json("sync", code=(0, 3))
    assert report["held"] == 0 and report["completed"]
    for name in ("b", "c"):
        assert world.survives(name) == 1, name
    return report["exposed_size"]


def leaf_of(path, leaf):
    """What can be read of it now, by whoever opens it; None: nothing."""
    try:
        with open(path, "rb", buffering=0) as f:
            return os.pread(f.fileno(), MIB, leaf * MIB)
    except OSError as error:
        assert error.errno == errno.EIO
        return None


def read_without(world, m, name):
    """Its drive goes while it is mounted, and nothing else is done: what nobody wrote to since the last sync began can be read, and of the rest nothing that it
    was before."""
    with open(os.path.join(world.root[name], name), "rb") as f:
        now = f.read()
    path, leaves = os.path.join(m.point, name), range(len(now) // MIB + 1)
    shut_down(world.drive[name].root, 0)
    until(lambda: all(leaf_of(path, leaf) is not None for leaf in leaves if leaf * MIB not in HOT)) # once the mount knows that it is gone
    got = {leaf: leaf_of(path, leaf) for leaf in leaves}
    for leaf, data in got.items():
        assert data is None or data == now[leaf * MIB:(leaf + 1) * MIB], leaf
        assert data is not None or leaf * MIB in HOT, leaf
    assert None in got.values() # it went on to be written to after that
    m.kill()
    world.drive[name].mount_anew()
    m.start()


def give_back(world, m, home, name, was):
    """Its mount is killed, nothing was written elsewhere, and whichever drive is lost, all comes from parity: first what shares it, which counts on what was
    claimed of the file, and then the file itself."""
    m.kill()
    with open(os.path.join(world.root[home], name), "rb") as f:
        now = f.read()
    assert now[:HOT.start] + now[HOT.stop:] == was[:HOT.start] + was[HOT.stop:]
    others = [other for other in ("b", "c") if other != home]
    for other in others:
        world.lose(other)
        m.start()
        with open(os.path.join(m.point, other), "rb") as f:
            assert f.read() == world.content[other]
        m.stop()
        world.bring_back(other)
    world.mrmr.run("sync")
    world.lose(home)
    m.start()
    with open(os.path.join(m.point, name), "rb") as f:
        assert f.read() == now


def test_who_shares_parity_with_it_keeps_its_margin(mrmr, tmp_path):
    need_fuse()
    need_loops()
    rng = Seeded("hot")
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        world = World(mrmr, make, rng)
        m = mount()
        with writing(os.path.join(m.point, "a"), rng) as writer:
            for _ in range(SYNCS):
                assert sync_beside(world, writer) <= len(HOT)
            before = writer.writes
            until(lambda: writer.writes > before or writer.error)
        read_without(world, m, "a")
        give_back(world, m, "a", "a", world.content["a"])


def test_what_nobody_writes_to_is_protected(mrmr, tmp_path):
    """A new file, to which somebody writes from its first moment on."""
    need_fuse()
    need_loops()
    rng = Seeded("hot and new")
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        world = World(mrmr, make, rng)
        m = mount()
        was = rng.randbytes(SIZE)
        with open(os.path.join(m.point, "new"), "wb") as f:
            f.write(was)
        with writing(os.path.join(m.point, "new"), rng) as writer:
            until(lambda: sync_beside(world, writer) <= len(HOT)) # what was written a moment ago waits
        [home] = [name for name, root in world.root.items() if os.path.exists(os.path.join(root, "new"))]
        give_back(world, m, home, "new", was)


def missing_of(event):
    """The byte ranges that an event names."""
    return [range(int(first), int(last) + 1) for first, last in re.findall(r"(\d+)-(\d+)", event["text"].rpartition("for the bytes")[2])]


def cut_short(world, command, root):
    """Killed as soon as the copy is being made, or has its name; whether it was before its end."""
    process = world.mrmr.start(*command)
    while process.poll() is None:
        if any(os.path.exists(os.path.join(place, "a.incomplete")) for place in root):
            process.kill()
        time.sleep(0.001)
    return process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("onto, killed", [(True, True), (False, False)])
def test_what_is_left_of_it_comes_back(mrmr, tmp_path, onto, killed):
    """Its mount and then its drive are gone while it is written to. What was protected of it is there under a name that says so, once, and nothing is left that
    would fail again and again."""
    need_fuse()
    need_loops()
    rng = Seeded("hot and lost")
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        world = World(mrmr, make, rng)
        m = mount()
        with writing(os.path.join(m.point, "a"), rng) as writer:
            exposed = sync_beside(world, writer)
        m.kill()
        assert 0 < exposed <= len(HOT)
        world.lose("a")
        assert "NAME.incomplete" in mrmr.run("status", code=3).stdout
        del world.root["a"]
        world.root["e"] = os.path.join(make("e", "ext4", 200).root, "root")
        os.mkdir(world.root["e"])
        mrmr.run("add-drive", world.root["e"], "--name", "e")
        command = ["rebuild", "a", "--onto", "e"] if onto else ["rebuild", "a"]
        if killed:
            print("killed in the middle:", cut_short(world, command, world.root.values()))
        state = {drive["name"]: drive["state"] for drive in mrmr.json("drives", code=(0, 3))["drives"]}
        again = ["rebuild", "e"] if onto and "a" not in state else command
        if onto or "a" in state:
            report = mrmr.json(*again, code=(0, 3))
            assert report["failed"] == 0 and report["completed"]
            assert killed or (report["incomplete"] == 1 and report["missing_size"] == exposed and report["files"] == 0)
        [event] = [event for event in mrmr.json("events")["events"] if event["kind"] == "restored-incomplete"]
        assert event["warning"] and "'a'" in event["text"] and "'a.incomplete'" in event["text"]
        missing = missing_of(event)
        assert sum(map(len, missing)) == exposed
        expected = bytearray(world.content["a"])
        for part in missing:
            assert part.start >= HOT.start and part.stop <= HOT.stop
            expected[part.start:part.stop] = bytes(len(part))
        homes = [root for root in world.root.values() if os.path.exists(os.path.join(root, "a.incomplete"))]
        assert len(homes) == 1 and not any(os.path.exists(os.path.join(root, "a")) for root in world.root.values())
        with open(os.path.join(homes[0], "a.incomplete"), "rb") as f:
            found = f.read()
        was_hot = slice(HOT.start, HOT.stop) # what was protected of it is of some moment
        assert found[:HOT.start] + found[HOT.stop:] == expected[:HOT.start] + expected[HOT.stop:]
        assert all(not any(found[part.start:part.stop]) for part in missing) and len(found[was_hot]) == len(HOT)
        mrmr.run("sync")
        assert mrmr.json("scrub", "--repair")["damaged"] == 0
        mrmr.run("check", "--deep")
        assert mrmr.json("status")["state"] == "protected"
        world.content["a.incomplete"] = found
        for name in list(world.root):
            world.lose(name)
            m.start()
            assert sorted(os.listdir(m.point)) == ["a.incomplete", "b", "c"]
            for path in ("a.incomplete", "b", "c"):
                with open(os.path.join(m.point, path), "rb") as f:
                    assert f.read() == world.content[path], (name, path)
            m.stop()
            world.bring_back(name)
            mrmr.run("sync")
