# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of the real command at random moments. After each: status works, the invariants hold, and with r drives away every file that
nobody had just edited is read as it is; then the same command ends what was begun. MRMR_ROUNDS, MRMR_SEED."""
import os
import pathlib
import random
import shutil
import subprocess
import time

import pytest

from some import rounds
from test_bad_world import Pool, fill, make_pool, seed_of

ROUNDS = int(os.environ.get("MRMR_ROUNDS", "2"))


class Round:
    """One round: changes that give the command something to do, the command, and what must be true when it was killed."""

    def __init__(self, pool, contents, rng, tops=None):
        self.pool, self.contents, self.rng, self.tops = pool, contents, rng, tops or {}
        self.touched = None  # the drive on which files were changed directly, which costs a margin there
        self.exposed = set()  # files that are not protected yet

    def names(self):
        return sorted(self.pool.drives)

    def files_of(self, name):
        """Of a drive, by the folder that its files are in: it keeps its name when another drive takes the place."""
        return sorted(p for p in self.contents if p.startswith(self.tops.get(name, name) + "/"))

    def edit(self):
        """New, changed, grown, moved and deleted files, all on one drive."""
        name = self.touched = self.rng.choice(self.names())
        root = self.pool.drives[name]
        for path, data in fill(root, "%s/new %d" % (name, self.rng.randrange(10**9)), self.rng, files=3, most=400_000).items():
            self.contents[path] = data
            self.exposed.add(path)
        paths = [p for p in self.files_of(name) if p not in self.exposed]
        for path, what in zip(self.rng.sample(paths, min(4, len(paths))), ("delete", "append", "overwrite", "move")):
            where = root / path
            data = self.contents.pop(path)
            if what == "delete":
                where.unlink()
                continue
            if what == "append":
                data += self.rng.randbytes(self.rng.randrange(1, 100_000))
            elif what == "overwrite":
                at = self.rng.randrange(len(data))
                data = data[:at] + self.rng.randbytes(min(1000, len(data) - at)) + data[at + 1000:]
            if what == "move":
                path = "%s/moved %d" % (name, self.rng.randrange(10**9))
                where.rename(root / path)
            else:
                where.write_bytes(data)
            self.contents[path] = data
            self.exposed.add(path)


def killed(pool, rng, longest, *args, codes=(0, 3)):
    """True if the command was killed before it was through."""
    process = pool.start(*args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        process.wait(rng.uniform(0.002, longest))
    except subprocess.TimeoutExpired:
        process.kill()
    err = process.communicate()[1].decode(errors="replace")
    # Killed when all was done but the last word, it may have nothing left to do.
    through = process.returncode == 1 and args[0] == "rebuild" and "the pool has no drive" in err
    assert through or process.returncode in (*codes, -9), "%r gave %d:\n%s" % (args, process.returncode, err)
    return process.returncode == -9


def examine(r, redundancy, away=None):
    """What must hold after the kill. away: drives that are lost already."""
    pool, rng = r.pool, r.rng
    pool.run("status", code=(0, 3))
    pool.deep()
    gone = list(away or [])
    if r.touched and r.touched not in gone:
        gone.append(r.touched)
    others = [n for n in r.names() if n not in gone and n not in (away or [])]
    gone += rng.sample(others, redundancy - len(gone))
    moved = [n for n in gone if pool.drives[n].exists() and n not in (away or [])]
    with pool.without(*moved):
        paths = [p for n in gone for p in r.files_of(n) if p not in r.exposed]
        for path in rng.sample(paths, min(rounds(5, 8), len(paths))):
            assert pool.cat(path, code=(0, 3)) == r.contents[path], path


def timed(pool, *args, code=(0, 3)):
    start = time.monotonic()
    pool.run(*args, code=code)
    return time.monotonic() - start


def test_sync(tmp_path):
    rng = seed_of("kill sync")
    pool, contents = make_pool(tmp_path, drives=5, redundancy=2, files=12, most=400_000, rng=rng)
    longest, cut = 0.15, 0
    for _ in range(ROUNDS):
        r = Round(pool, contents, rng)
        r.edit()
        for _ in range(rng.choice([1, 1, 2])):
            if not killed(pool, rng, longest, "sync"):
                break
            cut += 1
            examine(r, 2)
        before = pool.record()
        longest = 0.005 + 0.8 * timed(pool, "sync")
        pool.well()
        pool.unchanged(before)
    print("%d rounds, killed %d times" % (ROUNDS, cut))
    assert cut, "nothing was killed"


def test_scrub_repair(tmp_path):
    """With rows that rotted, and files whose bytes are wrong although their times are right."""
    rng = seed_of("kill scrub --repair")
    pool, contents = make_pool(tmp_path, drives=5, redundancy=2, files=12, most=400_000, rng=rng)
    before, longest, cut = pool.record(), 0.2, 0
    for _ in range(ROUNDS):
        r = Round(pool, contents, rng)
        row = rng.choice(sorted(p for root in pool.drives.values() for p in root.glob(".mrmr/parity/*/*-g*")))
        name = r.touched = row.relative_to(tmp_path).parts[0]
        with open(row, "r+b") as f:
            f.seek(rng.randrange(1000))
            f.write(b"rot")
        for path in rng.sample(r.files_of(name), 2):
            where = pool.drives[name] / path
            st = where.stat()
            at = rng.randrange(len(contents[path]))
            with open(where, "r+b") as f:
                f.seek(at)
                f.write(bytes([contents[path][at] ^ 255]))
            os.utime(where, ns=(st.st_atime_ns, st.st_mtime_ns))
        pool.run("sync", code=3).says("held")
        for _ in range(rng.choice([1, 1, 2])):
            if not killed(pool, rng, longest, "scrub", "--repair"):
                break
            cut += 1
            pool.run("status", code=(0, 3))
            with pool.without(*rng.sample([n for n in r.names() if n != name], 1)):
                for path in rng.sample(sorted(contents), rounds(5, 8)):
                    assert pool.cat(path, code=(0, 3)) == contents[path], path
        longest = 0.005 + 0.8 * timed(pool, "scrub", "--repair")
        pool.run("sync", code=(0, 3))
        pool.run("scrub", "--repair", code=(0, 3))
        for path, data in contents.items():
            assert (pool.drives[path[:2]] / path).read_bytes() == data, path
        pool.well()
    print("%d rounds, killed %d times" % (ROUNDS, cut))
    assert cut, "nothing was killed"


def test_rebuild(tmp_path):
    """Onto a fresh drive, in place, and into free space in turns."""
    rng = seed_of("kill rebuild")
    pool, contents = make_pool(tmp_path, drives=5, redundancy=2, files=12, most=400_000, rng=rng)
    tops, longest, cut = {name: name for name in pool.drives}, 0.15, 0
    for number in range(ROUNDS):
        r = Round(pool, contents, rng, tops)
        name = rng.choice(r.names())
        if number % 2:
            before = pool.record()
            gone = tmp_path / ("gone %d" % number)
            os.rename(pool.drives.pop(name), gone)
            fresh = "f%d" % number
            pool.add(fresh)
            command = ["rebuild", name, "--onto", fresh]
            tops[fresh] = tops.pop(name)
            before[fresh] = before.pop(name)
            r.touched = fresh
        else:
            r.touched = name
            before = None
            for path in r.files_of(name)[::3]:
                (pool.drives[name] / path).unlink()
            command = ["rebuild", name]
            pool.run("sync", code=3).says("held")
        done = False
        for _ in range(rng.choice([1, 2, 3])):
            if not killed(pool, rng, longest, *command):
                done = True
                break
            cut += 1
            examine(r, 2)
        start = time.monotonic()
        if not done:
            left = pool.presence()
            pool.run(*command, code=(0, 3) if name in left or any(
                d["state"] == "rebuilding" for d in pool.json("drives")["drives"]) else 1)
        longest = 0.005 + 0.8 * (time.monotonic() - start)
        if before:
            pool.unchanged(before)
            shutil.rmtree(gone)
        for drive in pool.drives:
            for path in r.files_of(drive):
                assert (pool.drives[drive] / path).read_bytes() == contents[path], path
        pool.well()
    print("%d rounds, killed %d times" % (ROUNDS, cut))
    assert cut, "nothing was killed"


def test_rebuild_into_free_space(tmp_path):
    """No drive takes the place: the files of the lost one go to the others, or are still read by reconstruction."""
    rng = seed_of("kill rebuild into free space")
    cut = 0
    for number in range(max(rounds(1, 2), ROUNDS // 5)):
        folder = tmp_path / str(number)
        folder.mkdir()
        pool, contents = make_pool(folder, drives=5, redundancy=2, files=12, most=400_000, rng=rng)
        name = rng.choice(sorted(pool.drives))
        shutil.rmtree(pool.drives.pop(name))
        longest = 0.02  # it may be quick
        for _ in range(6):
            if not killed(pool, rng, longest, "rebuild", name):
                break
            cut += 1
            longest = min(0.25, 2 * longest)
            pool.run("status", code=(0, 3))
            pool.deep()
            with pool.without(rng.choice(sorted(pool.drives))):
                for path in rng.sample(sorted(contents), rounds(6, 12)):
                    assert pool.cat(path, code=(0, 3)) == contents[path], path
        if name in pool.presence():
            pool.run("rebuild", name, code=(0, 3))
        pool.well()
        assert name not in pool.presence()
        for path, data in contents.items():
            assert [r for r in pool.drives.values() if (r / path).exists() and (r / path).read_bytes() == data], path
        with pool.without(*rng.sample(sorted(pool.drives), 2)):
            for path in rng.sample(sorted(contents), rounds(6, 12)):
                assert pool.cat(path, code=(0, 3)) == contents[path], path
    print("killed %d times" % cut)
    assert cut, "nothing was killed"


def test_set_redundancy(tmp_path):
    rng = seed_of("kill set-redundancy")
    pool, contents = make_pool(tmp_path, drives=6, redundancy=2, files=12, most=400_000, rng=rng)
    before, now, longest, cut = pool.record(), 2, 0.15, 0
    for _ in range(ROUNDS):
        r = Round(pool, contents, rng)
        wanted = rng.choice([n for n in (1, 2, 3) if n != now])
        least = now
        for _ in range(rng.choice([1, 1, 2])):
            if not killed(pool, rng, longest, "set-redundancy", wanted):
                break
            cut += 1
            least = min(least, pool.status()["redundancy"])
            examine(r, least)
        longest = 0.005 + 0.8 * timed(pool, "set-redundancy", wanted, code=0)
        now = wanted
        assert pool.status()["redundancy"] == now
        pool.well()
        pool.unchanged(before)
    print("%d rounds, killed %d times" % (ROUNDS, cut))
    assert cut, "nothing was killed"


def test_while_the_pool_is_made(tmp_path):
    """The same command makes it the next time, whatever there is of it."""
    rng = seed_of("kill first add-drive")
    cut, longest = 0, 0.02
    for number in range(rounds(30, 60)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "d").mkdir()
        pool = Pool(folder)
        if killed(pool, rng, longest, "add-drive", folder / "d", codes=(0, 1)):
            longest = min(0.08, 1.1 * longest)
            cut += 1
        else:
            longest = 0.002 + longest / 1.2 # too late
        done = pool.run("add-drive", folder / "d", code=(0, 1))
        assert done.code == 0 or "in the pool already" in done.err, str(done)
        shutil.rmtree(folder)
    print("killed %d times" % cut)
    assert cut, "nothing was killed"


def test_first_add_and_init(tmp_path):
    """Killed while the pool is made or a drive comes in: the same command does it the next time."""
    rng = seed_of("kill add-drive")
    cut, longest = 0, 0.02
    for number in range(max(rounds(3, 4), ROUNDS // 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        pool, contents = Pool(folder), {}
        for name in ("d1", "d2", "d3"):
            (folder / name).mkdir()
            contents.update(fill(folder / name, name, rng, files=2))
            for _ in range(5):
                if not killed(pool, rng, longest, "add-drive", folder / name, "--name", name, codes=(0, 1)):
                    longest = 0.002 + longest / 2  # too late
                    break
                longest = min(0.08, 1.5 * longest)
                cut += 1
            done = pool.run("add-drive", folder / name, "--name", name, code=(0, 1))
            assert done.code == 0 or "in the pool already" in done.err, str(done)
            pool.drives[name] = folder / name
        assert sorted(pool.presence()) == ["d1", "d2", "d3"]
        pool.well()
        pool.readable_without(contents, "d2")
    print("killed %d times" % cut)
    assert cut, "nothing was killed"
