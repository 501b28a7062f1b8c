# SPDX-License-Identifier: GPL-3.0-or-later
"""A drive whose file system has no inode numbers that last, as one behind FUSE: through the mount it is read, and not changed."""
import contextlib
import errno
import os
import shutil
import subprocess

import pytest

from mounts import mounts, need_fuse, until


class Reader:
    """Three drives that are folders, of which green is seen through bindfs."""

    def __init__(self, mrmr, mount, folder):
        self.mrmr, self.make_mount, self.mount, self.bindfs = mrmr, mount, None, None
        self.roots = {name: os.fspath(folder / name) for name in ("red", "green", "blue")}
        self.behind = os.fspath(folder / "behind")
        for path in [*self.roots.values(), self.behind]:
            os.mkdir(path)
        for name in ("red", "blue"):
            self.put(self.roots[name], "d/of " + name)
        for i in range(4):
            self.put(self.behind, "d/file %d" % i)
        os.mkdir(os.path.join(self.behind, "empty"))
        self.show()
        for root in self.roots.values():
            mrmr.run("add-drive", root)
        mrmr.run("sync")

    @staticmethod
    def put(root, path, data=b"as it was"):
        whole = os.path.join(root, path)
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "wb") as file:
            file.write(data)

    def start(self):
        self.mount = self.make_mount()

    def show(self):
        self.bindfs = subprocess.Popen(["bindfs", "-f", "-o", "attr_timeout=0,entry_timeout=0,negative_timeout=0", self.behind, self.roots["green"]])
        until(lambda: os.path.ismount(self.roots["green"]))

    def hide(self):
        subprocess.run(["umount", "-l", self.roots["green"]], check=True)
        self.bindfs.wait(20)

    def at(self, path):
        return os.path.join(self.mount.point, path)

    def read(self, path):
        with open(self.at(path), "rb") as file:
            return file.read()


@pytest.fixture(name="reader")
def make_reader(mrmr, tmp_path):
    need_fuse()
    if os.getuid() or not shutil.which("bindfs"):
        pytest.skip("bindfs is not installed, or this is not root")
    with mounts(mrmr, tmp_path) as mount:
        reader = Reader(mrmr, mount, tmp_path)
        try:
            yield reader
        finally:
            if reader.mount and reader.mount.process.poll() is None:
                subprocess.run(["umount", "-l", reader.mount.point], check=False)
            with contextlib.suppress(subprocess.CalledProcessError):
                reader.hide()


def test_nothing_on_it_changes(reader):
    reader.start()
    before = sorted(os.walk(reader.behind))
    refused = {
        "append": lambda: open(reader.at("d/file 0"), "ab"),
        "replace": lambda: open(reader.at("d/file 0"), "wb"),
        "truncate": lambda: os.truncate(reader.at("d/file 0"), 2),
        "chmod": lambda: os.chmod(reader.at("d/file 0"), 0o600),
        "unlink": lambda: os.unlink(reader.at("d/file 1")),
        "rename": lambda: os.rename(reader.at("d/file 1"), reader.at("d/other")),
        "rename over it": lambda: os.rename(reader.at("d/of red"), reader.at("d/file 1")),
        "rename of a folder": lambda: os.rename(reader.at("d"), reader.at("e")),
        "rmdir": lambda: os.rmdir(reader.at("empty")),
    }
    for what, call in refused.items():
        with pytest.raises(OSError) as told:
            call()
        assert told.value.errno == errno.EROFS, what
    assert sorted(os.walk(reader.behind)) == before
    assert reader.read("d/file 0") == b"as it was" and reader.read("d/of red") == b"as it was"
    for i in range(8): # what is new goes elsewhere, and can be changed as anything
        with open(reader.at("d/new %d" % i), "wb") as file:
            file.write(b"new")
    os.rename(reader.at("d/new 0"), reader.at("d/new 1"))
    os.unlink(reader.at("d/new 2"))
    assert sorted(os.walk(reader.behind)) == before
    reader.put(reader.behind, "d/made there")
    until(lambda: os.path.exists(reader.at("d/made there")))
    assert "no inode numbers that last" in reader.mount.log.read_text()


def test_what_was_removed_while_it_was_away_is_no_loss(reader):
    """Recorded by a mount that has never seen it, done by the next sync, and no cause to hold the drive."""
    reader.hide()
    reader.start()
    for i in range(4):
        os.unlink(reader.at("d/file %d" % i))
    reader.mount.stop()
    reader.show()
    reader.mrmr.run("sync")
    assert os.listdir(os.path.join(reader.behind, "d")) == []
    assert [drive["hold"] for drive in reader.mrmr.json("drives")["drives"]] == [None] * 3
