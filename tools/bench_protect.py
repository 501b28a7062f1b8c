# SPDX-License-Identifier: GPL-3.0-or-later
"""`tools/bench protect`: how long what is new stays exposed, and what the first overwrite of a protected file costs.

Four drives of loop-mounted ext4, redundancy 1, mounted with the pool's daemon. The window is counted from close() until `mrmr where`, or `mrmr ls`, says that every
byte is in a stripe; `settle`, which is waited for on purpose, is told apart. Beside it: SnapRAID's sync, given by hand, of the same files on drives of its own.
Busy: a writer puts new files of 8 MiB into the mount all the time, and so does everything once more.

An overwrite is one pwrite of 4 KiB into a file that is protected, in its middle, beside the same on bare ext4; then all of it is written over.
"""
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import bench_places

PIECE = 1 << 20
LIMIT = 1800


def write_file(path, size, rng):
    """Random bytes, in pieces; the time at which it was closed."""
    block = rng.randbytes(min(size, 8 << 20) + 1)
    with open(path, "wb", buffering=0) as f:
        while size:
            at = rng.randrange(len(block) // 2 + 1)
            size -= f.write(block[at:at + min(size, PIECE)])
    return time.monotonic()


class Large:
    """One file."""

    def __init__(self, scale):
        self.size = max(PIECE, round(10**9 * scale))
        self.name = "one file of %.0f MB" % (self.size / 1e6)

    def make(self, folder, rng):
        return write_file(os.path.join(folder, "large"), self.size, rng)

    def is_protected(self, mrmr, folder):
        copies = json.loads(mrmr("where", folder + "/large", "--json"))["copies"]
        return all(copy["version"] and not copy["exposed_size"] and copy["survives"] for copy in copies)


class Small:
    """Many files, one after another."""

    def __init__(self, scale):
        self.files = max(10, round(10000 * scale))
        self.name = "%d files of 4 to 100 kB" % self.files

    def make(self, folder, rng):
        closed = None
        for i in range(self.files):
            closed = write_file(os.path.join(folder, "small %d" % i), rng.randrange(4000, 100000), rng)
        return closed

    def is_protected(self, mrmr, folder):
        entries = json.loads(mrmr("ls", folder, "--json"))["entries"]
        known = [e for e in entries if e["version"] and not e["exposed_size"] and e["survives"]]
        return len(known) == self.files


class Busy:
    """New files all the time, until it is left."""

    def __init__(self, folder):
        self.folder, self.ends, self.bytes = folder, threading.Event(), 0
        self.thread = threading.Thread(target=self.write)

    def write(self):
        rng, i = random.Random(7), 0
        while not self.ends.is_set():
            write_file(os.path.join(self.folder, "busy %d" % i), 8 << 20, rng)
            self.bytes += 8 << 20
            i += 1
            self.ends.wait(0.1)

    def __enter__(self):
        self.start = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *what):
        self.ends.set()
        self.thread.join()
        self.rate = self.bytes / (time.monotonic() - self.start) / 1e6


