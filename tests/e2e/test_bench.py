# SPDX-License-Identifier: GPL-3.0-or-later
"""tools/bench, mount and protect, very small: each set gives a figure for every place, and nothing is left mounted, also when it fails."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from loops import need_loops
from mounts import need_fuse
from some import some

BENCH = os.path.join(os.environ.get("MRMR_SOURCE", "."), "tools", "bench")


def bench(folder, mrmr, *args, what="mount"):
    """What it printed goes to files: a daemon that it left behind would keep a pipe open."""
    for program in ("mergerfs", "git", "snapraid"):
        if not shutil.which(program):
            pytest.skip(program + " is not installed")
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as told:
        done = subprocess.run([BENCH, what, "--rounds", "1", "--scale", "0.01", "--work", folder, "--mrmr", mrmr, "--null", os.environ["MRMR_NULL_FS"], *args],
                              stdout=out, stderr=told, timeout=300, check=False)
        out.seek(0)
        told.seek(0)
        done.stdout, done.stderr = out.read(), told.read()
    return done


def mounts_in(folder):
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as f:
        return [line.split()[1] for line in f if line.split()[1].startswith(os.fspath(folder))]


def left_in(folder):
    """Mounts and loop devices of this folder, and what lies in it."""
    loops = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
    return mounts_in(folder) + [line for line in loops.splitlines() if os.fspath(folder) in line] + os.listdir(folder)


@pytest.fixture(name="folder")
def make_folder():
    """In memory: each step begins with syncing its drives."""
    need_fuse()
    need_loops()
    with tempfile.TemporaryDirectory(prefix="mrmr-test-bench-", dir="/dev/shm") as folder:
        yield pathlib.Path(folder)
        for point in reversed(mounts_in(folder)):
            subprocess.run(["umount", "-l", point], check=False)


# ext4's rate; three ratios to it, two of mrmr's to others; three daemons' seconds.
COMPARED = r"  +\d+ \S+( +\d+\.\d+){8}"
ALONE = r" +- +- +- +\d+ /s.*"
SETS = {
    "create": {"create, 2 kB": COMPARED, "stat, just made": COMPARED, "unlink, empty": COMPARED},
    "parallel": {"create, 32 processes, 1 folder": COMPARED},
    "untar": {"untar": COMPARED, "rm -r": COMPARED},
    "git": {"git status, warm": COMPARED},
    "stream": {"stream, read cold": COMPARED},
    "random": {"random 4 KiB, write": COMPARED, "random 4 KiB, write, protected, first of each leaf": ALONE,
               "random 4 KiB, write, protected, later ones": ALONE},
    "writers": {"first of each leaf, protected, writers: 1": ALONE, "first of each leaf, protected, writers: 16": ALONE},
    "degraded": {"degraded sequential read": r" .* mrmr \d+ MB/s.*"},
}


@pytest.mark.parametrize("sets", [some(SETS, 3)], ids=",".join)
def test_each_step_is_measured_in_every_place(folder, sets):
    done = bench(folder, os.environ["MRMR_BIN"], "--set", ",".join(sets))
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    for step, figures in [item for name in sets for item in SETS[name].items()]:
        assert re.search("^" + re.escape(step) + figures + "$", done.stdout, re.MULTILINE), step
    assert left_in(folder) == []


def test_the_window_and_the_first_overwrite_are_measured(folder):
    done = bench(folder, os.environ["MRMR_BIN"], "--settle", "1", what="protect")
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    for job in "one file of 10 MB", "100 files of 4 to 100 kB":
        for how in "idle", "busy":
            assert re.search(r"^%s +worker %s +\d+\.\d s .* snapraid sync +\d+\.\d s +ratio +\d" % (job, how), done.stdout, re.MULTILINE), (job, how)
    assert re.search(r"^overwrite in 67 MB +first 4 KiB, cold .* kept so far 1\.0 MB$", done.stdout, re.MULTILINE)
    assert left_in(folder) == []


def test_a_run_that_fails_leaves_nothing_mounted(folder, tmp_path):
    broken = tmp_path / "broken"
    broken.write_text('#!/bin/sh\n[ "$1" = mount ] && exit 1\nexec "%s" "$@"\n' % os.environ["MRMR_BIN"])
    broken.chmod(0o755)
    done = bench(folder, broken, "--set", "create")
    assert done.returncode == 1 and "mrmr does not mount" in done.stderr, done.stderr
    assert left_in(folder) == []
