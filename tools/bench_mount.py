# SPDX-License-Identifier: GPL-3.0-or-later
"""`tools/bench mount`: reading through the mount, beside the bare ext4 underneath and Debian's mergerfs, in one run.

Four drives (loop-mounted ext4) hold the same files in all three cases: read drive by drive, through mergerfs, and through mrmr. Each figure is the
best of three; the ratios are of rates, so more is better. Then one drive is taken away, and a large file is read by reconstruction, beside reading as
many survivors as that takes, one after another, in one stream.
"""
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

FILES, FOLDERS, LARGE = 12000, 120, 400 << 20


def drop_caches():
    subprocess.run(["sync"], check=True)
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("3")


class World:
    def __init__(self, options, drives):
        self.options, self.drives, self.work = options, drives, drives.work
        self.env = dict(os.environ, MRMR_POOL=os.path.join(self.work, "pool"))
        self.roots = [drives.make("d%d" % i) for i in range(4)]
        self.ours, self.theirs = os.path.join(self.work, "ours"), os.path.join(self.work, "theirs")
        os.mkdir(self.ours)
        os.mkdir(self.theirs)
        self.process = None

    def mrmr(self, *args):
        done = subprocess.run([self.options.mrmr, *args], env=self.env, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3):
            sys.exit("%r: %s" % (args, done.stderr))

    def fill(self):
        rng, block = random.Random(1), random.Random(2).randbytes(1 << 20)
        self.paths = []
        for i in range(FILES):
            path = "f%03d/file %d" % (i % FOLDERS, i)
            root = self.roots[i % 4]
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "wb") as f:
                f.write(block[:rng.randrange(16 << 10)])
            self.paths.append((root, path))
        for i, root in enumerate(self.roots):
            with open(os.path.join(root, "large %d" % i), "wb") as f:
                for _ in range(LARGE >> 20):
                    f.write(rng.randbytes(1 << 20))

    def mount(self):
        self.process = subprocess.Popen([self.options.mrmr, "mount", "-f", self.ours], env=self.env)
        while not os.path.ismount(self.ours):
            if self.process.poll() is not None:
                sys.exit("mrmr mount ended")
            time.sleep(0.01)
        subprocess.run(["mergerfs", "-o", "cache.files=auto-full,dropcacheonclose=false,category.create=mfs", ":".join(self.roots), self.theirs], check=True)

    def close(self):
        for point in (self.ours, self.theirs):
            subprocess.run(["umount", "-l", point], capture_output=True, check=False)
        if self.process:
            self.process.wait(60)


def best(job, prepare=None, rounds=3):
    rates = []
    for _ in range(rounds):
        if prepare:
            prepare()
        start = time.monotonic()
        count = job()
        rates.append(count / (time.monotonic() - start))
    return max(rates)


def compare(world, what, unit, job, prepare=None, rounds=3):
    """job(where): how much it did, where being a function from (drive, path) to a path."""
    views = (("ext4", os.path.join), ("mergerfs", lambda root, path: os.path.join(world.theirs, path)),
             ("mrmr", lambda root, path: os.path.join(world.ours, path)))
    rate = {name: best(lambda where=where: job(where), prepare, rounds) for name, where in views}
    print("%-28s ext4 %10.0f %s   mergerfs %5.2f   mrmr %5.2f   mrmr / mergerfs %6.2f" % (
        what, rate["ext4"], unit, rate["mergerfs"] / rate["ext4"], rate["mrmr"] / rate["ext4"], rate["mrmr"] / rate["mergerfs"]), flush=True)


def stat_all(world, where):
    for root, path in world.paths:
        os.stat(where(root, path))
    return len(world.paths)


def list_all(world, where):
    tops = world.roots if where is os.path.join else [where("", "").rstrip("/")]
    subprocess.run(["ls", "-lR", *tops], stdout=subprocess.DEVNULL, check=True)
    return len(world.paths)


def stream(world, where):
    total = 0
    for i, root in enumerate(world.roots[:2]):
        with open(where(root, "large %d" % i), "rb", buffering=0) as f:
            while chunk := f.read(1 << 20):
                total += len(chunk)
    return total / 1e6


def scattered(world, where):
    rng, count = random.Random(3), 20000
    with open(where(world.roots[0], "large 0"), "rb", buffering=0) as f:
        for _ in range(count):
            os.pread(f.fileno(), 4096, rng.randrange(LARGE // 4096) * 4096)
    return count


def small_files(world, where):
    for root, path in world.paths[::4]:
        with open(where(root, path), "rb", buffering=0) as f:
            f.read()
    return len(world.paths) // 4


def degraded(world):
    """One drive away: a large file of it beside what it takes, three survivors' worth, in one stream."""
    def survivors():
        total = 0
        for i, root in enumerate(world.roots[1:], 1):
            with open(os.path.join(root, "large %d" % i), "rb", buffering=0) as f:
                while chunk := f.read(1 << 20):
                    total += len(chunk)
        return total / 1e6

    def ours():
        total = 0
        with open(os.path.join(world.ours, "large 0"), "rb", buffering=0) as f:
            while chunk := f.read(1 << 20):
                total += len(chunk)
        return total / 1e6
    plain = best(survivors, drop_caches)
    got = best(ours, drop_caches)
    # k survivors are read for each byte.
    print("%-28s survivors in one stream %5.0f MB/s, / 3 = %5.0f; mrmr %5.0f MB/s, %5.2f of that" % (
        "degraded sequential read", plain, plain / 3, got, got / (plain / 3)), flush=True)


def run(options, drives_of):
    if not shutil.which("mergerfs"):
        sys.exit("mergerfs is not installed: apt install mergerfs")
    work = tempfile.mkdtemp(prefix="mrmr-bench-", dir=options.work)
    drives = drives_of(work)
    world = World(options, drives)
    try:
        world.fill()
        for root in world.roots:
            world.mrmr("add-drive", root)
        world.mrmr("sync")
        world.mount()
        compare(world, "ls -lR cold", "files/s", lambda where: list_all(world, where), drop_caches)
        compare(world, "ls -lR warm", "files/s", lambda where: list_all(world, where))
        compare(world, "stat cached", "/s", lambda where: stat_all(world, where))
        compare(world, "small files, cold", "files/s", lambda where: small_files(world, where), drop_caches)
        compare(world, "small files, warm", "files/s", lambda where: small_files(world, where))
        compare(world, "stream cold", "MB/s", lambda where: stream(world, where), drop_caches)
        compare(world, "stream warm", "MB/s", lambda where: stream(world, where))
        compare(world, "random 4 KiB, warm", "/s", lambda where: scattered(world, where))
        world.close()
        drives.lose("d0")
        world.mount()
        degraded(world)
    finally:
        world.close()
        drives.close()
        with contextlib.suppress(OSError):
            shutil.rmtree(work)
