# SPDX-License-Identifier: GPL-3.0-or-later
"""Media that fail: read errors in the middle of a file (btrfs refuses rotten bytes), and rot that nobody reports (ext4 does not see it)."""
import os
import pathlib

import pytest

from loops import loops, need_loops
from some import some
from test_bad_world import Pool, seed_of
from trees import record


def where_in(image, data):
    """Each offset of these bytes in an image; its holes are not looked at, and one buffer holds a piece of it at a time."""
    found, buffer, end, size = [], bytearray(1 << 20), 0, os.fstat(image.fileno()).st_size
    while end < size:
        try:
            start = os.lseek(image.fileno(), end, os.SEEK_DATA)
        except OSError:  # a hole up to the end
            break
        end = os.lseek(image.fileno(), start, os.SEEK_HOLE)
        for at in range(start, end, len(buffer) - len(data) + 1):
            got = os.preadv(image.fileno(), [memoryview(buffer)[:end - at]], at)
            here = buffer.find(data, 0, got)
            while here >= 0:
                found.append(at + here)
                here = buffer.find(data, here + 1, got)
    return found


def rot(loop, data, bits=1):
    """Flip bits of this block of bytes in the unmounted image, wherever it lies."""
    loop.umount()
    with open(loop.image, "r+b") as image:
        found = where_in(image, data)
        assert found, "the bytes are not in the image"
        for at in found:
            was = os.pread(image.fileno(), 8, at + 100)
            os.pwrite(image.fileno(), bytes(b ^ bits for b in was), at + 100)
    loop.mount()


class World:
    def __init__(self, pool, drives, contents, rng):
        self.pool, self.drives, self.contents, self.rng = pool, drives, contents, rng

    def rot_file(self, path, at):
        rot(self.drives[path.split("/")[0]], self.contents[path][at:at + 4096])


def build(folder, make, fs, rng, sync=True, redundancy=1):
    pool, drives, contents = Pool(folder), {}, {}
    for name, kind, size in (("d1", fs, 128), ("d2", "ext4", 64), ("d3", "ext4", 64), ("d4", "ext4", 64)):
        drives[name] = make(name, kind, size)
        for i in range(3):
            path = "%s/file %d" % (name, i)
            where = pathlib.Path(drives[name].root) / path
            where.parent.mkdir(exist_ok=True)
            contents[path] = rng.randbytes(rng.randrange(2_200_000, 3_000_000))
            where.write_bytes(contents[path])
    os.sync()
    for name in drives:
        pool.add(name, drives[name].root)
    pool.run("set-redundancy", redundancy)
    if sync:
        pool.well()
    return World(pool, drives, contents, rng)


@pytest.fixture(params=some(["btrfs", "ext4"], 1))
def world(tmp_path, request):
    need_loops()
    rng = seed_of("media")
    with loops(tmp_path) as make:
        yield build(tmp_path, make, request.param, rng, redundancy=2 if "r2" in request.function.__name__ else 1), request.param


def refuses(path):
    try:
        path.read_bytes()
        return False
    except OSError:
        return True


def test_scrub_and_repair(world):
    """Bytes in the middle of a protected file: found and named, read through reconstruction, repaired, the bad copy kept."""
    w, fs = world
    pool = w.pool
    before = record(w.drives["d1"].root)
    w.rot_file("d1/file 2", 1_300_000)
    where = pathlib.Path(w.drives["d1"].root) / "d1/file 2"
    assert refuses(where) == (fs == "btrfs")
    assert pool.cat("d1/file 2", code=(0, 3)) == w.contents["d1/file 2"]
    pool.run("sync", code=(0, 3))
    pool.run("scrub", code=3).says("d1/file 2", "d1", "damaged", "scrub --repair")
    pool.run("status", code=3).says("DAMAGED")
    for path in w.contents:
        if path.startswith("d1/"):
            assert pool.cat(path, code=(0, 3)) == w.contents[path]
    done = pool.run("scrub", "--repair", code=(0, 3)).says("d1/file 2")
    assert where.read_bytes() == w.contents["d1/file 2"], str(done)
    after = record(w.drives["d1"].root)
    assert after[b"d1/file 2"] == before[b"d1/file 2"], "its attributes came back with it"
    bad = [p for p in pathlib.Path(w.drives["d1"].root).glob(".mrmr/quarantine/**/*") if p.is_file()]
    assert len(bad) == 1 and bad[0].stat().st_size == len(w.contents["d1/file 2"])
    pool.well()
    pool.run("scrub")


