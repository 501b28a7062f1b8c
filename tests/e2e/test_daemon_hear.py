# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon hears of what is changed directly on drives, where no mount is there: told of by fanotify or by inotify."""
import contextlib
import fcntl
import os
import pathlib
import select
import shutil
import subprocess
import time

import pytest

from daemons import DRIVES, Daemon, none_is_left, put, safe, stand_still # noqa: F401: fixtures
from faults import faulty
from loops import loops, need_loops
from mounts import mounts, need_fuse, sources, until
from test_mount_watch import limit


class Heard:
    """What each of these hears."""

    def __init__(self, *hearings):
        self.hearings = hearings

    def counts(self):
        return [hearing.count() for hearing in self.hearings]

    def is_quiet(self, seconds=1.0):
        """For longer than it keeps a word back."""
        before, end = self.counts(), time.monotonic() + seconds
        while time.monotonic() < end:
            if self.counts() != before:
                return False
            time.sleep(0.05)
        return True

    def hears(self, change):
        before = self.counts()
        change()
        until(lambda: all(now > was for now, was in zip(self.counts(), before)))
        until(lambda: self.is_quiet(0.6))

    def ignores(self, *changes):
        until(self.is_quiet)
        for change in changes:
            change()
        assert self.is_quiet(), [hearing.lines() for hearing in self.hearings]


class Hearing(Heard):
    """`mrmr daemon-hear`, as the daemon runs it."""

    def __init__(self, mrmr, log, **how):
        super().__init__(self)
        self.log = pathlib.Path(log)
        with open(log, "wb") as file:
            self.process = mrmr.start("daemon-hear", stderr=file, **how)

    def lines(self):
        return self.log.read_text(errors="replace").splitlines()

    def count(self):
        return self.lines().count("mrmr: changed")

    def said(self):
        """But that."""
        return [line for line in self.lines() if line != "mrmr: changed"]

    def sources(self):
        return sources(self)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0, self.lines()


@contextlib.contextmanager
def hearings(mrmr, source=None, drives=len(DRIVES)):
    """Of the source that is wanted: inotify is what is left where no more fanotify groups are to be had."""
    made = None
    try:
        with limit("fanotify/max_user_groups", 0) if source == "inotify" else contextlib.nullcontext():
            made = Hearing(mrmr, mrmr.folder / ("hear %s.log" % source))
            until(made.count)
            until(made.is_quiet)
        if source:
            assert made.sources().get("fanotify", 0) == (drives if source == "fanotify" else 0)
        yield made
        made.stop()
    finally:
        if made and made.process.poll() is None:
            made.process.kill()
            made.process.wait(60)


@pytest.fixture(name="source", params=["fanotify", "inotify"])
def make_source(request):
    if os.geteuid() != 0:
        pytest.skip("fanotify, and the system's limits, are root's")
    return request.param


# --- what is heard ---


