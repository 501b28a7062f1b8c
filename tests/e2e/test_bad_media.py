# SPDX-License-Identifier: GPL-3.0-or-later
"""Media that fail: read errors in the middle of a file (btrfs refuses rotten bytes), and rot that nobody reports (ext4 does not see it)."""
import os
import pathlib

import pytest

from loops import loops, need_loops
from mounts import mounts, need_fuse
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


def rot_mounted(loop, datas):
    """The same of several blocks under a mounted file system, as media do it; what it has in memory is forgotten."""
    os.sync()
    with open(loop.image, "r+b") as image:
        for data in datas:
            found = where_in(image, data)
            assert found, "the bytes are not in the image"
            for at in found:
                was = os.pread(image.fileno(), 8, at + 100)
                os.pwrite(image.fileno(), bytes(b ^ 1 for b in was), at + 100)
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("1")


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


def damage(pool):
    """Files, as events tell of them."""
    return [event["text"] for event in pool.json("events")["events"] if event["kind"] == "damage-found"]


def test_read_errors_under_a_mount(tmp_path):
    """Blocks rot under a mounted pool: what is read and written through it is right all the same, the files are named, and a sync, a scrub and a
    repair beside the mount do what they must."""
    need_loops()
    need_fuse()
    rng = seed_of("read errors under a mount")
    with loops(tmp_path) as make:
        w = build(tmp_path, make, "btrfs", rng)
        pool, root = w.pool, pathlib.Path(w.drives["d1"].root)
        rotten = {"d1/file 0": (0, 1_200_128), "d1/file 1": (2_000_896,), "d1/file 2": (4096, 500_736, 1_900_544)}
        with mounts(pool, tmp_path) as mount:
            point = mount("mounted").point
            before = {path: (point / path).read_bytes() for path in w.contents}
            assert before == w.contents
            rot_mounted(w.drives["d1"], [w.contents[path][at // 4096 * 4096:at // 4096 * 4096 + 4096] for path in rotten for at in rotten[path]])
            assert all(refuses(root / path) for path in rotten)
            for path, data in w.contents.items():
                assert (point / path).read_bytes() == data, path
            # In any order, in small pieces, and by who has it open since before.
            with open(point / "d1/file 2", "rb", buffering=0) as file:
                for at in (1_900_544, 4096, 500_000, 0):
                    assert os.pread(file.fileno(), 3000, at) == w.contents["d1/file 2"][at:at + 3000]
            told = pool.run("events").text
            for path in rotten:
                assert path in told and "scrub --repair" in told, told
            # What is written to those who share parity with it, what is new, and what is removed.
            with open(point / "d2/file 1", "r+b") as file:
                file.seek(100_000)
                file.write(b"written " * 512)
            w.contents["d2/file 1"] = w.contents["d2/file 1"][:100_000] + b"written " * 512 + w.contents["d2/file 1"][104_096:]
            (point / "new").write_bytes(b"new" * 200_000)
            os.unlink(point / "d2/file 0")
            del w.contents["d2/file 0"]
            w.contents["new"] = b"new" * 200_000
            for path, data in w.contents.items():
                assert (point / path).read_bytes() == data, path
            # One after another: none may take the bad bytes for good ones.
            pool.run("sync", code=(0, 3))
            for path, data in w.contents.items():
                assert (point / path).read_bytes() == data, path
            done = pool.run("scrub", code=3)
            for path in rotten:
                done.says(path)
            pool.run("status", code=3).says("DAMAGED", "scrub --repair")
            pool.run("scrub", "--repair", code=(0, 3))
            for path, data in w.contents.items():
                assert (point / path).read_bytes() == data, path
                here = [root / path for root in map(pathlib.Path, (d.root for d in w.drives.values())) if (root / path).exists()]
                assert [copy.read_bytes() for copy in here] == [data], path
        pool.well()
        pool.run("scrub")
        for name in ("d1", "d3"):
            with unmounted(w.drives[name]):
                for path, data in w.contents.items():
                    assert pool.cat(path, code=(0, 3)) == data, path


def test_r2_read_errors_in_files_and_parity(tmp_path):
    """r = 2, and a drive on which files and parity rows cannot be read in places: another drive is rebuilt with what is left, each byte right;
    scrub names what it is, and puts it right."""
    need_loops()
    rng = seed_of("read errors in files and parity")
    with loops(tmp_path) as make:
        w = build(tmp_path, make, "btrfs", rng, redundancy=2)
        pool, root = w.pool, pathlib.Path(w.drives["d1"].root)
        rows = [path for path in root.glob(".mrmr/parity/*/*") if path.is_file()]
        assert rows
        row = max(rows, key=lambda path: path.stat().st_size)
        rot_mounted(w.drives["d1"], [row.read_bytes()[8192:12288], w.contents["d1/file 0"][4096:8192], w.contents["d1/file 2"][1_400_832:1_404_928]])
        assert refuses(row) and refuses(root / "d1/file 0") and refuses(root / "d1/file 2")
        w.drives["d4"].destroy()
        pool.run("sync", code=3) # which has to do without both
        for path, data in w.contents.items():
            assert pool.cat(path, code=(0, 3)) == data, path
        fresh = pool.folder / "fresh"
        fresh.mkdir()
        pool.add("fresh", fresh)
        pool.run("rebuild", "d4", "--onto", "fresh", code=(0, 3))
        for path, data in w.contents.items():
            if path.startswith("d4/"):
                assert (fresh / path).read_bytes() == data, path
        pool.run("scrub", code=3).says("d1/file 0", "d1/file 2", "parity row")
        pool.run("scrub", "--repair", code=(0, 3))
        for path in ("d1/file 0", "d1/file 2"):
            assert (root / path).read_bytes() == w.contents[path], path
        pool.well()
        pool.run("scrub")
        with unmounted(w.drives["d2"]), unmounted(w.drives["d3"]):
            for path, data in w.contents.items():
                assert pool.cat(path, code=(0, 3)) == data, path
