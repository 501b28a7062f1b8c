# SPDX-License-Identifier: GPL-3.0-or-later
"""Every drive is full to the last byte: what is deleted or overwritten through the mount gives its room back, whatever else
waits, nobody else's file suffers (I3), and a write waits for that room."""
import contextlib
import errno
import fcntl
import os
import pathlib
import struct
import subprocess
import threading
import time

import pytest

from loops import loops, need_loops
from mounts import mounts, need_fuse, until
from seeded import Seeded
from some import some
from test_mount_full import fill_up

MIB = 1 << 20
NAMES = ("a", "b", "c", "d")
FILES = 8


def free(root):
    subprocess.run(["sync", "-f", root], check=True)
    st = os.statvfs(root)
    return st.f_bavail * st.f_frsize


@contextlib.contextmanager
def answering(mrmr):
    """A daemon that does nothing but release when somebody is short of room; yields the list of how those ended."""
    short, ends, stop = mrmr.dir / "short", [], threading.Event()

    def touched():
        try:
            return os.stat(short).st_mtime_ns
        except FileNotFoundError:
            return 0

    def serve(seen):
        while not stop.wait(0.02):
            now = touched()
            if now != seen:
                seen = now
                ends.append(mrmr.run("sync", "--release", code=None).returncode)

    with open(mrmr.dir / "daemon", "a+b") as lock:
        fcntl.fcntl(lock, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)) # F_OFD_SETLK
        thread = threading.Thread(target=serve, args=(touched(),))
        thread.start()
        try:
            yield ends
        finally:
            stop.set()
            thread.join()


class World:
    """Four drives of 64 MiB with protected files of 2 to 4 MiB, and no byte left on any."""

    def __init__(self, mrmr, make, rng, fs="ext4", megabytes=64):
        self.mrmr, self.rng, self.content, self.drives = mrmr, rng, {}, {}
        for name in NAMES:
            self.drives[name] = make(name, fs, megabytes)
            (pathlib.Path(self.drives[name].root) / name).mkdir()
            for i in range(FILES):
                self.put("%s/%d" % (name, i), rng.randbytes(rng.randrange(2 * MIB, 4 * MIB)))
            mrmr.run("add-drive", self.drives[name].root)
        mrmr.run("set", "block-size", "2M")
        mrmr.run("set", "exclude", "filler:lost+found")
        mrmr.run("sync")
        for name in NAMES:
            fill_up(self.drives[name].root, inodes=False)

    def put(self, path, data):
        (pathlib.Path(self.drives[path[0]].root) / path).write_bytes(data)
        self.content[path] = data

    def free(self, but=None):
        return {name: free(drive.root) for name, drive in self.drives.items() if name != but}

    def all_there(self, root, but=()):
        wrong = []
        for path, data in self.content.items():
            if path not in but and (pathlib.Path(root) / path).read_bytes() != data:
                wrong.append(path)
        assert wrong == []

    def each_away(self, mount, but=()):
        for name in some(NAMES, 2):
            self.drives[name].umount()
            one = mount("less")
            self.all_there(one.point, but)
            one.stop()
            self.drives[name].mount()

    def delete(self, root, numbers, names=NAMES):
        """How many bytes of each drive."""
        gone = dict.fromkeys(names, 0)
        for name in names:
            for i in numbers:
                path = "%s/%d" % (name, i)
                os.unlink(os.path.join(root, path))
                gone[name] += len(self.content.pop(path))
        return gone

    def retained(self, name):
        root = os.path.join(self.drives[name].root, ".mrmr/retained")
        return [name for _, _, names in os.walk(root) for name in names]


@pytest.fixture(name="worlds")
def make_worlds(mrmr, tmp_path):
    need_fuse()
    need_loops()
    seed = int(os.environ.get("MRMR_SEED", time.time_ns() % 2**32))
    print("seed of full release: %d" % seed)

    @contextlib.contextmanager
    def worlds(*of):
        with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
            yield World(mrmr, make, Seeded(seed), *of), mount
    return worlds