def test_what_is_a_change(mrmr):
    """Whatever people do in whichever folder, also in one that was made, or moved, a moment ago; and nothing else. By either source."""
    if os.geteuid() != 0:
        pytest.skip("fanotify, and the system's limits, are root's")
    mrmr.build(DRIVES)
    red = mrmr.drive("red")
    (red / "deep/er/est").mkdir(parents=True)
    with hearings(mrmr, "fanotify") as one, hearings(mrmr, "inotify") as other:
        hear = Heard(one, other)
        def write():
            with open(red / "of-red/file 0.bin", "r+b") as file:
                file.write(b"other")
        hear.hears(write)
        hear.hears(lambda: os.chmod(red / "of-red/file 1.bin", 0o600))
        hear.hears(lambda: os.unlink(red / "of-red/file 2.bin"))
        hear.hears(lambda: (red / "#12").write_bytes(b"a name that files without one have"))
        hear.hears(lambda: (red / "#12").write_bytes(b"it is one all the same"))
        hear.hears(lambda: os.rename(red / "of-red", red / "moved"))
        hear.hears(lambda: (red / "moved/new").write_bytes(b"in what was moved"))
        hear.hears(lambda: (red / "deep/er/est/new").write_bytes(b"deep"))
        hear.hears(lambda: (red / "a/b/c/d").mkdir(parents=True))
        hear.hears(lambda: (red / "a/b/c/d/new").write_bytes(b"in what was made"))
        hear.hears(lambda: os.rename(red / "a/b", red / "b"))
        hear.hears(lambda: (red / "b/c/d/new").write_bytes(b"in what was moved with what it was in"))
        hear.hears(lambda: shutil.rmtree(red / "b"))
        hear.hears(lambda: (red / "b/c/d").mkdir(parents=True))
        hear.hears(lambda: (red / "b/c/d/new").write_bytes(b"again"))
        hear.ignores( # what is ours, what people are not asked about, and who only looks
            lambda: (red / ".mrmr/some").write_bytes(b"ours"),
            lambda: (red / ".Trash-0").mkdir(),
            lambda: (red / ".Trash-0/of-red").mkdir(),
            lambda: (red / "moved/file 3.bin").read_bytes(),
            lambda: subprocess.run(["touch", "-a", "-c", red / "moved/file 3.bin"], check=True))
        hear.ignores(*[lambda command=command: mrmr.run(command, code=None)
                       for command in ("status", "drives", "daemon-look", "check", "sync", "scrub")])
        assert not one.said() and not other.said()


def test_a_burst(mrmr, source):
    """Is one change, or one now and then while it lasts."""
    mrmr.build(DRIVES)
    with hearings(mrmr, source) as hear:
        before, begun = hear.count(), time.monotonic()
        for i in range(300):
            folder = mrmr.drive("red") / ("%d" % (i % 7))
            folder.mkdir(exist_ok=True)
            (folder / ("%d" % i)).write_bytes(b"burst")
        until(hear.is_quiet)
        took = time.monotonic() - begun
        assert 1 <= hear.count() - before <= 2 + 4 * took, (hear.lines(), took)


def test_no_more_watches(mrmr):
    """Said once; and what is changed then is not heard of, but nothing ends by that."""
    if os.geteuid() != 0:
        pytest.skip("the system's limits are root's")
    mrmr.build(("red", "green"))
    with limit("fanotify/max_user_groups", 0), limit("inotify/max_user_watches", 0):
        with hearings(mrmr) as hear:
            assert len([line for line in hear.said() if "fs.inotify.max_user_watches" in line]) == 2, hear.lines()
            hear.ignores(lambda: put(mrmr, "red", "new"))
            (mrmr.drive("red") / "folder").mkdir()
            assert hear.is_quiet() and len(hear.said()) == 2, hear.lines()


def folders(top, n):
    os.mkdir(top)
    for i in range(n):
        os.mkdir("%s/%d" % (top, i))


def watches(process):
    """That it has of the system's, by inotify."""
    texts = [path.read_text() for path in pathlib.Path("/proc/%d/fdinfo" % process.pid).iterdir()]
    return sum(text.count("inotify wd:") for text in texts)


def test_half_of_the_watches(mrmr):
    """Are left to others, whichever drives the folders are on; those that are watched already are so again when all is looked through."""
    if os.geteuid() != 0:
        pytest.skip("the system's limits are root's")
    mrmr.build(("red", "green"))
    for name in ("red", "green"):
        folders(mrmr.drive(name) / "a", 700)
    with limit("fanotify/max_user_groups", 0), limit("inotify/max_user_watches", 2000):
        with hearings(mrmr) as hear:
            until(hear.said)
            until(lambda: watches(hear.process) >= 1000)
            until(hear.is_quiet)
            assert watches(hear.process) in (1000, 1001, 1002), hear.lines() # some of the pool's folder
            assert "fs.inotify.max_user_watches" in hear.said()[0], hear.lines()
            shutil.rmtree(mrmr.drive("red") / "a")
            until(lambda: watches(hear.process) < 800)
            hear.hears(lambda: folders(mrmr.drive("green") / "b", 100))
            hear.hears(lambda: (mrmr.drive("green") / "b/99/new").write_bytes(b"there is room for it"))


