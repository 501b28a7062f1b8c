# SPDX-License-Identifier: GPL-3.0-or-later
"""The mount while a drive gives short reads, wrong bytes or errors, hangs, or is frozen, under open files."""
import contextlib
import os
import threading
import time

import pytest

from conftest import Command
from faults import faulty, frozen
from loops import loops, need_loops
from mounts import mounts, need_fuse, until
from seeded import Seeded
from some import some

ORIGINALS, ROWS = "of-bad/*", ".mrmr/parity/*"
SIZE = 1_060_000 # two leaves
BIT_EACH = 4096 # of which `wrong` makes one another


class World:
    """Four drives, of which .bad fails as it is told, and one named `away` may be. Any two may be lost."""

    def __init__(self, mrmr, bad, mount, files):
        self.mrmr, self.bad, self.make_mount, self.mount = mrmr, bad, mount, None
        self.content = {}
        for name in ("away", "bad", "one", "two"):
            self.content.update(mrmr.fill(name, files=files, size=SIZE))
            mrmr.run("add-drive", mrmr.drive(name), code=None)
        mrmr.run("set", "redundancy", "2")
        mrmr.run("set", "drive-timeout", "1")
        mrmr.run("sync")

    def of(self, drive):
        return sorted(path for path in self.content if path.startswith("of-%s/" % drive))

    def at(self, path=""):
        return os.path.join(self.mount.point, path)

    def read(self, path):
        with open(self.at(path), "rb") as file:
            return file.read()

    def wrong(self, paths=None):
        return [path for path in paths or self.content if self.read(path) != self.content[path]]

    def comes_back(self):
        """The drive, which is well again: what is made on it shows."""
        with open(os.path.join(self.bad.behind, "of-bad/back"), "wb") as file:
            file.write(b"back")
        until(lambda: os.path.exists(self.at("of-bad/back")))
        self.content["of-bad/back"] = b"back"


@contextlib.contextmanager
def worlds(folder, files):
    need_fuse()
    mrmr = Command(folder)
    with faulty(folder / "behind", mrmr.drive("bad")) as bad, mounts(mrmr, folder) as mount:
        yield World(mrmr, bad, mount, files)


@pytest.fixture(name="world")
def make_world(tmp_path):
    with worlds(tmp_path, 3) as world:
        yield world


@pytest.fixture(name="readable", scope="module")
def make_readable(tmp_path_factory):
    """For who changes nothing."""
    with worlds(tmp_path_factory.mktemp("readable"), 2) as world:
        yield world


@contextlib.contextmanager
def befallen_by(world, what):
    """A mount with nothing in memory while this is so, which must concern it."""
    with mounts(world.mrmr, world.mrmr.folder) as mount:
        world.mount = mount()
        world.bad.tell(what)
        try:
            yield
        finally:
            befallen = world.bad.tell("well")
        print("%s: %d reads" % (what, befallen))
        assert befallen > 0


def test_a_survivor_that_reads_short_or_wrong(readable):
    """What is made from such a survivor is made without it: nobody who reads is told, and nobody gets a wrong byte."""
    away, elsewhere = readable.mrmr.drive("away"), readable.mrmr.folder / "elsewhere"
    away.rename(elsewhere)
    try:
        for fault in ("half", "cut", "wrong"):
            with befallen_by(readable, "%s @(%s|%s)" % (fault, ORIGINALS, ROWS)):
                assert readable.wrong(readable.of("away")) == [], fault
            assert "out of service" not in readable.mount.log.read_text(), "it had to be left out, not given up"
    finally:
        elsewhere.rename(away)


def wrong_bytes(data):
    """What the drive gives of a file."""
    data = bytearray(data)
    for at in range(0, len(data), BIT_EACH):
        data[at] ^= 1
    return bytes(data)


@pytest.mark.parametrize("verify", ["off", "on"])
def test_a_present_file_that_reads_short_or_wrong(readable, verify):
    """With verify-reads on no wrong byte is handed out. With it off bytes of a present file are those that its drive gives, all of them as they
    are; only where it gives fewer than there are they are made from the others."""
    readable.mrmr.run("set", "verify-reads", verify)
    for fault in ("half", "cut", "wrong"):
        with befallen_by(readable, "%s %s" % (fault, ORIGINALS)):
            for path in readable.of("bad"):
                expected = readable.content[path]
                assert readable.read(path) == (wrong_bytes(expected) if (fault, verify) == ("wrong", "off") else expected), (fault, path)


