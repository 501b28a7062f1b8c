# SPDX-License-Identifier: GPL-3.0-or-later
"""The mount's process is killed while programs write through it: what was acknowledged is there, and nobody else's protection is lower."""
import contextlib
import os
import threading
import time

from mounts import is_mounted, mounts, need_fuse
from seeded import Seeded

DRIVES = ["red", "green", "blue", "black"]


def written(count, data):
    """A write that was cut short was acknowledged in part, and its process is gone."""
    if count != len(data):
        raise OSError("cut short")


class Writer:
    """Changes files of its own, one call after another, until a call fails; knows what each must be then."""

    def __init__(self, top, folder, files, seed):
        self.top, self.folder, self.files, self.rng = top, folder, dict(files), Seeded(seed)
        self.doubtful = set() # paths of the call that was under way
        self.calls = 0
        self.thread = threading.Thread(target=self.run)

    def at(self, path):
        return os.path.join(self.top, path)

    def run(self):
        with contextlib.suppress(OSError):
            os.makedirs(self.at(self.folder), exist_ok=True)
            while True:
                self.rng.choice([self.create, self.write, self.write, self.append, self.cut, self.rename, self.replace, self.remove])()
                self.doubtful = set()
                self.calls += 1

    def pick(self):
        return self.rng.choice(sorted(self.files)) if self.files else None

    def new_name(self):
        return "%s/%d" % (self.folder, self.rng.randrange(10**9))

    def create(self):
        path, data = self.new_name(), self.rng.randbytes(self.rng.randrange(200_000))
        self.doubtful = {path}
        with open(self.at(path), "xb", buffering=0) as file:
            for at in range(0, len(data), 50_000):
                written(file.write(data[at:at + 50_000]), data[at:at + 50_000])
        self.files[path] = data

    def change(self, offset_of):
        path = self.pick()
        if path is None:
            return
        self.doubtful = {path}
        old, new = self.files[path], self.rng.randbytes(self.rng.randrange(1, 5000))
        at = offset_of(old)
        with open(self.at(path), "r+b", buffering=0) as file:
            written(os.pwrite(file.fileno(), new, at), new)
        self.files[path] = old[:at] + new + old[at + len(new):]

    def write(self):
        self.change(lambda old: self.rng.randrange(len(old) + 1))

    def append(self):
        self.change(len)

    def cut(self):
        path = self.pick()
        if path is None:
            return
        self.doubtful = {path}
        size = self.rng.randrange(len(self.files[path]) + 1)
        os.truncate(self.at(path), size)
        self.files[path] = self.files[path][:size]

    def rename(self):
        self.move(self.new_name())

    def replace(self):
        self.move(self.pick())

    def move(self, to):
        path = self.pick()
        if path in (None, to):
            return
        self.doubtful = {path, to}
        os.rename(self.at(path), self.at(to))
        self.files[to] = self.files.pop(path)

    def remove(self):
        path = self.pick()
        if path is None:
            return
        self.doubtful = {path}
        os.unlink(self.at(path))
        del self.files[path]


def wrong(top, files, doubtful=()):
    found = []
    for path, data in files.items():
        if path in doubtful:
            continue
        try:
            with open(os.path.join(top, path), "rb") as file:
                if file.read() != data:
                    found.append(path)
        except OSError as err:
            found.append("%s: %s" % (path, err))
    return found


def names_in(top, folder):
    with contextlib.suppress(FileNotFoundError):
        return {"%s/%s" % (folder, name) for name in os.listdir(os.path.join(top, folder))}
    return set()


def test_killed_while_it_writes(mrmr, tmp_path):
    need_fuse()
    seed = int(os.environ.get("MRMR_SEED") or time.time_ns() % 10**9)
    print("\nMRMR_SEED=%d" % seed)
    rng = Seeded(seed)
    made = mrmr.build(DRIVES, redundancy=1, files=8, size=1_300_000)
    kept = {path: data for path, data in made.items() if int(path.split("file ")[1].split(".")[0]) % 2}
    given = sorted(set(made) - set(kept))
    files = [{path: made[path] for path in given[i::3]} for i in range(3)]
    calls = 0
    with mounts(mrmr, tmp_path) as make:
        for turn in range(int(os.environ.get("MRMR_ROUNDS") or 3)):
            mount = make("m")
            writers = [Writer(mount.point, "w%d" % i, files[i], rng.random()) for i in range(3)]
            for writer in writers:
                writer.thread.start()
            if turn % 2:
                mrmr.run("sync", code=None)
            else:
                end = time.monotonic() + rng.random()
                while time.monotonic() < end: # a moment at random
                    pass
            mount.kill()
            for writer in writers:
                writer.thread.join()
                calls += writer.calls
            mount = make("m") # clears the dead one away
            assert is_mounted(mount.point)
            for i, writer in enumerate(writers):
                assert wrong(mount.point, writer.files, writer.doubtful) == []
                assert not names_in(mount.point, writer.folder) - set(writer.files) - writer.doubtful
                files[i] = {path: data for path, data in writer.files.items() if path not in writer.doubtful}
                for path in writer.doubtful: # what became of it does not matter
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(os.path.join(mount.point, path))
            mount.stop()
            without = mrmr.drive(rng.choice(DRIVES))
            without.rename(tmp_path / "away")
            mount = make("m")
            assert wrong(mount.point, kept) == []
            mount.stop()
            (tmp_path / "away").rename(without)
            if turn % 2:
                mrmr.run("sync")
    print("%d calls were acknowledged" % calls)
    mrmr.run("sync")
    mrmr.run("scrub")
    assert not [name for drive in DRIVES for _, _, names in os.walk(mrmr.drive(drive) / ".mrmr/retained") for name in names]
