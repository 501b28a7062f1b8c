# SPDX-License-Identifier: GPL-3.0-or-later
"""The mount on a drive without a byte or an inode left: people delete to make room, and nobody else's file suffers (I3)."""
import contextlib
import errno
import os
import pathlib
import shutil
import subprocess
import time

import pytest

from loops import loops, need_loops
from mounts import mounts, need_fuse
from seeded import Seeded
from some import some

MIB = 1 << 20
SIZES = {"ext4": 64, "xfs": 320, "btrfs": 128}


def fill_up(root, inodes=True):
    """No byte and no inode is left, not for root either. Most of the room is only reserved: that costs no page."""
    hidden = pathlib.Path(root) / "filler"
    hidden.mkdir(exist_ok=True)
    for _ in range(4): # what one file system frees when it writes out, it says later
        with open(hidden / "bytes", "ab", buffering=0) as file:
            step = 64 * MIB
            while step >= 256:
                try:
                    if step > MIB:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
                    else:
                        file.write(bytes(step))
                        os.fsync(file.fileno())
                except OSError as e:
                    assert e.errno == errno.ENOSPC
                    step //= 2
        subprocess.run(["sync", "-f", root], check=True)
    if not inodes:
        return
    with contextlib.suppress(OSError):
        for i in range(1000000):
            (hidden / ("inode %d" % (i + time.monotonic_ns()))).touch()
    with pytest.raises(OSError):
        (hidden / ("x" * 200)).symlink_to("y" * 200)