def test_deleted_files_give_their_room_back(mrmr, worlds):
    """Without a scan, and with nothing read but what leaves."""
    with worlds() as (world, mount):
        one = mount()
        before, gone = world.free(), world.delete(one.point, range(3))
        after = world.free()
        assert all(after[name] - before[name] < MIB for name in NAMES), "nothing was kept"
        found = mrmr.json("sync", "--release")
        assert found["stripes_waiting"] == 0 and found["released_size"] >= sum(gone.values())
        after = world.free()
        for name in NAMES: # a part of it is slack that was given away before
            assert after[name] - before[name] > gone[name] - 5 * MIB, (name, before, after, gone)
            assert world.retained(name) == []
        world.all_there(one.point)
        one.stop()
        world.each_away(mount)
        assert mrmr.json("sync", "--release")["released_size"] == 0
        mrmr.run("sync")
        world.each_away(mount)
        assert mrmr.run("status").returncode == 0


def test_again_and_again_on_btrfs(mrmr, worlds):
    """There, to write over what is allocated takes other blocks: the slack's own are of no use, and it is given away for them."""
    with worlds("btrfs", 160) as (world, mount):
        one = mount()
        for i in range(4):
            for name in NAMES:
                fill_up(world.drives[name].root, inodes=False)
            world.delete(one.point, [i], NAMES[i % 2])
            found = mrmr.json("sync", "--release", code=(0, 3))
            assert found["stripes_waiting"] == 0, (i, found)
            assert [world.retained(name) for name in NAMES] == [[]] * 4, i
        world.all_there(one.point)
        one.stop()
        world.each_away(mount)


def test_under_a_hold(mrmr, worlds):
    """Much vanished from a drive directly: that is held, and what is deleted through the mount is not."""
    with worlds() as (world, mount):
        held = {}
        for i in range(4, FILES):
            (pathlib.Path(world.drives["a"].root) / ("a/%d" % i)).unlink()
            held["a/%d" % i] = world.content.pop("a/%d" % i)
        mrmr.run("set", "hold-files", "2")
        mrmr.run("sync", code=3)
        assert "held" in mrmr.run("status", code=3).stdout
        fill_up(world.drives["a"].root, inodes=False)
        one = mount()
        before, gone = world.free(), world.delete(one.point, range(2))
        mrmr.run("sync", "--release", code=(0, 3))
        after = world.free()
        assert world.retained("a") == []
        for name in NAMES:
            assert after[name] - before[name] > gone[name] - 5 * MIB, (name, before, after, gone)
        assert "held" in mrmr.run("status", code=3).stdout
        one.stop()
        (pathlib.Path(world.drives["a"].root) / "filler/bytes").unlink()
        mrmr.run("rebuild", "a")
        world.content.update(held)
        world.all_there(mount("after").point)


def test_with_a_drive_away(mrmr, worlds):
    """What has no parity on it comes free; what has waits, and is whole when the drive is back."""
    with worlds() as (world, mount):
        world.drives["d"].umount()
        one = mount()
        before, gone = world.free("d"), world.delete(one.point, range(4), "abc")
        done = mrmr.run("sync", "--release", code=(0, 3))
        after = world.free("d")
        came = sum(after[name] - before[name] for name in "abc")
        # A file is kept whole as long as one of its leaves is in a stripe that waits: by chance that is most of them.
        assert came > 0 and (came > sum(gone.values()) / 3 or "stay for now" in done.stdout), (before, after, gone, done.stdout)
        world.all_there(one.point)
        found = mrmr.json("sync", "--release", code=(0, 3)) # and is told of, with its cause
        assert bool(found["stripes_waiting"]) == bool(found["waiting_cause"]) == bool(found["needs_look"])
        assert all(found["waiting_cause"] in look for look in found["needs_look"])
        one.stop()
        world.drives["d"].mount()
        world.each_away(mount)
        mrmr.run("sync", "--release")
        assert [world.retained(name) for name in NAMES] == [[]] * 4
        world.each_away(mount)


def change(how, at, data):
    """Something that needs room for the bytes."""
    if how == "create":
        at("new").write_bytes(data)
    elif how == "append":
        with open(at("b/7"), "ab", buffering=0) as file:
            file.write(data)
    elif how == "allocate":
        with open(at("new"), "wb") as file:
            os.posix_fallocate(file.fileno(), 0, len(data))
    else:
        with open(at("a/7"), "r+b", buffering=0) as file: # what stripes count on is kept first
            file.write(data)