@pytest.mark.parametrize("fault", some(["eio", "hang"], 1))
def test_failing_under_open_files(world, fault):
    """The files of a drive that begins to fail are read on by whoever has them open, and what is written to them is there or was refused; first
    of one file alone, then of the whole drive."""
    world.mount = world.make_mount()
    alone, changed, other = world.of("bad")
    with contextlib.ExitStack() as opened:
        readers = {path: opened.enter_context(open(world.at(path), "rb", buffering=0)) for path in world.content}
        for path, file in readers.items():
            assert file.read(4096) == world.content[path][:4096]
        world.bad.tell("eio " + alone)
        assert readers[alone].read() == world.content[alone][4096:]
        assert world.bad.tell(fault + " *") > 0
        start = time.monotonic()
        assert readers[other].read() == world.content[other][4096:]
        data = b"written while it failed"
        with contextlib.suppress(OSError), open(world.at(changed), "r+b", buffering=0) as writer: # it goes to another drive
            assert os.pwrite(writer.fileno(), data, 5000) == len(data)
            world.content[changed] = world.content[changed][:5000] + data + world.content[changed][5000 + len(data):]
            print("what was written was taken")
        for path, file in readers.items():
            file.seek(0)
            assert file.read() == world.content[path], path
        with open(world.at("new"), "xb") as file:
            file.write(b"new")
        world.content["new"] = b"new"
        assert os.listdir(world.at("of-one"))
        print("%s: read, written and made after %.1f s" % (fault, time.monotonic() - start))
        assert world.bad.tell("well") > 0
        world.comes_back()
        for path, file in readers.items(): # they were open all the time
            file.seek(0)
            assert file.read() == world.content[path], path
        assert world.wrong() == []
    world.mrmr.run("sync")
    world.mount.stop()
    world.mount.start()
    assert world.wrong() == []
    world.mrmr.run("scrub")


class Changes:
    """One change a thread, on a drive that does not answer. A path has one of several contents afterwards; None: there is no such file."""

    def __init__(self, at, content):
        self.at, self.content, self.may, self.threads, self.renames = at, content, {}, [], []
        self.made, self.refused = [], [] # names; changes, and what the paths have after each

    def make(self, name, change, after):
        """after: what the paths have if it succeeds; else each has that or what it has now."""
        self.may.update({path: [self.content.get(path), data] for path, data in after.items()})

        def run():
            try:
                change()
                self.made.append(name)
                self.may.update({path: [data] for path, data in after.items()})
            except OSError as error:
                print("%s was refused: %s" % (name, os.strerror(error.errno)))
                self.refused.append((name, change, after))
        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def write(self, path, file):
        data = b"w" * 70_000
        old = self.content[path]
        self.make("write", lambda: self.written(os.pwrite(file.fileno(), data, 3000), data), {path: old[:3000] + data + old[73_000:]})

    @staticmethod
    def written(count, data):
        if count != len(data):
            raise OSError("cut short")

    def append(self, path):
        def change():
            with open(self.at(path), "ab", buffering=0) as file:
                self.written(file.write(b"appended"), b"appended")
        self.make("append", change, {path: self.content[path] + b"appended"})

    def cut(self, path):
        self.make("truncate", lambda: os.truncate(self.at(path), 1000), {path: self.content[path][:1000]})

    def rename(self, path, to):
        self.renames.append((path, to))
        self.make("rename", lambda: os.rename(self.at(path), self.at(to)), {path: None, to: self.content[path]})

    def remove(self, path):
        self.make("unlink", lambda: os.unlink(self.at(path)), {path: None})

    def create(self, path):
        def change():
            with open(self.at(path), "xb", buffering=0) as file:
                self.written(file.write(b"created"), b"created")
        self.make("create", change, {path: b"created"})

    def wait(self):
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a change never came back"

    def again(self):
        """What was refused, now that the drive is known not to answer. That may have been made all the same, or come to be made when the
        drive answers: then it must not be made twice."""
        for _, change, after in self.refused:
            with contextlib.suppress(FileNotFoundError, FileExistsError): # it was made
                change()
            self.may.update({path: [data] for path, data in after.items()})

    def wrong(self):
        """What is none of what it may be."""
        found, there = [], set()
        for path in {*self.content, *self.may}:
            may, got = self.may.get(path) or [self.content[path]], None
            with contextlib.suppress(FileNotFoundError), open(self.at(path), "rb") as file:
                got = file.read()
                there.add(path)
            if got not in may:
                found.append((path, None if got is None else len(got), [None if one is None else len(one) for one in may]))
        for old, new in self.renames:
            if len(there & {old, new}) != 1:
                found.append((old, new, there & {old, new}))
        return found


def test_errors_again_and_again(world):
    """Some files of a drive cannot be read, while its identity can: after so many seconds with errors it is out of service, told of, and stays
    so when it is well, also for commands; until the user says otherwise."""
    mrmr = world.mrmr
    mrmr.run("set", "error-limit", "3")
    world.mount = world.make_mount()
    assert world.wrong() == []
    world.bad.tell("eio of-bad/*")

    def presence():
        return next(drive["presence"] for drive in mrmr.json("drives", code=None)["drives"] if drive["name"] == "bad")

    def is_out():
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as drop:
            drop.write("1")
        assert world.wrong() == []
        return presence() == "failed"
    until(is_out)
    world.bad.tell("well")
    failing = [event for event in mrmr.json("events")["events"] if event["kind"] == "drive-failing"]
    assert len(failing) == 1 and failing[0]["drive"] == "bad" and "mrmr attach bad" in failing[0]["text"], failing
    told = mrmr.run("status", code=3).stdout
    assert "DEGRADED" in told and "mrmr attach bad" in told
    with open(world.at("of-bad/new"), "wb") as file:
        file.write(b"new")
    world.content["of-bad/new"] = b"new"
    assert not os.path.exists(os.path.join(world.bad.behind, "of-bad/new"))
    mrmr.run("sync", code=3)
    world.mount.stop()
    world.mount.start()
    assert world.wrong() == [] and presence() == "failed"
    assert "in service" in mrmr.run("attach", "bad").stdout
    assert presence() == "present"
    world.comes_back()
    assert world.wrong() == []
    mrmr.run("sync")
    assert mrmr.json("status")["state"] == "protected"


