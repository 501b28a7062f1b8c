# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives that fail as a test tells them to: a folder behind a file system of ours, and a file system that is frozen. Both are well again when the
test is over, however it ends."""
import contextlib
import fcntl
import os
import subprocess
import sys

from mounts import until

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


class Faulty:
    """The folder .behind, seen at .root through fault_fs (tests/support)."""

    def __init__(self, behind, root):
        self.behind, self.root = behind, root
        for folder in (behind, root):
            os.makedirs(folder)
        self.process = subprocess.Popen([os.environ["MRMR_FAULT_FS"], behind, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        until(lambda: os.path.ismount(root) or self.process.poll() is not None)
        assert self.process.poll() is None

    def tell(self, what):
        """The fault, and a pattern of paths; gives how many calls the one before befell."""
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self):
        """It unmounts itself."""
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@contextlib.contextmanager
def faulty(folder, root):
    drive = Faulty(folder, root)
    try:
        yield drive
    finally:
        drive.end()


# Not a child of the test, so that what ends the test and its children leaves it alone.
THAWER = """if True:
    import fcntl, os, select, sys
    root = os.open(sys.argv[1], os.O_RDONLY)
    print("ready", flush=True)
    select.select([0], [], [], 100)
    try:
        fcntl.ioctl(root, %d, 0)
    except OSError:
        pass # it is thawed already
    """ % FITHAW


@contextlib.contextmanager
def frozen(root):
    """A file system that can be read and whose writers wait, in the kernel, where no signal ends them; yields a function that thaws it. It is
    thawed at the end in any case, also when this process is killed, and after 100 s."""
    thawer = subprocess.Popen(["setsid", "--fork", sys.executable, "-c", THAWER, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert thawer.stdout.readline() == "ready\n"
    folder = os.open(root, os.O_RDONLY)

    def thaw():
        if not thawer.stdin.closed:
            fcntl.ioctl(folder, FITHAW, 0)
            thawer.stdin.close()
            assert thawer.stdout.read() == "" # it has ended, and holds nothing open
    try:
        fcntl.ioctl(folder, FIFREEZE, 0)
        yield thaw
    finally:
        thaw()
        os.close(folder)
        thawer.stdout.close()
        thawer.wait(20)
