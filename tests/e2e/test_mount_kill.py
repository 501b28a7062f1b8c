# SPDX-License-Identifier: GPL-3.0-or-later
"""The mount's process is killed while programs write through it: what was acknowledged is there, and nobody else's protection is lower."""
import contextlib
import os
import pathlib
import threading
import time

from mounts import is_mounted, mounts, need_fuse, until
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


def for_a_moment(mrmr, turn, seconds):
    """At random; in every second turn for as long as a sync takes."""
    if turn % 2:
        mrmr.run("sync", code=None)
    else:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass


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
            for_a_moment(mrmr, turn, rng.random())
            assert all(writer.thread.is_alive() for writer in writers), "a call failed"
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


class Mover:
    """Renames folders of its own, which lie on all drives, one call after another, until a call fails; knows where each must be then."""

    def __init__(self, top, folders, own, seed):
        self.top, self.folders, self.own, self.rng = top, list(folders), own, Seeded(seed)
        self.doubtful = None # from and to, of the call that was under way
        self.calls = 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                i = self.rng.randrange(len(self.folders))
                old = self.folders[i]
                others = [at for at in self.folders if at != old and not at.startswith(old + "/")]
                if any(at.startswith(old + "/") for at in self.folders):
                    continue # one that has another in it goes nowhere: what is told of below is simple
                above = self.rng.choice([self.own, *others])
                new = "%s/%d" % (above, self.rng.randrange(10**9))
                self.doubtful = (old, new)
                os.rename(os.path.join(self.top, old), os.path.join(self.top, new))
                self.folders[i], self.doubtful = new, None
                self.calls += 1


def in_part(mrmr, movers):
    """How many renames have been made on some drives, and not on others."""
    made = [[os.path.exists(mrmr.drive(drive) / doubtful[1]) for drive in DRIVES] for doubtful in [mover.doubtful for mover in movers] if doubtful]
    return sum(any(on) and not all(on) for on in made)


def in_the_middle(mrmr, movers, after):
    """Waits for one of them once so many are over; they are soon over, so only for a while."""
    until(lambda: sum(mover.calls for mover in movers) >= after)
    end = time.monotonic() + 2
    while time.monotonic() < end and not in_part(mrmr, movers):
        pass


def test_killed_while_it_renames_folders(mrmr, tmp_path):
    """A folder that lies on several drives has one name or the other afterwards, on all of them, and everything in it."""
    need_fuse()
    seed = int(os.environ.get("MRMR_SEED") or time.time_ns() % 10**9)
    print("\nMRMR_SEED=%d" % seed)
    rng = Seeded(seed)
    movers = [["m%d/%d" % (m, i) for i in range(4)] for m in range(3)]
    for folder in [folder for folders in movers for folder in folders]:
        for drive in DRIVES:
            path = mrmr.drive(drive) / folder / "deep"
            path.mkdir(parents=True)
            (path / ("of " + drive)).write_bytes(("%s of %s" % (folder, drive)).encode())
    for drive in DRIVES:
        mrmr.run("add-drive", mrmr.drive(drive))
    mrmr.run("sync")
    first = [list(folders) for folders in movers] # what each was called when its files were made
    calls = cut = 0

    def is_whole(top, folder, i, m):
        deep = pathlib.Path(top, folder, "deep")
        return {file.name: file.read_text() for file in deep.iterdir()} == {"of " + drive: "%s of %s" % (first[m][i], drive) for drive in DRIVES}
    with mounts(mrmr, tmp_path) as make:
        for turn in range(int(os.environ.get("MRMR_ROUNDS") or 3)):
            mount = make("m")
            running = [Mover(mount.point, folders, "m%d" % m, rng.random()) for m, folders in enumerate(movers)]
            for mover in running:
                mover.thread.start()
            if turn % 2:
                for_a_moment(mrmr, turn, 0)
            else:
                in_the_middle(mrmr, running, rng.randrange(1, 6))
            assert all(mover.thread.is_alive() for mover in running), "a rename failed"
            mount.kill()
            for mover in running:
                mover.thread.join()
                calls += mover.calls
            cut += in_part(mrmr, running)
            mount = make("m")
            for m, mover in enumerate(running):
                if mover.doubtful:
                    old, new = mover.doubtful
                    assert os.path.lexists(os.path.join(mount.point, old)) != os.path.lexists(os.path.join(mount.point, new)), (old, new)
                    if os.path.lexists(os.path.join(mount.point, new)):
                        mover.folders[mover.folders.index(old)] = new
                for i, folder in enumerate(mover.folders):
                    assert is_whole(mount.point, folder, i, m), folder
                movers[m] = mover.folders
            everywhere = sorted(folder for folders in movers for folder in folders)
            assert sorted(folders_below(mount.point)) == everywhere
            for drive in DRIVES:
                assert sorted(folders_below(mrmr.drive(drive))) == everywhere, drive
            mount.stop()
    print("%d renames were acknowledged, and %d were cut off in the middle" % (calls, cut))
    mrmr.run("sync")
    mrmr.run("scrub")


def folders_below(top):
    """Each that may be renamed."""
    return [os.path.relpath(folder, top) for folder, folders, _ in os.walk(top) if "deep" in folders]