def test_more_folders_than_are_followed(mrmr):
    """100,000 of a drive are, and not fewer; and it is this bound that is told of."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    mrmr.build(("green", "blue"))
    red = mrmr.folder / "red"
    red.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", red], check=True)
    try:
        mrmr.run("add-drive", red)
        folders(red / "a", 60_000)
        folders(red / "b", 45_000)
        with hearings(mrmr) as hear:
            until(hear.said)
            assert "in 100000 of its folders" in hear.said()[0] and "max_user_watches" not in hear.said()[0], hear.said()
    finally:
        subprocess.run(["umount", "-l", red], check=True)


# --- drives that go, and come back ---


def test_drives_that_go_and_come_back(mrmr):
    """As a folder that is renamed; each is a change, and what is changed then is heard of as before. Nobody hears of another drive in its place."""
    mrmr.build(DRIVES)
    red, away = mrmr.drive("red"), mrmr.folder / "away"
    with hearings(mrmr) as hear:
        hear.hears(lambda: os.rename(red, away))
        hear.ignores(lambda: (away / "new").write_bytes(b"while it is away"))
        hear.hears(lambda: os.rename(away, red))
        hear.hears(lambda: (red / "newer").write_bytes(b"back"))
        hear.hears(lambda: os.rename(red, away))
        red.mkdir()
        hear.ignores(lambda: (red / "new").write_bytes(b"no drive"))
        assert not hear.said()


def test_above_what_is_hidden(mrmr):
    """What is mounted where the drive is, but below what is mounted over a folder above, says nothing of it."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    mrmr.build(("green", "blue"))
    above = mrmr.folder / "above"
    with contextlib.ExitStack() as stack:
        for at in (above / "red", above):
            at.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "none", at], check=True)
            stack.callback(subprocess.run, ["umount", "-l", at], check=True)
        (above / "red").mkdir()
        mrmr.run("add-drive", above / "red")
        with hearings(mrmr) as hear:
            assert hear.is_quiet(5), hear.lines() # longer than a drive that went is waited for
            hear.hears(lambda: (above / "red/new").write_bytes(b"there"))
            subprocess.run(["mount", "-t", "tmpfs", "none", above / "red"], check=True)
            until(hear.is_quiet)
            hear.hears(lambda: subprocess.run(["umount", above / "red"], check=True))
            hear.hears(lambda: subprocess.run(["umount", above], check=True)) # what was hidden is there now
            subprocess.run(["mount", "-t", "tmpfs", "none", above], check=True)


@contextlib.contextmanager
def automount(point):
    """Gives what can be read when somebody looks there while nothing is mounted, but for us and what we start: we are who would mount it. Whoever looks waits until this ends."""
    asked, tell = os.pipe()
    try:
        options = "fd=%d,pgrp=%d,minproto=5,maxproto=5,direct" % (tell, os.getpgrp())
        subprocess.run(["mount", "-i", "-t", "autofs", "-o", options, "none", point], check=True, pass_fds=[tell])
        try:
            yield asked
        finally:
            subprocess.run(["umount", "-l", point], check=True)
    finally:
        os.close(asked)
        os.close(tell)


@pytest.fixture(name="lying")
def make_lying(tmp_path):
    need_loops()
    with loops(tmp_path) as make:
        yield make


