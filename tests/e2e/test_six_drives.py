# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on real file systems: six drives that hold files already, redundancy 2, two drives lost at once."""
import os
import subprocess

import pytest

from loops import loops, need_loops
from some import ALL, some
from test_bad_world import seed_of
from trees import differences, digest_of_stream, make_tree, record

DRIVES = [("d1", "ext4", 300), ("d2", "xfs", 320), ("d3", "btrfs", 400), ("d4", "ext4", 500), ("d5", "xfs", 450),
          ("d6", "btrfs", 350)]
MEGABYTES = ({"d1": 60, "d2": 90, "d3": 70, "d4": 110, "d5": 90, "d6": 40} if ALL else
             {"d1": 24, "d2": 40, "d3": 36, "d4": 36, "d5": 30, "d6": 16})  # each that is lost has a large file


class Pool:
    def __init__(self, folder):
        self.env = dict(os.environ, MRMR_POOL=os.path.join(str(folder), "pool"))

    def run(self, *args, code=0):
        done = subprocess.run([os.environ["MRMR_BIN"], *args], env=self.env, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=900)
        assert done.returncode == code, "%r gave %d, not %d:\n%s\n%s" % (
            args, done.returncode, code, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        return done.stdout

    def digest(self, path):
        """Of what cat gives, as the record has it; how many bytes there were."""
        with subprocess.Popen([os.environ["MRMR_BIN"], "cat", path], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as cat:
            digest, size = digest_of_stream(cat.stdout)
        assert cat.returncode == 0, "cat of %r gave %d" % (path, cat.returncode)
        return digest, size


LARGE, ENDLESS = 8 << 20, 1 << 30


def to_read(before, rng):
    """Files of a lost drive: all that are odd, every hole that a test can wait for, large ones, and some of the many others."""
    files = {p: e for p, e in before.items() if "digest" in e and e["size"] < ENDLESS}
    odd = [p for p in files if b"/odd/" in p]
    large = sorted(p for p in files if files[p]["size"] > LARGE and p not in odd)
    rest = sorted(set(files) - set(odd) - set(large))
    assert large and len(odd) > 12 and any(p.endswith(b"/sparse with a tail") for p in odd)
    print("%d odd files, %d large ones, %d others" % (len(odd), len(large), len(rest)))
    return odd + rng.sample(large, min(2, len(large))) + rng.sample(rest, min(10, len(rest)))


@pytest.mark.parametrize("lost", some([("d4", "d5"), ("d2", "d3")], 1))
def test_two_of_six_drives_lost_at_once(tmp_path, lost):
    need_loops()
    rng = seed_of("six drives")
    with loops(tmp_path) as make:
        drives = {name: make(name, fs, size) for name, fs, size in DRIVES}
        for seed, (name, drive) in enumerate(drives.items()):
            make_tree(drive.root, seed, MEGABYTES[name])
        before = {name: record(drive.root) for name, drive in drives.items()}

        pool = Pool(tmp_path)
        for name, drive in drives.items():
            pool.run("add-drive", drive.root, "--name", name)
        pool.run("set-redundancy", "2")
        pool.run("sync")
        pool.run("status")
        pool.run("scrub")
        for name, drive in drives.items():
            assert not differences(before[name], record(drive.root)), "protecting changed an original on " + name

        for name in lost:
            drives[name].destroy()
        pool.run("status", code=3)
        for name in lost:  # every protected byte is readable before anyone repairs anything
            for path in to_read(before[name], rng):
                assert pool.digest(path) == (before[name][path]["digest"], before[name][path]["size"]), path

        fresh = {}
        for name in lost:
            fs, size = next((f, s) for n, f, s in DRIVES if n == name)
            fresh[name] = make("new-" + name, fs, size)
            pool.run("add-drive", fresh[name].root, "--name", "new-" + name)
            pool.run("rebuild", name, "--onto", "new-" + name, code=0 if name == lost[-1] else 3)  # the other is away still
        for name in lost:
            assert not differences(before[name], record(fresh[name].root))
        pool.run("sync")
        pool.run("status")
        pool.run("scrub")
        pool.run("check", "--deep")
