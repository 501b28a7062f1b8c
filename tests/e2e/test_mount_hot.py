# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are written to all the time through the mount, as machines' images and databases are: each sync says of every leaf whether it is what stripes
hold, gives what shares parity with them its margin back, and claims nothing that is not so."""
import contextlib
import os
import threading

from loops import loops, need_loops
from mounts import mounts, need_fuse, until
from seeded import Seeded

MIB = 1 << 20
PIECE = 4096
HOT = range(8 * MIB, 12 * MIB) # bytes of the file `a` that are written to
SIZE = 24 * MIB + 777
SYNCS = 4


class Writer(threading.Thread):
    """Writes to random places of the region, one after another, for as long as it is not told to end."""

    def __init__(self, path, rng):
        super().__init__()
        self.path, self.rng, self.writes, self.ends, self.error = path, rng, 0, False, None

    def run(self):
        try:
            fd = os.open(self.path, os.O_WRONLY)
            while not self.ends:
                os.pwrite(fd, self.rng.randbytes(PIECE), self.rng.randrange(HOT.start, HOT.stop, PIECE))
                self.writes += 1
            os.close(fd)
        except OSError as error:
            self.error = error


@contextlib.contextmanager
def writing(path, rng):
    writer = Writer(path, rng)
    writer.start()
    try:
        yield writer
    finally:
        writer.ends = True
        writer.join()
    assert writer.error is None


class World:
    """Three drives with a file each; redundancy 1."""

    def __init__(self, mrmr, make, rng):
        self.mrmr = mrmr
        self.content = {name: rng.randbytes(SIZE) for name in ("a", "b", "c")}
        self.root = {name: os.path.join(make(name, "ext4", 200).root, "root") for name in self.content}
        for name, root in self.root.items():
            os.mkdir(root)
            with open(os.path.join(root, name), "wb") as f:
                f.write(self.content[name])
            mrmr.run("add-drive", root, "--name", name)
        mrmr.run("sync")

    def lose(self, name):
        os.rename(self.root[name], self.root[name] + ".lost")

    def bring_back(self, name):
        os.rename(self.root[name] + ".lost", self.root[name])

    def survives(self, name):
        return self.mrmr.json("where", name)["copies"][0]["survives"]


def sync_beside(world, writer):
    """The writer has written before it, and goes on."""
    before = writer.writes
    until(lambda: writer.writes > before or writer.error)
    report = world.mrmr.json("sync", code=(0, 3))
    assert report["held"] == 0 and report["completed"]
    for name in ("b", "c"):
        assert world.survives(name) == 1, name
    return report["exposed_size"]


def give_back(world, m, home, name, was):
    """Its mount is killed, nothing was written elsewhere, and whichever drive is lost, all comes from parity: first what shares it, which counts on what was
    claimed of the file, and then the file itself."""
    m.kill()
    with open(os.path.join(world.root[home], name), "rb") as f:
        now = f.read()
    assert now[:HOT.start] + now[HOT.stop:] == was[:HOT.start] + was[HOT.stop:]
    others = [other for other in ("b", "c") if other != home]
    for other in others:
        world.lose(other)
        m.start()
        with open(os.path.join(m.point, other), "rb") as f:
            assert f.read() == world.content[other]
        m.stop()
        world.bring_back(other)
    world.mrmr.run("sync")
    world.lose(home)
    m.start()
    with open(os.path.join(m.point, name), "rb") as f:
        assert f.read() == now


def test_who_shares_parity_with_it_keeps_its_margin(mrmr, tmp_path):
    need_fuse()
    need_loops()
    rng = Seeded("hot")
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        world = World(mrmr, make, rng)
        m = mount()
        with writing(os.path.join(m.point, "a"), rng) as writer:
            for _ in range(SYNCS):
                assert sync_beside(world, writer) <= len(HOT)
        give_back(world, m, "a", "a", world.content["a"])


def test_what_nobody_writes_to_is_protected(mrmr, tmp_path):
    """A new file, to which somebody writes from its first moment on."""
    need_fuse()
    need_loops()
    rng = Seeded("hot and new")
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        world = World(mrmr, make, rng)
        m = mount()
        was = rng.randbytes(SIZE)
        with open(os.path.join(m.point, "new"), "wb") as f:
            f.write(was)
        with writing(os.path.join(m.point, "new"), rng) as writer:
            until(lambda: sync_beside(world, writer) <= len(HOT)) # what was written a moment ago waits
        [home] = [name for name, root in world.root.items() if os.path.exists(os.path.join(root, "new"))]
        give_back(world, m, home, "new", was)