def test_frozen_under_open_files(mrmr, tmp_path):
    """A file system that is frozen can be read and not written: what is written to it is done elsewhere, or refused in time, and no other drive
    waits for it. Thawed, when late writes come to be done after all, it is taken back, and what was acknowledged is there."""
    need_fuse()
    need_loops()
    rng, content = Seeded(7), {}
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        drives = {name: make(name, "ext4", 48) for name in ("red", "green", "blue")}
        for name, drive in drives.items():
            os.makedirs(os.path.join(drive.root, name))
            for what in ("read", "written", "appended", "cut", "renamed", "removed"):
                content["%s/%s" % (name, what)] = data = rng.randbytes(300_000)
                with open(os.path.join(drive.root, name, what), "wb") as file:
                    file.write(data)
            mrmr.run("add-drive", drive.root)
        mrmr.run("set", "drive-timeout", "1")
        mrmr.run("sync")
        m = mount()
        changes = Changes(lambda path: os.path.join(m.point, path), content)
        with open(changes.at("red/read"), "rb", buffering=0) as reader, open(changes.at("red/written"), "r+b", buffering=0) as writer, \
                open(changes.at("green/written"), "r+b", buffering=0) as other, frozen(drives["red"].root) as thaw:
            changes.write("red/written", writer)
            start = time.monotonic()
            assert reader.read() == content["red/read"]
            changes.append("red/appended")
            changes.cut("red/cut")
            changes.rename("red/renamed", "red/new name")
            changes.remove("red/removed")
            changes.create("red/created")
            assert os.pwrite(other.fileno(), b"elsewhere", 0) == 9 # on a drive that answers
            content["green/written"] = b"elsewhere" + content["green/written"][9:]
            assert set(os.listdir(m.point)) == set(drives)
            usable = time.monotonic() - start
            changes.wait()
            print("one drive frozen: the others could be used after %.1f s; of %d changes on it %d were made, after %.1f s" % (
                usable, len(changes.threads), len(changes.made), time.monotonic() - start))
            assert usable < 10 and "out of service" in m.log.read_text()
            assert changes.wrong() == []
            changes.again()
            assert changes.wrong() == []
            thaw()
            start = time.monotonic()
            with open(os.path.join(drives["red"].root, "thawed"), "wb") as file:
                file.write(b"thawed")
            until(lambda: os.path.exists(changes.at("thawed")))
            print("thawed, it was back after %.1f s" % (time.monotonic() - start))
            assert changes.wrong() == []
            reader.seek(0)
            assert reader.read() == content["red/read"]
            assert os.pwrite(writer.fileno(), b"again", 0) == 5
            changes.may["red/written"] = [b"again" + data[5:] for data in changes.may["red/written"]]
        assert changes.wrong() == []
        mrmr.run("sync", code=(0, 3))
        assert changes.wrong() == []
        m.stop()
        m.start()
        assert changes.wrong() == []
        mrmr.run("scrub", code=(0, 3))


def test_killed_while_a_create_hangs(mrmr, tmp_path):
    """What is created on a drive that is frozen is given up, and created elsewhere when it is tried again. The mount is killed, and then the drive
    is thawed, by which the first one is made after all, empty: it does not hide the other one."""
    need_fuse()
    need_loops()
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        drives = {name: make(name, "ext4", 48) for name in ("red", "green")}
        for drive in drives.values():
            mrmr.run("add-drive", drive.root)
        mrmr.run("set", "drive-timeout", "1")
        m = mount()
        (m.point / "probe").write_bytes(b"")
        root = drives[os.getxattr(m.point / "probe", "user.mrmr.drive").decode()].root
        with frozen(root) as thaw:
            with pytest.raises(OSError):
                (m.point / "new").touch(exist_ok=False)
            with open(m.point / "new", "xb") as file:
                file.write(b"precious")
            assert not os.path.exists(os.path.join(root, "new"))
            m.process.kill()
            thaw()
            m.process.wait(60)
        assert os.path.getsize(os.path.join(root, "new")) == 0, "it did not come late"
        m.start()
        assert (m.point / "new").read_bytes() == b"precious" and not os.path.exists(os.path.join(root, "new"))
        mrmr.run("sync", code=(0, 3))
        assert (m.point / "new").read_bytes() == b"precious"