@pytest.mark.parametrize("how", some(["create", "append", "allocate", "overwrite"], 2))
def test_a_write_waits_for_room(mrmr, worlds, how):
    with worlds() as (world, mount):
        one = mount()
        data = world.rng.randbytes(2 * MIB)
        gone = world.delete(one.point, range(3))
        for name in NAMES: # nothing came free by that yet
            fill_up(world.drives[name].root, inodes=False)
        began = time.monotonic()
        with pytest.raises(OSError) as failed: # there is nobody who would release it
            change(how, one.point.joinpath, data)
        assert failed.value.errno == errno.ENOSPC and time.monotonic() - began < 10
        with contextlib.suppress(FileNotFoundError):
            os.unlink(one.point / "new")
        with answering(mrmr) as ends:
            change(how, one.point.joinpath, data)
        assert ends and set(ends) <= {0, 3}
        changed = {"append": ["b/7"], "overwrite": ["a/7"]}.get(how, [])
        world.all_there(one.point, changed)
        if how == "append":
            assert (one.point / "b/7").read_bytes() == world.content["b/7"] + data
        elif how == "overwrite":
            assert (one.point / "a/7").read_bytes()[:len(data)] == data
        one.stop()
        world.each_away(mount, changed)
        print("released for a write of %d: %s of %d" % (len(data), ends, sum(gone.values())))


def test_nothing_comes(mrmr, worlds):
    """What is kept waits for the user's word on a drive that is held: a write fails when that is known, and the next one at once."""
    with worlds() as (world, mount):
        root = pathlib.Path(world.drives["a"].root)
        for i in range(4, FILES):
            (root / ("a/%d" % i)).unlink()
            del world.content["a/%d" % i]
        mrmr.run("set", "hold-files", "2")
        mrmr.run("sync", code=3)
        one = mount()
        with open(one.point / "a/0", "r+b") as file:
            file.write(bytes(MIB))
        mrmr.run("sync", "--release", code=(0, 3))
        assert world.retained("a")
        for name in NAMES:
            fill_up(world.drives[name].root, inodes=False)
        with answering(mrmr) as ends:
            for _ in range(2):
                began = time.monotonic()
                with pytest.raises(OSError) as failed:
                    (one.point / "new").write_bytes(bytes(2 * MIB))
                assert failed.value.errno == errno.ENOSPC and time.monotonic() - began < 15
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(one.point / "new")
        assert len(ends) == 1
        world.content["a/0"] = (one.point / "a/0").read_bytes()
        world.all_there(one.point)
        one.stop()
        for name in NAMES:
            (pathlib.Path(world.drives[name].root) / "filler/bytes").unlink()
        mrmr.run("sync", "--accept-changes")
        world.each_away(mount)


def test_while_others_take_all_they_can_get(mrmr, worlds):
    """Somebody writes to every drive, directly, whatever he finds free, every moment: what is deleted is released all the same, in
    the blocks of the slack."""
    with worlds() as (world, mount):
        one, stop, taken = mount(), threading.Event(), dict.fromkeys(NAMES, 0)

        def grab(name):
            with open(os.path.join(world.drives[name].root, "filler", "grabbed"), "ab", buffering=0) as file:
                while not stop.is_set():
                    try:
                        taken[name] += file.write(bytes(65536))
                    except OSError as e:
                        assert e.errno == errno.ENOSPC
                        stop.wait(0.05)

        threads = [threading.Thread(target=grab, args=(name,)) for name in NAMES]
        for thread in threads:
            thread.start()
        try:
            for round_ in range(3):
                gone = world.delete(one.point, [2 * round_, 2 * round_ + 1])
                def comes_free():
                    mrmr.run("sync", "--release", code=(0, 3))
                    return [world.retained(name) for name in NAMES] == [[]] * 4
                until(comes_free, 60) # who takes each block as it comes may be first now and then
                print(round_, gone, taken)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        world.all_there(one.point)
        one.stop()
        world.each_away(mount)
        assert sum(taken.values()) > 10 * MIB