def test_repair_with_the_damage_in_two_files_of_two_drives(world):
    """Rot in different stripes' blocks of two drives is repaired even at r = 1, as long as no leaf of a stripe is lost twice."""
    w, fs = world
    pool = w.pool
    w.rot_file("d1/file 0", 4096)
    w.rot_file("d2/file 2", 2_000_000)
    done = pool.run("scrub", "--repair", code=(0, 3))
    lost = [p for p in w.contents if pathlib.Path(w.drives[p[:2]].root, p).read_bytes() != w.contents[p]] \
        if fs == "ext4" else []
    for path in lost:  # both in one stripe, at the same place: said so, and nothing made up
        assert path in done.text, str(done)
    if not lost:
        for path in w.contents:
            assert pathlib.Path(w.drives[path[:2]].root, path).read_bytes() == w.contents[path]
        pool.well()
        pool.run("scrub")


def test_file_with_a_read_error_is_new(tmp_path):
    """A file that cannot be read to its end is exposed and said so; all others, on its drive too, are protected in the same run."""
    need_loops()
    rng = seed_of("new file with a read error")
    with loops(tmp_path) as make:
        w = build(tmp_path, make, "btrfs", rng, sync=False)
        w.rot_file("d1/file 2", 1_300_000)
        where = pathlib.Path(w.drives["d1"].root) / "d1/file 2"
        assert refuses(where)
        for _ in range(2):
            w.pool.run("sync", code=3).says("d1/file 2")
        status = w.pool.status()
        assert status["exposed_files"] == 1, status
        assert 0 < status["exposed_size"] <= len(w.contents["d1/file 2"])
        w.pool.deep()
        rest = {p: d for p, d in w.contents.items() if p != "d1/file 2"}
        for name in ("d1", "d2", "d3", "d4"):
            with unmounted(w.drives[name]):
                for path in [p for p in rest if p.startswith(name + "/")][::2]:
                        assert w.pool.cat(path, code=(0, 3)) == rest[path]
        # The user puts a good copy there.
        where.unlink()
        where.write_bytes(w.contents["d1/file 2"])
        w.pool.well()


class unmounted:
    def __init__(self, loop):
        self.loop = loop

    def __enter__(self):
        self.loop.umount()

    def __exit__(self, *_):
        self.loop.mount()


def test_r2_read_error_while_the_stripe_is_encoded_anew(world):
    """A neighbour is deleted, which is one erasure; so the stripe's bytes are read for the next generation, and one of them is rotten,
    which is another: it is reconstructed, never encoded as it is."""
    w, fs = world
    pool = w.pool
    w.rot_file("d1/file 1", 700_000)
    gone = pathlib.Path(w.drives["d3"].root) / "d3/file 1"
    gone.unlink()
    del w.contents["d3/file 1"]
    pool.run("sync", code=(0, 3))
    pool.run("sync", code=(0, 3))
    assert pool.cat("d1/file 1", code=(0, 3)) == w.contents["d1/file 1"]
    pool.run("scrub", "--repair", code=(0, 3))
    assert (pathlib.Path(w.drives["d1"].root) / "d1/file 1").read_bytes() == w.contents["d1/file 1"]
    pool.well()
    with unmounted(w.drives["d1"]), unmounted(w.drives["d2"]):
        for path in ("d1/file 0", "d1/file 1", "d2/file 2"):
            assert pool.cat(path, code=(0, 3)) == w.contents[path]


def test_r2_rotten_survivor_in_a_rebuild(world):
    """r = 2: one drive lost, and a file of another is rotten where the lost one is decoded from."""
    w, fs = world
    pool = w.pool
    w.rot_file("d1/file 1", 2_000_000)
    w.drives["d4"].destroy()
    fresh = pool.folder / "fresh"
    fresh.mkdir()
    pool.add("fresh", fresh)
    pool.run("rebuild", "d4", "--onto", "fresh", code=(0, 3))
    for path in w.contents:
        if path.startswith("d4/"):
            assert (fresh / path).read_bytes() == w.contents[path]
    pool.run("scrub", "--repair", code=(0, 3))
    assert (pathlib.Path(w.drives["d1"].root) / "d1/file 1").read_bytes() == w.contents["d1/file 1"]
    pool.well()
