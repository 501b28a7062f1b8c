# SPDX-License-Identifier: GPL-3.0-or-later
"""Real mounts for tests, taken down by whoever asked for them, whatever happens."""
import contextlib
import os
import shutil
import subprocess
import time

import pytest
from stuck import stuck


def need_fuse():
    if os.geteuid() != 0:
        pytest.skip("mounting in a test needs root")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("this system has no /dev/fuse")
    if not shutil.which("fusermount3"):
        pytest.skip("fusermount3 is not installed")


def until(ask, seconds=60):
    """What ask() gives once it is true; it is asked again and again, and must come to be true."""
    end = time.monotonic() + seconds
    while True:
        got = ask()
        if got:
            return got
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


def is_mounted(point):
    point = os.fspath(point).replace(" ", "\\040")
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
        return any(line.split()[1] == point and line.split()[2] == "fuse.mrmr" for line in mounts)


class Mount:
    """A pool mounted at .point by a process of its own, in the foreground."""

    def __init__(self, mrmr, point):
        self.mrmr, self.point, self.process, self.log = mrmr, point, None, []

    def start(self, *options):
        """Without a daemon, whose worker would do what a test does itself, unless the options say `daemon`."""
        options = list(options) if "-o" in options else [*options, "-o", "nodaemon"]
        at = options.index("-o") + 1
        if not {"daemon", "nodaemon"} & set(options[at].split(",")):
            options[at] += ",nodaemon"
        with contextlib.suppress(FileExistsError): # a dead mount may be there
            os.mkdir(self.point)
        path = self.point.parent / (self.point.name + ".log")
        with open(path, "ab") as log:
            self.process = self.mrmr.start("mount", "-f", *options, self.point, stderr=log)
        self.log = path
        until(lambda: self.answers() or self.process.poll() is not None)
        assert self.process.poll() is None, path.read_text()
        return self

    def answers(self):
        try:
            os.statvfs(self.point) # a dead mount's attributes may still be the kernel's own
            return os.stat(self.point).st_ino == 1 and is_mounted(self.point)
        except OSError:
            return False

    def stop(self):
        subprocess.run(["umount", self.point], check=True)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError("it was unmounted a minute ago, and is there still:\n%s\n%s" % (stuck(self.process.pid), self.log.read_text())) from None
        assert code == 0, self.log.read_text()
        assert "writing device" not in self.log.read_text(), "the kernel was told of something by a descriptor that is closed"

    def kill(self):
        """The process dies; the mount is left dead."""
        self.process.kill()
        self.process.wait(60)


def sources(mount):
    """How many sources of events of each kind its process has open."""
    found, folder = {}, "/proc/%d/fd" % mount.process.pid
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            leads_to = os.readlink(os.path.join(folder, fd)).replace("[", "").replace("]", "")
            if leads_to in ("anon_inode:fanotify", "anon_inode:inotify"):
                found[leads_to[11:]] = found.get(leads_to[11:], 0) + 1
    return found


@contextlib.contextmanager
def mounts(mrmr, folder):
    """Yields mount(name="m", *options); each is unmounted at the end, also after a failure."""
    made = []

    def mount(name="m", *options):
        one = Mount(mrmr, folder / name)
        made.append(one)
        return one.start(*options)

    try:
        yield mount
    finally:
        for one in made:
            subprocess.run(["umount", "-l", one.point], capture_output=True)
            try:
                one.process.wait(20)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait(20)
