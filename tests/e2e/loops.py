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


def devices_of(image):
    told = subprocess.run(["losetup", "-j", image, "-n", "-O", "NAME"], check=True, capture_output=True, text=True)
    return set(told.stdout.split())


class Loop:
    """An image with a file system on it, or a tmpfs without one, mounted at .root. .dead: devices of it on which it was shut down. Whoever has a copy of
    all mounts, as a test in a namespace of its own, keeps them, and `mount -o loop` takes the first that there is."""

    def __init__(self, folder, name, fs, megabytes):
        self.image = os.path.join(folder, name + ".img")
        self.root = os.path.join(folder, name)
        self.name, self.fs, self.mounted, self.dead = name, fs, False, set()
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
        self.dead &= devices_of(self.image)
        if self.dead:
            self.mount_beside()
        else:
            subprocess.run(["mount", "-o", "loop", self.image, self.root], check=True)
        self.mounted = True

    def mount_beside(self):
        alive = sorted(devices_of(self.image) - self.dead) # else it would be mounted twice
        device = alive[0] if alive else subprocess.run(["losetup", "-f", "--show", self.image], check=True, capture_output=True, text=True).stdout.strip()
        options = ["-o", "nouuid"] if self.fs == "xfs" else []
        try:
            subprocess.run(["mount", *options, device, self.root], check=True)
        finally:
            if not alive:
                subprocess.run(["losetup", "-d", device], check=True) # once it is unmounted

    def mount_anew(self):
        """The file system was shut down."""
        subprocess.run(["umount", "-l", self.root], check=True)
        self.dead |= devices_of(self.image)
        self.mount()

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
