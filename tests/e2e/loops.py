# SPDX-License-Identifier: GPL-3.0-or-later
"""Real file systems for tests: loop-mounted images, or memory, made and taken down by whoever asks for them."""
import contextlib
import os
import shutil
import subprocess

import pytest

MKFS = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-m", "0"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}


def need_loops():
    """Skip the test where loop mounts cannot be made; root and the mkfs programs are what it takes."""
    if os.geteuid() != 0:
        pytest.skip("loop mounts need root")
    missing = [cmd[0] for cmd in MKFS.values() if not shutil.which(cmd[0])]
    if missing:
        pytest.skip("not installed: " + ", ".join(missing))
    if subprocess.run(["losetup", "-f"], capture_output=True).returncode != 0:
        pytest.skip("this system has no free loop device")


class Loop:
    """An image with a file system on it, or a tmpfs without one, mounted at .root."""

    def __init__(self, folder, name, fs, megabytes):
        self.image = os.path.join(folder, name + ".img")
        self.root = os.path.join(folder, name)
        self.name, self.fs, self.mounted = name, fs, False
        os.makedirs(self.root)
        if fs == "tmpfs":
            subprocess.run(["mount", "-t", fs, "-o", "size=%dm" % megabytes, fs, self.root], check=True)
            self.mounted = True
            return
        with open(self.image, "wb") as image:
            image.truncate(megabytes << 20)
        subprocess.run(MKFS[fs] + [self.image], check=True, capture_output=True)
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.image, self.root], check=True)
        self.mounted = True

    def umount(self):
        if self.mounted:
            subprocess.run(["umount", self.root], check=True)
            self.mounted = False

    def destroy(self):
        """The medium is gone for good."""
        self.umount()
        os.unlink(self.image)


@contextlib.contextmanager
def loops(folder):
    """Yields make(name, fs, megabytes); whatever was mounted is unmounted at the end, also after a failure."""
    made = []

    def make(name, fs, megabytes):
        loop = Loop(str(folder), name, fs, megabytes)
        made.append(loop)
        return loop

    try:
        yield make
    finally:
        for loop in made:
            if loop.mounted:
                subprocess.run(["umount", "-l", loop.root])