class Doing:
    """What people and the pool do while there is no byte left; each leaves world.content as it must be after it."""

    def __init__(self, world, one):
        self.world, self.root, self.mrmr = world, one.point, world.mrmr

    def write(self):
        (self.root / "new").write_bytes(bytes(MIB))
        self.world.content["new"] = bytes(MIB)

    def overwrite(self):
        data = self.world.rng.randbytes(3 * MIB // 2)
        with open(self.root / "a/1", "r+b", buffering=0) as file:
            for at in range(0, len(data), 1 << 16):
                piece = data[at:at + (1 << 16)]
                assert file.write(piece) == len(piece)
                was = self.world.content["a/1"]
                self.world.content["a/1"] = was[:at] + piece + was[at + len(piece):]

    def truncate(self):
        os.truncate(self.root / "b/1", 100)
        self.world.content["b/1"] = self.world.content["b/1"][:100]

    def cut_to_nothing(self):
        os.truncate(self.root / "c/1", 0)
        self.world.content["c/1"] = b""

    def rename_over(self):
        os.rename(self.root / "d/1", self.root / "d/2")
        self.world.content["d/2"] = self.world.content.pop("d/1")

    def delete(self):
        self.world.delete(self.root, [3])

    def mkdir(self):
        (self.root / "folder").mkdir()

    def sync(self):
        self.mrmr.run("sync", code=(0, 3))

    def scrub(self):
        self.mrmr.run("scrub", "--repair", code=(0, 3))

    def release(self):
        self.mrmr.run("sync", "--release", code=(0, 3))


DOES = ("write", "overwrite", "truncate", "cut_to_nothing", "rename_over", "delete", "mkdir", "sync", "scrub", "release")


def test_each_operation_meets_full_drives(mrmr, worlds):
    """In an order by chance, on drives that are filled up again before each: it is done, or fails for lack of room and has
    done nothing to anybody's protected byte; then deleting makes room, and all is well."""
    with worlds() as (world, mount):
        one = mount()
        doing, failed = Doing(world, one), []
        order = world.rng.sample(DOES, len(DOES))
        for name in order:
            for drive in NAMES:
                fill_up(world.drives[drive].root, inodes=False)
            try:
                getattr(doing, name)()
            except OSError as e:
                assert e.errno == errno.ENOSPC, (name, e)
                failed.append(name)
            if name == "write" and name in failed:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(one.point / "new")
            world.all_there(one.point)
        print("order: %s; no room for: %s" % (", ".join(order), ", ".join(failed)))
        assert not set(failed) & {"delete", "rename_over", "sync", "scrub", "release"}
        world.delete(one.point, [5, 6])
        mrmr.run("sync", "--release", code=(0, 3))
        assert min(world.free().values()) > MIB
        one.stop()
        for name in NAMES:
            (pathlib.Path(world.drives[name].root) / "filler/bytes").unlink()
        mrmr.run("sync", code=(0, 3))
        mrmr.run("sync")
        world.each_away(mount)
        assert mrmr.run("scrub").returncode == 0


def test_rebuild_meets_a_full_drive(mrmr, worlds):
    """There is no room for what comes back: that is said, nothing is lost by it, and with room it comes."""
    with worlds() as (world, mount):
        root, held = pathlib.Path(world.drives["b"].root), {}
        for i in range(4, FILES):
            (root / ("b/%d" % i)).unlink()
            held["b/%d" % i] = world.content.pop("b/%d" % i)
        mrmr.run("set", "hold-files", "2")
        mrmr.run("sync", code=3)
        for name in NAMES:
            fill_up(world.drives[name].root, inodes=False)
        done = mrmr.run("rebuild", "b", code=(1, 3))
        assert "space" in (done.stdout + done.stderr).lower() or "room" in (done.stdout + done.stderr).lower()
        assert mrmr.run("rebuild", "b", code=(1, 3))
        (root / "filler/bytes").unlink()
        mrmr.run("rebuild", "b")
        world.content.update(held)
        mrmr.run("sync", code=(0, 3))
        world.each_away(mount)


def test_so_much_is_kept(mrmr, worlds):
    """A release is asked for when so much more is kept, while there is room; and nobody waits for it."""
    with worlds() as (world, mount):
        for name in NAMES:
            (pathlib.Path(world.drives[name].root) / "filler/bytes").unlink()
        mrmr.run("set", "retain-share", "3") # 2 MiB
        one = mount()
        with answering(mrmr) as ends:
            with open(one.point / "a/0", "r+b", buffering=0) as file:
                file.write(bytes(1 << 16))
            assert not (mrmr.dir / "short").exists() and not ends # who asks has asked when he is through
            with open(one.point / "a/0", "r+b", buffering=0) as file:
                file.write(bytes(2 * MIB))
            with open(one.point / "a/1", "r+b", buffering=0) as file:
                file.write(bytes(2 * MIB))
            until(lambda: ends and not world.retained("a"))
        world.content["a/0"] = bytes(2 * MIB) + world.content["a/0"][2 * MIB:]
        world.content["a/1"] = bytes(2 * MIB) + world.content["a/1"][2 * MIB:]
        world.all_there(one.point)
        one.stop()
        mrmr.run("sync")
        world.each_away(mount)
