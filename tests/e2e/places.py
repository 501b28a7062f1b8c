# SPDX-License-Identifier: GPL-3.0-or-later
"""Where tests write: the mount of a pool on loop-mounted drives. With MRMR_PLACE=ext4 it is a plain file system instead,
on which whatever the tests expect must hold, too: that tries the tests, not the mount."""
import contextlib
import os
import pathlib
import threading

from loops import loops, need_loops
from mounts import mounts, need_fuse
from some import ALL

PLAIN = os.environ.get("MRMR_PLACE", "mount") == "ext4"
MEGABYTES = {"ext4": 192, "xfs": 320, "btrfs": 256}


class Place:
    """.point is where to write. What concerns the pool does nothing on a plain file system."""

    def __init__(self, mrmr, folder, make, mount):
        self.mrmr, self.folder, self.make, self.make_mount = mrmr, pathlib.Path(folder), make, mount
        self.drives, self.mount, self.point = {}, None, None

    def add(self, name, fs, megabytes=None):
        """A drive more, in the pool."""
        self.drives[name] = self.make(name, fs, megabytes or MEGABYTES[fs])
        if not PLAIN:
            self.mrmr.run("add-drive", self.drives[name].root)
        return self.drives[name].root

    def start(self, *options):
        if PLAIN:
            self.point = pathlib.Path(next(iter(self.drives.values())).root) / "plain"
            self.point.mkdir()
            return self
        self.mount = self.make_mount("m", *options)
        self.point = self.mount.point
        return self

    def at(self, *path):
        return os.path.join(self.point, *path)

    def run(self, *args, code=0):
        """A command on the pool."""
        return None if PLAIN else self.mrmr.run(*args, code=code)

    def drive_of(self, path):
        return None if PLAIN else os.getxattr(self.at(path), "user.mrmr.drive").decode()

    def check_all(self):
        """All is protected, all that is protected is whole, and nothing needs a look."""
        for command in ("sync", "scrub", "status"):
            self.run(command)

    @contextlib.contextmanager
    def syncing(self):
        """Sync runs again and again as long as this lasts, with pauses, unless all is to be tried. Files change meanwhile, so it may
        leave some for later: 3."""
        stop, failed, runs = threading.Event(), [], []

        def sync():
            while not stop.is_set() and not failed:
                try:
                    self.run("sync", code=(0, 3))
                    runs.append(1)
                except BaseException as error: # pylint: disable=broad-except; it is raised where it is seen
                    failed.append(error)
                if PLAIN:
                    return
                stop.wait(0 if ALL else 0.2)
        thread = threading.Thread(target=sync)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if failed:
            raise failed[0]
        print("%d syncs ran at the side" % len(runs))


@contextlib.contextmanager
def places(mrmr, folder):
    """Yields a place without drives; whatever is mounted for it is unmounted at the end, also after a failure."""
    need_loops()
    if not PLAIN:
        need_fuse()
    with loops(folder) as make, mounts(mrmr, folder) as mount:
        yield Place(mrmr, folder, make, mount)