def test_an_automount(mrmr, lying, source):
    """What the system unmounted, since nobody used it, is not mounted for us: it is no change, and what is there is followed once somebody else has it mounted."""
    if "autofs" not in pathlib.Path("/proc/filesystems").read_text():
        pytest.skip("the kernel has no autofs")
    red = lying("red", "ext4", 64)
    mrmr.run("add-drive", red.root)
    mrmr.build(("green", "blue"))
    red.umount()
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(automount(red.root))
        red.mount()
        stack.callback(red.umount)
        with limit("fanotify/max_user_groups", 0) if source == "inotify" else contextlib.nullcontext():
            hear = Hearing(mrmr, mrmr.folder / "hear.log", start_new_session=True)
            stack.callback(hear.process.wait, 60)
            stack.callback(hear.process.kill)
            until(hear.count)
            until(hear.is_quiet)
            hear.hears(lambda: (pathlib.Path(red.root) / "new").write_bytes(b"there"))
            before = hear.count()
            red.umount()
            assert not select.select([asked], [], [], 5)[0] # longer than a drive that went is waited for
            assert hear.count() == before
            hear.hears(red.mount)
            hear.hears(lambda: (pathlib.Path(red.root) / "newer").write_bytes(b"back"))
        hear.stop()


def test_an_unmounted_drive(mrmr, lying, source):
    """A drive can be unmounted while it is followed, without a word to anybody; what was changed on it elsewhere is protected soon after it is back."""
    red = lying("red", "ext4", 64)
    mrmr.run("add-drive", red.root)
    mrmr.build(("green", "blue"))
    with limit("fanotify/max_user_groups", 0) if source == "inotify" else contextlib.nullcontext():
        daemon = Daemon(mrmr)
        until(daemon.hearing)
        mrmr.run("set", "settle", "0")
        until(lambda: daemon.hearing() and not daemon.children() and mrmr.json("status")["daemon"]["does"] == "")
        put(mrmr, "green", "first")
        until(lambda: safe(mrmr, "first"))
        until(lambda: subprocess.run(["umount", red.root], capture_output=True).returncode == 0, 20) # a sync or a look may be under way
        red.mounted = False
        elsewhere = mrmr.folder / "elsewhere"
        elsewhere.mkdir()
        subprocess.run(["mount", "-o", "loop", red.image, elsewhere], check=True)
        try:
            (elsewhere / "new").write_bytes(os.urandom(100_000))
        finally:
            subprocess.run(["umount", elsewhere], check=True)
        red.mount()
        until(lambda: safe(mrmr, "new"))
        (pathlib.Path(red.root) / "newer").write_bytes(os.urandom(100_000))
        until(lambda: safe(mrmr, "newer"))
        daemon.stop()
    red.umount()


def test_a_detached_drive(mrmr, lying):
    """It can be unmounted at once, however many folders there are to look through, and is followed again when it is attached."""
    red = lying("red", "ext4", 64)
    mrmr.run("add-drive", red.root)
    mrmr.build(("green", "blue"))
    for i in range(2000):
        (pathlib.Path(red.root) / ("folder %d" % i)).mkdir()
    mrmr.run("sync")
    daemon = Daemon(mrmr)
    mrmr.run("set", "settle", "0")
    for i in range(3):
        first = until(daemon.hearing) # it has just begun
        mrmr.run("detach", "red")
        red.umount()
        assert daemon.hearing() != first
        red.mount()
        mrmr.run("attach", "red", code=None)
        (pathlib.Path(red.root) / ("new %d" % i)).write_bytes(os.urandom(100_000))
        until(lambda i=i: safe(mrmr, "new %d" % i))
    daemon.stop()


# --- beside a daemon ---


def test_it_hangs(mrmr):
    """As with a drive, whatever it waits for: who detaches a drive does not wait for that for long, and another one takes its place; that is said once."""
    mrmr.build(DRIVES)
    mrmr.run("set", "settle", "0")
    daemon = Daemon(mrmr)
    for _ in range(2):
        hung = until(daemon.hearing)
        stand_still(hung)
        mrmr.run("detach", "red")
        until(lambda hung=hung: daemon.hearing() not in (None, hung))
        assert not os.path.exists("/proc/%d" % hung)
        mrmr.run("attach", "red", code=None)
    put(mrmr, "red", "new")
    until(lambda: safe(mrmr, "new"))
    daemon.stop()
    assert daemon.log.read_text().count("hearing of changes hangs") == 1


