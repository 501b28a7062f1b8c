# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that change, grow, shrink, move and vanish while they are read: what is claimed is true after every sync, and all of it at the end."""
import os
import pathlib
import random
import signal
import subprocess
import sys

from test_bad_world import fill, make_pool, seed_of

HOT = 6  # files a drive that somebody works on
ROUNDS = int(os.environ.get("MRMR_ROUNDS", "5"))

HAMMER = r"""
import os, random, sys
seed, roots = int(sys.argv[1]), sys.argv[2:]
rng = random.Random(seed)
print("ready", flush=True)
while True:
    folder = os.path.join(rng.choice(roots), "hot")
    path = os.path.join(folder, "hot %d" % rng.randrange(6))
    what = rng.random()
    try:
        if what < 0.25:
            with open(path, "ab") as f:
                f.write(rng.randbytes(rng.choice([1, 4096, 300_000])))
        elif what < 0.5:
            with open(path, "r+b") as f:
                f.seek(rng.randrange(2_000_000))
                f.write(rng.randbytes(rng.choice([1, 100, 70_000])))
        elif what < 0.65:
            os.truncate(path, rng.randrange(2_500_000))
        elif what < 0.75:
            with open(path + "~", "wb") as f:
                f.write(rng.randbytes(rng.randrange(1, 1_500_000)))
            os.rename(path + "~", path)
        elif what < 0.85:
            os.rename(path, os.path.join(folder, "hot %d" % rng.randrange(6)))
        elif what < 0.92:
            os.unlink(path)
        else:
            with open(path, "wb") as f:
                f.write(rng.randbytes(rng.randrange(1, 2_000_000)))
    except OSError:
        pass
"""


class Hammer:
    def __init__(self, seed, roots):
        self.process = subprocess.Popen([sys.executable, "-c", HAMMER, str(seed), *map(str, roots)], stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"

    def pause(self):
        """Stopped, and known to be: nothing is written until go_on()."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def end(self):
        self.process.kill()
        self.process.communicate()


def all_files(pool):
    out = {}
    for root in pool.drives.values():
        for path in sorted(pathlib.Path(root).glob("hot/*")):
            out[str(path.relative_to(root)), root.name] = path.read_bytes()
    return out


def test_writers_at_work_during_sync(tmp_path):
    rng = seed_of("writers")
    pool, quiet = make_pool(tmp_path, drives=4, redundancy=2, files=24, most=300_000, rng=rng)
    pool.run("set", "hold-percent", 100)
    pool.run("set", "hold-files", 100000)
    for name, root in pool.drives.items():
        for i in range(HOT):
            path = root / "hot" / ("hot %d" % i)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(rng.randbytes(rng.randrange(1, 2_500_000)))
    pool.run("sync")
    hammer = Hammer(rng.randrange(1 << 32), pool.drives.values())
    skipped = 0
    try:
        for round in range(ROUNDS):
            report = pool.json("sync")
            skipped += report["skipped"]
            if round % 2:
                pool.deep()  # beside the writer: an edit is no finding
                continue
            hammer.pause()
            pool.deep()
            # Everyone writes on every drive, which may cost each stripe every margin; the quiet files of drives
            # that are there are as they were, and what a sync without writers protects survives two drives.
            for path, data in rng.sample(sorted(quiet.items()), 6):
                assert pool.cat(path, code=(0, 3)) == data
            pool.run("sync")  # one is enough
            assert pool.status()["exposed_size"] == 0
            away = rng.sample(sorted(pool.drives), 2)
            pool.readable_without(quiet, *away, every=5)
            hammer.go_on()
    finally:
        hammer.end()
    print("%d times a file was left out because it changed" % skipped)
    pool.well()
    hot = all_files(pool)
    with pool.without("d1", "d3"):
        for (path, drive), data in hot.items():
            if drive in ("d1", "d3") and [d for p, d in hot if p == path] == [drive]:
                assert pool.cat(path, code=(0, 3)) == data
    before = pool.record()
    os.rename(pool.drives["d2"], tmp_path / "gone")
    pool.add("fresh")
    pool.run("rebuild", "d2", "--onto", "fresh", code=(0, 3))
    pool.drives["d2"] = pool.drives.pop("fresh")
    pool.unchanged(before)
    pool.well()


def test_files_vanish_between_scan_and_reading(tmp_path):
    """All files that a sync has just found are removed, or replaced by folders, while it reads: no failure, no claim, nothing held back."""
    rng = seed_of("vanishing")
    pool, quiet = make_pool(tmp_path, drives=4, files=8, rng=rng)
    for round in range(6):
        new = {}
        for name, root in pool.drives.items():
            new.update(fill(root, "%s/round %d" % (name, round), rng, files=6))
        process = pool.start("sync", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        paths = sorted(new)
        rng.shuffle(paths)
        for path in paths[:len(paths) * 3 // 4]:
            where = pool.drives[path[:2]] / path
            where.unlink()
            if rng.random() < 0.3:
                where.mkdir()
            elif rng.random() < 0.3:
                where.symlink_to("/etc/passwd")
        text = process.communicate(timeout=60)[0].decode(errors="replace")
        assert process.returncode in (0, 3), text
        pool.deep()
        pool.readable_without(quiet, rng.choice(sorted(pool.drives)), every=4)
    pool.run("sync", "--accept-changes")
    pool.well()


def test_scrub_beside_writers(tmp_path):
    """Scrub --repair meets files that are being saved: an edit is never taken for rot, and never undone."""
    rng = seed_of("scrub beside writers")
    pool, quiet = make_pool(tmp_path, drives=4, redundancy=2, files=6, rng=rng)
    logs = [root / root.name / "log" for root in pool.drives.values()]
    for log in logs:
        log.write_bytes(b"begin\n" * 200_000)
    pool.run("sync")
    writer = subprocess.Popen([sys.executable, "-c", """
import itertools, sys
files = [open(p, "r+b") for p in sys.argv[1:]]
print("ready", flush=True)
for i in itertools.count():
    for f in files:
        f.seek(i * 6 % 1_200_000)
        f.write(b"edit%d\\n" % (i % 10))
        f.flush()
"""] + [str(log) for log in logs], stdout=subprocess.PIPE)
    try:
        assert writer.stdout.readline() == b"ready\n"
        for _ in range(5):
            pool.run("scrub", "--repair", code=(0, 3))
    finally:
        writer.kill()
        writer.communicate()
    for log in logs:
        assert b"edit" in log.read_bytes()[:60], "an edit was undone"
    assert not [p for root in pool.drives.values() for p in root.glob(".mrmr/quarantine/*")], "an edit was taken for rot"
    for path, data in quiet.items():
        assert (pool.drives[path[:2]] / path).read_bytes() == data
    pool.well()
