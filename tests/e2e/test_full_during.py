# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives of 64 MiB that fill to the last byte while something is done: it is done, or fails for lack of room, and no other byte suffers. And all of them
full, with a daemon that rests: what is deleted comes free all the same."""
import contextlib
import errno
import os
import pathlib
import subprocess
import threading

from daemons import Daemon, none_is_left, safe # noqa: F401: a fixture
from loops import loops
from mounts import until
from some import some
from test_full_release import DOES, MIB, NAMES, Doing, free, make_worlds # noqa: F401: a fixture
from test_mount_full import fill_up

LEAST = 256
ALL = "all" # a folder that lies on every drive


def make_room(root):
    for path in (pathlib.Path(root) / "filler").iterdir():
        path.unlink()


def leave(root, left):
    """All room but so many bytes is taken."""
    make_room(root)
    with open(os.path.join(root, "filler", "bytes"), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free(root) - left, 1))


class Filling:
    """Somebody takes what is free on every drive, a piece at a time, until each has no byte left, and whatever comes free then."""

    def __init__(self, world, roots):
        self.ends, self.full = threading.Event(), set()
        self.threads = [threading.Thread(target=self.fill, args=(root, world.rng.randrange(16, 128) << 10)) for root in roots]

    def fill(self, root, piece):
        with open(os.path.join(root, "filler", "grabbed"), "ab", buffering=0) as file:
            while not self.ends.wait(0.002):
                try:
                    file.write(bytes(piece))
                except OSError as e:
                    assert e.errno == errno.ENOSPC
                    if piece == LEAST:
                        self.full.add(root)
                    piece = max(piece // 2, LEAST)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *what):
        self.ends.set()
        for thread in self.threads:
            thread.join()


class DoingMore(Doing):
    """Each leaves world.content as it must be after it; what fails for lack of room has changed nothing."""

    def __init__(self, world, one):
        super().__init__(world, one)
        self.links, self.made, self.folders = [], 0, [ALL, ALL + " renamed"]

    def delete(self):
        for path in [name + "/3" for name in NAMES if name + "/3" in self.world.content]:
            os.unlink(self.root / path)
            del self.world.content[path]

    def punch(self):
        was = self.world.content["b/4"]
        done = subprocess.run(["fallocate", "-p", "-o", "70000", "-l", str(MIB), self.root / "b/4"], capture_output=True, text=True, check=False)
        if done.returncode:
            assert os.strerror(errno.ENOSPC) in done.stderr, done.stderr
            raise OSError(errno.ENOSPC, "punch")
        self.world.content["b/4"] = was[:70000] + bytes(MIB) + was[70000 + MIB:]

    def link(self):
        """One name more; when there are many one goes for it."""
        if len(self.links) > 30:
            os.unlink(self.root / self.links[0])
            del self.world.content[self.links.pop(0)]
        self.made += 1
        name = "c/link %d " % self.made + "x" * 200
        os.link(self.root / "c/4", self.root / name)
        self.links.append(name)
        self.world.content[name] = self.world.content["c/4"]

    def rename_a_folder(self):
        """Of every drive; where that fails it has its name still."""
        old, new = self.folders
        os.rename(self.root / old, self.root / new)
        self.folders.reverse()
        for path in [path for path in self.world.content if path.startswith(old + "/")]:
            self.world.content[new + path[len(old):]] = self.world.content.pop(path)

    def job(self, *args):
        """It is through, or says that there is no room."""
        done = self.mrmr.run(*args, code=(0, 1, 3))
        said = (done.stdout + done.stderr).lower()
        assert done.returncode != 1 or "space" in said or "room" in said, said
        return done.returncode != 1

    def set_redundancy(self):
        self.job("set-redundancy", "2")
        self.job("sync")

    def add_drive(self):
        self.job("add-drive", self.world.more.root, "--name", "more")

    def detach(self):
        self.job("detach", "d")
        while not self.job("attach", "d"): # what was changed on it since the last sync is nowhere else
            leave(self.world.drives["d"].root, MIB)
        until(lambda: all(os.path.lexists(self.root / path) for path in self.world.content)) # the mount has it again


MORE = ("punch", "link", "rename_a_folder", "set_redundancy", "add_drive", "detach")
SHORT = ("punch", "link", "rename_a_folder") # which take no time: again and again


def add_folder(world):
    """On every drive; protected."""
    for name in NAMES:
        make_room(world.drives[name].root)
        path = "%s/%s" % (ALL, name)
        whole = pathlib.Path(world.drives[name].root) / path
        whole.parent.mkdir()
        world.content[path] = world.rng.randbytes(10000)
        whole.write_bytes(world.content[path])
    world.mrmr.run("sync")


def meets_a_filler(doing, name, roots):
    """How often it was done, and failed for lack of room; every drive is full in the end."""
    ends = {"done": 0, "no room": 0}
    for root in roots:
        leave(root, doing.world.rng.randrange(MIB // 4, 8 * MIB))
    with Filling(doing.world, roots) as filling:
        full = False
        while not full:
            full = name not in SHORT or len(filling.full) == len(roots)
            try:
                getattr(doing, name)()
                ends["done"] += 1
            except OSError as e:
                assert e.errno == errno.ENOSPC, (name, e)
                ends["no room"] += 1
        until(lambda: len(filling.full) == len(roots))
    if name in ("delete", "rename_over") and ends["no room"]: # somebody else took the block that was given back for it
        getattr(doing, name)()
    if name == "write" and ends["no room"]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(doing.root / "new")
    return ends


def test_drives_fill_during_each_operation(mrmr, worlds, tmp_path):
    os.mkdir(tmp_path / "fifth")
    with worlds() as (world, mount), loops(tmp_path / "fifth") as make:
        world.more = make("more", "ext4", 64)
        os.mkdir(os.path.join(world.more.root, "filler"))
        add_folder(world)
        one = mount()
        doing, before = DoingMore(world, one), dict(world.content)
        roots = [drive.root for drive in world.drives.values()] + [world.more.root]
        order = some(DOES, 3) + some(MORE, 4)
        for name in world.rng.sample(order, len(order)):
            print("%s: %s" % (name, meets_a_filler(doing, name, roots)))
            world.all_there(one.point)
        one.stop()
        # Nobody's protection suffered; what is new has none yet.
        world.each_away(mount, [path for path, data in world.content.items() if before.get(path) != data])
        for root in roots:
            make_room(root)
        mrmr.run("set-redundancy", "1")
        mrmr.run("sync", code=(0, 3))
        mrmr.run("sync")
        world.each_away(mount)
        assert mrmr.run("scrub").returncode == 0


def test_all_are_full_and_the_worker_rests(mrmr, worlds):
    """A daemon of its own gives back the room of what is deleted, protects nothing meanwhile, and a write waits for that room."""
    with worlds() as (world, mount):
        mrmr.run("set", "worker", "paused")
        mrmr.run("set", "settle", "1")
        daemon, one = Daemon(mrmr), mount()
        before, gone = world.free(), world.delete(one.point, range(2))
        until(lambda: not any(world.retained(name) for name in NAMES))
        after = world.free()
        for name in NAMES: # a part of it is slack that was given away before
            assert after[name] - before[name] > gone[name] - 5 * MIB, (name, before, after, gone)
        mrmr.run("set", "settle", "86400") # now nobody is in time but for who waits
        for name in NAMES:
            fill_up(world.drives[name].root, inodes=False)
        world.delete(one.point, range(2, 5))
        for name in NAMES:
            fill_up(world.drives[name].root, inodes=False)
        world.content["new"] = world.rng.randbytes(2 * MIB)
        (one.point / "new").write_bytes(world.content["new"])
        assert mrmr.json("status", code=None)["daemon"]["rests"] and not safe(mrmr, "new")
        world.all_there(one.point)
        one.stop()
        daemon.stop()
        world.each_away(mount, ["new"])
        for name in NAMES:
            make_room(world.drives[name].root)
        mrmr.run("sync")
        world.each_away(mount)
