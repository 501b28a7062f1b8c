# SPDX-License-Identifier: GPL-3.0-or-later
"""Protected files past 4 GiB through the mount: read while their drive is away, changed under parity, brought to another drive whole."""
import os
import shutil

import pytest

from mounts import mounts, need_fuse
from seeded import Seeded

GIB = 1 << 30
SIZE = 4 * GIB + 5_000_001
PIECE = 300_000
# Around what 31, 32 and 33 bits hold, and the ends; the rest are holes.
PLACES = (0, 2 * GIB - PIECE // 2, 4 * GIB - PIECE // 2, SIZE - PIECE)
LATE = 4 * GIB + 1_234_567
NEEDED = 12 * GIB # 8.5 were used, measured; the rest is for who else writes here


class Large:
    """A file of that size on red and one on green, in whose stripes both are; blue has the parity."""

    def __init__(self, mrmr, folder, seed):
        self.mrmr, self.content = mrmr, {}
        self.roots = {name: folder / name for name in ("red", "green", "blue")}
        for root in self.roots.values():
            root.mkdir()
        for name in ("red", "green"):
            rng = Seeded("%s/%d" % (name, seed))
            self.content[name] = {at: rng.randbytes(PIECE) for at in PLACES}
            with open(self.roots[name] / name, "wb") as file:
                file.truncate(SIZE)
                for at, data in self.content[name].items():
                    os.pwrite(file.fileno(), data, at)
        for root in self.roots.values():
            mrmr.run("add-drive", root)
        assert "protected against the loss of any 1 drive" in mrmr.run("sync").stdout

    def away(self, name):
        os.rename(self.roots[name], self.roots[name].with_suffix(".away"))

    def back(self, name):
        os.rename(self.roots[name].with_suffix(".away"), self.roots[name])

    def is_whole(self, path, name):
        """The pieces, what follows each, and the size."""
        with open(path, "rb") as file:
            assert os.fstat(file.fileno()).st_size == SIZE
            for at, data in self.content[name].items():
                assert os.pread(file.fileno(), len(data), at) == data, (name, at)
            assert os.pread(file.fileno(), 100_000, GIB) == bytes(100_000)
            assert os.pread(file.fileno(), 10, SIZE) == b""


@pytest.fixture(name="large")
def make_large(mrmr, tmp_path):
    need_fuse()
    if shutil.disk_usage(tmp_path).free < NEEDED:
        pytest.skip("takes %d GiB of free space" % (NEEDED // GIB))
    seed = int(os.environ.get("MRMR_SEED") or int.from_bytes(os.urandom(4), "big"))
    print("MRMR_SEED=%d" % seed)
    yield Large(mrmr, tmp_path, seed)


def test_past_4_gib(mrmr, large, tmp_path):
    with mounts(mrmr, tmp_path) as mount:
        m = mount()
        for name in ("red", "green"):
            large.is_whole(m.point / name, name)
        # Overwritten under parity: the other file, which counts on the old bytes, is still read without its drive.
        changed = Seeded("changed/%d" % SIZE).randbytes(10_000)
        with open(m.point / "red", "r+b") as file:
            os.pwrite(file.fileno(), changed, LATE)
            os.fsync(file.fileno())
        large.content["red"][LATE] = changed
        m.stop()
        large.away("green")
        m.start()
        large.is_whole(m.point / "red", "red")
        large.is_whole(m.point / "green", "green")
        # Changed while its drive is away: it is brought whole to another one first.
        with open(m.point / "green", "r+b") as file:
            os.pwrite(file.fileno(), changed, LATE)
        large.content["green"][LATE] = changed
        large.is_whole(m.point / "green", "green")
        assert os.getxattr(m.point / "green", "user.mrmr.drive") != b"green"
        m.stop()
    large.back("green")
    with mounts(mrmr, tmp_path) as mount:
        m = mount()
        for name in ("red", "green"):
            large.is_whole(m.point / name, name)
    mrmr.run("sync", "--accept-changes")
    assert mrmr.run("scrub").returncode == 0
    for name in ("red", "green"):
        large.is_whole(next(root / name for root in large.roots.values() if (root / name).exists()), name)
