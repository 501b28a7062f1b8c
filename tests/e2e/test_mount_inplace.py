# SPDX-License-Identifier: GPL-3.0-or-later
"""Protected files that are written over in place through the mount, as rsync --inplace and disk images are: others stay protected, also
before anything is protected anew (I3), and no more than the file is kept of it."""
import os

import pytest

from loops import loops, need_loops
from mounts import mounts, need_fuse
from seeded import Seeded
from some import some

MIB = 1 << 20


class World:
    """Three drives with a file each; redundancy 1, and nobody protects anything anew."""

    def __init__(self, mrmr, make, fs, rng, megabytes):
        self.content = {name: rng.randbytes(megabytes * MIB + 777) for name in ("a", "b", "c")}
        self.root = {name: os.path.join(make(name, fs, {"xfs": 400}.get(fs, 200)).root, "root") for name in self.content}
        for name, root in self.root.items():
            os.mkdir(root)
            with open(os.path.join(root, name), "wb") as f:
                f.write(self.content[name])
            mrmr.run("add-drive", root, "--name", name)
        mrmr.run("sync")

    def kept(self, name):
        """Bytes of what is kept on a drive."""
        folder = os.path.join(self.root[name], ".mrmr", "retained")
        paths = [os.path.join(here, name) for here, _, names in os.walk(folder) for name in names]
        return sum(os.lstat(path).st_size for path in paths if not os.path.islink(path))

    def lose(self, name):
        os.rename(self.root[name], self.root[name] + ".lost")


def write_over(path, size, how, rng):
    if how == "cut short":
        os.truncate(path, MIB // 2)
        return
    places = list(range(0, size, MIB))
    if how == "at random":
        rng.shuffle(places)
        places = places[:len(places) // 2]
    fd = os.open(path, os.O_WRONLY)
    for at in places:
        os.pwrite(fd, rng.randbytes(min(MIB, size - at)), at)
    os.close(fd)


@pytest.mark.parametrize("fs", some(["ext4", "xfs", "btrfs"], 2))
@pytest.mark.parametrize("how", some(["from start to end", "at random", "cut short"], 2))
def test_others_stay_protected(mrmr, tmp_path, fs, how):
    need_fuse()
    need_loops()
    rng = Seeded("in place %s %s" % (fs, how))
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        world = World(mrmr, make, fs, rng, 24)
        m = mount()
        size = len(world.content["a"])
        write_over(os.path.join(m.point, "a"), size, how, rng)
        assert 0 < world.kept("a") <= size
        with open(os.path.join(world.root["a"], "a"), "rb") as f:
            now = f.read()
        assert now != world.content["a"]
        m.stop()
        world.lose(rng.choice("bc"))
        m.start()
        for name, content in {**world.content, "a": now}.items():
            with open(os.path.join(m.point, name), "rb") as f:
                assert f.read() == content, name