def test_a_drive_hangs_when_a_mount_begins(mrmr):
    """The others are let go of all the same, and followed again when the mount has ended; which drive it is is said, and of no other."""
    need_fuse()
    with faulty(mrmr.folder / "behind", mrmr.folder / "red") as red:
        mrmr.run("add-drive", red.root) # its end is waited for first
        mrmr.build(("green", "blue"))
        red.tell("hang *")
        hear = Hearing(mrmr, mrmr.folder / "hear.log")
        try:
            until(hear.count)
            hear.hears(lambda: put(mrmr, "green", "new"))
            with open(mrmr.dir / "mounted", "ab") as mounted:
                fcntl.lockf(mounted, fcntl.LOCK_EX) # as a mount that begins
                mounted.write(b"x")
                mounted.flush()
                until(lambda: sum(hear.sources().values()) == 1) # of the pool's folder
                hear.ignores(lambda: put(mrmr, "green", "newer"))
            until(lambda: sum(hear.sources().values()) == 3)
            hear.hears(lambda: put(mrmr, "green", "newest"))
            hangs = [line for line in hear.said() if "hangs" in line]
            assert hangs and all("drive red" in line for line in hangs), hear.lines()
        finally:
            hear.process.kill()
            red.tell("well *") # in the kernel it waits for that
            hear.process.wait(60)


def test_no_mount_is_there(mrmr):
    """What is changed on a drive is protected soon, and what is done to folders is known; no scan was due."""
    mrmr.build(DRIVES)
    mrmr.run("set", "settle", "0")
    daemon = Daemon(mrmr)
    put(mrmr, "red", "first")
    until(lambda: safe(mrmr, "first"))
    (mrmr.drive("blue") / "new/folder").mkdir(parents=True)
    put(mrmr, "blue", "new/folder/file")
    until(lambda: safe(mrmr, "new/folder/file"))
    os.rename(mrmr.drive("blue") / "new", mrmr.drive("blue") / "moved")
    put(mrmr, "blue", "moved/folder/another")
    until(lambda: safe(mrmr, "moved/folder/another"))
    hearing = daemon.hearing()
    daemon.stop()
    assert not os.path.exists("/proc/%d" % hearing)


def test_a_drive_that_is_added(mrmr):
    mrmr.build(DRIVES)
    mrmr.run("set", "settle", "0")
    daemon = Daemon(mrmr)
    until(daemon.hearing)
    mrmr.drive("new").mkdir()
    mrmr.run("add-drive", mrmr.drive("new"))
    put(mrmr, "new", "file")
    until(lambda: safe(mrmr, "file"))
    put(mrmr, "new", "another")
    until(lambda: safe(mrmr, "another"))
    daemon.stop()


def test_a_mount_begins_and_ends(mrmr):
    """It stops while one is there, and begins anew when that has ended, or was killed."""
    need_fuse()
    mrmr.build(DRIVES)
    mrmr.run("set", "settle", "0")
    daemon = Daemon(mrmr)

    def follows(drives):
        """The pool's folder is watched in any case."""
        found = sources(type("process", (), {"process": type("pid", (), {"pid": until(daemon.hearing)})}))
        return sum(found.values()) == 1 + drives
    until(lambda: follows(len(DRIVES)))
    with mounts(mrmr, mrmr.folder) as mount:
        for end in ("stop", "kill"):
            one = mount("m")
            until(lambda: follows(0))
            getattr(one, end)()
            until(lambda: follows(len(DRIVES)))
            subprocess.run(["umount", "-l", one.point], capture_output=True)
            put(mrmr, "green", "after " + end)
            until(lambda end=end: safe(mrmr, "after " + end))
    daemon.stop()


def test_what_ends_with_the_daemon(mrmr):
    """However that ends."""
    mrmr.build(DRIVES)
    daemon = Daemon(mrmr)
    hearing = until(daemon.hearing)
    daemon.process.kill()
    daemon.process.wait(60)
    until(lambda: not os.path.exists("/proc/%d" % hearing))
