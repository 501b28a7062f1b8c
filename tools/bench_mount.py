# SPDX-License-Identifier: GPL-3.0-or-later
"""`tools/bench mount`: the mount beside the bare ext4 underneath, Debian's mergerfs, and a null daemon that answers at once from memory (tests/bench/null_fs.c).

Each round runs each set in each place, one place after another, in an order that turns, so that noise hits all alike. Of each step the best round counts. The
figures of the daemons are rates over ext4's: more is better. Then the seconds of CPU that each daemon took for the step, in its best round.

The set `degraded` takes one of mrmr's drives away and reads a large file of it by reconstruction, beside reading as many survivors as that takes, one after
another, in one stream.
"""
import contextlib
import os
import shutil
import sys
import tempfile
import time

import bench_jobs
import bench_places
from bench_places import drop_caches

DEGRADED_MEBI = 400


class Best:
    """The best round of one step in one place."""

    def __init__(self):
        self.rate, self.cpu = 0.0, None

    def take(self, rate, cpu):
        if rate > self.rate:
            self.rate, self.cpu = rate, cpu


def measure(step, place):
    """One step in one place: its rate, and the daemon's seconds."""
    if step.before:
        step.before(place)
    place.settle()
    if step.cold:
        drop_caches()
    if step.pause:
        time.sleep(step.pause)
    cpu, start = place.cpu(), time.monotonic()
    count = step.run(place)
    took = time.monotonic() - start
    return count / took, None if cpu is None else place.cpu() - cpu


def heading(places):
    names = [place.name for place in places[1:]]
    print("%-52s %17s %s %s %s %s" % ("", "ext4", " ".join("%9s" % name for name in names), " mrmr/mergerfs", " mrmr/null",
                                    "   CPU s: " + ", ".join(names)), flush=True)


def line(step, best):
    """One line; what was not measured in a place is a dash."""
    def over(a, b):
        ratio = best[a].rate / best[b].rate if best[a].rate and best[b].rate else None
        return "-" if ratio is None else "%.3f" % ratio if ratio < 0.1 else "%.2f" % ratio
    alone = "" if best["ext4"].rate else "%.0f %s" % (best["mrmr"].rate, step.unit)
    print("%-52s %17s %9s %9s %9s %14s %10s    %s" % (
        step.name, "%.0f %s" % (best["ext4"].rate, step.unit) if best["ext4"].rate else "-", over("mergerfs", "ext4"), over("null", "ext4"),
        alone or over("mrmr", "ext4"), over("mrmr", "mergerfs"), over("mrmr", "null"),
        " ".join("-" if best[name].cpu is None else "%.2f" % best[name].cpu for name in ("mergerfs", "null", "mrmr"))), flush=True)


def run_set(kind, places, options, work):
    jobs = kind(options.scale, work)
    best = [{place.name: Best() for place in places} for _ in jobs.steps]
    for place in places:
        jobs.setup(place)
    for turn in range(options.rounds):
        for place in places[turn % len(places):] + places[:turn % len(places)]:
            for step, results in zip(jobs.steps, best):
                if step.only in (None, place.name):
                    results[place.name].take(*measure(step, place))
    for step, results in zip(jobs.steps, best):
        line(step, results)
    for place in places:
        jobs.clear(place)


# --- one drive away ---

def read_stream(*paths):
    total, start, buf = 0, time.monotonic(), bytearray(1 << 20)
    for path in paths:
        with open(path, "rb", buffering=0) as f:
            while got := f.readinto(buf):
                total += got
    return total / 1e6 / (time.monotonic() - start)


def degraded(ours, drives, options):
    """A large file on each drive; the first drive goes."""
    size = max(1, round(DEGRADED_MEBI * options.scale))
    for i, root in enumerate(ours.roots):
        with open(os.path.join(root, "large %d" % i), "wb") as f:
            for _ in range(size):
                f.write(os.urandom(1 << 20))
    ours.run("sync")
    ours.close()
    drives.lose(os.path.basename(ours.roots[0]))
    survivors, ours.roots = ours.roots[1:], ours.roots[1:]
    ours.mount()
    plain = got = 0.0
    for _ in range(options.rounds):
        ours.settle()
        drop_caches()
        plain = max(plain, read_stream(*[os.path.join(root, "large %d" % i) for i, root in enumerate(survivors, 1)]))
        drop_caches()
        got = max(got, read_stream(ours.at("large 0")))
    # As many survivors as there are drives left are read for each byte.
    share = plain / len(survivors)
    print("%-52s survivors in one stream %.0f MB/s, / %d = %.0f; mrmr %.0f MB/s, %.2f of that" % (
        "degraded sequential read", plain, len(survivors), share, got, got / share), flush=True)


def chosen(names):
    """The sets by name, in their own order; `degraded` comes last, since a drive is gone after it."""
    known = [*bench_jobs.SETS, "degraded"]
    wanted = names.split(",") if names else known
    for name in wanted:
        if name not in known:
            sys.exit("there is no set %s; there are: %s" % (name, ", ".join(known)))
    return [name for name in known if name in wanted]


def run(options):
    bench_places.need(options)
    sets = chosen(options.set)
    work = tempfile.mkdtemp(prefix="mrmr-bench-", dir=options.work)
    drives, opened = bench_places.Drives(work), []
    try:
        places = bench_places.make_places(options, drives, opened)
        heading(places)
        for name in sets:
            if name == "degraded":
                degraded(places[-1], drives, options)
            else:
                run_set(bench_jobs.SETS[name], places, options, work)
    finally:
        for place in opened:
            place.close()
        drives.close()
        with contextlib.suppress(OSError):
            shutil.rmtree(work)