class Peer:
    """SnapRAID over drives of its own."""

    def __init__(self, drives, work):
        self.conf = os.path.join(work, "snapraid.conf")
        self.data, parity = drives.make("s1"), drives.make("sp")
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write("parity %s/snapraid.parity\ncontent %s/snapraid.content\ncontent %s/snapraid.content\n" % (parity, work, parity))
            f.write("data s1 %s\nexclude /lost+found/\n" % self.data)

    def sync(self):
        start = time.monotonic()
        done = subprocess.run(["snapraid", "-c", self.conf, "sync"], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit("snapraid: " + done.stderr)
        return time.monotonic() - start


class Window:
    def __init__(self, ours, peer, settle):
        self.ours, self.peer, self.settle = ours, peer, settle

    def ask(self, *args):
        done = subprocess.run([self.ours.options.mrmr, *args], env=self.ours.env, capture_output=True, text=True, check=False)
        return done.stdout if done.returncode in (0, 3) else "{\"copies\": [{\"version\": 0, \"exposed_size\": 1, \"survives\": 0}], \"entries\": []}"

    def until_protected(self, job, folder, closed):
        while time.monotonic() < closed + LIMIT:
            if job.is_protected(self.ask, folder):
                return time.monotonic() - closed
            time.sleep(0.2)
        return sys.exit("%s: not protected after %d s" % (job.name, LIMIT))

    def one(self, job, folder, how):
        os.makedirs(self.ours.at(folder))
        closed = job.make(self.ours.at(folder), random.Random(folder))
        took = self.until_protected(job, folder, closed)
        theirs = os.path.join(self.peer.data, folder)
        os.makedirs(theirs)
        job.make(theirs, random.Random(folder))
        beside = self.peer.sync()
        print("%-34s %-38s %7.1f s from close to protected: settle %d s, and %6.1f s   snapraid sync %6.1f s   ratio %5.2f"
              % (job.name, how, took, self.settle, took - self.settle, beside, (took - self.settle) / beside), flush=True)

    def run(self, scale):
        for job in Large(scale), Small(scale):
            self.one(job, "idle " + type(job).__name__, "worker idle")
        for job in Large(scale), Small(scale):
            os.makedirs(self.ours.at("busy"), exist_ok=True)
            with Busy(self.ours.at("busy")) as busy:
                self.one(job, "busy " + type(job).__name__, "worker busy")
            print("%-34s the writer beside: %.0f MB/s" % ("", busy.rate), flush=True)
            shutil.rmtree(self.ours.at("busy"))


# --- overwrite ---

def overwrite(path, offset):
    """Milliseconds of one pwrite of 4 KiB, open and close not counted."""
    fd = os.open(path, os.O_WRONLY)
    try:
        start = time.monotonic()
        os.pwrite(fd, os.urandom(4096), offset)
        return 1000 * (time.monotonic() - start)
    finally:
        os.close(fd)


def write_over(path, size):
    """MB/s, fsync at the end."""
    block = os.urandom(PIECE)
    fd = os.open(path, os.O_WRONLY)
    try:
        start = time.monotonic()
        for at in range(0, size, PIECE):
            os.pwrite(fd, block[:min(PIECE, size - at)], at)
        os.fsync(fd)
        return size / (time.monotonic() - start) / 1e6
    finally:
        os.close(fd)


def kept_bytes(roots):
    total = 0
    for root in roots:
        for here, _, files in os.walk(os.path.join(root, ".mrmr", "retained")):
            total += sum(os.lstat(os.path.join(here, name)).st_size for name in files)
    return total


def overwrites(ours, bare, size):
    """The file is protected by a sync; what follows is without one."""
    places = {"ext4": os.path.join(bare, "file"), "mrmr": ours.at("overwritten")}
    for path in places.values():
        write_file(path, size, random.Random(size))
    ours.run("set", "worker", "paused")
    ours.run("sync")
    before = kept_bytes(ours.roots)
    name = "overwrite in %.0f MB" % (size / 1e6)
    for what, cold, offsets in (("first 4 KiB, cold", True, [size // 2]), ("the same leaf again", False, [size // 2 + 8192]),
                                ("first of 16 other leaves, median", False, [size // 20 * i + 4096 for i in range(1, 17)])):
        if cold:
            for root in [*ours.roots, bare]:
                subprocess.run(["sync", "-f", root], check=True)
            bench_places.drop_caches()
        took = {place: statistics.median(overwrite(path, at) for at in offsets) for place, path in places.items()}
        print("%-34s %-38s %9.3f ms   ext4 %9.3f ms   ratio %7.1f   kept so far %.1f MB"
              % (name, what, took["mrmr"], took["ext4"], took["mrmr"] / took["ext4"], (kept_bytes(ours.roots) - before) / 1e6), flush=True)
    if size <= 10**9:
        rates = {place: write_over(path, size) for place, path in places.items()}
        print("%-34s %-38s %7.0f MB/s   ext4 %7.0f MB/s   ratio %5.2f" % (name, "all of it, in place, with fsync", rates["mrmr"], rates["ext4"],
                                                                      rates["mrmr"] / rates["ext4"]), flush=True)
    ours.run("set", "worker", "running")
    for path in places.values():
        os.unlink(path)
    ours.run("sync")


def run(options):
    if not shutil.which("snapraid"):
        sys.exit("snapraid is not installed: apt install snapraid")
    work = tempfile.mkdtemp(prefix="mrmr-bench-", dir=options.work)
    drives = bench_places.Drives(work)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        stack.callback(drives.close)
        bare = drives.make("ext4", 16)
        ours = bench_places.Mrmr(options, os.path.join(work, "mrmr"), os.path.join(work, "pool"), [drives.make("d%d" % i, 16) for i in range(4)])
        stack.callback(ours.close)
        ours.run("set", "settle", str(options.settle))
        ours.mount("daemon")
        Window(ours, Peer(drives, work), options.settle).run(options.scale)
        for size in 10**8, 10**10:
            overwrites(ours, bare, max(64 * PIECE, round(size * options.scale)))