class World:
    def __init__(self, mrmr, make, fs, rng):
        self.mrmr, self.fs, self.content, self.drives = mrmr, fs, {}, {}
        for name in ("full", "b", "c", "d"):
            self.drives[name] = drive = make(name, fs if name == "full" else "ext4", SIZES[fs] if name == "full" else 64)
            os.makedirs(os.path.join(drive.root, name))
            for i in range(6):
                self.put(name, i, rng.randbytes(rng.randrange(1, 3 * MIB // 2)))
            mrmr.run("add-drive", drive.root)
        mrmr.run("set", "block-size", "1M")
        mrmr.run("set", "exclude", "filler:lost+found")
        mrmr.run("sync")
        # btrfs without room for metadata renames nothing: there only the room for bytes is taken
        fill_up(self.drives["full"].root, fs != "btrfs")

    def put(self, name, number, data):
        path = "%s/%d" % (name, number)
        with open(os.path.join(self.drives[name].root, path), "wb") as file:
            file.write(data)
        self.content[path] = data

    def all_there(self, root):
        wrong = []
        for path, data in self.content.items():
            with open(os.path.join(root, path), "rb") as file:
                if file.read() != data:
                    wrong.append(path)
        assert wrong == []

    def each_away(self, mount):
        """With any one drive away, every file of it is read all the same: the full one and, of the others, one by chance."""
        full, *others = self.drives.values()
        for drive in [full] + some(others, 1):
            print("away: " + drive.name)
            drive.umount()
            one = mount("less")
            self.all_there(one.point)
            one.stop()
            drive.mount()


@pytest.fixture(name="seeded")
def make_seeded():
    need_fuse()
    need_loops()
    seed = int(os.environ.get("MRMR_SEED", time.time_ns() % 2**32))
    print("seed of mount full: %d" % seed)
    return Seeded(seed)


@contextlib.contextmanager
def world_of(mrmr, folder, fs, rng):
    with loops(folder) as make, mounts(mrmr, folder) as mount:
        yield World(mrmr, make, fs, rng), mount


@pytest.mark.parametrize("fs", some(SIZES, 2))
def test_removed_from_a_full_drive(mrmr, tmp_path, seeded, fs):
    with world_of(mrmr, tmp_path, fs, seeded) as (world, mount):
        one = mount()
        at = lambda path: os.path.join(one.point, path)
        data = seeded.randbytes(5000)

        os.unlink(at("full/0"))
        del world.content["full/0"]

        with open(at("full/1"), "r+b") as file: # it goes to a drive with room
            file.seek(100)
            file.write(data)
        world.content["full/1"] = (lambda was: was[:100] + data + was[100 + len(data):])(world.content["full/1"])

        os.truncate(at("full/2"), 10)
        world.content["full/2"] = world.content["full/2"][:10]

        with open(at("full/3"), "wb") as file: # cut to nothing, and anew
            file.write(data)
        world.content["full/3"] = data

        os.rename(at("full/4"), at("full/5"))
        world.content["full/5"] = world.content.pop("full/4")

        world.all_there(one.point)
        one.stop()
        # What is not synced yet is on the drives that it went to; of what was there nobody else's bytes are lost.
        others = {path: data for path, data in world.content.items() if not path.startswith("full/")}
        changed, world.content = world.content, others
        world.each_away(mount)
        world.content = changed
        mrmr.run("sync", code=(0, 3))
        mrmr.run("sync")
        world.each_away(mount)
        world.all_there(mount("after").point)
        kept = [name for _, _, names in os.walk(os.path.join(world.drives["full"].root, ".mrmr/retained")) for name in names]
        assert kept == []
        assert mrmr.run("status").returncode == 0


def test_many_removed_from_a_full_drive(mrmr, tmp_path, seeded):
    """More than one block of names and of pointers; and what lies there afterwards is found by a sync."""
    with world_of(mrmr, tmp_path, "ext4", seeded) as (world, mount):
        full = world.drives["full"]
        (pathlib.Path(full.root) / "filler/bytes").unlink()
        for i in range(100, 700):
            world.put("full", i, seeded.randbytes(seeded.randrange(1, 9000)))
        for name in ("b", "c", "d"): # so that they share stripes
            world.put(name, 100, seeded.randbytes(5 * MIB // 2))
        mrmr.run("sync")
        fill_up(full.root)
        one = mount()
        for i in range(100, 700):
            os.unlink(os.path.join(one.point, "full/%d" % i))
            del world.content["full/%d" % i]
        one.stop()
        assert os.stat(os.path.join(full.root, ".mrmr/pointers")).st_size > 600 * 48
        world.each_away(mount)
        mrmr.run("sync")
        world.each_away(mount)


def test_every_drive_is_full(mrmr, tmp_path, seeded):
    """What would need room fails as on any full disk; removing does not."""
    with world_of(mrmr, tmp_path, "ext4", seeded) as (world, mount):
        for name in ("b", "c", "d"):
            fill_up(world.drives[name].root)
        one = mount()
        with open(os.path.join(one.point, "full/1"), "r+b", buffering=0) as file:
            with pytest.raises(OSError) as failed:
                file.write(b"changed")
        assert failed.value.errno == errno.ENOSPC
        world.all_there(one.point)
        for name in world.drives:
            os.unlink(os.path.join(one.point, name, "2"))
            del world.content[name + "/2"]
        world.all_there(one.point)
        one.stop()
        mrmr.run("sync", code=(0, 3))
        world.all_there(mount("after").point)


TAKE = """
import errno, os, sys
how, path = sys.argv[1:]
try:
    fd, taken = os.open(path, os.O_RDWR | os.O_CREAT, 0o600), 0
except OSError as e:
    assert e.errno == errno.ENOSPC, e
    sys.exit()
source = os.open("../source", os.O_RDONLY) if how == "copy" else -1
step = 1 << 20
while step >= 512:
    try:
        if how == "write":
            taken += os.pwrite(fd, b"x" * step, taken)
        elif how == "allocate":
            os.posix_fallocate(fd, taken, step)
            taken += step
        else:
            taken += os.copy_file_range(source, fd, step, 0, taken)
        os.fsync(fd)
    except OSError as e:
        assert e.errno == errno.ENOSPC, e
        step //= 2
"""


@pytest.mark.parametrize("how", some(["write", "allocate", "copy"], 2))
def test_what_a_file_system_keeps_for_root(mrmr, tmp_path, seeded, how):
    """Through a mount that is root's a user takes no more of it than on the drive itself; root does."""
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        roots = []
        for name in ("a", "b"):
            drive = make(name, "ext4", 24)
            drive.umount()
            subprocess.run(["tune2fs", "-m", "30", drive.image], check=True, capture_output=True)
            drive.mount()
            roots.append(drive.root)
            mrmr.run("add-drive", drive.root)
        point = mount().point
        (point / "source").write_bytes(seeded.randbytes(MIB))
        (point / "users").mkdir(mode=0o777)
        os.chmod(point / "users", 0o777)

        def kept():
            return [os.statvfs(root).f_bfree * os.statvfs(root).f_frsize for root in roots]

        def take(path, **who):
            subprocess.run(["/usr/bin/python3", "-c", TAKE, how, path], cwd=point / "users", check=True, timeout=120, **who)

        for i in range(4): # as many as it takes: a file goes to the other drive when one is full
            take("of a user %d" % i, user=1000, group=1000, extra_groups=[])
        assert min(kept()) > 5 * MIB, kept()
        full = kept()
        if how == "write":
            with open(point / "users/of a user 0", "r+b", buffering=0) as file:
                for _ in range(4 * MIB >> 16):
                    file.seek(0, os.SEEK_END)
                    file.write(bytes(1 << 16))
            assert sum(kept()) <= sum(full) - 3 * MIB


def test_no_room_in_the_pools_folder(mrmr, tmp_path):
    """What is removed, renamed or appended is recorded there first: there is room for that, and it is said that it is
    running out; then that it has run out."""
    need_fuse()
    need_loops()
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        home = make("home", "ext4", 48)
        mrmr.dir = pathlib.Path(home.root) / "pool"
        mrmr.env["MRMR_POOL"] = os.fspath(mrmr.dir)
        mrmr.build(["a", "b", "c"], files=330, size=10)
        (mrmr.drive("b") / "of-a").mkdir() # to be renamed on both, which has a record of its own
        one = mount()
        fill_up(home.root, inodes=False)
        os.rename(one.point / "of-a", one.point / "of-it")
        os.remove(one.point / "of-it/file 0.bin")
        with open(one.point / "of-it/file 1.bin", "ab") as file:
            file.write(b"more")
        os.rename(one.point / "of-it/file 2.bin", one.point / "of-it/other")
        shutil.rmtree(one.point / "of-b")
        assert not (mrmr.drive("b") / "of-b").exists() and (mrmr.drive("a") / "of-it/other").exists()
        assert "pool's folder %s is full: make room there, while" % mrmr.dir in one.log.read_text()
        os.truncate(mrmr.dir / "spare", 0)
        fill_up(home.root, inodes=False)
        with pytest.raises(OSError) as failed:
            shutil.rmtree(one.point / "of-c")
        assert failed.value.errno == errno.ENOSPC
        assert one.log.read_text().count("make room there; until then nothing") == 1
        shutil.rmtree(pathlib.Path(home.root) / "filler")
        shutil.rmtree(one.point / "of-c")
        one.stop()
        mrmr.run("sync")
        one = mount() # it is whole again
        assert os.path.getsize(mrmr.dir / "spare") == 4 * MIB
        one.stop()
